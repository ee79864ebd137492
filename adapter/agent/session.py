"""Sessions: what is kept of one for the agent's next run, and whether this run can go on with the last. Pure.

A session is a file below the agent's home, found by its id and by the directory that the agent worked in. So it can be
resumed only where that directory is the same and the home is on a volume that outlives the pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import normpath
from typing import Any

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.workspace import workspace

_NAMES = {
    "sessionId": ("sessionId", "session_id"),
    "cwd": ("cwd", "workdir", "folder"),
    "workspaceId": ("workspaceId", "workspace_id"),
    "repoUrl": ("repoUrl", "repo_url"),
    "repoRef": ("repoRef", "repo_ref"),
    "promptBundleKey": ("promptBundleKey", "prompt_bundle_key"),
}
"""The fields of a session and the names each has had, the one to prefer first."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}")
"""What can be an argument of `--resume` and nothing else: an id that begins with a hyphen would be an option."""


def deserialize(stored: object) -> dict[str, Any] | None:
    """A stored session with each field under its one name; None for what is none, such as one without an id.

    Fields that are blank or no text are left out. Fields that are not known here are kept as they are: a codec that
    dropped them lost `needsCompactBeforeNextRun` on its way to the next run.
    """
    if not isinstance(stored, Mapping):
        return None
    known = {field: text for field, names in _NAMES.items() if (text := _first(stored, names))}
    if "sessionId" not in known:
        return None
    aliases = {name for names in _NAMES.values() for name in names}
    return known | {name: value for name, value in stored.items() if name not in aliases}


def serialize(params: object) -> dict[str, Any] | None:
    """A session as it is to be stored: the same rules, so what was stored can be stored again."""
    return deserialize(params)


def display_id(params: object) -> str | None:
    """The id of a session as people are shown it."""
    session = deserialize(params)
    return session["sessionId"] if session else None


def session_for(context: RunContext, config: AgentConfig, *, persistent: bool) -> tuple[str | None, str | None]:
    """The session to resume, and, where there is one that cannot be, a note for the operator that says why.

    `persistent` says whether a volume with the agent's home outlives the pod.
    """
    session = context.session_id
    if not session or not config.resume_last_session:
        return None, None
    reason = _hindrance(session, context, config, persistent)
    if reason:
        return None, f"Session {session[:80]!a} is not resumed, the agent starts afresh: {reason}"
    return session, None


def _hindrance(session: str, context: RunContext, config: AgentConfig, persistent: bool) -> str | None:
    if not _ID.fullmatch(session):
        return "its id is not one the agent could have given"
    if not persistent:
        return "no volume outlives the pod; set workspaceVolumeClaim to a claim that all its runs share"
    then = _first(context.runtime.session_params or {}, _NAMES["cwd"])
    now = _directory(context, config)
    if then and normpath(then) != normpath(now):
        return f"it belongs to the directory {then!a}, and this run works in {now!a}"
    return None


def _directory(context: RunContext, config: AgentConfig) -> str:
    """Where the run works. Its home is on a volume that outlives the pod, and whose volume that is does not matter."""
    some = config.model_copy(update={"workspace_volume_claim": config.workspace_volume_claim or "some-claim"})
    return workspace(context, some, None).cwd


def _first(stored: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    texts = (stored[name].strip() for name in names if isinstance(stored.get(name), str))
    return next(filter(None, texts), None)
