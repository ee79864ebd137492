"""Label and field selectors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .resources import Resource

    Test = Callable[[Mapping[str, Any]], bool]

SET_BASED = re.compile(r"^\s*(\S+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
EQUALITY = re.compile(r"^\s*([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)\s*$")
EXISTENCE = re.compile(r"^\s*(!?)\s*([^\s=!()]+)\s*$")
BETWEEN = re.compile(r",(?![^(]*\))")


class Selector:
    """What a list or a watch asks for: labels and fields together."""

    def __init__(self, resource: Resource, labels: str = "", fields: str = "", name: str = "") -> None:
        self._tests = [_label_test(part) for part in _parts(labels)]
        self._tests += [_field_test(resource, part) for part in _parts(fields)]
        if name:
            self._tests.append(lambda obj: obj["metadata"]["name"] == name)

    def matches(self, obj: Mapping[str, Any] | None) -> bool:
        return obj is not None and all(test(obj) for test in self._tests)


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _parts(text: str) -> list[str]:
    return [part for part in BETWEEN.split(text) if part.strip()]


def _label_test(part: str) -> Test:
    if match := SET_BASED.match(part):
        return _set_test(match[1], match[2] == "in", {value.strip() for value in match[3].split(",")})
    if match := EQUALITY.match(part):
        return _set_test(match[1], match[2] != "!=", {match[3]})
    if match := EXISTENCE.match(part):
        name, wanted = match[2], not match[1]
        return lambda obj: (name in labels_of(obj)) is wanted
    raise bad_request(f"unable to parse requirement: found '{part}'")


def _set_test(name: str, wanted: bool, values: set[str]) -> Test:
    """A missing label is not among the values: it passes `!=` and `notin`."""
    return lambda obj: (labels_of(obj).get(name) in values) is wanted


def _field_test(resource: Resource, part: str) -> Test:
    match = EQUALITY.match(part)
    if match is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, wanted, value = match[1], match[2] != "!=", match[3].replace("\\", "")
    if path not in ("metadata.name", "metadata.namespace", *resource.fields):
        known = '"metadata.name", "metadata.namespace"'
        of_its_own = f'field label "{path}" not supported for {resource.kind}'
        raise bad_request(of_its_own if resource.fields else f'"{path}" is not a known field selector: only {known}')
    return lambda obj: (_field(obj, path) == value) is wanted


def _field(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for step in ("source", "component") if path == "source" else path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if path == "status.successful":
        value = obj.get("status", {}).get("succeeded", 0)
    return "" if value is None else str(value)
