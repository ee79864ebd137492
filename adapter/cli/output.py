"""What a command shows of a run: the log itself, or JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import click

from adapter.plane import Event, LogChunk, Stream
from adapter.run import Outcome, RunResult

if TYPE_CHECKING:
    from adapter.cli.render import Renderer

HIDDEN = frozenset({"task", "meta"})
"""Events that are not for people: when the adapter's own tasks began and ended, and what a control plane stores."""


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


def write(data: bytes, stream: Stream = "stdout") -> None:
    """Writes, whatever it is; a reader that went away (`| head`) is no fault of the run."""
    target = (sys.stdout if stream == "stdout" else sys.stderr).fileno()
    view = memoryview(data)
    try:
        with _one_at_a_time:
            while view:
                view = view[os.write(target, view) :]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), target)


async def write_soon(data: bytes, stream: Stream = "stdout") -> None:
    """`write` off the loop: a slow reader must not hold up the watch, nor, where it reads no more, our own end."""
    loop = asyncio.get_running_loop()
    written: asyncio.Future[None] = loop.create_future()
    # A daemon: nobody waits for it. A thread of a pool would be waited for when the process ends.
    threading.Thread(target=_write, args=(data, stream, loop, written), daemon=True).start()
    await written


def _write(data: bytes, stream: Stream, loop: asyncio.AbstractEventLoop, written: asyncio.Future[None]) -> None:
    error: Exception | None = None
    try:
        write(data, stream)
    except Exception as raised:  # noqa: BLE001 - whoever awaits it is told
        error = raised
    with suppress(RuntimeError):  # the loop is closed: nobody does
        loop.call_soon_threadsafe(_settle, written, error)


def _settle(written: asyncio.Future[None], error: Exception | None) -> None:
    if written.done():
        return
    if error:
        written.set_exception(error)
    else:
        written.set_result(None)


class _Text:
    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    async def log(self, chunk: LogChunk) -> None:
        await write_soon(chunk.data, chunk.stream)

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
        fields = {"stream": chunk.stream, "offset": chunk.offset, "stamp": chunk.stamp, "continued": chunk.continued}
        fields |= {"text": text}
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


class _People(_Text):
    """An agent's transcript as people read it. Unless it is `sure` to be one, only a log that begins so is one."""

    def __init__(self, *, quiet: bool, sure: bool) -> None:
        super().__init__(quiet=quiet)
        self._sure = sure
        self._renderer: Renderer | None = None

    async def log(self, chunk: LogChunk) -> None:
        if chunk.stream == "stdout" and chunk.offset == 0 and (self._sure or is_transcript(chunk.data)):
            self._renderer = _renderer()
        if chunk.stream == "stderr" or self._renderer is None:
            await super().log(chunk)
        else:
            await write_soon(self._renderer.feed(chunk.data).encode("utf-8", "replace"))

    async def result(self, result: RunResult) -> None:
        if self._renderer:
            await write_soon(self._renderer.close().encode("utf-8", "replace"))
        await super().result(result)


def is_transcript(data: bytes) -> bool:
    """Whether a log begins as an agent's transcript does."""
    begin = data.lstrip()[:200].replace(b" ", b"")
    return begin.startswith(b'{"type":"system"') and b'"subtype":"init"' in begin


def _renderer() -> Renderer:
    from adapter.cli.render import Renderer

    return Renderer(color=sys.stdout.isatty(), width=shutil.get_terminal_size().columns)


def output_of(*, json_lines: bool, raw: bool, quiet: bool, agent: bool = False) -> Output:
    """How a command shows a run; `agent`: what it prints is known to be a transcript."""
    if json_lines:
        return _Json(quiet=quiet)
    return _Text(quiet=quiet) if raw else _People(quiet=quiet, sure=agent)
