"""A session is stored under one set of names, with all that came with it, and resumed only where it can be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.session import deserialize, display_id, serialize, session_for
from adapter.agent.workspace import workspace

ID = "4f3e2d1c-0000-4000-8000-000000000001"
FIELDS = ("cwd", "workspaceId", "repoUrl", "repoRef", "promptBundleKey")
ALIASES = ("session_id", "workdir", "folder", "workspace_id", "repo_url", "repo_ref", "prompt_bundle_key")
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
STORED = st.dictionaries(st.sampled_from(["sessionId", *FIELDS, *ALIASES, "other", "flag"]), JSON)


def run(
    runtime: dict[str, Any], config: dict[str, Any] | None = None, **context: Any
) -> tuple[RunContext, AgentConfig]:
    made = RunContext.parse(
        {"runId": "r", "agent": {"id": "a"}, "runtime": runtime, "config": config or {}, "context": context}
    )
    return made, AgentConfig.parse(made.config)


@pytest.mark.parametrize(
    "stored",
    [None, "text", 123, [], [{"sessionId": "s"}], {}, {"workspaceId": "w"}]
    + [{"sessionId": value} for value in ("", "   ", None, 7, ["s"])],
)
def test_what_has_no_id_is_no_session(stored: object) -> None:
    assert deserialize(stored) is None
    assert serialize(stored) is None
    assert display_id(stored) is None


@pytest.mark.parametrize(
    ("stored", "session"),
    [
        ({"sessionId": "s"}, {"sessionId": "s"}),
        ({"session_id": "s"}, {"sessionId": "s"}),
        ({"sessionId": "a", "session_id": "b"}, {"sessionId": "a"}),
        ({"sessionId": " ", "session_id": "b"}, {"sessionId": "b"}),
        ({"sessionId": "  s  "}, {"sessionId": "s"}),
        ({"sessionId": "s", "cwd": "/w"}, {"sessionId": "s", "cwd": "/w"}),
        ({"sessionId": "s", "workdir": "/w"}, {"sessionId": "s", "cwd": "/w"}),
        ({"sessionId": "s", "folder": "/w"}, {"sessionId": "s", "cwd": "/w"}),
        ({"sessionId": "s", "folder": "/c", "workdir": "/b", "cwd": "/a"}, {"sessionId": "s", "cwd": "/a"}),
        ({"sessionId": "s", "folder": "/c", "workdir": "/b"}, {"sessionId": "s", "cwd": "/b"}),
        ({"sessionId": "s", "workspace_id": "w"}, {"sessionId": "s", "workspaceId": "w"}),
        ({"sessionId": "s", "repo_url": "https://x"}, {"sessionId": "s", "repoUrl": "https://x"}),
        ({"sessionId": "s", "repo_ref": "main"}, {"sessionId": "s", "repoRef": "main"}),
        ({"sessionId": "s", "prompt_bundle_key": "k"}, {"sessionId": "s", "promptBundleKey": "k"}),
        (
            {"sessionId": "s", "promptBundleKey": "a", "prompt_bundle_key": "b"},
            {"sessionId": "s", "promptBundleKey": "a"},
        ),
        ({"sessionId": "s", "promptBundleKey": "", "cwd": None, "repoRef": 7}, {"sessionId": "s"}),
        ({"sessionId": "s", "needsCompactBeforeNextRun": True}, {"sessionId": "s", "needsCompactBeforeNextRun": True}),
        ({"later": {"x": [None]}, "session_id": "s"}, {"sessionId": "s", "later": {"x": [None]}}),
    ],
)
def test_each_field_has_one_name_and_the_unknown_are_kept(stored: dict[str, Any], session: dict[str, Any]) -> None:
    assert deserialize(stored) == session
    assert serialize(stored) == session
    assert display_id(stored) == session["sessionId"]


def test_all_that_is_known_makes_the_round_trip() -> None:
    session = {"sessionId": "s"} | {name: f"/{name}" for name in FIELDS}
    assert serialize(deserialize(session)) == session
    assert list(session) == list(deserialize(dict(reversed(session.items()))) or {})


@given(STORED)
def test_serializing_again_changes_nothing_and_loses_nothing(stored: dict[str, Any]) -> None:
    session = serialize(deserialize(stored))
    if session is None:
        return
    assert serialize(session) == deserialize(session) == session
    assert all(session[name] == value for name, value in stored.items() if name not in {"sessionId", *FIELDS, *ALIASES})
    assert not set(session) & set(ALIASES)
    assert all(session[name] and session[name] == session[name].strip() for name in session.keys() & set(FIELDS))


@pytest.mark.parametrize(
    ("runtime", "config", "context"),
    [
        ({"sessionId": ID}, {}, {}),
        ({"sessionParams": {"sessionId": ID}}, {}, {}),
        ({"sessionParams": {"session_id": ID}}, {}, {}),
        ({"sessionId": ID, "sessionParams": {"sessionId": ID, "cwd": "/paperclip"}}, {}, {}),
        ({"sessionId": ID, "sessionParams": {"sessionId": ID, "workdir": "/paperclip/"}}, {"cwd": ""}, {}),
        (
            {"sessionParams": {"sessionId": ID, "cwd": "/b/"}},
            {"cwd": "/b"},
            {"paperclipWorkspace": {"cwd": "/host/only"}},
        ),
        (
            {"sessionId": ID, "sessionParams": {"cwd": "/paperclip/a"}},
            {},
            {"paperclipWorkspace": {"cwd": "/paperclip/a"}},
        ),
        ({"sessionId": ID, "sessionParams": {"cwd": "/b"}}, {"cwd": "/b"}, {"paperclipWorkspace": {"cwd": " "}}),
    ],
)
def test_a_session_of_the_same_directory_is_resumed(
    runtime: dict[str, Any], config: dict[str, Any], context: dict[str, Any]
) -> None:
    assert session_for(*run(runtime, config, **context), persistent=True) == (ID, None)


@pytest.mark.parametrize(
    ("runtime", "config"),
    [({}, {}), ({"sessionId": "  "}, {}), ({"sessionId": ID}, {"resumeLastSession": False})],
)
def test_without_a_session_or_the_wish_for_it_nothing_is_said(runtime: dict[str, Any], config: dict[str, Any]) -> None:
    assert session_for(*run(runtime, config), persistent=True) == (None, None)
    assert session_for(*run(runtime, config), persistent=False) == (None, None)


@pytest.mark.parametrize(
    ("runtime", "persistent", "words"),
    [
        ({"sessionId": ID}, False, "no volume outlives the pod; set workspaceVolumeClaim"),
        (
            {"sessionId": ID, "sessionParams": {"cwd": "/old"}},
            True,
            "the directory '/old', and this run works in '/paperclip'",
        ),
        ({"sessionId": "--dangerous"}, True, "its id is not one the agent could have given"),
        ({"sessionId": "a b"}, True, "its id is not one"),
        ({"sessionId": "x" * 300}, True, "its id is not one"),
    ],
)
def test_a_session_that_cannot_be_resumed_is_told(runtime: dict[str, Any], persistent: bool, words: str) -> None:
    session, note = session_for(*run(runtime), persistent=persistent)
    assert session is None
    assert note is not None
    assert note.startswith("Session '")
    assert "the agent starts afresh: " in note
    assert words in note
    assert "\n" not in note


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({}, {}),
        ({"workspaceMountPath": "/work"}, {}),
        ({"cwd": "/c"}, {}),
        ({}, {"paperclipWorkspace": {"cwd": "/paperclip/w"}}),
        ({"cwd": "/paperclip/c"}, {"paperclipWorkspace": {"cwd": "/host/only"}}),
        ({"cwd": "/paperclip/c"}, {"paperclipWorkspace": {"cwd": "/paperclip/home", "source": "agent_home"}}),
    ],
)
def test_what_the_run_before_had_for_its_directory_in_the_pod_is_the_same(
    config: dict[str, Any], context: dict[str, Any]
) -> None:
    _, parsed = before = run({}, config | {"workspaceVolumeClaim": "ours"}, **context)
    assert parsed.workspace_volume_claim == "ours"
    stored = {"sessionId": ID, "cwd": workspace(*before, None).cwd}
    assert session_for(*run({"sessionParams": stored}, config, **context), persistent=True) == (ID, None)
