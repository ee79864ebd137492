"""Can we work here? Everything that a run needs of the cluster, asked for before there is one.

Nothing is changed: what is created is created by dry runs. No check can hide another: each has its deadline, and one
that fails itself is a warning with the cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import anyio

from adapter.cluster.checks import Check, Ground, Level, Subject, unchecked
from adapter.cluster.checks_api import FINAL, api_checks
from adapter.cluster.checks_job import job_checks, pod_checks
from adapter.cluster.checks_needs import claim_checks, image_checks, reference_checks
from adapter.cluster.checks_place import place_checks, quota_checks, read_place
from adapter.cluster.checks_rights import access, denials, rights_checks
from adapter.cluster.checks_self import self_checks
from adapter.cluster.connection import Connection

ADAPTER_TYPE = "claude_k8s"

Checker = Callable[[Ground], Awaitable[list[Check]]]

CHECKERS: tuple[tuple[str, str, Checker], ...] = (
    ("k8s_quota_check_failed", "the namespace's quotas", quota_checks),
    ("k8s_job_check_failed", "the Job", job_checks),
    ("k8s_pod_check_failed", "the Job's pod", pod_checks),
    ("k8s_image_check_failed", "the images", image_checks),
    ("k8s_pvc_check_failed", "the workspace's volume", claim_checks),
    ("k8s_secret_check_failed", "the Secrets that are named", reference_checks),
    ("k8s_self_pod_check_failed", "our own pod", self_checks),
)
"""What is asked at once when API server, rights and namespace are known: the code of its own failure, its name."""

ANYWHERE: frozenset[Checker] = frozenset({image_checks, self_checks})
"""What has something to say even of a namespace that is not there."""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order of what depends on what, and when the last of them was made (RFC 3339)."""

    checks: tuple[Check, ...]
    tested_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Report:
        """A report; what two checks found alike is said once."""
        return cls(tuple(dict.fromkeys(checks)))

    @property
    def status(self) -> str:
        """`fail` if one check is an error, else `warn` if one is a warning, else `pass`."""
        levels = {check.level for check in self.checks}
        return "fail" if Level.ERROR in levels else "warn" if Level.WARN in levels else "pass"

    def to_json(self) -> dict[str, Any]:
        """The report in the control plane's shape."""
        return {
            "adapterType": ADAPTER_TYPE,
            "status": self.status,
            "checks": [check.to_json() for check in self.checks],
            "testedAt": self.tested_at,
        }


async def preflight(connection: Connection, subject: Subject, *, call: float) -> list[Check]:
    """Every check of a subject; a call may take `call` seconds, all of them a few times that. Never raises."""
    ground = Ground(connection, subject, call)
    first = await _bounded(("k8s_api_check_failed", "the API server", api_checks), ground)
    if any(check.code in FINAL for check in first):
        return first
    found = await access(ground)
    ground = replace(ground, denied=denials(found))
    place = await read_place(ground)
    ground = replace(ground, enforced=place.enforced)
    checkers = [each for each in CHECKERS if not place.absent or each[2] in ANYWHERE]
    others = await _at_once(checkers, ground)
    return [*first, *rights_checks(found, subject), *place_checks(place, subject), *others]


async def _at_once(checkers: Sequence[tuple[str, str, Checker]], ground: Ground) -> list[Check]:
    """The checks that need nothing of each other; told in their order, whichever is done first."""
    results: dict[int, list[Check]] = {}

    async def one(number: int) -> None:
        results[number] = await _bounded(checkers[number], ground)

    async with anyio.create_task_group() as group:
        for number in range(len(checkers)):
            group.start_soon(one, number)
    return [check for number in range(len(checkers)) for check in results[number]]


async def _bounded(checker: tuple[str, str, Checker], ground: Ground) -> list[Check]:
    code, what, check = checker
    try:
        with anyio.fail_after(3 * ground.call):
            return await check(ground)
    except Exception as cause:  # noqa: BLE001 - whatever goes wrong in one check must not hide the others
        return [unchecked(code, what, cause)]
