"""Each trap of the real Paperclip (docs/paperclip.md), by its number there."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from adapter.agent.context import RunContext
from adapter.agent.schema import ui_schema
from adapter.agents import prepare
from adapter.paperclip import MODULE
from tests.paperclip.conftest import Stage
from tests.paperclip.scene import QUICK, context, host, module_at

LOST = "Legacy controller lease lost"
BOOTSTRAP = {"kind": "bootstrap", "providerWorkStarted": False}
SOURCES = sorted(MODULE.glob("lib/*.js"))


def configure(stage: Stage, **config: Any) -> None:
    """Another configuration from now on: the file is read each time."""
    file = stage.module / "claude-k8s.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


# -- 1: HTTP that may be silent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_trap_1_fetch_which_ends_what_is_silent_for_300_seconds_is_not_used(source: Path) -> None:
    assert not re.search(r"\bfetch\(|undici|EventSource", source.read_text().partition("import")[2])


async def test_trap_1_a_link_that_is_dead_without_a_word_is_made_anew(stage: Stage) -> None:
    """A ping each 15 s: a minute without one is no silence of the agent's."""
    configure(stage, times={**QUICK, "silence": 50})
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.log("run-1", "one\n")
    await stage.sidecar.until_asked("/v1/runs/run-1/events", 3)
    stage.sidecar.finish("run-1")
    await run
    assert stage.host.log() == "one\n"


# -- 2: the forms ask often --------------------------------------------------------------------------------------------


async def test_trap_2_the_schema_is_asked_for_once(stage: Stage) -> None:
    told = {"fields": [{"key": "a", "label": "A", "type": "text"}]}
    stage.sidecar.answers["/v1/schema"] = [(200, {"jsonSchema": {}, "uiSchema": told})]
    for _ in range(13):
        assert await stage.host.call("getConfigSchema") == told
    assert stage.sidecar.asked_for("/v1/schema") == 1


async def test_trap_2_the_schema_is_answered_while_the_sidecar_is_away(stage: Stage) -> None:
    await stage.sidecar.kill()
    assert await stage.host.call("getConfigSchema") == ui_schema()


async def test_trap_2_what_was_answered_last_is_better_than_what_was_shipped(stage: Stage) -> None:
    configure(stage, times={**QUICK, "fresh": 0})
    told: dict[str, Any] = {"fields": []}
    stage.sidecar.answers["/v1/schema"] = [(200, {"uiSchema": told})]
    assert await stage.host.call("getConfigSchema") == told
    await stage.sidecar.kill()
    assert await stage.host.call("getConfigSchema") == told


async def test_trap_2_a_sidecar_that_does_not_answer_holds_no_form_up(stage: Stage) -> None:
    configure(stage, times={**QUICK, "quick": 20})
    stage.sidecar.silent = True
    assert await stage.host.call("getConfigSchema") == ui_schema()


async def test_trap_2_a_broken_configuration_leaves_the_forms_standing(stage: Stage) -> None:
    (stage.module / "claude-k8s.json").write_text("{no json")
    assert await stage.host.call("getConfigSchema") == ui_schema()
    assert "claude-k8s.json" in (await stage.host.execute(context()))["errorMessage"]


# -- 3: what means something on Paperclip's host alone -----------------------------------------------------------------

HOST_ONLY = {
    **dict.fromkeys(("TMPDIR", "TEMP", "TMP", "PAPERCLIP_TMPDIR", "PAPERCLIP_RUN_SCRATCH_DIR"), "/host/scratch"),
    **dict.fromkeys(("GH_CONFIG_DIR", "PAPERCLIP_GITHUB_HOST_HOME", "PAPERCLIP_RUNNER_NETWORK_ROOTS"), "/host/gh"),
}


async def test_trap_3_host_only_variables_and_paths_are_in_no_pod(stage: Stage, tmp_path: Path) -> None:
    """The service drops the variables, by name and with a word of it; the module reads what only its host has."""
    file = tmp_path / "AGENTS.md"
    file.write_text("Be kind.\n")
    config = {"image": "any", "env": {"MINE": "yes", **HOST_ONLY}, "instructionsFilePath": str(file)}
    workspace = {"paperclipWorkspace": {"cwd": "/host/work", "agentHome": "/host/home"}}
    run = stage.host.execute(context(config=config, context=workspace))
    told = await stage.sidecar.until_known()
    stage.sidecar.finish("run-1")
    await run
    file.unlink()  # the service may be on another host
    attempt = await prepare(RunContext.parse(told.document["context"]), "test", None)
    secret = {key: value.decode() for key, value in (attempt.work.secret or {}).items()}
    everything = json.dumps(attempt.work.manifest) + json.dumps({k: v for k, v in secret.items() if k != "prompt"})
    assert secret["env.MINE"] == "yes"
    assert not [name for name in HOST_ONLY if f'"{name}"' in everything or f"env.{name}" in everything]
    assert "/host/" not in everything
    assert any(text.startswith("Be kind.") for text in secret.values())
    assert all(any(name in note for note in attempt.work.notes) for name in HOST_ONLY)


@pytest.mark.parametrize("path", ["/nowhere/AGENTS.md", "relative.md", "/", "", None, 7])
async def test_trap_3_instructions_that_cannot_be_read_are_left_to_the_service(stage: Stage, path: object) -> None:
    run = stage.host.execute(context(config={"instructionsFilePath": path}))
    told = await stage.sidecar.until_known()
    assert "instructionsContent" not in told.document["context"]
    stage.sidecar.finish("run-1")
    await run


# -- 4: secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://sidecar.example:8642", "http://10.0.0.7", "http://127.0.0.1.example"])
async def test_trap_4_secrets_do_not_leave_the_machine_in_the_open(stage: Stage, url: str) -> None:
    configure(stage, url=url)
    result = await stage.host.execute(context())
    assert "plain HTTP" in result["errorMessage"]
    assert result["executionRecovery"] == BOOTSTRAP
    report = await stage.host.call("testEnvironment", {"config": {}})
    assert report["status"] == "fail"
    assert "plain HTTP" in report["checks"][0]["message"]


async def test_trap_4_plain_http_within_a_network_is_allowed_by_name(stage: Stage) -> None:
    configure(stage, url="http://sidecar.invalid:1", allowHttp=True)
    run = stage.host.execute(context())
    [[event]] = await stage.host.until_told("onEvent")
    assert "sidecar.invalid" in event["message"]
    await stage.host.ask("abort", run="run-1", reason="enough")
    await run


async def test_trap_4_the_token_is_read_from_its_file_each_time(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    configure(stage, tokenFile=str(file))
    run = stage.host.execute(context())
    await stage.sidecar.until_asked("/v1/runs/run-1/events")
    file.write_text("second\n")
    stage.sidecar.finish("run-1")
    await run
    await stage.sidecar.until_asked("/v1/runs/run-1/ack")
    used = [headers.get("Authorization") for headers in stage.sidecar.headers]
    assert used == ["Bearer first", "Bearer first", "Bearer second"]


async def test_trap_4_the_token_is_in_no_message(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-very-secret-token")
    configure(stage, tokenFile=str(file))
    stage.sidecar.answers["/v1/runs"] = [(401, {"error": {"code": "unauthorized", "message": "who are you?"}})]
    result = await stage.host.execute(context())
    assert "a-very-secret-token" not in json.dumps([result, stage.host.calls])


# -- 5: a lost lease is no cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["interrupted", "failed", "running", "gone", "unknown"])
async def test_trap_5_a_server_that_stops_does_not_cancel_the_job(stage: Stage, status: str) -> None:
    if status == "unknown":
        await stage.rows.kill()
    elif status != "gone":
        stage.rows.status["run-1"] = status
    run = stage.host.execute(context())
    told = await stage.sidecar.until_known()
    await stage.host.ask("abort", run="run-1", reason=LOST)
    result = await run
    assert not told.cancels
    assert not told.acks
    assert "Job goes on" in result["errorMessage"]
    assert "executionRecovery" not in result


async def test_trap_5_a_cancel_that_comes_by_way_of_the_lost_lease_is_one(stage: Stage) -> None:
    stage.rows.status["run-1"] = "cancelled"
    stage.sidecar.on_cancel = lambda run: stage.sidecar.finish(run, errorMessage="cancelled")
    run = stage.host.execute(context())
    told = await stage.sidecar.until_known()
    await stage.host.ask("abort", run="run-1", reason=LOST)
    await run
    assert told.cancels == [LOST]


# -- 6, 7, 8: a run that Paperclip has lost ----------------------------------------------------------------------------

TASK = {"taskId": "task-1"}


def left(stage: Stage, run: str = "old", state: str = "running") -> None:
    """A run of an earlier server's, which works on."""
    stage.sidecar.unattended = [{"runId": run, "state": state, "agent": "ann", "unattended": True}]


async def test_trap_6_a_server_that_is_killed_takes_no_job_with_it(stage: Stage) -> None:
    async with host(stage.module) as doomed:
        doomed.execute(context(context=TASK)).cancel()
        told = await stage.sidecar.until_known()
    assert not told.cancels
    assert stage.sidecar.asked_for("/v1/runs/run-1/cancel") == 0


async def test_trap_6_a_job_whose_run_was_cancelled_while_no_server_had_it_is_ended(stage: Stage) -> None:
    left(stage)
    stage.sidecar._post({"context": context("old")})
    stage.rows.status["old"] = "cancelled"
    run = stage.host.execute(context(context=TASK))
    told = await stage.sidecar.until_known()
    assert stage.sidecar.runs["old"].cancels == ["the run is cancelled"]
    assert "retryOfRunId" not in told.document["context"]["context"]
    stage.sidecar.finish("run-1")
    await run


async def test_trap_6_a_run_that_only_looks_cancelled_since_its_lease_was_lost_is_taken_over(stage: Stage) -> None:
    """A signal that was aborted makes Paperclip write `cancelled`, if its database is back in time."""
    run = stage.host.execute(context("old", context=TASK))
    await stage.sidecar.until_known("old")
    await stage.host.ask("abort", run="old", reason=LOST)
    stage.rows.result["old"] = (await run)["resultJson"]
    stage.rows.status["old"] = "cancelled"
    left(stage)
    again = stage.host.execute(context(context=TASK))
    told = await stage.sidecar.until_known()
    assert told.document["context"]["context"]["retryOfRunId"] == "old"
    assert not stage.sidecar.runs["old"].cancels
    stage.sidecar.finish("run-1")
    await again


async def test_trap_7_what_paperclip_says_is_passed_on(stage: Stage) -> None:
    left(stage, "another")
    run = stage.host.execute(context(context={**TASK, "retryOfRunId": "old"}))
    told = await stage.sidecar.until_known()
    assert told.document["context"]["context"]["retryOfRunId"] == "old"
    assert stage.sidecar.asked_for("/v1/runs", "GET") == 0
    stage.sidecar.finish("run-1")
    await run


@pytest.mark.parametrize("status", ["failed", "interrupted", "timed_out", "succeeded", "gone"])
async def test_trap_7_the_job_of_a_lost_run_is_found_and_taken_over(stage: Stage, status: str) -> None:
    left(stage)
    if status != "gone":
        stage.rows.status["old"] = status
    run = stage.host.execute(context(context={"issueId": "task-1"}))
    told = await stage.sidecar.until_known()
    assert told.document["context"]["context"] == {"issueId": "task-1", "retryOfRunId": "old"}
    assert ("GET", "/v1/runs?agent=ann&task=task-1&unattended=true") in stage.sidecar.asked
    stage.sidecar.finish("run-1")
    await run


@pytest.mark.parametrize("what", ["finished", "own", "no task", "executed here"])
async def test_trap_7_what_is_not_lost_is_not_taken_over(stage: Stage, what: str) -> None:
    stage.rows.status["old"] = "failed"
    left(stage, "run-1" if what == "own" else "old", "finished" if what == "finished" else "running")
    if what == "executed here":
        stage.host.execute(context("old")).cancel()
        await stage.sidecar.until_known("old")
    run = stage.host.execute(context(context={} if what == "no task" else TASK))
    told = await stage.sidecar.until_known()
    assert "retryOfRunId" not in told.document["context"]["context"]
    stage.sidecar.finish("run-1")
    await run


async def test_trap_8_a_row_that_says_running_is_not_believed_for_ever(stage: Stage) -> None:
    """After a kill it says so for up to 5.5 minutes. Until it does not, nothing is begun: never two."""
    left(stage)
    stage.rows.status["old"] = "running"
    run = stage.host.execute(context(context=TASK))
    await stage.rows.until_asked("/api/heartbeat-runs/old", 3)
    assert not stage.sidecar.documents
    [[event]] = stage.host.told("onEvent")
    assert "still counts as running" in event["message"]
    stage.rows.status["old"] = "failed"
    told = await stage.sidecar.until_known()
    assert told.document["context"]["context"]["retryOfRunId"] == "old"
    stage.sidecar.finish("run-1")
    await run


async def test_trap_8_a_run_that_has_its_reader_back_is_waited_for_by_the_service(stage: Stage) -> None:
    left(stage)
    stage.rows.status["old"] = "running"
    run = stage.host.execute(context(context=TASK))
    await stage.rows.until_asked("/api/heartbeat-runs/old", 2)
    stage.sidecar.unattended = []
    told = await stage.sidecar.until_known()
    assert "retryOfRunId" not in told.document["context"]["context"]
    stage.sidecar.finish("run-1")
    await run


async def test_trap_8_nobody_waits_longer_than_a_row_can_lie(stage: Stage) -> None:
    configure(stage, times={**QUICK, "lost": 0})
    left(stage)
    stage.rows.status["old"] = "running"
    run = stage.host.execute(context(context=TASK))
    await stage.sidecar.until_known()
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0


async def test_trap_8_a_cancel_ends_the_waiting(stage: Stage) -> None:
    left(stage)
    stage.rows.status["old"] = "running"
    run = stage.host.execute(context(context=TASK))
    await stage.rows.until_asked("/api/heartbeat-runs/old", 2)
    await stage.host.ask("abort", run="run-1", reason="enough")
    result = await run
    assert result["executionRecovery"] == BOOTSTRAP
    assert not stage.sidecar.documents


# -- 9, 10: what a failure must say ------------------------------------------------------------------------------------

REFUSALS = [
    (400, "claude_k8s_sidecar", True),
    (401, "claude_k8s_unauthorized", True),
    (403, "claude_k8s_unauthorized", True),
    (404, "claude_k8s_sidecar", True),
    (409, "claude_k8s_conflict", False),
    (413, "claude_k8s_invalid_request", True),
    (422, "claude_k8s_invalid_request", True),
]


@pytest.mark.parametrize(("status", "code", "again"), REFUSALS, ids=lambda value: str(value))
async def test_traps_9_and_10_a_refusal_is_a_failure_with_its_reason(
    stage: Stage, status: int, code: str, again: bool
) -> None:
    """Without a message Paperclip takes it for a success; and what may have been started is not started again."""
    stage.sidecar.answers["/v1/runs"] = [(status, {"error": {"code": "x", "message": "config.image is missing"}})]
    result = await stage.host.execute(context())
    assert "config.image is missing" in result["errorMessage"]
    assert str(status) in result["errorMessage"]
    assert result["errorCode"] == code
    assert result["timedOut"] is False
    assert result.get("executionRecovery") == (BOOTSTRAP if again else None)


async def test_trap_9_a_result_that_says_nothing_is_a_failure(stage: Stage) -> None:
    for number, result in enumerate(({"message": "the node is gone", "code": "node_lost"}, {})):
        run = stage.host.execute(context(f"run-{number}"))
        await stage.sidecar.until_known(f"run-{number}")
        stage.sidecar.say(f"run-{number}", type="result", result=result, execution=None)
        told = await run
        assert told["errorMessage"] == result.get("message", "the run has ended, and nothing says how")


async def test_trap_10_the_services_own_evidence_is_passed_on(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.finish("run-1", errorMessage="no such image", executionRecovery=BOOTSTRAP)
    assert (await run)["executionRecovery"] == BOOTSTRAP


async def test_a_refusal_of_a_run_that_was_taken_before_does_not_end_it(stage: Stage) -> None:
    """Its token may be rotated, its service renewed: the Job is there."""
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.answers["/v1/runs/run-1/events"] = [(404, {}), (401, {}), (403, {}), (422, {})]
    stage.sidecar.answers["/v1/runs"] = [(409, {}), (401, {}), (422, {})]
    stage.sidecar.say("run-1", type="bye", message="")
    await stage.sidecar.until_asked("/v1/runs/run-1/events", 6)
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0


# -- 11: the module lives in Paperclip's own process -------------------------------------------------------------------


async def test_trap_11_nothing_that_paperclip_throws_ends_a_run_or_the_process(stage: Stage) -> None:
    run = stage.host.execute(context(), fails=["onLog", "onMeta", "onEvent"])
    await stage.sidecar.until_known()
    stage.sidecar.say("run-1", type="meta", data={})
    stage.sidecar.say("run-1", type="event", kind="job", message="made", data={})
    stage.sidecar.log("run-1", "one\n")
    await stage.host.until_told("onLog")
    await stage.sidecar.kill()
    await stage.sidecar.start()
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0


async def test_trap_11_a_paperclip_that_is_not_ready_has_no_run(stage: Stage) -> None:
    result = await stage.host.execute(context(), fails=["onCancellationReady"])
    assert "onCancellationReady fails" in result["errorMessage"]
    assert result["executionRecovery"] == BOOTSTRAP
    assert not stage.sidecar.asked


async def test_trap_11_lines_that_are_none_do_not_end_it(stage: Stage) -> None:
    run = stage.host.execute(context())
    await stage.sidecar.until_known()
    stage.sidecar.say("run-1", type="invented later", data=[1])
    stage.sidecar.say("run-1", type="log", stream="stdout", base64=base64.b64encode(b"\xff").decode())
    stage.sidecar.finish("run-1")
    assert (await run)["exitCode"] == 0
    assert stage.host.log() == "\ufffd"


async def test_the_module_comes_up_on_the_oldest_node_it_names(stage: Stage, tmp_path: Path, old_node: str) -> None:
    module = module_at(tmp_path / "old", url=stage.sidecar.url, times=QUICK)
    async with host(module, old_node) as old:
        run = old.execute(context())
        await stage.sidecar.until_known()
        stage.sidecar.log("run-1", "one\n")
        stage.sidecar.finish("run-1")
        assert (await run)["exitCode"] == 0
        assert old.log() == "one\n"
