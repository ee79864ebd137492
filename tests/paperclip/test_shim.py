"""The module that Paperclip loads: a run from its call to its result, whatever happens on the way."""

from __future__ import annotations

import base64

import pytest

from tests.paperclip.conftest import Stage
from tests.paperclip.scene import context

CANCELLED = {"state": "acknowledged", "acknowledgedAt": "2026-11-24T09:00:00Z", "forced": False}
"""What the service says of a cancel that it has seen through."""


async def test_a_run_is_told_to_paperclip_in_order_and_its_result_is_returned(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.say("run-1", type="meta", data={"adapterType": "claude_k8s", "command": "kubectl job/ck-1"})
    stage.sidecar.say("run-1", type="event", kind="container", message="agent: running", data={"pod": "p"}, at=1.5)
    stage.sidecar.log("run-1", "first\n")
    stage.sidecar.log("run-1", "trouble\n", "stderr")
    stage.sidecar.say("run-1", type="beat", phase="running", observedAgo=0.1)
    stage.sidecar.finish("run-1", usage={"inputTokens": 3, "outputTokens": 4}, summary="done")
    result = await run
    assert result == {
        "exitCode": 0,
        "signal": None,
        "timedOut": False,
        "usage": {"inputTokens": 3, "outputTokens": 4},
        "summary": "done",
    }
    names = [call["called"] for call in stage.host.calls]
    assert names == ["onCancellationReady", "onDispatch", "onMeta", "onEvent", "onLog", "onLog"]
    assert stage.host.told("onMeta") == [[{"adapterType": "claude_k8s", "command": "kubectl job/ck-1"}]]
    [[event]] = stage.host.told("onEvent")
    assert event["eventType"] == "claude_k8s.container"
    assert event["message"] == "agent: running"
    assert event["payload"] == {"pod": "p"}
    assert stage.host.told("onLog") == [["stdout", "first\n"], ["stderr", "trouble\n"]]
    await stage.sidecar.until_asked("/v1/runs/run-1/ack")


async def test_what_was_given_is_handed_over_whole_but_for_what_is_no_data(stage: Stage) -> None:
    servers = [{"name": "tools", "url": "http://mcp", "token": "t", "connectionId": "c"}]
    data = context(
        runtime={"sessionId": "s", "sessionParams": {"sessionId": "s"}, "sessionDisplayId": "s", "taskKey": "k"},
        context={"taskId": "t-1", "wakeReason": "issue_assigned"},
        executionContinuation={"some": "thing"},
        runtimeMcp=servers,
        somethingNew={"in": "a later version"},
    )
    run = stage.host.execute(data)
    told = await stage.sidecar.until_known()
    stage.sidecar.finish("run-1")
    await run
    assert told.document == {"context": data}


async def test_a_character_that_is_cut_in_two_arrives_whole(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    first, second = "ä€".encode()[:3], "ä€".encode()[3:]
    stage.sidecar.say("run-1", type="log", stream="stdout", base64=base64.b64encode(first).decode())
    stage.sidecar.log("run-1", "between\n", "stderr")
    stage.sidecar.say("run-1", type="log", stream="stdout", base64=base64.b64encode(second).decode())
    stage.sidecar.say("run-1", type="log", stream="stdout", base64=base64.b64encode(b"\xe2\x82").decode())
    stage.sidecar.finish("run-1")
    await run
    assert stage.host.log() == "ä€\ufffd"
    assert stage.host.log("stderr") == "between\n"


async def test_a_long_piece_of_log_is_given_in_pieces_that_paperclip_does_not_cut(stage: Stage) -> None:
    text = "a" * 32767 + "\U0001f600" * 40000 + "\0\n"
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.log("run-1", text)
    stage.sidecar.finish("run-1")
    await run
    assert stage.host.log() == text.replace("\0", "\ufffd")
    assert all(len(piece.encode("utf-16-le")) // 2 <= 64 * 1024 for _, piece in stage.host.told("onLog"))


async def test_the_link_breaks_and_nothing_is_told_twice(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.log("run-1", "one\n")
    await stage.host.until_told("onLog")
    await stage.sidecar.kill()
    stage.sidecar.log("run-1", "two\n")
    await stage.sidecar.start()
    await stage.sidecar.until_asked("/v1/runs/run-1/events", 2)
    stage.sidecar.log("run-1", "three\n")
    stage.sidecar.finish("run-1")
    await run
    assert stage.host.log() == "one\ntwo\nthree\n"
    assert len(stage.sidecar.documents) == 1
    assert [event["eventType"] for [event] in stage.host.told("onEvent")] == ["claude_k8s.sidecar"]


async def test_a_sidecar_that_has_forgotten_the_run_is_given_it_again_as_it_was(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.log("run-1", "one\n")
    await stage.host.until_told("onLog")
    await stage.sidecar.kill()
    lines = stage.sidecar.runs.pop("run-1").lines
    await stage.sidecar.start()
    await stage.sidecar.until_known()
    stage.sidecar.runs["run-1"].lines = lines
    stage.sidecar.finish("run-1")
    await run
    first, second = stage.sidecar.documents
    assert first == second
    assert stage.host.told("onDispatch") == [[]]


async def test_a_sidecar_that_lets_go_is_come_back_to(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.say("run-1", type="bye", message="the service lets go of the run")
    await stage.sidecar.until_asked("/v1/runs/run-1/events", 2)
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0


async def test_a_sidecar_that_is_not_there_yet_is_waited_for(stage: Stage) -> None:
    await stage.sidecar.kill()
    run = stage.host.execute(context())
    [[event]] = await stage.host.until_told("onEvent")
    assert "ECONNREFUSED" in event["message"]
    assert event["level"] == "warn"
    assert not stage.host.told("onDispatch") or not stage.sidecar.documents
    await stage.sidecar.start()
    await stage.sidecar.until_known()
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_answer_that_may_change_is_asked_for_again(stage: Stage, status: int) -> None:
    stage.sidecar.answers["/v1/runs"] = [(status, {"error": {"code": "x", "message": "not now"}})] * 3
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.answers["/v1/runs/run-1/events"] = [(status, {})]
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0
    [[event]] = stage.host.told("onEvent")[:1]
    assert "not now" in event["message"]


async def test_log_that_the_journal_has_not_any_more_is_said_to_be_missing(stage: Stage) -> None:
    run = stage.host.execute(context(), without=["onEvent"])
    await stage.sidecar.until_known()
    stage.sidecar.say("run-1", type="missed", message="5 bytes of the log are gone", bytes=5)
    stage.sidecar.finish("run-1")
    await run
    assert stage.host.told("onLog") == [["stderr", "[claude-k8s] 5 bytes of the log are gone\n"]]


async def test_versions_without_onevent_and_ondispatch_have_their_runs_too(stage: Stage) -> None:
    missing = ["onEvent", "onDispatch", "onCancellationReady", "onMeta", "onRuntimeProgress"]
    run = stage.host.execute(context(), without=missing)
    await stage.sidecar.until_known()
    stage.sidecar.say("run-1", type="meta", data={})
    stage.sidecar.say("run-1", type="event", kind="job", message="made", data={})
    stage.sidecar.log("run-1", "one\n")
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0
    assert stage.host.told("onLog") == [["stdout", "one\n"]]


async def test_the_log_waits_for_paperclip_to_take_it(stage: Stage) -> None:
    run = stage.host.execute(context(), holds=["onLog"])
    await stage.sidecar.until_known()
    stage.sidecar.log("run-1", "one\n")
    stage.sidecar.log("run-1", "two\n")
    stage.sidecar.finish("run-1")
    await stage.host.until_told("onLog")
    await stage.host.call("type")  # another call is answered meanwhile: what comes next has had its time to come
    assert len(stage.host.told("onLog")) == 1
    await stage.host.ask("release")
    await stage.host.until_told("onLog", 2)
    await stage.host.ask("release")
    await run


async def test_the_acknowledgement_is_repeated_and_never_awaited(stage: Stage) -> None:
    stage.sidecar.answers["/v1/runs/run-1/ack"] = [(503, {}), (409, {})]
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0
    await stage.sidecar.until(lambda: stage.sidecar.runs["run-1"].acks == 1, "it was acknowledged")
