"""When a service has told all that there is now. The clock is the test's own."""

from __future__ import annotations

import pytest

from adapter.cli.logs import _Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("adapter.cli.logs.anyio.current_time", lambda: now[0])
    return now


def stamp(seconds: float) -> str:
    return f"2026-11-22T21:{int(seconds // 60):02}:{seconds % 60:012.9f}Z"


def live(pace: _Pace, clock: list[float], seen: list[tuple[float, float]]) -> list[bool]:
    """For each line, seen at a time of ours, whether it is live by its stamp."""
    told = []
    for clock[0], written in seen:
        told.append(pace.is_live(stamp(written)))
    return told


def test_a_log_that_comes_as_it_is_written(clock: list[float]) -> None:
    assert live(_Pace(), clock, [(n / 10, 100 + n / 10) for n in range(17)]) == [False] * 15 + [True, False]


def test_a_log_that_is_read_faster_than_it_was_written(clock: list[float]) -> None:
    assert not any(live(_Pace(), clock, [(n / 10, n * 10) for n in range(100)]))


def test_the_backlog_first_and_then_what_comes(clock: list[float]) -> None:
    backlog = [(n / 100, n * 60.0) for n in range(20)]
    after = [(0.2 + n / 10, 20 * 60 + n / 10) for n in range(31)]
    told = live(_Pace(), clock, backlog + after)
    assert told.index(True) > len(backlog) + 14, "in the second while, since the first one began in the backlog"


def test_a_clock_that_stands_elsewhere_makes_no_difference(clock: list[float]) -> None:
    clock[0] = 5000.0
    assert live(_Pace(), clock, [(5000 + n / 10, 7 + n / 10) for n in range(17)])[15]


def test_what_has_no_stamp_tells_nothing(clock: list[float]) -> None:
    pace = _Pace()
    for clock[0] in (0.0, 10.0):
        assert not pace.is_live("")
