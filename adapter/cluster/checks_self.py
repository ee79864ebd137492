"""What an agent would be given of the adapter's own pod. Names only: a value can be secret."""

from __future__ import annotations

from adapter.cluster.checks import Check, Ground, info, warn


async def self_checks(ground: Ground) -> list[Check]:
    """Whether our own pod is known, what would be inherited from it, and what would not, with the reason."""
    own, given = ground.subject.own, ground.subject.inheritance
    if own.raw is None and own.place is None:
        return [info("k8s_self_pod_none", f"nothing is inherited from our own pod: {own.reason or 'it is not known'}")]
    if own.raw is None:
        lacks = not ground.may("get", "pods")  # told among the rights
        return [] if lacks else [warn("k8s_self_pod_unread", f"nothing is inherited: {own.reason}")]
    names = ", ".join(given.names) or "nothing"
    checks = [info("k8s_inherited", f"inherited from our own pod {own.place}: {names}")]
    if given.refused:
        why = "; ".join(f"{name} {reason}" for name, reason in given.refused.items())
        checks.append(info("k8s_not_inherited", f"not inherited: {', '.join(given.refused)}", detail=why))
    return checks
