"""The snapshot of an agent's skills: what it has, what it could have, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.agent.skills import OPERATIONAL, list_skills, offer, sync_skills

A = {"key": "paperclip/skill-a", "runtimeName": "skill-a", "source": "/skills/skill-a", "required": False}
CORE = {"key": "paperclip/core", "runtimeName": "core", "source": "/skills/core", "required": True} | {
    "requiredReason": "Bundled"
}


def config(*skills: object, desired: object = None) -> dict[str, Any]:
    sync = {} if desired is None else {"paperclipSkillSync": {"desiredSkills": desired}}
    return {"paperclipRuntimeSkills": list(skills), **sync}


def only(snapshot: dict[str, Any]) -> dict[str, Any]:
    (entry,) = snapshot["entries"]
    assert isinstance(entry, dict)
    return entry


@pytest.mark.parametrize("given", [{}, {"paperclipRuntimeSkills": None}, {"paperclipRuntimeSkills": "x"}, config()])
def test_without_skills_the_snapshot_is_empty(given: dict[str, Any]) -> None:
    assert list_skills(given) == {
        "adapterType": "claude_k8s",
        "supported": True,
        "mode": "ephemeral",
        "desiredSkills": [],
        "entries": [],
        "warnings": [],
    }


def test_a_desired_skill_is_configured() -> None:
    snapshot = list_skills(config(A, desired=["paperclip/skill-a"]))
    assert snapshot["desiredSkills"] == ["paperclip/skill-a"]
    assert only(snapshot) == {
        "key": "paperclip/skill-a",
        "runtimeName": "skill-a",
        "desired": True,
        "managed": True,
        "required": False,
        "requiredReason": None,
        "state": "configured",
        "origin": "company_managed",
        "originLabel": "Managed by Paperclip",
        "readOnly": False,
        "sourcePath": "/skills/skill-a",
        "targetPath": None,
        "detail": "Will be put into the pod of the agent's next run.",
    }


def test_a_skill_nobody_asked_for_is_available() -> None:
    entry = only(list_skills(config(A)))
    assert (entry["state"], entry["desired"], entry["detail"]) == ("available", False, None)


@pytest.mark.parametrize("desired", [None, [], ["paperclip/core"]])
def test_a_required_skill_is_always_configured(desired: object) -> None:
    entry = only(list_skills(config(CORE, desired=desired)))
    assert (entry["state"], entry["desired"], entry["origin"]) == ("configured", True, "paperclip_required")
    assert (entry["required"], entry["requiredReason"]) == (True, "Bundled")


def test_the_control_planes_own_skill_is_required_though_nothing_says_so() -> None:
    snapshot = list_skills(config({"key": OPERATIONAL, "runtimeName": "paperclip", "source": "/s"}, desired=[]))
    assert snapshot["desiredSkills"] == [OPERATIONAL]
    assert only(snapshot)["required"] is True


def test_a_desired_skill_that_nobody_offers_is_missing_and_warned_of() -> None:
    snapshot = list_skills(config(desired=["missing/skill"]))
    (warning,) = snapshot["warnings"]
    assert "missing/skill" in warning
    entry = only(snapshot)
    assert (entry["state"], entry["desired"], entry["origin"]) == ("missing", True, "external_unknown")


def test_a_skill_without_files_is_missing() -> None:
    gone = A | {"sourceStatus": "missing", "missingDetail": "the version was deleted"}
    entry = only(list_skills(config(gone, desired=["skill-a"])))
    assert (entry["state"], entry["detail"]) == ("missing", "the version was deleted")
    entry = only(list_skills(config(A | {"sourceStatus": "missing"})))
    assert entry["detail"] == "The skill's files are not available."


def test_skills_of_the_home_are_listed_as_the_users_own() -> None:
    entry = only(list_skills({}, external={"user-skill": "/paperclip/.claude/skills/user-skill"}))
    assert (entry["key"], entry["state"], entry["origin"]) == ("user-skill", "external", "user_installed")
    assert (entry["managed"], entry["readOnly"]) == (False, True)
    assert entry["targetPath"] == "/paperclip/.claude/skills/user-skill"


@pytest.mark.parametrize("name", ["skill-a", "paperclip/skill-a"])
def test_a_skill_of_the_home_that_is_offered_is_listed_once(name: str) -> None:
    assert only(list_skills(config(A), external={name: None}))["key"] == "paperclip/skill-a"


def test_entries_are_sorted_by_key() -> None:
    zebra, alpha = ({"key": f"paperclip/{name}", "runtimeName": name} for name in ("zebra", "alpha"))
    snapshot = list_skills(config(zebra, alpha, desired=["beta"]), external={"home": None})
    assert [entry["key"] for entry in snapshot["entries"]] == ["beta", "home", "paperclip/alpha", "paperclip/zebra"]


def test_syncing_changes_nothing() -> None:
    given = config(A, CORE, desired=["paperclip/skill-a", "gone"])
    assert sync_skills(given, ["another"], external={"x": None}) == list_skills(given, external={"x": None})
    assert sync_skills({}, [], skills=[A]) == list_skills({}, skills=[A])
    assert given == config(A, CORE, desired=["paperclip/skill-a", "gone"])


@pytest.mark.parametrize(
    ("desired", "keys"),
    [
        (["paperclip/skill-a"], ["paperclip/skill-a"]),
        ([{"key": "paperclip/skill-a", "versionId": "7"}], ["paperclip/skill-a"]),
        (["called"], ["other/skill-b"]),
        (["skill-b"], ["other/skill-b"]),
        (["twice"], ["twice"]),
        ([" skill-a ", "paperclip/skill-a", "", None, 7], ["paperclip/skill-a"]),
        ("skill-a", []),
    ],
)
def test_a_skill_may_be_named_in_several_ways(desired: object, keys: list[str]) -> None:
    others = [{"key": "other/skill-b", "runtimeName": "called"}]
    others += [{"key": f"{owner}/twice", "runtimeName": f"{owner}-twice"} for owner in "xy"]
    assert list(offer(config(A, *others, desired=desired)).desired) == keys


def test_what_is_no_skill_is_skipped_with_a_warning_and_the_first_of_a_key_wins() -> None:
    offered = offer(config("text", {"runtimeName": " "}, A, A | {"runtimeName": "again"}, {"name": "old"}))
    assert [(skill.key, skill.name) for skill in offered.skills] == [("paperclip/skill-a", "skill-a"), ("old", "old")]
    assert offered.warnings == tuple(f"paperclipRuntimeSkills[{place}] has no key: skipped" for place in (0, 1))


def test_the_wakes_skills_stand_in_for_those_of_a_configuration_without_any() -> None:
    assert [skill.name for skill in offer({}, [A]).skills] == ["skill-a"]
    assert not offer(config(), [A]).skills
