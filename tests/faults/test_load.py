"""A host, a sink and a plane that are too slow: what else goes on is not held up."""

from __future__ import annotations

import time
from dataclasses import replace

import anyio
import pytest

from adapter import Adapter, Event
from adapter.local import Fault, LocalCluster
from tests.bench.programs import program
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_laws import COUNT, COUNTED


async def test_a_host_that_blocks_the_loop_for_long_is_late_by_no_more_than_that(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    for _ in range(2):
        time.sleep(site.adapter.limits.silence * 0.6)  # noqa: ASYNC251 - the very fault
        seen = len(run.plane.beats)
        await run.plane.until(lambda: len(run.plane.beats) > seen)  # noqa: B023 - awaited here
    result = await run.result()
    assert result.ok
    assert result.log.complete
    assert run.plane.data == COUNTED
    assert run.plane.words("watch") == [], "who was blocked was not blind"


async def test_an_end_within_a_block_is_told_as_soon_as_the_block_is_over() -> None:
    """The cluster goes on meanwhile, in a process of its own; no look of the run's own would be due for a minute."""
    block, plane, told = 1.0, Recorder(), [0.0]

    async def note() -> None:
        told[0] = time.monotonic()

    plane.before_result = note
    limits = replace(FAST, safety=60, news=60)
    async with program("server") as server:
        kubeconfig = str((await server.hear())["kubeconfig"])
        async with Adapter.connect(kubeconfig=kubeconfig, limits=limits) as adapter:
            run = start(adapter, "sh", "-c", "echo begun; sleep 0.3; seq 3000", plane=plane)
            await plane.until(lambda: b"begun" in plane.data)
            time.sleep(block)  # noqa: ASYNC251 - the very fault
            over = time.monotonic()
            result = await run.result()
        ended = (await server.ask())["ended"][result.job]
    assert ended < over, "it ended within the block"
    assert told[0] - over < block, "late by the block, and by no timer of ours besides"
    assert result.log.complete
    assert plane.data == b"begun\n" + b"".join(b"%d\n" % n for n in range(1, 3001))
    assert plane.words("watch") == []


async def test_a_drain_that_a_blocked_loop_made_late_was_called_incomplete(site: Site) -> None:
    """The host was blocked for longer than a drain may stall: its only try counted, though the log was there."""
    site.cluster.faults.add(Fault.silent_log())
    site.cluster.faults.add(Fault.delay(0.2, path="*/log", skip=1))
    run = site.start("sh", "-c", "seq 50; sleep 0.6")
    await site.cluster.until(lambda c: any(r.path.endswith("/log") and "follow" not in r.query for r in c.requests))
    time.sleep(site.adapter.limits.stall * 2)  # noqa: ASYNC251 - the very fault
    result = await run.result()
    assert result.ok
    assert result.log.complete
    assert run.plane.data == b"".join(b"%d\n" % n for n in range(1, 51))


async def test_a_sink_that_takes_long_for_each_chunk(site: Site) -> None:
    plane = Recorder()

    async def slowly() -> None:
        await anyio.sleep(0.3)

    plane.before_log = slowly
    run = site.start(*COUNT, plane=plane)
    result = await run.result()
    assert result.ok
    assert plane.data == COUNTED
    assert len(plane.beats) > 5


async def test_a_plane_that_is_late_with_every_answer(cluster: LocalCluster) -> None:
    """Later than a call may take: it is given more time. Events and beats neither pile up nor end the run."""
    plane, late = Recorder(), 0.3
    tried = {"beat": 0, "event": 0}

    async def beat() -> None:
        tried["beat"] += 1
        await anyio.sleep(late)

    async def event(_: Event) -> None:
        tried["event"] += 1
        await anyio.sleep(late)

    async def log() -> None:
        await anyio.sleep(late)

    plane.before_beat, plane.before_log = beat, log
    plane.before_result = log
    plane.event = event  # type: ignore[assignment,method-assign]
    limits = replace(FAST, call=late / 3, plane=late * 4, launch=8)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        result = await start(adapter, *COUNT, plane=plane).result()
    assert result.ok
    assert plane.data == COUNTED
    assert tried["beat"] > 3
    assert tried["event"] > 1
    assert plane.beats
    assert plane.accepted == result
    assert result.warnings == ()


@pytest.mark.timeout(180)
async def test_a_sink_that_takes_nothing_bounds_what_is_read() -> None:
    """Memory and disk are full: the stream is read no further, and goes on once the sink does."""
    plane, gate = Recorder(), anyio.Event()
    plane.before_log = gate.wait
    limits = replace(FAST, memory=50_000, disk=50_000, sink=30)
    lines = 300_000
    async with (
        LocalCluster(rotate_bytes=1 << 30) as cluster,
        Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter,
    ):
        run = start(adapter, "seq", "-f", "%0100.0f", "1", str(lines), plane=plane)
        await cluster.until(lambda c: any("terminated" in str(pod["status"]) for pod in c.list("pods")), 60)
        seen = len(plane.beats)
        await plane.until(lambda: len(plane.beats) > seen + 5)
        held = max(stream.bytes_sent for stream in cluster.streams if stream.kind == "log")
        gate.set()
        result = await run.result(60)
    assert held < 100 * lines // 2, "what the library and the sockets buffer, and no more"
    assert result.ok
    assert plane.data == b"".join(b"%0100d\n" % n for n in range(1, lines + 1))
