"""A queue of log between the follow and the sink: in memory, then on disk, then it makes the reader wait.

The log must be read at once whatever the sink does: a follow that is not read for two rotations loses a whole file
without a word, since the API serves only the newest one.
"""

from __future__ import annotations

import pickle
import tempfile
from collections import deque

import anyio

from adapter.cluster.cursor import Cursor
from adapter.cluster.framing import Batch

CHUNK = 1024 * 1024
"""Bytes of log handed to the sink at once, at most."""

FILES = 16
"""What is spilled is spread over about so many files; each is given back once it was read."""


class Spool:
    """First in, first out: memory, then disk, then the tail that is being gathered.

    Lines are gathered as they come, into runs of one cursor each: a cursor is larger than many a line, so that the
    bounds would not hold if every line kept its own. `pending` is the bytes not handed out yet.
    """

    def __init__(self, memory: int, disk: int) -> None:
        self._memory, self._disk = memory, disk
        self._run = min(CHUNK, memory)
        self._batches: deque[Batch] = deque()
        self._tail: list[Batch] = []
        self._held = self._gathered = 0
        self._files: deque[_File | _Kept] = deque()
        self._spilled = 0
        self._changed = anyio.Event()
        self._closed = False

    @property
    def pending(self) -> int:
        return self._held + self._spilled + self._gathered

    @property
    def full(self) -> bool:
        """Whether neither memory nor disk takes more: only then does the reader wait."""
        return self._spilled > 0 and self._spilled >= self._disk

    def put(self, batches: list[Batch]) -> None:
        """Takes batches in, at once: the follow can be cut off in any instant without losing what it framed."""
        for batch in batches:
            if self._tail and not self._joins(batch):
                self._store(self._gather())
            if self._tail:
                self._tail[-1] = Batch(self._tail[-1].data, _NOWHERE)  # only the last one's cursor is needed
            self._tail.append(batch)
            self._gathered += len(batch.data)
        if batches:
            self._tell()

    def close(self) -> None:
        """Nothing more comes: `get` gives out what is left, then None."""
        self._closed = True
        self._tell()

    def discard(self) -> None:
        """Forgets everything and gives the disk space back."""
        self._batches.clear()
        self._tail.clear()
        self._held = self._spilled = self._gathered = 0
        while self._files:
            self._files.popleft().close()
        self._tell()

    async def room(self) -> None:
        """Waits until there is room again."""
        while self.full:
            await self._changed.wait()

    async def get(self) -> Batch | None:
        """The next batch, as large as it may be; None when nothing will come any more."""
        while True:
            if self._files and not self._batches:
                self._fetch()
            if self._batches or self._tail:
                break
            if self._closed:
                return None
            await self._changed.wait()
        batch = self._next()
        self._tell()
        return batch

    def _next(self) -> Batch:
        if not self._batches:
            return self._gather()
        batch = self._batches.popleft()
        self._held -= len(batch.data)
        return batch

    def _joins(self, batch: Batch) -> bool:
        """Whether a batch may be handed out together with the tail."""
        return _plain(self._tail[0]) and _plain(batch) and self._gathered + len(batch.data) <= self._run

    def _gather(self) -> Batch:
        """The tail as one batch; what comes next begins another."""
        last = self._tail[-1]
        batch = Batch(b"".join([b.data for b in self._tail]), last.cursor, last.stamp) if self._tail[1:] else last
        self._tail, self._gathered = [], 0
        return batch

    def _store(self, batch: Batch) -> None:
        if self._files or self._held + len(batch.data) > self._memory:
            self._spill(batch)
        else:
            self._batches.append(batch)
            self._held += len(batch.data)

    def _spill(self, batch: Batch) -> None:
        try:
            if not self._files or self._files[-1].written > self._disk // FILES:
                self._files.append(_File())
            self._files[-1].write(batch)
        except OSError:
            # No disk, or none left: kept all the same, and nothing more is read until the sink has caught up.
            self._disk = 0
            self._files.append(_Kept(batch))
        self._spilled += len(batch.data)

    def _fetch(self) -> None:
        """Reads spilled batches back, until memory is full again."""
        while self._files and (not self._batches or self._held < self._memory):
            batch = self._files[0].read()
            self._batches.append(batch)
            self._held += len(batch.data)
            self._spilled -= len(batch.data)
            if not self._files[0].left:
                self._files.popleft().close()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class _File:
    """Some of the batches on disk. It is given back when they are read, so that a sink that is slow for hours is not
    paid for with all that it ever was behind.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="claude-k8s-log-")  # noqa: SIM115 - closed by who opens it
        self.written = self.left = self._read_at = 0

    def write(self, batch: Batch) -> None:
        self._file.seek(self.written)
        pickle.dump(batch, self._file, pickle.HIGHEST_PROTOCOL)
        self.written = self._file.tell()
        self.left += 1

    def read(self) -> Batch:
        self._file.seek(self._read_at)
        batch: Batch = pickle.load(self._file)  # noqa: S301 - our own unnamed file
        self._read_at = self._file.tell()
        self.left -= 1
        return batch

    def close(self) -> None:
        self._file.close()


class _Kept:
    """A batch that no disk would take, in the place of a file."""

    def __init__(self, batch: Batch) -> None:
        self._batch, self.left, self.written = batch, 1, float("inf")

    def write(self, batch: Batch) -> None:
        raise OSError("one batch is all it holds")

    def read(self) -> Batch:
        self.left = 0
        return self._batch

    def close(self) -> None:
        """Nothing to give back."""


def _plain(batch: Batch) -> bool:
    return batch.gap is None and not batch.continued and batch.data.endswith(b"\n")


_NOWHERE = Cursor()
