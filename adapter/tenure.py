"""How long a replica's Lease is good for, to itself and to the others, and the clock by which each of them counts."""

from __future__ import annotations

import time
from dataclasses import dataclass

_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def clock() -> float:
    """Seconds that never go back. Those that the machine slept are among them, where it can tell: others were awake."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """The times of a membership, in seconds."""

    lease: float = 15.0
    """How long a Lease may stay unchanged before its holder is dead to the others."""
    renew: float = 2.0
    """Between two renewals, and between two looks at the others, at most."""
    give_up: float = 10.0
    """How long after its last renewal a holder still counts on its own Lease: it is first to doubt."""
    tidy: float = 300.0
    """How long a dead Lease is left where it is."""

    def __post_init__(self) -> None:
        if not (0 < 2 * self.renew <= self.give_up < self.lease <= self.tidy and 6 * self.renew <= self.lease):
            raise ValueError("a tenure needs 2 x renew <= give_up < lease <= tidy, and 6 x renew <= lease")

    @property
    def call(self) -> float:
        """Deadline of one call: several fit into the time in which a holder still counts on its Lease."""
        return 1.5 * self.renew

    @property
    def blind(self) -> float:
        """How long there may be no look at the others before they must be watched anew. (A late answer is no gap.)"""
        return self.lease / 2
