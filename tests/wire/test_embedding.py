"""In somebody else's program: fixtures, task groups, timeouts, uvloop, and cancellations at a bad moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
import uvloop

from adapter import Adapter, Outcome, RunRequest
from adapter.local import LocalCluster
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import FOREVER


@pytest.fixture
async def adapter(cluster: LocalCluster) -> AsyncIterator[Adapter]:
    """Entered in one task and left in another, as pytest-asyncio does it."""
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        yield adapter


async def test_in_a_fixture(adapter: Adapter) -> None:
    assert (await start(adapter, "true").result()).ok


def test_under_uvloop() -> None:
    async def main() -> bytes:
        async with LocalCluster() as cluster:
            async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
                run = start(adapter, *COUNT)
                assert (await run.result()).ok
            await cluster.until(lambda c: not c.open_streams())
            return bytes(run.plane.data)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == COUNTED


async def test_in_somebody_elses_task_group(adapter: Adapter) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(adapter.run(RunRequest(run_id=f"g{n}", command=COUNT))) for n in range(5)]
    assert all(task.result().ok for task in tasks)


async def test_a_sibling_that_fails_lets_go_of_the_run(adapter: Adapter, cluster: LocalCluster) -> None:
    plane = Recorder()

    async def fail() -> None:
        await plane.until(lambda: b"begun" in plane.data)
        raise RuntimeError("the host's own fault")

    async def host() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(adapter.run(RunRequest(run_id="sibling", command=FOREVER, grace=1), plane))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await host()
    assert "the host's own fault" in str(caught.value.exceptions)
    [job] = cluster.list("jobs")
    assert "deletionTimestamp" not in job["metadata"]


async def test_in_asyncio_timeout(adapter: Adapter, cluster: LocalCluster) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await adapter.run(RunRequest(run_id="late", command=FOREVER, grace=1))
    await cluster.until(lambda c: not any(s.kind == "log" for s in c.open_streams()))


async def test_in_anyios_move_on_after(adapter: Adapter, cluster: LocalCluster) -> None:
    with anyio.move_on_after(0.7) as scope:
        await adapter.run(RunRequest(run_id="late", command=FOREVER, grace=1))
    assert scope.cancelled_caught
    await cluster.until(lambda c: not any(s.kind == "log" for s in c.open_streams()))


async def test_a_cancellation_at_any_moment_is_passed_on_and_loses_nothing(site: Site) -> None:
    """One run, cancelled again and again at later and later moments, until it ends before it is cancelled."""
    data, position = b"", None
    for moment in range(400):
        plane = Recorder(position=position)
        run = site.start(*COUNT, plane=plane, run_id="patient")
        for _ in range(3 * moment):
            await asyncio.sleep(0)
        await asyncio.sleep(moment * 0.004)
        run.task.cancel()
        result = await _outcome(run.task)
        data += bytes(plane.data)
        position = await plane.position("stdout")
        if result:
            break
    assert result == Outcome.SUCCEEDED
    assert data == COUNTED


async def _outcome(task: asyncio.Task[object]) -> Outcome | None:
    """What the run came to; None: cancelled. A cancellation that came in time must not be swallowed."""
    try:
        result = await task
    except asyncio.CancelledError:
        return None
    assert not task.cancelling()
    return getattr(result, "outcome", None)


async def test_the_hosts_cancel_in_the_same_tick_as_the_end(site: Site) -> None:
    plane = Recorder()
    run = site.start("true", plane=plane)

    async def cancel_now() -> None:
        run.task.cancel()

    plane.before_result = cancel_now
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert run.task.cancelled()


async def test_aclose_from_another_task(cluster: LocalCluster) -> None:
    adapter = await Adapter.open(kubeconfig=str(cluster.kubeconfig), limits=FAST)
    run = start(adapter, *FOREVER, grace=1)
    await run.plane.until(lambda: b"begun" in run.plane.data)
    await asyncio.create_task(adapter.aclose())
    assert (await run.result()).outcome is Outcome.DETACHED
    await cluster.until(lambda c: not c.open_streams())


async def test_a_host_that_blocks_the_loop_loses_nothing(site: Site) -> None:
    import time

    run = await site.running(*COUNT, said="line 3")
    time.sleep(0.5)  # noqa: ASYNC251 - the very fault
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_let_go_by_a_callback_of_the_loop(site: Site) -> None:
    """A signal's handler is no task: where sniffio is installed, nothing of anyio's knew its own clock there."""
    run = await site.running("sh", "-c", "echo 1; sleep 60", said="1")
    asyncio.get_running_loop().call_soon(site.adapter.let_go, run.request.run_id)
    assert (await run.result()).outcome == "detached"
    await site.cluster.until(lambda c: not any(stream.kind == "log" for stream in c.open_streams()))
