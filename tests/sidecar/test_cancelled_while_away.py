"""A cancel that was under way when the service was killed: its Job may be gone before anybody comes back to it."""

from __future__ import annotations

from pathlib import Path

import anyio

from adapter.local import Fault, LocalCluster
from adapter.run import Outcome
from adapter.service import Adapter
from tests.sidecar.books import delete, kill, replica

FOREVER = "sh", "-c", "echo up; while :; do sleep 0.05; done"


async def test_a_cancelled_run_whose_job_was_gone_at_the_restart_is_cancelled_and_not_deleted(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Killed while it carried out a cancel, the service said `deleted` afterwards, and that the log was complete."""
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *FOREVER, grace=0)
        await one.until("a", lambda view: view.state == "running")
        assert await one.book.cancel("a", "by hand")
        await kill(one)
    for job in cluster.list("jobs"):  # unless it was deleted already: that is what a cancel does
        await delete(cluster, "jobs", job["metadata"]["name"])
    await cluster.until(lambda c: not c.list("jobs"))
    async with replica(cluster, tmp_path) as one:
        view = await one.end("a")
    assert view.result
    assert (view.outcome, view.result["code"]) == ("cancelled", "cancelled")
    assert "by hand" in view.result["message"]
    assert view.result["log"]["complete"] is False
    assert "log incomplete" in view.result["log"]["notes"][0]


async def test_a_run_whose_job_was_gone_at_the_restart_does_not_say_that_its_log_is_complete(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *FOREVER, grace=0)
        await one.until("a", lambda view: view.state == "running")
        with anyio.fail_after(10):
            while not await (await one.book.journal("a")).position("stdout"):  # type: ignore[union-attr]  # noqa: ASYNC110 - it is held, and looked at as a client does
                await anyio.sleep(0.02)
        await kill(one)
    [job] = cluster.list("jobs")
    await delete(cluster, "jobs", job["metadata"]["name"])
    await cluster.until(lambda c: not c.list("jobs"))
    async with replica(cluster, tmp_path) as one:
        view = await one.end("a")
        delivered = len(await one.text("a"))
    assert view.result
    assert (view.outcome, view.result["log"]["complete"]) == (Outcome.DELETED, False)
    assert view.result["log"]["delivered"] == delivered, "what its earlier process had delivered"


async def test_a_cancel_that_somebody_wrote_on_the_job_is_noted_before_the_job_is_deleted(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """It was known by the Job alone: killed right after the Job's deletion, the service said `deleted` afterwards."""
    cluster.faults.add(Fault.respond(503, method="DELETE", path="*/jobs/*"))
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *FOREVER, grace=0)
        await one.until("a", lambda view: view.state == "running")
        async with Adapter.connect(kubeconfig=str(cluster.kubeconfig)) as other:
            assert await other.cancel("a", "by another")
        await cluster.until(lambda c: any(request.method == "DELETE" for request in c.requests))
        row = await one.store.row("a")
        cluster.faults.clear()
        assert (await one.end("a")).outcome == "cancelled"
    assert row
    assert row.cancel == "by another"
