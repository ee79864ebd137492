"""Where a reader of a journal is, and what that makes of the journal's entries: the lines that it is given. Pure."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from adapter.plane import Stream
from adapter.plane.store import Entry
from adapter.sidecar.errors import BadCursor

Line = dict[str, Any]

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")

PIECE = 64 * 1024
"""Bytes of log in one line, at most: with what it becomes in memory and as JSON, it bounds a slow reader."""

HEAD = 256
"""Bytes of a log's beginning that are compared, to tell whether two journals count it from the same place.

A transcript's first event holds its session by then. A reader waits for so many, so there are few.
"""

_HEAD = r"(~?[0-9a-f]{1,8}|-)"
CURSOR_PATTERN = r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,15})\.([0-9]{1,15})\.([0-9]{1,15})" + rf"(?:\.{_HEAD}\.{_HEAD})?"


@dataclass(slots=True)
class Doubt:
    """Whether a log begins as the one did that a reader has had, whose first `size` bytes had the checksum `crc`.

    `seen` is what waits for the answer.
    """

    size: int
    crc: int
    seen: list[Entry] = field(default_factory=list)

    def answer(self, entry: Entry) -> bool | None:
        """With the next entry; None: more of the log must come.

        One that does not begin with its first byte was begun where a control plane's log ended, or trimmed: it counts
        as the same.
        """
        self.seen.append(entry)
        begin = b"".join(one.body for one in self.seen)[: self.size]
        if self.seen[0].offset:
            return True
        return zlib.crc32(begin) == self.crc if len(begin) == self.size else None


@dataclass(slots=True)
class Place:
    """What a reader has: the journal's entries up to `seq`, and so many bytes of each log.

    `epoch` names the journal that has counted the entries. Bytes are counted alike by every journal of a run that has
    read its log from the beginning, so they say where to go on even where that journal is lost. `heads` are the
    checksums of the logs' first bytes (`HEAD`), by which that is found out: a journal that was begun after the kubelet
    had rotated the log away counts from what was left. `doubts` are the logs of which it is not known yet.
    """

    epoch: str
    seq: int = 0
    ends: dict[Stream, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    heads: dict[Stream, int] = field(default_factory=dict)
    doubts: dict[Stream, Doubt] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that a cursor names. Raises `BadCursor`."""
        found = re.fullmatch(CURSOR_PATTERN, text)
        if found is None:
            raise BadCursor("after is no cursor of this service: give one that it gave you, or none")
        epoch, seq, stdout, stderr, *heads = found.groups()
        said = {stream: head for stream, head in zip(STREAMS, heads, strict=True) if head not in (None, "-")}
        known = {stream: int(head.lstrip("~"), 16) for stream, head in said.items()}
        place = cls(epoch, int(seq), {"stdout": int(stdout), "stderr": int(stderr)}, known)
        place.doubts = place._doubtful([stream for stream, head in said.items() if head.startswith("~")])
        return place

    def __str__(self) -> str:
        seq = min([self.seq, *(doubt.seen[0].seq - 1 for doubt in self.doubts.values() if doubt.seen)])
        heads = [self._head(stream) for stream in STREAMS if self.heads]
        return ".".join([self.epoch, str(seq), *(str(self.ends[stream]) for stream in STREAMS), *heads])

    def _head(self, stream: Stream) -> str:
        mark = "~" if stream in self.doubts else ""
        return f"{mark}{self.heads[stream]:x}" if stream in self.heads else "-"

    def at(self, epoch: str) -> Place:
        """The same bytes in another journal, from its first entry on."""
        return Place(epoch, 0, self.ends, self.heads, self._doubtful(self.heads))

    def _doubtful(self, streams: Iterable[Stream]) -> dict[Stream, Doubt]:
        ends = self.ends
        return {stream: Doubt(min(ends[stream], HEAD), self.heads[stream]) for stream in streams if ends[stream]}

    def lines(self, entry: Entry) -> Iterator[Line]:
        """The lines of the next entry; each moves the place behind itself."""
        if entry.kind == "log":
            yield from self._compared(entry)
        elif entry.kind == "gap":
            yield from self._decided(entry.data["stream"], same=True)
            yield from self.lost(entry.data["stream"], entry.data["offset"], "it was lost for good")
        self.seq = entry.seq
        if entry.kind in _BESIDE:
            yield self.line(entry.kind, **entry.data)

    def lost(self, stream: Stream, offset: int, why: str) -> Iterator[Line]:
        """That the log goes on, or ends, beyond what the reader has, if it does so."""
        count = offset - self.ends[stream]
        if count > 0:
            if self.ends[stream] < HEAD:
                self.heads.pop(stream, None)
            self.ends[stream] = offset
            yield self._missed(stream, count, f"{count} bytes of {stream} are missing here: {why}")

    def _missed(self, stream: Stream, count: int, message: str) -> Line:
        return self.line("missed", message=message, bytes=count, stream=stream, offset=self.ends[stream])

    def over(self, stream: Stream) -> Iterator[Line]:
        """That nothing more of a log comes: one that is shorter than what was to be compared is another one."""
        if doubt := self.doubts.get(stream):
            yield from self._decided(stream, same=not doubt.seen)

    def line(self, kind: str, /, **fields: Any) -> Line:
        """A line that ends here."""
        return {"cursor": str(self), "type": kind, **fields}

    def _compared(self, entry: Entry) -> Iterator[Line]:
        stream = entry.stream or "stdout"
        if (doubt := self.doubts.get(stream)) is None:
            yield from self._log(entry)
        elif (same := doubt.answer(entry)) is not None:
            yield from self._decided(stream, same=same)

    def _decided(self, stream: Stream, *, same: bool) -> Iterator[Line]:
        """Tells what has waited; and where the log is counted from another place, so are the reader's bytes."""
        if (doubt := self.doubts.pop(stream, None)) is None:
            return
        reached = self.seq
        self.seq = doubt.seen[0].seq - 1 if doubt.seen else reached
        if not same:
            self.ends[stream] = self.heads[stream] = 0
            yield self._missed(stream, 0, f"{stream} {_ANEW}")
        for entry in doubt.seen:
            yield from self._log(entry)
        self.seq = max(reached, self.seq)

    def _learn(self, stream: Stream, piece: bytes) -> None:
        have = self.ends[stream]
        if have == 0 or (have < HEAD and stream in self.heads):
            self.heads[stream] = zlib.crc32(piece[: HEAD - have], self.heads[stream] if have else 0)

    def _log(self, entry: Entry) -> Iterator[Line]:
        """What of it the reader has not. The place is behind the entry only with the last piece of it."""
        stream = entry.stream or "stdout"
        yield from self.lost(stream, entry.offset, "the journal keeps no more of it")
        body, start = entry.body, self.ends[stream] - entry.offset
        while start < len(body):
            end = cut(body, start)
            piece, last = body[start:end], end == len(body)
            self._learn(stream, piece)
            self.ends[stream] = entry.offset + end
            self.seq = entry.seq if last else self.seq
            continued = entry.data["continued"] if last else not piece.endswith(b"\n")
            more = {"continued": continued, "stamp": entry.data["stamp"]}
            yield self.line("log", stream=stream, offset=entry.offset + start, **text_of(piece), **more)
            start = end


_ANEW = (
    "is counted anew, from where the cluster's log began when it was read here: what was rotated away before that is"
    " missing, and what comes may have been told before"
)
_BESIDE = ("event", "meta")


def cut(body: bytes, start: int) -> int:
    """Where a piece that begins at `start` ends: not too far, between two lines, or else between two characters."""
    end = start + PIECE
    if len(body) <= end:
        return len(body)
    return body.rfind(b"\n", start, end) + 1 or next((at for at in range(end, end - 4, -1) if _begins(body[at])), end)


def _begins(byte: int) -> bool:
    """Whether a character of UTF-8 may begin with it."""
    return byte & 0xC0 != 0x80


def text_of(data: bytes) -> dict[str, str]:
    """Log as it fits into JSON: as text where it is UTF-8, else in base64. Bytes stay bytes."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}
