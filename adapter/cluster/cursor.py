"""Where in a log the last record was taken, and how a replay of the log is aligned with it.

The log API resumes by whole seconds only (`sinceTime`), so a resumed log replays records that were taken
already. They are recognised by their order, never by their content: the replay is the same file, so what was taken
is a run of stamps in it. Skipping by `stamp > cursor` or by a count would lose records, because stdout and stderr
swap across a second and two records can share a stamp.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import zlib
from dataclasses import dataclass
from itertools import dropwhile

STAMP = 30
"""Bytes of a stamp, `2026-11-22T21:15:39.043408314Z`: fixed width, so bytes compare as times do."""

KEPT = 256
"""Stamps a cursor remembers. A run of so many nanosecond stamps names one place in a log."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The stamps of the last records taken, in the order of the log.

    `taken` is how much was taken of the text of the record behind them, when that record is longer than one piece.
    `forgot` says that there were records before the first stamp.
    """

    stamps: tuple[bytes, ...] = ()
    taken: int = 0
    forgot: bool = False

    def __str__(self) -> str:
        packed = json.dumps([self.taken, self.forgot, *(s.decode("ascii") for s in self.stamps)]).encode()
        return base64.b64encode(zlib.compress(packed, 1)).decode("ascii")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads what `str` wrote. Raises ValueError for anything else."""
        try:
            taken, forgot, *stamps = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
            if all(is_stamp(s.encode("ascii") + b" ") for s in stamps):
                return cls(tuple(s.encode("ascii") for s in stamps), int(taken), bool(forgot))
        except (zlib.error, TypeError, AttributeError) as error:
            raise ValueError("not a log cursor") from error
        raise ValueError("not a log cursor")

    def after(self, stamps: list[bytes]) -> Cursor:
        """The cursor behind further whole records."""
        if len(stamps) >= KEPT:
            kept: tuple[bytes, ...] = tuple(stamps[-KEPT:])
        else:
            kept = self.stamps[len(stamps) - KEPT :] + tuple(stamps) if stamps else self.stamps
        return Cursor(kept, 0, self.forgot or len(self.stamps) + len(stamps) > len(kept))

    def within(self, taken: int) -> Cursor:
        """The cursor inside the record behind the last one, after `taken` bytes of its text."""
        return Cursor(self.stamps, taken, self.forgot)

    @property
    def since(self) -> str | None:
        """What to ask the API for: the second before the last record's. None: from the beginning."""
        return None if not self.stamps else stamp(seconds(self.stamps[-1]) - 1.0)


def is_stamp(line: bytes) -> bool:
    """Whether a line begins with a stamp and a space."""
    return line[STAMP : STAMP + 1] == b" " and line[10:11] == b"T" and line[19:20] == b"." and line[29:30] == b"Z"


def seconds(text: bytes) -> int:
    """A stamp's whole seconds since 1970."""
    return int(dt.datetime.fromisoformat(text[:19].decode("ascii") + "+00:00").timestamp())


def stamp(at: float) -> str:
    """A time in whole seconds as the API wants it."""
    return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Alignment:
    """Tells, record by record, which records of a replay were taken already.

    `gap` is set when the cursor's own record was not found: something between may be missing.
    """

    def __init__(self, cursor: Cursor, *, from_start: bool = False) -> None:
        since = cursor.since
        floor = b"" if since is None or from_start else since[:19].encode("ascii")
        window = [s for s in cursor.stamps if s >= floor]
        # Records before the window are in the replay too, if we have forgotten stamps that the replay begins with.
        self._earlier = cursor.forgot and len(window) == len(cursor.stamps)
        if self._earlier:
            window = _from_boundary(window)
        self._window = window
        self._last = max(window, default=b"")
        self._at = 0
        self._first = True
        self.done = not window
        self.gap = False

    def took(self, stamp: bytes) -> bool:
        """Whether the replay's next record was taken before. Once it says no, it is done."""
        first, self._first = self._first, False
        if self.done:
            return False
        if stamp == self._window[self._at]:
            return self._step(self._at)
        if first and stamp in self._window:
            return self._step(self._window.index(stamp))  # the file begins within the window: it was rotated
        if self._at == 0 and self._earlier and stamp <= self._last:
            return True
        self.done = self.gap = True
        return False

    def _step(self, at: int) -> bool:
        self._at = at + 1
        self.done = self._at == len(self._window)
        return True


def _from_boundary(window: list[bytes]) -> list[bytes]:
    """The window without records that may share their stamp with a forgotten one: they could not be told apart."""
    return list(dropwhile(lambda s: s == window[0], window)) or window
