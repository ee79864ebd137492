"""The table: a line for each fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What became of the runs under one fault. `seconds` lie between the end of the Job and the accepted result;
    `heard`: every pod could tell how many lines it has said, so that no more are lost than are counted."""

    fault: str
    runs: int = 1
    lines: int = 0
    lost: int | None = None
    twice: int | None = None
    outcome: str = "none"
    right: bool = False
    gap_said: bool = False
    streams: int | None = None
    seconds: float | None = None
    note: str = ""
    heard: bool = True

    def __str__(self) -> str:
        seconds = "-" if self.seconds is None else f"{self.seconds:.2f}"
        lost = "-" if self.lost is None else f"{self.lost}{'' if self.heard else ' or more'}"
        counts = (self.runs, self.lines, lost, "-" if self.twice is None else self.twice)
        words = (self.outcome, _word(self.right), _word(self.gap_said))
        streams = "-" if self.streams is None else self.streams
        return "| " + " | ".join(map(str, (self.fault, *counts, *words, streams, seconds, self.note))) + " |"


HEAD = """\
| fault | runs | lines | lost | twice | outcome | right | gap said | streams left | s | |
|---|---|---|---|---|---|---|---|---|---|---|"""


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return "\n".join([HEAD, *map(str, rows)])


def _word(holds: bool) -> str:
    return "yes" if holds else "no"
