"""Is the API server there, does it know us, is it new enough, and does its clock go right?"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from adapter.cluster.checks import Check, Ground, error, info, warn
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.credentials import SERVICE_ACCOUNT
from adapter.errors import TABLE, Code

OLDEST = (1, 29)
"""Native sidecars, init containers that run on beside the others, are on from here (KEP-753)."""

SKEW = 5.0
"""Seconds between two clocks that are worth a word. `Date` has whole ones, and an answer takes its time."""

UNREACHABLE = "k8s_api_unreachable"
UNAUTHORIZED = "k8s_unauthorized"
FINAL = frozenset({UNREACHABLE, UNAUTHORIZED})
"""Where one of these is found there is nothing else to find."""


async def api_checks(ground: Ground) -> list[Check]:
    """Version and clock; or the one reason why nothing can be asked."""
    begun = datetime.now(UTC)
    try:
        answer = await ground.ask("GET", "/version")
    except (ApiError, Unreachable) as cause:
        return [refusal(f"{address(ground.connection.server)}: {cause}", cause)]
    middle = begun + (datetime.now(UTC) - begun) / 2
    return [version_check(ground.connection.server, answer.body), *clock_checks(answer.date, middle)]


def refusal(text: str, cause: BaseException | None = None) -> Check:
    """The API server did not answer, or does not accept us."""
    if isinstance(cause, ApiError) and cause.status == 401:
        return error(UNAUTHORIZED, f"our credentials are not accepted: {text}", hint=TABLE[Code.UNAUTHORIZED].hint)
    return error(UNREACHABLE, f"the API server cannot be reached: {text}", hint=_unreachable_hint())


def _unreachable_hint() -> str:
    """In a pod without a token there is one usual reason."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and not (SERVICE_ACCOUNT / "token").exists():
        return "No token is mounted into our pod: set automountServiceAccountToken: true, or name a kubeconfig."
    return "Check the network, the kubeconfig's server and the API server."


def version_check(server: str, body: Mapping[str, Any]) -> Check:
    """Whether the cluster is new enough. A provider's minor version can have a suffix, such as `29+`."""
    told = f"Kubernetes {body.get('gitVersion') or 'of an unknown version'} at {address(server)}"
    parts = [re.match(r"\d+", str(body.get(name) or "")) for name in ("major", "minor")]
    if None in parts:
        return warn("k8s_version_unknown", f"{told}: it is not known whether it is new enough")
    if tuple(int(part[0]) for part in parts if part) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        hint = f"Agents need native sidecars: Kubernetes {oldest} or later."
        return error("k8s_version_too_old", f"{told} is older than {oldest}", hint=hint)
    return info("k8s_api_reachable", told)


def clock_checks(date: datetime | None, ours: datetime) -> list[Check]:
    """How far the API server's clock is from ours. Nothing here is decided by it, but people compare times."""
    if date is None:
        return []
    skew = (date.astimezone(UTC) - ours).total_seconds() + 0.5  # the second that `Date` says has begun
    if abs(skew) <= SKEW:
        return [info("k8s_clock", "our clock and the API server's agree")]
    way = "ahead of" if skew > 0 else "behind"
    message = f"the API server's clock is {abs(skew):.0f} s {way} ours"
    detail = (
        "The adapter decides nothing by it, but times of logs and events will not fit, and tokens may seem expired."
    )
    return [warn("k8s_clock_skew", message, detail=detail, hint="Let both machines keep their time by NTP.")]


def address(server: str) -> str:
    """Where the server is, without what a URL may hold besides: a path or a user can be secret."""
    at = urlsplit(server)
    return f"{at.scheme}://{at.netloc.rpartition('@')[2]}"
