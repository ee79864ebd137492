"""50 MB of stream-json through the transcript's parser, beside `json.loads` of the same lines; and its memory."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import tracemalloc
from collections.abc import Iterator

from adapter.agent.transcript import Transcript
from tests.bench.figures import Figure, quantile, spread
from tests.stream_json import run

SIZE = 50 * 1024 * 1024
CHUNK = 256 * 1024
"""Bytes of a chunk, as a plane is handed them when a log is fast."""

ROUNDS = 3


async def measure(*, full: bool) -> list[Figure]:
    rounds = ROUNDS * 3 if full else ROUNDS
    data = b"".join(run(SIZE))
    lines = data.splitlines()
    pairs = await asyncio.to_thread(lambda: [(_loads(lines), _feeds(data)) for _ in range(rounds)])
    ratios = [ours / base for base, ours in pairs]
    rate = len(data) / quantile([ours for _, ours in pairs], 0.5) / 1e6
    note = f"{len(lines)} lines, {len(data) / 1e6:.0f} MB at {rate:.0f} MB/s; {spread(ratios)}"
    small, large = await asyncio.to_thread(lambda: (_peak(SIZE // 10), _peak(SIZE)))
    grown = f"peak of 5 MB {small / 1024:.0f} KiB, of 50 MB {large / 1024:.0f} KiB"
    speed = quantile(ratios, 0.5)
    return [
        Figure(what="50 MB of stream-json, beside json.loads", value=speed, unit="x", aim=1.5, note=note),
        Figure(what="its memory, for ten times the log", value=large / small, unit="x", aim=1.1, note=grown),
    ]


def _loads(lines: list[bytes]) -> float:
    began = time.perf_counter()
    for line in lines:
        json.loads(line)
    return time.perf_counter() - began


def _feeds(data: bytes) -> float:
    transcript = Transcript()
    began = time.perf_counter()
    for at in range(0, len(data), CHUNK):
        transcript.feed(data[at : at + CHUNK])
    transcript.close()
    return time.perf_counter() - began


def _peak(size: int) -> int:
    """Bytes that the parser holds at most, beside the chunk that it is handed."""
    transcript = Transcript()
    tracemalloc.start()
    for chunk in _chunks(size):
        transcript.feed(chunk)
    transcript.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sys.getsizeof(json.dumps(transcript.to_json())) < 32 * 1024
    return peak


def _chunks(size: int) -> Iterator[bytes]:
    held = b""
    for line in run(size):
        held += line
        if len(held) >= CHUNK:
            yield held
            held = b""
    yield held
