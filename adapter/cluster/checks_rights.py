"""May we? Each right of the table, asked for by itself (a SelfSubjectAccessReview, which everybody may ask)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from adapter.cluster.checks import Check, Ground, Level, Subject, cause_of, info, warn
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.rbac import TABLE, Right
from adapter.errors import TABLE as CODES
from adapter.errors import Code

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Access:
    """Which rights we do not have, and which could not be asked for, with the reason."""

    denied: tuple[Right, ...] = ()
    unknown: tuple[tuple[Right, str], ...] = ()


async def access(ground: Ground) -> Access:
    """Asks for every right, all at once."""
    answers: dict[Right, bool | str] = {}

    async def one(right: Right) -> None:
        answers[right] = await _allowed(ground, right)

    async with anyio.create_task_group() as group:
        for right in TABLE:
            group.start_soon(one, right)
    denied = tuple(right for right in TABLE if answers[right] is False)
    return Access(denied, tuple((r, why) for r in TABLE if isinstance(why := answers[r], str)))


async def _allowed(ground: Ground, right: Right) -> bool | str:
    """The answer; or why there is none."""
    try:
        return await allowed(ground, attributes(right, ground.subject))
    except (ApiError, Unreachable) as cause:
        return cause_of(cause)


async def allowed(ground: Ground, asked: Mapping[str, str]) -> bool:
    """Whether we may do something. Raises `ApiError` or `Unreachable`."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": dict(asked)},
    }
    answer = await ground.ask("POST", REVIEWS, body=body)
    return bool((answer.body.get("status") or {}).get("allowed"))


def attributes(right: Right, subject: Subject) -> dict[str, str]:
    """What is asked for. The log of a pod is a subresource: asked for as a resource, it is never allowed."""
    resource, _, part = right.resource.partition("/")
    asked = {"namespace": namespace_of(right, subject), "verb": right.verb, "group": right.group, "resource": resource}
    if part:
        asked["subresource"] = part
    if name := _name(right, subject):
        asked["name"] = name
    return asked


def namespace_of(right: Right, subject: Subject) -> str:
    """Our own pod's for what is about it, the Jobs' for all else."""
    return subject.own.place.namespace if right.only == "pod" and subject.own.place else subject.namespace


def _name(right: Right, subject: Subject) -> str | None:
    """The one object that is asked for: a Role may name it."""
    if right.resource == "namespaces":
        return subject.namespace
    return subject.own.place.name if right.only == "pod" and subject.own.place else None


def rights_checks(found: Access, subject: Subject) -> list[Check]:
    """Each right that is lacking; or that none is."""
    lacking = [_lacking(right, subject) for right in found.denied]
    if found.unknown:
        causes = dict.fromkeys(why for _, why in found.unknown)
        names = ", ".join(str(right) for right, _ in found.unknown)
        message = f"{len(found.unknown)} of {len(TABLE)} rights could not be asked for: {'; '.join(causes)}"
        lacking.append(warn("k8s_rbac_check_failed", message, detail=names))
    return lacking or [info("k8s_rbac", f"all {len(TABLE)} rights are there")]


def _lacking(right: Right, subject: Subject) -> Check:
    place = namespace_of(right, subject)
    message = f"not allowed in namespace {place}: {right}; {right.lost}"
    return Check(right.code, _level(right, subject), message, right.why, CODES[Code.FORBIDDEN].hint)


def _level(right: Right, subject: Subject) -> Level:
    if right.only == "pod" and subject.own.place is None:
        return Level.INFO
    return Level.WARN if right.without or right.only == "service" else Level.ERROR  # not everybody has a service


def denials(found: Access) -> frozenset[tuple[str, str]]:
    """Verbs and resources that are known to be refused."""
    return frozenset((right.verb, right.resource) for right in found.denied)
