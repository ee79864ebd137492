"""What becomes of an object before it is stored: defaults, and rules that refuse it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from . import jobspec, leasespec
from .errors import ApiError, Cause, bad_request, invalid
from .resources import CONFIGMAPS, JOBS, LEASES, NAMESPACES, PODS, PVCS, SECRETS, Resource

if TYPE_CHECKING:
    from .store import Object

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
LARGEST = 1_572_864
"""bytes of one object: etcd's limit of a request"""


def complete(resource: Resource, obj: Object) -> None:
    """Fill in what the sender left out."""
    if resource is SECRETS:
        _complete_secret(obj)
    elif resource is LEASES:
        leasespec.complete(obj)
    elif resource is JOBS:
        jobspec.complete_job(obj)
    elif resource is PODS:
        jobspec.complete_pod(obj["metadata"], obj.setdefault("spec", {}))
    elif resource is PVCS:
        obj.setdefault("status", {"phase": "Bound"})  # the node makes a directory of it
    elif resource is NAMESPACES:
        obj.setdefault("spec", {"finalizers": ["kubernetes"]})
        obj.setdefault("status", {"phase": "Active"})


def _complete_secret(obj: Object) -> None:
    plain = obj.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    if encoded or "data" in obj:
        obj["data"] = (obj.get("data") or {}) | encoded
    obj.setdefault("type", "Opaque")


def check(resource: Resource, obj: Object) -> None:
    """Raise what a real API server answers to an object it does not take."""
    causes = _check_metadata(resource, obj["metadata"])
    if resource is JOBS:
        causes += jobspec.check_job(obj)
    elif resource is PODS:
        causes += jobspec.check_pod_spec("spec", obj.get("spec") or {})
    elif resource is LEASES:
        causes += leasespec.check(obj)
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"]["name"], causes)
    if len(json.dumps(obj)) > LARGEST:
        raise ApiError(422, "etcdserver: request is too large", "Invalid", {})


def decode_check(resource: Resource, obj: Object) -> str | None:
    """Why the object cannot even be read as its kind; None if it can."""
    if resource is LEASES:
        return leasespec.decode_check(obj)
    if resource is SECRETS:
        return next((why for v in (obj.get("data") or {}).values() if (why := _base64(v))), None)
    return jobspec.decode_check(obj) if resource is JOBS else None


def _base64(value: object) -> str | None:
    try:
        base64.b64decode(str(value), validate=True)
    except binascii.Error:
        return "illegal base64 data at input byte 0"
    return None


def _check_metadata(resource: Resource, metadata: dict[str, Any]) -> list[Cause]:
    name = metadata.get("name") or ""
    if not name:
        return [Cause.required("metadata.name", "name or generateName is required")]
    causes = _check_name(resource, name)
    for value in (metadata.get("labels") or {}).values():
        if len(value) > 63:
            causes.append(Cause.invalid("metadata.labels", value, "must be no more than 63 characters"))
        elif not re.fullmatch(LABEL_VALUE, value):
            causes.append(Cause.invalid("metadata.labels", value, VALUE_WORDS))
    return causes


def _check_name(resource: Resource, name: str) -> list[Cause]:
    if resource is NAMESPACES:
        pattern, words, longest = LABEL, LABEL_WORDS, 63
    elif resource is JOBS:
        pattern, words, longest = SUBDOMAIN, SUBDOMAIN_WORDS, 63
    else:
        pattern, words, longest = SUBDOMAIN, SUBDOMAIN_WORDS, 253
    causes = []
    if not re.fullmatch(pattern, name):
        causes.append(Cause.invalid("metadata.name", name, words))
    if len(name) > longest:
        causes.append(Cause.invalid("metadata.name", name, f"must be no more than {longest} characters"))
    return causes


def check_update(resource: Resource, old: Object, new: Object) -> None:
    """Refuse changes of what cannot be changed."""
    causes = _check_identity(old["metadata"], new["metadata"])
    if resource is JOBS:
        causes += jobspec.check_job_update(old, new)
    elif resource in (SECRETS, CONFIGMAPS) and old.get("immutable") and old.get("data") != new.get("data"):
        causes.append(Cause.forbidden("data", "field is immutable when `immutable` is set"))
    if causes:
        raise invalid(resource.kind, resource.group, old["metadata"]["name"], causes)


def _check_identity(old: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    causes = []
    if new.get("uid") not in (None, "", old["uid"]):
        causes.append(Cause.invalid("metadata.uid", new["uid"], "field is immutable"))
    extra = set(new.get("finalizers") or ()) - set(old.get("finalizers") or ())
    if old.get("deletionTimestamp") and extra:
        listed = "[]string{" + ", ".join(f'"{name}"' for name in sorted(extra)) + "}"
        why = "no new finalizers can be added if the object is being deleted, found new finalizers " + listed
        causes.append(Cause.forbidden("metadata.finalizers", why))
    return causes


def check_type(resource: Resource, obj: Any) -> None:
    """The body must be an object of the path's kind; a missing kind is taken for it."""
    if not isinstance(obj, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    kind = obj.get("kind") or resource.kind
    version = obj.get("apiVersion") or resource.api_version
    if kind != resource.kind:
        raise bad_request(
            f'{kind} in version "{version.split("/")[-1]}" cannot be handled as a {resource.kind}: '
            f"converting ({version.replace('/', '.')}.{kind}) to ({_internal(resource)}): unknown conversion"
        )
    if version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if not isinstance(obj.setdefault("metadata", {}), dict):
        raise bad_request(f"{resource.kind} cannot be handled: metadata is not an object")


def _internal(resource: Resource) -> str:
    return f"{resource.group.split('.')[0] or 'core'}.{resource.kind}"
