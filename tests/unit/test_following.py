"""The follow's own rules; what it makes of a cluster's logs is in tests/wire."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import anyio
from aiohttp import StreamReader

from adapter.cluster.cursor import Cursor
from adapter.cluster.following import BLOCK, Follower, Read
from adapter.cluster.framing import Batch
from adapter.limits import Limits

LINE = b"2026-11-24T11:02:40.298416001Z " + b"x" * 100 + b"\n"


async def test_a_log_that_has_piled_up_is_framed_piece_by_piece_and_others_have_their_turns() -> None:
    """4 MiB that had piled up were framed at once, and line by line: meanwhile no run of the process could beat."""
    lines = 4 * 1024 * 1024 // len(LINE)
    content = StreamReader(cast("Any", Mock()), 2**21)
    content.feed_data(LINE * lines)
    content.feed_eof()
    turns, taken = 0, list[tuple[int, int]]()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    def put(batches: list[Batch]) -> None:
        taken.extend((turns, len(batch.data)) for batch in batches)

    async def room() -> None: ...

    follower = Follower(cast("Any", None), "default", "pod", cursor=Cursor(), limits=Limits(), put=put, room=room)
    async with anyio.create_task_group() as group:
        group.start_soon(others)
        assert await follower._pump(cast("Any", SimpleNamespace(content=content))) is Read.WHOLE
        group.cancel_scope.cancel()
    assert sum(size for _, size in taken) == lines * 101
    assert max(size for _, size in taken) <= BLOCK
    assert len({turn for turn, _ in taken}) >= len(taken) - 1, "several pieces in one turn of the loop"
