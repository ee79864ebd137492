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
import re
import zlib
from dataclasses import dataclass

STAMP = 30
"""Bytes of a stamp, `2026-11-22T21:15:39.043408314Z`: fixed width, so bytes compare as times do."""

_OFFSET = 6
"""Bytes of `+08:00`, which stands for the `Z` where a node's clock is not set to UTC."""

KEPT = 256
"""Stamps a cursor remembers. A run of so many nanosecond stamps names one place in a log."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The stamps of the last records taken, in the order of the log.

    `forgot` says that there were records before the first stamp. `inside` is the stamp of the record behind them when
    that one is longer than one piece, and `taken` how much was taken of its text.
    """

    stamps: tuple[bytes, ...] = ()
    forgot: bool = False
    inside: bytes = b""
    taken: int = 0

    def __str__(self) -> str:
        stamps = [s.decode("ascii") for s in (self.inside, *self.stamps)]
        packed = json.dumps([self.taken, self.forgot, *stamps]).encode()
        return base64.b64encode(zlib.compress(packed, 1)).decode("ascii")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads what `str` wrote. Raises ValueError for anything else."""
        try:
            taken, forgot, inside, *stamps = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
            cursor = cls(tuple(s.encode("ascii") for s in stamps), bool(forgot), inside.encode("ascii"), int(taken))
            if all(len(s) == STAMP and is_stamp(s + b" ") and seconds(s) >= 0 for s in cursor.marks):
                return cursor
        except (zlib.error, TypeError, AttributeError) as error:
            raise ValueError("not a log cursor") from error
        raise ValueError("not a log cursor")

    def after(self, stamps: list[bytes]) -> Cursor:
        """The cursor behind further whole records."""
        if len(stamps) >= KEPT:
            kept: tuple[bytes, ...] = tuple(stamps[-KEPT:])
        else:
            kept = self.stamps[len(stamps) - KEPT :] + tuple(stamps) if stamps else self.stamps
        return Cursor(kept, self.forgot or len(self.stamps) + len(stamps) > len(kept))

    def within(self, stamp: bytes, taken: int) -> Cursor:
        """The cursor inside the record behind the last whole one, after `taken` bytes of its text."""
        return Cursor(self.stamps, self.forgot, stamp, taken)

    @property
    def marks(self) -> tuple[bytes, ...]:
        """The stamps of all records of which something was taken."""
        return (*self.stamps, self.inside) if self.inside else self.stamps

    @property
    def since(self) -> str | None:
        """What to ask the API for: the second before the last record's. None: from the beginning."""
        return None if not self.marks else stamp(seconds(self.marks[-1]) - 1.0)


def is_stamp(line: bytes) -> bool:
    """Whether a line begins with a stamp in UTC and a space."""
    return line[STAMP : STAMP + 1] == b" " and line[10:11] == b"T" and line[19:20] == b"." and line[29:30] == b"Z"


def split(line: bytes) -> tuple[bytes, bytes] | None:
    """A line's stamp, in UTC, and its text; None if it has no stamp."""
    if is_stamp(line):
        return line[:STAMP], line[STAMP + 1 :]
    found = _ELSEWHERE.match(line)
    if not found:
        return None
    utc = dt.datetime.fromisoformat((found[1] + found[3]).decode("ascii")).astimezone(dt.UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S").encode() + found[2] + b"Z", line[found.end() :]


_ELSEWHERE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{9})([+-]\d\d:\d\d) ")

LONGEST = STAMP - 1 + _OFFSET + 1
"""Bytes before a line's text, at most."""


def seconds(text: bytes) -> int:
    """A stamp's whole seconds since 1970."""
    return int(dt.datetime.fromisoformat(text[:19].decode("ascii") + "+00:00").timestamp())


def stamp(at: float) -> str:
    """A time in whole seconds as the API wants it."""
    return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Alignment:
    """Tells, record by record, which records of a replay were taken already: it looks for the cursor's run of stamps.

    `found` says that the cursor's own record was there, `done` that there is nothing more to look for.
    """

    def __init__(self, cursor: Cursor, *, from_start: bool = False) -> None:
        since = cursor.since
        floor = b"" if since is None or from_start else since[:19].encode("ascii")
        self._run = [s for s in cursor.marks if s >= floor]
        # The replay may begin with records whose stamps we have forgotten. (Even where the oldest that we kept is too
        # old for the replay: stdout and stderr may have swapped across its first second.)
        self._earlier = cursor.forgot
        self._partly = bool(cursor.inside)
        self._last = max(self._run)
        self._places: set[int] | None = None
        self.found = self.done = False

    def took(self, stamp: bytes) -> bool:
        """Whether the replay's next record was taken before. Once it says no, it is done."""
        if self.done:
            return False
        end = len(self._run)
        self._places = {at + 1 for at in self._expected(stamp) if at < end and self._run[at] == stamp}
        if self._places or (self._earlier and not self.found and stamp <= self._last):
            self.found = end in self._places
            self.done = self.found and (self._partly or self._earlier or self._places == {end})
            return True
        self.done = True
        return False

    def _expected(self, stamp: bytes) -> set[int]:
        """The places in the run where the next record may be. Usually one; several where stamps are equal."""
        if self._places is not None:
            return self._places | {0} if self._earlier else self._places
        # The file begins with the run, or within it, where it was rotated; what is before the run has no place.
        return {0} if stamp == self._run[0] else set(range(len(self._run)))
