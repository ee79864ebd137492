"""Agents' runs in the service: taken over from a run that was lost, tried afresh, and never two at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter.agent.context import RunContext
from adapter.cluster.jobs import ADOPTER, SUPERVISOR
from adapter.line import Line
from adapter.local import LocalCluster
from adapter.run import MAX_REQUEST_BYTES
from tests.sidecar.books import Replica, kill, replica, text_of
from tests.wire.test_agents import FAKE, TOKEN


def document(run_id: str, say: str = "", **fields: Any) -> dict[str, Any]:
    """What a control plane posts for an agent; `say` is what the fake reads in its prompt."""
    config = {"command": FAKE, "image": "busybox:1.36", "promptTemplate": f"FAKE: {say}\nDo the work.", "graceSec": 5}
    config |= fields.pop("config", {})
    wake = {"taskId": "task", **fields.pop("context", {})}
    agent = {"id": fields.pop("agent", "ann"), "companyId": "co", "name": "Ann"}
    context = {"runId": run_id, "agent": agent, "config": config, "context": wake, "authToken": TOKEN, **fields}
    RunContext.parse(context)
    return {"context": context}


async def post(one: Replica, run_id: str, say: str = "", **fields: Any) -> None:
    await one.book.accept(document(run_id, say, **fields))


async def test_an_agents_run_and_what_a_control_plane_stores_of_it(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, line=Line(9, agents=True)) as one:
        await post(one, "a", config={"env": {"KEY": "canary-key-91"}})
        view = await one.end("a")
        assert view.execution
        assert view.execution["errorMessage"] is None
        assert view.execution["usage"]["outputTokens"] > 0
        assert (view.agent, view.task) == ("ann", "task")
        lines = await one.lines("a")
        assert lines[-1]["execution"] == view.execution
        [meta] = [line for line in lines if line["type"] == "meta"]
        assert "Do the work." in meta["data"]["prompt"]
        for job in cluster.list("jobs"):
            assert TOKEN not in str(job)
            assert "canary-key-91" not in str(job["metadata"])
        assert TOKEN not in repr(one.book.keeper.held)


async def test_the_run_that_continues_a_lost_one_takes_its_job_over_and_never_two(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    async with replica(cluster, tmp_path, line=Line(9, agents=True)) as one:
        await post(one, "lost", "sleep=1")
        await one.until("lost", lambda view: view.state == "running")
        await post(one, "next", "sleep=1", context={"retryOfRunId": "lost"})
        view = await one.end("next")
        assert view.outcome == "succeeded"
        [job] = cluster.list("jobs")
        assert job["metadata"]["annotations"][ADOPTER] == "next"
        assert await one.book.run("lost") is None
        assert await one.text("next")


async def test_a_job_that_was_taken_over_is_found_again_as_the_new_runs(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path / "1") as one:
        await post(one, "lost", "sleep=2")
        await one.until("lost", lambda view: view.state == "running")
        await post(one, "next", "sleep=2", context={"retryOfRunId": "lost"})
        await one.until("next", lambda view: view.state in ("pending", "running") and view.pod)
        await kill(one)
    async with replica(cluster, tmp_path / "2", "two") as two:  # its state is lost, too
        view = await two.end("next")
        assert view.outcome == "succeeded"
        [job] = cluster.list("jobs")
        assert job["metadata"]["annotations"][SUPERVISOR] == "two"


async def test_a_lost_run_of_another_replica_is_taken_over_here(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, "one") as one, replica(cluster, tmp_path, "two") as two:
        await post(one, "lost", "sleep=1")
        await one.until("lost", lambda view: view.state == "running")
        await post(two, "next", "sleep=1", context={"retryOfRunId": "lost"})
        assert (await two.end("next")).outcome == "succeeded"
        assert len(cluster.list("jobs")) == 1
        assert (await one.book.run("lost")) is None


async def test_runs_of_one_agent_wait_for_each_other_in_order(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path, line=Line(9, agents=True)) as one:
        await post(one, "a", "sleep=1")
        await one.until("a", lambda view: view.state in ("pending", "running"))
        await post(one, "b", context={"taskId": "other"})
        view = await one.until("b", lambda view: view.waits)
        assert view.waits == "the agent is busy with run a"
        assert (await one.end("b")).outcome == "succeeded"
        assert (await one.view("a")).outcome == "succeeded"


async def test_a_run_that_begins_afresh_is_gone_on_with_in_its_second_job(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    gone = "11111111-1111-4111-8111-111111111111"
    session = {"runtime": {"sessionId": gone, "sessionParams": {"sessionId": gone}}}
    config = {"workspaceVolumeClaim": "work", "retryFreshSession": True}
    async with replica(cluster, tmp_path / "1") as one:
        await claim(one)
        await post(one, "a", "session-file sleep=1", config=config, **session)
        await one.until("a", lambda _: len(cluster.list("jobs")) == 2)
        await kill(one)
    async with replica(cluster, tmp_path / "2") as one:
        view = await one.end("a")
        assert view.outcome == "succeeded"
        assert len(cluster.list("jobs")) == 2


async def claim(one: Replica) -> None:
    """A volume that outlives the pods."""
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "work"}}
    body |= {"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}}
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    await one.book.adapter.connection.call("POST", path, body=body, deadline=3)


@pytest.mark.parametrize("size", [MAX_REQUEST_BYTES * 2])
async def test_a_request_that_no_secret_could_hold_is_refused(cluster: LocalCluster, tmp_path: Path, size: int) -> None:
    import random

    noise = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))
    async with replica(cluster, tmp_path) as one:
        with pytest.raises(Exception, match="a Secret could not hold it"):
            await post(one, "a", context={"noise": noise})


def test_the_text_of_a_log_is_what_its_lines_say() -> None:
    assert text_of([{"type": "log", "stream": "stdout", "text": "x"}, {"type": "beat"}]) == "x"
