"""Labels: valid whatever an id looks like, and never somebody else's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.context import RunContext
from adapter.agent.labels import agent_annotations, agent_labels, label_value, own_labels

UUID = "7f3c8a52-1f0e-4c38-9f0a-2b6d9a1c5e77"


def labels(**more: Any) -> dict[str, str]:
    return agent_labels(RunContext.parse({"runId": "run-1", "agent": {"id": "agent-1"}} | more))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (UUID, UUID),
        ("a-slug_1.2", "a-slug_1.2"),
        ("agent@example.com", "agentexample.com"),
        ("agent one", "agentone"),
        ("-._x_.-", "x"),
        ("@@@", None),
        ("...", None),
        ("", None),
        (None, None),
        ("é", None),
        ("Upper", "Upper"),
    ],
)
def test_a_text_as_a_labels_value(text: str | None, value: str | None) -> None:
    assert label_value(text) == value


@given(text=st.text(), most=st.integers(1, 63))
def test_a_labels_value_is_one_or_none(text: str, most: int) -> None:
    value = label_value(text, most)

    assert value is None or re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", value)
    assert value is None or len(value) <= most
    assert label_value(value, most) == value
    assert (value is None) == (re.search(r"[A-Za-z0-9]", text) is None)


def test_a_value_is_cut_before_its_end_is_trimmed() -> None:
    assert label_value("x" * 62 + "-" + "y") == "x" * 62
    assert label_value("abc-def", 4) == "abc"


def test_the_labels_of_a_run_with_all_it_can_have() -> None:
    found = labels(context={"taskId": "T-1", "issueId": "I-1"}, runtime={"sessionId": UUID})

    assert found["paperclip.io/task-id"] == "T-1"
    assert found["paperclip.io/session-id"] == UUID


@pytest.mark.parametrize(
    ("more", "key", "value"),
    [
        ({"context": {"issueId": "I-1"}}, "paperclip.io/task-id", "I-1"),
        ({"runtime": {"sessionParams": {"sessionId": UUID}}}, "paperclip.io/session-id", UUID),
        ({"agent": {"id": "a@b", "companyId": "c/d"}}, "paperclip.io/agent-id", "ab"),
        ({"agent": {"id": "a@b", "companyId": "c/d"}}, "paperclip.io/company-id", "cd"),
        ({}, "paperclip.io/task-id", None),
        ({}, "paperclip.io/session-id", None),
        ({}, "paperclip.io/company-id", None),
        ({"runId": "@@@"}, "paperclip.io/run-id", None),
    ],
)
def test_what_has_no_value_is_no_label(more: dict[str, Any], key: str, value: str | None) -> None:
    assert labels(**more).get(key) == value


@pytest.mark.parametrize(
    "key",
    ["paperclip.io/agent-id", "app.kubernetes.io/name", "claude-k8s/run", "batch.kubernetes.io/job-name", "job-name"],
)
def test_a_reserved_label_is_skipped_and_said(key: str) -> None:
    assert own_labels({key: "x", "team": "y"}) == ({"team": "y"}, (key,))


def test_other_labels_pass() -> None:
    mine = {"team": "x", "kueue.x-k8s.io/queue-name": "q", "my.paperclip.io/x": "y"}

    assert own_labels(mine) == (mine, ())


def test_an_agents_name_is_annotated_in_full_letters_but_not_without_end() -> None:
    given = {"runId": "r", "agent": {"id": "a", "name": "Ada Lovelace é" + "x" * 1000}}
    found = agent_annotations(RunContext.parse(given))

    assert found["paperclip.io/agent-name"].startswith("Ada Lovelace é")
    assert len(found["paperclip.io/agent-name"]) == 256
