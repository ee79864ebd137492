"""Deadlines, cancels, and commands that end before their agent does: what was said until then is kept."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.contract.agents import COST, FAKE, USAGE, Agents, Ran

SO_FAR = {"inputTokens": 4, "outputTokens": 8, "cachedInputTokens": 12000}


def kept(ran: Ran) -> None:
    """What the agent has told of itself before it was ended."""
    assert ran.result["agent"]["session_id"] == ran.session
    assert ran.told["usage"] == SO_FAR
    assert ran.told["summary"] == "I look at what is there."
    assert ran.log().endswith("got TERM\n")
    assert ran.result["log"]["complete"]


def whole(ran: Ran, *, lines: int) -> None:
    """A log that is there from its first line to its last, each of them once."""
    assert ran.status == 0, ran.err
    ids = [event["uuid"] for event in ran.transcript]
    assert (len(ids), len(set(ids))) == (lines, lines)
    assert (ran.told["usage"], ran.told["costUsd"], ran.told["summary"]) == (USAGE, COST, "The work is done.")
    assert ran.result["agent"]["session_id"] == ran.session


async def test_a_deadline(agents: Agents) -> None:
    ran = await agents.run(agents.context("forever", config={"timeoutSec": "12"}))
    assert ran.status == 124, ran.err
    assert ran.result["outcome"] == "timed_out"
    assert (ran.told["timedOut"], ran.told["errorCode"], bool(ran.told["errorMessage"])) == (True, "timeout", True)
    kept(ran)
    await agents.bare()


async def test_a_cancel(agents: Agents) -> None:
    async with agents.working(agents.context("forever")) as working:
        working.process.send_signal(signal.SIGINT)
        ran = await working.end()
    assert ran.status == 130, ran.err
    assert (ran.result["outcome"], ran.told["errorCode"], ran.told["timedOut"]) == ("cancelled", "cancelled", False)
    assert ran.told["errorMessage"]
    assert ran.told["resultJson"]["executionCancellation"]["state"] == "acknowledged"
    assert not ran.told["resultJson"]["executionCancellation"]["forced"]
    kept(ran)
    await agents.bare()


async def test_a_cancel_of_an_agent_that_does_not_hear_it(agents: Agents) -> None:
    async with agents.working(agents.context("forever ignore-term", config={"graceSec": 2})) as working:
        working.process.send_signal(signal.SIGINT)
        ran = await working.end()
    assert (ran.status, ran.told["errorCode"]) == (130, "cancelled"), ran.err
    assert (ran.told["exitCode"], ran.told["signal"]) == (137, "SIGKILL")
    assert ran.told["resultJson"]["executionCancellation"]["forced"]
    assert ran.told["usage"] == SO_FAR
    await agents.bare()


async def test_a_command_that_is_ended_lets_go_and_the_same_context_comes_back(agents: Agents) -> None:
    context = agents.context("sleep=4")
    async with agents.working(context) as working:
        working.process.send_signal(signal.SIGTERM)
        first = await working.end()
    assert first.status == 130
    assert first.result["outcome"] == "detached"
    assert "come back with the same context" in first.err
    ran = await agents.run(context)
    assert any("adopted" in words for words in ran.words("job"))
    whole(ran, lines=await lines(agents))
    await agents.bare()


async def test_a_command_that_is_killed_has_lost_nothing(agents: Agents) -> None:
    context = agents.context("sleep=4")
    async with agents.working(context) as working:
        working.process.kill()
        await working.process.wait()
    ran = await agents.run({**context, "authToken": "another-one-by-now"})
    assert any("adopted" in words for words in ran.words("job"))
    whole(ran, lines=await lines(agents))
    await agents.bare()


async def lines(agents: Agents) -> int:
    """How many lines the fake writes when nothing happens to it."""
    process = await asyncio.create_subprocess_exec(
        *("sh", str(FAKE), "--print", "-", "--output-format", "stream-json", "--verbose"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(b"x")
    return out.count(b"\n")


async def test_another_context_under_the_same_run_id_is_refused(agents: Agents) -> None:
    context = agents.context("forever")
    async with agents.working(context) as working:
        other = agents.context("no-result", runId=context["runId"])
        process = await agents.begin(other)
        ran = await agents.end(other, process)
        assert ran.told["errorCode"] == "conflict"
        assert ran.told["errorMessage"]
        working.process.send_signal(signal.SIGINT)
        await agents.file(context)
        assert (await working.end()).told["errorCode"] == "cancelled"
    await agents.bare()
    assert ran.status == 125, ran.err


@pytest.mark.parametrize(
    "config",
    [{"resources.requests.cpu": "1000", "resources.limits.cpu": "1000", "podScheduleTimeoutSec": 1}, {"image": "A"}],
    ids=["no node", "no image"],
)
async def test_a_run_that_never_started_says_so(agents: Agents, config: dict[str, object]) -> None:
    ran = await agents.run(agents.context(config=config))
    assert ran.told["errorCode"] == "k8s_pod_schedule_failed"
    assert ran.told["executionRecovery"] == {"kind": "bootstrap", "providerWorkStarted": False}
    assert (ran.told["usage"], ran.told["exitCode"], bool(ran.told["errorMessage"])) == (None, None, True)
    await agents.bare()
    assert ran.status == 125, ran.err
