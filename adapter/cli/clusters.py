"""Which cluster a command talks to; with `--local`, the embedded one."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import yaml

from adapter.limits import Limits
from adapter.service import Adapter

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """The cluster options of a command."""

    local: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    instance: str | None = None


def choice_of(options: Mapping[str, Any]) -> Choice:
    """The cluster that a command's options choose."""
    names = ("local", "kubeconfig", "kube_context", "namespace", "instance")
    return Choice(*(options[name] for name in names))


def state_directory() -> Path:
    """Where `claude-k8s local` keeps its kubeconfig, so that `--local` finds it."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "claude-k8s" / "local"


@asynccontextmanager
async def connected(choice: Choice, limits: Limits | None = None) -> AsyncIterator[Adapter]:
    """An adapter for the chosen cluster. Raises `ConnectError`."""
    async with kubeconfig_of(choice) as kubeconfig:
        adapter = Adapter.connect(
            kubeconfig=kubeconfig,
            context=None if choice.local else choice.context,
            namespace=choice.namespace,
            instance=choice.instance or default_instance(),
            limits=limits,
        )
        async with adapter as opened:
            yield opened


@asynccontextmanager
async def kubeconfig_of(choice: Choice) -> AsyncIterator[str | None]:
    """The kubeconfig of the chosen cluster; the embedded one is started where none is running. None: kubectl's own."""
    if not choice.local:
        yield choice.kubeconfig
        return
    never_by_proxy()
    running = await asyncio.to_thread(running_local)
    if running:
        yield str(running)
        return
    from adapter.local import LocalCluster, Timing  # only who asks for the embedded cluster pays for it

    click.echo("claude-k8s: --local: the command runs on THIS machine, as you; the image is ignored", err=True)
    async with LocalCluster(timing=Timing.real()) as cluster:
        yield str(cluster.kubeconfig)


def running_local() -> Path | None:
    """The kubeconfig of a `claude-k8s local` that is running, if there is one."""
    path = state_directory() / "kubeconfig"
    with suppress(OSError, yaml.YAMLError, KeyError, TypeError, IndexError):
        server = urlsplit(yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"])
        socket.create_connection((server.hostname or "", server.port or 0), timeout=1).close()
        return path
    return None


def never_by_proxy() -> None:
    """The embedded cluster is on this machine: a proxy of the environment could not reach it."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(part for part in (os.environ.get(name), "127.0.0.1") if part)


def default_instance() -> str:
    """A laptop is an instance of its own."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        user = str(os.getuid())
    return f"{user}-{socket.gethostname()}"


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine, on uvloop where that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
