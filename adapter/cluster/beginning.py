"""Whether what a log began with may have been rotated away before it was first read.

The API serves the newest file alone, and nothing in it tells that there was an older one: of 500,000 lines said at once
the first 108,932 were gone, in one of a dozen tries. But a kubelet rotates only what has grown large: such a log is
fast, and what is left of it shows how fast.
"""

from __future__ import annotations

from math import inf, nan

from adapter.cluster.cursor import LONGEST, Cursor, seconds, split
from adapter.cluster.pods import AGENT, STDERR, Pod

FAST = 5 * 1024 * 1024
"""Bytes within as much time as nobody read: half of what a kubelet rotates at (`containerLogMaxSize`, 10 MiB)."""

UNSURE = 2.0
"""Seconds: the start of a container is told in whole ones, and between a log's opening and our knowing is a moment."""

WORDS = "the beginning may be missing: the log is so fast that it can have been rotated before it was first read"


class Beginning:
    """The beginning of one log, which is read from there on. `took` is asked of each block.

    `started` is when the container has, as its pod says: by the node's clock, as the log's stamps are. `not_before` is
    the first moment, by our own clock, at which it can have: -inf where that is not known.
    """

    def __init__(self, started: str | None, not_before: float = -inf) -> None:
        self._started, self._not_before, self._age = started, not_before, inf
        self._size, self._until, self._known = 0, nan, started is None

    @classmethod
    def of(cls, pod: Pod, name: str, not_before: float = -inf) -> Beginning:
        """A container's. An agent's transcript tells its beginning itself, and is never doubted here."""
        container = pod.container(name)
        told = name == AGENT and pod.container(STDERR) is not None
        return cls(container.started_at if container and not told else None, not_before)

    def opened(self, now: float) -> None:
        """The log is open: what its container says from now on is read."""
        self._age = now - self._not_before

    def took(self, block: bytes, cursor: Cursor) -> bool:
        """Whether this block, which the cursor is behind, makes it doubtful that nothing was before the first one."""
        if not (self._size or self._known):
            self._begin(block)
        if self._known:
            return False
        self._size += len(block)
        late = bool(cursor.marks) and _time(cursor.marks[-1]) > self._until
        self._known = late or self._size >= FAST
        return self._known and not late

    def _begin(self, block: bytes) -> None:
        """How long the container had run unread, at the most; and whether the log was open before it said this."""
        record = split(block[:LONGEST])
        if record is None or self._started is None:
            self._known = True
            return
        first = _time(record[0])
        unread = first - seconds(self._started.encode())
        self._until, self._known = first + min(unread, self._age), unread > self._age + UNSURE


def _time(stamp: bytes) -> float:
    return seconds(stamp) + float(stamp[19:29])
