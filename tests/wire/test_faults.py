"""What a wire can do to a run, and what becomes of it: nothing lost, nothing twice, the right outcome."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from adapter import Adapter, Outcome
from adapter.cluster import beginning
from adapter.local import Fault, LocalCluster, StreamRecord
from adapter.plane import Stream
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import FOREVER

FOLLOW: dict[str, Any] = {"path": "*/log", "query": {"follow": "true"}}
LIST_JOBS: dict[str, Any] = {"method": "GET", "path": "*/jobs"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.silent_watch(count=4), id="d2-watch-silent"),
        pytest.param(Fault.end_watch(count=6), id="d7-watch-ends"),
        Fault.gone_event(count=4),
        Fault.respond(410, count=3, query={"watch": "1"}),
        Fault.respond(500, count=4, query={"watch": "1"}),
        Fault.throttled(retry_after=1, count=1, **LIST_JOBS),
        Fault.respond(503, count=4, **LIST_JOBS),
        Fault.unauthorized(**LIST_JOBS),
        Fault.no_headers(count=2, query={"watch": "1"}),
        pytest.param(Fault.cut(after_bytes=700, how="rst", count=5, query={"watch": "1"}), id="d6-watch-cut"),
        Fault.cut(after_bytes=900, how="fin", count=5, query={"watch": "1"}),
        Fault.slow(20_000, query={"watch": "1"}),
        Fault.delay(0.2, **LIST_JOBS),
        Fault.unauthorized(method="POST", path="*/jobs"),
        Fault.throttled(retry_after=1, count=1, method="POST", path="*/jobs"),
        Fault.respond(500, method="POST", path="*/jobs", count=3),
        Fault.respond(409, method="PATCH", path="*/jobs/*", count=1),
        Fault.lose_answer(method="POST", path="*/jobs"),
        Fault.lose_answer(method="PATCH", path="*/jobs/*"),
        Fault.no_headers(count=2, **FOLLOW),
        pytest.param(Fault.respond(500, count=3, path="*/log"), id="a11-log-answered-with-errors"),
        Fault.respond(404, count=2, path="*/log"),
        Fault.unauthorized(path="*/log"),
        Fault.cut(after_bytes=0, how="eof", count=4, **FOLLOW),
        pytest.param(Fault.cut(after_bytes=100, how="rst", count=4, **FOLLOW), id="b8-follow-cut"),
        Fault.cut(after_bytes=333, how="fin", count=4, **FOLLOW),
        Fault.slow(3_000, **FOLLOW),
        Fault.silent_log(count=1),
        Fault.hang_log_after_end(),
    ],
    ids=lambda fault: f"{type(fault.action).__name__}-{fault.method or ''}{fault.path or 'watch'}".replace("*/", ""),
)
async def test_a_fault_of_the_wire_loses_nothing(cluster: LocalCluster, fault: Fault) -> None:
    handle = cluster.faults.add(fault)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        run = start(adapter, *COUNT)
        result = await run.result()
    assert handle.hits
    assert result.outcome is Outcome.SUCCEEDED
    assert run.plane.data == COUNTED
    await cluster.until(lambda c: not c.open_streams())


async def test_the_end_is_noticed_although_its_events_are_withheld(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    site.cluster.faults.add(Fault.withhold(lambda _, raw: raw["kind"] in ("Job", "Pod"), events=None))
    result = await run.result()
    assert result.ok
    assert run.plane.data == COUNTED


async def test_a_token_that_expired_is_read_again(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    site.cluster.expire_token()
    site.cluster.faults.add(Fault.cut(how="rst", **FOLLOW, count=1))
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_an_api_server_that_is_killed_and_comes_back(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    await site.cluster.stop_api()
    seen = len(run.plane.beats)
    await run.plane.until(lambda: len(run.plane.beats) >= seen + 5)
    await site.cluster.start_api()
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_an_api_server_that_stays_away_ends_nothing_but_may_detach(cluster: LocalCluster) -> None:
    limits = replace(FAST, unreachable=0.8)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        run = start(adapter, *FOREVER, grace=1)
        await run.plane.until(lambda: b"begun" in run.plane.data)
        await cluster.stop_api()
        result = await run.result()
    assert result.outcome is Outcome.DETACHED
    assert "could not be observed" in result.message
    assert run.plane.accepted is None
    await cluster.start_api()
    assert cluster.get("jobs", run.job)


async def test_a_watch_that_fell_silent_is_noticed_and_an_end_seen_all_the_same(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    site.cluster.faults.add(Fault.silent_watch())
    result = await run.result()
    assert result.ok
    assert run.plane.data == COUNTED


async def test_a_watch_that_fell_silent_is_opened_again_and_tells_the_end(cluster: LocalCluster) -> None:
    """Nothing else could: the follow hangs, and no look of the run's own is due."""
    limits = replace(FAST, silence=0.4, safety=60, news=60, stuck=60)
    cluster.faults.add(Fault.hang_log_after_end())
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        run = start(adapter, "sh", "-c", "echo begun; sleep 1.5")
        await run.plane.until(lambda: b"begun" in run.plane.data)
        seen = len(watches(cluster))
        cluster.faults.add(Fault.silent_watch(count=2))
        assert (await run.result()).ok
    assert len(watches(cluster)) > seen


def watches(cluster: LocalCluster) -> list[StreamRecord]:
    """Every watch so far."""
    return [stream for stream in cluster.streams if stream.kind == "watch"]


@pytest.mark.timeout(240)
async def test_a_thousand_cuts_lose_nothing_and_repeat_nothing(cluster: LocalCluster) -> None:
    """At random places, by a reset, a clean end, or in the middle of a chunk; runs follow until 1,000 have struck."""
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201 - so that a failure can be replayed
    dice = random.Random(seed)
    script = (
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i $((i*i)); [ $((i%40)) = 0 ] && sleep 0.03; done; true"
    )
    expected = b"".join(b"line %d %d\n" % (n, n * n) for n in range(1, 2001))
    for number in range(4000):
        cluster.faults.add(_random_cut(dice, number))
    runs = 0
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(FAST, retry_most=0.02)) as adapter:
        while _follows(cluster) < 1000 + 2 * runs:  # of each run two may have ended by themselves
            batch = [start(adapter, "sh", "-c", script) for _ in range(10)]
            runs += len(batch)
            for run in batch:
                assert (await run.result(60)).ok
                assert run.plane.data == expected
                assert run.plane.words("log_gap") == []
    print("cuts", _follows(cluster) - 2 * runs, "runs", runs)  # noqa: T201 - as above


def _random_cut(dice: random.Random, number: int) -> Fault:
    """A cut of the follow of that number: most of them early, so that there are many."""
    how: Any = dice.choice(["rst", "eof", "fin"])
    return Fault.cut(
        after_bytes=dice.randrange(dice.choice([2_000] * 9 + [100_000])), how=how, skip=number, count=1, **FOLLOW
    )


def _follows(cluster: LocalCluster) -> int:
    return sum(1 for stream in cluster.streams if stream.kind == "log" and "follow" in stream.query)


async def test_the_end_comes_while_the_follow_has_bytes_it_has_not_read(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the follow had received was framed after the drain had begun: lines were lost, and the log repeated."""
    monkeypatch.setattr(beginning, "FAST", math.inf)  # so much at once may have been rotated, on a slow machine
    plane = Recorder()
    plane.before_log = lambda: plane.until(lambda: "drain began" in plane.words("task"))
    limits = replace(FAST, memory=50_000, disk=50_000)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        run = start(adapter, "seq", "-f", "%0250.0f", "1", "30000", plane=plane)  # not so much that it is rotated
        assert (await run.result(60)).log.complete
    assert plane.data == b"".join(b"%0250d\n" % n for n in range(1, 30_001))


async def test_two_adapters_share_nothing(cluster: LocalCluster) -> None:
    one = Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST, instance="one")
    two = Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST, instance="two")
    async with one as first, two as second:
        runs = [start(adapter, "echo", name, run_id="same") for adapter, name in ((first, "one"), (second, "two"))]
        assert all([(await run.result()).ok for run in runs])
        assert [bytes(run.plane.data) for run in runs] == [b"one\n", b"two\n"]


async def test_a_plane_that_fails_in_every_way_ends_nothing(site: Site) -> None:
    class Broken(Recorder):
        async def beat(self, beat: object) -> None:
            raise RuntimeError("no beat")

        async def event(self, event: object) -> None:
            if getattr(event, "kind", "") != "job":
                raise RuntimeError("no event")
            await super().event(event)  # type: ignore[arg-type]

        async def cancellation(self) -> str:
            raise RuntimeError("no cancellation")

        async def position(self, stream: Stream) -> None:
            raise RuntimeError("no position")

    run = site.start(*COUNT, plane=Broken())
    assert (await run.result()).ok
    assert run.plane.data == COUNTED
