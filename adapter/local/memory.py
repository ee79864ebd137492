"""Memory limits: who uses more than its container may is killed, as the kernel would."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection

    from .containers import Container
    from .node import Node


async def watch_memory(node: Node) -> None:
    """Look now and then, in a thread, and only while there is a limit to keep."""
    while True:
        limited = {one.process.pid: one for one in _limited(node) if one.process is not None}
        if limited:
            used = await asyncio.to_thread(resident, limited)
            for pid, container in limited.items():
                if used.get(pid, 0) > container.memory_limit:
                    kill(container)
        await asyncio.sleep(node.timing.memory_poll)


def _limited(node: Node) -> list[Container]:
    running = (one for worker in node.workers for one in worker.all_containers if one.running)
    return [container for container in running if container.memory_limit]


def resident(sessions: Collection[int]) -> dict[int, int]:
    """Bytes in memory of each of these sessions."""
    used: dict[int, int] = {}
    for pid in psutil.pids():
        try:
            session = os.getsid(pid)
            if session in sessions:
                used[session] = used.get(session, 0) + psutil.Process(pid).memory_info().rss
        except (OSError, psutil.Error):
            continue  # it has ended meanwhile
    return used


def kill(container: Container) -> None:
    """As the kernel does for a container that is over its limit."""
    if container.running and container.process is not None:
        container.out_of_memory = True
        container.process.signal(signal.SIGKILL)


def kill_child(container: Container) -> None:
    """As the kernel does under cgroup v1 when a child of the main process is the largest."""
    if container.process is None:
        return
    children = psutil.Process(container.process.pid).children(recursive=True)
    largest = max(children, key=lambda child: child.memory_info().rss)
    container.out_of_memory = True
    largest.kill()
