"""Runs that change hands, or are let go of at an awkward moment: each was wrong once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from adapter import Adapter, Code, Outcome, RunResult, agents
from adapter.cluster.jobs import job_name
from adapter.local import Fault, LocalCluster
from tests.recorder import Recorder
from tests.wire.agentwork import QUICK, agent_work
from tests.wire.conftest import FAST, Site
from tests.wire.test_admission import FOREVER, SLOW, begin, let_go_of, running
from tests.wire.test_agents import PERSISTENT, claim, context_of
from tests.wire.test_agents import begin as execute

LONG = ("sh", "-c", "echo begun; sleep 1.5; echo done")
UNKNOWN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(name="place")
async def _place(cluster: LocalCluster) -> AsyncIterator[Site]:
    async with connected(cluster) as adapter:
        site = Site(cluster, adapter)
        yield site
        for task in site.tasks:
            task.cancel()
        await asyncio.gather(*site.tasks, return_exceptions=True)
    await cluster.until(lambda c: not c.open_streams())


@asynccontextmanager
async def connected(cluster: LocalCluster) -> AsyncIterator[Adapter]:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=QUICK) as adapter:
        yield adapter


def pods_made(cluster: LocalCluster) -> int:
    return len([c for c in cluster.history if c.kind == "Pod" and c.type == "ADDED"])


async def test_a_job_that_vanishes_before_it_is_let_run_ends_the_run(place: Site) -> None:
    place.cluster.faults.add(Fault.delay(0.5, method="POST", path="*/secrets"))
    task = begin(place, agent_work("one", *SLOW), Recorder())
    await place.cluster.until(lambda c: any(r.path.endswith("/secrets") for r in c.requests))
    path = f"/apis/batch/v1/namespaces/default/jobs/{job_name('default', 'one')}"
    body = {"propagationPolicy": "Background"}
    await place.adapter.connection.call("DELETE", path, body=body, deadline=3)
    result = await asyncio.wait_for(task, 10)
    assert (result.outcome, result.code) == (Outcome.DELETED, Code.JOB_DELETED)


async def test_a_conflict_that_is_a_quotas_passes(place: Site) -> None:
    words = "Operation cannot be fulfilled on resourcequotas"
    place.cluster.faults.add(Fault.respond(409, words, reason="Conflict", method="POST", path="*/secrets", count=2))
    assert (await begin(place, agent_work("one", "true"), Recorder())).ok


async def test_a_run_that_took_over_at_second_hand_comes_back_to_it(place: Site) -> None:
    await let_go_of(place, agent_work("one", *LONG))
    await let_go_of(place, agent_work("two", *LONG, lost="one"))
    await let_go_of(place, agent_work("three", *LONG, lost="two"))
    result = await begin(place, agent_work("three", *LONG, lost="two"), Recorder())
    assert (result.outcome, result.job) == (Outcome.SUCCEEDED, job_name("default", "one"))
    assert pods_made(place.cluster) == 1


async def test_a_result_is_found_again_although_the_agent_has_gone_on(place: Site) -> None:
    await let_go_of(place, agent_work("one", *SLOW, retain=60))
    two = agent_work("two", *SLOW, lost="one", retain=60)
    first = await begin(place, two, Recorder())
    assert (await begin(place, agent_work("five", "true", retain=60), Recorder())).ok
    assert await begin(place, two, Recorder()) == first
    assert pods_made(place.cluster) == 2


async def test_a_run_is_never_given_the_result_of_the_one_that_took_its_job_over(place: Site) -> None:
    await let_go_of(place, agent_work("one", *SLOW, retain=60))
    assert (await begin(place, agent_work("two", *SLOW, lost="one", retain=60), Recorder())).ok
    result = await begin(place, agent_work("one", *SLOW, retain=60), Recorder())
    assert (result.run_id, result.code) == ("one", Code.CONFLICT)
    assert "is run two's now" in result.message


async def test_who_supervised_a_job_lets_go_of_it_when_it_is_taken_over(place: Site) -> None:
    first, plane = await running(place, agent_work("one", *LONG))
    async with connected(place.cluster) as other:
        later = Recorder()
        second = asyncio.create_task(other.supervise(agent_work("two", *LONG, lost="one"), later))
        result = await first
        assert (result.outcome, result.message) == (
            Outcome.DETACHED,
            f"run two has taken Job {job_name('default', 'one')} over",
        )
        plane.cancel()
        assert (await second).ok
    assert plane.accepted is None
    assert later.text == "begun\ndone\n"


async def test_a_cancel_while_a_job_is_taken_over_reaches_that_job(place: Site) -> None:
    await let_go_of(place, agent_work("one", *FOREVER))
    place.cluster.faults.add(Fault.lose_answer(method="PATCH", path="*/jobs/*"))
    plane = Recorder()
    task = begin(place, agent_work("two", *FOREVER, lost="one"), plane)
    await place.cluster.until(lambda c: any("adopted-by" in str(j["metadata"]) for j in c.list("jobs")))
    plane.cancel()
    await plane.until(lambda: plane.words("cancel"))
    place.cluster.faults.clear()
    assert (await task).outcome is Outcome.CANCELLED
    await place.cluster.until(lambda c: not c.list("jobs"))


# -- an agent's run, before it is supervised and between its attempts ------------------------------------------------


async def test_a_run_beats_while_it_is_prepared_and_can_be_let_go_of(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(agents, "read_bundle", lambda *_: never.wait())
    plane = Recorder()
    task = execute(site, context_of(), plane)
    await plane.until(lambda: len(plane.beats) > 2)
    assert plane.beats[0].phase == "prepare"
    assert site.adapter.let_go("run")
    assert (await task).outcome is Outcome.DETACHED
    never.set()


async def test_a_refusal_is_offered_beating_and_can_be_let_go_of(site: Site) -> None:
    plane = Recorder()

    async def down() -> None:
        raise RuntimeError("down")

    plane.before_result = down
    task = execute(site, context_of(config={"promptTemplate": "{{nobody}}"}), plane)
    await plane.until(lambda: any(isinstance(said, RunResult) for said in plane.said))
    beats = len(plane.beats)
    await plane.until(lambda: len(plane.beats) > beats)
    site.adapter.let_go("run")
    result = await task
    assert (result.code, result.warnings) == (Code.INVALID_REQUEST, ("the plane did not accept this result",))


async def test_a_second_attempt_begins_where_the_planes_log_really_ends(site: Site) -> None:
    await claim(site)
    plane, up = Recorder(), asyncio.Event()

    async def sink() -> None:
        if not up.is_set():
            raise RuntimeError("down")

    plane.before_log = sink
    site.adapter.limits = replace(FAST, tail=1.5)
    config = PERSISTENT | {"retryFreshSession": True}
    task = execute(site, context_of(say="session-file", session=UNKNOWN, config=config), plane)
    await plane.until(lambda: any("trying once more" in note for note in plane.words("note")), 15)
    up.set()
    result = await asyncio.wait_for(task, 20)
    assert result.ok
    assert b'"result"' in plane.data


async def test_a_second_attempt_is_come_back_to_by_who_knows_nothing_of_it(cluster: LocalCluster) -> None:
    config = PERSISTENT | {"retryFreshSession": True}
    context = context_of(say="session-file forever", session=UNKNOWN, config=config)
    async with connected(cluster) as adapter:
        await claim(Site(cluster, adapter))
        plane = Recorder()
        first = asyncio.create_task(adapter.execute(context, plane))
        await plane.until(lambda: any("trying once more" in note for note in plane.words("note")), 15)
        await cluster.until(lambda c: any(p["status"].get("phase") == "Running" for p in c.list("pods")))
    assert (await first).outcome is Outcome.DETACHED
    async with connected(cluster) as adapter:
        plane = Recorder()
        again = asyncio.create_task(adapter.execute(context, plane))
        await plane.until(lambda: b'"init"' in plane.data, 15)
        plane.cancel()
        assert (await asyncio.wait_for(again, 20)).outcome is Outcome.CANCELLED
    await cluster.until(lambda c: not c.list("jobs"))


async def test_an_agent_ran_twice_because_its_job_was_suspended_while_nobody_looked(site: Site) -> None:
    run = await site.running(*LONG, said="begun", run_id="one")
    site.adapter.let_go("one")
    assert (await run.task).outcome is Outcome.DETACHED
    await _patched(site, run.job, {"suspend": True})
    await site.cluster.until(lambda c: not c.list("pods"))
    result = await site.start(*LONG, run_id="one").result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.JOB_SUSPENDED)
    assert result.log.notes == ("log incomplete: no pod of the Job was seen",)
    assert pods_made(site.cluster) == 1


async def test_a_suspended_jobs_pod_in_its_grace_period_was_not_waited_for_by_who_came_back(site: Site) -> None:
    trap = "trap 'echo last; sleep 0.5; exit 3' TERM; echo begun; sleep 60 & wait"
    run = await site.running("sh", "-c", trap, said="begun", run_id="one")
    site.adapter.let_go("one")
    await run.task
    await _patched(site, run.job, {"suspend": True})
    await site.cluster.until(lambda c: any(p["metadata"].get("deletionTimestamp") for p in c.list("pods")))
    again = site.start("sh", "-c", trap, run_id="one")
    result = await again.result()
    assert (result.code, result.exit_code, result.log.complete) == (Code.JOB_SUSPENDED, 3, True)
    assert again.plane.text == "begun\nlast\n"
    told = [event.message for event in again.plane.events]
    assert told.index("claude: terminated (exit 3, Error)") < told.index("watch ended")


async def test_a_job_that_its_supervisor_had_stopped_was_let_run_by_the_next_one(site: Site) -> None:
    broken = site.cluster.node.image_pull_error()
    plane = Recorder()
    plane.before_result = anyio.sleep_forever  # it does not live to see it accepted
    run = site.start(*LONG, run_id="one", plane=plane)
    await plane.until(lambda: any(isinstance(said, RunResult) for said in plane.said))
    run.task.cancel()
    await asyncio.wait([run.task])
    broken.remove()
    again = site.start(*LONG, run_id="one")
    result = await again.result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.IMAGE_PULL)
    assert result.message == next(said for said in plane.said if isinstance(said, RunResult)).message
    assert pods_made(site.cluster) == 1


async def test_a_stopped_jobs_agent_is_free_once_its_pod_has_ended(place: Site) -> None:
    await let_go_of(place, agent_work("one", *FOREVER))
    one = job_name("default", "one")
    await _patched(place, one, {"suspend": True})
    result = await asyncio.wait_for(begin(place, agent_work("two", "true"), Recorder()), 10)
    assert result.ok
    assert one in {job["metadata"]["name"] for job in place.cluster.list("jobs")}, "it is its own run's to end"


async def test_a_lost_runs_job_that_was_stopped_is_not_taken_over(place: Site) -> None:
    await let_go_of(place, agent_work("one", *FOREVER))
    await _patched(place, job_name("default", "one"), {"suspend": True})
    result = await asyncio.wait_for(begin(place, agent_work("two", "true", lost="one"), Recorder()), 10)
    assert (result.outcome, result.job) == (Outcome.SUCCEEDED, job_name("default", "two"))
    assert job_name("default", "one") not in {job["metadata"]["name"] for job in place.cluster.list("jobs")}


async def _patched(site: Site, job: str, spec: dict[str, object]) -> None:
    path = f"/apis/batch/v1/namespaces/default/jobs/{job}"
    merge = "application/merge-patch+json"
    await site.adapter.connection.call("PATCH", path, body={"spec": spec}, content_type=merge, deadline=3)


async def test_a_job_that_is_suspended_and_let_run_again_by_somebody_ends_as_suspended(site: Site) -> None:
    plane, gate = Recorder(), anyio.Event()
    plane.before_result = gate.wait
    trap = "trap 'sleep 0.3; exit 3' TERM; echo begun; sleep 60 & wait"
    run = await site.running("sh", "-c", trap, said="begun", plane=plane)
    await _patched(site, run.job, {"suspend": True})
    await site.cluster.until(lambda c: any(p["metadata"].get("deletionTimestamp") for p in c.list("pods")))
    await _patched(site, run.job, {"suspend": False})
    await plane.until(lambda: "report began" in plane.words("task"))
    await site.cluster.until(lambda c: pods_made(c) == 2 and not c.list("pods"))
    gate.set()
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.JOB_SUSPENDED)
    assert run.plane.text == "begun\n"
    await site.cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))
