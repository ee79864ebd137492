"""`python -m tests.sidecar.real DIR`: the service itself on an embedded cluster, until its standard input ends.

One run is over; whatever else is posted waits for ever: nobody knows what it would do. A process of its own, since
Hypothesis does not bear a thread beside it that draws random numbers.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from adapter.line import Line
from adapter.local import LocalCluster, Timing
from adapter.sidecar.auth import FixedToken
from adapter.sidecar.metrics import Metrics
from adapter.sidecar.models import RUN_ID
from tests.sidecar.books import replica
from tests.sidecar.serving import heard


async def serve(state: Path, token: str) -> None:
    async with LocalCluster(timing=Timing.fast()) as cluster, replica(cluster, state, line=Line(0)) as one:
        await one.post(RUN_ID, "true")
        await one.book.cancel(RUN_ID, "seen enough")
        await one.end(RUN_ID)
        async with heard(one.book, Metrics(), token=FixedToken(token)) as (url, _):
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
