"""Volumes: directories of this machine, linked into a container's private root."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .environment import ConfigError, content, expand, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Object, Store

MISSING_KEY = {
    "secret": "references non-existent secret key",
    "configMap": "configmap references non-existent config key",
}


class File(NamedTuple):
    """One file of a volume; without a mode of its own it has the volume's."""

    data: bytes
    mode: int | None = None


def fill(store: Store, pod: Object, volume: Mapping[str, Any], place: Path, claims: Path) -> Path:
    """Make a volume; answers its directory. Raises ConfigError if what it shows is missing."""
    if host := volume.get("hostPath"):
        return Path(host["path"])
    if claim := volume.get("persistentVolumeClaim"):
        place = claims / pod["metadata"]["namespace"] / claim["claimName"]
    place.mkdir(parents=True, exist_ok=True)
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if (source := volume.get(kind)) is not None:
            _write(_files(store, pod, kind, source), place, source.get("defaultMode"))
    return place


def _files(store: Store, pod: Object, kind: str, source: Mapping[str, Any]) -> dict[str, File]:
    if kind == "projected":
        files: dict[str, File] = {}
        for part in source.get("sources") or ():
            for inner, what in part.items():
                files |= _files(store, pod, inner, what)
        return files
    if kind == "downwardAPI":
        return {item["path"]: File(_field(pod, item), item.get("mode")) for item in source.get("items") or ()}
    if kind == "serviceAccountToken":
        return {source["path"]: File(b"local")}
    return _chosen(content(store, pod, kind, source), kind, source)


def _field(pod: Object, item: Mapping[str, Any]) -> bytes:
    reference = item.get("fieldRef") or {}
    return field(pod, pod.get("status", {}), reference.get("fieldPath", "")).encode()


def _chosen(data: dict[str, bytes], kind: str, source: Mapping[str, Any]) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {name: File(value) for name, value in data.items()}
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not source.get("optional"):
        raise ConfigError(f"{MISSING_KEY[kind]}: {missing[0]}")
    return {item["path"]: File(data[item["key"]], item.get("mode")) for item in items if item["key"] in data}


def _write(files: Mapping[str, File], place: Path, default: int | None) -> None:
    for name, file in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # one of an earlier try may be read-only
        path.write_bytes(file.data)
        mode = default if file.mode is None else file.mode
        path.chmod(0o644 if mode is None else mode)


def mount(
    container: Mapping[str, Any], root: Path, volumes: Mapping[str, Path], env: Mapping[str, str]
) -> dict[str, str]:
    """Link the volumes into the container's root; answers where each mount path is now."""
    paths = {}
    for entry in container.get("volumeMounts") or ():
        inner = entry.get("subPath") or expand(entry.get("subPathExpr") or "", env)
        source = volumes[entry["name"]] / inner
        if not source.exists():
            source.mkdir(parents=True)
        target = root / entry["mountPath"].lstrip("/")
        _link(source, target)
        paths[entry["mountPath"].rstrip("/")] = str(target)
    return paths


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)  # the parent of another mount, made a moment ago
    target.unlink(missing_ok=True)
    target.symlink_to(source)
