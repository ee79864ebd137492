"""What is printed: one number and its aim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. Without a `value` it could not be measured, and `note` says why; without an `aim` it is context."""

    what: str
    value: float | None = None
    unit: str = ""
    aim: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`ok` or `over`, where there is an aim."""
        if self.value is None or self.aim is None:
            return ""
        return "ok" if self.value <= self.aim else "over"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all are not above (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest, for a note."""
    return f"{min(values):.2f} to {max(values):.2f}"
