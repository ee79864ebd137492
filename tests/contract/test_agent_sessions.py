"""Sessions: gone on with where a volume keeps them, begun afresh where not, and told so in either case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.agents import USAGE, Agents, Ran
from tests.contract.volumes import kept

NOWHERE = "5f2c9d1e-7b1a-4c58-9a3e-2f6d0b8c4e17"


@pytest.fixture
async def keeping(agents: Agents) -> AsyncIterator[Agents]:
    """Agents whose home outlives their pods."""
    async for claim in _claims(agents):
        yield replace(agents, claim=claim)


async def _claims(agents: Agents) -> AsyncIterator[str]:
    async with kept(agents.place) as claim:
        yield claim


def after(ran: Ran) -> dict[str, object]:
    """What a control plane says to the next run of the last one."""
    return {"sessionId": ran.told["sessionId"], "sessionParams": ran.told["sessionParams"]}


async def test_a_session_is_gone_on_with(keeping: Agents) -> None:
    first = await keeping.run(keeping.context("session-file"))
    assert first.status == 0, first.err
    assert first.told["sessionId"] == first.session
    assert first.told["sessionParams"]["sessionId"] == first.session
    assert not first.told["clearSession"]
    second = await keeping.run(keeping.context("session-file", runtime=after(first)))
    assert second.session == first.session
    assert second.told["summary"].endswith("I remember 1 earlier prompts.")
    await keeping.bare()


async def test_a_session_is_gone_on_with_in_the_directory_of_the_control_planes_workspace(keeping: Agents) -> None:
    workspace: Any = {
        "context": {"taskId": "T-1", "paperclipWorkspace": {"cwd": "/paperclip/tasks/one", "source": "task"}}
    }
    first = await keeping.run(keeping.context("session-file", **workspace))
    second = await keeping.run(keeping.context("session-file", runtime=after(first), **workspace))
    assert second.session == first.session, second.words("note")
    assert second.told["sessionParams"]["cwd"] == first.told["sessionParams"]["cwd"]
    assert "***" not in str(second.told["sessionParams"])


async def test_an_unknown_session_ends_the_run_and_is_forgotten(keeping: Agents) -> None:
    ran = await keeping.run(keeping.context("session-file", runtime={"sessionId": NOWHERE}))
    assert ran.status == 1, ran.err
    assert "--resume" in ran.event("meta")["commandArgs"]
    assert ran.told["errorCode"] == "session_unavailable"
    assert f"No conversation found with session ID: {NOWHERE}" in ran.told["errorMessage"]
    assert (ran.told["clearSession"], ran.told["sessionId"]) == (True, None)
    assert NOWHERE in ran.log("stderr")
    await keeping.bare()


async def test_an_unknown_session_is_tried_once_more_without_one_when_asked(keeping: Agents) -> None:
    asked: Any = {"runtime": {"sessionId": NOWHERE}, "config": {"retryFreshSession": True}}
    context = keeping.context("session-file", **asked)
    ran = await keeping.run(context)
    assert ran.status == 0, ran.err
    assert [line["type"] for line in ran.lines].count("result") == 1
    assert any("once more with a fresh one" in note for note in ran.words("note"))
    assert len(set(ran.words("meta"))) == 2, "two Jobs"
    assert [event["subtype"] for event in ran.transcript if event["type"] == "result"] == [
        "error_during_execution",
        "success",
    ]
    assert ran.told["sessionId"] == ran.transcript[-1]["session_id"] != NOWHERE
    assert (ran.told["usage"], ran.told["clearSession"]) == (USAGE, False)
    await keeping.bare()


async def test_without_a_volume_a_session_is_not_gone_on_with_and_that_is_said(agents: Agents) -> None:
    asked: Any = {"runtime": {"sessionId": NOWHERE}, "config": {"retryFreshSession": True}}
    ran = await agents.run(agents.context("session-file unknown-session", **asked))
    assert ran.status == 0, ran.err
    assert "--resume" not in ran.event("meta")["commandArgs"]
    assert any(NOWHERE in note and "no volume outlives the pod" in note for note in ran.words("note"))
    assert (ran.told["clearSession"], ran.told["sessionId"], ran.told["sessionParams"]) == (True, None, None)
    await agents.bare()
