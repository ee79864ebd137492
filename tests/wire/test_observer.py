"""A run that somebody else supervises, observed: nothing of it is disturbed, and what is told of it is true."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest

from adapter import Adapter, Code, Outcome, Position
from adapter.cluster.jobs import Job, job_name
from adapter.listener import Heard
from adapter.local import Fault, LocalCluster
from adapter.observer import Observed, Observer
from adapter.plane import Stream
from tests.recorder import Recorder
from tests.wire.agentwork import agent_work
from tests.wire.conftest import FAST, Ran, Site, start
from tests.wire.test_agents import PERSISTENT, claim, context_of
from tests.wire.test_agents import begin as execute
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import FOREVER, LAST_WORDS

UNKNOWN = "11111111-1111-4111-8111-111111111111"


class Looking:
    """An observer at work, and what it was told."""

    def __init__(self, adapter: Adapter, job: Job, plane: Recorder, **how: Any) -> None:
        self.plane = plane
        self.observer = Observer(adapter, job, plane, **{"patience": 5.0, **how})
        self.task = asyncio.create_task(self.observer.observe())

    async def end(self, seconds: float = 20) -> Observed:
        return await asyncio.wait_for(self.task, seconds)


async def look(site: Site, run_id: str, plane: Recorder | None = None, **how: Any) -> Looking:
    """Begins to observe a run that has a Job."""
    with anyio.fail_after(10):
        while (job := await site.adapter.job_of(run_id)) is None:
            await site.cluster.until(lambda c: c.list("jobs"))
    return Looking(site.adapter, job, plane or Recorder(), **how)


async def look_at(site: Site, run: Ran, **how: Any) -> Looking:
    return await look(site, run.request.run_id, **how)


# -- the log and the states ------------------------------------------------------------------------------------------


async def test_each_byte_once_and_the_states_in_words(site: Site) -> None:
    run = site.start(*COUNT, retain=0)
    looking = await look_at(site, run)
    result, observed = await run.result(), await looking.end()
    assert looking.plane.data == COUNTED
    assert observed.log.complete
    assert not observed.reported
    assert looking.plane.words("container")[-1] == "claude: terminated (exit 0, Completed)"
    assert looking.plane.words("job") == [f"Job {run.job}"]
    assert observed.result == result, "although the Job is gone, and no result was ever on it"


async def test_who_comes_late_is_given_the_log_from_its_beginning(site: Site) -> None:
    run = await site.running(*COUNT, said="line 20")
    looking = await look_at(site, run)
    await looking.end()
    assert looking.plane.data == COUNTED


async def test_who_has_some_of_the_log_is_given_the_rest(site: Site) -> None:
    run = site.start(*COUNT, retain=60)
    first = await look_at(site, run)
    await first.plane.until(lambda: "line 20" in first.plane.text)
    first.task.cancel()
    await asyncio.wait([first.task])
    position = await first.plane.position("stdout")
    assert position
    second = await look_at(site, run, plane=Recorder(position=position), positions={"stdout": position})
    await second.end()
    assert bytes(first.plane.data + second.plane.data) == COUNTED
    assert not second.plane.words("log_restart")


async def test_what_the_sink_did_not_take_is_offered_again(site: Site) -> None:
    plane, failures = Recorder(), iter(range(3))

    async def fail() -> None:
        if next(failures, None) is not None:
            raise OSError("disk full")

    plane.before_log = fail
    run = site.start(*COUNT)
    await (await look(site, run.request.run_id, plane)).end()
    assert plane.data == COUNTED


async def test_nothing_is_left_when_the_observer_is_cancelled(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun")
    looking = await look_at(site, run)
    await looking.plane.until(lambda: "begun" in looking.plane.text)
    looking.task.cancel()
    await asyncio.wait([looking.task])
    assert looking.task.cancelled()
    await site.cluster.until(lambda c: len(site.follows()) - len([s for s in site.follows() if s.closed_at]) == 1)
    assert not run.task.done(), "the run goes on"
    run.plane.cancel()
    await run.result()


async def test_without_logs_none_is_read(site: Site) -> None:
    run = await site.running(*COUNT, said="line 1")
    looking = await look_at(site, run, logs=False)
    observed = await looking.end()
    assert not looking.plane.data
    assert len(site.follows()) == 1
    assert observed.result
    assert observed.result.ok
    assert not observed.log.complete


async def test_what_a_beat_would_say(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun")
    looking = await look_at(site, run)
    await looking.plane.until(lambda: looking.plane.words("container"))
    beat = looking.observer.beat()
    assert (beat.run_id, beat.phase) == (run.request.run_id, "running")
    assert beat.observed_ago is not None
    run.plane.cancel()
    await looking.end()
    assert looking.observer.beat().phase == "ending"


# -- the result ------------------------------------------------------------------------------------------------------


async def test_the_result_is_the_one_that_was_accepted(site: Site) -> None:
    run = site.start("sh", "-c", "echo once; exit 3", retain=60)
    looking = await look_at(site, run)
    result, observed = await run.result(), await looking.end()
    assert observed.reported
    assert observed.result == result


async def test_a_result_that_is_late_is_waited_for(site: Site) -> None:
    plane, accepted = Recorder(), anyio.Event()
    plane.before_result = accepted.wait
    run = site.start("true", plane=plane, retain=60)
    looking = await look_at(site, run)
    await looking.plane.until(lambda: any("exit 0" in words for words in looking.plane.words("container")))
    assert not looking.task.done()
    accepted.set()
    observed = await looking.end()
    assert observed.reported


async def test_a_run_that_has_ended_long_ago(site: Site) -> None:
    run = site.start(*COUNT, retain=60)
    result = await run.result()
    await site.cluster.until(lambda c: "claude-k8s/result" in c.list("jobs")[0]["metadata"]["annotations"])
    observed = await (looking := await look_at(site, run)).end()
    assert observed.result == result
    assert looking.plane.data == COUNTED


async def test_of_a_run_that_nobody_supervises_the_pod_says_how_it_ended(cluster: LocalCluster, site: Site) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as other:
        run = start(other, "sh", "-c", "echo begun; sleep 0.4; exit 7", retain=60)
        await run.plane.until(lambda: "begun" in run.plane.text)
    looking = await look_at(site, run, patience=0.2)
    observed = await looking.end()
    assert observed.result
    assert (observed.result.code, observed.result.exit_code, observed.reported) == (Code.EXIT_CODE, 7, False)
    assert looking.plane.text == "begun\n"


async def test_a_cancel_by_whomever(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun", grace=5)
    looking = await look_at(site, run)
    assert await site.adapter.cancel(run.request.run_id, "enough")
    observed = await looking.end()
    assert observed.result
    assert (observed.result.outcome, observed.result.message) == (
        Outcome.CANCELLED,
        "cancelled: enough; claude: terminated (exit 0, Completed)",
    )
    assert looking.plane.words("cancel") == ["cancelling: enough"]
    assert looking.plane.text == "begun\nended\n"


async def test_a_deadline(site: Site) -> None:
    run = site.start(*LAST_WORDS, timeout=1, grace=5)
    observed = await (await look_at(site, run)).end()
    assert observed.result
    assert observed.result.outcome is Outcome.TIMED_OUT


async def test_a_job_that_somebody_deletes(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    looking = await look_at(site, run)
    await looking.plane.until(lambda: "begun" in looking.plane.text)
    path = f"/apis/batch/v1/namespaces/default/jobs/{run.job}"
    body = {"propagationPolicy": "Background"}
    await site.adapter.connection.call("DELETE", path, body=body, deadline=3)
    observed = await looking.end()
    assert observed.result
    assert observed.result.code is Code.JOB_DELETED


async def test_why_a_job_was_given_up_before_it_started(site: Site) -> None:
    site.cluster.node.image_pull_error()
    run = site.start("true")
    looking = await look_at(site, run)
    result, observed = await run.result(), await looking.end()
    assert observed.result
    assert (observed.result.outcome, observed.result.code) == (result.outcome, Code.IMAGE_PULL)


@pytest.mark.parametrize("late", ["jobs", "pods"])
async def test_why_a_job_was_given_up_at_once(site: Site, late: str) -> None:
    """Two watches: the Job's suspension can be heard before the pod that it was suspended for, or after."""
    ours = {"watch": "true", "labelSelector": f"claude-k8s/run={job_name('default', 'stuck')}"}
    site.cluster.faults.add(Fault.delay(0.1, path=f"*/{late}", query=ours))
    run = site.start("true", image="Not Valid", run_id="stuck")
    looking = await look_at(site, run)
    await run.result()
    observed = await looking.end()
    assert observed.result
    assert observed.result.code is Code.IMAGE_INVALID


async def test_trouble_that_its_supervisor_bears_is_no_end(site: Site, cluster: LocalCluster) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(FAST, schedule=30, grace=30)) as own:
        switch = site.cluster.node.unschedulable()
        run = start(own, *COUNT)
        looking = await look_at(site, run)
        await looking.plane.until(lambda: any("unschedulable" in words for words in looking.plane.words("pod")))
        switch.remove()
        result, observed = await run.result(), await looking.end()
    assert result.ok
    assert observed.result == result
    assert looking.plane.data == COUNTED


@pytest.mark.parametrize("complete", [False, True])
async def test_a_job_that_is_gone_before_anybody_looked_is_no_result(site: Site, complete: bool) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 0.2", said="begun", retain=0)
    job = await site.adapter.job_of(run.request.run_id)
    assert job
    await run.result()
    await site.cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))
    observed = await Looking(site.adapter, replace(job, complete=complete), Recorder()).end()
    assert observed.result is None
    assert observed.why == f"Job {job.name} is gone, and its end was not seen here: its supervisor knows the result"


async def test_a_run_whose_job_is_taken_over(site: Site) -> None:
    first, plane = asyncio.create_task(site.adapter.supervise(agent_work("one", *FOREVER), Recorder())), Recorder()
    looking = await look(site, "one", plane)
    await plane.until(lambda: "begun" in plane.text)
    async with Adapter.connect(kubeconfig=str(site.cluster.kubeconfig), limits=FAST) as other:
        later = Recorder()
        second = asyncio.create_task(other.supervise(agent_work("two", *FOREVER, lost="one"), later))
        observed = await looking.end()
        assert observed.result is None
        assert observed.why == f"run two has taken Job {job_name('default', 'one')} over"
        later.cancel()
        await asyncio.gather(first, second)


# -- what is in the way ----------------------------------------------------------------------------------------------


async def test_an_outage_of_the_api_server_is_survived(site: Site) -> None:
    run = await site.running("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.3; done", said="1\n")
    looking = await look_at(site, run)
    await looking.plane.until(lambda: "1\n" in looking.plane.text)
    await site.cluster.stop_api()
    await looking.plane.until(lambda: looking.plane.words("watch"))
    await site.cluster.start_api()
    observed = await looking.end()
    assert observed.result
    assert observed.result.ok
    assert looking.plane.text == "1\n2\n3\n4\n5\n"


async def test_who_may_not_watch_looks(site: Site) -> None:
    run = await site.running(*COUNT, said="line 1", retain=60)
    selector = {"labelSelector": f"claude-k8s/run={run.job}"}
    site.cluster.faults.add(Fault.respond(403, query={"watch": "true", **selector}))
    site.cluster.faults.add(Fault.hang_log_after_end())
    looking = await look_at(site, run)
    observed = await looking.end()
    assert observed.reported
    assert looking.plane.data == COUNTED


async def test_a_log_that_may_not_be_read_is_said(site: Site) -> None:
    run = await site.running(*COUNT, said="line 1")
    site.cluster.faults.add(Fault.respond(403, path="*/log"))
    observed = await (looking := await look_at(site, run)).end()
    assert not observed.log.complete
    assert "may not be read" in observed.log.notes[0]
    assert looking.plane.words("log_gap") == list(observed.log.notes)


async def test_a_run_that_waits_says_for_what(site: Site) -> None:
    first = asyncio.create_task(site.adapter.supervise(agent_work("one", *COUNT), Recorder()))
    await site.cluster.until(lambda c: c.list("configmaps"))
    second = asyncio.create_task(site.adapter.supervise(agent_work("two", "echo", "two"), Recorder()))
    looking = await look(site, "two")
    assert (await looking.end()).result
    waits = looking.plane.words("admission")
    assert f"waiting: the agent is busy with Job {job_name('default', 'one')} (run one)" in waits
    assert looking.plane.text == "two\n"
    await asyncio.gather(first, second)


# -- agents ----------------------------------------------------------------------------------------------------------


async def test_an_agents_failure_by_its_own_words(site: Site) -> None:
    task = execute(site, context_of("run", "is-error stderr=2"), Recorder())
    looking = await look(site, "run")
    result, observed = await task, await looking.end()
    assert observed.result
    assert not observed.reported
    assert (observed.result.code, observed.result.message) == (result.code, result.message)
    assert b"stderr line 2" in looking.plane.errors
    assert observed.stderr
    assert observed.stderr.complete


async def test_an_agent_that_begins_afresh_is_one_run_with_one_log(site: Site) -> None:
    await claim(site)
    plane = Recorder()
    config = {**PERSISTENT, "retryFreshSession": True}
    task = execute(site, context_of("run", "session-file", session=UNKNOWN, config=config), plane)
    looking = await look(site, "run")
    result, observed = await task, await looking.end()
    assert result.ok
    assert observed.result
    assert observed.result.ok
    assert looking.plane.data == plane.data
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    for stream in streams:
        ours, theirs = await looking.plane.position(stream), await plane.position(stream)
        assert _place(ours) == _place(theirs)


def _place(position: Position | None) -> tuple[int, int] | None:
    """Where a log ends, and in which of the run's attempts: a supervisor that takes the run over needs both."""
    return (position.offset, Heard.parse(str(position.cursor)).attempt) if position else None


@pytest.mark.parametrize("retain", [0, 60])
async def test_the_observer_only_reads(site: Site, retain: int) -> None:
    plane, held = Recorder(), anyio.Event()
    plane.before_result = held.wait
    run = site.start(*COUNT, plane=plane, retain=retain)
    await plane.until(lambda: "line 40" in plane.text)
    before = len(site.cluster.requests)
    looking = await look_at(site, run, patience=0.2)
    await looking.end()
    assert {request.method for request in site.cluster.requests[before:]} == {"GET"}
    held.set()
    assert (await run.result()).ok
