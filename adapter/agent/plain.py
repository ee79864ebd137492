"""Plain JSON: what may travel, and how deep."""

from __future__ import annotations

import math
from typing import Any

DEEPEST = 64
"""Levels of nesting. Recursive readers of a document, ours and the control plane's, give up somewhere beyond."""

_LARGEST = 2**63


def plain(value: object, *, depth: int = DEEPEST) -> Any:
    """A copy of the value that any JSON writer takes.

    Half a surrogate pair, which is what JavaScript's `slice` leaves of an emoji, becomes U+FFFD. Raises ValueError,
    phrased to follow the name of the field, for what is no JSON, is nested too deep, or is too large a number.
    """
    if depth < 0:
        raise ValueError(f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_key(key): plain(each, depth=depth - 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, depth=depth - 1) for each in value]
    return _scalar(value)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError("has a key that is not text")
    return str(plain(key))


def _scalar(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError("contains something that JSON cannot carry")
