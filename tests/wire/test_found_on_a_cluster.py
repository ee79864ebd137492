"""What the fault matrix on a real cluster found, each named for what happened. (The matrix: tests/faults_cluster.)"""

from __future__ import annotations

from typing import Any

from adapter import Outcome
from adapter.local import Fault
from tests.wire.conftest import Site

FOLLOWS: dict[str, Any] = {"path": "*/log", "query": {"follow": "true"}}

SPEAK = ("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")


async def test_a_log_stood_still_until_the_end_because_its_follow_was_refused_once(site: Site) -> None:
    # Rights were withdrawn, the API server was restarted, the rights were given back: the follow was never tried again.
    run = await site.running(*SPEAK, said="1\n", grace=1)
    refused = site.cluster.faults.add(Fault.respond(403, **FOLLOWS))
    site.cluster.faults.add(Fault.cut(how="rst", count=1, **FOLLOWS))
    await run.plane.until(lambda: run.plane.words("log"))
    seen = len(run.plane.data)
    refused.remove()
    await run.plane.until(lambda: len(run.plane.data) > seen)
    assert not run.task.done()
    run.plane.cancel()
    result = await run.result()
    assert (result.outcome, result.log.complete) == (Outcome.CANCELLED, True)
    [words] = run.plane.words("log")
    assert words.startswith("the log may not be followed: ")
