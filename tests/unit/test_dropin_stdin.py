"""What is read of stdin before there is a Job, and who cannot be served so."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from adapter.cli.dropin_stdin import WARNING, read_stdin
from adapter.cli.dropin_words import Line
from adapter.errors import InvalidRequest

SHELLS = [
    shell for shell in (["sh"], ["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]


class Caller:
    """What is at the other end of our stdin."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        self.closed = False

    def says(self, *lines: object) -> None:
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            os.write(self._write, data)

    def says_last(self, *lines: object) -> None:
        self.says(*lines)
        self.hangs_up()

    def hangs_up(self) -> None:
        closed, self.closed = self.closed, True  # a thread of the test may hang up as the test does
        if not closed:
            os.close(self._write)


@pytest.fixture
def caller() -> Iterator[Caller]:
    here, kept = Caller(), os.dup(0)
    os.dup2(here.read, 0)
    os.close(here.read)
    yield here
    here.hangs_up()
    os.dup2(kept, 0)
    os.close(kept)


TEXT, MESSAGES = Line(["-p"]), Line(["-p", "--input-format", "stream-json"])
INITIALIZE = {"type": "control_request", "request_id": "r1", "request": {"subtype": "initialize", "hooks": None}}
USER = {"type": "user", "message": {"role": "user", "content": "hi"}}


def heard(line: Line, *, one_shot: bool = False) -> bytes:
    return read_stdin(line, one_shot=one_shot)


@pytest.mark.parametrize("line", [TEXT, MESSAGES])
def test_stdin_is_read_to_its_end(caller: Caller, line: Line) -> None:
    caller.says(b"a\n", b"\xff\0", b"no newline")
    caller.hangs_up()
    assert heard(line) == b"a\n\xff\0no newline"


@pytest.mark.parametrize("line", [TEXT, MESSAGES])
def test_an_empty_and_a_closed_stdin_are_empty(caller: Caller, line: Line) -> None:
    caller.hangs_up()
    assert heard(line) == b""
    os.close(0)
    assert heard(line) == b""
    os.open(os.devnull, os.O_RDONLY)


def test_a_caller_who_says_nothing_is_not_waited_for(
    caller: Caller, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.cli.dropin_stdin.WAIT", 0.01)
    assert heard(TEXT) == b""
    assert capfd.readouterr().err == WARNING + "\n"


@pytest.mark.parametrize("line", [Line(["--version"]), Line(["mcp", "list"])])
def test_who_does_not_read_stdin_does_not_wait_for_it(
    caller: Caller, capfd: pytest.CaptureFixture[str], line: Line
) -> None:
    assert heard(line) == b""
    assert capfd.readouterr().err == ""


def test_a_stdin_that_does_not_block_is_waited_for(caller: Caller) -> None:
    os.set_blocking(0, False)
    threading.Timer(0.05, lambda: caller.says_last(b"late")).start()
    assert heard(TEXT) == b"late"


def test_too_much_is_refused(caller: Caller) -> None:
    def pour() -> None:
        try:
            for _ in range(100):
                caller.says(b"x" * 65536)
        except BrokenPipeError:
            pass

    pouring = threading.Thread(target=pour)
    pouring.start()
    with pytest.raises(InvalidRequest, match="stdin has more than the 1015808 bytes"):
        heard(TEXT)
    os.close(0)
    pouring.join()
    os.open(os.devnull, os.O_RDONLY)


def test_an_sdk_that_wants_answers_is_told_at_once(caller: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    caller.says(b"\n", INITIALIZE)  # and it waits, its end open
    with pytest.raises(InvalidRequest, match=r"control protocol of an SDK.*CLAUDE_K8S_SDK_ONE_SHOT=1"):
        heard(MESSAGES)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("first", [USER, b"not json\n", {"type": "control_request"}, b"[" * 100_000 + b"\n", ["a"]])
def test_any_other_stream_is_read_to_its_end(caller: Caller, first: object) -> None:
    writing = threading.Thread(target=lambda: caller.says_last(first, USER))
    writing.start()
    assert heard(MESSAGES).endswith(json.dumps(USER).encode() + b"\n")
    writing.join()


def test_the_handshake_of_a_query_of_one_prompt_is_answered(caller: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    caller.says(INITIALIZE, USER)  # and its end stays open
    said = heard(MESSAGES, one_shot=True)
    assert [json.loads(line) for line in said.splitlines()] == [INITIALIZE, USER]
    [answer] = capfd.readouterr().out.splitlines()
    assert json.loads(answer)["type"] == "control_response"
    assert json.loads(answer)["response"]["request_id"] == "r1"


@pytest.mark.parametrize(
    ("request_", "argv", "said"),
    [
        ({"hooks": {"Stop": []}}, [], "hooks run in the process that calls claude"),
        ({"sdkMcpServers": ["tools"]}, [], "MCP servers of the SDK run"),
        ({}, ["--mcp-config", '{"mcpServers": {"tools": {"type": "sdk"}}}'], "MCP servers of the SDK run"),
        ({}, ["--permission-prompt-tool", "stdio"], "permission callbacks run"),
    ],
)
def test_what_must_be_called_back_is_refused(
    caller: Caller, request_: dict[str, Any], argv: list[str], said: str
) -> None:
    caller.says({**INITIALIZE, "request": {"subtype": "initialize", **request_}})
    with pytest.raises(InvalidRequest, match=said):
        heard(Line([*MESSAGES.argv, *argv]), one_shot=True)


def test_another_request_before_the_prompt_is_refused(caller: Caller) -> None:
    caller.says(INITIALIZE, {"type": "control_request", "request_id": "r2", "request": {"subtype": "set_model"}})
    with pytest.raises(InvalidRequest, match="it asks for 'set_model' too"):
        heard(MESSAGES, one_shot=True)
