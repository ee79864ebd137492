from __future__ import annotations

from unittest.mock import AsyncMock, patch

import anyio
import pytest

from adapter.backoff import Backoff, Patience


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


async def test_whoever_waited_in_vain_waits_twice_as_long_and_never_longer_than_that() -> None:
    patience = Patience(0.001, 0.003)
    for then in (0.002, 0.003, 0.003):
        with pytest.raises(TimeoutError), patience.wait():
            await anyio.sleep_forever()
        assert patience.now == then


async def test_many_who_wait_in_vain_at_once_count_as_one() -> None:
    patience = Patience(0.001, 1)

    async def wait() -> None:
        with pytest.raises(TimeoutError), patience.wait():
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(wait)
    assert patience.now == 0.002


@pytest.mark.parametrize(("took", "then"), [(0.0, 0.01), (0.03, 10.24)])
async def test_an_answer_that_is_as_late_as_was_waited_for_keeps_the_patience(took: float, then: float) -> None:
    patience = Patience(0.01, 100)
    patience.now = 10.24
    with patience.wait():
        await anyio.sleep(took)
    assert patience.now == then


async def test_what_was_cut_off_says_nothing() -> None:
    patience = Patience(0.01, 100)
    patience.now = 10.24
    with patience.wait() as scope:
        scope.cancel()
        await anyio.sleep_forever()
    assert patience.now == 10.24
