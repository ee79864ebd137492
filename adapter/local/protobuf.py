"""Reads the protobuf bodies that kubectl's typed commands send: `create job`, `create secret`, `auth can-i`.

Kubernetes has no fallback to JSON for them. Only the fields those commands set are known here; answers are
always JSON, which every client accepts.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAGIC = b"k8s\x00"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True)
class Field:
    """One field of a message: its JSON name, and how its bytes are read."""

    name: str
    kind: Any = "string"
    """`string`, `int`, `bool`, `bytes map`, `string map`, or the fields of a message"""
    repeated: bool = False


Message = dict[int, Field]

METADATA: Message = {
    1: Field("name"),
    2: Field("generateName"),
    4: Field("namespace"),
    5: Field("uid"),
    6: Field("resourceVersion"),
    11: Field("labels", "string map"),
    12: Field("annotations", "string map"),
    14: Field("finalizers", repeated=True),
}
ENV: Message = {1: Field("name"), 2: Field("value")}
CONTAINER: Message = {
    1: Field("name"),
    2: Field("image"),
    3: Field("command", repeated=True),
    4: Field("args", repeated=True),
    5: Field("workingDir"),
    7: Field("env", ENV, repeated=True),
    14: Field("imagePullPolicy"),
}
POD_SPEC: Message = {
    2: Field("containers", CONTAINER, repeated=True),
    3: Field("restartPolicy"),
    4: Field("terminationGracePeriodSeconds", "int"),
    8: Field("serviceAccountName"),
    20: Field("initContainers", CONTAINER, repeated=True),
}
TEMPLATE: Message = {1: Field("metadata", METADATA), 2: Field("spec", POD_SPEC)}
JOB_SPEC: Message = {
    1: Field("parallelism", "int"),
    2: Field("completions", "int"),
    3: Field("activeDeadlineSeconds", "int"),
    6: Field("template", TEMPLATE),
    7: Field("backoffLimit", "int"),
    8: Field("ttlSecondsAfterFinished", "int"),
    10: Field("suspend", "bool"),
}
ATTRIBUTES: Message = {
    1: Field("namespace"),
    2: Field("verb"),
    3: Field("group"),
    4: Field("version"),
    5: Field("resource"),
    6: Field("subresource"),
    7: Field("name"),
}
ACCESS: Message = {
    1: Field("resourceAttributes", ATTRIBUTES),
    2: Field("nonResourceAttributes", {1: Field("path"), 2: Field("verb")}),
}
DELETE_OPTIONS: Message = {
    1: Field("gracePeriodSeconds", "int"),
    2: Field("preconditions", {1: Field("uid"), 2: Field("resourceVersion")}),
    4: Field("propagationPolicy"),
    5: Field("dryRun", repeated=True),
}
ONLY_METADATA: Message = {1: Field("metadata", METADATA)}
KINDS: dict[str, Message] = {
    "Job": ONLY_METADATA | {2: Field("spec", JOB_SPEC)},
    "Pod": ONLY_METADATA | {2: Field("spec", POD_SPEC)},
    "Secret": ONLY_METADATA | {2: Field("data", "bytes map"), 3: Field("type"), 4: Field("stringData", "string map")},
    "ConfigMap": ONLY_METADATA | {2: Field("data", "string map"), 3: Field("binaryData", "bytes map")},
    "SelfSubjectAccessReview": ONLY_METADATA | {2: Field("spec", ACCESS)},
    "SelfSubjectRulesReview": ONLY_METADATA | {2: Field("spec", {1: Field("namespace")})},
    "SelfSubjectReview": ONLY_METADATA,
    "Eviction": ONLY_METADATA | {2: Field("deleteOptions", DELETE_OPTIONS)},
    "DeleteOptions": DELETE_OPTIONS,
    **dict.fromkeys(("Namespace", "ServiceAccount"), ONLY_METADATA),
}


def decode(data: bytes) -> dict[str, Any]:
    """The object in a body, as its JSON would say it."""
    if not data.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    envelope = dict(_fields(data[len(MAGIC) :]))
    head = _message(_bytes(envelope.get(1, b"")), {1: Field("apiVersion"), 2: Field("kind")})
    known = KINDS.get(head.get("kind", ""))
    if known is None:
        raise bad_request(f"the embedded cluster reads a {head.get('kind')} from JSON only")
    return head | _message(_bytes(envelope.get(2, b"")), known)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values, in their order."""
    position = 0
    try:
        while position < len(data):
            tag, position = _varint(data, position)
            value: int | bytes
            if tag & 7 == 0:
                value, position = _varint(data, position)
            elif tag & 7 == 2:
                length, position = _varint(data, position)
                value, position = data[position : position + length], position + length
            else:
                raise bad_request(f"proto: wrong wireType = {tag & 7}")
            yield tag >> 3, value
    except IndexError:
        raise bad_request("unexpected EOF") from None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _message(data: bytes, known: Mapping[int, Field]) -> dict[str, Any]:
    """Go writes empty strings and objects too; what is empty is left out."""
    found: dict[str, Any] = {}
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            continue
        value = _value(field.kind, raw)
        if field.repeated:
            found.setdefault(field.name, []).append(value)
        elif isinstance(value, dict) and field.kind in ("string map", "bytes map"):
            found[field.name] = found.get(field.name, {}) | value
        elif value not in ("", {}):
            found[field.name] = value
    return found


def _value(kind: Any, raw: int | bytes) -> Any:
    if isinstance(raw, int):
        signed = raw - (1 << 64) if raw >> 63 else raw
        return bool(raw) if kind == "bool" else signed
    if kind == "string":
        return raw.decode()
    if isinstance(kind, str):
        return _entry(kind, raw)
    return _message(raw, kind)


def _entry(kind: str, raw: bytes) -> dict[str, str]:
    entry = dict(_fields(raw))
    key, value = _bytes(entry.get(1, b"")).decode(), _bytes(entry.get(2, b""))
    return {key: base64.b64encode(value).decode() if kind == "bytes map" else value.decode()}


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise bad_request("proto: wrong wireType = 0")
    return value
