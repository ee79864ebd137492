"""What an agent's Job and its pod are labelled with, so that people and the control plane find them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapter.agent.context import RunContext
from adapter.agent.skills import ADAPTER_TYPE

LABEL_LENGTH = 63
NAME_LENGTH = 256
"""An annotation may hold any text, but all of a Job's together not more than 256 KiB: a name is cut here."""

RESERVED_PREFIXES = ("paperclip.io/", "app.kubernetes.io/", "claude-k8s/", "batch.kubernetes.io/")
RESERVED_NAMES = frozenset({"job-name", "controller-uid"})
"""Labels by which Jobs are found, ours and the Job controller's: one of an agent's own would hide or fake a run."""


def label_value(text: str | None, most: int = LABEL_LENGTH) -> str | None:
    """The text without what a label's value cannot hold; None if nothing is left.

    Two texts can become one value: labels are for finding, and never say for sure whose something is.
    """
    kept = re.sub(r"[^A-Za-z0-9._-]", "", text or "")
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", kept.lstrip("._-")[:most]) or None


def agent_labels(context: RunContext) -> dict[str, str]:
    """The labels of the adapter that was here before: dashboards and selectors know them."""
    values = {
        "app.kubernetes.io/component": "agent-job",
        "paperclip.io/adapter-type": ADAPTER_TYPE,
        "paperclip.io/agent-id": label_value(context.agent.id),
        "paperclip.io/run-id": label_value(context.run_id),
        "paperclip.io/company-id": label_value(context.agent.company_id),
        "paperclip.io/task-id": label_value(context.task_id),
        "paperclip.io/session-id": label_value(context.session_id),
    }
    return {key: value for key, value in values.items() if value}


def agent_annotations(context: RunContext) -> dict[str, str]:
    """Adapter and agent, in full letters."""
    return {"paperclip.io/adapter-type": ADAPTER_TYPE, "paperclip.io/agent-name": context.agent.name[:NAME_LENGTH]}


def own_labels(labels: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The labels that an agent's configuration may set, and the keys that it may not."""
    skipped = tuple(key for key in labels if key.startswith(RESERVED_PREFIXES) or key in RESERVED_NAMES)
    return {key: value for key, value in labels.items() if key not in skipped}, skipped


def skipped_note(skipped: tuple[str, ...]) -> str:
    """What the operator is told of the labels that were not set."""
    return f"{len(skipped)} label(s) with a reserved name were skipped: {', '.join(skipped)}"
