"""A call of which more is wanted than the body of its answer: the API server's warnings, its date."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from adapter.cluster.connection import Connection, Query

_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')
"""One warning of a `Warning` header (RFC 7234, 5.5): a code, who says it (`-`), and the text, quoted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered. `date` is its clock, in whole seconds."""

    body: dict[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = ()
    date: datetime | None = None


async def ask(
    connection: Connection,
    method: str,
    path: str,
    *,
    deadline: float,
    query: Query = (),
    body: dict[str, Any] | None = None,
) -> Answer:
    """As `Connection.call`, with what the answer's head says. Raises `ApiError` or `Unreachable`."""
    answered, headers = await connection.answer(method, path, deadline=deadline, query=query, body=body)
    warnings = tuple(warnings_of(headers.getall("Warning", ())))
    return Answer(answered, warnings, date_of(headers.get("Date")))


def warnings_of(headers: Iterable[str]) -> list[str]:
    """The texts of `Warning` headers. Kubernetes sends one a header; HTTP allows several."""
    found = (match[1] for header in headers for match in _WARNING.finditer(header))
    return [re.sub(r"\\(.)", r"\1", text) for text in found]


def date_of(text: str | None) -> datetime | None:
    """The time of a `Date` header; None if there is none, or nobody could read it."""
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
