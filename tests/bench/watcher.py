"""A program: an independent watcher of Jobs and pods. Asked, it says when it first saw each run over."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from adapter.cluster.connection import Connection
from adapter.cluster.credentials import Source
from tests.bench.over import over
from tests.bench.programs import asked, say


async def main(kubeconfig: str, namespace: str) -> None:
    connection = await Connection.open(Source(kubeconfig), deadline=10)
    seen: dict[str, float] = {}
    paths = (f"/api/v1/namespaces/{namespace}/pods", f"/apis/batch/v1/namespaces/{namespace}/jobs")
    watches = [asyncio.create_task(_watch(connection, path, seen)) for path in paths]
    say(watching=True)
    while await asked():
        say(seen=seen)
    for watch in watches:
        watch.cancel()
    await connection.close()


async def _watch(connection: Connection, path: str, seen: dict[str, float]) -> None:
    async with connection.stream(path, query=[("watch", "true")], headers=10) as response:
        rest = b""
        while block := await response.content.readany():
            at = time.monotonic()
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if job := over(json.loads(line)["object"]):
                    seen.setdefault(job, at)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
