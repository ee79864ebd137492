"""A container's log on disk, as a container runtime writes it (CRI) and rotates it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from .signals import Signal

PART = 16_384
"""bytes of a line the runtime writes at once; the rest follows as further parts"""
BLOCK = 4_096
"""bytes the runtime reads at once: a part is written when a whole block more than it is there"""
STAMP = 30
"""length of a stamp: nine digits always, so that nothing needs padding later"""
TEXT = STAMP + len(" stdout F ")
"""where an entry's text begins"""


class Clock:
    """Wall clock stamps, no two of them equal."""

    def __init__(self) -> None:
        self._last = 0
        self._second = -1
        self._prefix = b""

    def stamp(self) -> bytes:
        self._last = max(time.time_ns(), self._last + 1)
        second, fraction = divmod(self._last, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        return b"%s.%09dZ" % (self._prefix, fraction)


class ContainerLog:
    """The log of one instance of a container. Only its newest file is ever served."""

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.grown = Signal()
        self.generation = 0
        self.closed = False
        self._rotate_bytes = rotate_bytes
        self._clock = Clock()
        self._rest = {"stdout": b"", "stderr": b""}
        self._file = path.open("ab", buffering=0)
        self._size = 0

    def feed(self, stream: str, data: bytes) -> None:
        """What the process wrote, as it arrives."""
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        head = b" " + stream.encode()
        entries = [self._entry(head, line) for line in lines]
        while len(rest) >= PART + BLOCK:
            entries.append(self._part(head, rest[:PART]))
            rest = rest[PART:]
        self._rest[stream] = rest
        self.append(b"".join(entries))

    def _entry(self, head: bytes, line: bytes) -> bytes:
        parts = b""
        while len(line) > PART:
            parts += self._part(head, line[:PART])
            line = line[PART:]
        return b"%s%s%s F %s\n" % (parts, self._clock.stamp(), head, line)

    def _part(self, head: bytes, text: bytes) -> bytes:
        return b"%s%s P %s\n" % (self._clock.stamp(), head, text)

    def append(self, entries: bytes) -> None:
        """Whole entries, ready made."""
        if not entries:
            return
        self._file.write(entries)
        self._size += len(entries)
        if self._size >= self._rotate_bytes:
            self.rotate()
        self.grown.fire()

    def finish(self) -> None:
        """The process is gone: what it left without a newline becomes a part without an end."""
        for stream, rest in self._rest.items():
            for start in range(0, len(rest), PART):
                self.append(self._part(b" " + stream.encode(), rest[start : start + PART]))
        self._rest = dict.fromkeys(self._rest, b"")

    def rotate(self) -> None:
        """Begin a new file; of the old ones only the last is kept."""
        if self.closed:
            return
        for old in self.path.parent.glob(f"{self.path.name}.*"):
            old.unlink()
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.path.rename(self.path.with_name(f"{self.path.name}.{moment}"))
        self._file.close()
        self._file = self.path.open("ab", buffering=0)
        self._size = 0
        self.generation += 1
        self.grown.fire()

    def close(self) -> None:
        """Nothing will come any more: follows may end."""
        if self.closed:
            return
        self.closed = True
        self._file.close()
        self.grown.fire()

    def tail(self, limit: int = 2048, lines: int = 80) -> str:
        """The last words, for a termination message."""
        with self.path.open("rb") as file:
            file.seek(max(0, self._size - 4 * limit))
            entries = file.read().splitlines(keepends=True)[-lines:]
        text = b"".join(entry[TEXT:] for entry in entries if entry[STAMP : STAMP + 1] == b" ")
        return text[-limit:].decode(errors="replace")
