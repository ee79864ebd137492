"""The end of a run, as anybody may see it on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JOB_NAME = "batch.kubernetes.io/job-name"


def over(raw: Mapping[str, Any]) -> str | None:
    """The name of the Job that a raw Job or pod says is over, if it does: what ends a run (docs: the end)."""
    meta, status = raw["metadata"], raw.get("status") or {}
    terminated = any(
        container["name"] == "claude" and "terminated" in container.get("state", {})
        for container in status.get("containerStatuses") or ()
    )
    terminal = any(
        condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )
    return ((meta.get("labels") or {}).get(JOB_NAME) or meta["name"]) if terminated or terminal else None
