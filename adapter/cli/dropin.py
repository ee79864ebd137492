"""What a call of `claude` becomes in a pod: its command line, the files that it names, and its environment."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter.agent.bundle import LIMIT, MOST_FILES, Bundle
from adapter.agent.config import AgentConfig
from adapter.agent.layout import BUNDLE, IN
from adapter.agent.selfpod import SelfPod, Variable
from adapter.cli.contexts import document
from adapter.errors import InvalidRequest

PREFIX = "CLAUDE_K8S_"
CONFIG_FILE = "CLAUDE_K8S_AGENT_CONFIG"
"""Names a JSON or YAML file with an agent's configuration, as a control plane would give it."""

FILES = (
    "--mcp-config",
    "--settings",
    "--append-system-prompt-file",
    "--system-prompt-file",
    "--add-dir",
    "--plugin-dir",
)
"""Options of `claude` whose values name files or directories of this machine (some take JSON as well)."""
SEVERAL = ("--mcp-config", "--add-dir")
"""Those of them that take more than one value."""

ARGV, SHIPPED = "argv", "files"
"""Below the bundle's mount: the command line, quoted for a shell, and what it names."""

SCRIPT = f'eval "exec \\"\\$@\\" $(cat {IN}/{BUNDLE}/{ARGV})"'
"""Runs `"$@"` with the arguments of the file: they may hold a prompt or a token, and a pod's are for all to read."""


@dataclass(slots=True)
class Cargo:
    """The arguments as they are in the pod, and the files that go with them."""

    arguments: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)

    def bundle(self) -> Bundle:
        """All of it, as files of the pod. Raises `InvalidRequest` where that is too much."""
        content = {ARGV: shlex.join(self.arguments).encode("utf-8", "surrogateescape"), **self.files}
        size = sum(map(len, content.values()))
        if size > LIMIT:
            raise InvalidRequest(
                f"the command line and the files it names have {size} bytes, more than the {LIMIT} that can travel with"
                " it: put what is large on the volume that the pod mounts"
            )
        return Bundle(content, self.modes)


def cargo(argv: Sequence[str], shared: str | None) -> Cargo:
    """What has to go along with a command line. Files below `shared`, a volume that pod and caller have, stay there."""
    made = Cargo()
    taking: str | None = None
    for word in argv:
        option, given, value = word.partition("=")
        if given and option in FILES:
            made.arguments.append(f"{option}={_shipped(made, value, shared)}")
            taking = None
        elif word.startswith("-"):
            made.arguments.append(word)
            taking = word if word in FILES else None
        else:
            made.arguments.append(_shipped(made, word, shared) if taking else word)
            taking = taking if taking in SEVERAL else None
    return made


def _shipped(made: Cargo, word: str, shared: str | None) -> str:
    """The word as it is in the pod: a path that exists here goes along, and has another name there."""
    if word.lstrip().startswith(("{", "[")) or "\0" in word:
        return word
    path = Path(word)
    if not path.exists() or (shared and path.absolute().is_relative_to(shared)):
        return word
    place = f"{SHIPPED}/{len(made.files)}/{path.name or 'root'}"
    for inner, file in [("", path)] if path.is_file() else _below(path):
        name = f"{place}/{inner}" if inner else place
        made.files[name] = _read(file)
        made.modes[name] = 0o755 if os.access(file, os.X_OK) else 0o644
    return f"{IN}/{BUNDLE}/{place}"


def _below(directory: Path) -> Iterator[tuple[str, Path]]:
    """The files below a directory, through links too: a control plane links its skills into one."""
    count, seen = 0, set[str]()
    for at, folders, names in os.walk(directory, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name not in (".git", "__pycache__"))
        for name in sorted(names):
            count += 1
            if count > MOST_FILES:
                raise InvalidRequest(
                    f"{directory} has more than {MOST_FILES} files: put it on the volume that the pod mounts"
                )
            yield str((Path(at) / name).relative_to(directory)), Path(at) / name


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InvalidRequest(f"{path} is no regular file, and cannot go along")
        if path.stat().st_size > LIMIT:
            raise InvalidRequest(f"{path} is larger than the {LIMIT} bytes that can travel with a command line")
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error


def settings(environ: Mapping[str, str], table: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's configuration: of the environment, else of the file it names, else of our own configuration file."""
    named = document(environ[CONFIG_FILE]) if environ.get(CONFIG_FILE) else {}
    if not isinstance(named, Mapping):
        raise InvalidRequest(f"{CONFIG_FILE} names a file that holds no configuration: it must be an object")
    return {**table, **named, **dict(_of_environment(environ))}


def _of_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    fields = {name.upper(): f.alias or name for name, f in AgentConfig.model_fields.items() if name != "resources"}
    bounds = {
        f"RESOURCES_{a}_{b}".upper(): f"resources.{a}.{b}" for a in ("requests", "limits") for b in ("cpu", "memory")
    }
    for name, wire in (fields | bounds).items():
        if value := environ.get(PREFIX + name):
            yield wire, value


def surroundings(self_pod: SelfPod | None, environ: Mapping[str, str]) -> SelfPod:
    """What is inherited: the caller's environment, and, where we are in a pod, its image, volume and placement."""
    variables = tuple(Variable(name, value) for name, value in environ.items())
    if self_pod is None:
        return SelfPod(name="none", namespace="", image="", env=variables)
    return SelfPod(
        name=self_pod.name,
        namespace=self_pod.namespace,
        image=self_pod.image,
        pull_secrets=self_pod.pull_secrets,
        dns_config=self_pod.dns_config,
        claims=self_pod.claims,
        secret_volumes=self_pod.secret_volumes,
        env=variables,
        env_from=self_pod.env_from,
        node_selector=self_pod.node_selector,
        tolerations=self_pod.tolerations,
    )
