"""Every endpoint, over real sockets: what it answers, and how it says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.cluster.connection import ApiError, Unreachable
from adapter.errors import AdapterError, InvalidRequest
from adapter.plane.store import StoreError
from adapter.sidecar.app import create_app
from adapter.sidecar.errors import Closing, NotTaken
from adapter.sidecar.views import State
from tests.sidecar.serving import FakeBook, served, stored

ODD = "a/b c?d#e%2F\N{SNOWMAN}/../x"
ODD_SENT = "a%2Fb%20c%3Fd%23e%252F%E2%98%83%2F..%2Fx"
CANARY = "hunter2-hunter2"


def asked(run_id: str = "r", **more: Any) -> dict[str, Any]:
    return {"request": {"runId": run_id, "command": ["true"], **more}}


async def test_a_run_is_asked_for_once_however_often_it_is_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        service.book.durable = False
        sent = asked(working_dir="/tmp", nodeSelector={})  # in either spelling
        waiting = await service.client.post("/v1/runs", json=sent)
        assert (waiting.status_code, waiting.json()["durable"]) == (202, False)
        service.book.durable = True
        again = await service.client.post("/v1/runs", json=sent)
        assert (again.status_code, again.json()["runId"], again.headers["location"]) == (200, "r", "/v1/runs/r")
        fresh = await service.client.post("/v1/runs", json=asked("other"))
        assert (fresh.status_code, fresh.json()["durable"]) == (201, True)
        other = await service.client.post("/v1/runs", json=asked(image="another"))
        assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
        assert service.book.documents[0] == sent, "what is kept of a request is what was sent"


async def test_a_run_id_may_hold_anything(tmp_path: Path) -> None:
    """In a path it is one segment, and what is encoded in it stays in it."""
    async with served(tmp_path) as service:
        sent = await service.client.post("/v1/runs", json=asked(ODD))
        assert sent.headers["location"] == f"/v1/runs/{ODD_SENT}"
        for path in ("", "/events", "/cancel", "/ack"):
            method = "POST" if path in ("/cancel", "/ack") else "GET"
            answer = await service.client.request(method, f"/v1/runs/{ODD_SENT}{path}")
            assert answer.status_code < 300, path
        assert list(service.book.cancelled) == [ODD]
        assert (await service.client.get("/v1/runs/a%2Fevents")).status_code == 404
        assert (await service.client.get("/v1/runs/%FF")).status_code == 404


async def test_runs_are_found_by_agent_task_state_and_whether_anybody_reads_them(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        await service.book.add("held", agent="Agent-1", agent_key="agent-1-0123456789", task="T-1", unattended=True)
        await service.book.add("job", agent_key="agent-1-0123456789", task="T-1", state=State.ORPHANED)
        await service.book.add("else", agent="agent-2", agent_key="agent-2-0123456789", state=State.FINISHED)

        async def found(**query: str) -> list[str]:
            answer = await service.client.get("/v1/runs", params=query)
            return [one["runId"] for one in answer.json()["runs"]]

        assert await found() == ["held", "job", "else"]
        assert await found(agent="Agent-1") == ["held", "job"]
        assert await found(agent="agent-1-0123456789", task="T-1 ") == ["held", "job"]
        assert await found(task="nothing") == []
        assert await found(state="orphaned") == ["job"]
        assert await found(unattended="true") == ["held"]
        assert await found(unattended="false", state="finished") == ["else"]
        wrong = await service.client.get("/v1/runs", params={"state": CANARY})
        assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "state")
        assert CANARY not in wrong.text


async def test_a_run_that_nobody_knows_is_a_404_everywhere(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/ack")):
            answer = await service.client.request(method, f"/v1/runs/nobody{path}")
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (404, "not_found")
            assert "nobody" in error["message"]


async def test_a_cancel_carries_its_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        await service.book.add("r")
        answer = await service.client.post("/v1/runs/r/cancel", json={"reason": "stop it"})
        assert (answer.status_code, answer.json(), service.book.cancelled) == (202, {"runId": "r"}, {"r": "stop it"})
        assert (await service.client.post("/v1/runs/r/cancel")).status_code == 202
        assert service.book.cancelled == {"r": "cancelled by request"}
        long = await service.client.post("/v1/runs/r/cancel", json={"reason": CANARY * 100})
        assert (long.status_code, long.json()["error"]["field"]) == (422, "reason")
        assert CANARY not in long.text


async def test_an_acknowledgement_needs_an_end(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        await service.book.add("r")
        answer = await service.client.post("/v1/runs/r/ack")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_finished")
        await service.book.finish("r")
        assert (await service.client.post("/v1/runs/r/ack")).json() == {"runId": "r"}
        assert (await service.client.get("/v1/runs/r")).json()["result"]["outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"request": {"runId": "r", "command": ["true"], "env": {"KEY": [CANARY]}}}, "request.env.KEY"),
        ({"request": {"runId": "r", "command": ["true"], "timeout": CANARY}}, "request.timeout"),
        ({"request": {"runId": "r", "command": []}}, "command"),
        ({"request": {"runId": "r", "command": ["true"], "env": {"A B": CANARY}}}, "env['A B']"),
        ({"context": {"runId": "r", "agent": {"id": {"x": CANARY}}}}, "context.agent.id"),
        ({"context": [CANARY]}, "context"),
        ({"plane": {"url": "http://x", "token": [CANARY]}}, "plane.token"),
        ({"request": CANARY}, "request"),
        ([CANARY], None),
        (CANARY, None),
    ],
)
async def test_what_is_wrong_is_named_and_not_shown(tmp_path: Path, sent: Any, field: str | None) -> None:
    """Law 10: a request holds secrets, and its refusal may be logged by anybody."""
    async with served(tmp_path) as service:
        answer = await service.client.post("/v1/runs", json=sent)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error.get("field")) == (422, "invalid_request", field)
        assert CANARY not in answer.text
        assert service.book.documents == []


@pytest.mark.parametrize("sent", [b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"request": NaN}', b"", b"nothing at all"])
async def test_what_is_no_document_is_refused_in_the_same_shape(tmp_path: Path, sent: bytes) -> None:
    async with served(tmp_path) as service:
        answer = await service.client.post("/v1/runs", content=sent, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)
        assert set(answer.json()["error"]) >= {"code", "message"}


async def test_a_web_form_cannot_ask_for_a_run(tmp_path: Path) -> None:
    """What a page may send without asking first is not JSON by its type."""
    async with served(tmp_path) as service:
        answer = await service.client.post(
            "/v1/runs", content=b'{"request": {}}', headers={"content-type": "text/plain"}
        )
        assert answer.status_code == 422


_APIS = ("api_unreachable", "api_refused")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("config.image is empty; config.env is too much"), 422, "invalid_request"),
        (Closing("about to stop"), 503, "closing"),
        (NotTaken("not yet"), 503, "not_taken"),
        (Unreachable("no answer"), 503, "api_unreachable"),
        (ApiError(403, {"message": "no"}), 503, "api_refused"),
        (StoreError("disk full"), 503, "unavailable"),
        (AdapterError("whatever"), 503, "unavailable"),
    ],
)
async def test_each_error_has_its_status(tmp_path: Path, error: AdapterError, status: int, code: str) -> None:
    async with served(tmp_path) as service:
        service.book.raises = error
        for answer in (
            await service.client.post("/v1/runs", json=asked()),
            await service.client.get("/v1/runs"),
            await service.client.get("/v1/runs/r/events"),
            await service.client.post("/v1/runs/r/cancel"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert answer.json()["error"]["message"] == str(error)
            assert (status == 503) is ("retry-after" in answer.headers)
        service.book.raises = None
        counted = f'claude_k8s_api_problems_total{{code="{code}"}} 4.0'
        assert (counted in (await service.client.get("/metrics")).text) is (code in ("not_taken", *_APIS))


async def test_a_fault_of_ours_is_a_500_that_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path) as service:
        service.book.raises = ZeroDivisionError(CANARY)  # type: ignore[assignment]
        answer = await service.client.get("/v1/runs")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        said = capsys.readouterr()
        assert "ZeroDivisionError" in said.out
        assert CANARY not in answer.text + said.out + said.err


async def test_paths_and_methods_that_are_none(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        nothing = await service.client.get("/v2/runs")
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "not_found")
        wrong = await service.client.put("/v1/runs", json={})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_health_and_readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path) as service:
        assert (await service.client.get("/healthz")).json()["status"] == "ok"
        assert (await service.client.get("/readyz")).json() == {"status": "ready"}
        service.book.why = "the API server cannot be watched"
        answer = await service.client.get("/readyz")
        assert (answer.status_code, answer.json()["error"]["message"]) == (503, service.book.why)
        assert (await service.client.get("/healthz")).status_code == 200, "the world is no fault of the process"
        monkeypatch.setattr("adapter.sidecar.routes_health.STUCK", -1.0)
        assert (await service.client.get("/healthz")).json()["error"]["code"] == "stuck"


async def test_the_forms_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_MODEL", "CLAUDE_CODE_USE_BEDROCK", "ANTHROPIC_BEDROCK_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    async with served(tmp_path) as service:
        schema = (await service.client.get("/v1/schema")).json()
        assert schema["jsonSchema"]["title"] == "claude_k8s"
        assert {"key", "label", "type"} <= set(schema["uiSchema"]["fields"][0])
        here = (await service.client.get("/v1/models")).json()
        assert (here["models"][0]["id"].startswith("claude-"), here["detected"]) == (True, None)
        monkeypatch.setenv("ANTHROPIC_MODEL", "claude-x")
        assert (await service.client.get("/v1/models")).json()["detected"]["model"] == "claude-x"
        there = (await service.client.post("/v1/models", json={"env": {"CLAUDE_CODE_USE_BEDROCK": "1"}})).json()
        assert (there["models"][0]["id"].split(".")[1], there["detected"]) == ("anthropic", None)


async def test_skills_are_listed_as_the_control_plane_calls_for_them(tmp_path: Path) -> None:
    config = {"paperclipRuntimeSkills": [{"key": "acme/review", "name": "review", "source": "/s/review"}]}
    context = {"agentId": "a", "companyId": "c", "adapterType": "claude_k8s", "config": config}
    async with served(tmp_path) as service:
        listed = (await service.client.post("/v1/skills/list", json=context)).json()
        synced = (await service.client.post("/v1/skills/sync", json={**context, "desiredSkills": ["review"]})).json()
        assert ([one["key"] for one in listed["entries"]], listed["mode"]) == (["acme/review"], "ephemeral")
        assert synced == listed


async def test_lines_of_a_log_become_entries(tmp_path: Path) -> None:
    said = '{"type":"assistant","message":{"content":[{"type":"text","text":"hi"}]}}'
    async with served(tmp_path) as service:
        body = {"stream": "stdout", "lines": [said, "", "plain"], "ts": "T"}
        answer = (await service.client.post("/v1/ui/lines", json=body)).json()
        first, second, third = answer["entries"]
        assert (first[0]["kind"], first[0]["text"], first[0]["ts"], second) == ("assistant", "hi", "T", [])
        assert third == [{"kind": "stdout", "ts": "T", "text": "plain"}]
        errors = (await service.client.post("/v1/ui/lines", json={"stream": "stderr", "lines": ["oops"]})).json()
        assert errors["entries"][0][0]["kind"] == "stderr"
        wrong = await service.client.post("/v1/ui/lines", json={"stream": CANARY, "lines": []})
        assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "stream")
        assert CANARY not in wrong.text


async def test_a_preflight_is_a_report_whatever_is_wrong(tmp_path: Path) -> None:
    """Against a cluster: test_server.py; here nobody is there."""
    async with served(tmp_path) as service:
        for answer in (
            await service.client.get("/v1/preflight"),
            await service.client.post("/v1/preflight", json={"image": "agent:1"}),
            await service.client.post("/v1/preflight", json={"config": {"timeoutSec": CANARY}, "agentId": "a"}),
        ):
            report = answer.json()
            assert (answer.status_code, report["adapterType"], report["status"]) == (200, "claude_k8s", "fail")
            assert any(check["code"] == "k8s_api_unreachable" for check in report["checks"])
            assert CANARY not in answer.text


async def test_each_app_has_its_own_book_and_counts(tmp_path: Path) -> None:
    async with stored(tmp_path) as store:
        books = FakeBook(store), FakeBook(store)
        await books[0].add("r")
        said = []
        for book in books:
            transport = httpx.ASGITransport(create_app(book, token=None))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                said.append((await client.get("/metrics")).text)
        assert [f'claude_k8s_runs{{state="running"}} {count}.0' in text for count, text in enumerate(said[::-1])] == [
            True
        ] * 2
