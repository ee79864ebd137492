"""Every failure that others met has a test that is named for it, and the document says which."""

from __future__ import annotations

import pytest

from tests.faults.names import PEERS, TESTS, Named, found, markdown
from tests.faults.tickets import TICKETS

DOCUMENT = TESTS.parent / "docs" / "reliability.md"
FAMILIES = {"a": 11, "b": 20, "c": 11, "d": 10}


@pytest.mark.parametrize("entry", [*PEERS, *TICKETS], ids=lambda entry: entry.id)
def test_the_test_that_is_named_for_a_failure_is_there(entry: Named) -> None:
    assert found(entry), entry.test


def test_no_failure_is_left_out() -> None:
    assert [entry.id for entry in PEERS] == [f"{f}{n}" for f, most in FAMILIES.items() for n in range(1, most + 1)]
    assert len({entry.id for entry in TICKETS}) == len(TICKETS)


@pytest.mark.parametrize("entries", [PEERS, TICKETS], ids=["peers", "tickets"])
def test_the_document_is_the_map(entries: list[Named]) -> None:
    assert markdown(entries) in DOCUMENT.read_text()


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert not found(Named("x", "", "faults/test_names.py::test_of_nothing"))
    assert not found(Named("x", "", "wire/test_faults.py::test_a_fault_of_the_wire_loses_nothing[nothing]"))
    assert not found(Named("x", "", "faults/no_such_file.py::test_of_nothing"))
