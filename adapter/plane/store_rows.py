"""What the store gives and refuses: runs, entries, streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adapter.plane import Position, Stream
from adapter.plane.store_schema import StoreError

RUNNING, PROCESS_LOST = "running", "process_lost"


class UnknownRun(StoreError):
    """Something was written to a run that the store does not have."""


class Misfit(Exception):
    """An append that does not begin where the log ends, which is at `position` (its cursor is text)."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"the log ends at {position.offset}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Row:
    """A run. Times are Unix seconds; `updated` is its last sign of life. `epoch` is new whenever its entries are."""

    run_id: str
    epoch: str
    state: str
    cancel: str | None
    created: float
    updated: float
    finished: float | None
    result: dict[str, Any] | None = field(repr=False)
    document: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a run: some log (`kind` is "log"), or something beside it. `seq` only grows."""

    seq: int
    kind: str
    at: float
    data: dict[str, Any] = field(repr=False)
    stream: Stream | None
    offset: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogRow:
    """One stream of a run's log. Offsets count every byte of it: those that were lost or trimmed, too.

    Nothing below `begin` is kept; `offset` is its end. `crc` is the CRC-32 of all bytes that were appended; `kept`,
    `dropped` (by `trim`) and `lost` (in gaps) are numbers of bytes.
    """

    begin: int
    offset: int
    cursor: str = ""
    crc: int = 0
    kept: int = 0
    dropped: int = 0
    lost: int = 0
