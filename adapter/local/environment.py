"""What a container's process finds in its environment."""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING, Any

from .resources import CONFIGMAPS, SECRETS
from .store import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .store import Object, Store

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""of the environment of who runs the cluster; the rest might hold secrets"""

REFERENCE = re.compile(r"\$\$|\$\(([^()$]+)\)")
SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class ConfigError(Exception):
    """The container cannot be created yet: what it refers to is missing."""


def variables(store: Store, pod: Object, container: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """In the order of Kubernetes: `envFrom`, then `env`, in which references see what came before."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    env["HOSTNAME"] = pod["metadata"]["name"]
    for source in container.get("envFrom") or ():
        env |= _from_source(store, pod, source)
    for entry in container.get("env") or ():
        value = _value(store, pod, container, status, entry, env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _from_source(store: Store, pod: Object, source: Mapping[str, Any]) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for kind in ("secretRef", "configMapRef"):
        if reference := source.get(kind):
            data = content(store, pod, kind.removesuffix("Ref"), reference)
            return {prefix + key: value.decode(errors="surrogateescape") for key, value in data.items()}
    return {}


def content(store: Store, pod: Object, kind: str, reference: Mapping[str, Any]) -> dict[str, bytes]:
    """Everything in a Secret or ConfigMap; nothing if it is missing and may be."""
    resource = SECRETS if kind == "secret" else CONFIGMAPS
    name = reference.get("name") or reference.get("secretName") or ""
    found = store.get(Key(resource, pod["metadata"]["namespace"], name))
    if found is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{resource.kind.lower()} "{name}" not found')
    plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    if resource is CONFIGMAPS:
        return plain | _decoded(found.get("binaryData") or {})
    return _decoded(found.get("data") or {})


def _decoded(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in data.items()}


def _value(
    store: Store,
    pod: Object,
    container: Mapping[str, Any],
    status: Mapping[str, Any],
    entry: Mapping[str, Any],
    env: Mapping[str, str],
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", env)
    if reference := source.get("fieldRef"):
        return field(pod, status, reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        return resource_field(container, reference["resource"])
    for kind in ("secret", "configMap"):
        if reference := source.get(f"{kind}KeyRef"):
            return _key(store, pod, kind, reference)
    return ""


def _key(store: Store, pod: Object, kind: str, reference: Mapping[str, Any]) -> str | None:
    data, key = content(store, pod, kind, reference), reference["key"]
    if key in data:
        return data[key].decode(errors="surrogateescape")
    if reference.get("optional"):
        return None
    what = "Secret" if kind == "secret" else "ConfigMap"
    raise ConfigError(f"couldn't find key {key} in {what} {pod['metadata']['namespace']}/{reference['name']}")


def field(pod: Object, status: Mapping[str, Any], path: str) -> str:
    """A field of the pod, as the downward API names it."""
    if match := SUBSCRIPT.fullmatch(path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = pod["metadata"].get(path.split(".")[1]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
    value: Any = pod | {"status": status}
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    return str(value)


def resource_field(container: Mapping[str, Any], name: str) -> str:
    """`limits.memory` in bytes, `requests.cpu` in whole cores, rounded up."""
    kind, _, what = name.partition(".")
    amount = quantity((container.get("resources") or {}).get(kind, {}).get(what, "0"))
    return str(-int(-amount // 1))


SUFFIXES = {"": 1.0, "m": 0.001} | {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
SUFFIXES |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}


def quantity(text: str | float) -> float:
    """`1.5Gi`, `100m`, `2e3`."""
    match = re.fullmatch(r"([0-9.]+(?:[eE][+-]?\d+)?)([A-Za-z]*)", str(text))
    return float(match[1]) * SUFFIXES.get(match[2], 1.0) if match else 0.0


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` by its value if there is one; `$$` is a dollar sign that starts nothing."""

    def substitute(match: re.Match[str]) -> str:
        return "$" if match[1] is None else env.get(match[1], match[0])

    return REFERENCE.sub(substitute, text)


def rewriter(paths: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces mount paths by where they are on this machine, but only where a whole path begins."""
    if not paths:
        return str
    longest_first = sorted(paths, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w./-])({'|'.join(map(re.escape, longest_first))})(?![\w.-])")
    return lambda text: pattern.sub(lambda match: paths[match[1]], text)
