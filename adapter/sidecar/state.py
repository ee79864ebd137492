"""The service's directory: what makes a process that is started again the same replica, with its journals."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import AdapterError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""It becomes part of a Lease's name, and is an annotation's value."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """An open directory, which no other process has. `replica` is the name of its processes, one after another."""

    path: Path
    replica: str

    @property
    def journals(self) -> Path:
        """The file of the runs' journals."""
        return self.path / "journals.sqlite"


@contextmanager
def state_directory(path: Path) -> Iterator[StateDirectory]:
    """The directory, made where it is not there, for this process alone. Raises `AdapterError` where it cannot be."""
    with _reasons(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with _reasons(path):
            _take(lock, path)
            state = StateDirectory(path, _identity(path / "identity"))
        yield state
    finally:
        os.close(lock)


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AdapterError(f"state directory {path}: {error.strerror}; choose another one with --state") from error


def _take(lock: int, path: Path) -> None:
    """The lock goes with the process, however it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode("ascii", "replace").strip()
        who = f"process {holder} serves from it" if holder else "another process serves from it"
        raise AdapterError(f"state directory {path}: {who}; give each its own with --state") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _identity(file: Path) -> str:
    """The name in the file, made once. A crash while it is made leaves none, or a whole one."""
    with suppress(FileNotFoundError):
        name = file.read_text().strip()
        if not _NAME.fullmatch(name):
            raise AdapterError(f"{file}: is no replica's name; remove it, and the next start makes a new one")
        return name
    name = f"r-{secrets.token_hex(6)}"
    draft = file.with_suffix(".new")
    draft.write_text(f"{name}\n")
    draft.replace(file)
    return name
