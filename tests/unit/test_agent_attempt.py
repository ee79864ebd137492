"""A run's attempts: what a control plane is told of each before it runs, and what the second does otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter.agent.context import RunContext
from adapter.agent.selfpod import SelfPod
from adapter.agents import Attempt, prepare
from adapter.cluster.belongings import agent_key
from adapter.cluster.jobs import AGENT_LABEL, RUN_ID, job_name

SESSION = "4f3e2d1c-0000-4000-8000-000000000001"
KEPT = {"workspaceVolumeClaim": "work"}


async def attempt(config: dict[str, Any] | None = None, *, number: int = 1, own: bool = False, **more: Any) -> Attempt:
    given = {"runId": "run-1", "agent": {"id": "ann", "companyId": "acme", "name": "Ann"}}
    settings = {"promptTemplate": "Do it."} | ({} if own else {"image": "agent:1"}) | (config or {})
    container = {"name": "paperclip", "image": "paperclip:1"}
    pod = {"metadata": {"name": "p-0", "namespace": "agents"}, "spec": {"containers": [container]}}
    context = RunContext.parse(given | {"config": settings} | more)
    return await prepare(context, "somebody", SelfPod.of(pod) if own else None, number=number)


def skill_at(root: Path, name: str) -> dict[str, Any]:
    (root / name).mkdir()
    (root / name / "SKILL.md").write_text(f"# {name}")
    return {"key": f"acme/{name}", "runtimeName": name, "source": str(root / name), "required": True}


async def test_what_a_control_plane_is_told_of_an_invocation(tmp_path: Path) -> None:
    config = KEPT | {"namespace": "apps", "timeoutSec": 90, "model": "opus"}
    config |= {"paperclipRuntimeSkills": [skill_at(tmp_path, "review"), skill_at(tmp_path, "write")]}
    wake = {"taskId": "T-1", "paperclipWorkspace": {"cwd": "/paperclip/tasks/1"}}
    made = await attempt(config, context=wake)

    assert made.work.meta == {
        "adapterType": "claude_k8s",
        "command": f"kubectl job/{job_name('somebody', 'run-1')}",
        "cwd": "/paperclip/tasks/1",
        "commandArgs": list(made.job.arguments),
        "commandNotes": [
            "Image: agent:1",
            "Namespace: apps",
            "Timeout: 90s",
            "Skills (2): review, write",
            *made.job.notes,
        ],
        "prompt": "Do it.",
        "promptMetrics": dict(made.job.prompt.metrics),
        "context": wake,
    }
    assert made.work.meta["commandArgs"][-4:-2] == ["--max-turns", "1000"]


async def test_what_it_is_told_where_little_is_said() -> None:
    made = await attempt(KEPT, own=True)

    assert made.work.meta["commandNotes"][:3] == ["Image: paperclip:1", "Timeout: none", "Skills bundled (0): none"]


async def test_what_an_operator_is_told() -> None:
    config = {"labels": {"paperclip.io/x": "y"}, "surprise": 1, "instructionsFilePath": "/nowhere/AGENTS.md"}
    made = await attempt(config, runtime={"sessionId": SESSION}, novelty=1)

    said = "\n".join(made.work.notes)
    for words in (
        "is not resumed, the agent starts afresh: no volume outlives the pod",
        "Skills bundled (0): none",
        "instructionsFilePath '/nowhere/AGENTS.md' is not bundled: No such file or directory",
        "1 label(s) with a reserved name were skipped: paperclip.io/x",
        "PAPERCLIP_API_URL is not set",
        "context.novelty: not known here",
        "config.surprise: not known here",
    ):
        assert words in said
    assert made.session is None


async def test_the_work_knows_whose_it_is() -> None:
    wake = {"taskId": "T 1", "retryOfRunId": "run-0"}
    made = await attempt(KEPT, context=wake, runtime={"sessionId": SESSION})

    labels = made.work.manifest["metadata"]["labels"]
    assert made.work.agent == labels[AGENT_LABEL] == agent_key("acme", "ann")
    assert (made.work.task, made.work.session) == ("T1", SESSION)
    assert made.work.task == labels["paperclip.io/task-id"]
    assert (made.work.lost, made.work.reattach, made.work.retain, made.work.stderr) == ("run-0", True, 0, True)


@pytest.mark.parametrize(
    ("config", "reattach", "retain"),
    [
        ({"reattachOrphanedJobs": False}, False, 0),
        ({"retainJobs": True}, True, 3600),
        ({"retainJobs": "true", "ttlSecondsAfterFinished": "60"}, True, 60),
    ],
)
async def test_what_becomes_of_jobs_is_configured(config: dict[str, Any], reattach: bool, retain: int) -> None:
    work = (await attempt(config)).work

    assert (work.reattach, work.retain) == (reattach, retain)


@pytest.mark.parametrize("agent", ["@@@", "é", "a b", "x" * 500])
async def test_an_agent_of_any_id_is_run(agent: str) -> None:
    """The old adapter refused an id of which nothing was left for a label."""
    made = await attempt(agent={"id": agent, "companyId": "acme"})

    assert made.work.agent == agent_key("acme", agent)


async def test_a_second_attempt_is_another_job_of_the_run_without_the_session() -> None:
    config = KEPT | {"retryFreshSession": True, "bootstrapPromptTemplate": "First."}
    first, second = [await attempt(config, number=n, runtime={"sessionId": SESSION}) for n in (1, 2)]

    assert first.work.name != second.work.name
    assert [one.work.manifest["metadata"]["annotations"][RUN_ID] for one in (first, second)] == ["run-1", "run-1"]
    assert (first.session, second.session) == (SESSION, None)
    assert "--resume" in first.job.arguments
    assert "--resume" not in second.job.arguments
    assert (first.job.prompt.text, second.job.prompt.text) == ("Do it.", "First.\n\nDo it.")
    assert second.work.notes[0] == "the agent's session is unknown to it: trying once more with a fresh one"
    assert second.again_at is None, "there is no third"


@pytest.mark.parametrize(
    ("config", "runtime"), [({}, {"sessionId": SESSION}), ({"retryFreshSession": True}, {})], ids=["not asked", "none"]
)
async def test_without_a_session_or_the_wish_there_is_no_second(config: dict[str, Any], runtime: Any) -> None:
    assert (await attempt(KEPT | config, runtime=runtime)).again_at is None


async def test_the_same_context_with_another_token_is_the_same_request() -> None:
    first, second, other = (
        await attempt(authToken="one"),
        await attempt(authToken="two"),
        await attempt(context={"taskId": "T"}),
    )

    assert first.work.request == second.work.request != other.work.request
    assert first.work.secret != second.work.secret
