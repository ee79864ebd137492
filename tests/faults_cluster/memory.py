"""The memory that this process grows by."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

MIB = 1024 * 1024


class Memory:
    """Looks on, ten times a second, from a thread of its own: a busy event loop would look when it is over."""

    def __init__(self) -> None:
        self._before = self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Memory:
        self._before = self._most = psutil.Process().memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        """How many bytes more it was at most."""
        return self._most - self._before

    def words(self) -> str:
        return f"memory +{self.grown // MIB} MiB"

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self._most = max(self._most, psutil.Process().memory_info().rss)
