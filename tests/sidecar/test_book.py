"""The service's runs: taken once, looked after, found again, cancelled, and cleaned up when somebody has the result."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from adapter.cluster.jobs import SUPERVISOR
from adapter.errors import InvalidRequest
from adapter.line import Line
from adapter.local import LocalCluster
from adapter.sidecar.errors import Closing, Conflict, NotFinished, NotTaken
from tests.sidecar.books import command_document, delete, kill, replica, text_of

LOOP = "i=0; while [ $i -lt {} ]; do echo line $i; i=$((i+1)); sleep 0.05; done"


def loop(lines: int) -> tuple[str, ...]:
    return "sh", "-c", LOOP.format(lines)


def expected(lines: int) -> str:
    return "".join(f"line {number}\n" for number in range(lines))


async def test_a_run_is_taken_looked_after_and_kept_until_its_result_is_stored(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        view = await one.post("a", "sh", "-c", "echo hello; exit 3", retain=0)
        assert view.durable
        assert view.supervisor == "one"
        view = await one.end("a")
        assert view.result
        assert (view.outcome, view.result["exit_code"]) == ("failed", 3)
        lines = await one.lines("a")
        assert text_of(lines) == "hello\n"
        assert lines[-1]["type"] == "result"
        [job] = cluster.list("jobs")
        assert job["metadata"]["annotations"][SUPERVISOR] == "one"
        [secret] = cluster.list("secrets")
        assert secret["metadata"]["name"].startswith(job["metadata"]["name"] + "-request-")
        assert await one.book.ack("a")
        await cluster.until(lambda c: not c.list("jobs"))
        await cluster.until(lambda c: not c.list("secrets"))


async def test_the_same_request_is_the_same_run_and_another_is_a_conflict(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        document = command_document("a", "sleep", "30")
        views: list[tuple[object, bool]] = []

        async def post() -> None:
            views.append(await one.book.accept(document))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(post)
        assert sorted(new for _, new in views) == [False] * 4 + [True]
        assert len(cluster.list("jobs")) == 1
        with pytest.raises(Conflict, match="an id of its own"):
            await one.post("a", "sleep", "31")
        assert await one.book.cancel("a", "enough")
        assert (await one.end("a")).outcome == "cancelled"


async def test_what_could_never_run_is_refused_before_anything_is_made(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        for document, words in (
            ({}, "context"),
            ({"request": {"runId": "a", "command": "true"}}, "command"),
            ({"request": {"runId": "a", "command": ["true"], "imge": "x"}}, "imge"),
            ({"request": {"runId": "a", "command": ["true"], "timeout": 0}}, "timeout"),
            ({"context": {"runId": "a"}}, "agent"),
            (command_document("a", "true", plane={"url": "ftp://x"}), "plane.url"),
        ):
            with pytest.raises(InvalidRequest, match=words):
                await one.book.accept(document)
        assert await one.book.runs() == []
        assert not cluster.list("jobs")


async def test_let_go_and_come_back_to(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *loop(20))
        await one.until("a", lambda view: view.state == "running")
        assert await one.book.close() == ["a"]
        with pytest.raises(Closing):
            await one.post("b", "true")
    assert not cluster.list("leases")
    async with replica(cluster, tmp_path) as one:
        assert (await one.end("a")).outcome == "succeeded"
        assert await one.text("a") == expected(20)


async def test_a_replica_that_was_killed_takes_up_its_runs_at_once(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *loop(20))
        await one.until("a", lambda view: view.state == "running")
        lines = []
        journal = await one.book.journal("a")
        assert journal
        async for line in journal.read(None):
            lines.append(line)
            if text_of(lines).count("\n") > 3:
                break
        await kill(one)
    async with replica(cluster, tmp_path) as one:
        await one.end("a")
        after = next(line["cursor"] for line in reversed(lines) if "cursor" in line)
        assert text_of([*lines, *await one.lines("a", after)]) == expected(20)
        assert await one.text("a") == expected(20)


async def test_a_replica_that_has_lost_its_state_finds_its_runs_by_their_jobs(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path / "1") as one:
        await one.post("a", *loop(20))
        await one.until("a", lambda view: view.state == "running")
        await kill(one)
    async with replica(cluster, tmp_path / "2") as one:
        assert (await one.end("a")).outcome == "succeeded"
        assert await one.text("a") == expected(20)


async def test_a_dead_replicas_runs_are_taken_over_once_its_lease_shows_no_life(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path, "two") as two:
        async with replica(cluster, tmp_path, "one") as one:
            await one.post("a", *loop(40))
            await one.until("a", lambda view: view.state == "running")
            view = await two.until("a", lambda view: view.state == "elsewhere")
            assert view.supervisor == "one"
            await kill(one)
        assert (await two.end("a")).outcome == "succeeded"
        assert (await two.view("a")).supervisor is None or (await two.view("a")).mine is False
        assert await two.text("a") == expected(40)
        [job] = cluster.list("jobs")
        assert job["metadata"]["annotations"][SUPERVISOR] == "two"


async def test_a_run_of_another_replica_can_be_read_and_cancelled_here(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, "one") as one, replica(cluster, tmp_path, "two") as two:
        await one.post("a", "sh", "-c", "echo here; sleep 60")
        await one.until("a", lambda view: view.state == "running")
        await two.until("a", lambda view: view.state == "elsewhere")
        (view, _) = await two.book.accept(command_document("a", "sh", "-c", "echo here; sleep 60"))
        assert view.state == "elsewhere"
        assert await two.book.cancel("a", "not wanted")
        assert (await one.end("a")).outcome == "cancelled"
        lines = await two.lines("a")
        assert text_of(lines) == "here\n"
        assert lines[-1]["result"]["outcome"] == "cancelled"


async def test_more_runs_than_may_be_at_once_wait_in_order_and_visibly(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, line=Line(1, agents=True)) as one:
        await one.post("a", "sleep", "60")
        for run_id in ("b", "c"):
            view = await one.post(run_id, "true")
            assert view.state == "queued"
            assert view.durable
        assert "as many runs are at work" in ((await one.until("b", lambda view: view.waits)).waits or "")
        assert len(cluster.list("jobs")) == 3
        assert await one.book.cancel("c", "not wanted")
        assert (await one.end("c")).outcome == "cancelled"
        assert await one.book.cancel("a", "enough")
        assert (await one.end("b")).outcome == "succeeded"


async def test_a_cancel_is_on_the_job_before_it_is_answered_and_survives_a_crash(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
        await one.until("a", lambda view: view.state == "running")
        assert await one.book.cancel("a", "by hand")
        [job] = cluster.list("jobs")
        assert job["metadata"]["annotations"]["claude-k8s/cancel"] == "by hand"
        await kill(one)
    async with replica(cluster, tmp_path) as one:
        view = await one.end("a")
        assert view.outcome == "cancelled"


async def test_a_cancel_that_the_api_server_does_not_take_is_not_said_to_be_taken(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", "sleep", "60")
        await one.until("a", lambda view: view.state == "running")
        assert not await one.book.cancel("nobody", "x")
        await cluster.stop_api()
        with pytest.raises(NotTaken, match="'a'"):
            await one.book.cancel("a", "now")
        await cluster.start_api()
        assert (await one.end("a")).outcome == "cancelled"


async def test_a_job_that_was_deleted_while_nobody_looked_is_not_run_a_second_time(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.post("a", *loop(1000))
        await one.until("a", lambda view: view.state == "running")
        await kill(one)
    [job] = cluster.list("jobs")
    await delete(cluster, "jobs", job["metadata"]["name"])
    await cluster.until(lambda c: not c.list("jobs"))
    async with replica(cluster, tmp_path) as one:
        assert (await one.end("a")).outcome == "deleted"
        assert not cluster.list("jobs")


async def test_a_result_can_be_fetched_after_a_restart_and_is_acknowledged_then(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path / "1") as one:
        await one.post("a", "echo", "x", retain=0)
        await one.post("b", "sleep", "60")
        with pytest.raises(NotFinished):
            await one.book.ack("b")
        await one.end("a")
    async with replica(cluster, tmp_path / "1") as one:
        assert (await one.view("a")).outcome == "succeeded"
        assert await one.text("a") == "x\n"
    async with replica(cluster, tmp_path / "2") as one:
        assert (await one.end("a")).outcome == "succeeded"
        assert await one.text("a") == "x\n"
        assert await one.book.ack("a")
        assert await one.book.cancel("b", "enough")
        await one.end("b")
    assert not [s for s in cluster.list("secrets") if "-a-" in s["metadata"]["name"]]


async def test_a_suspended_job_whose_request_was_never_kept_is_swept(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path / "1", line=Line(0)) as one:
        await one.post("a", "true")
        await kill(one)
    for secret in cluster.list("secrets"):
        await delete(cluster, "secrets", secret["metadata"]["name"])
    async with replica(cluster, tmp_path / "2"):
        await cluster.until(lambda c: not c.list("jobs"))


async def test_a_run_that_nobody_reads_is_cancelled_where_that_is_wanted(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, unattended=0.3) as one:
        await one.post("a", "sleep", "60")
        view = await one.end("a")
        assert view.outcome == "cancelled"
        assert view.result
        assert "nobody has read" in view.result["message"]


async def test_a_reader_that_acknowledges_as_soon_as_it_has_the_result_was_told_that_it_is_ending(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path) as one:
        for number in range(5):
            run_id = f"run-{number}"
            await one.post(run_id, "true", retain=0)
            assert (await one.lines(run_id))[-1]["type"] == "result"
            assert await one.book.ack(run_id)
        await cluster.until(lambda c: not c.list("jobs"))


async def test_an_acknowledgement_at_another_replica_left_the_job_for_an_hour(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path, "one") as one, replica(cluster, tmp_path, "two") as two:
        await one.post("a", "true", retain=0)
        await one.end("a")
        await two.end("a")
        assert await two.book.ack("a")
        await cluster.until(lambda c: not c.list("jobs"))
