"""What an agent's end means: each way in which it can end, on both clusters, as the control plane is told of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.agents import COST, USAGE, Agents, Ran, of

SPENT_ON_NOTHING = {"inputTokens": 4, "outputTokens": 0, "cachedInputTokens": 12000}
SPENT_AT_FIRST = {"inputTokens": 4, "outputTokens": 8, "cachedInputTokens": 12000}
SPENT = {"inputTokens": 20, "outputTokens": 329, "cachedInputTokens": 60000}
"""What the fake has used when it has said its first words, and when it has said all but its result."""

QUOTA, UPSTREAM = "provider_quota", "transient_upstream"


async def test_success(agents: Agents) -> None:
    ran = await agents.run(agents.context(config={"model": "claude-opus-4-6"}))
    assert ran.status == 0, ran.err
    assert of(ran.told, "exitCode", "signal", "timedOut", "errorMessage", "errorCode") == {
        "exitCode": 0,
        "signal": None,
        "timedOut": False,
        "errorMessage": None,
        "errorCode": None,
    }
    assert of(ran.told, "usage", "costUsd", "model", "summary") == {
        "usage": USAGE,
        "costUsd": COST,
        "model": "claude-opus-4-6",
        "summary": "The work is done.",
    }
    assert ran.result["agent"]["session_id"] == ran.session
    assert ran.result["log"] == {"delivered": len(ran.log().encode()), "complete": True, "notes": []}
    assert ran.transcript[-1]["type"] == "result"
    await agents.bare()


async def test_the_invocation_is_told_before_it_runs(agents: Agents) -> None:
    ran = await agents.run(agents.context(config={"labels": {"team": "blue", "paperclip.io/x": "y"}, "surprise": 1}))
    kinds = [line.get("kind") for line in ran.lines]
    assert kinds.index("job") < kinds.index("note") < kinds.index("meta") < kinds.index("pod")
    job = ran.event("job")["job"]
    meta = ran.event("meta")
    assert of(meta, "adapterType", "command", "cwd") == {
        "adapterType": "claude_k8s",
        "command": f"kubectl job/{job}",
        "cwd": "/paperclip",
    }
    assert meta["prompt"].startswith("Do what is to be done.")
    assert meta["promptMetrics"]["promptChars"] == len(meta["prompt"])
    assert meta["commandArgs"][:2] == ["--print", "-"]
    notes = "\n".join(ran.words("note"))
    assert "config.surprise: not known here" in notes
    assert "1 label(s) with a reserved name were skipped: paperclip.io/x" in notes
    assert "set workspaceVolumeClaim" in notes


Row = tuple[int, str, str, str | None, dict[str, int] | None]
"""The command's exit code, words of the message, the control plane's code and its family, and what was used."""

BY_ITS_PROCESS: dict[str, Row] = {
    "exit=3": (3, "exited with code 3 after a result without an error", "exit_code", None, USAGE),
    "no-result": (1, "its result did not arrive", "claude_truncated", None, SPENT),
    "truncated": (137, "truncated mid-stream", "claude_truncated", None, SPENT_AT_FIRST),
    "truncated exit=4": (4, "truncated mid-stream", "claude_truncated", None, SPENT_AT_FIRST),
    "kill=9": (137, "SIGKILL", "claude_truncated", None, SPENT_AT_FIRST),
    "oom=400": (137, "OOMKilled", "oom_killed", None, SPENT_AT_FIRST),
    "empty-api": (1, "LLM API returned an empty response", "llm_api_error", UPSTREAM, SPENT_ON_NOTHING),
}
BY_ITS_WORDS: dict[str, Row] = {
    "is-error": (1, "the tool runner went away", "agent_error", None, USAGE),
    "is-error exit=0": (1, "the tool runner went away", "agent_error", None, USAGE),
    "max-turns": (1, "Reached maximum number of turns (1000)", "max_turns_exhausted", None, USAGE),
    "login": (1, "Please run /login", "claude_auth_required", None, USAGE),
    "rate-limited": (1, "hit your session limit", "provider_quota", QUOTA, USAGE),
    "overloaded": (1, "API Error: 529", "claude_transient_upstream", UPSTREAM, USAGE),
    "context-overflow": (1, "Prompt is too long", "context_overflow", None, USAGE),
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("table", [BY_ITS_PROCESS, BY_ITS_WORDS], ids=["by its process", "by its words"])
async def test_failures(agents: Agents, table: dict[str, Row]) -> None:
    ran = dict(zip(table, await at_once(agents, *table), strict=True))
    found = {faults: row(one, table[faults][1]) for faults, one in ran.items()}
    assert found == table
    for faults, one in ran.items():
        assert one.result["outcome"] == "failed", faults
        assert one.result["agent"]["session_id"] == one.session, faults
        assert one.result["log"]["complete"], faults
        assert one.told["executionRecovery"] is None, f"{faults}: the agent has run"
        assert one.told["timedOut"] is False
    await agents.bare()


async def at_once(agents: Agents, *faults: str) -> list[Ran]:
    """Runs of as many agents, a few of them at the same moment."""
    few = asyncio.Semaphore(3)

    async def run(words: str) -> Ran:
        async with few:
            little = {"resources.limits.memory": "64Mi"}
            return await agents.run(agents.context(words, agent=words, config=little))

    return await asyncio.gather(*map(run, faults))


def row(ran: Ran, words: str) -> Row:
    """What came of it, with the whole message where the words are not in it."""
    message = ran.told["errorMessage"] or ""
    told = ran.told["errorCode"], ran.told["errorFamily"], ran.told["usage"]
    return ran.status, words if words in message else message, *told


async def test_what_the_control_plane_can_do_about_it(agents: Agents) -> None:
    resets = 4_102_444_800
    limited, login, turns = await at_once(agents, f"rate-limited resets={resets}", "login", "max-turns")
    assert limited.told["retryNotBefore"] == "2100-01-01T00:00:00Z"
    assert limited.told["resultJson"]["transientRetryNotBefore"] == limited.told["retryNotBefore"]
    assert login.told["errorMeta"]["loginUrl"] == "https://claude.ai/oauth/authorize?code=true&client_id=fake"
    assert turns.told["resultJson"]["stopReason"] == "max_turns_exhausted"
    assert turns.told["clearSession"]
    assert [one.told["retryNotBefore"] for one in (login, turns)] == [None, None]
