"""From the bytes of a log stream to records, without touching a byte of them.

Records end at `\\n` and at nothing else. Each begins with a stamp, which is taken off. A line longer than the cap
is cut into pieces. Pure: no I/O, so that every cut of a stream can be tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from adapter.cluster.cursor import STAMP, Alignment, Cursor, is_stamp, seconds

_PREFIX = STAMP + 1

_KUBELET = re.compile(
    rb"rpc error: code = \w+ desc = an error occurred when try to find container \"[0-9a-f]{64}\": not found\Z"
)
"""What the kubelet itself writes into the log of a container that is removed under it, without a stamp."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole lines as the agent wrote them, or one piece of a long line (`continued`: more of it follows).

    `gap` is no log at all but a word about it: what could not be read.
    """

    data: bytes
    cursor: Cursor
    stamp: bytes = b""
    continued: bool = False
    gap: str | None = None


@dataclass(slots=True)
class _Record:
    """The record whose text is being read: `skip` bytes of it were taken before, `taken` says how far we are."""

    stamp: bytes
    skip: int = 0
    taken: int = 0
    dropped: bool = False


@dataclass(slots=True)
class Framer:
    """Frames one container's log across any number of streams.

    `cursor` is where the last batch ended. `resume` prepares for the next stream, `finish` gives up the last line.
    """

    cap: int
    cursor: Cursor = field(default_factory=Cursor)
    _rest: bytes = b""
    _open: _Record | None = None
    _skip: int = 0
    _fresh: bool = True
    _resumed: bool = False
    _alignment: Alignment | None = None

    def resume(self) -> str | None:
        """Forgets what was not framed, for the next stream will bring it again; `sinceTime` for its request."""
        self._rest, self._open, self._fresh = b"", None, True
        self._resumed = bool(self.cursor.stamps)
        self._alignment = Alignment(self.cursor) if self.cursor.stamps else None
        self._skip = self.cursor.taken
        return self.cursor.since

    def feed(self, block: bytes) -> list[Batch]:
        """The batches that a block of bytes completes."""
        data = self._rest + block if self._rest else block
        batches: list[Batch] = []
        if self._open:
            end = data.find(b"\n") + 1
            if not end:
                self._rest = data
                return self._pieces()
            batches += self._text(self._open, data[:end])
            data = data[end:]
        cut = data.rfind(b"\n") + 1
        self._rest = data[cut:]
        if cut:
            batches += self._lines(data[: cut - 1].split(b"\n"))
        return batches + self._long()

    def finish(self) -> list[Batch]:
        """What is left at the very end of the log: a last line without a newline."""
        own, noise = _without_kubelet(self._rest)
        batches: list[Batch] = []
        if own and self._open:
            batches = self._text(self._open, own)
        elif own:
            batches = self._line(own)
        self._rest, self._open = b"", None
        return [*batches, *self._gaps(noise, "the container was removed while its log was read")]

    @property
    def _careful(self) -> bool:
        """Whether every line needs a look of its own: a replay, or the rest of a record that was taken in part."""
        return self._fresh or self._skip > 0 or self._alignment is not None

    def _lines(self, lines: list[bytes]) -> list[Batch]:
        batches: list[Batch] = []
        at = 0
        while at < len(lines) and self._careful:
            batches += self._line(lines[at] + b"\n")
            at += 1
        rest = lines[at:] if at else lines
        if rest and all(map(is_stamp, rest)) and not self._went_back(min(rest)[:STAMP]):
            return [*batches, self._plain(rest)]
        for line in rest:
            batches += self._line(line + b"\n")
        return batches

    def _plain(self, lines: list[bytes]) -> Batch:
        """The ordinary case, for a whole block at once: this is what makes a fast log cheap."""
        self.cursor = self.cursor.after([line[:STAMP] for line in lines])
        data = b"\n".join([line[_PREFIX:] for line in lines]) + b"\n"
        return Batch(data, self.cursor, lines[-1][:STAMP])

    def _line(self, line: bytes) -> list[Batch]:
        record, batches = self._begin(line)
        return batches + self._text(record, line[_PREFIX:])

    def _long(self) -> list[Batch]:
        """A line that grows past the cap is begun before its end is there."""
        if self._open or len(self._rest) < self.cap + _PREFIX:
            return []
        self._open, batches = self._begin(self._rest)
        self._rest = self._rest[_PREFIX:]
        return batches + self._pieces()

    def _pieces(self) -> list[Batch]:
        record, batches = self._open, []
        while record and len(self._rest) >= self.cap:
            piece, self._rest = self._rest[: self.cap], self._rest[self.cap :]
            batches += self._text(record, piece, more=True)
        return batches

    def _begin(self, line: bytes) -> tuple[_Record, list[Batch]]:
        """What to do with the record that a line begins, with all that can be wrong with it."""
        fresh, self._fresh = self._fresh, False
        if not is_stamp(line):
            # The first piece of a resumed stream may be the end of a line that was taken. Any other is not the agent's.
            own = fresh and self._resumed
            return _Record(b"", dropped=True), self._gaps(not own, "the log holds a line that is not the container's")
        stamp = line[:STAMP]
        back = self._went_back(stamp)
        if back:
            self._alignment = Alignment(self.cursor, from_start=True)
        batches = self._gaps(back, "the log was repeated from an earlier point")
        if self._alignment:
            if self._alignment.took(stamp):
                self._alignment = None if self._alignment.done else self._alignment
                return _Record(stamp, dropped=True), batches
            lost = self._alignment.gap
            batches += self._gaps(lost, "the log does not hold the last line that was read any more")
            self._alignment, self._skip = None, 0 if lost else self._skip
        skip, self._skip = self._skip, 0
        return _Record(stamp, skip), batches

    def _text(self, record: _Record, text: bytes, *, more: bool = False) -> list[Batch]:
        """A piece of a record's text; with `more`, another follows."""
        ended = text.endswith(b"\n") and not more
        self._open = None if ended else self._open
        if record.dropped:
            return []
        begin = max(0, min(record.skip - record.taken, len(text)))
        record.taken += len(text)
        self.cursor = self.cursor.after([record.stamp]) if ended else self.cursor.within(max(record.taken, record.skip))
        own = text[begin:]
        return [Batch(own, self.cursor, record.stamp, continued=more)] if own else []

    def _went_back(self, stamp: bytes) -> bool:
        """Whether a stamp lies more than a second behind: a follow that lost its place repeats the file."""
        if self._alignment or not self.cursor.stamps or stamp >= self.cursor.stamps[-1]:
            return False
        return seconds(self.cursor.stamps[-1]) - seconds(stamp) > 1

    def _gaps(self, found: object, words: str) -> list[Batch]:
        return [Batch(b"", self.cursor, gap=words)] if found else []


def _without_kubelet(rest: bytes) -> tuple[bytes, bytes]:
    """An unfinished last line without the kubelet's own error text, and that text."""
    found = _KUBELET.search(rest)
    if not found:
        return rest, b""
    return rest[: found.start()], found[0]
