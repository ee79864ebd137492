"""The laws of docs/laws.md, by number."""

from __future__ import annotations

import asyncio
import datetime as dt
import json

import anyio
import pytest

from adapter import Adapter, Code, ConnectError, Event, Outcome, RunResult
from adapter.local import Fault, LocalCluster
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_outcomes import FOREVER, LAST_WORDS

COUNT = ("sh", "-c", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.02; done")
COUNTED = b"".join(b"line %d\n" % n for n in range(1, 41))


# 1. No stream outlives its Job.


async def test_1_no_task_of_a_run_is_left_when_its_result_is_there(site: Site) -> None:
    def ours() -> list[str]:
        files = (task.get_coro().cr_code.co_filename for task in asyncio.all_tasks())  # type: ignore[union-attr]
        return sorted(file for file in files if "/local/" not in file and "/aiohttp/web" not in file)

    await site.start("true").result()  # the feed's tasks are the adapter's, and stay
    before = ours()
    await site.start(*COUNT).result()
    assert ours() == before
    assert {s.kind for s in site.cluster.open_streams()} == {"watch"}


async def test_1_closing_the_adapter_closes_every_stream(cluster: LocalCluster) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        run = start(adapter, *FOREVER)
        await run.plane.until(lambda: b"begun" in run.plane.data)
    assert (await run.result()).outcome is Outcome.DETACHED
    await cluster.until(lambda c: not c.open_streams())


# 2. Output never decides.


async def test_2_a_clean_end_of_the_follow_is_no_end_of_the_run(site: Site) -> None:
    site.cluster.faults.add(Fault.cut(after_bytes=60, how="eof", path="*/log", query={"follow": "true"}, count=3))
    run = site.start(*COUNT)
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_2_a_stopped_kubelet_ends_no_run(site: Site) -> None:
    run = await site.running(*COUNT, said="line 5")
    site.cluster.node.stop_kubelet()
    await site.cluster.until(lambda c: not any(s.kind == "log" for s in c.open_streams()))
    site.cluster.node.start_kubelet()
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_2_silence_is_no_end(site: Site) -> None:
    site.cluster.faults.add(Fault.silent_log())
    run = site.start("sh", "-c", "sleep 0.5; echo late")
    result = await run.result()
    assert result.ok
    assert run.plane.data == b"late\n"


async def test_2_a_failed_read_decides_nothing(site: Site) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 1.5", said="begun")
    site.cluster.faults.add(Fault.respond(500, method="GET", path="*/jobs*", count=12))
    site.cluster.faults.add(Fault.cut(how="rst", path="*/jobs", query={"watch": "1"}, count=2))
    assert (await run.result()).ok


async def test_2_an_object_that_leaves_the_selector_is_not_deleted(site: Site) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 0.5", said="begun")
    path = f"/apis/batch/v1/namespaces/default/jobs/{run.job}"
    body = {"metadata": {"labels": {"claude-k8s/instance": "someone-else"}}}
    merge = "application/merge-patch+json"
    await site.adapter.connection.call("PATCH", path, body=body, content_type=merge, deadline=3)
    assert (await run.result()).ok


async def test_2_a_pod_that_cannot_be_seen_is_not_deleted(site: Site) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 1; echo over", said="begun")
    path, merge = f"/api/v1/namespaces/default/pods/{site.pod(run)}", "application/merge-patch+json"
    body = {"metadata": {"labels": {"claude-k8s/instance": "someone-else"}}}
    await site.adapter.connection.call("PATCH", path, body=body, content_type=merge, deadline=3)
    assert (await run.result()).ok
    assert run.plane.data == b"begun\nover\n"


# 3. Every byte exactly once, in order, or a gap is reported.


async def test_3_bytes_stay_bytes(site: Site) -> None:
    run = site.start("printf", r"a\000b\r\n\n\xff\xfe\342\200\250 end")
    result = await run.result()
    assert run.plane.data == b"a\0b\r\n\n\xff\xfe\xe2\x80\xa8 end"
    assert result.log.complete


async def test_3_a_line_over_the_cap_comes_in_pieces(cluster: LocalCluster) -> None:
    from dataclasses import replace

    from adapter import LogChunk

    limits = replace(FAST, line=50_000)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        run = start(adapter, "sh", "-c", "head -c 120000 /dev/zero | tr '\\0' x; echo; echo next")
        await run.result()
    assert run.plane.data == b"x" * 120_000 + b"\nnext\n"
    chunks = [said for said in run.plane.said if isinstance(said, LogChunk)]
    assert [c.continued for c in chunks][:3] == [True, True, False]


async def test_3_what_the_sink_did_not_take_is_offered_again(site: Site) -> None:
    plane, failures = Recorder(), iter(range(3))

    async def fail_three_times() -> None:
        if next(failures, None) is not None:
            raise OSError("disk full")

    plane.before_log = fail_three_times
    run = site.start(*COUNT, plane=plane)
    assert (await run.result()).ok
    assert plane.data == COUNTED


async def test_3_a_sink_that_fails_for_ever_is_said_and_does_not_change_the_outcome(cluster: LocalCluster) -> None:
    from dataclasses import replace

    async def fail() -> None:
        raise OSError("disk full")

    plane = Recorder()
    plane.before_log = fail
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(FAST, tail=1)) as adapter:
        result = await start(adapter, "echo", "lost", plane=plane).result()
    assert result.ok
    assert not result.log.complete
    assert "5 bytes" in result.log.notes[0]


async def test_3_a_rotation_while_the_follow_is_cut_is_a_gap_that_is_said(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    pod = site.pod(run)
    site.cluster.node.stop_kubelet()
    await site.cluster.until(lambda c: any(r.path.endswith("/log") and r.status == 500 for r in c.requests))
    site.cluster.node.rotate_log(pod)
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    site.cluster.node.append_log(pod, f"{now} stdout F after\n".encode())
    site.cluster.node.start_kubelet()
    await run.plane.until(lambda: b"after" in run.plane.data)
    await run.plane.until(lambda: any("does not hold" in words for words in run.plane.words("log_gap")))
    run.plane.cancel()
    result = await run.result()
    assert not result.log.complete
    assert run.plane.data == b"begun\nafter\n"


# 4. The keepalive lives exactly as long as the run's work.


async def test_4_a_slow_sink_holds_up_no_beat(site: Site) -> None:
    plane, gate = Recorder(), anyio.Event()
    plane.before_log = gate.wait
    run = site.start("echo", "held", plane=plane)
    await site.cluster.until(lambda c: any(s.closed_at for s in c.streams if s.kind == "log"))
    seen = len(plane.beats)
    await plane.until(lambda: len(plane.beats) >= seen + 3)
    gate.set()
    assert (await run.result()).ok
    assert plane.data == b"held\n"


async def test_4_a_beat_that_hangs_holds_up_no_result(site: Site) -> None:
    plane = Recorder()
    plane.before_beat = anyio.Event().wait
    run = site.start("echo", "said", plane=plane)
    assert (await run.result()).ok
    assert plane.data == b"said\n"
    assert plane.beats == []


async def test_4_a_beat_says_when_the_job_was_last_observed(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.faults.add(Fault.silent_watch())
    site.cluster.faults.add(Fault.respond(503, method="GET"))
    site.cluster.compact()
    await run.plane.until(lambda: (run.plane.beats[-1].observed_ago or 0) > 1.6)
    site.cluster.faults.clear()
    await run.plane.until(lambda: (run.plane.beats[-1].observed_ago or 9) < 0.5)
    run.plane.cancel()
    await run.result()


# 5. One result, truthful: tests/wire/test_outcomes.py.


# 6. Drain, then diagnose, then report, then clean up.


async def test_6_nothing_is_deleted_before_the_result_is_accepted(site: Site) -> None:
    plane, gate = Recorder(), anyio.Event()
    plane.before_result = gate.wait
    run = site.start("true", plane=plane, retain=0)
    await plane.until(lambda: any(isinstance(said, RunResult) for said in plane.said))
    assert site.cluster.get("jobs", run.job)
    gate.set()
    await run.result()
    await site.cluster.until(lambda c: not c.list("jobs"))


async def test_6_the_steps_come_in_their_order(site: Site) -> None:
    run = site.start(*COUNT)
    await run.result()
    ended = [words for words in run.plane.words("task") if words.split()[0] in ("watch", "drain", "diagnose", "report")]
    steps = [step for name in ("watch", "drain", "diagnose", "report") for step in (f"{name} began", f"{name} ended")]
    assert [step for step in ended if step in steps][: len(steps)] == steps


async def test_6_a_verdict_is_told_only_when_nothing_runs_any_more(site: Site) -> None:
    site.cluster.node.image_pull_error()
    run = site.start("true")
    await run.plane.until(lambda: any(isinstance(said, RunResult) for said in run.plane.said))
    assert not site.cluster.list("pods")
    await run.result()


# 7. Stopping the adapter is not stopping the work.


async def test_7_cancelling_the_hosts_task_detaches_and_the_same_request_comes_back(site: Site) -> None:
    plane = Recorder()
    run = await site.running(*COUNT, said="line 5", plane=plane, run_id="again")
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    job = site.cluster.get("jobs", run.job)
    assert job
    assert "deletionTimestamp" not in job["metadata"]
    second = Recorder(position=await plane.position("stdout"))
    result = await site.start(*COUNT, plane=second, run_id="again").result()
    assert result.ok
    assert bytes(plane.data + second.data) == COUNTED
    assert any("adopted" in words for words in second.words("job"))


async def test_7_another_process_adopts_what_is_left(cluster: LocalCluster) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as first:
        one = start(first, *COUNT, run_id="shared")
        await one.plane.until(lambda: b"line 3" in one.plane.data)
    assert (await one.result()).outcome is Outcome.DETACHED
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as second:
        two = start(second, *COUNT, run_id="shared")
        assert (await two.result()).ok
    assert two.plane.data == COUNTED, "a plane that does not know gets the log afresh"
    assert two.plane.words("log_restart")


@pytest.mark.parametrize("step", ["drain", "diagnose", "report", "clean up"])
async def test_7_a_detach_in_the_tail_lets_the_step_end(site: Site, step: str) -> None:
    plane = Recorder()
    run = site.start("sh", "-c", "echo hi; exit 3", plane=plane, run_id=f"tail-{step.replace(' ', '-')}")
    await plane.until(lambda: f"{step} began" in plane.words("task") or run.task.done())
    run.task.cancel()
    try:
        await run.task
    except asyncio.CancelledError:
        result = await site.start("sh", "-c", "echo hi; exit 3", run_id=run.request.run_id).result()
        assert result.exit_code == 3


# 8. All durable state is in Kubernetes and in the plane.


async def test_8_running_a_finished_run_again_returns_its_result(site: Site) -> None:
    first = await site.start("sh", "-c", "exit 7", run_id="once").result()
    again = site.start("sh", "-c", "exit 7", run_id="once")
    assert await again.result() == first
    assert again.plane.accepted == first
    assert len(site.cluster.list("jobs")) == 1


async def test_8_another_request_under_the_same_id_is_a_conflict(site: Site) -> None:
    await site.start("true", run_id="once").result()
    result = await site.start("false", run_id="once").result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.CONFLICT)


async def test_8_a_run_that_is_supervised_here_is_not_supervised_twice(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", run_id="once", grace=1)
    assert (await site.start(*FOREVER, run_id="once").result()).code is Code.CONFLICT
    run.plane.cancel()
    await run.result()


async def test_8_a_create_whose_answer_was_lost_creates_one_job(site: Site) -> None:
    site.cluster.faults.add(Fault.lose_answer(method="POST", path="*/jobs"))
    site.cluster.faults.add(Fault.lose_answer(method="PATCH", path="*/jobs/*"))
    run = site.start(*COUNT)
    assert (await run.result()).ok
    assert run.plane.data == COUNTED
    assert len(site.cluster.list("jobs")) == 1


async def test_8_the_job_is_told_to_the_plane_before_it_is_let_run(site: Site) -> None:
    plane, gate = Recorder(), anyio.Event()

    async def hold(event: Event) -> None:
        plane._note(event)
        if event.kind == "job":
            await gate.wait()

    plane.event = hold  # type: ignore[method-assign]
    run = site.start("true", plane=plane)
    await plane.until(lambda: plane.words("job"))
    job = site.cluster.get("jobs", run.job)
    assert job
    assert job["spec"]["suspend"] is True
    gate.set()
    assert (await run.result()).ok


# 9. Every call has a deadline, every retry backs off.


async def test_9_a_server_that_never_answers_starts_nothing(cluster: LocalCluster) -> None:
    from dataclasses import replace

    limits = replace(FAST, call=0.2, launch=0.6)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        cluster.faults.add(Fault.no_headers(method="POST", path="*/jobs"))
        result = await start(adapter, "true").result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.API_UNREACHABLE)
    assert not cluster.list("jobs")


async def test_9_nobody_there_is_a_connect_error(cluster: LocalCluster) -> None:
    text = cluster.kubeconfig.read_text().replace(cluster.url, "http://127.0.0.1:9")
    elsewhere = cluster.directory / "elsewhere"
    elsewhere.write_text(text)
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:9"):
        await Adapter.open(kubeconfig=str(elsewhere))


# 10. Nothing secret leaves its place.


async def test_10_an_environment_value_is_only_in_the_pod_spec(site: Site) -> None:
    run = site.start("true", env={"TOKEN": "s3cret"})
    result = await run.result()
    [job] = site.cluster.list("jobs")
    told = json.dumps([result.to_json(), job["metadata"], *(event.message for event in run.plane.events)])
    assert "s3cret" not in told
    assert "s3cret" not in repr(run.request)


async def test_7_sigterm_lets_go_while_a_report_is_refused(site: Site) -> None:
    plane = Recorder()

    async def refuse() -> None:
        raise ConnectionError("the plane is away")

    plane.before_result = refuse
    run = site.start(*LAST_WORDS[:2], "echo hi", plane=plane)
    await plane.until(lambda: any(isinstance(said, RunResult) for said in plane.said))
    site.adapter.let_go(run.request.run_id)
    assert (await run.result()).outcome is Outcome.DETACHED
    assert site.cluster.get("jobs", run.job)
