"""What a command shows of a run: the log itself, or JSON lines."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

import click
from anyio import to_thread

from adapter.plane import Event, LogChunk
from adapter.run import Outcome, RunResult

HIDDEN = frozenset({"task"})
"""Events that are not for people: when the adapter's own tasks began and ended."""


class Output(Protocol):
    """Where a run is shown."""

    async def log(self, chunk: LogChunk) -> None: ...
    async def event(self, event: Event) -> None: ...
    async def result(self, result: RunResult) -> None: ...
    def say(self, text: str) -> None: ...


def clean(text: str) -> str:
    """Text from the cluster without control characters: it must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


_one_at_a_time = threading.Lock()


def write(data: bytes) -> None:
    """Writes to stdout, whatever it is; a reader that went away (`| head`) is no fault of the run."""
    view = memoryview(data)
    try:
        with _one_at_a_time:
            while view:
                view = view[os.write(sys.stdout.fileno(), view) :]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def write_soon(data: bytes) -> None:
    """`write` off the loop: a reader that is slow must not hold up the watch."""
    await to_thread.run_sync(write, data, abandon_on_cancel=True)


class _Text:
    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    async def log(self, chunk: LogChunk) -> None:
        await write_soon(chunk.data)

    async def event(self, event: Event) -> None:
        if event.kind not in HIDDEN:
            self.say(event.message)

    async def result(self, result: RunResult) -> None:
        for warning in (*result.warnings, *result.log.notes):
            click.echo(f"claude-k8s: warning: {clean(warning)}", err=True)
        if result.outcome is Outcome.SUCCEEDED:
            self.say("succeeded")
        else:
            hint = f" ({result.hint})" if result.hint else ""
            name = result.outcome.replace("_", " ")
            click.echo(f"claude-k8s: {name} [{result.code}]: {clean(result.message)}{hint}", err=True)

    def say(self, text: str) -> None:
        if not self._quiet:
            click.echo(f"claude-k8s: {clean(text)}", err=True)


class _Json:
    """`log` objects hold text; bytes that are not UTF-8 are shown as U+FFFD, and `offset` counts bytes."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    async def log(self, chunk: LogChunk) -> None:
        text = chunk.data.decode("utf-8", "replace")
        fields = {"offset": chunk.offset, "stamp": chunk.stamp, "continued": chunk.continued, "text": text}
        await self._put("log", fields)

    async def event(self, event: Event) -> None:
        await self._put("event", {"kind": event.kind, "message": event.message, "at": event.at, **event.data})

    async def result(self, result: RunResult) -> None:
        await self._put("result", result.to_json())

    async def _put(self, kind: str, fields: dict[str, Any]) -> None:
        await write_soon(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def say(self, text: str) -> None:
        if not self._quiet:
            click.echo(f"claude-k8s: {clean(text)}", err=True)


as_text: Callable[..., Output] = _Text
as_json: Callable[..., Output] = _Json
