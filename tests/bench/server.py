"""A program: the embedded cluster in a process of its own. Asked, it says what it has seen of its clients.

All its times are of the monotonic clock, which the processes of a machine share.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import Any

from adapter.local import Fault, LocalCluster
from tests.bench.over import over
from tests.bench.programs import asked, say


async def serve(*faults: str) -> None:
    async with LocalCluster() as cluster:
        if "hang" in faults:
            cluster.faults.add(Fault.hang_log_after_end())
        say(kubeconfig=str(cluster.kubeconfig))
        while await asked():
            say(**_records(cluster))


def _records(cluster: LocalCluster) -> dict[str, Any]:
    ended: dict[str, float] = {}
    for change in cluster.history:
        if change.kind in ("Job", "Pod") and (job := over(change.object)):
            ended.setdefault(job, change.at)
    requests = [asdict(record) for record in cluster.requests]
    return {"requests": requests, "streams": [asdict(record) for record in cluster.streams], "ended": ended}


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
