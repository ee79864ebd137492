"""The pod that the adapter itself runs in, as far as an agent's pod is to be like it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any

from adapter.errors import InvalidRequest

Raw = Mapping[str, Any]
OUR_CONTAINER = "paperclip"
"""The control plane's container, where a pod has several and nobody says which is ours."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One entry of a container's `env`: a literal value, or where the kubelet takes it from."""

    name: str
    value: str = field(default="", repr=False)
    source: Raw | None = None


@dataclass(frozen=True, slots=True)
class EnvFrom:
    """One entry of a container's `envFrom`, and the name of the Secret or ConfigMap it reads."""

    name: str
    entry: Raw


@dataclass(frozen=True, slots=True)
class SecretVolume:
    """A Secret that is mounted: the volume's name, the Secret's own name, the volume's source, and one mount of it."""

    volume: str
    name: str
    source: Raw
    mount: Raw


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim, and the directory in it that is mounted."""

    name: str
    sub_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfPod:
    """What an agent's pod can take over. Everything but the image and the names may be empty."""

    name: str
    namespace: str
    image: str
    pull_secrets: tuple[str, ...] = ()
    dns_config: Raw | None = None
    claims: Mapping[str, Claim] = field(default_factory=dict)
    secret_volumes: tuple[SecretVolume, ...] = ()
    env: tuple[Variable, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Raw, ...] = ()

    @classmethod
    def of(cls, pod: Raw, container: str | None = None) -> SelfPod:
        """The view of a raw pod and its container of that name; without one of `paperclip`, else of the first.

        Raises `InvalidRequest` where the pod has no such container.
        """
        meta, spec = (pod.get(part) or {} for part in ("metadata", "spec"))
        ours = _container(meta.get("name") or "?", spec, container)
        volumes = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
        mounts = [(volumes.get(mount.get("name")) or {}, mount) for mount in ours.get("volumeMounts") or ()]
        return cls(
            name=meta.get("name") or "?",
            namespace=meta.get("namespace") or "default",
            image=ours.get("image") or "",
            pull_secrets=tuple(one["name"] for one in spec.get("imagePullSecrets") or () if one.get("name")),
            dns_config=spec.get("dnsConfig") or None,
            claims=dict(_claims(mounts)),
            secret_volumes=tuple(_secret_volumes(mounts)),
            env=tuple(_variable(entry) for entry in ours.get("env") or ()),
            env_from=tuple(_env_from(ours.get("envFrom") or ())),
            node_selector=dict(spec.get("nodeSelector") or {}),
            tolerations=tuple(spec.get("tolerations") or ()),
        )

    def claim_at(self, path: str) -> Claim | None:
        """The claim that is mounted at exactly this path."""
        return self.claims.get(normpath(path))

    def serves(self, namespace: str) -> bool:
        """Whether what our pod refers to by name exists for a pod in that namespace ("": our own) too."""
        return namespace in ("", self.namespace)


def _container(pod: str, spec: Raw, wanted: str | None) -> Raw:
    found = {container.get("name"): container for container in spec.get("containers") or ()}
    if wanted is not None and wanted not in found:
        raise InvalidRequest(f"pod {pod} has no container {wanted!r}: name the one that the adapter runs in")
    ours: Raw | None = found.get(wanted or OUR_CONTAINER) or next(iter(found.values()), None)
    if ours is None:
        raise InvalidRequest(f"pod {pod} has no containers: it is not the one that the adapter runs in")
    return ours


def _claims(mounts: list[tuple[Raw, Raw]]) -> Iterator[tuple[str, Claim]]:
    for volume, mount in mounts:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        # A subPathExpr is made of our own variables: in another pod it would be another directory.
        if claim and not mount.get("subPathExpr"):
            yield normpath(mount["mountPath"]), Claim(claim, mount.get("subPath") or "")


def _secret_volumes(mounts: list[tuple[Raw, Raw]]) -> Iterator[SecretVolume]:
    for volume, mount in mounts:
        source = volume.get("secret")
        if source and source.get("secretName") and not mount.get("subPathExpr"):
            yield SecretVolume(str(volume["name"]), str(source["secretName"]), source, mount)


def _variable(entry: Raw) -> Variable:
    return Variable(str(entry.get("name") or ""), entry.get("value") or "", entry.get("valueFrom") or None)


def _env_from(entries: Iterable[Raw]) -> Iterator[EnvFrom]:
    for entry in entries:
        reference = entry.get("secretRef") or entry.get("configMapRef") or {}
        if reference.get("name"):
            yield EnvFrom(str(reference["name"]), entry)
