"""Would the API server take the very Job, and its pods? Asked by dry runs, which store nothing."""

from __future__ import annotations

import copy
import re
from typing import Any

from adapter.cluster.checks import Check, Ground, error, info, unchecked, warn
from adapter.cluster.checks_place import absent
from adapter.cluster.checks_rights import allowed
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.references import containers_of
from adapter.errors import TABLE, Code

DRY_RUN = (("dryRun", "All"),)
NAME = "claude-k8s-doctor-"
"""The dry runs' names begin so; with the Job's own name, one that runs now would be in the way."""

_WOULD_VIOLATE = re.compile(r'would violate PodSecurity "(?P<level>[a-z]+):[^"]*": (?P<why>.*)', re.DOTALL)
_STRICTNESS = {"privileged": 0, "baseline": 1, "restricted": 2}


async def job_checks(ground: Ground) -> list[Check]:
    """The Job itself. Pod Security refuses no Job, but warns where it will refuse its pods."""
    if not ground.may("create", "jobs"):
        return []
    try:
        answer = await ground.ask("POST", ground.jobs, query=DRY_RUN, body=_job(ground))
    except (ApiError, Unreachable) as cause:
        return [_refused(cause, ground)]
    return [*security_checks(ground, answer.warnings), *_warnings(answer.warnings)]


def _job(ground: Ground) -> dict[str, Any]:
    job = copy.deepcopy(dict(ground.subject.job))
    job["metadata"] = {key: value for key, value in job["metadata"].items() if key in ("labels", "annotations")}
    job["metadata"]["generateName"] = NAME
    return job


def _refused(cause: ApiError | Unreachable, ground: Ground) -> Check:
    if isinstance(cause, Unreachable) or cause.transient or "does not support dry run" in cause.message:
        return unchecked("k8s_job_check_failed", "the Job", cause)
    if cause.status == 404 and cause.kind == "namespaces":
        return absent(ground.subject.namespace)
    if "exceeded quota" in cause.message:
        return warn("k8s_quota_exhausted", f"no run fits now: {cause.message}", hint=TABLE[Code.POD_QUOTA].hint)
    hint = TABLE[Code.JOB_REJECTED].hint
    return error("k8s_job_rejected", f"the API server refuses the Job: {cause.message}", hint=hint)


def security_checks(ground: Ground, warnings: tuple[str, ...]) -> list[Check]:
    """What Pod Security will do with the pods, from the warnings and from the namespace's own level."""
    hint, level = TABLE[Code.POD_SECURITY].hint, ground.enforced
    privileged = [str(c.get("name")) for c in containers_of(ground.subject.pod) if _is_privileged(c)]
    if privileged and _STRICTNESS.get(level or "", 0) > 0:
        words = f"the namespace's Pod Security level {level} refuses the privileged container {', '.join(privileged)}"
        return [error("k8s_pod_security", words, hint=hint)]
    found = [match for text in warnings if (match := _WOULD_VIOLATE.fullmatch(text))]
    return [_violation(match["level"], match["why"], level, hint) for match in found] or [
        info("k8s_job_accepted", "the API server takes the Job (dry run)")
    ]


def _is_privileged(container: Any) -> bool:
    return bool((container.get("securityContext") or {}).get("privileged"))


def _violation(violated: str, why: str, enforced: str | None, hint: str) -> Check:
    """A level that is warned of need not be the one that is enforced."""
    if _STRICTNESS.get(enforced or "", -1) >= _STRICTNESS.get(violated, 0):
        return error("k8s_pod_security", f"Pod Security ({violated}) refuses the pods: {why}", hint=hint)
    words = f"Pod Security warns of the pods, and may refuse them ({violated}): {why}"
    if enforced:
        words = f"the pods do not fit the Pod Security level {violated}, which is warned of, not enforced: {why}"
    return warn("k8s_pod_security_warning", words)


def _warnings(warnings: tuple[str, ...]) -> list[Check]:
    others = (text for text in warnings if not _WOULD_VIOLATE.fullmatch(text))
    return [warn("k8s_job_warning", f"the API server says of the Job: {text}") for text in others]


async def pod_checks(ground: Ground) -> list[Check]:
    """A pod of the Job, where we may create one. The adapter never does, and its Role does not allow it."""
    account = ground.subject.pod.get("serviceAccountName")
    asked = {"namespace": ground.subject.namespace, "verb": "create", "group": "", "resource": "pods"}
    if not await allowed(ground, asked):
        told = f"it was not checked whether there is a service account {account}"
        return [info("k8s_service_account_unchecked", told)] if account else []
    try:
        await ground.ask("POST", f"{ground.core}/pods", query=DRY_RUN, body=_pod(ground))
    except (ApiError, Unreachable) as cause:
        return [_pod_refused(cause, ground)]
    return [info("k8s_pod_accepted", "the API server takes the Job's pods (dry run)")]


def _pod(ground: Ground) -> dict[str, Any]:
    template = copy.deepcopy(dict(ground.subject.job["spec"]["template"]))
    labels = (template.get("metadata") or {}).get("labels") or {}
    metadata = {"generateName": NAME, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _pod_refused(cause: ApiError | Unreachable, ground: Ground) -> Check:
    """By the words that admission plugins have for it; their status is 403 for all."""
    if isinstance(cause, Unreachable) or cause.transient or "does not support dry run" in cause.message:
        return unchecked("k8s_pod_check_failed", "the Job's pod", cause)
    if cause.status == 404 and cause.kind == "namespaces":
        return absent(ground.subject.namespace)
    for words, code, row in _PLUGINS:
        if words in cause.message:
            return error(code, f"the API server refuses the Job's pods: {cause.message}", hint=TABLE[row].hint)
    if "exceeded quota" in cause.message:
        return warn("k8s_quota_exhausted", f"no run fits now: {cause.message}", hint=TABLE[Code.POD_QUOTA].hint)
    return error("k8s_pod_rejected", f"the API server refuses the Job's pods: {cause.message}")


_PLUGINS = (
    ("violates PodSecurity", "k8s_pod_security", Code.POD_SECURITY),
    ("error looking up service account", "k8s_service_account_missing", Code.SERVICE_ACCOUNT),
    ("must specify", "k8s_quota_unbounded", Code.POD_QUOTA),
)
