"""Secrets taken out of what is told: every occurrence, overlapping ones too, and what a cut has left of one. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from adapter.agent.bounds import CUT

SHORTEST = 6
"""Characters. A shorter secret would take ordinary words with it, and is none."""

MASK = "***"


class Redactor:
    """Replaces the values of secrets by `***`. Its `repr` shows none of them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = {part.strip() for secret in secrets for part in _forms(secret)}
        self._secrets = sorted(part for part in parts if len(part) >= SHORTEST)

    def text(self, text: str) -> str:
        """The text without secrets. Where they overlap or touch, one mask stands for all of them."""
        masked, end = [], 0
        for start, stop in _joined(sorted(self._spans(text))):
            masked += [text[end:start], MASK]
            end = stop
        return "".join([*masked, text[end:]]) if masked else text

    def plain(self, value: Any) -> Any:
        """Plain JSON without secrets, in keys as in values."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.plain(each) for key, each in value.items()}
        return [self.plain(each) for each in value] if isinstance(value, list) else value

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for secret in self._secrets:
            for at in _found(secret, text):
                yield at, at + len(secret)
        for cut in _found(CUT, text):
            yield from self._beside(text, cut)

    def _beside(self, text: str, cut: int) -> Iterator[tuple[int, int]]:
        """The beginnings of secrets before a cut, and the ends of secrets behind it."""
        behind = cut + len(CUT)
        for secret in self._secrets:
            for at in _found(secret[:SHORTEST], text, max(0, cut - len(secret)), cut):
                if secret.startswith(text[at:cut]):
                    yield at, cut
            for at in _found(secret[-SHORTEST:], text, behind, behind + len(secret)):
                if secret.endswith(text[behind : at + SHORTEST]):
                    yield behind, at + SHORTEST


def _forms(secret: str) -> Iterator[str]:
    """A secret as it may stand in a text: whole, a line of it, or as part of a JSON text."""
    yield secret
    yield from secret.splitlines()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]


def _found(part: str, text: str, start: int = 0, stop: int | None = None) -> Iterator[int]:
    at = text.find(part, start, stop)
    while at >= 0:
        yield at
        at = text.find(part, at + 1, stop)


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start = stop = -1
    for first, last in spans:
        if first <= stop:
            stop = max(stop, last)
            continue
        if stop > start:
            yield start, stop
        start, stop = first, last
    if stop > start:
        yield start, stop
