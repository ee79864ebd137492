"""`claude-k8s serve`: the adapter as a service, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from adapter.cli.clusters import Choice, choice_of, kubeconfig_of, run_loop
from adapter.cli.settings import CONTEXT, Duration, cluster_options, setting

if TYPE_CHECKING:
    from adapter.line import Line
    from adapter.service import Adapter
    from adapter.sidecar.server import Serving

PORT = 8642
UNITS = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
INSTANCE = "default"


class Port(click.ParamType[int]):
    """A port; any free one for 0."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if str(value).startswith("tcp://"):
            return PORT  # CLAUDE_K8S_PORT as a kubelet sets it where a Service is named claude-k8s: not meant for us
        return int(click.IntRange(0, 65535).convert(value, param, ctx))


class Bytes(click.ParamType[int]):
    """A size: bytes, or a number with Ki, Mi or Gi."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        number, unit = (text[:-2], text[-2:]) if text[-2:] in UNITS else (text, "")
        if not (number.isascii() and number.isdigit()):
            self.fail(f"{text!r} is no size: give bytes, or such as 512Ki, 64Mi, 1Gi", param, ctx)
        return int(number) * UNITS[unit]


FILE = click.Path(path_type=Path, dir_okay=False)
DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings=CONTEXT)
@setting("--host", default="127.0.0.1", show_default=True, help="Address to serve; beyond loopback with a token alone.")
@setting("--port", type=Port(), default=PORT, show_default=True, help="Port to serve; any free one for 0.")
@setting("--token-file", type=FILE, metavar="FILE", help="The bearer token; read again when it changes.")
@setting("--state", type=DIRECTORY, metavar="DIR", help="Its journals and its name; each process has its own.")
@setting("--plane", metavar="URL", help="The control plane that runs are pushed to; else they are read from here.")
@setting("--plane-token-file", type=FILE, metavar="FILE", help="The token for that control plane.")
@setting(
    "--also-namespace", multiple=True, metavar="NAME", help="Where agents' Jobs are, beside --namespace; repeatable."
)
@setting(
    "--max-runs",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Runs at work at once in this replica; others wait.",
)
@setting(
    "--unattended", type=Duration(), metavar="DURATION", help="Cancel a run that nobody reads for so long; else never."
)
@setting("--journal-bytes", type=Bytes(), default="64Mi", show_default=True, help="Log that is kept of each run.")
@setting("--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True, help="Of its own log.")
@cluster_options
def serve(log_format: Any, **options: Any) -> int:
    """Serve the adapter over HTTP: runs are posted, followed, cancelled and come back to, by any program.

    Stopping it is not stopping the work: on SIGTERM or Ctrl-C it lets go of its runs, whose Jobs go on; started again
    with the same --state it comes back to them at once. Several of one --instance share the work. The token may also
    be in CLAUDE_K8S_TOKEN. What can be asked, and how: docs/service.md.
    """
    from adapter.sidecar.logs import log_to_stderr  # a web framework is a heavy import: not for `--help`
    from adapter.sidecar.server import serve as serving

    log_to_stderr(log_format)
    choice = choice_of(options)
    choice = replace(choice, instance=choice.instance or INSTANCE)
    told = _serving(options, str(choice.instance))
    run_loop(serving(told, partial(_replica, choice), lambda said: click.echo(f"claude-k8s serve: {said}")))
    return 0


def _serving(options: dict[str, Any], instance: str) -> Serving:
    from adapter.sidecar.keeper import Settings
    from adapter.sidecar.pushing import PlaneChoice
    from adapter.sidecar.server import Serving

    return Serving(
        state=options["state"] or default_state(instance),
        host=options["host"],
        port=options["port"],
        token_file=options["token_file"],
        plane=PlaneChoice(options["plane"], options["plane_token_file"]) if options["plane"] else None,
        settings=Settings(
            namespaces=options["also_namespace"], keep=options["journal_bytes"], unattended=options["unattended"]
        ),
        max_runs=options["max_runs"],
    )


def default_state(instance: str) -> Path:
    """Where an instance's state is, if nobody says it."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "claude-k8s" / "serve" / instance


@asynccontextmanager
async def _replica(choice: Choice, name: str, line: Line) -> AsyncIterator[Adapter]:
    """The adapter as a replica of its instance. Raises `ConnectError`."""
    from adapter.service import Adapter

    async with kubeconfig_of(choice) as kubeconfig:
        adapter = await Adapter.open(
            kubeconfig=kubeconfig,
            context=None if choice.local else choice.context,
            namespace=choice.namespace,
            instance=choice.instance or INSTANCE,
            replica=name,
            line=line,
            ask=False,
        )
        try:
            yield adapter
        finally:
            with anyio.move_on_after(adapter.closing, shield=True):
                await adapter.aclose()
