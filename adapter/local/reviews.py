"""May I? Whoever has the token may do everything here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .resources import ACCESS_REVIEWS, RULES_REVIEWS

if TYPE_CHECKING:
    from .resources import Resource
    from .store import Object

USER = "local"


def review(resource: Resource, body: Any) -> Object:
    """The review with its answer."""
    asked = body if isinstance(body, dict) else {}
    head = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}}
    return head | {"spec": asked.get("spec") or {}, "status": _status(resource)}


def _status(resource: Resource) -> dict[str, Any]:
    if resource is ACCESS_REVIEWS:
        return {"allowed": True, "reason": "the embedded cluster has no RBAC"}
    if resource is RULES_REVIEWS:
        rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        return {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
    return {"userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]}}
