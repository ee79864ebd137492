"""Where a reader of a journal is, and what that makes of the journal's entries: the lines that it is given. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from adapter.plane import Stream
from adapter.plane.store import Entry
from adapter.sidecar.errors import BadCursor

Line = dict[str, Any]

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")

PIECE = 64 * 1024
"""Bytes of log in one line, at most: with what it becomes in memory and as JSON, it bounds a slow reader."""

CURSOR_PATTERN = r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,15})\.([0-9]{1,15})\.([0-9]{1,15})"


@dataclass(slots=True)
class Place:
    """What a reader has: the journal's entries up to `seq`, and so many bytes of each log.

    `epoch` names the journal that has counted the entries. Bytes are counted alike by every journal of a run, so they
    say where to go on even where that journal is lost.
    """

    epoch: str
    seq: int = 0
    ends: dict[Stream, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that a cursor names. Raises `BadCursor`."""
        found = re.fullmatch(CURSOR_PATTERN, text)
        if found is None:
            raise BadCursor("after is no cursor of this service: give one that it gave you, or none")
        epoch, *numbers = found.groups()
        seq, stdout, stderr = map(int, numbers)
        return cls(epoch, seq, {"stdout": stdout, "stderr": stderr})

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}.{self.ends['stdout']}.{self.ends['stderr']}"

    def at(self, epoch: str) -> Place:
        """The same bytes in another journal, from its first entry on."""
        return replace(self, epoch=epoch, seq=0)

    def lines(self, entry: Entry) -> Iterator[Line]:
        """The lines of the next entry; each moves the place behind itself."""
        if entry.kind == "log":
            yield from self._log(entry)
        elif entry.kind == "gap":
            yield from self.lost(entry.data["stream"], entry.data["offset"], "it was lost for good")
        self.seq = entry.seq
        if entry.kind in _BESIDE:
            yield self.line(entry.kind, **entry.data)

    def lost(self, stream: Stream, offset: int, why: str) -> Iterator[Line]:
        """That the log goes on, or ends, beyond what the reader has, if it does so."""
        count = offset - self.ends[stream]
        if count > 0:
            self.ends[stream] = offset
            yield self.line("missed", message=f"{count} bytes of {stream} are missing here: {why}", bytes=count)

    def line(self, kind: str, /, **fields: Any) -> Line:
        """A line that ends here."""
        return {"cursor": str(self), "type": kind, **fields}

    def _log(self, entry: Entry) -> Iterator[Line]:
        """What of it the reader has not. The place is behind the entry only with the last piece of it."""
        stream = entry.stream or "stdout"
        yield from self.lost(stream, entry.offset, "the journal keeps no more of it")
        body, start = entry.body, self.ends[stream] - entry.offset
        while start < len(body):
            end = cut(body, start)
            piece, last = body[start:end], end == len(body)
            self.ends[stream] = entry.offset + end
            self.seq = entry.seq if last else self.seq
            continued = entry.data["continued"] if last else not piece.endswith(b"\n")
            more = {"continued": continued, "stamp": entry.data["stamp"]}
            yield self.line("log", stream=stream, offset=entry.offset + start, **text_of(piece), **more)
            start = end


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
