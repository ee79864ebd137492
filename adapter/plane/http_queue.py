"""Log that waits for a control plane: in memory, then on disk. It is taken at once, as long as there is room.

Small chunks are joined as they come, since each has a cursor, which is larger than many a line.
"""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from dataclasses import replace
from typing import IO

import anyio

from adapter.plane import LogChunk


def end(chunk: LogChunk) -> int:
    """Where a chunk ends."""
    return chunk.offset + len(chunk.data)


class Queue:
    """First in, first out, of one stream's chunks. `pending` is the bytes that it holds."""

    def __init__(self, memory: int, disk: int) -> None:
        self._memory, self._run = memory, memory // 4
        self._held: deque[LogChunk] = deque()
        self._tail: list[bytes] = []
        self._last: LogChunk | None = None
        self._in_memory = self._gathered = 0
        self._disk = _Disk(disk)
        self._changed = anyio.Event()

    @property
    def pending(self) -> int:
        return self._in_memory + self._gathered + self._disk.pending

    async def room(self) -> None:
        """Waits until there is room."""
        while self._disk.full:
            await self._changed.wait()

    def put(self, chunk: LogChunk) -> None:
        """Takes a chunk."""
        if self._last and not (_joins(self._last, chunk) and self._gathered + len(chunk.data) <= self._run):
            self._store(self._gather(self._last))
        self._tail.append(chunk.data)
        self._gathered += len(chunk.data)
        self._last = chunk

    def take(self, most: int) -> LogChunk | None:
        """The next chunks, joined to one of at most `most` bytes, if there is more than one; None: there is none."""
        first = last = self._pop(None, most)
        if first is None or last is None:
            return None
        parts, left = [first.data], most - len(first.data)
        while chunk := self._pop(last, left):
            parts.append(chunk.data)
            last, left = chunk, left - len(chunk.data)
        return replace(last, offset=first.offset, data=b"".join(parts)) if parts[1:] else first

    def clear(self) -> None:
        """Forgets everything, and gives the disk space back."""
        self._held.clear()
        self._tail, self._last = [], None
        self._in_memory = self._gathered = 0
        self._disk.close()
        self._tell()

    def _pop(self, last: LogChunk | None, most: int) -> LogChunk | None:
        """The next chunk, if it is small enough to go with the last one."""
        self._fetch()
        if not self._held or (last and not (_joins(last, self._held[0]) and len(self._held[0].data) <= most)):
            return None
        chunk = self._held.popleft()
        self._in_memory -= len(chunk.data)
        return chunk

    def _fetch(self) -> None:
        """Has the next chunk in memory: of those on disk, else the one that is being gathered."""
        while self._disk.left and (not self._held or self._in_memory < self._memory):
            self._hold(self._disk.get())
            self._tell()
        if not self._held and self._last:
            self._hold(self._gather(self._last))

    def _store(self, chunk: LogChunk) -> None:
        fits = not self._held or self._in_memory + len(chunk.data) <= self._memory - self._run
        if fits and not self._disk.left:
            self._hold(chunk)
        else:
            self._disk.put(replace(chunk, cursor=str(chunk.cursor)))

    def _hold(self, chunk: LogChunk) -> None:
        self._held.append(chunk)
        self._in_memory += len(chunk.data)

    def _gather(self, last: LogChunk) -> LogChunk:
        """What was gathered, as one chunk: only its last cursor is needed."""
        whole = replace(last, offset=end(last) - self._gathered, data=b"".join(self._tail)) if self._tail[1:] else last
        self._tail, self._last, self._gathered = [], None, 0
        return whole

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class _Disk:
    """Chunks in an unnamed file, which is begun anew whenever it was read to its end: so it has a bound.

    Where no disk takes a chunk it is kept, and there is no more room until everything was taken.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._file: IO[bytes] | None = None
        self._written = self._read = 0
        self._kept: deque[LogChunk] = deque()
        self.left = self.pending = 0

    @property
    def full(self) -> bool:
        return self.left > 0 and (bool(self._kept) or self._written >= self._most)

    def put(self, chunk: LogChunk) -> None:
        try:
            if self._kept:
                raise OSError("they must stay in order")
            self._write(pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL))
        except OSError:
            self._kept.append(chunk)
        self.left += 1
        self.pending += len(chunk.data)

    def get(self) -> LogChunk:
        chunk = self._load() if self._read < self._written else self._kept.popleft()
        self.left -= 1
        self.pending -= len(chunk.data)
        if not self.left:
            self.close()
        return chunk

    def close(self) -> None:
        """Gives the space back."""
        if self._file:
            self._file.close()
        self._file, self._written, self._read = None, 0, 0
        self._kept.clear()
        self.left = self.pending = 0

    def _write(self, packed: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="claude-k8s-log-", buffering=0)  # noqa: SIM115 - `close` does
        self._file.seek(self._written)
        if self._file.write(packed) < len(packed):
            raise OSError("the disk is full")
        self._written = self._file.tell()

    def _load(self) -> LogChunk:
        assert self._file is not None  # noqa: S101 - something was written to it
        self._file.seek(self._read)
        chunk: LogChunk = pickle.load(self._file)  # noqa: S301 - our own unnamed file
        self._read = self._file.tell()
        return chunk


def _joins(one: LogChunk, other: LogChunk) -> bool:
    """Whether two chunks may be sent as one: whole lines, one behind the other."""
    plain = not one.continued and not other.continued and one.data.endswith(b"\n")
    return plain and other.offset == end(one)
