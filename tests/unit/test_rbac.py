"""The table of rights: its documents, and what a review says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.cluster import rbac
from adapter.cluster.rbac import TABLE, Only, Right, missing, needed, rules

DOCS = Path(rbac.__file__).parent.parent.parent / "docs"
ROLE = list(yaml.safe_load_all((DOCS / "deploy" / "agents" / "role.yaml").read_text()))
RUN, AGENT, SERVICE = needed(agent=False), needed(agent=True), needed(agent=True, service=True)
ONLY_SERVICE = [right for right in SERVICE if right.only == "service"]


def review(*rules: dict[str, Any], incomplete: bool = False) -> dict[str, Any]:
    return {"status": {"resourceRules": list(rules), "incomplete": incomplete}}


def everything(**fields: Any) -> dict[str, Any]:
    return {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], **fields}


def test_the_document_is_the_table() -> None:
    assert (DOCS / "rbac.md").read_text() == rbac.markdown(), "run `make docs`"


def test_the_role_is_the_table() -> None:
    _, role, _ = ROLE

    assert (DOCS / "deploy" / "agents" / "role.yaml").read_text() == rbac.role(), "run `make docs`"
    assert role["rules"] == rules()


def test_the_role_is_bound_to_the_account() -> None:
    account, role, binding = ROLE

    assert [item["kind"] for item in ROLE] == ["ServiceAccount", "Role", "RoleBinding"]
    assert {item["metadata"]["namespace"] for item in ROLE} == {"agents"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]


def test_no_secret_can_be_read_but_by_the_service() -> None:
    assert [right.verb for right in TABLE if right.resource == "secrets"] == ["create", "delete", "get"]
    assert [right.only for right in TABLE if str(right) == "get secrets"] == ["service"]


def test_each_right_has_a_check_of_its_own() -> None:
    codes = [right.code for right in TABLE]
    assert len(set(codes)) == len(TABLE) == len({(right.group, right.resource, right.verb) for right in TABLE})
    assert {"k8s_rbac_job_create", "k8s_rbac_pod_log", "k8s_rbac_secret_create", "k8s_rbac_pvc_get"} <= set(codes)


def test_the_role_is_enough() -> None:
    given = review(*rules())
    assert missing(given) == missing(given, agent=True) == missing(given, service=True) == []


@pytest.mark.parametrize("right", RUN, ids=str)
def test_what_the_role_does_not_give_is_missing(right: Right) -> None:
    granted = review(*rules(other for other in TABLE if other is not right))
    assert missing(granted) == missing(granted, agent=True) == [right]


@pytest.mark.parametrize("right", ONLY_SERVICE, ids=str)
def test_what_only_the_service_needs_keeps_no_run_from_running(right: Right) -> None:
    granted = review(*rules(other for other in TABLE if other is not right))
    assert missing(granted) == missing(granted, agent=True) == []
    assert missing(granted, agent=True, service=True) == missing(granted, service=True) == [right]
    assert right.lost == (right.without or "the service does not start")


def test_the_service_runs_agents_as_well() -> None:
    assert needed(agent=False, service=True) == SERVICE
    assert [right for right in SERVICE if right not in ONLY_SERVICE] == AGENT
    assert [str(right) for right in ONLY_SERVICE if right.without] == [
        "get secrets",
        "delete leases.coordination.k8s.io",
    ]


@pytest.mark.parametrize("right", [right for right in AGENT if right.only], ids=str)
def test_what_only_an_agent_needs_keeps_no_command_from_running(right: Right) -> None:
    granted = review(*rules(other for other in TABLE if other is not right))
    assert missing(granted) == []
    assert missing(granted, agent=True) == [right]
    assert (right.without, right.lost) == ("", "no agent is run")


def test_what_no_run_needs_is_not_missing_for_one() -> None:
    assert missing(review(*rules(AGENT)), agent=True) == []
    others = {right.only for right in TABLE} - {right.only for right in SERVICE}
    assert others == {"pod", "doctor"}
    assert all(right.without for right in TABLE if right.only in others), "what is lost without it must be said"


@pytest.mark.parametrize("only", ["", "agent", "service", "pod", "doctor"])
def test_the_document_says_who_needs_a_right(only: Only) -> None:
    some = next(right for right in TABLE if right.only == only)
    [line] = [line for line in rbac.markdown().splitlines() if line.endswith(f"| {some.lost} |") and some.why in line]
    assert f"| {rbac.NEEDED_BY[only]} |" in line


@pytest.mark.parametrize(
    ("rule", "lacking"),
    [
        (everything(), 0),
        (everything(resourceNames=["one"]), len(RUN)),
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
