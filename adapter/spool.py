"""A queue of log between the follow and the sink: in memory, then on disk, then it makes the reader wait.

The log must be read at once whatever the sink does: a follow that is not read for two rotations loses a whole file
without a word, since the API serves only the newest one.
"""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from typing import IO

import anyio

from adapter.cluster.framing import Batch

CHUNK = 1024 * 1024
"""Bytes of log handed to the sink at once, at most."""


class Spool:
    """First in, first out. Lines that lie beside each other are handed out together.

    `pending` is the bytes not handed out yet.
    """

    def __init__(self, memory: int, disk: int) -> None:
        self._memory, self._disk = memory, disk
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._file: IO[bytes] | None = None
        self._read_at = self._written = self._spilled = 0
        self._changed = anyio.Event()
        self._closed = False

    @property
    def pending(self) -> int:
        return self._held + self._spilled

    @property
    def full(self) -> bool:
        """Whether neither memory nor disk takes more: only then does the reader wait."""
        return self._spilled >= self._disk

    def put(self, batches: list[Batch]) -> None:
        """Takes batches in, at once: the follow can be cut off in any instant without losing what it framed."""
        for batch in batches:
            if self._spilled or self._held + len(batch.data) > self._memory:
                self._spill(batch)
            else:
                self._batches.append(batch)
                self._held += len(batch.data)
        if batches:
            self._tell()

    def close(self) -> None:
        """Nothing more comes: `get` gives out what is left, then None."""
        self._closed = True
        self._tell()

    def discard(self) -> None:
        """Forgets everything and gives the disk space back."""
        self._batches.clear()
        self._held = self._spilled = 0
        if self._file:
            self._file.close()
            self._file = None

    async def room(self) -> None:
        """Waits until there is room again."""
        while self.full:
            await self._changed.wait()

    async def get(self) -> Batch | None:
        """The next batch, as large as it may be; None when nothing will come any more."""
        while not self._batches:
            if self._spilled:
                self._fetch()
            elif self._closed:
                return None
            else:
                await self._changed.wait()
        batch = self._merged()
        self._held -= len(batch.data)
        self._tell()
        return batch

    def _merged(self) -> Batch:
        first = self._batches.popleft()
        if not _plain(first):
            return first
        parts, size, last = [first.data], len(first.data), first
        while self._batches and _plain(self._batches[0]) and size + len(self._batches[0].data) <= CHUNK:
            last = self._batches.popleft()
            parts.append(last.data)
            size += len(last.data)
        return Batch(b"".join(parts), last.cursor, last.stamp)

    def _spill(self, batch: Batch) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="claude-k8s-log-")  # noqa: SIM115 - closed by discard
            self._read_at = self._written = 0
        self._file.seek(self._written)
        pickle.dump(batch, self._file, pickle.HIGHEST_PROTOCOL)
        self._written = self._file.tell()
        self._spilled += len(batch.data) + 1  # a word about a gap has no bytes, but must not be forgotten either

    def _fetch(self) -> None:
        """Reads spilled batches back, until memory is full again."""
        assert self._file is not None  # noqa: S101 - something was spilled
        self._file.seek(self._read_at)
        while self._spilled and self._held < self._memory:
            batch: Batch = pickle.load(self._file)  # noqa: S301 - our own unnamed file
            self._batches.append(batch)
            self._held += len(batch.data)
            self._spilled -= len(batch.data) + 1
        self._read_at = self._file.tell()
        if not self._spilled:
            self._file.truncate(0)
            self._read_at = self._written = 0

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _plain(batch: Batch) -> bool:
    return batch.gap is None and not batch.continued and batch.data.endswith(b"\n")
