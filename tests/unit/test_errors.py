from __future__ import annotations

import re
from pathlib import Path

import pytest

import adapter.errors
from adapter.errors import TABLE, Code, wire_name


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_row(code: Code) -> None:
    assert TABLE[code].meaning


@pytest.mark.parametrize("code", [code for code in Code if code not in (Code.OK, Code.CANCELLED)])
def test_every_failure_says_what_to_do(code: Code) -> None:
    assert TABLE[code].hint


def test_the_document_is_the_table() -> None:
    document = Path(adapter.errors.__file__).parent.parent / "docs" / "errors.md"

    assert document.read_text() == adapter.errors.markdown(), "run `make docs`"


def test_a_row_fits_into_its_table() -> None:
    assert not [row for row in TABLE.values() if "|" in row.meaning + row.hint or "\n" in row.meaning + row.hint]


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_name_on_the_wire(code: Code) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", wire_name(code))
    assert wire_name(code) == (TABLE[code].wire or code.value)


def test_a_family_is_one_that_the_control_plane_knows() -> None:
    """adapter-utils 2026.916.1; those of expired refresh tokens are for adapters that hold some."""
    assert {row.family for row in TABLE.values()} == {"", "transient_upstream", "provider_quota", "model_refusal"}


def test_what_has_a_retry_of_the_control_planes_may_pass_by_itself() -> None:
    assert all(row.transient for row in TABLE.values() if row.family in ("transient_upstream", "provider_quota"))
