"""What happened to the adapter that did this before ours. Each test is named for it (tickets.py)."""

from __future__ import annotations

import json
import os

from adapter import Beat
from adapter.local import Fault
from tests.faults.wire import FOLLOWS
from tests.recorder import Recorder
from tests.wire.conftest import Site
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import FOREVER


async def test_the_stream_dropped_until_its_tries_were_used_up(site: Site) -> None:
    """There is no number of tries: a run is as long as it is."""
    handle = site.cluster.faults.add(Fault.cut(after_bytes=0, how="rst", count=60, **FOLLOWS))
    run = site.start("sh", "-c", "i=0; until [ $i -ge 250 ]; do i=$((i+1)); echo line $i; sleep 0.03; done")
    assert (await run.result(40)).ok
    assert handle.hits > 50
    assert run.plane.data == b"".join(b"line %d\n" % n for n in range(1, 251))
    assert run.plane.words("log_gap") == []


async def test_the_clock_of_the_end_began_with_the_job(site: Site) -> None:
    """A run that lasts longer than every bound of its tail, and then succeeds."""
    limits = site.adapter.limits
    longer = limits.stall + limits.grace + limits.ending
    run = site.start("sh", "-c", f"sleep {longer}; echo done")
    assert (await run.result()).ok
    assert run.plane.data == b"done\n"


async def test_a_blip_while_waiting_for_the_pod_deleted_the_job(site: Site) -> None:
    switch = site.cluster.node.unschedulable()
    run = site.start(*COUNT)
    await run.plane.until(lambda: run.plane.words("pod"))
    blip = site.cluster.faults.add(Fault.respond(500, method="GET"))
    site.cluster.faults.add(Fault.cut(how="rst", query={"watch": "1"}, count=2))
    await site.cluster.until(lambda _: blip.hits >= 4)
    blip.remove()
    switch.remove()
    assert (await run.result()).ok
    assert run.plane.data == COUNTED
    assert not any(request.method == "DELETE" for request in site.cluster.requests)


async def test_a_pid_that_is_not_ours_was_told_to_the_control_plane(site: Site) -> None:
    run = site.start("true")
    result = await run.result()
    told = json.dumps([result.to_json(), *(dict(event.data) for event in run.plane.events)], default=str)
    assert "pid" not in told.lower()
    assert str(os.getpid()) not in [word.strip('",:') for word in told.split()]


async def test_a_beat_says_since_when_the_job_was_not_seen(site: Site) -> None:
    """So that whoever reaps needs no column that others write to."""
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.faults.add(Fault.silent_watch())
    site.cluster.faults.add(Fault.respond(503, method="GET"))
    site.cluster.compact()
    await run.plane.until(lambda: (run.plane.beats[-1].observed_ago or 0) > 1)
    site.cluster.faults.clear()
    run.plane.cancel()
    await run.result()


async def test_beats_were_written_into_the_log(site: Site) -> None:
    run = site.start("sh", "-c", "sleep 0.4; echo only this")
    await run.result()
    assert len(run.plane.beats) > 2
    assert all(isinstance(beat, Beat) for beat in run.plane.beats)
    assert run.plane.data == b"only this\n"


async def test_a_plane_that_refuses_to_be_asked_for_a_cancel_was_silent(site: Site) -> None:
    class Refusing(Recorder):
        async def cancellation(self) -> str:
            raise PermissionError("401")

    run = site.start(*COUNT, plane=Refusing())
    assert (await run.result()).ok
    assert any("cannot be asked for a cancel" in words for words in run.plane.words("cancel"))
