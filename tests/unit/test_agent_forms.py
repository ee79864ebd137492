"""Text that a form sends: lines, JSON in a string, command lines, numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent import forms
from adapter.agent.forms import arguments, deadline, document, integer, mapping, optional, scalar, sequence, tolerations

Form = Callable[[object], object]

WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("disktype=ssd", {"disktype": "ssd"}),
        ("disktype=ssd\r\n\r\n# why\n  zone = a \n", {"disktype": "ssd", "zone": "a"}),
        ("a=b=c\nd=", {"a": "b=c", "d": ""}),
        ('{"disktype": "ssd"}', {"disktype": "ssd"}),
        ('  {"a": {"b": [1]}}', {"a": {"b": [1]}}),
        ("", {}),
        ("# nothing", {}),
    ],
)
def test_lines_of_key_and_value_or_json(text: str, read: dict[str, Any]) -> None:
    assert mapping(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (
            "dedicated=agents:NoSchedule",
            [{"key": "dedicated", "operator": "Equal", "value": "agents", "effect": "NoSchedule"}],
        ),
        ("gpu:NoExecute", [{"key": "gpu", "operator": "Exists", "value": "", "effect": "NoExecute"}]),
        ("# all\n gpu \n", [{"key": "gpu", "operator": "Exists", "value": "", "effect": ""}]),
        ("gpu=a100", [{"key": "gpu", "operator": "Equal", "value": "a100", "effect": ""}]),
        ('[{"key": "gpu"}]', [{"key": "gpu"}]),
    ],
)
def test_tolerations(text: str, read: list[dict[str, str]]) -> None:
    assert tolerations(text) == read


@pytest.mark.parametrize(
    ("text", "read"), [("a\n\n b \n# c", ["a", "b"]), ('["a", "# b"]', ["a", "# b"]), ("", []), ("a b", ["a b"])]
)
def test_lists(text: str, read: list[str]) -> None:
    assert sequence(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("claude", ["claude"]),
        ("ccrotate run -- claude", ["ccrotate", "run", "--", "claude"]),
        ("--add-dir /data\n--append 'be nice'", ["--add-dir", "/data", "--append", "be nice"]),
        ('["a b", ""]', ["a b", ""]),
    ],
)
def test_command_lines(text: str, read: list[str]) -> None:
    assert arguments(text) == read


@pytest.mark.parametrize(("given", "read"), [(30, 30), ("30", 30), (" -7 ", -7), (30.0, 30), (10**30, 10**30)])
def test_whole_numbers(given: object, read: int) -> None:
    assert integer(given) == read


@pytest.mark.parametrize(
    "given", [True, "", "1.5", 1.5, "1e3", "٣", "0x1", None, [], "9" * 19, float("inf"), float("nan")]
)
def test_what_is_no_whole_number(given: object) -> None:
    with pytest.raises(ValueError, match=r"^is not a whole number$"):
        integer(given)


@pytest.mark.parametrize(("given", "read"), [(0, None), ("0", None), (None, None), (7, 7), (-1, -1)])
def test_no_seconds_are_no_deadline(given: object, read: int | None) -> None:
    assert deadline(given) == read


@pytest.mark.parametrize(("given", "read"), [(2, "2"), (0.5, "0.5"), (True, "true"), (" 2Gi ", "2Gi"), ([], [])])
def test_numbers_as_text(given: object, read: object) -> None:
    assert scalar(given) == read


@pytest.mark.parametrize(
    ("form", "text", "says"),
    [
        (mapping, "a=b\n\nhunter2", "is not key=value in line 3"),
        (mapping, "a=b\na=hunter2", "says twice what is said in line 2"),
        (mapping, '{"a": "hunter2', "is not JSON: unterminated string starting at in line 1, column 7"),
        (mapping, '{"a": hunter2}', "is not JSON: expecting value in line 1, column 7"),
        (forms.variables, "A=b\nhunt er2=x", "does not begin with the name of a variable in line 2"),
        (sequence, "[hunter2", "is not JSON: expecting value in line 1, column 2"),
        (arguments, "claude 'hunter2", "cannot be split as a shell would: no closing quotation"),
        (document, "[NaN]", "is not JSON that can be read"),
        (document, "[" * 100_000, "is not JSON that can be read"),
        (document, "9" * 10_000, "is not JSON that can be read"),
    ],
)
def test_what_cannot_be_read_is_not_repeated(form: Form, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}") as caught:
        form(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "read"), [("", None), (" \n# off\n", None), (None, None), ("{}", {}), ({}, {}), ("a=b", {"a": "b"})]
)
def test_not_set_is_another_thing_than_empty(given: object, read: object) -> None:
    assert optional(mapping)(given) == read


@given(read=st.dictionaries(WORDS, WORDS, max_size=4))
def test_lines_and_json_say_the_same(read: dict[str, str]) -> None:
    assert mapping("\n".join(f"{key}={value}" for key, value in read.items())) == mapping(json.dumps(read)) == read


@given(value=ANYTHING)
def test_a_form_reads_or_says_why_not(value: object) -> None:
    for form in (mapping, forms.variables, sequence, arguments, tolerations, document, integer, deadline, scalar):
        with suppress(ValueError):
            form(value)


@given(value=ANYTHING.filter(lambda value: not isinstance(value, str)))
def test_what_is_no_text_goes_through_unchanged(value: object) -> None:
    assert all(form(value) is value for form in (mapping, forms.variables, sequence, arguments, tolerations, document))
