"""Who is alive, as far as looks at the Leases can tell. Pure: every time is given, and all are of one clock, our own.

Nobody is dead but by evidence: a Lease that did not change while we were looking, from the answer of the first look
that showed it so to the question of the last; or one that is not there, looked for after somebody wanted to know. A
time in which we did not see counts for nobody: whoever could not renew meanwhile could not help it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from adapter.cluster.leases import Lease


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Lease, and since when it has been seen to be as it is."""

    lease: Lease
    since: float


@dataclass(slots=True)
class Wish:
    """Somebody wants to know of a Lease: when first and last, and how new a look must be to answer all of them."""

    first: float
    last: float
    newest: float


class RollCall:
    """`lease` is how long a Lease may stay unchanged, `blind` how long there may be no look, both in seconds."""

    def __init__(self, lease: float, blind: float) -> None:
        self._lease, self._blind = lease, blind
        self._seen: dict[str, Sighting] = {}
        self._wishes: dict[str, Wish] = {}
        self._told: dict[str, bool] = {}
        self._asked = float("-inf")

    def look(self, asked: float, answered: float, leases: Iterable[Lease]) -> bool:
        """Takes in what a LIST showed, with when it was sent and answered; whether it says anything new of anybody."""
        known = self._seen if asked - self._asked <= self._blind else {}
        self._asked = asked
        self._seen = {lease.name: _sighting(lease, known.get(lease.name), answered) for lease in leases}
        self._wishes = {name: wish for name, wish in self._wishes.items() if asked - wish.last <= self._lease}
        told, self._told = self._told, {name: self._verdict(name) for name in {*self._seen, *self._wishes}}
        return told != self._told

    def dead(self, name: str, now: float, since: float | None = None) -> bool:
        """Whether the holder of the Lease of this name is known to be dead, by a look that was sent after `since`.

        Where none is given, that is the first of the questions that were asked without a pause as long as a Lease.
        """
        wish = self._wishes.setdefault(name, Wish(now, now, float("-inf")))
        since = wish.first if since is None else since
        wish.last, wish.newest = now, max(wish.newest, since)
        dead = now - self._asked <= self._blind and self._asked > since and self._is_dead(name)
        self._told[name] = dead and self._told.get(name, True)  # whoever was told no is to hear of it
        return dead

    def forget(self) -> None:
        """What was seen so far is no evidence: the count begins anew with the next look."""
        self._asked = float("-inf")

    def missing(self, leases: Iterable[Lease]) -> Collection[str]:
        """The names that somebody wants to know of and that are not among these."""
        return self._wishes.keys() - {lease.name for lease in leases}

    def unchanged(self, seconds: float) -> list[Lease]:
        """The Leases that have been seen not to change for at least so long."""
        return [seen.lease for seen in self._seen.values() if self._asked - seen.since >= seconds]

    def _verdict(self, name: str) -> bool:
        wish = self._wishes.get(name)
        return self._is_dead(name) and (wish is None or self._asked > wish.newest)

    def _is_dead(self, name: str) -> bool:
        seen = self._seen.get(name)
        return seen is None or self._asked - seen.since >= self._lease


def _sighting(lease: Lease, before: Sighting | None, answered: float) -> Sighting:
    """Since when it is as it is. The latest view of it is kept: its version is what a deletion must name."""
    same = before is not None and before.lease.mark == lease.mark
    return Sighting(lease, before.since if before and same else answered)
