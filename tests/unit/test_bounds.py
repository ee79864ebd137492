"""Texts and documents of strangers are cut to size, and stay what they are where they fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.bounds import CUT, bounded, clip, last_bytes, newest, one_line, shortened, size, word

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text("aé\n日", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(text=st.text(max_size=80), most=st.integers(0, 60))
def test_a_text_is_cut_to_bytes_and_marked(text: str, most: int) -> None:
    for cut in (clip(text, most), last_bytes(text, most)):
        assert len(cut.encode()) <= max(most, len(CUT.encode()))
        assert CUT in cut or cut == text.replace("\0", "\ufffd")


def test_the_beginning_and_the_end_are_kept() -> None:
    assert clip("begin" + "x" * 99 + "end", 13) == "begin…xxend"
    assert last_bytes("x" * 99 + "end", 6) == "…end"
    assert clip("exact", 5) == "exact"


def test_what_utf8_and_databases_cannot_hold_is_replaced() -> None:
    assert clip("a\0b\ud83dc", 99) == "a\ufffdb\ufffdc"
    assert clip("\ud83d\ude00", 99) == "😀"


@given(value=st.one_of(st.none(), st.integers(), st.lists(st.text()), st.text(max_size=400)))
def test_a_word_is_short_and_can_be_seen(value: object) -> None:
    assert len(word(value).encode()) <= 256
    assert word(value).isprintable()


def test_a_line_is_one_line() -> None:
    assert one_line("  two\n\tlines  \r\n", 99) == "two lines"


@given(value=JSON)
def test_a_small_document_stays_as_it_is(value: Any) -> None:
    assert bounded(value, 100_000) == value


@pytest.mark.parametrize(
    "value",
    [
        {"text": "x" * 100_000},
        {f"key {n}": n for n in range(10_000)},
        {"a": [[[[[[[[[["deep"]]]]]]]]]]},
        [[["x"] * 99] * 99] * 99,
        {"é" * 500 + str(n): ["é" * 500] * 500 for n in range(50)},
    ],
)
def test_a_large_document_is_cut_until_it_fits(value: Any) -> None:
    for most in (1000, 6000):
        assert size(bounded(value, most)) <= most


def test_the_fields_of_a_document_outlive_what_is_within_them() -> None:
    event = {"large": [{"x": "y" * 3000}] * 50} | {f"field {n}": n for n in range(30)}
    kept = bounded(event, 6000)

    assert [kept[f"field {n}"] for n in range(30)] == [*range(30)]


def test_numbers_that_others_would_round_are_text() -> None:
    kept = bounded({"big": 2**60, "nan": float("nan"), "inf": float("-inf"), "set": {1}, 5: 6}, 1000)

    assert kept == {"big": str(2**60), "nan": None, "inf": None, "set": CUT, "5": 6}


def test_the_longest_texts_are_cut_first() -> None:
    short = shortened({"long": "x" * 5000, "list": ["y" * 5000, 7], "in": {"z": "short"}, "n": None}, 2000)

    assert size(short) <= 2000
    assert (short["in"], short["list"][1], short["n"]) == ({"z": "short"}, 7, None)
    assert json.dumps(short)


def test_the_newest_texts_are_kept_whole() -> None:
    assert newest(["one", "two", "three"], 8) == ["two", "three"]
    assert newest(["one"], 2) == [CUT]
    assert newest([], 5) == []
