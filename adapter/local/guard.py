"""Sees that no process of a cluster outlives it, even if the cluster is killed.

Run as a program it is the guard itself: a process that reads the numbers of the sessions it is to watch from
its standard input, and when that ends, for whatever reason, kills what is left of them: every process of
these sessions, and every process whose environment bears the cluster's mark (one that has begun a session of
its own, a daemon). It uses nothing but the standard library's smallest parts, to start quickly.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

MARK = "CLAUDE_K8S_LOCAL_CLUSTER"


class Guard:
    """The guard as its cluster sees it."""

    def __init__(self, mark: str, rubbish: str = "") -> None:
        """`rubbish` is a directory to be removed when everything is over."""
        import subprocess

        self.mark = mark
        self._popen = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-I", "-S", __file__, mark, rubbish],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, session: int) -> None:
        self._tell(f"+{session}\n")

    def release(self, session: int) -> None:
        self._tell(f"-{session}\n")

    def _tell(self, line: str) -> None:
        try:
            os.write(self._popen.stdin.fileno(), line.encode())  # type: ignore[union-attr]  # it is a pipe
        except BrokenPipeError:
            raise RuntimeError("the guard of the embedded cluster's processes has died") from None

    def stop(self) -> None:
        """Let it clear up, and wait for it."""
        self._popen.communicate()


def main(mark: str, rubbish: str) -> None:
    sessions: set[int] = set()
    for line in sys.stdin:
        number = int(line[1:])
        (sessions.add if line[0] == "+" else sessions.discard)(number)
    mark_entry = f"{MARK}={mark}".encode()
    while left := _left(sessions, mark_entry):
        for pid in left:
            _kill(pid)
    if rubbish:
        import shutil

        shutil.rmtree(rubbish, ignore_errors=True)


def _left(sessions: set[int], mark: bytes) -> list[int]:
    """What is still alive; where there is no /proc, the leaders, once."""
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 - quick to start
        found = list(sessions)
        sessions.clear()
        return found
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return [pid for pid in pids if pid != os.getpid() and _is_ours(pid, sessions, mark)]


def _is_ours(pid: int, sessions: set[int], mark: bytes) -> bool:
    try:
        if _read(pid, "stat").rpartition(b")")[2].split()[0] == b"Z":
            return False  # only its parent can do anything about it
        return os.getsid(pid) in sessions or mark in _read(pid, "environ").split(b"\0")
    except OSError:
        return False


def _read(pid: int, what: str) -> bytes:
    with open(f"/proc/{pid}/{what}", "rb") as file:  # noqa: PTH123 - quick to start
        return file.read()


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):  # it was quicker
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
