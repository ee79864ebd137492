"""A run that is to end before its time: cancelled by an operator, in each version's own way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.paperclip.conftest import Stage
from tests.paperclip.scene import context

OPERATOR = "Cancelled by a board operator"
ACKNOWLEDGED = {"state": "acknowledged", "acknowledgedAt": "2026-11-24T09:00:00Z", "forced": False}
INTERRUPTED = {"kind": "interrupted", "providerStopped": True, "sessionPreserved": True, "actionOutcomes": "settled"}
BOOTSTRAP = {"kind": "bootstrap", "providerWorkStarted": False}


def cancelled(stage: Stage, run: str = "run-1", **more: Any) -> None:
    """The service's result of a run that was cancelled."""
    told = {"errorMessage": "cancelled", "errorCode": "cancelled", "sessionId": "s", "exitCode": 143, **more}
    stage.sidecar.finish(run, {"outcome": "cancelled"}, resultJson={"executionCancellation": ACKNOWLEDGED}, **told)


async def test_a_cancel_is_taken_once_and_its_end_is_told(stage: Stage) -> None:
    def ends(run: str) -> None:
        stage.sidecar.log(run, "got TERM\n")
        cancelled(stage)

    stage.sidecar.on_cancel = ends
    run = stage.host.execute(context())
    told = await stage.sidecar.until_known()
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    result = await run
    assert told.cancels == [OPERATOR]
    assert stage.host.log() == "got TERM\n"
    assert result["resultJson"]["executionCancellation"] == ACKNOWLEDGED
    assert result["executionRecovery"] == INTERRUPTED
    assert result["errorMessage"]
    await stage.sidecar.until_asked("/v1/runs/run-1/ack")


@pytest.mark.parametrize(
    "more",
    [
        {"sessionId": None},
        {"resultJson": {"executionCancellation": {**ACKNOWLEDGED, "forced": True}}},
        {"resultJson": {}},
        {"resultJson": None},
    ],
)
async def test_nothing_is_said_to_be_settled_that_may_not_be(stage: Stage, more: dict[str, Any]) -> None:
    """Without a session, or killed by force, a cancelled run is no good place to go on from."""
    execution = {"sessionId": "s", "resultJson": {"executionCancellation": ACKNOWLEDGED}, **more}
    stage.sidecar.on_cancel = lambda run: stage.sidecar.finish(run, errorMessage="cancelled", **execution)
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    assert "executionRecovery" not in await run


async def test_a_cancel_that_the_sidecar_cannot_take_now_is_repeated(stage: Stage) -> None:
    stage.sidecar.answers["/v1/runs/run-1/cancel"] = [(503, {}), (500, {}), (503, {})]
    stage.sidecar.on_cancel = lambda run: cancelled(stage)
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    assert (await run)["errorCode"] == "cancelled"
    assert stage.sidecar.asked_for("/v1/runs/run-1/cancel") == 4


async def test_a_cancel_waits_for_a_sidecar_that_is_away(stage: Stage) -> None:
    stage.sidecar.on_cancel = lambda run: cancelled(stage)
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    await stage.sidecar.kill()
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    await stage.sidecar.start()
    assert (await run)["errorCode"] == "cancelled"
    assert len(stage.sidecar.documents) == 1, "what is to be stopped is not sent again"


async def test_a_run_that_is_stopped_already_is_not_begun(stage: Stage) -> None:
    """`onCancellationReady` is when Paperclip says so."""
    run = stage.host.execute(context(context={"taskId": "t"}), holds=["onCancellationReady"])
    await stage.host.until_told("onCancellationReady")
    await stage.host.ask("abort", run="run-1", reason="Run stopped before provider startup")
    await stage.host.ask("release")
    result = await run
    assert result["executionRecovery"] == BOOTSTRAP
    assert result["resultJson"]["executionCancellation"]["state"] == "acknowledged"
    assert result["errorMessage"]
    assert not stage.sidecar.asked
    assert not stage.host.told("onDispatch")


async def test_a_cancel_while_no_sidecar_is_there_is_acknowledged_at_once(stage: Stage) -> None:
    await stage.sidecar.kill()
    run = stage.host.execute(context())
    await stage.host.until_told("onEvent")
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    result = await run
    assert result["resultJson"]["executionCancellation"]["state"] == "acknowledged"
    assert result["executionRecovery"] == BOOTSTRAP
    assert OPERATOR in result["errorMessage"]


async def test_a_cancel_of_a_run_that_may_have_arrived_is_not_acknowledged_before_the_sidecar_denies_it(
    stage: Stage,
) -> None:
    stage.sidecar.answers["/v1/runs"] = [(500, {}), *[(503, {})] * 1000]
    run = stage.host.execute(context())
    await stage.sidecar.until_asked("/v1/runs", 2)
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    result = await run
    assert result["executionRecovery"] == BOOTSTRAP
    assert stage.sidecar.asked_for("/v1/runs/run-1/events") > 1, "it was asked whether it has the run"


async def test_a_cancel_of_a_run_that_the_sidecar_lost_is_not_said_to_be_done(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    await stage.sidecar.kill()
    stage.sidecar.runs.clear()
    await stage.host.ask("abort", run="run-1", reason=OPERATOR)
    await stage.sidecar.start()
    result = await run
    assert "executionRecovery" not in result
    assert "resultJson" not in result
    assert "end was not seen" in result["errorMessage"]
    assert len(stage.sidecar.documents) == 1


async def test_the_reason_is_one_that_the_sidecar_takes(stage: Stage) -> None:
    stage.sidecar.on_cancel = lambda run: cancelled(stage)
    run = stage.host.execute(context())
    told = await stage.sidecar.until_known()
    await stage.host.ask("abort", run="run-1", reason="a\0b" + "c" * 2000)
    await run
    assert told.cancels == ["ab" + "c" * 998]


async def test_without_a_signal_the_row_is_looked_at(stage: Stage) -> None:
    """Up to 2026.817 a cancel only changes the row: nobody tells the adapter."""
    stage.rows.status["run-1"] = "running"
    stage.sidecar.on_cancel = lambda run: cancelled(stage)
    run = stage.host.execute(context(), without=["signal", "onCancellationReady", "onDispatch"])
    told = await stage.sidecar.until_known()
    await stage.rows.until_asked("/api/heartbeat-runs/run-1", 2)
    assert not told.cancels
    assert stage.rows.headers[-1]["Authorization"] == "Bearer token-of-the-run"
    stage.rows.status["run-1"] = "cancelled"
    assert (await run)["errorCode"] == "cancelled"
    assert told.cancels == ["the run is cancelled"]


@pytest.mark.parametrize("status", ["failed", "interrupted", "timed_out", "gone", "succeeded"])
async def test_without_a_signal_only_a_cancelled_row_ends_a_job(stage: Stage, status: str) -> None:
    if status != "gone":
        stage.rows.status["run-1"] = status
    run = stage.host.execute(context(), without=["signal", "onCancellationReady", "onDispatch"])
    told = await stage.sidecar.until_known()
    await stage.rows.until_asked("/api/heartbeat-runs/run-1", 3)
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0
    assert not told.cancels


async def test_with_a_signal_the_row_is_not_looked_at(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.finish("run-1")
    await run
    assert not stage.rows.asked
