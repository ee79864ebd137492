"""What went missing: sidecars that cannot start, Jobs and pods that go while nobody looks, or while we do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from adapter import Adapter, Code, Outcome
from adapter.case import End, EndKind
from adapter.cluster import beginning
from adapter.cluster.jobs import Job
from adapter.limits import Limits
from adapter.local import Fault, LocalCluster
from adapter.verdict import judge
from tests.recorder import Recorder
from tests.unit.raws import case, pod, running, see, terminated, waiting
from tests.wire.agentwork import agent_work
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_agents import context_of
from tests.wire.test_laws import COUNT, COUNTED

# A sidecar that cannot start (an image without `sh`) was `start_timeout`, after ten minutes.


def test_a_sidecar_that_cannot_start_is_trouble_with_one_clock() -> None:
    made, now = case(), 1.0
    for number in range(4):  # as the kubelet shows it: the error for a moment, then its back-off, longer each time
        for reason in ("RunContainerError", "CrashLoopBackOff"):
            sidecar = waiting(reason, 'exec: "sh": executable file not found', name="stderr")
            view = pod(
                waiting("PodInitializing"), init=(sidecar,), sidecars=("stderr",), phase="Pending", version=f"{now:.0f}"
            )
            see(made, view, now)
            now += 0.1 if reason == "RunContainerError" else 10 * 2**number
    end = made.end(now)
    assert now > Limits().grace
    assert end
    assert end.code is not Code.START_TIMEOUT
    assert "stderr" in end.text


async def test_a_sidecar_that_cannot_start_is_said_after_the_grace(site: Site) -> None:
    work = agent_work("one", "true")
    broken = {"name": "stderr", "image": "x", "restartPolicy": "Always", "command": ["/no/such/program"]}
    work.manifest["spec"]["template"]["spec"]["initContainers"] = [broken]
    result = await site.adapter.supervise(work, Recorder())
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.START_ERROR), result
    assert "stderr" in result.message


# A Job that goes (its TTL, kubectl delete) while the log is delivered turned a failure into `job_deleted`.


def test_a_pod_that_is_gone_after_it_had_ended_by_itself_ended_by_itself() -> None:
    made = case(pod(running()), pod(terminated(3, "Error")))
    made.job_gone = made.pod_gone = True
    assert judge(made, End(EndKind.OVER)).code is Code.EXIT_CODE


@pytest.mark.parametrize(("exit_code", "outcome"), [(0, Outcome.SUCCEEDED), (3, Outcome.FAILED)])
async def test_a_job_that_its_time_to_live_takes_while_the_log_is_delivered(
    site: Site, exit_code: int, outcome: Outcome
) -> None:
    plane, gate = Recorder(), anyio.Event()
    plane.before_log = gate.wait
    run = site.start("sh", "-c", f"echo held; exit {exit_code}", plane=plane, retain=1)
    await plane.until(lambda: "drain began" in plane.words("task"))
    await site.cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))
    gate.set()
    result = await run.result()
    assert (result.outcome, result.exit_code) == (outcome, exit_code)


# Where the pod of an adopted Job was gone the log was called complete, and an agent's success `truncated`.


async def over_without_its_pod(cluster: LocalCluster) -> None:
    await cluster.until(lambda c: all(Job.of(job).over for job in c.list("jobs")))
    cluster.node.delete_pod(cluster.list("pods")[0]["metadata"]["name"], grace=0)
    await cluster.until(lambda c: not c.list("pods"))


async def test_a_log_that_went_with_its_pod_while_nobody_looked_is_not_called_complete(cluster: LocalCluster) -> None:
    command = ("sh", "-c", "echo begun; sleep 0.4; echo done")
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        one = start(adapter, *command, run_id="x")
        await one.plane.until(lambda: b"begun" in one.plane.data)
    await one.result()
    await over_without_its_pod(cluster)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        result = await start(adapter, *command, run_id="x").result()
    assert result.ok
    assert not result.log.complete
    assert result.log.notes


async def test_an_agent_whose_pod_went_while_nobody_looked_is_not_called_truncated(cluster: LocalCluster) -> None:
    context, plane = context_of(say="sleep=1"), Recorder()
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        first = asyncio.create_task(adapter.execute(context, plane))
        await plane.until(lambda: b'"assistant"' in plane.data)
    await first
    await over_without_its_pod(cluster)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(FAST)) as adapter:
        result = await adapter.execute(context, plane)
    assert (result.outcome, result.code) == (Outcome.SUCCEEDED, Code.OK), "the Job is Complete, and the log has a gap"
    assert any("the log is incomplete" in warning for warning in result.warnings)


@pytest.mark.parametrize(("lines", "complete"), [(2_000, True), (20_000, False)])
async def test_last_words_that_the_node_cut_short_were_called_complete(site: Site, lines: int, complete: bool) -> None:
    """A real node's log ended, cleanly, before the pod's last words did: of many, nobody knows whether they are all."""
    said = f"trap 'seq {lines}; exit 0' TERM; echo begun; while :; do sleep 0.02; done"
    run = await site.running("sh", "-c", said, said="begun")
    run.plane.cancel()
    result = await run.result()
    assert run.plane.data == b"begun\n" + b"".join(b"%d\n" % n for n in range(1, lines + 1))
    assert result.log.complete is complete
    assert complete or "more to say than its node may have kept" in result.log.notes[0]


# What was said before a log was first read was rotated away, and the log was called complete.

FAST_TALK = ("python3", "-c", "import sys; sys.stdout.writelines(f'{n:<99}\\n' for n in range(120_000))")
"""16.8 MB of log file, of which the kubelet serves the last 6.3: it has rotated at 10 MiB."""


async def test_lines_that_were_rotated_away_unread_were_lost_without_a_word(site: Site) -> None:
    handle = site.cluster.faults.add(Fault.respond(500, path="*/log"))
    run = site.start(*FAST_TALK)
    await site.cluster.until(lambda c: any("terminated" in str(pod.get("status")) for pod in c.list("pods")))
    handle.remove()
    result = await run.result()
    assert result.ok
    assert not run.plane.data.startswith(b"0 ")
    assert not result.log.complete
    assert any("the beginning may be missing" in words for words in run.plane.words("log_gap"))


async def test_a_fast_log_that_was_open_before_its_first_line_is_not_doubted(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "UNSURE", 0.2)
    gate, called = tmp_path / "gate", anyio.current_time()
    run = site.start("sh", "-c", f'while ! test -e {gate}; do sleep 0.02; done; exec "$@"', "sh", *FAST_TALK)
    await site.cluster.until(lambda c: bool(site.follows()))
    opened = anyio.current_time()
    await run.plane.until(lambda: anyio.current_time() > opened + (opened - called) + 0.5)
    gate.touch()
    result = await run.result()
    assert run.plane.data.count(b"\n") == 120_000
    assert result.log.complete


# An API server whose etcd had been away took the reads of an ended run's log, and answered none for 37 s.


async def test_a_log_was_given_up_that_was_not_answered_for_a_while(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    unanswered = site.cluster.faults.add(Fault.no_headers(path="*/log", count=8))
    result = await run.result()
    assert unanswered.hits == 8
    assert result.log.complete
    assert run.plane.data == COUNTED


# A pod that was deleted by force before it was heard of: the Job had failed, and nobody could say why.


async def test_a_pod_that_went_before_it_was_heard_of_was_no_pod(cluster: LocalCluster) -> None:
    cluster.faults.add(Fault.slow(4000, path="*/pods", query={"watch": "1"}))  # half a second for each event
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(FAST, news=8, silence=9)) as adapter:
        run = start(adapter, "sh", "-c", "sleep 60")
        await cluster.until(lambda c: any(p["status"].get("phase") == "Running" for p in c.list("pods")))
        [pod] = cluster.list("pods")
        cluster.node.delete_pod(pod["metadata"]["name"], grace=0)
        result = await run.result()
    assert (result.outcome, result.code) == (Outcome.DELETED, Code.POD_DELETED)
    await cluster.until(lambda c: not c.open_streams())
