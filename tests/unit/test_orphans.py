"""The Job of a lost run: taken over, waited for or removed, by its labels: all nine cases of `classifyOrphan`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapter.cluster.jobs import Job
from adapter.orphans import Fate, fate_of
from adapter.work import Work
from tests.unit.raws import complete, job

WORK = Work(run_id="two", manifest={}, request="h", retain=0, lost="one", task="t", session="s")
LOST = replace(job(), run_id="one", task="t", session="s")


def fate(orphan: dict[str, Any] | None = None, seen: Job = LOST, **work: Any) -> Fate:
    return fate_of(replace(seen, **(orphan or {})), replace(WORK, **work))


@pytest.mark.parametrize(
    ("orphan", "work"),
    [
        ({}, {}),
        ({}, {"session": None}),
        ({"session": None}, {}),
        ({"session": None}, {"session": None}),
        ({"adopter": "two"}, {}),
        ({"adopter": "one"}, {}),
    ],
    ids=["both", "we know no session", "it knows no session", "nobody does", "ours already", "by the lost one"],
)
def test_one_that_fits_is_taken_over(orphan: dict[str, Any], work: dict[str, Any]) -> None:
    assert fate(orphan, **work) is Fate.ADOPT


def test_one_that_has_ended_meanwhile_is_taken_over_too() -> None:
    """It has a result that nobody was told yet."""
    assert fate(seen=replace(complete(), run_id="one", task="t", session="s")) is Fate.ADOPT


@pytest.mark.parametrize(
    ("orphan", "work", "found"),
    [
        ({}, {"task": None}, Fate.TASK_UNKNOWN),
        ({"task": None}, {}, Fate.TASK_UNKNOWN),
        ({"task": None}, {"task": None}, Fate.TASK_UNKNOWN),
        ({"task": "u"}, {}, Fate.TASK_MISMATCH),
        ({"task": "u", "session": None}, {}, Fate.TASK_MISMATCH),
        ({"session": "other"}, {}, Fate.SESSION_MISMATCH),
        ({"adopter": "three"}, {}, Fate.TAKEN),
        ({}, {"reattach": False}, Fate.UNWANTED),
        ({"task": None}, {"reattach": False}, Fate.UNWANTED),
    ],
)
def test_one_that_does_not_fit_is_not(orphan: dict[str, Any], work: dict[str, Any], found: Fate) -> None:
    assert fate(orphan, **work) is found


@pytest.mark.parametrize("orphan", [{}, {"task": "u"}, {"task": None}, {"session": "other"}, {"adopter": "three"}])
def test_one_that_was_never_let_run_has_done_nothing_whatever_its_labels(orphan: dict[str, Any]) -> None:
    assert fate(orphan | {"suspended": True}) is Fate.NEVER_RAN


def test_one_that_was_stopped_would_end_whoever_takes_it_over() -> None:
    assert fate({"suspended": True, "let_run": True}) is Fate.STOPPED


@pytest.mark.parametrize("found", Fate)
def test_each_fate_can_be_told(found: Fate) -> None:
    assert found.value
