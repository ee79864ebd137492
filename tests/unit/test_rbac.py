"""The table of rights: its documents, and what a review says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.cluster import rbac
from adapter.cluster.rbac import TABLE, Right, missing, rules

DOCS = Path(rbac.__file__).parent.parent.parent / "docs"
ROLE = list(yaml.safe_load_all((DOCS / "deploy" / "role.yaml").read_text()))


def review(*rules: dict[str, Any], incomplete: bool = False) -> dict[str, Any]:
    return {"status": {"resourceRules": list(rules), "incomplete": incomplete}}


def everything(**fields: Any) -> dict[str, Any]:
    return {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], **fields}


def test_the_document_is_the_table() -> None:
    assert (DOCS / "rbac.md").read_text() == rbac.markdown(), "run `make docs`"


def test_the_role_is_the_table() -> None:
    _, role, _ = ROLE

    assert role["rules"] == rules()


def test_the_role_is_bound_to_the_account() -> None:
    account, role, binding = ROLE

    assert [item["kind"] for item in ROLE] == ["ServiceAccount", "Role", "RoleBinding"]
    assert {item["metadata"]["namespace"] for item in ROLE} == {"agents"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]


def test_the_role_is_enough() -> None:
    assert missing(review(*rules())) == []


@pytest.mark.parametrize("right", TABLE, ids=str)
def test_what_the_role_does_not_give_is_missing(right: Right) -> None:
    assert missing(review(*rules(other for other in TABLE if other is not right))) == [right]


@pytest.mark.parametrize(
    ("rule", "lacking"),
    [
        (everything(), 0),
        (everything(resourceNames=["one"]), len(TABLE)),
        (everything(apiGroups=["batch"]), 4),
        (everything(resources=["jobs", "pods", "events", "*/log"]), 0),
        (everything(resources=["jobs", "pods", "events"]), 1),
        (everything(verbs=["get", "list", "watch"]), 3),
    ],
)
def test_wildcards(rule: dict[str, Any], lacking: int) -> None:
    assert len(missing(review(rule))) == lacking


@pytest.mark.parametrize("answer", [{}, {"status": {}}, review(incomplete=True)])
def test_a_review_that_does_not_know_shows_nothing(answer: dict[str, Any]) -> None:
    assert missing(answer) == []
