"""A container's process: its own session, its output into a log, nothing of it left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .guard import Guard
    from .logfile import ContainerLog

CHUNK = 65_536
MOST_CHUNKS = 32
"""more than the largest pipe an unprivileged user can make: 1 MiB"""


class Process:
    """A process group that leads a session of its own: a Ctrl-C in the terminal does not reach it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: ContainerLog, guard: Guard) -> None:
        """Raises OSError where the command cannot be started."""
        self._log, self._guard = log, guard
        reading, writing = zip(os.pipe(), os.pipe(), strict=True)
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - running commands is what it is for
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=writing[0],
                stderr=writing[1],
                start_new_session=True,
            )
        except BaseException:
            _close(*reading)
            raise
        finally:
            _close(*writing)
        self.pid = self._popen.pid
        self._guard.watch(self.pid)
        self._pipes = dict(zip(reading, ("stdout", "stderr"), strict=True))
        self.exited: asyncio.Task[int] = asyncio.create_task(self._run())

    async def _run(self) -> int:
        """The exit code, as Kubernetes counts: 128 and the signal's number for a killed one."""
        loop = asyncio.get_running_loop()
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            loop.add_reader(pipe, self._read, pipe)
        try:
            await self._end()
        finally:
            self._bury()
        code = self._popen.returncode
        return 128 - code if code < 0 else code

    async def _end(self) -> None:
        """Wait without reaping: as long as the leader is a zombie its group's number is nobody else's."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            await asyncio.to_thread(self._popen.wait)
            return
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(pidfd, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def _bury(self) -> None:
        """A container's end is the end of all its processes; then its last words."""
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._guard.release(self.pid)
        for pipe in list(self._pipes):
            self._drain(pipe)
        self._log.finish()

    def _drain(self, pipe: int) -> None:
        """What the pipe still holds; a daemon that goes on writing into it is not listened to for ever."""
        for _ in range(MOST_CHUNKS):
            if pipe not in self._pipes or not self._read(pipe):
                break
        self._forget(pipe)

    def _read(self, pipe: int) -> bool:
        """Take what is there; tells whether there may be more."""
        try:
            data = os.read(pipe, CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._log.feed(self._pipes[pipe], data)
        else:
            self._forget(pipe)
        return bool(data)

    def _forget(self, pipe: int) -> None:
        if self._pipes.pop(pipe, None):
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)

    def signal(self, number: int) -> None:
        """Signal the main process, as a container runtime does; KILL is for all of them."""
        if self.exited.done():
            return  # its number may be somebody else's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)

    async def stop(self, grace: float) -> None:
        """TERM, and KILL for what is still there after its grace period."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await asyncio.shield(self.exited)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await asyncio.shield(self.exited)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
