"""What a Job's pods need that others must have created: Secrets, ConfigMaps, volume claims, images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Use = Literal["environment", "volume", "pull", "configuration"]
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """A Secret or ConfigMap by name, and what it is for. `optional`: its lack keeps no pod from starting."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    use: Use
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image, the containers that use it, and when the kubelet pulls it."""

    name: str
    policy: str
    containers: tuple[str, ...]


def containers_of(pod: Raw) -> list[Raw]:
    """All containers of a pod's spec, in the order in which they start."""
    return [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]


def references_of(pod: Raw, *, but: str = "") -> list[Reference]:
    """Secrets and ConfigMaps that the pod's spec names, each once, `but` for the run's own Secret of that name.

    One that is needed somewhere is not optional because it is optional elsewhere.
    """
    found: dict[tuple[str, str], Reference] = {}
    for each in (*_pulled(pod), *_in_environment(pod), *_in_volumes(pod)):
        known = found.get((each.kind, each.name))
        if each.name and each.name != but and (known is None or (known.optional and not each.optional)):
            found[each.kind, each.name] = each
    return list(found.values())


def _pulled(pod: Raw) -> Iterator[Reference]:
    for each in pod.get("imagePullSecrets") or ():
        yield Reference("Secret", str(each.get("name") or ""), "pull")


def _in_environment(pod: Raw) -> Iterator[Reference]:
    for container in containers_of(pod):
        for entry in container.get("envFrom") or ():
            yield from _named(entry, "secretRef", "configMapRef", "environment")
        for entry in container.get("env") or ():
            yield from _named(entry.get("valueFrom") or {}, "secretKeyRef", "configMapKeyRef", "environment")


def _in_volumes(pod: Raw) -> Iterator[Reference]:
    for volume in pod.get("volumes") or ():
        yield from _named(volume, "secret", "configMap", "volume")
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(source, "secret", "configMap", "volume")


def _named(source: Raw, secret: str, config_map: str, use: Use) -> Iterator[Reference]:
    """The one thing that a source names: a volume's Secret is `secretName`, any other is `name`."""
    kinds: tuple[tuple[str, Literal["Secret", "ConfigMap"]], ...] = ((secret, "Secret"), (config_map, "ConfigMap"))
    for key, kind in kinds:
        if named := source.get(key):
            name = named.get("secretName") or named.get("name") or ""
            yield Reference(kind, str(name), use, bool(named.get("optional")))


def claims_of(pod: Raw) -> list[str]:
    """The volume claims that the pod mounts, each once."""
    claims = ((volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in pod.get("volumes") or ())
    return list(dict.fromkeys(str(claim) for claim in claims if claim))


def images_of(pod: Raw) -> list[Image]:
    """The images of a pod, each with its containers."""
    users: dict[tuple[str, str], list[str]] = {}
    for each in containers_of(pod):
        key = (str(each.get("image") or ""), str(each.get("imagePullPolicy") or ""))
        users.setdefault(key, []).append(str(each.get("name")))
    return [Image(name, policy, tuple(names)) for (name, policy), names in users.items()]
