"""A template takes plain values verbatim, and tells what it does not know."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.template import render
from adapter.errors import InvalidRequest

VALUES: dict[str, Any] = {
    "agentId": "a-1",
    "agent": {"id": "a-1", "name": "Ada"},
    "run": {"id": "r-1"},
    "company": {"id": "c-1"},
    "context": {"taskId": "T-7", "issueIds": ["x", "y"], "tries": 2, "urgent": True, "nothing": None, "empty": {}},
}
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{agent.id}} ({{agent.name}})", "a-1 (Ada)"),
        ("{{ run.id }}/{{  company.id}}/{{agentId  }}", "r-1/c-1/a-1"),
        ("{{context.taskId}}", "T-7"),
        ("{{context.issueIds}} {{context.tries}} {{context.urgent}} {{context.empty}}", '["x", "y"] 2 true {}'),
        ("[{{context.nothing}}]", "[]"),
        ("{{agent}}", '{"id": "a-1", "name": "Ada"}'),
        (r"\{{agent.id}} is {{agent.id}}", "{{agent.id}} is a-1"),
        ("{single} }} {{ {\n{{\n}}", "{single} }} {{ {\n{{\n}}"),
        ("{{{agent.id}}}", "{a-1}"),
        ("", ""),
    ],
)
def test_variables_are_replaced(template: str, text: str) -> None:
    assert render(template, VALUES) == text


@pytest.mark.parametrize(
    "variable",
    [
        "agent.nmae",
        "nobody.id",
        "agent.id.length",
        "agent.__class__",
        "agent.id.__class__.__mro__",
        "agent.id!r",
        "agent[id]",
        "context.issueIds.0",
        "#if agent.id",
        "",
        "context..taskId",
    ],
)
def test_an_unknown_variable_is_named_with_its_field_and_what_there_is(variable: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        render(f"x {{{{{variable}}}}}", VALUES, field="bootstrapPromptTemplate")
    text = str(raised.value)
    assert text.startswith(f"bootstrapPromptTemplate uses {{{{{variable}}}}}, which is not a variable")
    assert "agent.id, agent.name, run.id, company.id, context.taskId" in text
    assert "\n" not in text


def test_a_long_list_of_names_is_cut_and_an_empty_one_is_said() -> None:
    with pytest.raises(InvalidRequest, match=r"n23 and 6 more; write"):
        render("{{x}}", {f"n{number}": "" for number in range(30)})
    with pytest.raises(InvalidRequest, match=r"promptTemplate uses \{\{x\}\}.*no variable is known here"):
        render("{{x}}", {})


def test_no_value_is_told_in_an_error() -> None:
    with pytest.raises(InvalidRequest) as raised:
        render("{{context.tokn}}", {"context": {"token": "s3cret"}})
    assert "s3cret" not in str(raised.value)


@given(st.text())
def test_a_text_without_variables_is_left_alone(text: str) -> None:
    plain = re.sub(r"\{+", "{", text)
    assert render(plain, VALUES) == plain


@given(NAMES, st.text(), st.text(alphabet="ab{}\\ \n"))
def test_a_value_is_never_expanded_again(name: str, value: str, around: str) -> None:
    before = around.replace("{", "").replace("\\", "")
    assert render(f"{before}{{{{{name}}}}}{before}", {name: value}) == f"{before}{value}{before}"
    assert render(f"{{{{{name}}}}}", {name: "{{agent.id}}"}) == "{{agent.id}}"
