"""Leases: what of one is kept, and why one is refused."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from . import times
from .errors import Cause

TIMES = ("acquireTime", "renewTime")
TEXTS = ("holderIdentity",)
NUMBERS = {"leaseDurationSeconds": 1, "leaseTransitions": 0}
"""numbers, and the least that each may be"""

LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
STEPS = (
    *(("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T")),
    *(("15", r"\d\d"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d")),
    *((".000000", r"\.\d{6}"), ("Z07:00", r"Z|[+-]\d\d:\d\d")),
)
"""a time as Go reads it, and how it calls each step"""


def complete(lease: dict[str, Any]) -> None:
    """What is null or unknown is not kept; times are told in UTC, whatever they were written in."""
    given = lease.get("spec") or {}
    spec = {key: given[key] for key in (*TIMES, *TEXTS, *NUMBERS) if given.get(key) is not None}
    lease["spec"] = spec | {key: _in_utc(spec[key]) for key in TIMES if key in spec}


def _in_utc(text: str) -> str:
    return times.parse(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check(lease: dict[str, Any]) -> list[Cause]:
    """The numbers that are too small."""
    words = {0: "must be greater than or equal to 0", 1: "must be greater than 0"}
    spec = lease["spec"]
    few = [key for key, least in NUMBERS.items() if spec.get(key, least) < least]
    return [Cause.invalid(f"spec.{key}", spec[key], words[NUMBERS[key]]) for key in few]


def decode_check(lease: dict[str, Any]) -> str | None:
    """As Go's decoder complains about what it cannot read; None if it can read all."""
    spec = lease.get("spec") or {}
    if not isinstance(spec, dict):
        return f"json: cannot unmarshal {_what(spec)} into Go struct field Lease.spec of type v1.LeaseSpec"
    given = {key: value for key, value in spec.items() if value is not None}
    return next((why for key, value in given.items() if (why := _undecodable(key, value))), None)


def _undecodable(key: str, value: object) -> str | None:
    wanted = "int32" if key in NUMBERS else "string" if key in (*TIMES, *TEXTS) else ""
    fits = _is_int32(value) if wanted == "int32" else isinstance(value, str) or not wanted
    if not fits:
        what = f"number {value}" if wanted == "int32" and _what(value) == "number" else _what(value)
        return f"json: cannot unmarshal {what} into Go struct field LeaseSpec.spec.{key} of type {wanted}"
    return _not_a_time(str(value)) if key in TIMES else None


def _is_int32(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def _what(value: object) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def _not_a_time(text: str) -> str | None:
    """Exactly six digits of a second: nothing else is a time here."""
    rest = text
    for name, pattern in STEPS:
        match = re.match(pattern, rest)
        if match is None:
            return f'parsing time "{text}" as "{LAYOUT}": cannot parse "{rest}" as "{name}"'
        rest = rest[match.end() :]
    if rest:
        return f'parsing time "{text}": extra text: "{rest}"'
    try:
        times.parse(text)
    except ValueError as error:
        return f'parsing time "{text}": {str(error).split()[0]} out of range'
    return None
