"""A journal's lines on their way to a reader: as server-sent events, or as JSON lines.

Each line is sent when the socket has room for it, and only then is the next one asked for: a reader that does not read
holds the generator, and nothing piles up.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import cast

from starlette.responses import StreamingResponse
from starlette.types import Send

from adapter.sidecar.errors import dumps
from adapter.sidecar.place import Line

SSE, NDJSON = "text/event-stream", "application/x-ndjson"

_QVALUE = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")

UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""For proxies on the way: the second is nginx's."""


class Lines(StreamingResponse):
    """The lines, in the form that was asked for. Their generator is closed with the answer, not at some later time."""

    def __init__(self, lines: AsyncIterator[Line], media: str, reading: Callable[[int], None]) -> None:
        """`reading` is told of a reader that begins (1) and of one that leaves (-1)."""
        body = _encoded(lines, _event if media == SSE else _json, reading)
        super().__init__(body, media_type=media, headers=UNBUFFERED)

    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast("AsyncGenerator[bytes]", self.body_iterator)):
            await super().stream_response(send)


async def _encoded(
    lines: AsyncIterator[Line], encode: Callable[[Line], bytes], reading: Callable[[int], None]
) -> AsyncGenerator[bytes]:
    reading(1)
    try:
        async with aclosing(cast("AsyncGenerator[Line]", lines)):
            async for line in lines:
                yield encode(line)
    finally:
        reading(-1)


def _json(line: Line) -> bytes:
    return dumps(line) + b"\n"


def _event(line: Line) -> bytes:
    """One event. JSON has no line breaks of its own, so it is one line of data."""
    mark = f"id: {line['cursor']}\n" if "cursor" in line else ""
    return f"{mark}event: {line['type']}\n".encode() + b"data: " + dumps(line) + b"\n\n"


def media_of(accept: str | None) -> str:
    """What an `Accept` header wants of the two; JSON lines where it does not care (RFC 9110, 12.5.1)."""
    wanted = [_range(part) for part in (accept or "*/*").split(",")]
    events = _weight(SSE, wanted)
    return SSE if events[0] and events > _weight(NDJSON, wanted) else NDJSON


def _range(part: str) -> tuple[str, float]:
    """A media range, and its weight."""
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    given = next((text for name, _, text in (p.partition("=") for p in parameters) if name.strip() == "q"), "1")
    return media, float(given) if _QVALUE.fullmatch(given) else 1.0


def _weight(media: str, wanted: list[tuple[str, float]]) -> tuple[float, int, int]:
    """How much it is wanted: by weight, then by how plainly it is named, then by who is named first."""
    ranges = ("*/*", f"{media.partition('/')[0]}/*", media)
    found = [(ranges.index(name), -at, weight) for at, (name, weight) in enumerate(wanted) if name in ranges]
    plainness, place, weight = max(found, default=(0, 0, 0.0))
    return weight, plainness, place
