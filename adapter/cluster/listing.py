"""What is there, as it is: raw objects of a namespace, and the cluster's own time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from adapter.cluster.answers import ask
from adapter.cluster.connection import Connection

Raw = dict[str, Any]
Kind = Literal["jobs", "pods", "events"]


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects, oldest first. `at` is the API server's clock, by which their times can be told as ages."""

    items: tuple[Raw, ...] = field(repr=False)
    at: datetime


async def listing(
    connection: Connection, namespace: str, kind: Kind, *, deadline: float, labels: str = "", fields: str = ""
) -> Listing:
    """What matches both selectors. Raises `ApiError` or `Unreachable`."""
    group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
    chosen = (("labelSelector", labels), ("fieldSelector", fields))
    query = [(name, text) for name, text in chosen if text]
    answer = await ask(connection, "GET", f"{group}/namespaces/{namespace}/{kind}", deadline=deadline, query=query)
    items = sorted(answer.body.get("items") or (), key=lambda raw: str(raw["metadata"].get("creationTimestamp")))
    return Listing(tuple(items), answer.date or datetime.now(UTC))
