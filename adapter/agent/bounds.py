"""Text and JSON of strangers, made fit to be kept: clean, finite and cut to size. Nothing here raises."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

CUT = "…"
"""Stands where something was left out of a text."""

WORD = 256
"""Bytes of a name, an id or a path."""

_EXACT = 2**53
"""Beyond it JavaScript, and whatever stores JSON for it, rounds."""

_STEPS = ((2048, 64, 8), (512, 32, 6), (128, 16, 5), (48, 8, 4), (16, 4, 2), (16, 0, 1))
"""How a document is shrunk, step by step: bytes of a text, entries of a container within it, levels."""

_ENTRIES = 64
"""The most of a document's own entries that are kept: they are its fields."""

_NODES = 4000


def clean(text: str) -> str:
    """The text without what databases and UTF-8 cannot hold: NULs and halves of surrogate pairs."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clip(text: str, most: int) -> str:
    """The text, cleaned, in at most `most` bytes of UTF-8: its beginning and its end, `…` between them."""
    text = clean(text if len(text) <= 2 * most else text[:most] + text[-most:])
    if 4 * len(text) <= most:
        return text
    raw = text.encode()
    if len(raw) <= most:
        return text
    room = max(0, most - len(CUT.encode()))
    head, rest = raw[: room // 2], raw[len(raw) - (room - room // 2) :]
    return head.decode(errors="ignore") + CUT + rest.decode(errors="ignore")


def last_bytes(text: str, most: int) -> str:
    """The end of a text, in at most `most` bytes of UTF-8; `…` before it when something was left out."""
    raw = clean(text[-most - 1 :]).encode()
    if len(raw) <= most and len(text) <= most:
        return raw.decode()
    room = max(0, most - len(CUT.encode()))
    return CUT + raw[len(raw) - room :].decode(errors="ignore")


def word(value: object, most: int = WORD) -> str:
    """A name, an id or a path in at most `most` bytes, of characters that can be seen; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    if len(value) <= most and value.isascii() and value.isprintable():
        return value.strip()  # nearly all of them
    return one_line("".join(each if each.isprintable() else " " for each in clip(value, most)), most)


def one_line(text: str, most: int) -> str:
    """The text as one line of at most `most` bytes."""
    return clip(" ".join(clip(text, 4 * most).split()), most)


def size(value: object) -> int:
    """The length of the value as JSON, written the longest way: with every character outside of ASCII escaped."""
    return len(json.dumps(value))


def bounded(value: object, most: int) -> Any:
    """A copy of decoded JSON that any writer takes, of at most `most` bytes as JSON; `…` if none is that short.

    What is too long, too many or too deep is cut, no more than it must be. Numbers that others would round are
    given as text.
    """
    for text, entries, depth in _STEPS:
        copy = _Copier(text, entries, depth).copy(value, depth)
        if size(copy) <= most:
            return copy
    return CUT


def shortened(data: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Plain JSON of at most `most` bytes as JSON: its longest texts are cut until it is."""
    limit = most
    short = dict(data)
    while size(short) > most and limit > len(CUT):
        limit //= 2
        short = {key: _short(value, limit) for key, value in data.items()}
    return short


def newest(texts: Iterable[str], most: int) -> list[str]:
    """The last of the texts that have at most `most` bytes of UTF-8 together; the last one is cut, not dropped."""
    kept: list[str] = []
    for text in reversed([*texts]):
        most -= len(text.encode())
        if most < 0 and kept:
            break
        kept.append(text if most >= 0 else clip(text, most + len(text.encode())))
    return kept[::-1]


def _short(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return clip(value, limit)
    if isinstance(value, dict):
        return {key: _short(each, limit) for key, each in value.items()}
    return [_short(each, limit) for each in value] if isinstance(value, list) else value


class _Copier:
    """One try to copy a document within limits."""

    def __init__(self, text: int, entries: int, depth: int) -> None:
        self._text, self._entries, self._depth, self._left = text, entries, depth, _NODES

    def copy(self, value: object, depth: int) -> Any:
        self._left -= 1
        if isinstance(value, str):
            return clip(value, self._text)
        if isinstance(value, dict | list):
            return self._container(value, depth) if depth and self._left > 0 else CUT
        return self._scalar(value)

    def _container(self, value: dict[Any, Any] | list[Any], depth: int) -> Any:
        most = _ENTRIES if depth == self._depth else self._entries
        if isinstance(value, list):
            return [self.copy(each, depth - 1) for each in value[:most]]
        entries = list(islice(value.items(), most))
        return {clip(str(key), self._text): self.copy(each, depth - 1) for key, each in entries}

    def _scalar(self, value: object) -> Any:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return value if -_EXACT <= value <= _EXACT else clip(str(value), self._text)
        return value if value is None or isinstance(value, bool) else CUT
