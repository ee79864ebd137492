"""Processes that the benchmark starts: each says a line of JSON at a time, and ends when its standard input does."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

LONGEST = 64 * 1024 * 1024
"""Bytes of one line: the records of a whole benchmark."""


class Program:
    """A program of this package that is running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    async def hear(self) -> dict[str, Any]:
        """The next thing it says. Raises EOFError when it has ended instead."""
        line = await self._stdout.readline()
        if not line:
            raise EOFError("a program of the benchmark has ended too early: see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self) -> dict[str, Any]:
        """Asks it for what it has to say."""
        self._stdin.write(b"\n")
        await self._stdin.drain()
        return await self.hear()


@asynccontextmanager
async def program(name: str, *arguments: object) -> AsyncIterator[Program]:
    """Runs a program of this package. It leads a session of its own: a Ctrl-C reaches it as the end of its input."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.bench.{name}", *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST,
        start_new_session=True,
    )
    try:
        yield Program(process)
    finally:
        process.stdin.close()  # type: ignore[union-attr]  # it is a pipe; before Python 3.12 communicate() left it open
        await process.communicate()


def say(**data: Any) -> None:
    """What a program says."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


async def asked() -> bool:
    """Waits until a program is asked; False when it is to end."""
    return bool(await asyncio.to_thread(sys.stdin.readline))


def quiet() -> None:
    """Only faults are logged, and not where programs speak."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
