"""`claude-k8s local`: the embedded cluster, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from adapter.cli.clusters import run_loop, running_local, state_directory
from adapter.cli.settings import CONTEXT, setting


@click.command(context_settings=CONTEXT)
@setting("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; any free one if not given.")
@setting("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where its kubeconfig and state are.")
def local(port: int, directory: Path | None) -> None:
    """Serve the embedded cluster and print its kubeconfig's path.

    A development tool. The commands of its pods run on THIS machine, as you, without any isolation; images are
    ignored. While it runs, `--local` of other commands uses it.
    """
    if directory is None and running_local():
        raise click.UsageError(f"a local cluster is running already: {running_local()}")
    run_loop(_serve(port, directory or state_directory()))


async def _serve(port: int, directory: Path) -> None:
    from adapter.local import LocalCluster, Timing  # only who asks for the embedded cluster pays for it

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LocalCluster(directory, port, Timing.real()) as cluster:
        click.echo("claude-k8s: pods run on THIS machine, as you, without isolation; Ctrl-C ends them", err=True)
        click.echo(f"claude-k8s: use it with: export KUBECONFIG={cluster.kubeconfig}", err=True)
        click.echo(cluster.kubeconfig)
        await stop.wait()
