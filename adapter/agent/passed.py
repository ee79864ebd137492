"""The Secrets that our own pod has mounted, mounted in an agent's pod at the same places. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adapter.agent.checks import mount_path
from adapter.agent.parcel import READABLE
from adapter.agent.selfpod import SecretVolume


@dataclass(frozen=True, slots=True)
class Passed:
    """Volumes, their mounts in the agent's container, and what could not be mounted."""

    volumes: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()


def passed(secret_volumes: Iterable[SecretVolume], taken: Iterable[str]) -> Passed:
    """The mounts of these volumes. `taken` are the mount points that others have.

    A Secret that is gone by then is left out by the kubelet, and holds up no run.
    """
    names: dict[str, str] = {}
    volumes: dict[str, Mapping[str, Any]] = {}
    mounts: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for one in secret_volumes:
        path, why = _place(str(one.mount.get("mountPath")), {*taken, *mounts})
        if why:
            notes.append(f"inheritSecretVolumes: {one.name} is not mounted at {path!a}: it {why}")
            continue
        name = names.setdefault(one.volume, f"inherited-{len(names)}")
        volumes[name] = {"name": name, "secret": _readable(one.source) | {"optional": True}}
        inner = {"subPath": one.mount["subPath"]} if one.mount.get("subPath") else {}
        mounts[path] = {"name": name, "mountPath": path, "readOnly": True, **inner}
    return Passed(tuple(volumes.values()), tuple(mounts.values()), tuple(notes))


def _place(path: str, taken: set[str]) -> tuple[str, str]:
    """The path, and why nothing can be mounted there."""
    try:
        clean = mount_path(path)
    except ValueError as error:
        return path, str(error)
    return clean, "is taken" if clean in taken else ""


def _readable(source: Mapping[str, Any]) -> dict[str, Any]:
    """The source, readable for the agent: in our own pod the files' group may be ours, in the agent's it is root's."""
    mode = source.get("defaultMode")
    items = [
        dict(item) | ({"mode": item["mode"] | READABLE} if item.get("mode") is not None else {})
        for item in source.get("items") or ()
    ]
    made = {"secretName": source["secretName"], "defaultMode": (0o644 if mode is None else mode) | READABLE}
    return made | ({"items": items} if items else {})
