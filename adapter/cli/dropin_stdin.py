"""What a caller of `claude` says on stdin, read to its end before there is a Job.

A Job's stdin is a file. So whoever waits for an answer before saying more waits for ever; the one such caller that can
be told by its first line, an SDK that speaks its control protocol, is told so at once.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterable, Mapping
from typing import Any

import click

from adapter.agent.parcel import LIMIT
from adapter.cli.dropin_words import Line, words
from adapter.cli.output import write
from adapter.errors import InvalidRequest

WAIT = 3.0
"""Seconds that text may take to begin. The CLI then goes on without it, and says so, in these words."""
WARNING = (
    "Warning: no stdin data received in 3s, proceeding without it. If piping from a slow command, redirect stdin"
    " explicitly: < /dev/null to skip, or wait longer."
)

_CONTROL = (
    "the caller speaks the control protocol of an SDK, which wants answers while it still writes, and a Job's stdin is"
    " read to its end first: for a query of one prompt set CLAUDE_K8S_SDK_ONE_SHOT=1 (docs/drop-in.md)"
)
_NEEDS = "{} run in the process that calls claude, and a Job cannot call back: leave them out, or give them to the CLI"

_INITIALIZED: Mapping[str, Any] = {
    "commands": [],
    "agents": [],
    "models": [],
    "account": {},
    "output_style": "default",
    "available_output_styles": ["default"],
}
"""What the CLI answers to `initialize`, as far as it can be said without it."""


def read_stdin(line: Line, *, one_shot: bool) -> bytes:
    """All that the CLI would read of stdin.

    With `one_shot` an SDK's `initialize` is answered here, and its first message is its last. Raises `InvalidRequest`.
    """
    if not line.reads_stdin or os.isatty(0):
        return b""
    source = _Source()
    if line.reads_messages:
        return _messages(source, line, one_shot=one_shot)
    if not source.begins(WAIT):
        click.echo(WARNING, err=True)
        return b""
    return source.rest()


def _messages(source: _Source, line: Line, *, one_shot: bool) -> bytes:
    first = source.line()
    while first and not first.strip():
        first = source.line()
    request = _object(first)
    if request.get("type") != "control_request" or _inner(request).get("subtype") != "initialize":
        return source.rest()
    if not one_shot:
        raise InvalidRequest(_CONTROL)
    _refuse_callbacks(_inner(request), line)
    answer = {"subtype": "success", "request_id": request.get("request_id"), "response": _INITIALIZED}
    write(json.dumps({"type": "control_response", "response": answer}).encode() + b"\n")
    return _up_to_the_prompt(source)


def _up_to_the_prompt(source: _Source) -> bytes:
    """Everything up to the first message of a user: more comes only after its answer."""
    while said := source.line():
        message = _object(said)
        if message.get("type") == "user":
            break
        if message.get("type") == "control_request":
            raise InvalidRequest(f"{_CONTROL}; it asks for {str(_inner(message).get('subtype'))[:40]!a} too")
    return source.heard


def _refuse_callbacks(request: Mapping[str, Any], line: Line) -> None:
    needs = {
        "hooks": request.get("hooks"),
        "MCP servers of the SDK": request.get("sdkMcpServers") or _has_sdk_server(line),
        "permission callbacks": line.value_of("--permission-prompt-tool") == "stdio",
    }
    for name in (name for name, needed in needs.items() if needed):
        raise InvalidRequest(_NEEDS.format(name))


def _has_sdk_server(line: Line) -> bool:
    given = [
        _object(word.text.encode("utf-8", "replace")) for word in words(line.argv) if word.option == "--mcp-config"
    ]
    servers = [one for document in given for one in _values(document.get("mcpServers"))]
    return any(isinstance(one, dict) and one.get("type") == "sdk" for one in servers)


def _values(document: object) -> Iterable[object]:
    return document.values() if isinstance(document, dict) else ()


def _inner(message: Mapping[str, Any]) -> Mapping[str, Any]:
    request = message.get("request")
    return request if isinstance(request, dict) else {}


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Source:
    """Stdin, by its descriptor: a caller may have closed it, or made it non-blocking."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._handed = 0

    @property
    def heard(self) -> bytes:
        """What was handed out, line by line."""
        return bytes(self._held[: self._handed])

    def begins(self, seconds: float) -> bool:
        """Whether there is a first byte, or an end, within so many seconds."""
        try:
            return bool(select.select([0], [], [], seconds)[0])
        except (OSError, ValueError):
            return True  # closed: the end is there

    def line(self) -> bytes:
        """The next line; at the end, what is left."""
        searched = self._handed
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if not self._read():
                end = searched - 1
                break
        line = bytes(self._held[self._handed : end + 1])
        self._handed = end + 1
        return line

    def rest(self) -> bytes:
        """All of it, from the beginning."""
        while self._read():
            pass
        return bytes(self._held)

    def _read(self) -> bool:
        """Whether more has come; False at the end. Raises `InvalidRequest` where it is too much."""
        try:
            select.select([0], [], [])
            more = os.read(0, 65536)
        except (OSError, ValueError):
            return False
        self._held += more
        if len(self._held) > LIMIT:
            raise InvalidRequest(
                f"stdin has more than the {LIMIT} bytes that can travel with a run: put it into a file on the volume"
                " that the pod mounts, and name that"
            )
        return bool(more)
