from __future__ import annotations

from unittest.mock import AsyncMock, patch

import pytest

from adapter.backoff import Backoff


def test_delays_stay_between_first_and_most() -> None:
    backoff = Backoff(0.2, 5.0)

    assert all(0.2 <= backoff.next() <= 5.0 for _ in range(200))


def test_delays_grow() -> None:
    with patch("random.uniform", side_effect=lambda _, high: high):
        backoff = Backoff(1.0, 20.0)
        assert [backoff.next() for _ in range(4)] == [3.0, 9.0, 20.0, 20.0]


def test_a_success_begins_anew() -> None:
    with patch("random.uniform", side_effect=lambda _, high: high):
        backoff = Backoff(1.0, 20.0)
        backoff.next()
        backoff.next()
        backoff.reset()
        assert backoff.next() == 3.0


def test_delays_differ() -> None:
    assert len({Backoff(0.2, 5.0).next() for _ in range(20)}) > 10


@pytest.mark.parametrize(("at_least", "slept"), [(0.0, 3.0), (7.0, 7.0)])
async def test_a_retry_after_is_respected(at_least: float, slept: float) -> None:
    with patch("random.uniform", side_effect=lambda _, high: high), patch("anyio.sleep", AsyncMock()) as sleep:
        await Backoff(1.0, 20.0).wait(at_least)

    sleep.assert_awaited_once_with(slept)
