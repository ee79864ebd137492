"""The namespace: whether it is there, how strict it is, and what its quotas leave room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from adapter.cluster.checks import Check, Ground, Subject, error, info, unchecked, warn
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.quantities import Amounts, pod_amounts, quantity, without

ENFORCE = "pod-security.kubernetes.io/enforce"
ROOM = "Wait for other pods to end, ask for less, or raise the quota."


@dataclass(frozen=True, slots=True)
class Place:
    """The namespace as far as it could be read: `raw` or why not; neither where that is not allowed."""

    raw: Mapping[str, Any] | None = None
    problem: ApiError | Unreachable | None = None

    @property
    def absent(self) -> bool:
        """Whether there is no such namespace."""
        return isinstance(self.problem, ApiError) and self.problem.status == 404

    @property
    def enforced(self) -> str | None:
        """The Pod Security level of its own; without one, the cluster's default holds, which nobody can read."""
        labels = ((self.raw or {}).get("metadata") or {}).get("labels") or {}
        return labels.get(ENFORCE)


async def read_place(ground: Ground) -> Place:
    """Reads the namespace. A right to get the namespace that is ours to use is enough for that: no ClusterRole."""
    if not ground.may("get", "namespaces"):
        return Place()
    try:
        return Place((await ground.ask("GET", ground.core)).body)
    except (ApiError, Unreachable) as problem:
        return Place(problem=problem)


def place_checks(place: Place, subject: Subject) -> list[Check]:
    """Whether Jobs can be created in the namespace at all."""
    if place.absent:
        return [absent(subject.namespace)]
    if place.raw is None and subject.at_home:
        return [info("k8s_namespace_exists", f"namespace {subject.namespace} is our own pod's")]
    if place.problem is not None:
        return [unchecked("k8s_namespace_check_failed", f"namespace {subject.namespace}", place.problem)]
    return [_present(place, subject.namespace)] if place.raw is not None else []


def absent(namespace: str) -> Check:
    return error(
        "k8s_namespace_missing", f"there is no namespace {namespace}", hint="Create the namespace, or name another."
    )


def _present(place: Place, namespace: str) -> Check:
    assert place.raw is not None  # noqa: S101 - the caller has looked
    if (place.raw.get("status") or {}).get("phase") == "Terminating":
        hint = "Wait for it to be gone and create it again, or name another."
        return error("k8s_namespace_terminating", f"namespace {namespace} is being deleted", hint=hint)
    level = f"Pod Security: {place.enforced}" if place.enforced else "no Pod Security level of its own"
    return info("k8s_namespace_exists", f"namespace {namespace} is there ({level})")


async def quota_checks(ground: Ground) -> list[Check]:
    """Whether the namespace's quotas leave room for one more run."""
    if not ground.may("list", "resourcequotas"):
        return []
    needs = needs_of(ground.subject)
    found = [check for quota in await _quotas(ground) for check in quota_check(quota, needs, ground.subject.pod)]
    return found or [info("k8s_quota", "no quota bounds the namespace")]


async def _quotas(ground: Ground) -> list[Mapping[str, Any]]:
    try:
        answer = await ground.ask("GET", f"{ground.core}/resourcequotas")
    except ApiError as problem:
        if problem.status == 404:  # the embedded cluster has none; any other answers with an empty list
            return []
        raise
    return list(answer.body.get("items") or ())


def needs_of(subject: Subject) -> Amounts:
    """What one run counts for, by the names that a quota has for it. An agent's Secret and lock are counted always."""
    one = Fraction(1)
    kinds = ("pods", "secrets", "configmaps")
    needs = {name: one for kind in kinds for name in (kind, f"count/{kind}")} | {"count/jobs.batch": one}
    for bound in ("requests", "limits"):
        needs |= {f"{bound}.{name}": amount for name, amount in pod_amounts(subject.pod, bound).items()}
    bare = {name.removeprefix("requests."): each for name, each in needs.items() if name.startswith("requests.")}
    return needs | bare


def quota_check(quota: Mapping[str, Any], needs: Amounts, pod: Mapping[str, Any]) -> list[Check]:
    """What one quota means for a run. One for certain pods only may not be about ours: it is named, not judged."""
    name = quota["metadata"]["name"]
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return [info("k8s_quota", f"quota {name} is for certain pods only: whether it leaves room was not checked")]
    hard, used = status.get("hard") or spec.get("hard") or {}, status.get("used") or {}
    problems = [*_short(name, hard, used, needs), *_unbounded(name, hard, pod)]
    return problems or [info("k8s_quota", f"quota {name} leaves room for {_room(hard, used, needs)}")]


def _short(name: str, hard: Mapping[str, str], used: Mapping[str, str], needs: Amounts) -> Iterator[Check]:
    for key, need in needs.items():
        if key not in hard or need == 0:
            continue
        told = f"quota {name}: {key}, used {used.get(key, '0')} of {hard[key]}"
        if need > quantity(hard[key]):
            yield error("k8s_quota_too_small", f"a run can never fit into {told}; it needs {_number(need)}", hint=ROOM)
        elif need > quantity(hard[key]) - quantity(used.get(key, "0")):
            yield warn("k8s_quota_exhausted", f"no run fits now into {told}; it needs {_number(need)}", hint=ROOM)


def _unbounded(name: str, hard: Mapping[str, str], pod: Mapping[str, Any]) -> Iterator[Check]:
    """A quota on what a container does not bound refuses the pod, unless a LimitRange gives it a default."""
    for key in hard:
        bound, _, resource = key.partition(".") if "." in key else ("requests", ".", key)
        if bound in ("requests", "limits") and resource in ("cpu", "memory") and (bad := without(pod, bound, resource)):
            message = f"quota {name} bounds {key}, and container {', '.join(bad)} has no {bound} for {resource}"
            hint = "Set it in the configuration's resources, or give the namespace a LimitRange with defaults."
            yield warn("k8s_quota_unbounded", message, hint=hint)


def _room(hard: Mapping[str, str], used: Mapping[str, str], needs: Amounts) -> str:
    counted = [key for key, need in needs.items() if key in hard and need > 0]
    if not counted:
        return "any number of runs: it bounds nothing that a run needs"
    least = min(counted, key=lambda key: (quantity(hard[key]) - quantity(used.get(key, "0"))) / needs[key])
    runs = int((quantity(hard[least]) - quantity(used.get(least, "0"))) / needs[least])
    return f"{runs} more {'run' if runs == 1 else 'runs'} ({least}: used {used.get(least, '0')} of {hard[least]})"


def _number(amount: Fraction) -> str:
    return str(int(amount)) if amount.denominator == 1 else f"{float(amount):g}"
