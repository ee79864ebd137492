"""Faults that were found in the service, each by its own test: what happened, and that it does not any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapter.cluster.belongings import Belongings
from adapter.cluster.jobs import ADOPTER, RESULT, SUPERVISOR, Jobs
from adapter.errors import AdapterError, InvalidRequest
from adapter.line import Line
from adapter.local import Fault, LocalCluster
from adapter.plane import Beat
from adapter.plane.callbacks import CallbackPlane
from adapter.plane.store import StoreError
from adapter.run import RunResult
from adapter.sidecar.errors import Conflict
from adapter.sidecar.keeper import Keeper
from adapter.tail import Tail
from tests.sidecar.books import Replica, command_document, delete, kill, replica
from tests.sidecar.test_book_agents import document, post


def notes(cluster: LocalCluster) -> dict[str, str]:
    """The annotations of the only Job."""
    [job] = cluster.list("jobs")
    found: dict[str, str] = job["metadata"]["annotations"]
    return found


async def running(one: Replica, run_id: str = "a", seconds: str = "20") -> None:
    await one.post(run_id, "sleep", seconds)
    await one.until(run_id, lambda view: view.state == "running")


async def test_a_returning_replica_said_that_the_job_was_gone_which_another_had_taken_over(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path, "two") as two:
        async with replica(cluster, tmp_path, "one") as one:
            await running(one)
            await kill(one)
        await two.until("a", lambda view: view.mine and view.state == "running")
        async with replica(cluster, tmp_path, "one") as one:
            view = await one.until("a", lambda view: view.state == "elsewhere")
            assert view.supervisor == "two"
            assert (await two.view("a")).state == "running"


@pytest.mark.parametrize("status", [409, 500])
async def test_a_failed_patch_at_the_adoption_made_a_running_job_gone(
    cluster: LocalCluster, tmp_path: Path, status: int
) -> None:
    async with replica(cluster, tmp_path / "1") as one:
        await running(one)
        await kill(one)
    cluster.faults.add(Fault.respond(status, method="PATCH", path="*/jobs/*", count=1))
    async with replica(cluster, tmp_path / "2", "two") as two:
        view = await two.until("a", lambda view: view.mine)
        assert view.outcome is None


async def test_a_job_in_another_namespace_was_gone_after_a_restart(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
        await one.book.adapter.connection.call("POST", "/api/v1/namespaces", body=body, deadline=3)
        await one.book.accept(document("a", "sleep=1", config={"namespace": "other", "retainJobs": False}))
        await one.until("a", lambda view: view.state == "running")
        await kill(one)
    async with replica(cluster, tmp_path) as one:
        assert (await one.end("a")).outcome == "succeeded"
        assert await one.book.ack("a")
        await cluster.until(lambda c: not c.list("jobs", "other"))


async def test_a_job_that_was_stopped_stayed_for_good_after_a_crash(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.node.image_pull_error()
    kept = cluster.faults.add(Fault.respond(500, method="DELETE", path="*/jobs/*"))
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "true")
        assert (await one.end("a")).outcome == "failed"
        await kill(one)
    kept.remove()
    async with replica(cluster, tmp_path) as one:
        assert (await one.end("a")).outcome == "failed"
        assert await one.book.ack("a")
        await cluster.until(lambda c: not c.list("jobs"))


async def test_another_request_at_another_replica_ended_the_run(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, "one") as one, replica(cluster, tmp_path, "two") as two:
        await running(one)
        with pytest.raises(Conflict, match="an id of its own"):
            await two.post("a", "sleep", "21")
        assert (await one.view("a")).state == "running"


async def test_another_request_that_comes_before_the_news_of_the_job(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(cluster, tmp_path, "one") as one, replica(cluster, tmp_path, "two") as two:
        await running(one)
        monkeypatch.setattr(two.book.keeper, "jobs", list)
        with pytest.raises(Conflict, match="an id of its own"):
            await two.post("a", "sleep", "21")
        assert (await one.view("a")).state == "running"


async def test_the_same_request_at_another_replica_was_never_durable_and_never_finished(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path, "two") as two:
        async with replica(cluster, tmp_path, "one") as one:
            await running(one, seconds="1")
            view, new = await two.book.accept(command_document("a", "sleep", "1"))
            assert (view.state, view.durable, new) == ("elsewhere", True, False)
            await one.end("a")
            await two.end("a")
        view, _ = await two.book.accept(command_document("a", "sleep", "1"))
        assert view.outcome == "succeeded"


async def test_an_orphan_could_not_be_gone_on_with_although_its_request_was_sent_again(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path, "one") as one:
        await running(one)
        await kill(one)
    for secret in cluster.list("secrets"):
        await delete(cluster, "secrets", secret["metadata"]["name"])
    async with replica(cluster, tmp_path, "two") as two:
        await two.until("a", lambda view: view.state == "orphaned")
        view, _ = await two.book.accept(command_document("a", "sleep", "20"))
        assert view.mine


async def test_a_row_that_cannot_be_read_kept_the_service_from_ever_being_ready(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "true")
        await one.end("a")
        await one.store.create("bad", b"not gzip")
    async with replica(cluster, tmp_path) as one:
        assert (await one.view("a")).outcome == "succeeded"
        await one.until("a", lambda _: one.book.ready() is None)


async def test_a_token_that_could_never_be_sent_was_taken(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        with pytest.raises(InvalidRequest, match="token"):
            await one.post("a", "true", plane={"url": "http://127.0.0.1:9", "token": "a b"})


async def test_a_fault_of_ours_left_a_run_without_anybody(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([RuntimeError("ours")])

    async def faulty(self: Keeper, held: Any) -> RunResult:
        for fault in faults:
            raise fault
        return await real(self, held)

    real = Keeper._result
    monkeypatch.setattr(Keeper, "_result", faulty)
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "true")
        assert (await one.end("a")).outcome == "succeeded"


async def test_after_a_crash_a_run_that_had_its_result_was_judged_anew(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(cluster, tmp_path) as one:
        with monkeypatch.context() as patched:
            patched.setattr(Tail, "clean_up", lambda *_: anyio.sleep_forever())
            await one.post("a", "sh", "-c", "echo x; exit 3")
            assert (await one.lines("a"))[-1]["result"]["exit_code"] == 3
            await kill(one)
    for pod in cluster.list("pods"):
        await delete(cluster, "pods", pod["metadata"]["name"])
    async with replica(cluster, tmp_path) as one:
        view = await one.end("a")
        assert view.result
        assert (view.result["code"], view.result["exit_code"]) == ("exit_code", 3)
        await cluster.until(lambda c: RESULT in notes(c))


async def test_an_outage_at_the_moment_of_an_adoption_failed_a_run_that_ran(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(cluster, tmp_path) as one:
        await running(one, seconds="8")
        await kill(one)
    await cluster.stop_api()
    async with replica(cluster, tmp_path) as one:
        await anyio.sleep(6)  # more than a launch may take
        await cluster.start_api()
        assert (await one.end("a")).outcome == "succeeded"


async def test_a_cancel_just_after_a_restart_found_no_such_run(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        fault = cluster.faults.add(Fault.respond(503, method="POST", path="*/jobs"))
        async with anyio.create_task_group() as group:
            group.start_soon(one.book.accept, command_document("a", "echo", "never"))
            await one.until("a", lambda view: view.state == "accepted")
            await kill(one)
            group.cancel_scope.cancel()
    fault.remove()
    async with replica(cluster, tmp_path) as one:
        assert await one.book.cancel("a", "by hand")
        assert (await one.end("a")).outcome == "cancelled"


async def test_a_secret_of_an_earlier_job_of_the_name_was_taken_for_the_runs_own(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        await running(one)
        [(_, job)] = one.book.keeper.jobs()
        belongings = Belongings(one.book.adapter.connection, "default", call=3)
        later = changed(job, uid="00000000-0000-4000-8000-000000000000")
        await belongings.keep(later, "a", {"document": b"new"})
        made = [c.object["metadata"]["ownerReferences"] for c in cluster.history if c.kind == "Secret"]
        assert later.uid in [owners[0]["uid"] for owners in made]  # its owner is not there, so it is collected at once


async def test_a_replica_withdrew_a_job_that_another_had_taken_over(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, line=Line(0)) as one:
        await one.post("a", "sleep", "5")
        [(_, job)] = one.book.keeper.jobs()
        await Jobs(one.book.adapter.connection, "default", call=3).mark(job, {SUPERVISOR: "two"})
        await one.until("a", lambda view: view.state != "queued")
        assert notes(cluster)[SUPERVISOR] == "two"


async def test_a_crash_in_the_middle_of_a_takeover_left_an_orphan(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(cluster, tmp_path / "1", "one", line=Line(9, agents=True)) as one:
        await post(one, "lost", "sleep=3")
        await one.until("lost", lambda view: view.state == "running")
        with monkeypatch.context() as patched:
            patched.setattr(Belongings, "forget", lambda *_: anyio.sleep_forever())
            async with anyio.create_task_group() as group:
                group.start_soon(one.book.accept, document("next", "sleep=3", context={"retryOfRunId": "lost"}))
                await cluster.until(lambda c: ADOPTER in notes(c))
                await kill(one)
                group.cancel_scope.cancel()
    async with replica(cluster, tmp_path / "2", "two", line=Line(9, agents=True)) as two:
        assert (await two.end("next")).outcome == "succeeded"


async def test_words_about_a_job_made_a_running_run_pending(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await running(one)
        one.book.adapter._runs["a"]._herald.tell("job", "the Job could not be stopped: x")
        await one.book.adapter._runs["a"]._herald.flushed()
        assert (await one.view("a")).state == "running"


async def test_beats_followed_an_accepted_result_where_the_journal_was_full(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Desk(CallbackPlane):
        async def result(self, result: RunResult) -> None:
            said.append("result")

        async def beat(self, beat: Beat) -> float | None:
            said.append("beat")
            return 0.05

    @asynccontextmanager
    async def to(*_: object) -> AsyncIterator[CallbackPlane]:
        yield Desk()

    async def full(*_: object) -> bool:
        raise StoreError("no space is left")

    async with replica(cluster, tmp_path) as one:
        monkeypatch.setattr(one.book.keeper._pushing, "to", to)
        monkeypatch.setattr(one.book.keeper._pushing, "wanted", lambda asked: True)
        monkeypatch.setattr(one.store, "finish", full)
        await one.post("a", "true")
        await one.end("a")
        assert said[-1] == "result"
        assert RESULT in notes(cluster)


async def test_a_replica_that_could_not_write_took_the_jobs_of_the_dead(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> bool:
        raise StoreError("no space is left")

    async with replica(cluster, tmp_path, "two") as two:
        async with replica(cluster, tmp_path, "one") as one:
            await running(one)
            await two.until("a", lambda view: view.state == "elsewhere")
            monkeypatch.setattr(two.store, "create", full)
            await kill(one)
        await two.until("a", lambda view: "no space" in (two.book.ready() or ""))
        assert notes(cluster)[SUPERVISOR] == "one"


async def test_an_agents_result_had_no_execution_at_another_replica(cluster: LocalCluster, tmp_path: Path) -> None:
    line = Line(9, agents=True)
    async with replica(cluster, tmp_path, "one", line=line) as one, replica(cluster, tmp_path, "two") as two:
        await post(one, "a", "sleep=1")
        await two.until("a", lambda view: view.state == "elsewhere")
        last = (await two.lines("a"))[-1]
        execution = (await one.end("a")).execution
        assert execution
        assert last["execution"] == execution
        assert (await two.end("a")).execution == execution


async def test_a_namespace_that_may_not_be_watched_is_said_at_the_start(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.faults.add(Fault.respond(403, method="GET", path="*/namespaces/other/*"))
    async with replica(cluster, tmp_path, namespaces=("other",)) as one:
        with pytest.raises(AdapterError, match="namespace other"):
            await one.book.over()
