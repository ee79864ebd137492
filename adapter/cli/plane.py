"""`claude-k8s plane`: the reference control plane, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapter.cli.clusters import run_loop, state_directory
from adapter.cli.session import log_to_stderr
from adapter.cli.settings import CONTEXT, setting
from adapter.errors import AdapterError

if TYPE_CHECKING:
    import socket

    from adapter.sidecar.auth import Token

PORT = 8090

BEATS = 10.0
"""Signs of life within the reaper's threshold, where no interval is asked for: nine of them may be lost."""


@click.command(context_settings=CONTEXT)
@setting(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; beyond this machine: with a token."
)
@setting("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0: any free one.")
@setting(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the bearer token that every request needs; or give it in CLAUDE_K8S_TOKEN.",
)
@setting(
    "--db",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the runs are.  [default: plane.db in the state directory]",
)
@setting(
    "--reaper",
    type=click.FloatRange(min=0.1),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="After so long without a sign of life a run is process_lost.",
)
@setting(
    "--interval",
    type=click.FloatRange(min=0.01),
    metavar="SECONDS",
    help="Between two signs of life, as adapters are asked for them.  [default: a tenth of --reaper, at most 30]",
)
def plane(
    host: str, port: int, token_file: Path | None, db: Path | None, reaper: float, interval: float | None
) -> None:
    """Serve a small control plane, and print its URL.

    For development, and for proof: docs/plane-protocol.md is what it speaks. What it knows is in one file, and survives
    a crash.
    """
    asked = interval or min(30.0, reaper / BEATS)
    if not asked < reaper:  # nor is NaN
        raise click.UsageError(f"--interval {asked:g} is not less than --reaper {reaper:g}: every run would be lost")
    from adapter.loopback import is_loopback
    from adapter.serving import listening  # a web framework is a heavy import: not for `--help`
    from adapter.sidecar.auth import token_of

    token = token_of(token_file)
    if token is None and not is_loopback(host):
        raise click.UsageError(f"--host {host} is open to the network: give a --token-file, or CLAUDE_K8S_TOKEN")
    log_to_stderr(verbose=True)
    with listening(host, port) as listener:
        run_loop(_serve(listener, token, db or _default_db(), reaper, asked))


def _default_db() -> Path:
    path = state_directory().parent / "plane.db"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AdapterError(f"{path.parent}: {error.strerror}; name a file with --db") from error
    return path


async def _serve(listener: socket.socket, token: Token | None, db: Path, reaper: float, interval: float) -> None:
    from adapter.plane.reference import opened
    from adapter.plane.reference_server import serve
    from adapter.serving import url_of
    from adapter.sidecar.auth import Guard

    async with opened(db, reaper=reaper, interval=interval) as app:
        await serve(Guard(app, token), listener, lambda: click.echo(url_of(listener)))
