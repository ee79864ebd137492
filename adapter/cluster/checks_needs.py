"""What the Job's pods need that others must have created: the volume, the Secrets and ConfigMaps, the images."""

from __future__ import annotations

import re
from typing import Any, Literal

import anyio

from adapter.cluster.checks import Check, Ground, Level, error, info, unchecked, warn
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.references import Image, Reference, claims_of, images_of, references_of

Found = Literal["there", "absent"]

_DOMAIN = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])"
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:{_DOMAIN}(?::\d+)?/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
"""The grammar of an image's name (distribution/reference, `regexp.go`)."""

CLAIM_ALONE = {
    "ReadWriteOnce": "only pods of one node can use it at once: a run that is placed on another waits, and is given up",
    "ReadWriteOncePod": "only one pod can use it at once: a second run waits for the first to end, and is given up",
}
CLAIM_HINT = "Use a claim with the access mode ReadWriteMany (NFS, CephFS, EFS, Filestore, Azure Files)."

LACK: dict[str, tuple[Level, str]] = {
    "environment": (Level.ERROR, "no container that takes its environment from it can start"),
    "volume": (Level.ERROR, "no pod that mounts it can start"),
    "pull": (Level.WARN, "an image that needs it cannot be pulled"),
    "configuration": (Level.WARN, "the configuration names it as secretRef"),
}
"""What the lack of a Secret or ConfigMap means, by what it is for."""


# -- volumes -----------------------------------------------------------------------------------------------------------


async def claim_checks(ground: Ground) -> list[Check]:
    """Whether the workspace's volume is there, and who can share it."""
    claims = claims_of(ground.subject.pod)
    if not claims:
        detail = "Each run begins with an empty workspace, and no session can be resumed in a later run."
        return [info("k8s_pvc_not_detected", "no volume outlives a run", detail=detail)]
    if not ground.may("get", "persistentvolumeclaims"):
        return []
    return [check for claim in claims for check in await _claim(ground, claim)]


async def _claim(ground: Ground, name: str) -> list[Check]:
    try:
        answer = await ground.ask("GET", f"{ground.core}/persistentvolumeclaims/{name}")
    except (ApiError, Unreachable) as cause:
        if isinstance(cause, ApiError) and cause.status == 404:
            hint = "Create the claim, or name another as workspaceVolumeClaim."
            return [error("k8s_pvc_missing", f"there is no volume claim {name}: no run can start", hint=hint)]
        return [unchecked("k8s_pvc_check_failed", f"volume claim {name}", cause)]
    return claim_check(answer.body)


def claim_check(raw: dict[str, Any]) -> list[Check]:
    """What a claim means for the runs that mount it."""
    name, status = raw["metadata"]["name"], raw.get("status") or {}
    modes = status.get("accessModes") or (raw.get("spec") or {}).get("accessModes") or []
    checks = [_sharing(name, modes)]
    if raw["metadata"].get("deletionTimestamp"):
        checks.append(error("k8s_pvc_deleted", f"volume claim {name} is being deleted: no new run can mount it"))
    elif status.get("phase") == "Lost":
        checks.append(error("k8s_pvc_lost", f"volume claim {name} has lost its volume", detail="Its data is gone."))
    elif status.get("phase") != "Bound":
        detail = "That is as it should be where its storage class waits for the first pod (WaitForFirstConsumer)."
        checks.append(info("k8s_pvc_pending", f"volume claim {name} has no volume yet", detail=detail))
    return checks


def _sharing(name: str, modes: list[str]) -> Check:
    if "ReadWriteMany" in modes:
        return info("k8s_pvc_rwx", f"volume claim {name} can be shared by all runs (ReadWriteMany)")
    mode = next((mode for mode in CLAIM_ALONE if mode in modes), None)
    if mode is None:
        told = ", ".join(modes) or "no access mode"
        return error("k8s_pvc_not_rwx", f"volume claim {name} cannot be written to ({told})", hint=CLAIM_HINT)
    return warn("k8s_pvc_not_rwx", f"volume claim {name} is {mode}: {CLAIM_ALONE[mode]}", hint=CLAIM_HINT)


# -- Secrets and ConfigMaps --------------------------------------------------------------------------------------------


async def reference_checks(ground: Ground) -> list[Check]:
    """Whether the Secrets and ConfigMaps that the Job and its configuration name are there; none is read."""
    subject = ground.subject
    references = references_of(subject.pod, but=str(subject.job["metadata"].get("name") or ""))
    if subject.secret_ref and all(each.name != subject.secret_ref for each in references):
        optional = not subject.asked_for
        references.append(Reference("Secret", subject.secret_ref, "configuration", optional))
    checks: dict[Reference, Check] = {}

    async def one(reference: Reference) -> None:
        checks[reference] = await _reference(ground, reference)

    async with anyio.create_task_group() as group:
        for reference in references:
            group.start_soon(one, reference)
    return [checks[reference] for reference in references]


async def _reference(ground: Ground, reference: Reference) -> Check:
    told = f"{reference.kind} {reference.name}"
    plural = "secrets" if reference.kind == "Secret" else "configmaps"
    code = f"k8s_{plural.removesuffix('s')}"
    if not ground.may("create", plural):
        return info(f"{code}_unchecked", f"it was not checked whether there is a {told}")
    try:
        found = await _is_there(ground, reference, plural)
    except (ApiError, Unreachable) as cause:
        return unchecked(f"{code}_check_failed", told, cause)
    if found:
        return info(f"{code}_exists", f"{told} is there ({_purpose(reference)})")
    if reference.optional:
        return info(f"{code}_missing", f"there is no {told} ({_purpose(reference)}); it is not needed")
    level, lack = LACK[reference.use]
    hint = f"Create the {reference.kind}, or name another."
    return Check(f"{code}_missing", level, f"there is no {told}: {lack}", "", hint)


async def _is_there(ground: Ground, reference: Reference, plural: str) -> bool:
    """Creates it by a dry run, which stores nothing: refused as `AlreadyExists` where there is one of the name.

    So it needs no right to read Secrets, and whoever has this one could create it anyway.
    """
    body = {"apiVersion": "v1", "kind": reference.kind, "metadata": {"name": reference.name}}
    try:
        await ground.ask("POST", f"{ground.core}/{plural}", query=[("dryRun", "All")], body=body)
    except ApiError as cause:
        if cause.reason == "AlreadyExists":
            return True
        raise
    return False


def _purpose(reference: Reference) -> str:
    return {"pull": "to pull images", "configuration": "secretRef"}.get(reference.use, f"for the {reference.use}")


# -- images ------------------------------------------------------------------------------------------------------------


async def image_checks(ground: Ground) -> list[Check]:
    """Whether the images' names can be resolved, and whether always to the same image. No registry is asked."""
    return [image_check(image) for image in images_of(ground.subject.pod)]


def image_check(image: Image) -> Check:
    """What an image's name means together with the pull policy."""
    told = f"image {image.name} ({', '.join(image.containers)})"
    found = IMAGE.fullmatch(image.name)
    if found is None or len(found["path"]) > 255:
        words = f"{image.name!r} is not an image's name" if image.name else "no image is configured"
        hint = "An image is [registry/]path[:tag][@digest], in lower case."
        return error("k8s_image_invalid", f"{words} ({', '.join(image.containers)})", hint=hint)
    policy = f"pull policy {image.policy}" if image.policy else "the default pull policy"
    if not found["digest"] and found["tag"] in (None, "latest"):
        detail = "What it stands for changes: two runs can have two different agents."
        return warn("k8s_image_floating", f"{told} has no fixed version", detail=detail, hint="Name a tag or a digest.")
    return info("k8s_image", f"{told} is a valid name, {policy}", detail=_pulling(image, found["digest"]))


def _pulling(image: Image, digest: str | None) -> str:
    if image.policy == "Never":
        return "It is never pulled: each node must have it already."
    if image.policy == "Always":
        return "The registry must answer at each start." + (" A digest needs no such check." if digest else "")
    return ""
