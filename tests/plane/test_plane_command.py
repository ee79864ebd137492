"""`claude-k8s plane` as a process: what it is told, how it ends, what a kill leaves."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import accumulate
from pathlib import Path

import httpx
import pytest

from adapter.cli import FAILED, _status
from tests.plane.planes import Command, Speaker, command

Refused = Callable[..., str]

DOCS = Path(__file__).parents[2] / "docs" / "plane-protocol.md"


@asynccontextmanager
async def speaking(plane: Command, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=plane.url, headers=headers, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Refused:
    """What is said of options with which it does not start."""
    monkeypatch.delenv("CLAUDE_K8S_TOKEN", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("adapter.cli.plane.log_to_stderr", lambda *, verbose: None)  # it would last

    def of(*options: str) -> str:
        assert _status(["plane", *options]) == FAILED
        out, said = capsys.readouterr()
        assert out == ""
        assert said.startswith("claude-k8s: ")
        assert said.count("\n") == 1, said
        return said

    return of


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_its_url_and_ends_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    async with command("--port", "0", "--db", str(tmp_path / "plane.db")) as plane:
        async with speaking(plane) as client:
            assert (await Speaker(client, "run").register()).json()["interval"] == 30
            assert await plane.end(number) == 0
        assert plane.said == ""
    assert not (tmp_path / "plane.db-wal").exists()  # it was closed, not left


async def test_it_ends_also_in_the_middle_of_a_request(tmp_path: Path) -> None:
    async with command("--port", "0", "--db", str(tmp_path / "plane.db")) as plane, speaking(plane) as client:
        async with raw(plane, b"POST /v1/runs/a/log HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"):
            await client.get("/v1/runs")  # what came before it was read, too
            assert await plane.end(signal.SIGTERM) == 0
        assert plane.said == ""


async def test_it_ends_also_while_nobody_reads_a_log(tmp_path: Path) -> None:
    """What was still to be sent is cut off: left open, it kept uvloop from closing, for ever."""
    async with command("--port", "0", "--db", str(tmp_path / "plane.db")) as plane, speaking(plane) as client:
        run = Speaker(client, "run")
        await run.register()
        for number in range(16):
            await run.append(number << 20, b"x" * (1 << 20))
        async with raw(plane, b"GET /v1/runs/run/log/stdout HTTP/1.1\r\nHost: localhost\r\n\r\n") as reader:
            await reader.readline()
            assert await plane.end(signal.SIGTERM) == 0
        assert plane.said == ""


@asynccontextmanager
async def raw(plane: Command, request: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A connection with a request on it, of whose answer no more is read than a few lines."""
    url = httpx.URL(plane.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
    writer.write(request)
    await writer.drain()
    yield reader
    writer.transport.abort()


async def test_without_a_place_its_runs_are_in_the_state_directory(tmp_path: Path) -> None:
    async with command("--port", "0", XDG_STATE_HOME=str(tmp_path)):
        assert (tmp_path / "claude-k8s" / "plane.db").exists()


async def test_the_token_is_needed_for_everything(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    options = ("--port", "0", "--db", str(tmp_path / "plane.db"), "--token-file", str(token))
    async with command(*options, "--host", "0.0.0.0") as plane:
        plane.url = plane.url.replace("0.0.0.0", "127.0.0.1")
        async with speaking(plane, "wrong") as stranger, speaking(plane) as nobody, speaking(plane, "s3cret") as friend:
            for client in (stranger, nobody):
                answer = await Speaker(client, "run").register()
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
            assert (await Speaker(friend, "run").register()).status_code == 201
        await plane.end(signal.SIGTERM)
        assert "s3cret" not in plane.said


async def test_a_web_page_cannot_use_it(tmp_path: Path) -> None:
    async with command("--port", "0", "--db", str(tmp_path / "plane.db")) as plane, speaking(plane) as client:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            assert (await client.post("/v1/runs/run/cancel", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "--token-file"),
        (("--host", "::"), "--token-file"),
        (("--port", "99999"), "--port"),
        (("--reaper", "0"), "--reaper"),
        (("--reaper", "nan"), "--reaper"),
        (("--interval", "nan"), "--interval"),
        (("--reaper", "10", "--interval", "10"), "every run would be lost"),
        (("--token-file", "/nowhere/token"), "/nowhere/token: No such file"),
        (("--db", "/nowhere/plane.db", "--port", "0"), "/nowhere/plane.db: No such file"),
        (("--db", __file__, "--port", "0"), f"{__file__}: file is not a database"),
        (("more",), "more"),
    ],
)
def test_what_it_cannot_do_is_one_line_that_names_the_cause(
    refused: Refused, options: tuple[str, ...], words: str
) -> None:
    assert words in refused(*options)


def test_an_empty_token_file_is_no_token(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")

    assert "is empty" in refused("--token-file", str(tmp_path / "token"), "--host", "0.0.0.0")


def test_a_port_that_is_taken_is_said(refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in refused("--port", str(taken.getsockname()[1]))


LINES = [b"%06d\n" % number * (1 + number % 50) for number in range(20_000)]


async def test_kill_9_in_the_middle_of_appends_loses_nothing(tmp_path: Path) -> None:
    """The log is the adapter's, byte for byte, whatever answer was lost."""
    options = ("--port", "0", "--db", str(tmp_path / "plane.db"))
    ends, taken = [0, *accumulate(map(len, LINES))], 0
    for delay in (0.05, 0.2, 0.4):
        async with command(*options) as plane, speaking(plane) as client:
            run = Speaker(client, "run")
            await run.register()
            begin = (await run.status())["log"]["stdout"]["offset"]
            assert begin >= taken
            asyncio.get_running_loop().call_later(delay, plane.process.kill)
            with suppress(httpx.TransportError):
                for line, end in list(zip(LINES, ends[1:], strict=True))[ends.index(begin) :]:
                    answer = await run.append(end - len(line), line)
                    assert answer.json()["log"]["stdout"]["offset"] == end
                    taken = end
            assert await plane.process.wait() == -signal.SIGKILL
    async with command(*options) as plane, speaking(plane) as client:
        log = await Speaker(client, "run").log()
    assert len(log) >= taken
    assert b"".join(LINES).startswith(log)


@pytest.mark.skipif(not shutil.which("curl"), reason="the examples are made with curl")
async def test_the_examples_of_the_docs_work_as_written(tmp_path: Path) -> None:
    examples = [block.partition("\n```")[0] for block in DOCS.read_text().split("```sh\n")[1:]]
    script = "\n".join(example for example in examples if "claude-k8s plane" not in example)
    async with command("--port", "0", "--db", str(tmp_path / "plane.db"), CLAUDE_K8S_TOKEN="secret") as plane:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        script = script.replace("http://127.0.0.1:8090", plane.url)
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-euc", script], env=environment, cwd=tmp_path, capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    *answers, status, log, end = done.stdout.decode().splitlines()
    assert [json.loads(answer)["error"]["code"] for answer in answers if '"error"' in answer] == ["misfit"]
    assert (json.loads(status)["state"], json.loads(status)["logMismatch"]) == ("cancelled", False)
    assert (log, end) == ("hello", "")
