"""Fifty runs of the matrix, of a seed that is drawn; `make faults` plays more."""

from __future__ import annotations

import asyncio
import random

import psutil
import pytest

from tests.faults.__main__ import line, total
from tests.faults.drawing import CATALOGUE, draw, named
from tests.faults.playing import play_all

RUNS, AT_ONCE = 50, 10


@pytest.mark.timeout(180)
async def test_fifty_runs_of_the_matrix() -> None:
    before = set(psutil.Process().children())  # a module's own cluster may stand beside it
    seed = random.SystemRandom().randrange(2**32)
    numbers = random.Random(seed).sample(range(len(CATALOGUE) * 20), RUNS)
    findings = [one async for one in play_all([draw(seed, number) for number in numbers], AT_ONCE)]
    wrong = [line(finding) for finding in findings if finding.wrong]
    assert not wrong, "\n".join([total(findings, seed), *wrong])
    assert len(findings) == RUNS
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left"
    assert set(psutil.Process().children()) <= before, "a process was left"


def test_a_run_is_drawn_the_same_again() -> None:
    assert [draw(7, n) for n in range(200)] == [draw(7, n) for n in range(200)]
    assert draw(7, 100) != draw(8, 100)


def test_every_mishap_has_its_turn_alone() -> None:
    assert [draw(1, n).mishaps for n in range(len(CATALOGUE))] == [(mishap,) for mishap in CATALOGUE]


def test_one_mishap_at_most_decides_the_outcome() -> None:
    assert all(sum(bool(m.outcomes) for m in draw(3, n).mishaps) <= 1 for n in range(1000))


def test_a_mishap_is_found_by_the_beginning_of_its_name() -> None:
    assert named("node lost for").name == "node lost for good"
    with pytest.raises(LookupError, match="no mishap 'x'; there are: "):
        named("x")
