"""A configuration as it arrives: nested and dotted resources, blanks, an environment's target, fields nobody reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapter.agent import forms
from adapter.agent.plain import plain
from adapter.agent.problems import shown
from adapter.errors import InvalidRequest

NO_EFFECT = {
    "enableRtk": "the agent's tool output is not filtered any more",
    "rtkMaxOutputBytes": "the agent's tool output is not filtered any more",
    "providers": "accounts are not rotated any more: give the agent its credentials in env",
    "secretsNamespace": "a run's Secret is always beside its Job",
    "promptCacheRoot": "skills and instructions travel in the run's own Secret",
}
"""Fields of the adapter before this one, and why they do nothing here."""

PLATFORM = (
    "paperclip",
    "instructionsBundleMode",
    "instructionsRootPath",
    "instructionsEntryFile",
    "workspaceStrategy",
    "workspaceRuntime",
)
"""How the names begin that the control plane adds for itself; whoever needs one reads it out of the raw document."""

RESOURCES = "resources"
DOTTED = ("resources.requests.cpu", "resources.requests.memory", "resources.limits.cpu", "resources.limits.memory")
"""Resources as a form sends them, which knows no nesting."""

KUBERNETES = ("k8s", "kubernetes")


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be validated. `origins`: where a top-level field comes from, unless it is `config`."""

    values: dict[str, Any]
    unknown: tuple[str, ...]
    origins: dict[str, str]


def read(given: object, target: object, known: Collection[str]) -> Document:
    """The configuration, with the execution target's laid over it field by field, top level only.

    Raises `InvalidRequest` when either is no object.
    """
    own, over = _object(given, "config"), _overlay(target)
    if not forms.is_blank(over.get(RESOURCES)):
        own = {key: value for key, value in own.items() if not _is_resource(key)}
    above = _flat(over)
    both = _flat(own) | above
    kept = {key: value for key, value in both.items() if _is_read(key, known)}
    origins = {key.partition(".")[0]: "executionTarget.config" for key in above}
    return Document(_nested(kept), tuple(_unknown(both.keys() - kept.keys())), origins)


def _object(value: object, name: str) -> dict[str, Any]:
    """A configuration's top level. What is in it is looked at field by field."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidRequest(f"{name} is not an object")
    return {plain(key): each for key, each in value.items()}


def _overlay(target: object) -> dict[str, Any]:
    """What an execution target says of Kubernetes: one of another kind (local, ssh) says nothing."""
    if not isinstance(target, Mapping) or target.get("config") is None:
        return {}
    kinds = (target.get("kind"), target.get("transport"))
    if not any(isinstance(kind, str) and kind.lower() in KUBERNETES for kind in kinds):
        return {}
    return _object(target["config"], "executionTarget.config")


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without what is not set, its resources dotted. What was dotted wins: a form edits that."""
    found: dict[str, Any] = {}
    for key in sorted(document, key=_depth):
        pieces = _leaves(key, document[key]) if _is_resource(key) else [(key, document[key])]
        found |= {name: value for name, value in pieces if not forms.is_blank(value)}
    return found


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A resource, or what is in it, no deeper than two steps below `resources`."""
    inside = _opened(value)
    if _depth(key) > 1 or not isinstance(inside, Mapping):
        yield key, value
        return
    for name, each in inside.items():
        yield from _leaves(f"{key}.{plain(name)}", each)


def _opened(value: Any) -> Any:
    """What may be JSON in a string. What is not is reported with the field, when its type is checked."""
    try:
        return forms.document(value)
    except ValueError:
        return value


def _is_resource(key: str) -> bool:
    return key == RESOURCES or key.startswith(f"{RESOURCES}.")


def _is_read(key: str, known: Collection[str]) -> bool:
    """Whether somebody looks at it. `resources.limits: 3` hides four fields, and is looked at to be refused."""
    if not _is_resource(key):
        return key in known
    return any(f"{leaf}.".startswith(f"{key}.") for leaf in DOTTED)


def _depth(key: str) -> int:
    return key.count(".")


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key in sorted(flat, key=_depth):
        *parents, name = key.split(".") if _is_resource(key) else [key]
        place: Any = made
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[name] = flat[key]
    return made


def _unknown(names: Collection[str]) -> Iterator[str]:
    for name in sorted(names):
        if name in NO_EFFECT:
            yield f"{name} (no effect: {NO_EFFECT[name]})"
        elif not name.startswith(PLATFORM):
            yield shown(name)
