"""The judge sees what is wrong. (These need no cluster.)"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapter import Code, LogSummary, Outcome, RunResult
from tests.faults_cluster.judge import SUCCESS, Expected, Judged, faults, lines_before
from tests.faults_cluster.ledger import Tally
from tests.faults_cluster.matrix import Row, table


def tally_of(*blocks: bytes) -> Tally:
    tally = Tally()
    for block in blocks:
        tally.feed(block)
    return tally


def test_lines_are_counted_wherever_their_blocks_are_cut() -> None:
    tally = tally_of(b"1 the qu", b"ick\n2", b" brown\n", b"3\n")
    assert (tally.lines, tally.missing(3), tally.twice, tally.backwards) == (3, [], 0, 0)


@pytest.mark.parametrize(
    ("text", "missing", "twice", "backwards"),
    [
        (b"1\n2\n4\n", [3, 5], 0, 0),
        (b"1\n2\n2\n3\n4\n5\n", [], 1, 0),
        (b"1\n3\n2\n4\n5\n", [], 0, 1),
        (b"2\n3\n4\n5\n", [1], 0, 0),
        (b"1\n2\n3\n4\n5\n6\n", [], 0, 0),
        (b"", [1, 2, 3, 4, 5], 0, 0),
    ],
)
def test_what_is_lost_said_twice_or_out_of_order(text: bytes, missing: list[int], twice: int, backwards: int) -> None:
    tally = tally_of(text)
    assert (tally.missing(5), tally.twice, tally.backwards) == (missing, twice, backwards)


def test_a_line_that_no_pod_says() -> None:
    assert tally_of(b"1 a\nrpc error: code = NotFound\n2 b\n").strange == [b"rpc error: code = NotFound"]


LOSING = Expected("succeeded", ("ok",), losing=True)
TORN = Expected("succeeded", ("ok",), losing=True, torn=True)


@pytest.mark.parametrize(
    ("text", "complete", "expected", "word"),
    [
        (b"1\n2\n3\n", True, SUCCESS, ""),
        (b"1\n3\n", True, SUCCESS, "1 lines lost without a word"),
        (b"1\n3\n", False, SUCCESS, "1 lines lost (2 to 2 of 3)"),
        (b"1\n3\n", True, LOSING, "1 lines lost without a word"),
        (b"1\nxx\n3\n", True, LOSING, "nobody said"),
        (b"1\nxx\n3\n", False, LOSING, ""),
        (b"1\nxx\nxx\n3\n", False, LOSING, "nobody said"),
        (b"1\nxx\n3\n", True, TORN, ""),
        (b"1\n3\n3\n", True, TORN, "1 lines twice"),
        (b"1\n3\n", False, LOSING, ""),
        (b"1\n2\n3\n", False, SUCCESS, "a gap was said where there is none"),
        (b"1\n2\n3\n", False, LOSING, ""),
        (b"1\n2\n2\n3\n", True, SUCCESS, "1 lines twice"),
        (b"1\n2\n3\n", True, Expected("failed", ("exit_code",), 7), "expected"),
    ],
)
def test_loss_without_a_word_is_always_a_fault(text: bytes, complete: bool, expected: Expected, word: str) -> None:
    log = LogSummary(complete=complete)
    result = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="", exit_code=0, log=log)
    found = "; ".join(faults(Judged.of(tally_of(text), result, expected, said=3), expected))
    assert found.startswith(word) if word else not found, found


@pytest.mark.parametrize(
    ("rest", "expected", "odd"),
    [
        (b"1\n2 x\n13\n14\n", TORN, False),  # what is left of line 12
        (b"1\n2 x\n13\n14\n", LOSING, True),
        (b"12 x\n1\n2 x\n13\n14\n", TORN, True),
        (b"5 x\n13\n14\n", TORN, True),
    ],
)
def test_a_line_that_was_torn_within_its_number_is_no_other_line(rest: bytes, expected: Expected, odd: bool) -> None:
    whole = b"".join(b"%d x\n" % number for number in range(1, 12))
    log = LogSummary(complete=False)
    result = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="", exit_code=0, log=log)
    found = list(faults(Judged.of(tally_of(whole, rest), result, expected, said=14), expected))
    assert any("twice" in fault for fault in found) is odd, found


def test_what_a_pod_could_not_tell_is_not_taken_for_nothing() -> None:
    result = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="", exit_code=0)
    judged = Judged.of(tally_of(b"1\n2\n"), result, SUCCESS, said=None)
    assert list(faults(judged, SUCCESS)) == ["nobody knows how many lines the pod has said"]
    assert list(faults(judged, LOSING)) == []
    assert "| 0 or more |" in str(Row("node lost", lost=0, heard=judged.heard))


def test_what_a_pod_says_after_the_result_is_not_lost() -> None:
    log = b"2026-11-24T18:55:08.999999999Z 1 a\n2026-11-24T18:55:09.000000001Z 2 b\n2026-11-24T18:55:09.1Z rpc error\n"
    assert list(lines_before(log, datetime(2026, 11, 24, 18, 55, 9, tzinfo=UTC))) == [1]


def test_a_line_of_the_table() -> None:
    row = Row("pod deleted", 1, 20, 0, 0, "pod_deleted", right=True, streams=0, seconds=0.034)
    assert table([row]).splitlines()[-1] == "| pod deleted | 1 | 20 | 0 | 0 | pod_deleted | yes | no | 0 | 0.03 |  |"
