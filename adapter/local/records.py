"""What the server remembers of its clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class RequestRecord:
    """One request as it arrived; `status` is None until it is answered."""

    method: str
    path: str
    query: dict[str, str]
    user_agent: str
    at: float
    status: int | None = None


@dataclass
class StreamRecord:
    """One watch or log follow, times on the monotonic clock, as the server saw them."""

    kind: Literal["watch", "log"]
    path: str
    query: dict[str, str]
    opened_at: float
    closed_at: float | None = None
    closed_by: Literal["client", "server"] | None = None
    bytes_sent: int = field(default=0)
