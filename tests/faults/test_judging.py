"""The judge of the matrix, tried: what it must find wrong, and what it must not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from adapter import Outcome
from adapter.errors import Code
from adapter.run import LogSummary, RunResult
from adapter.verdict import plain_result
from tests.faults.agent import line
from tests.faults.drawing import Plan, named
from tests.faults.judging import judge
from tests.faults.scene import Part

SAID = [line(number, "plain", 1) for number in range(1, 5)]
PART = Part(seed=1, lines=4, pause=0, code=3, kind="plain")


def result(outcome: Outcome, code: Code, exit_code: int | None = None, *, complete: bool = True) -> RunResult:
    made = plain_result("run", outcome, code, "")
    return replace(made, exit_code=exit_code, log=LogSummary(delivered=0, complete=complete, notes=()))


OWN_END = result(Outcome.FAILED, Code.EXIT_CODE, 3)


def wrong(
    *mishaps: str,
    came: list[bytes] = SAID,
    accepted: RunResult | None = OWN_END,
    ended: dict[str, Any] | None = None,
    streams: int = 0,
) -> tuple[str, ...]:
    """What is wrong with a run of an agent that said its four lines and exited with 3."""
    plan = Plan(0, 0, PART, tuple(named(name) for name in mishaps))
    ledger = SimpleNamespace(accepted=accepted, accepted_at=0.0, gaps=[], wrong=[], data=bytearray(b"".join(came)))
    scene: Any = SimpleNamespace(
        ledger=ledger,
        said=b"".join(SAID),
        ended=ended or {"told": False, "code": 3},
        happened=list(mishaps),
        cluster=SimpleNamespace(history=[]),
    )
    return judge(plan, scene, streams).wrong


def test_a_run_as_it_should_be() -> None:
    assert wrong("watch cut") == ()


@pytest.mark.parametrize(
    ("came", "word"),
    [
        (SAID[:3], "lost"),
        ([*SAID, SAID[2]], "twice"),
        ([*SAID[:3], b"4 nobody's\n"], "nobody's"),
        ([SAID[1], SAID[0], *SAID[2:]], "another order"),
    ],
    ids=["lost", "twice", "strange", "order"],
)
def test_a_log_that_is_not_what_was_said(came: list[bytes], word: str) -> None:
    assert any(word in text for text in wrong("watch cut", came=came))


def test_what_the_api_has_lost_may_be_missing_and_must_be_said() -> None:
    told = result(Outcome.FAILED, Code.EXIT_CODE, 3, complete=False)
    assert wrong("pod deleted by force", came=SAID[:2], accepted=told) == ()
    assert any("without a word" in text for text in wrong("pod deleted by force", came=SAID[:2]))


def test_a_gap_where_there_is_none() -> None:
    told = result(Outcome.FAILED, Code.EXIT_CODE, 3, complete=False)
    assert any("a gap was said" in text for text in wrong("watch cut", accepted=told))


@pytest.mark.parametrize(
    "accepted",
    [
        None,
        result(Outcome.SUCCEEDED, Code.OK, 0),
        result(Outcome.FAILED, Code.EXIT_CODE, 4),
        result(Outcome.FAILED, Code.EXIT_CODE),
        result(Outcome.FAILED, Code.EVICTED),
        result(Outcome.DETACHED, Code.DETACHED),
    ],
)
def test_a_result_that_is_not_the_agents_end(accepted: RunResult | None) -> None:
    assert wrong("watch cut", accepted=accepted)


def test_an_end_is_called_by_its_name() -> None:
    killed = {"told": True, "code": 3}
    assert wrong("evicted by the API", accepted=result(Outcome.FAILED, Code.EVICTED), ended=killed) == ()
    assert wrong("evicted by the API", accepted=result(Outcome.FAILED, Code.PREEMPTED), ended=killed)


def test_a_stream_that_was_left() -> None:
    assert wrong("watch cut", streams=1) == ("streams left: 1",)
