from __future__ import annotations

from pathlib import Path

import pytest

import adapter.errors
from adapter.errors import TABLE, Code


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
