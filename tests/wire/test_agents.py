"""An agent's run on a real wire: a fake `claude` in the pod, a control plane's context in, its result out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter import Adapter, Code, Outcome, RunResult
from adapter.agent.context import RunContext
from adapter.agent.execution import execution_result
from adapter.cluster.jobs import RESULT, Job
from adapter.local import Fault, LocalCluster
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Site

FAKE = str(Path(__file__).parents[1] / "fake" / "claude")
TOKEN = "canary-token-2b81"

Object = dict[str, Any]


def context_of(run_id: str = "run", say: str = "", *, session: str | None = None, **fields: Any) -> RunContext:
    """A context; `say` is what the fake reads in its prompt, `config` and `context` are laid over."""
    config: Object = {"command": FAKE, "image": "busybox:1.36", "promptTemplate": f"FAKE: {say}\nDo the work."}
    config |= {"graceSec": 5, **fields.pop("config", {})}
    wake = {"taskId": "task", **fields.pop("context", {})}
    runtime = {"sessionId": session, "sessionParams": {"sessionId": session} if session else None}
    agent = {"id": fields.pop("agent", "ann"), "companyId": "co", "name": "Ann"}
    return RunContext.parse(
        {"runId": run_id, "agent": agent, "runtime": runtime, "config": config, "context": wake, "authToken": TOKEN}
        | fields
    )


def begin(site: Site, context: RunContext, plane: Recorder) -> asyncio.Task[RunResult]:
    task = asyncio.create_task(site.adapter.execute(context, plane))
    site.tasks.append(task)
    return task


async def executed(site: Site, context: RunContext, plane: Recorder | None = None) -> tuple[RunResult, Object]:
    result = await asyncio.wait_for(begin(site, context, plane or Recorder()), 30)
    return result, execution_result(result, context)


PERSISTENT = {"workspaceVolumeClaim": "work"}


async def claim(site: Site) -> None:
    """A volume that outlives the pods."""
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "work"}}
    body |= {"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}}
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    await site.adapter.connection.call("POST", path, body=body, deadline=3)


async def test_a_run_from_context_to_result(site: Site) -> None:
    await claim(site)
    plane = Recorder()
    result, execution = await executed(site, context_of(config=PERSISTENT), plane)
    assert (result.outcome, result.code, result.exit_code) == (Outcome.SUCCEEDED, Code.OK, 0)
    assert execution["errorMessage"] is None
    assert execution["usage"]["outputTokens"] > 0
    assert execution["costUsd"] == 0.0271
    assert execution["summary"] == "The work is done."
    assert execution["sessionId"] == json.loads(plane.text.splitlines()[0])["session_id"]
    assert execution["sessionParams"]["sessionId"] == execution["sessionId"]
    [meta] = [event for event in plane.events if event.kind == "meta"]
    assert meta.data["command"] == f"kubectl job/{result.job}"
    assert "Do the work." in meta.data["prompt"]


@pytest.mark.parametrize(
    ("say", "code", "exit_code"),
    [
        ("exit=3", Code.EXIT_CODE, 3),
        ("is-error", Code.AGENT_ERROR, None),
        ("no-result", Code.TRUNCATED, 0),
        ("truncated kill=9", Code.TRUNCATED, 137),
        ("empty-api", Code.LLM_API_ERROR, None),
        ("max-turns", Code.MAX_TURNS, None),
        ("login", Code.LOGIN_REQUIRED, None),
        ("rate-limited", Code.QUOTA_EXHAUSTED, None),
        ("overloaded", Code.UPSTREAM_UNAVAILABLE, None),
        ("context-overflow", Code.CONTEXT_OVERFLOW, None),
    ],
)
async def test_what_the_agent_itself_says_is_the_code(site: Site, say: str, code: Code, exit_code: int | None) -> None:
    result, execution = await executed(site, context_of(say=say))
    assert (result.outcome, result.code) == (Outcome.FAILED, code), result
    assert exit_code is None or result.exit_code == exit_code
    assert execution["errorMessage"]
    assert result.agent
    assert result.agent.get("session_id") or say == "login", "the session survives"


async def test_garbage_is_delivered_byte_for_byte_and_spoofs_nothing(site: Site) -> None:
    plane = Recorder()
    result, execution = await executed(site, context_of(say="garbage"), plane)
    assert b"\0" in plane.data
    assert b"\xff" in plane.data
    assert (result.outcome, execution["summary"]) == (Outcome.SUCCEEDED, "The work is done.")


async def test_stderr_is_a_log_of_its_own_and_lands_in_no_line(site: Site) -> None:
    plane = Recorder()
    result, _ = await executed(site, context_of(say="stderr=50 line=400000"), plane)
    assert result.ok
    assert all(json.loads(line) for line in plane.data.splitlines())
    assert plane.errors.count(b"\n") >= 50
    assert result.stderr
    assert result.stderr.complete
    assert result.stderr.delivered == len(plane.errors)


async def test_usage_and_session_survive_the_deadline(site: Site) -> None:
    result, execution = await executed(site, context_of(say="forever", config={"timeoutSec": 3}))
    assert (result.outcome, result.code) == (Outcome.TIMED_OUT, Code.DEADLINE)
    assert execution["timedOut"] is True
    assert execution["errorCode"] == "timeout"
    assert result.agent
    assert result.agent["session_id"]
    assert execution["usage"]["outputTokens"] > 0


async def test_a_cancel_keeps_them_too(site: Site) -> None:
    plane = Recorder()
    task = begin(site, context_of(say="forever"), plane)
    await plane.until(lambda: b'"assistant"' in plane.data)
    plane.cancel()
    result = await asyncio.wait_for(task, 20)
    assert (result.outcome, result.code) == (Outcome.CANCELLED, Code.CANCELLED)
    assert result.agent
    assert result.agent["session_id"]


# -- where it runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said_by", ["agent", "environment", "kubeconfig"])
async def test_an_agent_runs_in_the_namespace_that_is_said(site: Site, said_by: str, tmp_path: Path) -> None:
    body = {"metadata": {"name": "elsewhere"}}
    await site.adapter.connection.call("POST", "/api/v1/namespaces", body=body, deadline=3)
    config, target = {"namespace": "nowhere"}, None
    if said_by == "kubeconfig":
        own = yaml.safe_load(site.cluster.kubeconfig.read_text())
        own["contexts"][0]["context"]["namespace"] = "elsewhere"
        (tmp_path / "config").write_text(yaml.safe_dump(own))
        config = {"kubeconfig": str(tmp_path / "config")}
    elif said_by == "environment":
        target = {"kind": "remote", "transport": "k8s", "config": {"namespace": "elsewhere"}}
    else:
        config = {"namespace": "elsewhere"}
    plane = Recorder()
    result, _ = await executed(site, context_of(config=config, executionTarget=target), plane)
    assert result.ok, result
    [told] = [event.data for event in plane.events if event.kind == "job"]
    assert told["namespace"] == "elsewhere"
    made = [change.object["metadata"] for change in site.cluster.history if change.kind in ("Job", "Pod", "Secret")]
    assert {one["namespace"] for one in made} == {"elsewhere"}


# -- sessions --------------------------------------------------------------------------------------------------------


async def test_an_unknown_session_is_a_code_of_its_own(site: Site) -> None:
    await claim(site)
    context = context_of(say="session-file", session="11111111-1111-4111-8111-111111111111", config=PERSISTENT)
    result, execution = await executed(site, context)
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.SESSION_UNAVAILABLE)
    assert execution["clearSession"] is True


async def test_it_is_tried_once_more_afresh_where_that_is_asked_for(site: Site) -> None:
    await claim(site)
    plane = Recorder()
    config = PERSISTENT | {"retryFreshSession": True}
    context = context_of(say="session-file", session="11111111-1111-4111-8111-111111111111", config=config)
    result, execution = await executed(site, context, plane)
    assert (result.outcome, result.code) == (Outcome.SUCCEEDED, Code.OK)
    assert execution["sessionId"] not in (None, "11111111-1111-4111-8111-111111111111")
    assert [said for said in plane.said if isinstance(said, RunResult)] == [result], "one result"
    assert any("trying once more with a fresh one" in note for note in plane.words("note"))
    assert not site.cluster.list("jobs")


async def test_a_known_session_is_resumed(site: Site) -> None:
    await claim(site)
    _, first = await executed(site, context_of("one", say="session-file", config=PERSISTENT))
    context = context_of("two", say="session-file", session=first["sessionId"], config=PERSISTENT)
    result, second = await executed(site, context)
    assert result.ok
    assert second["sessionId"] == first["sessionId"]


async def test_without_a_volume_that_outlives_the_pod_nothing_is_resumed_and_it_is_said(site: Site) -> None:
    plane = Recorder()
    result, execution = await executed(site, context_of(session="11111111-1111-4111-8111-111111111111"), plane)
    assert result.ok, "it is no reason to fail"
    assert any("is not resumed" in note for note in plane.words("note"))
    assert (execution["sessionId"], execution["clearSession"]) == (None, True)


# -- supervisors that come and go ------------------------------------------------------------------------------------


async def test_a_new_supervisor_goes_on_with_log_and_transcript(cluster: LocalCluster) -> None:
    context = context_of(say="sleep=1")
    plane = Recorder()
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        first = asyncio.create_task(adapter.execute(context, plane))
        await plane.until(lambda: b'"assistant"' in plane.data)
    assert (await first).outcome is Outcome.DETACHED
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        result = await adapter.execute(context, plane)
    assert result.ok
    lines = [json.loads(line) for line in plane.data.splitlines()]
    assert [line["type"] for line in lines].count("result") == 1
    assert result.agent
    assert result.agent["session_id"] == lines[0]["session_id"], "the init event was the first supervisor's"


async def test_an_agent_that_ended_while_nobody_looked_is_told_in_full(cluster: LocalCluster) -> None:
    context = context_of(say="sleep=1")
    plane = Recorder()
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        first = asyncio.create_task(adapter.execute(context, plane))
        await plane.until(lambda: b'"assistant"' in plane.data)
    assert (await first).outcome is Outcome.DETACHED
    await cluster.until(lambda c: all(Job.of(job).over for job in c.list("jobs")))
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        result = await adapter.execute(context, plane)
    assert (result.outcome, result.code) == (Outcome.SUCCEEDED, Code.OK), result
    assert json.loads(plane.data.splitlines()[-1])["type"] == "result"
    assert execution_result(result, context)["costUsd"] == 0.0271


async def test_the_same_context_again_is_given_its_result(site: Site) -> None:
    context = context_of(config={"retainJobs": True})
    first, _ = await executed(site, context)
    assert (await executed(site, context))[0] == first
    [job] = site.cluster.list("jobs")
    assert RESULT in job["metadata"]["annotations"]
    assert not [s for s in site.cluster.list("secrets") if s["metadata"]["name"] == first.job]


async def test_a_new_token_does_not_make_another_request(site: Site) -> None:
    context = context_of(config={"retainJobs": True})
    await executed(site, context)
    assert (await executed(site, context_of(config={"retainJobs": True}, authToken="another")))[0].ok
    changed = context_of(say="exit=3", config={"retainJobs": True})
    assert (await executed(site, changed))[0].code is Code.CONFLICT


# -- what is asked of whom -------------------------------------------------------------------------------------------


async def test_a_run_asks_little_of_the_api_server(site: Site) -> None:
    await executed(site, context_of("warm", agent="bob"))
    before = len(site.cluster.requests)
    result, _ = await executed(site, context_of())
    assert result.ok
    asked = [f"{r.method} {r.path.rsplit('/', 1)[-1]}" for r in site.cluster.requests[before:] if not _shared(r)]
    assert len(asked) <= 12, " ".join(asked)


def _shared(request: Any) -> bool:
    return dict(request.query).get("watch") == "1"


async def test_no_secret_is_in_what_everybody_reads(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    canaries = [TOKEN, "canary-env-9f31", "canary-mcp-77aa", "canary-prompt-5c5c"]
    config = {
        "env": {"SOME_KEY": canaries[1]},
        "retainJobs": True,
        "promptTemplate": f"FAKE: echo-env=SOME_KEY\n{canaries[3]}",
    }
    config["mcpServers"] = {"x": {"command": "x", "env": {"KEY": canaries[2]}}}
    plane = Recorder()
    result, execution = await executed(site, context_of(config=config), plane)
    assert canaries[1] in plane.text, "the fake has said it"
    kinds = ("jobs", "pods", "events", "configmaps")
    everything = json.dumps([c.object for c in site.cluster.history if f"{c.kind.lower()}s" in kinds])
    everything += json.dumps([site.cluster.list(kind) for kind in kinds]) + repr(result) + json.dumps(execution)
    everything += json.dumps([[e.message, dict(e.data)] for e in plane.events if e.kind != "meta"], default=str)
    everything += repr(plane.said[0]) + "".join(capfd.readouterr())
    assert [canary for canary in canaries if canary in everything] == []


# -- what the API server refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code", "wire"),
    [
        ("*/jobs", Code.JOB_REJECTED, "k8s_job_create_failed"),
        ("*/secrets", Code.SECRET_REJECTED, "k8s_prompt_secret_create_failed"),
        ("*/configmaps", Code.ADMISSION_UNREACHABLE, "k8s_concurrency_guard_unreachable"),
    ],
)
async def test_what_is_refused_at_the_launch_leaves_nothing(site: Site, path: str, code: Code, wire: str) -> None:
    site.cluster.faults.add(Fault.respond(422, "it is invalid", method="POST", path=path))
    plane = Recorder()
    result, execution = await executed(site, context_of(), plane)
    assert (result.outcome, result.code, execution["errorCode"]) == (Outcome.FAILED, code, wire)
    assert "it is invalid" in execution["errorMessage"]
    assert execution["executionRecovery"] == {"kind": "bootstrap", "providerWorkStarted": False}
    await site.cluster.until(lambda c: not any(c.list(kind) for kind in ("jobs", "pods", "secrets", "configmaps")))
    assert not any(change.kind == "Pod" for change in site.cluster.history)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"resources.limits.memory": "lots"}, "resources.limits.memory"),
        ({"workspaceMountPath": "/run/claude-k8s/x"}, "workspaceMountPath"),
        ({"promptTemplate": "{{nobody}}"}, "nobody"),
        ({"kubeconfig": "/no/such/file"}, "/no/such/file"),
        ({"env": {"BIG": "x" * 200_000}}, "BIG"),
    ],
)
async def test_bad_input_starts_nothing_and_names_the_field(site: Site, config: Object, words: str) -> None:
    plane = Recorder()
    result, execution = await executed(site, context_of(config=config), plane)
    assert result.outcome is Outcome.FAILED
    assert words in result.message
    assert plane.accepted == result
    assert execution["errorMessage"]
    assert not site.cluster.list("jobs")


async def test_what_is_not_known_is_said(site: Site) -> None:
    plane = Recorder()
    await executed(site, context_of(config={"enableRtk": True, "newThing": 1}), plane)
    said = " ".join(plane.words("note"))
    assert "newThing" in said
    assert "enableRtk" in said


async def test_a_refused_image_is_told_and_the_agent_is_free_again(site: Site) -> None:
    result, _ = await executed(site, context_of(config={"image": "NotValid"}))
    assert result.code is Code.IMAGE_INVALID
    assert (await executed(site, context_of("next")))[0].ok
