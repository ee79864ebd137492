"""Moments in between, found by the proofs: each is held open here for as long as it takes to be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from adapter.cluster.connection import MERGE_PATCH
from adapter.cluster.jobs import ADOPTER, RESULT, SUPERVISOR
from adapter.line import Line
from adapter.local import Fault, LocalCluster
from adapter.sidecar.keeper import Keeper
from adapter.sidecar.views import RunView
from tests.sidecar.books import command_document, replica
from tests.sidecar.test_book_agents import claim, post


async def test_a_lost_run_is_no_orphan_between_being_let_go_of_and_being_gone_on_with(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was adopted again in that moment: two supervisors of one process had its Job, and one of them failed."""
    let_go_of = Keeper._let_go_of

    async def slowly(keeper: Keeper, run_id: str) -> None:
        await let_go_of(keeper, run_id)
        await anyio.sleep(0.3)  # several looks of the adoption

    monkeypatch.setattr(Keeper, "_let_go_of", slowly)
    async with replica(cluster, tmp_path, line=Line(9, agents=True)) as one:
        await post(one, "lost", "sleep=2")
        await one.until("lost", lambda view: view.state == "running")
        await post(one, "next", "sleep=2", context={"retryOfRunId": "lost"})
        assert (await one.end("next")).outcome == "succeeded"
        [job] = cluster.list("jobs")
        assert job["metadata"]["annotations"][ADOPTER] == "next"
        assert await one.book.run("lost") is None


async def test_a_run_was_over_for_a_moment_between_its_two_attempts(cluster: LocalCluster, tmp_path: Path) -> None:
    """Whoever asked another replica, or one that had just come back, was told that the run had failed."""
    gone = "11111111-1111-4111-8111-111111111111"
    session = {"runtime": {"sessionId": gone, "sessionParams": {"sessionId": gone}}}
    config = {"workspaceVolumeClaim": "work", "retryFreshSession": True}
    views: list[RunView | None] = []
    async with replica(cluster, tmp_path, "two") as two, replica(cluster, tmp_path, "one") as one:
        await claim(one)
        cluster.faults.add(Fault.delay(0.5, method="POST", path="*/jobs", skip=1))
        await post(one, "a", "session-file sleep=1", config=config, **session)
        while len(cluster.list("jobs")) < 2:
            views.append(await two.book.run("a"))
            await anyio.sleep(0.02)
        assert any(RESULT in job["metadata"]["annotations"] for job in cluster.list("jobs")), "the moment was missed"
        assert [view for view in views if view and view.state == "finished"] == []
        assert (await two.end("a")).outcome == "succeeded"


async def test_a_replica_takes_no_run_before_the_others_can_see_that_it_is_alive(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Its Job bore the name of a replica without a Lease: to the others it was an orphan, and they took it over."""
    lease: dict[str, Any] = {"method": "POST", "path": "*/leases"}
    async with replica(cluster, tmp_path, "two") as two:
        await cluster.until(lambda c: c.list("leases"))
        cluster.faults.add(Fault.delay(0.1, **lease))
        async with replica(cluster, tmp_path, "one") as one:
            await one.book.accept(command_document("a", "sleep", "1"))
            assert len(cluster.list("leases")) == 2
            assert (await two.until("a", bool)).supervisor == "one"
            assert (await one.end("a")).outcome == "succeeded"


async def test_a_replica_that_was_thought_dead_told_of_a_run_that_another_had_by_then(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """It had stood still, and its pod was gone when it woke: that its log was incomplete, which the other had read."""
    async with replica(cluster, tmp_path, "one") as one:
        await one.post("a", "sleep", "20")
        await one.until("a", lambda view: view.state == "running")
        telling = one.book.keeper.held["a"].telling
        await telling.allowed()
        [job] = cluster.list("jobs")
        path = f"/apis/batch/v1/namespaces/default/jobs/{job['metadata']['name']}"
        body = {"metadata": {"annotations": {SUPERVISOR: "two"}}}
        await one.book.adapter.connection.call("PATCH", path, body=body, content_type=MERGE_PATCH, deadline=3)
        await one.book._adoption.look_after_lapse()
        with anyio.move_on_after(0.1) as waiting:
            await telling.allowed()
        assert waiting.cancelled_caught
