"""The control plane as the adapter sees it: beats, log, events, result, cancellation. One object a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from adapter.run import RunResult

Stream = Literal["stdout", "stderr"]
"""A run's logs: what its container prints, and, for an agent, what it says on stderr. Each is a log of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A sign of life, and an honest one: `observed_ago` is how many seconds ago the Job was last observed.

    None: it was not observed yet, because there is no Job yet.
    """

    run_id: str
    phase: str
    observed_ago: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Log, as the container wrote it, byte for byte: `data` begins at `offset` bytes of the whole log of its stream.

    Whole lines, but for the last line of the log, which may lack its newline, and for pieces of a line over the cap
    (`continued`: more of the same line follows). `str(cursor)` is opaque text; a plane that stores it with the data,
    in one step, can give it back as its `position`. (It is made text only when asked: a fast log would feel it.)
    `stamp` is the time of the last line, RFC 3339 with nanoseconds.
    """

    offset: int
    data: bytes
    cursor: object
    stamp: str
    continued: bool = False
    stream: Stream = "stdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something an operator may want to know: a container's state, a gap in the log, where the run stands.

    `at` is the event loop's clock, in seconds: good for differences within one process.
    """

    kind: str
    message: str
    at: float
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the log that a plane has ends: bytes, and the cursor (or its text) that came with the last of them."""

    offset: int
    cursor: object


class Plane(Protocol):
    """Whom the adapter tells. Whatever a call raises is survived: no plane can end a run by failing.

    Every call is bounded by a deadline and may be cancelled at it.
    """

    async def beat(self, beat: Beat) -> float | None:
        """The run is alive. Not repeated when it fails: the next beat follows.

        Returns in how many seconds the next one is wanted; None: as the adapter likes.
        """

    async def log(self, chunk: LogChunk) -> None:
        """More log. Returning takes it; raising leaves it to be offered again, at the same offset."""

    async def event(self, event: Event) -> None:
        """News beside the log. Not repeated when it fails."""

    async def result(self, result: RunResult) -> None:
        """The end. Returning accepts it; raising has it offered again. No beat follows an accepted result."""

    async def cancellation(self) -> str:
        """Returns when the run is to be cancelled, with the reason. Waits for ever otherwise."""
        ...

    async def position(self, stream: Stream) -> Position | None:
        """Where the plane's log of this run ends, of one of its streams; None if it has none, or does not know."""
        ...
