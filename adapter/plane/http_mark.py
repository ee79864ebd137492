"""The cursor as it goes over the wire to a control plane."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """The caller's own cursor, and what whoever goes on with the log needs besides.

    `crc` is the checksum of all of the log that the plane has. The cursor is that of a place `ahead` bytes before its
    end, where the checksum was `base`: an append can be cut in two, a cursor cannot. None: not known.
    """

    cursor: str
    crc: int | None
    ahead: int = 0
    base: int | None = None

    def __str__(self) -> str:
        return json.dumps([self.cursor, self.crc, self.ahead, self.base], separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Reads what `str` wrote. Anything else is taken for a cursor as such."""
        try:
            cursor, crc, ahead, base = json.loads(text)
            return cls(str(cursor), _number(crc), max(0, int(ahead)), _number(base))
        except (TypeError, ValueError, RecursionError):
            return cls(text, None)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
