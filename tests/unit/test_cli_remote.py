"""The client of a service: over real HTTP, against one whose answers are written down here."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from adapter.backoff import Backoff
from adapter.cli import remote as module
from adapter.cli.finding import NotFound, find_at
from adapter.cli.lines import Reader
from adapter.cli.remote import Remote, RemoteError, token_of
from tests.unit.services import CUT, STAY, Object, Service, log, result, serving, view

TOKEN = "canary-token-77"


class Shown:
    """An output that remembers."""

    def __init__(self) -> None:
        self.data, self.anew = b"", 0
        self.events: list[tuple[str, str]] = []

    async def log(self, chunk: Any) -> None:
        assert chunk.offset == len(self.data) - self.anew
        self.data += chunk.data

    async def event(self, event: Any) -> None:
        self.events.append((event.kind, event.message))
        self.anew = len(self.data) if event.message == "counted anew" else self.anew

    async def result(self, result: Any) -> None: ...
    def say(self, text: str) -> None: ...


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Backoff", lambda first, most: Backoff(0.001, 0.002))
    monkeypatch.setattr(module, "PATIENCE", 5.0)
    monkeypatch.delenv("CLAUDE_K8S_TOKEN", raising=False)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving(views=[view("r")]) as service:
        yield service
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left"


async def told(service: Service, run_id: str = "r") -> tuple[Reader, Shown, list[Object]]:
    """Everything to the result."""
    shown, lines = Shown(), []
    reader = Reader(shown)
    async with Remote(service.url) as remote, aclosing(remote.events(run_id)) as stream:
        async for line in stream:
            lines.append(line)
            await reader.take(line)
    return reader, shown, lines


# -- events ----------------------------------------------------------------------------------------------------------


async def test_lines_to_the_result(service: Service) -> None:
    event = {"cursor": "e.1.0.0", "type": "event", "kind": "pod", "message": "scheduled", "data": {}, "at": 1.0}
    beat, ping, meta = {"type": "beat", "phase": "watch"}, {"type": "ping"}, {"type": "meta", "data": {}}
    service.streams = [[event, log("one\n", 0), beat, ping, meta, log("two\n", 4), {"type": "later"}, result()]]
    reader, shown, _ = await told(service)
    assert shown.data == b"one\ntwo\n"
    assert shown.events == [("pod", "scheduled")]
    assert reader.result
    assert reader.result.ok
    assert not reader.missed


async def test_a_stream_that_breaks_is_gone_on_with_behind_the_last_line(service: Service) -> None:
    service.streams = [[log("one\n", 0, "e.1.4.0"), CUT], [log("two\n", 4, "e.2.8.0")], [result()]]
    _, shown, _ = await told(service)
    assert shown.data == b"one\ntwo\n"
    assert service.afters() == ["", "e.1.4.0", "e.2.8.0"]


async def test_a_service_that_lets_go_is_looked_for_again(service: Service) -> None:
    service.streams = [[{"type": "bye", "message": "the service stops", "cursor": "e.1.0.0"}], [result()]]
    reader, shown, _ = await told(service)
    assert shown.events == [("service", "the service stops; looking for it again")]
    assert reader.result


async def test_log_that_was_shown_is_not_shown_again(service: Service) -> None:
    service.streams = [[log("one\n", 0), log("one\ntwo\n", 0), log("one\n", 0), log("two\n", 4), result()]]
    _, shown, _ = await told(service)
    assert shown.data == b"one\ntwo\n"


async def test_what_is_missing_is_said(service: Service) -> None:
    missed = {"type": "missed", "message": "12 bytes are missing here", "bytes": 12, "cursor": "e.1.12.0"}
    service.streams = [[missed, result()]]
    reader, shown, _ = await told(service)
    assert reader.missed
    assert shown.events == [("log_gap", "12 bytes are missing here")]


async def test_log_that_is_counted_anew_is_shown(service: Service) -> None:
    missed = {"type": "missed", "message": "counted anew", "bytes": 0, "stream": "stdout", "offset": 0}
    service.streams = [[log("one\ntwo\n", 0), missed, log("two\n", 0), log("three\n", 4), result()]]
    reader, shown, _ = await told(service)
    assert shown.data == b"one\ntwo\ntwo\nthree\n"
    assert reader.missed


async def test_bytes_and_what_python_takes_for_the_end_of_a_line(service: Service) -> None:
    text = "a\u2028b\x85c\x0bd\n"
    raw = {"type": "log", "stream": "stdout", "offset": len(text.encode()), "base64": "/wAK", "continued": False}
    service.streams = [[log(text, 0), raw, result()]]
    _, shown, _ = await told(service)
    assert shown.data == text.encode() + b"\xff\x00\n"


async def test_a_run_that_the_service_does_not_know(service: Service) -> None:
    with pytest.raises(RemoteError, match=r"no run 'other' \(HTTP 404\)"):
        await told(service, "other")


async def test_an_id_may_hold_anything(service: Service) -> None:
    async with Remote(service.url) as remote:
        assert await remote.run("a/b?c#d %2F \u00e9") is None
    assert service.asked[-1][1] == "/v1/runs/a%2Fb%3Fc%23d%20%252F%20%C3%A9"


@pytest.mark.parametrize(
    "line", [{"no": "type"}, {"type": "log", "offset": "x"}, {"type": "result", "result": {}}, {"type": "event"}]
)
async def test_what_cannot_be_read_is_an_error(service: Service, line: Object) -> None:
    service.streams = [[line]]
    with pytest.raises(RemoteError, match=r"claude-k8s serve|cannot be read"):
        await told(service)


async def test_a_stream_that_tells_nothing_at_all_is_an_error_at_once(service: Service) -> None:
    service.streams = [[]]
    with pytest.raises(RemoteError, match="tells nothing"):
        await told(service)


async def test_who_stops_reading_leaves_nothing_open(service: Service) -> None:
    service.streams = [[log("one\n", 0), STAY]]
    async with Remote(service.url) as remote, aclosing(remote.events("r")) as stream:
        assert (await anext(stream))["type"] == "log"


# -- calls -----------------------------------------------------------------------------------------------------------


async def test_a_cancel_that_was_not_taken_is_asked_for_again(service: Service) -> None:
    service.cancels = [503, 503, 202]
    async with Remote(service.url) as remote:
        assert await remote.cancel("r", "enough")
        assert not await remote.cancel("other", "enough")
    assert [body for method, _, body in service.asked if method == "POST"] == [{"reason": "enough"}] * 4


async def test_a_cancel_that_is_never_taken(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL", 2.0)
    service.cancels = [503] * 10000
    async with Remote(service.url) as remote:
        with pytest.raises(RemoteError, match="the API server has not taken it yet"):
            await remote.cancel("r", "")


async def test_the_token_is_sent_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(token=TOKEN, views=[view("r")]) as service:
        async with Remote(service.url) as remote:
            with pytest.raises(RemoteError, match="--service-token-file, or in CLAUDE_K8S_TOKEN"):
                await remote.runs()
        (tmp_path / "token").write_text(TOKEN + "\n")
        async with Remote(service.url, token_of(str(tmp_path / "token"))) as remote:
            views, at = await remote.runs()
            assert (len(views), at.tzinfo is not None) == (1, True)
            assert TOKEN not in repr(remote) + repr(vars(remote))
    monkeypatch.setenv("CLAUDE_K8S_TOKEN", TOKEN)
    assert token_of(None) == TOKEN


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", "\u00fc".encode(), b"\xff"])
def test_a_file_without_a_token(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(RemoteError, match=r"no token|not text") as caught:
        token_of(str(tmp_path / "token"))
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize("url", ["nowhere", "ftp://x", "http://", "unix:/x", "https://user:hunter2@"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(RemoteError, match="not an address") as caught:
        Remote(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((500, "oops"), "HTTP 500"),
        ((503, {"error": {"code": "closing", "message": "about to stop"}}), r"about to stop \(HTTP 503\)"),
        ((200, "<html>"), "does not speak as claude-k8s serve does"),
        ((200, "[]"), "does not speak as claude-k8s serve does"),
        ((302, ""), "HTTP 302"),
    ],
)
async def test_an_answer_that_is_none(service: Service, refusal: tuple[int, Object | str], words: str) -> None:
    service.refusal = refusal
    async with Remote(service.url) as remote:
        with pytest.raises(RemoteError, match=words):
            await remote.runs()


async def test_a_proxy_of_the_environment_is_not_asked_for_what_is_here(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Remote(service.url) as remote:
        assert (await remote.run("r")) == view("r")


async def test_which_run_is_meant(service: Service) -> None:
    service.views = [view("run-1"), view("run-2"), view("run"), view("other")]
    async with Remote(service.url) as remote:
        assert (await find_at(remote, "run"))["runId"] == "run"
        assert (await find_at(remote, "oth"))["runId"] == "other"
        assert (await find_at(remote, "ck-run-2"))["runId"] == "run-2"
        with pytest.raises(NotFound, match="'run-' fits 2 runs: run-1, run-2"):
            await find_at(remote, "run-")
        for text in ("nobody", ""):
            with pytest.raises(NotFound, match=f"no run '{text}'"):
                await find_at(remote, text)


# -- the commands ----------------------------------------------------------------------------------------------------


async def command(service: Service, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapter.cli", *arguments, "--service", service.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error", **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_ps_at_a_service(service: Service) -> None:
    waits = view("w", state="queued", waits="the agent is busy", agentKey="ann", createdAt="2026-11-22T21:15:40Z")
    service.views += [waits, view("done", state="finished", outcome="failed")]
    status, out, err = await command(service, "ps")
    assert (status, err) == (0, "")
    first, second, third = out.splitlines()
    assert first.split() == ["RUN", "STATE", "OUTCOME", "AGENT", "AGE", "POD", "SUPERVISOR", "NOTE"]
    assert second.split()[:2] == ["r", "running"]
    assert third.split()[:4] == ["w", "queued", "-", "ann"]
    assert third.endswith("waits: the agent is busy")


async def test_attach_at_a_service(service: Service) -> None:
    gone = result(outcome="failed", code="exit_code", message="claude: terminated (exit 4, Error)", exit_code=4)
    service.streams = [[log("one\n", 0), CUT], [log("two\n", 4), gone]]
    status, out, err = await command(service, "attach", "r")
    assert (status, out) == (4, "one\ntwo\n")
    assert err == "claude-k8s: failed [exit_code]: claude: terminated (exit 4, Error)\n"


async def test_logs_at_a_service(service: Service) -> None:
    service.streams = [[log("one\n", 0), STAY]]
    assert await command(service, "logs", "r") == (0, "one\n", "")
    service.streams = [[{"type": "missed", "message": "4 bytes are missing", "bytes": 4}, log("two\n", 4), result()]]
    assert await command(service, "logs", "-f", "r") == (1, "two\n", "claude-k8s: 4 bytes are missing\n")


async def test_cancel_at_a_service(service: Service) -> None:
    cancelled = result(outcome="cancelled", code="cancelled", message="cancelled: enough")
    service.streams = [[cancelled]]
    status, out, err = await command(service, "cancel", "r", "--reason", "enough", "--wait")
    assert (status, out) == (0, "")
    assert err == "claude-k8s: run r is cancelled\nclaude-k8s: cancelled [cancelled]: cancelled: enough\n"
    service.views = [view("r", state="finished", result=cancelled["result"])]
    assert "has ended already (cancelled: cancelled: enough)" in (await command(service, "cancel", "r"))[2]


async def test_describe_at_a_service(service: Service) -> None:
    service.views = [view("r", supervisor="replica-7", cancel="enough", task="task-1")]
    status, out, err = await command(service, "describe", "r")
    assert (status, err) == (0, "")
    for words in ("state       running, supervised by replica replica-7", "cancel      asked for: enough", "task-1"):
        assert words in out
    assert f"claude-k8s attach r --service {service.url}" in out
