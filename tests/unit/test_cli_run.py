from __future__ import annotations

import pytest

from adapter.cli.output import clean
from adapter.cli.session import exit_code
from adapter.errors import Code
from adapter.run import Outcome, RunResult


def result(outcome: Outcome, code: Code, exit_code: int | None = None) -> RunResult:
    return RunResult(run_id="r", outcome=outcome, code=code, message="m", exit_code=exit_code)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (result(Outcome.SUCCEEDED, Code.OK, 0), 0),
        (result(Outcome.SUCCEEDED, Code.OK), 0),
        (result(Outcome.FAILED, Code.EXIT_CODE, 3), 3),
        (result(Outcome.FAILED, Code.OOM_KILLED, 137), 137),
        (result(Outcome.FAILED, Code.IMAGE_PULL), 125),
        (result(Outcome.FAILED, Code.EVICTED, 0), 125),
        (result(Outcome.TIMED_OUT, Code.DEADLINE, 143), 124),
        (result(Outcome.TIMED_OUT, Code.DEADLINE, 0), 124),
        (result(Outcome.CANCELLED, Code.CANCELLED, 143), 130),
        (result(Outcome.DETACHED, Code.DETACHED), 130),
        (result(Outcome.DELETED, Code.JOB_DELETED, 143), 143),
        (result(Outcome.DELETED, Code.POD_DELETED, 0), 125),
        (result(Outcome.UNKNOWN, Code.UNKNOWN), 125),
        (result(Outcome.UNKNOWN, Code.STATUS_UNKNOWN, 137), 137),
        (None, 130),
    ],
)
def test_the_exit_code(given: RunResult | None, status: int) -> None:
    assert exit_code(given) == status


def test_text_from_the_cluster_does_not_steer_the_terminal() -> None:
    assert clean("\x1b[2Jok\r\nnext\x9b") == " [2Jok  next "
