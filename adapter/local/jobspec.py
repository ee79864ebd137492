"""Defaults and rules of Jobs and pod templates."""

from __future__ import annotations

import re
from typing import Any

from .errors import ApiError, Cause, bad_request

Spec = dict[str, Any]

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
JOB_TRACKING = "batch.kubernetes.io/job-tracking"

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAME_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NOT_NEGATIVE = (
    "parallelism",
    "completions",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
IMMUTABLE = ("completions", "selector", "completionMode", "manualSelector", "podFailurePolicy")


def complete_job(job: Spec) -> None:
    spec = job["spec"] = dict(job.get("spec") or {})
    defaults = {"parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False}
    defaults |= {"manualSelector": False, "podReplacementPolicy": "TerminatingOrFailed"}
    if "completions" not in spec and "parallelism" not in spec:
        defaults["completions"] = 1
    for key, value in defaults.items():
        spec.setdefault(key, value)
    _label(job)
    template = spec["template"]
    complete_pod_spec(template.setdefault("spec", {}))
    job.setdefault("status", {})


def _label(job: Spec) -> None:
    """The controller's labels, in both spellings, on the template and on the Job if it has none."""
    metadata, spec = job["metadata"], job["spec"]
    uid, name = metadata["uid"], metadata["name"]
    labels = {CONTROLLER_UID: uid, JOB_NAME: name, "controller-uid": uid, "job-name": name}
    template = spec["template"] = dict(spec.get("template") or {})
    inner = template["metadata"] = dict(template.get("metadata") or {})
    inner["labels"] = (inner.get("labels") or {}) | labels
    metadata["labels"] = labels if not metadata.get("labels") else metadata["labels"]
    spec.setdefault("selector", {"matchLabels": {CONTROLLER_UID: uid}})


def complete_pod(metadata: Spec, spec: Spec) -> None:
    complete_pod_spec(spec)
    account = spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", account)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    metadata.setdefault("generation", 1)


def complete_pod_spec(spec: Spec) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for key in ("containers", "initContainers"):
        if spec.get(key):
            spec[key] = [_complete_container(container) for container in spec[key]]


def _complete_container(container: Spec) -> Spec:
    image = container.get("image") or ""
    latest = ":" not in image.split("/")[-1] or image.endswith(":latest")
    defaults: Spec = {"resources": {}, "terminationMessagePath": "/dev/termination-log"}
    defaults |= {"terminationMessagePolicy": "File", "imagePullPolicy": "Always" if latest else "IfNotPresent"}
    return defaults | container


def check_job(job: Spec) -> list[Cause]:
    spec = job["spec"]
    if spec.get("completionMode") == "Indexed":
        raise ApiError(422, "the embedded cluster runs NonIndexed Jobs only", "Invalid", {})
    causes = [
        Cause.invalid(f"spec.{key}", spec[key], "must be greater than or equal to 0")
        for key in NOT_NEGATIVE
        if (spec.get(key) or 0) < 0
    ]
    template = spec["template"]["spec"]
    causes += check_pod_spec("spec.template.spec", template)
    if not causes and template["restartPolicy"] not in ("OnFailure", "Never"):
        why = 'valid values: "OnFailure", "Never"'
        causes.append(Cause.required("spec.template.spec.restartPolicy", why))
    return causes


def check_pod_spec(path: str, spec: Spec) -> list[Cause]:
    if not spec.get("containers"):
        return [Cause.required(f"{path}.containers")]
    causes: list[Cause] = []
    names: set[str] = set()
    for key in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(key) or ()):
            causes += _check_container(f"{path}.{key}[{index}]", container, names)
    return causes + _check_mounts(path, spec)


def _check_container(path: str, container: Spec, names: set[str]) -> list[Cause]:
    name = container.get("name") or ""
    causes = []
    if not name:
        causes.append(Cause.required(f"{path}.name"))
    elif not NAME.fullmatch(name) or len(name) > 63:
        causes.append(Cause.invalid(f"{path}.name", name, NAME_WORDS))
    elif name in names:
        causes.append(Cause(f"{path}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate"))
    names.add(name)
    if not container.get("image"):
        causes.append(Cause.required(f"{path}.image"))
    return causes


def _check_mounts(path: str, spec: Spec) -> list[Cause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    return [
        Cause(
            f"{path}.{key}[{index}].volumeMounts[{number}].name",
            f'Not found: "{mount.get("name")}"',
            "FieldValueNotFound",
        )
        for key in ("initContainers", "containers")
        for index, container in enumerate(spec.get(key) or ())
        for number, mount in enumerate(container.get("volumeMounts") or ())
        if mount.get("name") not in volumes
    ]


def check_job_update(old: Spec, new: Spec) -> list[Cause]:
    causes = check_job(new)
    before, after = old["spec"], new["spec"]
    causes += [
        Cause.invalid(f"spec.{key}", after.get(key), "field is immutable")
        for key in IMMUTABLE
        if before.get(key) != after.get(key)
    ]
    if _frozen(before["template"], old) != _frozen(after["template"], old):
        causes.append(Cause.invalid("spec.template", after["template"], "field is immutable"))
    return causes


def _frozen(template: Spec, job: Spec) -> Spec:
    """The part of a template that may not change: a suspended Job that never ran may change its placement."""
    if not job["spec"].get("suspend") or job.get("status", {}).get("startTime"):
        return template
    free = ("nodeSelector", "affinity", "tolerations", "schedulingGates")
    return {"spec": {key: value for key, value in template["spec"].items() if key not in free}}


def decode_check(job: Spec) -> str | None:
    """As Go's decoder complains about a number that is none."""
    spec = job.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("Job cannot be handled as a Job: spec is not an object")
    for key in NOT_NEGATIVE:
        if not isinstance(spec.get(key), (int, type(None))):
            width = 64 if key == "activeDeadlineSeconds" else 32
            what = "string" if isinstance(spec[key], str) else "number"
            return f"json: cannot unmarshal {what} into Go struct field JobSpec.spec.{key} of type int{width}"
    return None
