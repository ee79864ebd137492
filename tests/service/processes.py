"""Processes of `claude-k8s`: started, heard, paused, killed, and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio

START = 60
"""Seconds within which a process must have said where it serves; on a busy machine its imports take some."""

LOOK = 0.3
"""Seconds between two looks at what is polled."""

T = TypeVar("T")

COMMAND = ("-m", "adapter.cli")

HASTY = ("-m", "tests.service.hasty")
"""The same command with a shorter tenure: a dead replica's runs are taken over after three seconds, not fifteen."""


class Process:
    """One process after another with the same arguments. Each one's stderr is added to the file `log`."""

    def __init__(self, log: Path, *arguments: str, command: tuple[str, ...] = COMMAND, warnings: str = "error") -> None:
        self._command, self._arguments, self._environment = command, arguments, _environment(warnings)
        self._process: asyncio.subprocess.Process | None = None
        self.log = log
        self.said: str | None = None

    def arguments(self) -> tuple[str, ...]:
        """What it is started with."""
        return self._arguments

    async def start(self) -> None:
        """Starts it, and returns at once; what it says first will be in `said`."""
        assert self._process is None, "it is running"
        self.said = None
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._command, *self.arguments()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )

    async def up(self) -> str:
        """What it says first, once it serves."""
        assert self._process
        assert self._process.stdout
        if self.said is None:
            with anyio.fail_after(START):
                line = (await self._process.stdout.readline()).decode()
            assert line, f"{self._arguments} ended instead of serving: {self.log.read_text()[-2000:]}"
            self.said = line.strip()
        return self.said

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends it a signal that ends it; its exit code."""
        assert self._process
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        with anyio.fail_after(START):
            status = await self._process.wait()
        self._process, self.said = None, None
        return status

    async def kill(self) -> None:
        """`kill -9`."""
        status = await self.end(signal.SIGKILL)
        assert status == -signal.SIGKILL, (
            f"it had ended before it was killed ({status}): {self.log.read_text()[-2000:]}"
        )

    @property
    def pid(self) -> int:
        """Its number, while it is running."""
        assert self._process
        return self._process.pid

    async def discard(self) -> None:
        """Ends it, if it is running, at the end of a test."""
        if self._process:
            await self.end(signal.SIGKILL)


async def until(holds: Callable[[], Awaitable[T]], seconds: float = 60) -> T:
    """Asks again and again until the answer is a yes. Other processes are polled: they have no event of ours."""
    with anyio.fail_after(seconds):
        while not (answer := await holds()):  # noqa: ASYNC110 - see above
            await anyio.sleep(LOOK)
        return answer


def _environment(warnings: str) -> dict[str, str]:
    """Warnings are errors, and no setting of whoever runs the tests counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLAUDE_K8S_", "OTEL_"))}
    return {**kept, "PYTHONWARNINGS": warnings}


def free_port() -> int:
    """A port that is free, and that no connection on its way out is given while a process is started again."""
    while True:
        port = random.randint(20000, 30000)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
