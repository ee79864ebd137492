"""The table: a line for each fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What became of the runs under one fault. `seconds` lie between the end of the Job and the accepted result."""

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

    def __str__(self) -> str:
        seconds = "-" if self.seconds is None else f"{self.seconds:.2f}"
        counts = (self.runs, self.lines, *("-" if n is None else n for n in (self.lost, self.twice)))
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
