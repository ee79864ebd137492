"""Termination messages: a file that a container writes its last words to, for the kubelet to show in its status.

The path in a container (`/dev/termination-log`, or what the spec says) leads to a file of each instance's own; as with
mounts, only where the path stands in command, arguments or environment. Nothing is written to this machine's `/dev`
but by a program that has the path built in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = "/dev/termination-log"
MOST = 4096
"""bytes the kubelet reads, from the end"""


def prepare(path: Path) -> Path:
    """An empty file, as the kubelet mounts it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def read(path: Path) -> str:
    """The file's last bytes; nothing where it is no file any more (opening a pipe would wait for a writer).

    What is not UTF-8 becomes U+FFFD byte by byte, as in Go.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MOST))
        text = file.read(MOST).decode(errors="surrogateescape")
    return "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in text)
