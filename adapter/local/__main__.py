"""`python -m adapter.local`: a cluster until SIGINT or SIGTERM; its kubeconfig's path is printed when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import signal
import sys
from pathlib import Path

from .cluster import LocalCluster
from .timing import Timing

WARNING = """\
This cluster is a development tool. It runs the commands of its pods HERE, on this machine,
as the current user ({user}), without any isolation. Image names are ignored.
Whoever can read {kubeconfig} can run commands as {user}.
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m adapter.local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--directory", type=Path, help="where its state is kept; default: a temporary one")
    parser.add_argument("--timing", choices=("real", "fast"), default="real", help="default: real")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    timing = Timing.real() if options.timing == "real" else Timing.fast()
    async with LocalCluster(options.directory, options.port, timing) as cluster:
        warning = WARNING.format(user=getpass.getuser(), kubeconfig=cluster.kubeconfig)
        print(warning, file=sys.stderr, flush=True)  # noqa: T201 - a program's output
        print(cluster.kubeconfig, flush=True)  # noqa: T201
        await stop.wait()


def main() -> None:
    asyncio.run(serve(arguments()))


if __name__ == "__main__":
    main()
