"""What does not fit on the node: it is as large as this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from .environment import quantity

if TYPE_CHECKING:
    from .store import Object

NO_NODE = (
    "0/1 nodes are available: 1 {why}. no new claims to deallocate, preemption: "
    "0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
CORDONED = NO_NODE.format(why="node(s) were unschedulable")


def too_large(pod: Object) -> str | None:
    """Why no node can ever take this pod; None if one can."""
    there = {"cpu": float(psutil.cpu_count() or 1), "memory": float(psutil.virtual_memory().total)}
    short = next((what for what, amount in there.items() if _requested(pod, what) > amount), None)
    return NO_NODE.format(why=f"Insufficient {short}") if short else None


def _requested(pod: Object, what: str) -> float:
    """A limit without a request is a request."""
    resources = [container.get("resources") or {} for container in pod["spec"]["containers"]]
    wanted = ((one.get("limits") or {}) | (one.get("requests") or {}) for one in resources)
    return sum(quantity(amounts.get(what, 0)) for amounts in wanted)
