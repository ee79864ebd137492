"""A plane that listens in: the agent's transcript is read as its log is delivered, each byte exactly once.

What was heard so far is part of the cursor. So the plane stores it with the bytes, in one step, and whoever goes on
with the log goes on with the transcript: session, usage and cost survive a change of supervisors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapter.agent.transcript import Transcript
from adapter.plane import Beat, Event, LogChunk, Plane, Position, Stream
from adapter.run import RunResult

STDERR_TAIL = 4096
"""Bytes of the agent's stderr that are kept for its last words."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A cursor, and what was heard up to it. `before` are the bytes that earlier attempts have written."""

    at: object
    attempt: int
    before: int
    heard: Mapping[str, Any] | str

    def __str__(self) -> str:
        return json.dumps([str(self.at), self.attempt, self.before, self.heard])

    @classmethod
    def parse(cls, text: str) -> Heard:
        """Reads what `str` wrote. Raises ValueError for anything else."""
        try:
            at, attempt, before, heard = json.loads(text)
            return cls(str(at), int(attempt), int(before), heard if isinstance(heard, dict) else str(heard))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError("not a cursor of an agent's log") from error


class Listener:
    """One attempt of an agent's run, as its supervisor tells it to the plane.

    `ends` is where the plane's streams end, as far as it knows: a new Job's log begins there. The result of an attempt
    that another one follows is not the run's: it is not passed on.
    """

    def __init__(self, plane: Plane, attempt: int, ends: Mapping[Stream, int]) -> None:
        self._plane, self._attempt = plane, attempt
        self._before = dict(ends)
        self._fed: dict[Stream, int] = {}
        self._taken: dict[Stream, int] = {}
        self.again = False
        self.transcript = Transcript()
        self.stderr = b""

    @property
    def ends(self) -> dict[Stream, int]:
        """Where the plane's streams end now."""
        streams: set[Stream] = {*self._before, *self._taken}
        return {stream: self._before.get(stream, 0) + self._taken.get(stream, 0) for stream in streams}

    async def log(self, chunk: LogChunk) -> None:
        self._hear(chunk)
        before = self._before.get(chunk.stream, 0)
        cursor = Heard(chunk.cursor, self._attempt, before, self._heard(chunk.stream))
        await self._plane.log(replace(chunk, offset=before + chunk.offset, cursor=cursor))
        self._taken[chunk.stream] = chunk.offset + len(chunk.data)

    def _hear(self, chunk: LogChunk) -> None:
        """Once, however often the chunk is offered."""
        end = chunk.offset + len(chunk.data)
        if end <= self._fed.get(chunk.stream, 0):
            return
        self._fed[chunk.stream] = end
        if chunk.stream == "stdout":
            self.transcript.feed(chunk.data)
        else:
            self.stderr = (self.stderr + chunk.data)[-STDERR_TAIL:]

    def _heard(self, stream: Stream) -> Mapping[str, Any] | str:
        return self.transcript.to_json() if stream == "stdout" else self.stderr.decode("latin-1")

    async def position(self, stream: Stream) -> Position | None:
        """Where this attempt's log ends in the plane. Without one that is ours, it is given afresh."""
        position = await self._plane.position(stream)
        try:
            heard = Heard.parse(str(position.cursor)) if position else None
        except ValueError:
            return None
        if position is None or heard is None or heard.attempt != self._attempt:
            return None
        self._before[stream] = heard.before
        self._fed[stream] = self._taken[stream] = position.offset - heard.before
        self._recall(heard.heard)
        return Position(position.offset - heard.before, heard.at)

    def _recall(self, heard: Mapping[str, Any] | str) -> None:
        if isinstance(heard, str):
            self.stderr = heard.encode("latin-1", "replace")
        else:
            self.transcript = Transcript.from_json(heard)

    async def result(self, result: RunResult) -> None:
        self.again = result.again
        if not self.again:
            await self._plane.result(result)

    async def beat(self, beat: Beat) -> float | None:
        return await self._plane.beat(beat)

    async def event(self, event: Event) -> None:
        await self._plane.event(event)

    async def cancellation(self) -> str:
        return await self._plane.cancellation()
