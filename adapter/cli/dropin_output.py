"""What a caller of `claude` gets to see of a run: what the CLI says, and its exit code."""

from __future__ import annotations

import signal
import sys

import click

from adapter.cli.output import HIDDEN, clean, write_soon
from adapter.errors import Code
from adapter.plane import Event, LogChunk
from adapter.run import Outcome, RunResult

FAILED = 125
"""The exit code for whatever the adapter itself could not do."""
TIMED_OUT = 124

_ITS_OWN = frozenset({Code.OK, Code.EXIT_CODE, Code.SIGNALLED})
"""Ends of the CLI's own: it has said itself what there is to say."""


class AsTheCli:
    """stdout and stderr as they are.

    It `talks` to a person at the keyboard: programs that read our stderr hear nothing that the CLI would not say.
    """

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self.talks = verbose or sys.stderr.isatty()

    async def log(self, chunk: LogChunk) -> None:
        await write_soon(chunk.data, chunk.stream)

    async def event(self, event: Event) -> None:
        if self._verbose and event.kind not in HIDDEN:
            self.say(event.message)

    async def result(self, result: RunResult) -> None:
        if self._verbose:
            self.say(result.outcome.replace("_", " "))

    def say(self, text: str) -> None:
        if self.talks:
            tell(text)


def tell(text: str) -> None:
    """A line of ours on stderr."""
    click.echo(f"claude-k8s: {clean(text)}", err=True)


def trouble(result: RunResult, heard: int | None) -> str:
    """What the caller must be told, in one line; mostly nothing. `heard` is the signal that has reached us."""
    if heard is not None and result.outcome in (Outcome.CANCELLED, Outcome.DETACHED):
        return ""
    notes = [*result.log.notes, *(result.stderr.notes if result.stderr else ()), *result.warnings]
    if result.code in _ITS_OWN:
        return "; ".join(notes)
    hint = f" ({result.hint})" if result.hint else ""
    name = result.outcome.replace("_", " ")
    return "; ".join([f"{name} [{result.code}]: {result.message}{hint}", *notes])


def status(result: RunResult | None, heard: int | None) -> int:
    """The exit code: the CLI's own; as a process has it that a signal ended, where one has ended this."""
    if result is None or result.outcome in (Outcome.CANCELLED, Outcome.DETACHED):
        if heard is not None:
            return 128 + heard
        return FAILED if result is None or result.outcome is Outcome.DETACHED else 128 + signal.SIGTERM
    if result.outcome is Outcome.TIMED_OUT:
        return TIMED_OUT
    if result.outcome is Outcome.SUCCEEDED:
        return 0
    return FAILED if result.code is Code.START_ERROR else result.exit_code or FAILED
