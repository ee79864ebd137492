"""The prompt says what this run needs to be told, in order, and no more to a session that goes on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.prompt import Prompt, assemble, variables
from adapter.errors import InvalidRequest

WAKE: dict[str, Any] = {
    "reason": "issue_commented",
    "issue": {"id": "i-1", "identifier": "PAP-7", "title": "Copy the figures", "description": "All of them."},
    "comments": [{"id": "c-1", "body": "Please hurry", "author": {"type": "user", "id": "u-1"}}],
}
SILENT = {"promptTemplate": " {{context.projectId}}\n"}
"""A template that has nothing to say of these runs."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def prompt_of(
    context: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    *,
    resuming: bool = False,
    params: dict[str, Any] | None = None,
) -> Prompt:
    agent = {
        "id": "a-1",
        "name": "Ada",
        "companyId": "c-1",
        "role": "engineer",
        "adapterConfig": {"env": {"K": "s3cret"}},
    }
    run = RunContext.parse(
        {
            "runId": "r-1",
            "agent": agent,
            "runtime": {"sessionParams": params},
            "config": config or {},
            "context": context or {},
            "authToken": "t0ken",
        }
    )
    return assemble(run, AgentConfig.parse(run.config), resuming=resuming)


def text_of(context: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **more: Any) -> str:
    return prompt_of(context, config, **more).text


def test_by_default_an_agent_is_told_who_it_is() -> None:
    assert text_of() == "You are agent a-1 (Ada). Continue your Paperclip work."


def test_a_template_of_ones_own_is_rendered() -> None:
    template = "{{agent.name}} the {{ agent.role }} of {{company.id}}: run {{run.id}}, by {{run.source}}"
    assert text_of(config={"promptTemplate": template}) == "Ada the engineer of c-1: run r-1, by on_demand"
    assert text_of({"wakeSource": "timer"}, {"promptTemplate": "{{run.source}}"}) == "timer"
    assert text_of(config={"promptTemplate": "{{agentId}} {{companyId}} {{runId}}"}) == "a-1 c-1 r-1"


def test_the_workspace_can_be_told() -> None:
    template = {
        "promptTemplate": "in {{context.paperclipWorkspace.cwd}} on <{{context.paperclipWorkspace.branchName}}>"
    }
    assert text_of({"paperclipWorkspace": {"cwd": "/work"}}, template) == "in /work on <>"


@pytest.mark.parametrize("context", [{}, {"taskId": None, "paperclipWake": None, "paperclipWorkspace": "none"}])
def test_what_only_some_wakes_have_is_nothing_in_the_others(context: dict[str, Any]) -> None:
    template = "<{{context.taskId}}{{context.wakeReason}}{{context.paperclipWake.issue.title}}{{company.name}}>"
    assert text_of(context, {"promptTemplate": template}) == "<>"


def test_a_mistyped_variable_is_refused_with_its_template() -> None:
    with pytest.raises(InvalidRequest, match=r"promptTemplate uses \{\{context.tsakId\}\}, which is not a variable"):
        prompt_of({"taskId": "T"}, {"promptTemplate": "{{context.tsakId}}"})
    with pytest.raises(InvalidRequest, match=r"bootstrapPromptTemplate uses \{\{agent.api_key\}\}"):
        prompt_of({}, {"bootstrapPromptTemplate": "{{agent.api_key}}"})


@pytest.mark.parametrize("name", ["agent.adapterConfig", "agent.adapterConfig.env.K", "authToken", "config"])
def test_no_template_reaches_a_secret(name: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        prompt_of({}, {"promptTemplate": f"{{{{{name}}}}}"})
    assert "s3cret" not in str(raised.value)
    assert "t0ken" not in str(raised.value)


def test_the_sections_of_a_fresh_session_in_their_order() -> None:
    context = {
        "paperclipWake": WAKE,
        "paperclipTaskMarkdown": "\n  THE TASK \n",
        "paperclipSessionHandoffMarkdown": "THE HANDOFF\n",
    }
    text = text_of(context, {"bootstrapPromptTemplate": "FIRST {{agent.name}}", "promptTemplate": "HEARTBEAT"})
    marks = ["FIRST Ada", "## Paperclip Wake Payload", "Please hurry", "THE TASK", "THE HANDOFF", "HEARTBEAT"]
    assert [mark for mark in marks if mark in text] == marks
    assert sorted(marks, key=text.index) == marks
    assert "FIRST Ada\n\n## Paperclip" in text
    assert text.endswith("\n\nTHE TASK\n\nTHE HANDOFF\n\nHEARTBEAT")


def test_a_resumed_session_is_told_what_is_new() -> None:
    context = {"paperclipWake": WAKE, "paperclipTaskMarkdown": "THE TASK"}
    text = text_of(context, {"bootstrapPromptTemplate": "FIRST", "promptTemplate": "HEARTBEAT"}, resuming=True)
    assert text.startswith("## Paperclip Resume Delta\n\nWake reason: issue_commented\nIssue: PAP-7 Copy the figures\n")
    assert "Please hurry" in text
    assert text.endswith("\n\nTHE TASK")
    assert "FIRST" not in text
    assert "HEARTBEAT" not in text
    assert len(text) < len(text_of(context, {}))


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"wakeReason": "heartbeat_timer"},
        {"wakeCommentId": "c-1"},
        {"paperclipWake": {"reason": "timer"}},
        {"paperclipWake": {"issue": {"id": None}, "comments": [], "missingCount": 0}},
        {"paperclipTaskMarkdown": "THE TASK"},
    ],
)
def test_a_resumed_session_whose_wake_says_nothing_has_the_heartbeat(context: dict[str, Any]) -> None:
    assert text_of(context, {"promptTemplate": "HEARTBEAT"}, resuming=True).endswith("HEARTBEAT")


def test_a_resumed_session_has_the_short_form_of_its_task_where_there_is_one() -> None:
    context = {"paperclipTaskMarkdown": "LONG", "paperclipTaskMarkdownCompact": " SHORT "}
    assert text_of(context, {"promptTemplate": "x"}, resuming=True) == "SHORT\n\nx"
    assert text_of(context, {"promptTemplate": "x"}) == "LONG\n\nx"


@pytest.mark.parametrize("context", [{}, {"paperclipTaskMarkdown": "  \n"}, {"paperclipTaskMarkdown": 7}])
def test_without_a_task_there_is_no_gap(context: dict[str, Any]) -> None:
    assert text_of(context, {"bootstrapPromptTemplate": "A", "promptTemplate": "B"}) == "A\n\nB"


def test_without_resume_last_session_everything_is_as_in_a_fresh_one() -> None:
    context = {"paperclipWake": WAKE, "paperclipTaskMarkdown": "L", "paperclipTaskMarkdownCompact": "S"}
    config = {"bootstrapPromptTemplate": "FIRST", "promptTemplate": "HEARTBEAT"}
    params = {"sessionId": "s"}
    off = prompt_of(context, config | {"resumeLastSession": False}, resuming=True, params=params)
    assert off == prompt_of(context, config, resuming=False, params=params)
    assert off != prompt_of(context, config, resuming=True, params=params)


def test_a_prompt_never_begins_with_a_command_of_the_agents_own() -> None:
    # `/compact` in front of it would take all that follows as what to keep, and the task with it (the opencode fork).
    flagged = {"sessionId": "s", "needsCompactBeforeNextRun": True}
    assert text_of(config={"promptTemplate": "HEARTBEAT"}, resuming=True, params=flagged) == "HEARTBEAT"


def test_the_metrics_count_the_characters_of_each_section() -> None:
    context = {"wakeReason": "manual", "paperclipTaskMarkdown": "täsk", "paperclipSessionHandoffMarkdown": "over"}
    fresh = prompt_of(context, {"bootstrapPromptTemplate": "abc", "promptTemplate": "12345"})
    assert fresh.metrics == {
        "promptChars": len(fresh.text),
        "bootstrapPromptChars": 3,
        "wakePromptChars": len("Wake reason: manual"),
        "taskMarkdownChars": 4,
        "sessionHandoffChars": 4,
        "heartbeatPromptChars": 5,
    }
    resumed = prompt_of({"paperclipWake": WAKE}, {}, resuming=True)
    assert resumed.metrics["promptChars"] == len(resumed.text)
    assert resumed.metrics["heartbeatPromptChars"] == resumed.metrics["bootstrapPromptChars"] == 0


def test_a_prompt_that_says_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="promptTemplate makes no text of this run, whose context says nothing"):
        prompt_of({}, SILENT)
    with pytest.raises(InvalidRequest, match="promptTemplate makes no text"):
        prompt_of({}, SILENT, resuming=True)
    assert text_of({"wakeReason": "manual"}, SILENT) == "Wake reason: manual"


def test_no_repr_shows_the_prompt() -> None:
    assert "Ada" not in repr(prompt_of())


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ({"wakeReason": "manual"}, "Wake reason: manual"),
        ({"wakeReason": "a", "paperclipWake": {"reason": "b"}}, "Wake reason: b"),
        ({"wakeReason": "x", "wakeCommentId": "c-1"}, "Wake reason: x\nComment id: c-1"),
        ({"commentId": "c-2"}, "Comment id: c-2"),
        ({"paperclipWake": {"reason": " "}}, ""),
    ],
)
def test_a_bare_wake_is_told_in_a_line(context: dict[str, Any], text: str) -> None:
    assert text_of(context, {"promptTemplate": "HEARTBEAT"}) == f"{text}\n\nHEARTBEAT".lstrip("\n")


def test_a_comment_beside_the_wake_is_told() -> None:
    one = text_of({"paperclipWakeComment": {"body": "just one line"}, "wakeCommentId": "c"}, SILENT)
    assert one.endswith("\n\nComment: just one line")
    two = text_of({"paperclipWakeComment": {"body": "two\nlines"}}, SILENT)
    assert two.endswith("\n\nComment:\n```text\ntwo\nlines\n```")


def test_a_wake_is_told_with_its_issue_and_its_comments() -> None:
    wake = {
        "reason": "issue_commented",
        "issue": {
            "id": "i-1",
            "identifier": "PAP-7",
            "title": "Copy the\nfigures",
            "description": "Like this:\n```\n## Paperclip Wake Payload\n```",
            "descriptionTruncated": True,
            "status": "todo",
            "priority": "high",
            "workMode": "standard",
            "deliverableRoot": "out",
        },
        "checkedOutByHarness": True,
        "comments": [
            {"id": "c-1", "body": "First", "authorType": "user", "authorId": "u-1", "createdAt": "2026-01-02"},
            {"id": "c-2", "body": "", "bodyTruncated": True, "deletedAt": "2026-01-03", "author": {"name": "Ada"}},
            "nonsense",
        ],
        "commentIds": ["c-1", "c-2"],
        "requestedCount": 3,
        "missingCount": 1,
        "dependencyBlockedInteraction": False,
        "unresolvedBlockerIssueIds": ["x", "y"],
        "childIssueSummaries": [{"identifier": "PAP-8", "summary": None}],
        "executionStage": {"wakeRole": "reviewer", "reviewRequest": {"instructions": "Look\nhard"}, "approved": False},
        "checkboxSelection": {"selectedOptionIds": []},
    }
    assert text_of({"paperclipWake": wake}, SILENT) == WAKE_TOLD


WAKE_TOLD = """\
## Paperclip Wake Payload

This is what this run is about; handle it before anything else. What is told here comes from the control plane and \
need not be fetched again.

Wake reason: issue_commented
Issue: PAP-7 Copy the figures (status todo, priority high, work mode standard)
The issue is already checked out for this run: do not check it out again.
Description (cut short):
````text
Like this:
```
## Paperclip Wake Payload
```
````
- deliverable root: out
Comment by user u-1 at 2026-01-02 id c-1:
```text
First
```
Comment by Ada id c-2 (cut short):
```text
(empty)
```
- deleted at: 2026-01-03
Not everything is here: fetch the issue's thread before you act on it.
- unresolved blocker issue ids: x, y
- child issue summaries 1:
  - identifier: PAP-8
- execution stage:
  - wake role: reviewer
  - review request:
    - instructions:
    ```text
    Look
    hard
    ```
  - approved: no"""


def test_a_description_that_the_task_has_is_not_told_twice() -> None:
    context = {"paperclipWake": WAKE, "paperclipTaskMarkdown": "THE TASK: All of them."}
    assert text_of(context).count("All of them.") == 1
    assert text_of({"paperclipWake": WAKE}).count("All of them.") == 1
    assert "All of them." not in text_of({"paperclipWake": WAKE}, resuming=True)


@pytest.mark.parametrize(
    "wake",
    [{"truncated": True}, {"fallbackFetchNeeded": True}, {"commentWindow": {"missingCount": 2}}, {"missingCount": 1}],
)
def test_a_wake_that_is_not_whole_says_so(wake: dict[str, Any]) -> None:
    assert "fetch the issue's thread" in text_of({"paperclipWake": WAKE | wake})
    assert "fetch the issue's thread" not in text_of({"paperclipWake": WAKE})


def test_what_is_nested_deep_is_left_out() -> None:
    deep: Any = "bottom"
    for _ in range(20):
        deep = {"in": deep}
    text = text_of({"paperclipWake": {"reason": "r", "strange": deep}})
    assert "- strange:" in text
    assert "bottom" not in text


@given(st.dictionaries(st.sampled_from(["reason", "issue", "comments", "commentWindow", "truncated", "new"]), JSON))
def test_any_wake_can_be_told_and_has_no_section_of_its_own(wake: dict[str, Any]) -> None:
    for resuming in (False, True):
        text = text_of({"paperclipWake": wake}, {"promptTemplate": "HEARTBEAT"}, resuming=resuming)
        unfenced = re.sub(r"(?m)^ *(`{3,})text\n[\s\S]*?^ *\1$", "", text)
        assert len(re.findall(r"(?m)^## ", unfenced)) <= 1


def test_a_context_without_a_wake_leaves_the_variables_plain() -> None:
    run = RunContext.parse({"runId": "r", "agent": {"id": "a"}, "context": {"mine": {"x": 1}}})
    assert variables(run)["context"]["mine"] == {"x": 1}
    assert run.context == {"mine": {"x": 1}}
