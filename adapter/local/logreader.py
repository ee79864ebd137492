"""What the log endpoint makes of a CRI file."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from . import times
from .errors import Cause, bad_request, invalid
from .logfile import STAMP, TEXT
from .watches import TRUE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from typing import BinaryIO

    from .logfile import ContainerLog

BLOCK = 65_536
FULL = ord("F")


@dataclass(frozen=True)
class LogOptions:
    """The query of a log request."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: bytes = b""
    tail: int | None = None
    limit: int | None = None

    @classmethod
    def read(cls, pod: str, query: Mapping[str, str]) -> LogOptions:
        _refuse_bad_values(pod, query)
        tail, limit = query.get("tailLines"), query.get("limitBytes")
        return cls(
            container=query.get("container", ""),
            follow=query.get("follow") in TRUE,
            previous=query.get("previous") in TRUE,
            timestamps=query.get("timestamps") in TRUE,
            since=_since(query),
            tail=None if tail is None else int(tail),
            limit=None if limit is None else int(limit),
        )


def _refuse_bad_values(pod: str, query: Mapping[str, str]) -> None:
    causes = []
    for name, least in (("sinceSeconds", 1), ("limitBytes", 1), ("tailLines", 0)):
        value = _number(name, query.get(name))
        if value is not None and value < least:
            words = "greater than 0" if least else "greater than or equal to 0"
            causes.append(Cause.invalid(name, value, f"must be {words}"))
    if "sinceTime" in query and "sinceSeconds" in query:
        causes.append(Cause.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if query.get("stream"):
        causes.append(Cause.forbidden("stream", "may not be specified"))
    if causes:
        raise invalid("PodLogOptions", "", pod, causes)


def _number(name: str, text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})') from None


def _since(query: Mapping[str, str]) -> bytes:
    """The first stamp wanted. `sinceTime` travels in whole seconds, cut downwards; `sinceSeconds` does not."""
    if text := query.get("sinceTime"):
        try:
            moment = times.parse(text if "z" not in text else "")
        except ValueError:
            raise bad_request(
                f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"'
            ) from None
        return stamp(moment.replace(microsecond=0))
    if seconds := query.get("sinceSeconds"):
        return stamp(datetime.now(UTC) - timedelta(seconds=int(seconds)))
    return b""


def stamp(moment: datetime) -> bytes:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


class Rendering:
    """Turns entries into what a client reads. As in the kubelet, one line state for both streams."""

    def __init__(self, options: LogOptions) -> None:
        self._stamped, self._since = options.timestamps, options.since
        self._left = math.inf if options.limit is None else options.limit
        self._at_start = True

    @property
    def full(self) -> bool:
        """Whether `limitBytes` is reached."""
        return self._left <= 0

    def render(self, entries: list[bytes]) -> bytes:
        if self._since or not self._at_start or any(entry[TEXT - 2] != FULL for entry in entries):
            text = b"".join([self._one(entry) for entry in entries])
        elif self._stamped:
            text = b"".join([entry[: STAMP + 1] + entry[TEXT:] + b"\n" for entry in entries])
        else:
            text = b"".join([entry[TEXT:] + b"\n" for entry in entries])
        return self._limited(text)

    def _one(self, entry: bytes) -> bytes:
        """A part that is too old is left out, and yet it is the beginning of its line."""
        starts, ends = self._at_start, entry[TEXT - 2] == FULL
        self._at_start = ends
        if entry[:STAMP] < self._since:
            return b""
        prefix = entry[: STAMP + 1] if self._stamped and starts else b""
        return prefix + entry[TEXT:] + (b"\n" if ends else b"")

    def _limited(self, text: bytes) -> bytes:
        if self._left == math.inf:
            return text
        text = text[: int(self._left)]
        self._left -= len(text)
        return text


async def read(log: ContainerLog, options: LogOptions) -> AsyncGenerator[bytes, None]:
    """The log as the client wants it, in pieces; with `follow` until its container has ended."""
    rendering = Rendering(options)
    source = _blocks(log, options)
    try:
        async for entries in source:
            if text := rendering.render(entries):
                yield text
            if rendering.full:
                return
    finally:
        await source.aclose()


async def _blocks(log: ContainerLog, options: LogOptions) -> AsyncGenerator[list[bytes], None]:
    """The entries of the newest file, then of those that come after it.

    A reader keeps the file it has open. When that has ended it goes on with the newest: a reader that was
    two rotations behind has lost a file by then, as with the real one.
    """
    generation, file = log.generation, log.path.open("rb")
    try:
        _skip_to_tail(file, options.tail)
        while True:
            closed, current = log.closed, log.generation
            for block in _entries(file):
                yield block
            if current != generation:
                file.close()
                generation, file = log.generation, log.path.open("rb")
            elif not options.follow or closed:
                return
            elif (log.closed, log.generation) == (closed, current) and _at_end(file):
                await log.grown.wait()
    finally:
        file.close()


def _at_end(file: BinaryIO) -> bool:
    position = file.tell()
    return file.seek(0, 2) == file.seek(position)


def _entries(file: BinaryIO) -> Iterator[list[bytes]]:
    """Whole entries, as many at a time as make a good write."""
    rest = b""
    while block := file.read(BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield lines
    file.seek(-len(rest), 1)


def _skip_to_tail(file: BinaryIO, count: int | None) -> None:
    """Entries are counted, so a long line counts as many as it has parts."""
    if count is None:
        return
    starts: deque[int] = deque(maxlen=count + 1)
    starts.append(0)
    for line in file:
        starts.append(starts[-1] + len(line) if starts else 0)
    file.seek(starts[0])
