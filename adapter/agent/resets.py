"""When a provider's limit is reset, from what was said: a number, or words such as `resets 9am (Europe/Berlin)`.

Pure, but for the time zones' rules, which the standard library reads from the machine.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_CLOCK = re.compile(
    r"\bresets?\s+(?:at\s+|on\s+)?"
    rf"(?:(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?\s+(?P<day>\d{{1,2}}),?\s+(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>[ap])\.?m\b\.?(?:\s*\((?P<zone>[\w/+-]{1,64})\))?",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"limit reached\|(\d{9,13})\b")
"""As Claude Code 1 told it: `Claude AI usage limit reached|1754700000`."""

_MILLISECONDS = 10**11


def at(seconds: int) -> datetime | None:
    """The moment of a count of seconds, or milliseconds, since 1970."""
    try:
        return datetime.fromtimestamp(seconds / 1000 if seconds >= _MILLISECONDS else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def said(text: str, now: datetime) -> datetime | None:
    """The next moment that a text gives for a reset, seen from `now`. A time without a zone is the pod's: UTC."""
    if epoch := _EPOCH.search(text):
        return at(int(epoch[1]))
    clock = _CLOCK.search(text)
    zone = _zone(clock["zone"]) if clock else None
    if clock is None or zone is None:
        return None
    try:
        return _next(clock, now.astimezone(zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None  # such as the 31st of February, or 13pm


def _zone(name: str | None) -> tzinfo | None:
    if name is None or name.upper() in ("UTC", "GMT", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return None  # no zone's name, or a machine without the rules of time zones


def _next(clock: re.Match[str], now: datetime) -> datetime:
    hour = int(clock["hour"])
    if not 1 <= hour <= 12:
        raise ValueError(f"no hour: {hour}")
    hour = hour % 12 + (12 if clock["half"].lower() == "p" else 0)
    moment = now.replace(hour=hour, minute=int(clock["minute"] or 0), second=0, microsecond=0)
    if clock["month"] is None:
        return moment if moment > now else moment + timedelta(days=1)
    month = _MONTHS.index(clock["month"].lower()) + 1
    moment = moment.replace(month=month, day=int(clock["day"]))
    return moment if moment > now - timedelta(days=1) else moment.replace(year=now.year + 1)
