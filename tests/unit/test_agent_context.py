"""The run's context: read as the control plane writes it, refused in one line, never shown."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.context import RunContext
from adapter.errors import InvalidRequest

CANARY = "hunter2-canary"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("\ud83d"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TOP = ["runId", "agent", "runtime", "config", "context", "authToken", "executionTarget", "runtimeMcp"]
INNER = ["instructionsContent", "id", "companyId", "name", "servers", "adapterConfig", "sessionId", "sessionParams"]
NAMES = [*TOP, *INNER, "url", "token"]


def given_context(**more: Any) -> dict[str, Any]:
    agent = {"id": "agent-1", "companyId": "company-1", "name": "Nancy", "adapterType": "claude_k8s"}
    return {"runId": "run-1", "agent": agent} | more


def refusal(data: object) -> InvalidRequest | None:
    try:
        RunContext.parse(data)
    except InvalidRequest as error:
        return error
    return None


def complaint(data: object) -> str:
    error = refusal(data)
    assert error is not None
    assert error.__context__ is None
    assert "\n" not in str(error)
    return str(error)


def test_a_whole_context() -> None:
    context = RunContext.parse(
        given_context(
            runtime={"sessionId": "s", "sessionParams": {"cwd": "/w"}, "sessionDisplayId": "d", "taskKey": "t"},
            config={"model": "opus"},
            context={"issueId": "i", "paperclipWorkspace": {"cwd": "/w"}},
            authToken="jwt",
            executionTarget={"kind": "local"},
            runtimeMcp={"servers": [{"name": "tools", "url": "http://x", "token": "t", "connectionId": "c"}]},
            instructionsContent="Be nice.",
        )
    )

    assert (context.run_id, context.agent.id, context.agent.company_id) == ("run-1", "agent-1", "company-1")
    assert (context.agent.name, context.agent.adapter_type, context.agent.adapter_config) == ("Nancy", "claude_k8s", {})
    assert (context.runtime.session_id, context.runtime.session_display_id, context.runtime.task_key) == ("s", "d", "t")
    assert context.auth_token is not None
    assert context.auth_token.get_secret_value() == "jwt"
    assert context.runtime_mcp is not None
    assert [(server.name, server.url) for server in context.runtime_mcp] == [("tools", "http://x")]
    assert (context.config, context.workspace, context.instructions) == ({"model": "opus"}, {"cwd": "/w"}, "Be nice.")
    assert context.unknown() == ()


def test_what_is_null_is_as_if_it_were_not_there() -> None:
    nothing = dict.fromkeys(
        ["runtime", "config", "context", "authToken", "executionTarget", "runtimeMcp", "instructionsContent"]
    )
    agent = {"id": "agent-1", "name": None, "companyId": None, "adapterConfig": None}

    assert RunContext.parse(given_context(agent=agent, **nothing)) == RunContext.parse(
        {"runId": "run-1", "agent": {"id": "agent-1"}}
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("run", "context is not an object"),
        ([1], "context is not an object"),
        ({}, "context.runId is missing; context.agent is missing"),
        ({"runId": "r", "agent": {}}, "context.agent.id is missing"),
        ({"runId": " ", "agent": {"id": "a"}}, "context.runId is empty"),
        (given_context(agent={"id": "a", "name": 3}), "context.agent.name is not text"),
        (given_context(runtime={"sessionParams": "s"}), "context.runtime.sessionParams is not an object"),
        (given_context(config="x", context=[]), "context.config is not an object; context.context is not an object"),
        (given_context(authToken="a\0"), "context.authToken contains a NUL character, which no process can be given"),
        (given_context(runtimeMcp=[{"url": "http://x"}]), "context.runtimeMcp[0].name is missing"),
        (given_context(runtimeMcp={"servers": 1}), "context.runtimeMcp is not a list"),
        (given_context(context={"a": float("nan")}), "context contains something that JSON cannot carry"),
        (given_context(context={"a": 10**5000}), "context contains something that JSON cannot carry"),
        (given_context(context={"a": object()}), "context contains something that JSON cannot carry"),
        (given_context(context={1: 2}), "context has a key that is not text"),
    ],
)
def test_what_is_wrong_is_named(data: object, says: str) -> None:
    assert complaint(data) == says


def test_a_context_without_a_bottom_is_refused() -> None:
    deep: dict[str, Any] = {}
    deep["again"] = deep

    assert complaint(given_context(context=deep)) == "context is nested deeper than 64 levels"


@pytest.mark.parametrize(
    ("context", "task"),
    [
        ({"taskId": "t", "issueId": "i"}, "t"),
        ({"issueId": "i"}, "i"),
        ({"taskId": " ", "issueId": "i"}, "i"),
        ({"taskId": 7}, None),
        ({}, None),
    ],
)
def test_the_task_is_the_contexts_task_or_issue(context: dict[str, Any], task: str | None) -> None:
    assert RunContext.parse(given_context(context=context)).task_id == task


@pytest.mark.parametrize(
    ("runtime", "session"),
    [
        ({"sessionId": "s", "sessionParams": {"sessionId": "p"}}, "s"),
        ({"sessionId": " ", "sessionParams": {"sessionId": "p"}}, "p"),
        ({"sessionParams": {"session_id": " p "}}, "p"),
        ({"sessionParams": {"sessionId": 7}}, None),
        ({}, None),
    ],
)
def test_the_session_is_the_runtimes_or_that_of_its_parameters(runtime: dict[str, Any], session: str | None) -> None:
    assert RunContext.parse(given_context(runtime=runtime)).session_id == session


def test_a_retry_names_the_run_before_it() -> None:
    assert RunContext.parse(given_context(context={"retryOfRunId": "run-0"})).retry_of == "run-0"
    assert RunContext.parse(given_context()).retry_of is None


@pytest.mark.parametrize("found", [None, "x", []])
def test_a_workspace_that_is_no_object_is_none(found: object) -> None:
    assert RunContext.parse(given_context(context={"paperclipWorkspace": found})).workspace == {}


def test_unknown_fields_are_kept_and_reported() -> None:
    context = RunContext.parse(
        given_context(
            newThing=1,
            runtime={"new": 1},
            runtimeMcp=[{"name": "n", "url": "u", "headers": {}}],
            **{"a\nb": 1, "runtimeTools": {}},
        )
    )

    assert context.unknown() == ("'a\\nb'", "newThing", "runtime.new", "runtimeMcp[0].headers")
    assert context.model_extra is not None
    assert context.model_extra["newThing"] == 1


def test_the_agents_row_is_the_control_planes_own() -> None:
    agent = {"id": "a", "budgetMonthlyCents": 5, "adapterConfig": {"model": "opus"}}

    assert RunContext.parse(given_context(agent=agent)).unknown() == ()


def test_half_of_a_character_does_not_fail_a_run() -> None:
    # An issue's title, cut by JavaScript in the middle of an emoji.
    context = RunContext.parse(given_context(context={"title": "done \ud83d", "\udc00": ["\ud83d\ude00"]}))

    assert context.context == {"title": "done \ufffd", "\ufffd": ["\U0001f600"]}


def test_a_token_of_spaces_is_none() -> None:
    assert RunContext.parse(given_context(authToken="  ")).auth_token is None


def test_nothing_secret_is_shown() -> None:
    secret = {"token": CANARY, CANARY: CANARY}
    context = RunContext.parse(
        given_context(
            agent={"id": "a", "adapterConfig": secret, "metadata": secret},
            runtime={"sessionParams": secret, "more": secret},
            config={"env": secret},
            context=secret,
            authToken=CANARY,
            executionTarget=secret,
            runtimeMcp=[{"name": "n", "url": f"http://x/{CANARY}", "token": CANARY, "headers": secret}],
            instructionsContent=CANARY,
            runtimeTools={"bearerToken": CANARY},
        )
    )

    assert CANARY not in repr(context) + str(context) + repr(context.runtime_mcp) + str(context.unknown())


WRONG: list[object] = [CANARY, [CANARY], {"x": CANARY}, CANARY + "\0", [{"token": [CANARY]}]]


@given(field=st.sampled_from(NAMES), wrong=st.sampled_from(WRONG))
def test_no_error_repeats_what_was_given(field: str, wrong: object) -> None:
    for data in (given_context() | {field: wrong}, given_context(agent={"id": 1, field: wrong})):
        error = refusal(data)
        assert error is None or CANARY not in "".join(traceback.format_exception(error))


@given(data=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), ANYTHING, max_size=6), whole=st.booleans())
def test_whatever_is_given_is_read_or_refused(data: dict[str, Any], whole: bool) -> None:
    document = given_context() | data if whole else data
    error = refusal(document)

    if error is None:
        context = RunContext.parse(document)
        "".join((repr(context), str(context.session_id), str(context.task_id), *context.unknown())).encode()
    else:
        assert str(error).startswith("context")
