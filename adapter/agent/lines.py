"""Bytes in arbitrary pieces to whole lines, in constant memory."""

from __future__ import annotations

LONGEST = 16 * 1024 * 1024
"""Bytes of a line. A result may quote whole files; what is longer than this is skipped."""


class Lines:
    """Joins pieces to lines. A line over the cap is skipped, and counted, however it was cut.

    `within`: the first bytes belong to a line whose beginning is not known; it is skipped too.
    """

    def __init__(self, longest: int = LONGEST, *, within: bool = False) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._length = 0
        self._skipping = within
        self._skipped = self._skipped_bytes = 0

    @property
    def within(self) -> bool:
        """Whether the bytes so far ended within a line."""
        return self._skipping or self._length > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that the data completes, without their newlines; empty ones are left out."""
        first, *others = data.split(b"\n")
        self._add(first)
        if not others:
            return []
        lines = [*self._end(), *(line for line in others[:-1] if len(line) <= self._longest)]
        for line in others[:-1] if len(data) > self._longest else ():
            self._skip(line)
        self._add(others[-1])
        return [line for line in lines if line]

    def close(self) -> list[bytes]:
        """The last line, if the bytes ended within one."""
        return self._end()

    def take_skipped(self) -> tuple[int, int]:
        """How many lines were skipped since it was asked last, and their bytes."""
        taken = self._skipped, self._skipped_bytes
        self._skipped = self._skipped_bytes = 0
        return taken

    def _add(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._skipping or self._length > self._longest:
            self._skipping = True
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def _end(self) -> list[bytes]:
        line, length, skipping = b"".join(self._pieces), self._length, self._skipping
        self._pieces, self._length, self._skipping = [], 0, False
        if skipping:
            self._skipped += 1
            self._skipped_bytes += length
        return [line] if line else []

    def _skip(self, line: bytes) -> None:
        if len(line) > self._longest:
            self._skipped += 1
            self._skipped_bytes += len(line)
