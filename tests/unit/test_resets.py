"""When a limit is reset, as providers say it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.resets import at, said

NOW = datetime(2026, 7, 18, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("You've hit your session limit · resets 3:45pm", "2026-07-18T15:45:00"),
        ("You've hit your limit · resets 2pm (Asia/Shanghai)", "2026-07-19T06:00:00"),
        ("You've hit your weekly limit · resets Jul 31, 8am (UTC)", "2026-07-31T08:00:00"),
        ("weekly limit · resets Aug 3 at 12am (Europe/Berlin)", "2026-08-02T22:00:00"),
        ("limit · resets Jan 2, 9am (UTC)", "2027-01-02T09:00:00"),
        ("You're out of extra usage · resets at 4pm (America/Chicago)", "2026-07-18T21:00:00"),
        ("limit reached. Resets 12 a.m. (GMT)", "2026-07-19T00:00:00"),
        ("limit · resets 12pm", "2026-07-19T12:00:00"),
        ("Claude AI usage limit reached|1784400000", "2026-07-18T18:40:00"),
        ("Claude AI usage limit reached|1784400000000", "2026-07-18T18:40:00"),
        ("limit · resets 2pm (Nowhere/Land)", None),
        ("limit · resets 2pm (../../etc/passwd)", "2026-07-19T14:00:00"),
        ("limit · resets 13pm (UTC)", None),
        ("limit · resets 0am", None),
        ("limit · resets Feb 31, 8am (UTC)", None),
        ("limit · resets 9:75am", None),
        ("limit · resets soon", None),
        ("it resets the 3 pm counters", None),
        ("", None),
    ],
)
def test_what_was_said(text: str, moment: str | None) -> None:
    found = said(text, NOW)

    assert (found and found.isoformat()) == (moment and f"{moment}+00:00")


def test_a_moment_out_of_every_calendar_is_none() -> None:
    assert at(10**12) is not None
    assert at(10**15) is None
    assert at(2**53) is None


@given(text=st.text("resets 1234567890:apm.,()JanFebUTC/|limit reached", max_size=60), seconds=st.integers(0, 2**53))
def test_nothing_that_is_said_raises(text: str, seconds: int) -> None:
    said(f"resets {text}", NOW)
    at(seconds)
