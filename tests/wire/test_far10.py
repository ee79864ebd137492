"""The four FAR-10 bugs and their test plan, on a wire whose streams stay open until the client closes them."""

from __future__ import annotations

from adapter import Beat, Code, Outcome, RunResult
from adapter.local import Fault
from tests.recorder import Recorder
from tests.wire.conftest import Site

SAY = ("sh", "-c", "echo one; echo two; sleep 0.3; echo three")


async def test_1_a_follow_that_never_ends_does_not_outlive_its_job(site: Site) -> None:
    site.cluster.faults.add(Fault.hang_log_after_end())
    run = await site.running(*SAY, said="two")
    result = await run.result()
    assert result.outcome is Outcome.SUCCEEDED
    assert run.plane.data == b"one\ntwo\nthree\n"
    [follow] = site.follows()
    assert follow.closed_by == "client"


async def test_1_the_watch_cancels_the_follow_before_anything_else_is_done(site: Site) -> None:
    site.cluster.faults.add(Fault.hang_log_after_end())
    run = await site.running(*SAY, said="two")
    await run.result()
    order = run.plane.words("task")
    assert order.index("watch ended") < order.index("drain began")
    assert order.index("follow ended") < order.index("drain ended")


async def test_1_a_follow_whose_headers_never_come_does_not_hold_the_run(site: Site) -> None:
    site.cluster.faults.add(Fault.no_headers(path="*/log", query={"follow": "true"}))
    run = site.start(*SAY)
    result = await run.result()
    assert result.ok
    assert run.plane.data == b"one\ntwo\nthree\n"


async def test_2_a_pod_that_failed_before_it_was_seen_running_has_its_log_delivered_then_fails(site: Site) -> None:
    site.cluster.faults.add(Fault.withhold(_running_pod, events=None))
    run = site.start("sh", "-c", "echo a; echo b; echo c; exit 3")
    result = await run.result()
    assert run.plane.data == b"a\nb\nc\n"
    assert (result.outcome, result.code, result.exit_code) == (Outcome.FAILED, Code.EXIT_CODE, 3)
    assert result.message == f"Pod {site.pod(run)} reached phase=Failed: claude exited 3 (Error)"


def _running_pod(_: str, raw: dict) -> bool:  # type: ignore[type-arg]  # JSON
    statuses = raw.get("status", {}).get("containerStatuses", ())
    return any("running" in s.get("state", {}) for s in statuses)


async def test_3_a_terminated_state_is_told(site: Site) -> None:
    run = site.start("sh", "-c", "kill -9 $$")
    result = await run.result()
    assert "claude: terminated (exit 137, Error)" in run.plane.words("container")
    assert (result.code, result.signal) == (Code.SIGNALLED, 9)


async def test_3_every_state_is_told_once(site: Site) -> None:
    run = site.start(*SAY)
    await run.result()
    states = run.plane.words("container")
    assert states == [
        "claude: waiting (ContainerCreating)",
        "claude: running",
        "claude: terminated (exit 0, Completed)",
    ]


async def test_4_beats_go_on_after_the_end_until_the_result_is_accepted(site: Site) -> None:
    plane = Recorder()

    async def refuse_until_three_more_beats() -> None:
        tried = sum(isinstance(said, RunResult) for said in plane.said)
        since = next(n for n, said in enumerate(plane.said) if isinstance(said, RunResult))
        beats = sum(isinstance(said, Beat) for said in plane.said[since:])
        if tried < 2 or beats < 3:
            raise ConnectionError("the plane is away")

    plane.before_result = refuse_until_three_more_beats
    run = site.start("true", plane=plane)
    result = await run.result()
    assert plane.accepted == result
    assert _beats_and_results(plane)[-1] is RunResult


def _beats_and_results(plane: Recorder) -> list[type]:
    return [type(said) for said in plane.said if isinstance(said, Beat | RunResult)]


async def test_4_no_beat_follows_an_accepted_result(site: Site) -> None:
    run = site.start(*SAY)
    await run.result()
    said = _beats_and_results(run.plane)
    assert said[0] is Beat
    assert said[-1] is RunResult
    assert said.count(RunResult) == 1


async def test_4_the_first_beat_does_not_wait_for_the_job(site: Site) -> None:
    site.cluster.faults.add(Fault.respond(500, method="POST", path="*/jobs", count=5))
    run = site.start("true")
    await run.plane.until(lambda: len(run.plane.beats) >= 2)
    assert run.plane.beats[0].observed_ago is None
    assert (await run.result()).ok
