"""The three kinds of patch."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
from jsonpointer import JsonPointerException

from .errors import ApiError, bad_request

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

MERGE_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "resourceClaims": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port"),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "podIPs": ("ip",),
    "addresses": ("type",),
}
"""lists that a strategic patch merges, and the keys their entries are known by; all others are replaced"""

MERGED_SETS = ("finalizers",)
"""lists of plain values that a strategic patch adds to"""


def apply_patch(content_type: str, current: dict[str, Any], patch: Any) -> dict[str, Any]:
    """A patched copy. The content type tells the kind of patch."""
    kind = content_type.split(";")[0].strip()
    if kind == JSON_PATCH:
        return _json_patch(current, patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal array into Go value")
    if kind in (MERGE_PATCH, APPLY_PATCH):
        merged: dict[str, Any] = merge(current, patch)
        return merged
    if kind == STRATEGIC_PATCH:
        return strategic(current, patch)
    raise ApiError(415, "415: Unsupported Media Type", "UnsupportedMediaType", {})


def _json_patch(current: dict[str, Any], patch: Any) -> dict[str, Any]:
    refused = "the server rejected our request due to an error in our request"
    try:
        patched: dict[str, Any] = jsonpatch.apply_patch(current, patch)
    except (jsonpatch.JsonPatchException, JsonPointerException) as error:
        raise ApiError(422, refused, "Invalid", {}) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise bad_request(f"error decoding patch: {error}") from error
    return patched


def merge(current: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic(current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch that knows some lists by the keys of their entries."""
    if patch.get("$patch") == "replace":
        return {key: _without_directives(item) for key, item in patch.items() if key != "$patch"}
    merged = dict(current)
    for key in patch:
        _merge_member(merged, key, patch)
    return merged


def _merge_member(merged: dict[str, Any], key: str, patch: dict[str, Any]) -> None:
    value = patch[key]
    if key.startswith("$"):
        _directive(merged, key, value)
    elif value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
        merged.pop(key, None)
    elif isinstance(value, dict):
        merged[key] = strategic(merged.get(key) or {}, value)
    elif isinstance(value, list):
        merged[key] = _merge_list(key, merged.get(key) or [], value)
    else:
        merged[key] = value


def _directive(merged: dict[str, Any], key: str, value: Any) -> None:
    verb, _, name = key.partition("/")
    if verb == "$deleteFromPrimitiveList":
        merged[name] = [item for item in merged.get(name) or [] if item not in value]
    elif verb == "$retainKeys":
        for extra in merged.keys() - set(value):
            del merged[extra]


def _merge_list(field: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if field in MERGED_SETS:
        return current + [item for item in patch if item not in current]
    known_by = _merge_key(field, patch)
    if known_by is None or {"$patch": "replace"} in patch:
        return [_without_directives(item) for item in patch if item != {"$patch": "replace"}]
    return _merge_entries(known_by, current, patch)


def _merge_key(field: str, patch: list[Any]) -> str | None:
    entries = [item for item in patch if isinstance(item, dict)]
    keys = MERGE_KEYS.get(field, ())
    return next((key for key in keys if entries and all(key in entry for entry in entries)), None)


def _merge_entries(known_by: str, current: list[Any], patch: list[Any]) -> list[Any]:
    merged = {entry.get(known_by): entry for entry in current}
    for entry in patch:
        name = entry[known_by]
        if entry.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = strategic(merged.get(name) or {}, entry)
    return list(merged.values())


def _without_directives(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_directives(item) for key, item in value.items() if not key.startswith("$")}
