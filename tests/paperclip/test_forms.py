"""What Paperclip asks of the module beside runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapter import paperclip
from adapter.agent.models import MODELS, SESSION_MANAGEMENT
from adapter.agent.schema import markdown
from adapter.agent.session import deserialize, display_id, serialize
from adapter.agent.skills import ADAPTER_TYPE
from adapter.agent.uilines import parse_stdout_line
from tests.paperclip.conftest import Stage
from tests.paperclip.scene import FAKE, context
from tests.unit.test_uilines import CASES

SESSION = {"sessionId": "s", "cwd": "/w"}
STORED: list[Any] = [
    *[None, "text", 123, [], [SESSION], {}, {"workspaceId": "w"}, True],
    *[{"sessionId": value} for value in ("", "  ", None, 7, ["s"])],
    *[{"sessionId": "  s  "}, {"session_id": "s"}, {"sessionId": "a", "session_id": "b"}],
    *[{"sessionId": " ", "session_id": "b"}, {**SESSION, "workdir": "/x"}, {"sessionId": "s", "folder": " /f "}],
    *[{"sessionId": "s", "workspace_id": "w", "repo_url": "u", "repo_ref": "r", "prompt_bundle_key": "k"}],
    *[{**SESSION, "needsCompactBeforeNextRun": True, "other": None, "deep": {"a": [1]}, "__proto__": 1}],
    *[{**SESSION, "repoUrl": 5, "repoRef": "", "cwd": ["/w"]}],
]


async def test_sessions_are_stored_by_the_same_rules_here_and_there(stage: Stage) -> None:
    for stored in STORED:
        assert await stage.host.call("sessionCodec.deserialize", stored) == deserialize(stored), stored
        assert await stage.host.call("sessionCodec.serialize", stored) == serialize(stored), stored
        assert await stage.host.call("sessionCodec.getDisplayId", stored) == display_id(stored), stored


async def test_what_the_module_says_of_itself(stage: Stage) -> None:
    assert await stage.host.call("type") == ADAPTER_TYPE
    assert await stage.host.call("supportsLocalAgentJwt") is True
    assert await stage.host.call("supportsInstructionsBundle") is True
    assert await stage.host.call("instructionsPathKey") == "instructionsFilePath"
    assert await stage.host.call("requiresMaterializedRuntimeSkills") is False
    assert await stage.host.call("runtimeToolDelivery") == "native_mcp"
    assert await stage.host.call("models") == list(MODELS)
    assert await stage.host.call("sessionManagement") == SESSION_MANAGEMENT
    assert await stage.host.call("agentConfigurationDoc") == markdown()


def test_the_defaults_are_those_of_this_version() -> None:
    path = paperclip.MODULE / "lib" / "defaults.json"
    assert path.read_text() == paperclip.defaults(), "make docs"


async def test_models_are_the_sidecars(stage: Stage) -> None:
    first, second = [{"id": "a", "label": "A"}], [{"id": "b", "label": "B"}]
    detected = {"model": "a", "provider": "anthropic", "source": "ANTHROPIC_MODEL"}
    stage.sidecar.answers["/v1/models"] = [(200, {"models": first, "detected": detected}), (200, {"models": second})]
    assert await stage.host.call("listModels") == first
    assert await stage.host.call("detectModel") == detected
    assert await stage.host.call("listModels") == first
    assert await stage.host.call("refreshModels") == second
    assert await stage.host.call("detectModel") is None


async def test_skills_are_the_sidecars(stage: Stage) -> None:
    snapshot = {"adapterType": ADAPTER_TYPE, "supported": True, "entries": []}
    for name, told in (("list", ()), ("sync", (["a"],))):
        stage.sidecar.answers[f"/v1/skills/{name}"] = [(200, snapshot)]
        asked = {"agentId": "ann", "companyId": "acme", "adapterType": ADAPTER_TYPE, "config": {}}
        assert await stage.host.call(f"{name}Skills", asked, *told) == snapshot


async def test_the_environment_test_is_the_sidecars(stage: Stage) -> None:
    report = {"adapterType": ADAPTER_TYPE, "status": "pass", "checks": [], "testedAt": "2026-11-24T09:00:00Z"}
    stage.sidecar.answers["/v1/preflight"] = [(200, report)]
    assert await stage.host.call("testEnvironment", {"companyId": "acme", "config": {}}) == report


@pytest.mark.parametrize("url", ["", "none at all"])
async def test_all_of_them_have_an_answer_while_the_sidecar_is_away(stage: Stage, url: str) -> None:
    await stage.sidecar.kill()
    if url:
        (stage.module / "claude-k8s.json").write_text(f'{{"url": "{url}"}}')
    assert await stage.host.call("listModels") == list(MODELS)
    assert await stage.host.call("refreshModels") == list(MODELS)
    assert await stage.host.call("detectModel") is None
    report = await stage.host.call("testEnvironment", {"config": {}})
    assert report["status"] == "fail"
    assert "claude-k8s serve" in report["checks"][0]["hint"]
    config = {"paperclipSkillSync": {"desiredSkills": ["a", {"key": "b"}]}}
    snapshot = await stage.host.call("listSkills", {"adapterType": ADAPTER_TYPE, "config": config})
    assert snapshot["desiredSkills"] == ["a", "b"]
    assert snapshot["supported"] is True
    [warning] = snapshot["warnings"]
    assert "cannot be asked" in warning


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_token_is_told_from_a_sidecar_that_is_away(stage: Stage, status: int) -> None:
    stage.sidecar.answers["/v1/preflight"] = [(status, {"error": {"code": "unauthorized", "message": "no"}})]
    [check] = (await stage.host.call("testEnvironment", {"config": {}}))["checks"]
    assert check["code"] == "sidecar_unauthorized"


async def test_a_reload_takes_all_of_a_new_version(stage: Stage, tmp_path: Path) -> None:
    """Paperclip imports index.js anew and nothing behind it (docs/paperclip.md)."""
    before = await stage.host.call("type")
    [old] = stage.module.glob("lib-*")
    new = stage.module / "lib-new"
    old.rename(new)
    (new / "adapter.js").write_text('export const adapter = { type: "another" };')
    about = stage.module / "package.json"
    about.write_text(about.read_text().replace(old.name, new.name))
    assert await stage.host.ask("reload") == "another"
    assert before == ADAPTER_TYPE


async def test_a_run_of_the_module_before_goes_on_and_is_not_taken_for_lost(stage: Stage) -> None:
    run = stage.host.execute(context("old"))
    await stage.sidecar.until_known("old")
    [old] = stage.module.glob("lib-*")
    old.rename(stage.module / "lib-new")
    about = stage.module / "package.json"
    about.write_text(about.read_text().replace(old.name, "lib-new"))
    await stage.host.ask("reload")
    stage.sidecar.unattended = [{"runId": "old", "state": "running"}]
    stage.rows.status["old"] = "failed"
    again = stage.host.execute(context(context={"taskId": "t"}))
    told = await stage.sidecar.until_known("run-1")
    assert "retryOfRunId" not in told.document["context"]["context"]
    for name in ("old", "run-1"):
        stage.sidecar.finish(name)
    await run
    await again


# -- what the run viewer shows -----------------------------------------------------------------------------------------

ODD = [
    *["", "   ", "plain text\r\n", "{", "{}", "[]", '{"type":7}', '{"type":"result"', "nul \0 in it", '  {"type":"x"}'],
    *['{"type":"constructor"}', '{"type":"__proto__"}', '{"type":"system","subtype":"toString"}', '{"type":"user"}'],
    '{"type":"assistant","message":{"content":[{"type":"constructor"},7,null,[],{"type":"tool_use","input":[]}]}}',
    '{"type":"rate_limit_event","rate_limit_info":{"resetsAt":1e300,"status":5}}',
    '{"type":"result","usage":{"input_tokens":-1},"total_cost_usd":"7","errors":[{"code":"c"},{"x":[1,{"y":null}]},""]}',
]


async def test_lines_are_shown_by_the_same_rules_here_and_there(stage: Stage) -> None:
    transcript = await asyncio.create_subprocess_exec(
        *(str(FAKE), "-p", "--output-format", "stream-json", "--verbose"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await transcript.communicate(b"Do it.\nFAKE: rate-limited\n")
    lines = [*ODD, *out.decode().splitlines(), *(json.dumps(event) for event, _ in CASES.values())]
    ts = "2026-11-24T09:00:00Z"
    source = (paperclip.MODULE / "ui-parser.cjs").read_text()
    entries = await stage.host.ask("parse", source=source, lines=lines, ts=ts)
    assert len(entries) == len(lines) > 40
    for line, shown in zip(lines, entries, strict=True):
        assert shown == parse_stdout_line(line, ts), line
