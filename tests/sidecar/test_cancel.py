"""A cancel on every path: once it is answered nobody can forget it, and the result says so, whoever deleted what."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from adapter.cluster.jobs import CANCEL
from adapter.line import Line
from adapter.local import Fault, LocalCluster
from adapter.sidecar.errors import NotTaken
from tests.sidecar.books import Replica, command_document, delete, kill, replica
from tests.sidecar.test_book_agents import document

TRAP = ("sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")


def on_the_job(cluster: LocalCluster) -> bool:
    """Whether the API server has the cancel, or has no Job at all."""
    return all(CANCEL in (job["metadata"]["annotations"] or {}) for job in cluster.list("jobs"))


async def cancelled(one: Replica, cluster: LocalCluster, run_id: str = "a") -> str:
    """Cancels, and says what was logged."""
    assert await one.book.cancel(run_id, "by hand")
    assert on_the_job(cluster)
    view = await one.end(run_id)
    assert view.outcome == "cancelled"
    assert view.result
    await cluster.until(lambda c: all(p["metadata"].get("deletionTimestamp") for p in c.list("pods")))
    return await one.text(run_id)


async def test_before_the_job_exists(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        cluster.faults.add(Fault.delay(0.6, method="POST", path="*/jobs"))
        async with anyio.create_task_group() as group:
            group.start_soon(one.book.accept, command_document("a", "echo", "never"))
            await one.until("a", lambda view: view.state == "accepted")
            assert await cancelled(one, cluster) == ""
        await cluster.until(lambda c: not c.list("jobs"))


async def test_while_it_waits_for_its_turn(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, line=Line(0)) as one:
        await one.post("a", "echo", "never")
        assert await cancelled(one, cluster) == ""


async def test_while_it_waits_for_its_turn_by_somebody_else(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, "one", line=Line(0)) as one, replica(cluster, tmp_path, "two") as two:
        await one.post("a", "echo", "never")
        await two.until("a", lambda view: view.state == "elsewhere")
        assert await two.book.cancel("a", "by hand")
        assert (await one.end("a")).outcome == "cancelled"


async def test_while_its_pod_is_pending(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.node.unschedulable()
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "echo", "never")
        await one.until("a", lambda view: view.state == "pending")
        assert await cancelled(one, cluster) == ""


async def test_a_run_that_ended_as_its_cancel_was_taken_was_said_not_to_be_there(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *TRAP)
        await up(one)
        cancel_job = one.book._cancel_job

        async def late(run_id: str, why: str) -> bool:
            await one.end("a")
            await cluster.until(lambda c: not c.list("jobs"))
            return await cancel_job(run_id, why)

        monkeypatch.setattr(one.book, "_cancel_job", late)
        assert await cancelled(one, cluster) == "up\nbye\n"


async def test_while_it_runs_and_its_last_words_are_delivered(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *TRAP)
        await up(one)
        assert await cancelled(one, cluster) == "up\nbye\n"


async def test_what_has_ended_cannot_be_cancelled_any_more(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "true")
        await one.end("a")
        assert await one.book.cancel("a", "too late")
        assert (await one.view("a")).outcome == "succeeded"


async def test_after_another_process_has_adopted_it(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path / "1") as one:
        await one.post("a", *TRAP)
        await up(one)
        await kill(one)
    async with replica(cluster, tmp_path / "2", "two") as two:
        await two.until("a", lambda view: view.mine)
        assert await cancelled(two, cluster) == "up\nbye\n"


async def test_whoever_deletes_the_job_meanwhile(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *TRAP)
        await up(one)
        assert await one.book.cancel("a", "by hand")
        [job] = cluster.list("jobs")
        await delete(cluster, "jobs", job["metadata"]["name"])
        assert (await one.end("a")).outcome == "cancelled"


@pytest.mark.parametrize("moment", ["kept", "job"])
async def test_a_crash_after_a_cancel_does_not_bring_the_run_back(
    cluster: LocalCluster, tmp_path: Path, moment: str
) -> None:
    async with replica(cluster, tmp_path, line=Line(0) if moment == "kept" else None) as one:
        await one.post("a", *TRAP)
        if moment == "job":
            await up(one)
        assert await one.book.cancel("a", "by hand")
        await kill(one)
    async with replica(cluster, tmp_path) as one:
        view = await one.end("a")
        assert view.outcome == "cancelled"
        await cluster.until(lambda c: not c.list("pods"))
        assert sum(change.kind == "Job" and change.type == "ADDED" for change in cluster.history) == 1


async def up(one: Replica) -> None:
    """Waits until it has said that it is up."""
    journal = await one.book.journal("a")
    assert journal
    async for line in journal.read(None):
        if line["type"] == "log":
            return


async def test_while_its_control_plane_does_not_answer(cluster: LocalCluster, tmp_path: Path) -> None:
    """It was not heard as long as the run waited for its control plane to say where its log ends."""
    nobody = {"plane": {"url": "http://127.0.0.1:9"}}
    async with replica(cluster, tmp_path) as one:
        async with anyio.create_task_group() as group:
            group.start_soon(one.book.accept, document("a", "sleep=60") | nobody)
            await one.until("a", lambda view: view.state == "accepted")
            assert await one.book.cancel("a", "by hand")
        assert (await one.view("a")).cancel == "by hand"
        await cluster.until(lambda c: not c.list("jobs"))


async def test_a_crash_does_not_forget_the_cancel_of_a_run_that_has_no_job_yet(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        fault = cluster.faults.add(Fault.respond(503, method="POST", path="*/jobs"))
        async with anyio.create_task_group() as group:
            group.start_soon(one.book.accept, command_document("a", "echo", "never"))
            await one.until("a", lambda view: view.state == "accepted")
            with suppress(NotTaken):
                await one.book.cancel("a", "by hand")
            await kill(one)
            group.cancel_scope.cancel()
    fault.remove()
    async with replica(cluster, tmp_path) as one:
        assert (await one.end("a")).outcome == "cancelled"
        assert await one.text("a") == ""
