"""From the bytes of a log stream to records, without touching a byte of them.

Records end at `\\n` and at nothing else. Each begins with a stamp, which is taken off. A line longer than the cap
is cut into pieces. Pure: no I/O, so that every cut of a stream can be tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from operator import le

from adapter.cluster.cursor import LONGEST, STAMP, Alignment, Cursor, is_stamp, seconds, split

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
    """The record whose text is being read: `skip` bytes of it were taken before, `read` says how far we are."""

    stamp: bytes
    skip: int = 0
    read: int = 0
    dropped: bool = False


@dataclass(slots=True)
class Framer:
    """Frames one container's log across any number of streams.

    `cursor` is where the last batch ended. `resume` prepares for the next stream, `finish` gives up the last line.
    A line over `cap` bytes is cut at each multiple of them, wherever its blocks and streams were cut.
    """

    cap: int
    cursor: Cursor = field(default_factory=Cursor)
    _rest: bytes = b""
    _open: _Record | None = None
    _resuming: bool = False
    _alignment: Alignment | None = None

    @property
    def place(self) -> tuple[Cursor, bytes]:
        """How far the log was read: the same after two reads to its end, if that was its end."""
        return self.cursor, self._rest

    @property
    def short(self) -> bool:
        """Whether a replay has not come to the cursor's record: it was cut short, or the log does not hold it."""
        return self._alignment is not None and not self._alignment.found and not self._resuming

    def resume(self) -> str | None:
        """Prepares for the next stream, which will bring again what was not framed; `sinceTime` for its request.

        What is unfinished is kept until that stream is there (a block of it, maybe an empty one): it may never come.
        """
        self._resuming = True
        return self.cursor.since

    def feed(self, block: bytes) -> list[Batch]:
        """The batches that a block of bytes completes."""
        if self._resuming:
            self._rest, self._open, self._resuming = b"", None, False
            self._alignment = Alignment(self.cursor) if self.cursor.marks else None
        data = self._rest + block if self._rest else block
        batches: list[Batch] = []
        if self._open:
            end = data.find(b"\n") + 1
            if not end:
                batches, self._rest = self._pieces(self._open, data)
                return batches
            batches, data = self._text(self._open, data[:end]), data[end:]
            self._open = None
        cut = data.rfind(b"\n") + 1
        self._rest = data[cut:]
        if cut:
            batches += self._lines(data[: cut - 1].split(b"\n"), longest=cut)
        return batches + self._long()

    def finish(self) -> list[Batch]:
        """What is left at the very end of the log: a last line without a newline."""
        own, noise = _without_kubelet(self._rest)
        batches: list[Batch] = []
        if own:
            batches = self._text(self._open, own) if self._open else self._line(own)
        lost = self.short
        self._rest, self._open, self._alignment = b"", None, None
        batches += self._gaps(lost, "the log ended before the last line that was read")
        return [*batches, *self._gaps(noise, "the container was removed while its log was read")]

    def _lines(self, lines: list[bytes], *, longest: int) -> list[Batch]:
        batches: list[Batch] = []
        at = 0
        while at < len(lines) and self._alignment:
            batches += self._line(lines[at] + b"\n")
            at += 1
        rest = lines[at:] if at else lines
        if rest and longest <= self.cap and all(map(is_stamp, rest)) and self._goes_on(rest):
            return [*batches, self._plain(rest)]
        for line in rest:
            batches += self._line(line + b"\n")
        return batches

    def _plain(self, lines: list[bytes]) -> Batch:
        """The ordinary case, for a whole block at once: this is what makes a fast log cheap."""
        self.cursor = self.cursor.after([line[:STAMP] for line in lines])
        data = b"\n".join([line[STAMP + 1 :] for line in lines]) + b"\n"
        return Batch(data, self.cursor, lines[-1][:STAMP])

    def _line(self, line: bytes) -> list[Batch]:
        record, text, batches = self._begin(line)
        return batches + self._text(record, text)

    def _long(self) -> list[Batch]:
        """A line that grows past the cap is begun before its end is there."""
        if self._open or len(self._rest) <= self.cap + LONGEST:
            return []
        self._open, text, batches = self._begin(self._rest)
        pieces, self._rest = self._pieces(self._open, text)
        return batches + pieces

    def _begin(self, line: bytes) -> tuple[_Record, bytes, list[Batch]]:
        """What to do with the record that a line begins, with all that can be wrong with it; and its text."""
        stamp, text = split(line) or (b"", line)
        if not stamp:
            # In a replay, it is the end of a long line whose beginning is too old: it was taken, as all before the
            # cursor was. Anywhere else it is not the agent's.
            strange = self._alignment is None
            return (
                _Record(b"", dropped=True),
                text,
                self._gaps(strange, "the log holds a line that is not the container's"),
            )
        back = self._went_back(stamp)
        if back:
            self._alignment = Alignment(self.cursor, from_start=True)
        batches = self._gaps(back, "the log was repeated from an earlier point")
        record, lost = self._aligned(stamp)
        return record, text, batches + self._gaps(lost, "the log does not hold the last line that was read any more")

    def _aligned(self, stamp: bytes) -> tuple[_Record, bool]:
        """The record, dropped where it was taken before, or its beginning skipped; whether something may be lost."""
        alignment = self._alignment
        if alignment is None:
            return _Record(stamp), False
        took = alignment.took(stamp)
        self._alignment = None if alignment.done else alignment
        if took and alignment.done and self.cursor.inside:
            return _Record(stamp, skip=self.cursor.taken), False
        return _Record(stamp, dropped=took), alignment.done and not alignment.found

    def _pieces(self, record: _Record, text: bytes) -> tuple[list[Batch], bytes]:
        """Pieces of a record's text, for as long as there is more of it than the cap; and what is left of it."""
        batches: list[Batch] = []
        at, end = 0, len(text) - text.endswith(b"\n")
        while end - at > self.cap:
            batches += self._piece(record, text[at : at + self.cap], more=True)
            at += self.cap
        return batches, text[at:] if at else text

    def _text(self, record: _Record, text: bytes) -> list[Batch]:
        """A record's text to its end."""
        batches, last = self._pieces(record, text)
        return batches + self._piece(record, last, more=False)

    def _piece(self, record: _Record, text: bytes, *, more: bool) -> list[Batch]:
        own = text[max(0, record.skip - record.read) :]
        record.read += len(text)
        if record.dropped:
            return []
        ended = text.endswith(b"\n")
        taken = max(record.read, record.skip)
        self.cursor = self.cursor.after([record.stamp]) if ended else self.cursor.within(record.stamp, taken)
        return [Batch(own, self.cursor, record.stamp, continued=more)] if own else []

    def _goes_on(self, lines: list[bytes]) -> bool:
        """Whether no line of a block can have gone back: they are in order, or all within a second."""
        if all(map(le, lines, islice(lines, 1, None))):
            return not self._went_back(lines[0][:STAMP])
        first, last = min(lines)[:STAMP], max(lines)[:STAMP]
        return seconds(last) - seconds(first) <= 1 and not self._went_back(first)

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
