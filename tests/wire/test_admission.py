"""At most one live Job for an agent: whoever waits, dies, comes back or launches at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapter import Adapter, Code, Outcome, RunResult
from adapter.cluster.connection import MERGE_PATCH
from adapter.cluster.jobs import RESULT, Job, job_name
from adapter.local import Fault, LocalCluster
from adapter.work import Work
from tests.recorder import Recorder
from tests.wire.agentwork import QUICK, agent_work
from tests.wire.conftest import Site

ROUNDS = int(os.environ.get("CLAUDE_K8S_ROUNDS", "25"))
"""How often two processes launch for one agent at the same moment; 1,000 takes minutes."""

SLOW = ("sh", "-c", "echo begun; sleep 0.4; echo done")
FOREVER = ("sh", "-c", "echo begun; while :; do sleep 0.05; done")
STUBBORN = ("sh", "-c", "trap '' TERM; echo begun; sleep 0.8; echo done")


@pytest.fixture
async def agents(cluster: LocalCluster) -> AsyncIterator[Site]:
    """An adapter whose launches are given up soon."""
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=QUICK) as adapter:
        site = Site(cluster, adapter)
        yield site
        for task in site.tasks:
            task.cancel()
        await asyncio.gather(*site.tasks, return_exceptions=True)
    await cluster.until(lambda c: not c.open_streams())


def begin(site: Site, work: Work, plane: Recorder, **limits: Any) -> asyncio.Task[RunResult]:
    task = asyncio.create_task(site.adapter.supervise(work, plane, **limits))
    site.tasks.append(task)
    return task


async def running(site: Site, work: Work, plane: Recorder | None = None) -> tuple[asyncio.Task[RunResult], Recorder]:
    plane = plane or Recorder()
    task = begin(site, work, plane)
    await plane.until(lambda: "begun" in plane.text)
    return task, plane


async def waiting(plane: Recorder) -> str:
    await plane.until(lambda: plane.words("admission"))
    return plane.words("admission")[0]


def locks(cluster: LocalCluster) -> list[dict[str, Any]]:
    return [one for one in cluster.list("configmaps") if one["metadata"]["name"].startswith("ck-agent-")]


def together(cluster: LocalCluster, agent: str = "a") -> int:
    """How many of an agent's containers ran at once, at most, as the cluster's own history tells."""
    alive: set[str] = set()
    most = 0
    for change in cluster.history:
        if change.kind == "Pod" and change.object["metadata"]["labels"].get("claude-k8s/agent") == agent:
            states = [s.get("state", {}) for s in change.object.get("status", {}).get("containerStatuses", ())]
            name = change.object["metadata"]["name"]
            (alive.add if any("running" in state for state in states) else alive.discard)(name)
            most = max(most, len(alive))
    return most


# -- waiting ---------------------------------------------------------------------------------------------------------


async def test_a_second_run_of_the_agent_waits_visibly_and_then_runs(agents: Site) -> None:
    first, _ = await running(agents, agent_work("one", *SLOW))
    plane = Recorder()
    second = begin(agents, agent_work("two", *SLOW), plane)
    assert await waiting(plane) == f"waiting: the agent is busy with Job {job_name('default', 'one')} (run one)"
    assert plane.beats, "it beats while it waits"
    assert (await first).ok
    assert (await second).ok
    assert together(agents.cluster) == 1


async def test_runs_of_other_agents_do_not_wait(agents: Site) -> None:
    first, _ = await running(agents, agent_work("one", *FOREVER))
    second = begin(agents, agent_work("two", "true", agent="b"), Recorder())
    assert (await second).ok
    assert not first.done()


async def test_a_run_that_waits_can_be_cancelled_and_leaves_nothing(agents: Site) -> None:
    await running(agents, agent_work("one", *FOREVER))
    plane = Recorder()
    second = begin(agents, agent_work("two", *SLOW), plane)
    await waiting(plane)
    plane.cancel()
    assert (await second).outcome is Outcome.CANCELLED
    assert [job["metadata"]["name"] for job in agents.cluster.list("jobs")] == [job_name("default", "one")]


async def test_a_run_that_waits_is_cancelled_through_its_job(agents: Site) -> None:
    await running(agents, agent_work("one", *FOREVER))
    plane = Recorder()
    second = begin(agents, agent_work("two", *SLOW), plane)
    await waiting(plane)
    assert await agents.adapter.cancel("two", "enough")
    result = await second
    assert (result.outcome, result.message) == (Outcome.CANCELLED, "cancelled: enough")


async def test_a_run_that_waits_and_whose_job_is_deleted_says_so(agents: Site) -> None:
    await running(agents, agent_work("one", *FOREVER))
    plane = Recorder()
    second = begin(agents, agent_work("two", *SLOW), plane)
    await waiting(plane)
    path = f"/apis/batch/v1/namespaces/default/jobs/{job_name('default', 'two')}"
    body = {"propagationPolicy": "Background"}
    await agents.adapter.connection.call("DELETE", path, body=body, deadline=3)
    assert (await second).code is Code.JOB_DELETED


async def test_waiting_can_be_bounded(agents: Site) -> None:
    await running(agents, agent_work("one", *FOREVER))
    result = await begin(agents, agent_work("two", *SLOW), Recorder(), busy=0.2)
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.AGENT_BUSY)
    assert "for longer than 0.2 s" in result.message
    assert len(agents.cluster.list("jobs")) == 1


async def test_a_deleted_jobs_pod_is_waited_for_through_its_grace(agents: Site) -> None:
    first, plane = await running(agents, agent_work("one", *STUBBORN))
    path = f"/apis/batch/v1/namespaces/default/jobs/{job_name('default', 'one')}"
    body = {"propagationPolicy": "Background"}
    await agents.adapter.connection.call("DELETE", path, body=body, deadline=3)
    await agents.cluster.until(lambda c: not locks(c))
    later = Recorder()
    second = begin(agents, agent_work("two", *SLOW), later)
    assert re.fullmatch("waiting: pod ck-one-.* of an earlier run of the agent has not ended", await waiting(later))
    assert (await second).ok
    assert "done" in plane.text
    assert (await first).outcome is Outcome.DELETED
    assert together(agents.cluster) == 1


@pytest.mark.parametrize(("command", "code"), [("true", Code.OK), ("false", Code.EXIT_CODE)])
async def test_a_finished_holder_is_not_waited_for(agents: Site, command: str, code: Code) -> None:
    assert (await begin(agents, agent_work("one", command, retain=60), Recorder())).code is code
    assert locks(agents.cluster), "it goes with its Job, or when the agent is wanted"
    assert (await begin(agents, agent_work("two", "true", retain=60), Recorder())).ok
    [lock] = locks(agents.cluster)
    assert lock["data"]["run"] == "two"


async def test_a_finished_holder_that_is_being_deleted_is_not_waited_for(agents: Site) -> None:
    assert (await begin(agents, agent_work("one", "false", retain=60), Recorder())).code is Code.EXIT_CODE
    await agents.cluster.until(lambda c: all(Job.of(job).over for job in c.list("jobs")))
    path = f"/apis/batch/v1/namespaces/default/jobs/{job_name('default', 'one')}"
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    await agents.adapter.connection.call("PATCH", path, body=held, content_type=MERGE_PATCH, deadline=3)
    body = {"propagationPolicy": "Background"}
    await agents.adapter.connection.call("DELETE", path, body=body, deadline=3)
    plane = Recorder()
    assert (await begin(agents, agent_work("two", "true"), plane)).ok
    assert (agents.cluster.get("jobs", job_name("default", "one")) or {})["metadata"]["deletionTimestamp"]
    assert plane.words("admission") == []


async def test_a_guard_that_is_never_answered_starts_nothing(agents: Site) -> None:
    agents.cluster.faults.add(Fault.no_headers(path="*/configmaps", method="POST"))
    async with asyncio.timeout(10):
        result = await begin(agents, agent_work("one", "true"), Recorder(), call=0.2, launch=0.5)
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.ADMISSION_UNREACHABLE)
    assert not agents.cluster.list("jobs")


@pytest.mark.parametrize("path", ["*/configmaps", "*/configmaps/*", "*/pods"])
async def test_what_cannot_be_checked_is_not_started(agents: Site, path: str) -> None:
    first, _ = await running(agents, agent_work("one", *FOREVER))
    if path == "*/pods":
        first.cancel()
        await agents.cluster.until(lambda c: locks(c))
    asked: dict[str, Any] = {"method": "POST"} if path == "*/configmaps" else {"method": "GET"}
    if path == "*/pods":
        asked["query"] = {"labelSelector": "claude-k8s/agent=b"}
    agents.cluster.faults.add(Fault.respond(503, "no", path=path, **asked))
    agent = "b" if path != "*/configmaps/*" else "a"
    result = await begin(agents, agent_work("two", *SLOW, agent=agent), Recorder())
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.ADMISSION_UNREACHABLE)
    assert [job["metadata"]["name"] for job in agents.cluster.list("jobs")] == [job_name("default", "one")]


async def test_a_secret_that_is_refused_starts_nothing(agents: Site) -> None:
    agents.cluster.faults.add(Fault.respond(422, "data: Too long", path="*/secrets", method="POST"))
    result = await begin(agents, agent_work("one", "true"), Recorder())
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.SECRET_REJECTED)
    assert not agents.cluster.list("jobs")


# -- the Job of a lost run -------------------------------------------------------------------------------------------


async def let_go_of(site: Site, work: Work) -> Recorder:
    """A run that its supervisor has left alone."""
    task, plane = await running(site, work)
    site.adapter.let_go(work.run_id)
    assert (await task).outcome is Outcome.DETACHED
    return plane


async def test_a_lost_runs_job_is_taken_over_by_the_run_that_continues_it(agents: Site) -> None:
    await let_go_of(agents, agent_work("one", *SLOW))
    plane = Recorder()
    result = await begin(agents, agent_work("two", *SLOW, lost="one"), plane)
    assert (result.run_id, result.outcome, result.job) == ("two", Outcome.SUCCEEDED, job_name("default", "one"))
    assert plane.text == "begun\ndone\n"
    assert len([c for c in agents.cluster.history if c.kind == "Pod" and c.type == "ADDED"]) == 1
    made = [r.path.rpartition("/")[2] for r in agents.cluster.requests if r.method == "POST"]
    assert [made.count(kind) for kind in ("jobs", "secrets", "configmaps")] == [1, 1, 1], "nothing is made anew"


async def test_one_that_has_ended_while_nobody_looked_is_taken_over_with_its_log(agents: Site) -> None:
    await let_go_of(agents, agent_work("one", *SLOW))
    name = job_name("default", "one")
    await agents.cluster.until(lambda c: any(j["status"].get("succeeded") for j in c.list("jobs")))
    plane = Recorder()
    result = await begin(agents, agent_work("two", *SLOW, lost="one"), plane)
    assert (result.run_id, result.outcome, result.job) == ("two", Outcome.SUCCEEDED, name)
    assert plane.text == "begun\ndone\n"
    assert plane.words("admission") == []


async def test_it_is_taken_over_again_by_the_next(agents: Site) -> None:
    await let_go_of(agents, agent_work("one", "sh", "-c", "echo begun; sleep 1; echo done"))
    plane = Recorder()
    second = begin(agents, agent_work("two", *SLOW, lost="one"), plane)
    await plane.until(lambda: "begun" in plane.text)
    agents.adapter.let_go("two")
    assert (await second).outcome is Outcome.DETACHED
    third = Recorder()
    assert (await begin(agents, agent_work("three", *SLOW, lost="two"), third)).ok
    assert third.text == "begun\ndone\n"


async def test_the_same_run_again_is_given_its_result(agents: Site) -> None:
    await let_go_of(agents, agent_work("one", *SLOW, retain=60))
    again = agent_work("two", *SLOW, lost="one", retain=60)
    first = await begin(agents, again, Recorder())
    assert await begin(agents, again, Recorder()) == first


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"task": "u"}, "it works on another task"),
        ({"task": None}, "which task it works on is not known"),
        ({"reattach": False}, "reattachOrphanedJobs"),
    ],
    ids=["task", "unknown", "unwanted"],
)
async def test_one_that_does_not_fit_is_waited_for(agents: Site, change: dict[str, Any], why: str) -> None:
    await let_go_of(agents, agent_work("one", *SLOW))
    plane = Recorder()
    second = begin(agents, replace(agent_work("two", *SLOW), lost="one", **change), plane)
    assert why in await waiting(plane)
    result = await second
    assert (result.outcome, result.job) == (Outcome.SUCCEEDED, job_name("default", "two"))
    assert together(agents.cluster) == 1


@pytest.mark.parametrize("lost", [None, "zero"])
async def test_another_runs_job_of_the_same_task_is_not_trusted_but_waited_for(agents: Site, lost: str | None) -> None:
    await let_go_of(agents, agent_work("one", *SLOW))
    plane = Recorder()
    second = begin(agents, agent_work("two", *SLOW, lost=lost), plane)
    assert await waiting(plane) == f"waiting: the agent is busy with Job {job_name('default', 'one')} (run one)"
    result = await second
    assert (result.outcome, result.job) == (Outcome.SUCCEEDED, job_name("default", "two"))
    assert together(agents.cluster) == 1


async def test_one_that_is_supervised_here_is_waited_for(agents: Site) -> None:
    first, _ = await running(agents, agent_work("one", *SLOW))
    second = begin(agents, agent_work("two", *SLOW, lost="one"), Recorder())
    assert (await first).job != (await second).job
    assert together(agents.cluster) == 1


async def test_one_that_was_told_its_result_is_not_lost(agents: Site) -> None:
    assert (await begin(agents, agent_work("one", "true", retain=60), Recorder())).ok
    result = await begin(agents, agent_work("two", "true", lost="one"), Recorder())
    assert (result.run_id, result.job) == ("two", job_name("default", "two"))


# -- death at every step ---------------------------------------------------------------------------------------------

STEPS: dict[str, dict[str, Any]] = {
    "before the Job": {"method": "POST", "path": "*/jobs"},
    "before the lock": {"method": "POST", "path": "*/configmaps"},
    "before the pods are looked at": {"path": "*/pods", "query": {"labelSelector": "claude-k8s/agent=a"}},
    "before the Secret": {"method": "POST", "path": "*/secrets"},
    "before it is let run": {"method": "PATCH", "path": "*/jobs/*"},
}


@contextlib.asynccontextmanager
async def launcher(cluster: LocalCluster, rounds: int, name: str, *command: str) -> AsyncIterator[Launcher]:
    """A process that launches; killed with -9 on the way out."""
    arguments = ("-m", "tests.wire.agentwork", str(cluster.kubeconfig), str(rounds), name, *command)
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=nowhere)
    try:
        yield Launcher(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


class Launcher:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout

    async def go(self) -> None:
        self._stdin.write(b"go\n")
        await self._stdin.drain()

    async def outcome(self) -> str:
        return (await self._stdout.readline()).decode().split(" ")[0]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("who", ["the same run", "the next run", "the run that continues it"])
async def test_a_launcher_that_is_killed(agents: Site, step: str, who: str) -> None:
    never = Fault.no_headers(**STEPS[step])
    agents.cluster.faults.add(never)
    async with launcher(agents.cluster, 1, "one", *SLOW) as process:
        await process.go()
        await agents.cluster.until(
            lambda c: any(never.matches(r.method, r.path, dict(r.query)) for r in c.requests), 20
        )
    agents.cluster.faults.clear()
    work = {
        "the same run": agent_work("one", *SLOW, retain=60),
        "the next run": agent_work("two", *SLOW, retain=60),
        "the run that continues it": agent_work("two", *SLOW, retain=60, lost="one"),
    }[who]
    plane = Recorder()
    result = await begin(agents, work, plane)
    assert (result.outcome, plane.text) == (Outcome.SUCCEEDED, "begun\ndone\n"), result
    await agents.cluster.until(lambda c: len([j for j in c.list("jobs") if not j["spec"].get("suspend")]) == 1)
    assert len([c for c in agents.cluster.history if c.kind == "Pod" and c.type == "ADDED"]) == 1
    [job] = [j for j in agents.cluster.list("jobs") if RESULT in j["metadata"].get("annotations", {})]
    assert [s for s in agents.cluster.list("secrets") if s["metadata"]["name"] == job["metadata"]["name"]] == []


async def test_a_launcher_that_is_killed_when_its_job_runs(agents: Site) -> None:
    command = ("sh", "-c", "echo begun; sleep 1.5; echo done")
    async with launcher(agents.cluster, 1, "one", *command) as process:
        await process.go()
        await agents.cluster.until(lambda c: any(p["status"].get("phase") == "Running" for p in c.list("pods")), 20)
    plane = Recorder()
    assert (await begin(agents, agent_work("one", *command), plane)).ok
    assert plane.text == "begun\ndone\n"


@pytest.mark.timeout(60 + ROUNDS * 2)
async def test_two_processes_that_launch_for_one_agent_at_once(agents: Site) -> None:
    seen = ("sh", "-c", "sleep 0.05")  # long enough to be seen running
    async with (
        launcher(agents.cluster, ROUNDS, "left", *seen) as left,
        launcher(agents.cluster, ROUNDS, "right", *seen) as right,
    ):
        for _ in range(ROUNDS):
            await asyncio.gather(left.go(), right.go())
            assert list(await asyncio.gather(left.outcome(), right.outcome())) == ["succeeded", "succeeded"]
    assert together(agents.cluster) == 1
    assert len([c for c in agents.cluster.history if c.kind == "Pod" and c.type == "ADDED"]) == 2 * ROUNDS


async def test_another_instances_job_is_waited_for_however_still_it_is(agents: Site) -> None:
    never = Fault.no_headers(method="PATCH", path=f"*/jobs/{job_name('production', 'one')}")
    agents.cluster.faults.add(never)
    async with Adapter.connect(
        kubeconfig=str(agents.cluster.kubeconfig), instance="production", limits=replace(QUICK, call=60)
    ) as other:
        theirs = asyncio.create_task(other.supervise(agent_work("one", "true", instance="production"), Recorder()))
        await agents.cluster.until(lambda c: any(never.matches(r.method, r.path, {}) for r in c.requests))
        plane = Recorder()
        ours = begin(agents, agent_work("two", "true"), plane, launch=0.1)
        await waiting(plane)
        await agents.cluster.until(
            lambda c: sum(r.path.endswith(job_name("production", "one")) for r in c.requests) > 8
        )
        assert agents.cluster.get("jobs", job_name("production", "one"))
        plane.cancel()
        assert (await ours).outcome is Outcome.CANCELLED
        other.let_go("one")
        assert (await theirs).outcome is Outcome.DETACHED
