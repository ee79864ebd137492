"""One agent, several runs: who waits, who takes over what another has left, and how an agent is freed by hand."""

from __future__ import annotations

import asyncio
from datetime import datetime

from tests.contract.agents import COST, USAGE, Agents
from tests.contract.conftest import Object, ended

TASK = {"taskId": "T-1"}


async def test_a_second_run_of_an_agent_waits_visibly_and_then_runs(agents: Agents) -> None:
    async with agents.working(agents.context("sleep=12")) as first:
        second = await agents.begin(context := agents.context())
        one, two = await first.end(), await agents.end(context, second)
    assert (one.status, two.status) == (0, 0), two.err
    waiting, *later = two.words("admission")
    assert waiting == f"waiting: the agent is busy with Job {one.result['job']} (run {first.context['runId']})"
    assert all(words.startswith("waiting: pod ") for words in later)
    assert datetime.fromisoformat(one.result["finished_at"]) <= datetime.fromisoformat(two.result["started_at"])
    await agents.bare()


async def test_two_runs_begun_at_the_same_moment_run_one_after_the_other(agents: Agents) -> None:
    ran = await asyncio.gather(*(agents.run(agents.context("sleep=1")) for _ in range(2)))
    assert [one.status for one in ran] == [0, 0], [one.err for one in ran]
    first, second = sorted(ran, key=lambda one: str(one.result["started_at"]))
    assert datetime.fromisoformat(first.result["finished_at"]) <= datetime.fromisoformat(second.result["started_at"])
    assert (len(first.words("admission")), len(second.words("admission")) >= 1) == (0, True)
    await agents.bare()


async def test_a_retry_takes_over_the_job_of_the_run_that_was_lost(agents: Agents) -> None:
    async with agents.working(agents.context("sleep=5", context=TASK)) as lost:
        job = lost.told("job")["job"]
        lost.process.kill()
        await lost.process.wait()
    retry = agents.context("sleep=5", context=TASK | {"retryOfRunId": lost.context["runId"]})
    ran = await agents.run(retry)
    assert ran.status == 0, ran.err
    assert ran.words("job")[0] == f"Job {job} adopted"
    assert (ran.result["job"], ran.result["run_id"]) == (job, retry["runId"])
    assert (ran.told["usage"], ran.told["costUsd"], ran.told["summary"]) == (USAGE, COST, "The work is done.")
    assert ran.transcript[0]["subtype"] == "init"
    assert ran.transcript[-1]["type"] == "result"
    await agents.bare()


async def test_a_retry_of_another_task_waits_for_the_job_that_was_lost(agents: Agents) -> None:
    async with agents.working(agents.context("sleep=12", context=TASK)) as lost:
        lost.process.kill()
        await lost.process.wait()
    other = {"taskId": "T-2", "retryOfRunId": lost.context["runId"]}
    ran = await agents.run(agents.context(context=other))
    assert ran.status == 0, ran.err
    assert any("is not taken over: it works on another task" in words for words in ran.words("admission"))
    assert any(words.startswith("waiting: ") for words in ran.words("admission"))
    [left] = (await agents.place.ask("GET", agents.place.jobs))["items"]
    assert left["metadata"]["annotations"]["claude-k8s/run-id"] == lost.context["runId"]


async def test_an_agent_whose_job_was_left_is_freed_by_hand(agents: Agents) -> None:
    async with agents.working(agents.context("forever", config={"graceSec": 2})) as left:
        job = left.told("job")["job"]
        left.process.kill()
        await left.process.wait()
    place, options = agents.place, ("ann", "--company", "acme")

    asked = await ended(await place.command("release", *options))
    assert asked.status != 0
    assert f"is held by Job {job} (run {left.context['runId']})" in asked.out
    assert f"will delete Job {job}" in asked.out
    assert "freed" not in asked.out
    assert await _job(agents, job), "nobody has said yes"

    freed = await ended(await place.command("release", *options, "--yes"))
    assert (freed.status, freed.out.splitlines()[-1]) == (0, "freed"), freed.err
    assert (await agents.run(agents.context())).status == 0

    await agents.bare()  # a pod whose run has its result may still be being deleted
    again = await ended(await place.command("release", *options))
    assert (again.status, again.out.endswith("is free\n")) == (0, True), again.out


async def test_release_said_of_a_pod_that_takes_all_of_its_grace_that_it_has_not_ended(agents: Agents) -> None:
    async with agents.working(agents.context("forever ignore-term", config={"graceSec": 2})) as left:
        left.process.kill()
        await left.process.wait()
    freed = await ended(await agents.place.command("release", "ann", "--company", "acme", "--yes"))
    assert (freed.status, freed.out.splitlines()[-1]) == (0, "freed"), freed.err
    await agents.bare()


async def _job(agents: Agents, name: str) -> Object:
    return await agents.place.ask("GET", f"{agents.place.jobs}/{name}")
