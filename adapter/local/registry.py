"""Create, change, delete: the rules every object obeys, whoever asks."""

from __future__ import annotations

import copy
import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import admission, times
from .errors import ApiError, Cause, already_exists, bad_request, conflict, invalid, not_found, stale
from .patching import apply_patch
from .resources import JOBS, LEASES, NAMESPACES, PODS, Resource
from .store import Key, Object, Store, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
POLICIES = ("Foreground", "Background", "Orphan")
ORPHANED = (
    '299 - "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to '
    'remove them or set propagationPolicy=Orphan to suppress this warning"'
)
SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True)
class DeleteOptions:
    """How an object is to be deleted."""

    policy: str | None = None
    grace: int | None = None
    preconditions: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any], query: Mapping[str, str]) -> DeleteOptions:
        """From the body, or, as kubectl and curl like it, from the query."""
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        policy = body.get("propagationPolicy", query.get("propagationPolicy"))
        if policy not in (None, *POLICIES):
            raise invalid("DeleteOptions", "meta.k8s.io", "", [_bad_policy(policy)])
        dry_run = bool(body.get("dryRun")) or "dryRun" in query
        preconditions = body.get("preconditions") or {}
        return cls(policy, None if grace is None else int(grace), preconditions, dry_run)


def _bad_policy(policy: str) -> Cause:
    known = ", ".join(f'"{name}"' for name in (*POLICIES, "nil"))
    text = f'Unsupported value: "{policy}": supported values: {known}'
    return Cause("propagationPolicy", text, "FieldValueNotSupported")


def random_suffix() -> str:
    return "".join(random.choices(SUFFIX, k=5))  # noqa: S311 - a name, not a secret


class Registry:
    """The one door to the store for everybody who changes something."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        obj = self.store.get(Key(resource, namespace, name))
        if obj is None:
            raise not_found(resource, name)
        return obj

    def create(self, resource: Resource, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        self._check_namespace(resource, namespace)
        obj = self._prepare(resource, namespace, body)
        key = Key(resource, namespace, obj["metadata"]["name"])
        existing = self.store.get(key)
        if existing is not None:
            raise already_exists(resource, key.name, deleting="deletionTimestamp" in existing["metadata"])
        admission.check(resource, obj)
        return obj if dry_run else self.store.put(key, obj)

    def _check_namespace(self, resource: Resource, namespace: str) -> None:
        if not resource.namespaced:
            return
        place = self.get(NAMESPACES, "", namespace)
        if place["status"]["phase"] == "Terminating":
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise ApiError(403, why, "Forbidden", {"kind": resource.plural, "causes": [cause]})

    def _prepare(self, resource: Resource, namespace: str, body: Object) -> Object:
        admission.check_type(resource, body)
        _check_decodes(resource, body)
        obj: Object = {"kind": resource.kind, "apiVersion": resource.api_version} | copy.deepcopy(body)
        obj["metadata"] = self._new_metadata(resource, namespace, obj["metadata"])
        admission.complete(resource, obj)
        return obj

    def _new_metadata(self, resource: Resource, namespace: str, given: dict[str, Any]) -> dict[str, Any]:
        if resource.namespaced and given.get("namespace") not in (None, "", namespace):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if given.get("resourceVersion"):
            raise ApiError(500, "resourceVersion should not be set on objects to be created")
        kept = {key: value for key, value in given.items() if key not in SERVER_OWNED and value is not None}
        if kept.get("generateName") and not kept.get("name"):
            kept["name"] = kept["generateName"][:58] + random_suffix()
        placed = {"namespace": namespace} if resource.namespaced else {}
        born = {"uid": str(uuid.uuid4()), "creationTimestamp": times.now()}
        generation = {"generation": 1} if resource in (JOBS, PODS) else {}
        return {"name": "", **kept} | placed | born | generation

    def replace(self, resource: Resource, namespace: str, name: str, body: Object, **how: Any) -> Object:
        """PUT. A Lease that is not there is made by it, and one that is there is not replaced unseen."""
        admission.check_type(resource, body)
        _check_decodes(resource, body)
        given = body["metadata"]
        if resource is LEASES and (old := self.store.get(Key(resource, namespace, name))) is None:
            if given.get("resourceVersion"):
                raise stale(resource, name)
            return self.create(resource, namespace, body, dry_run=how.get("dry_run", False))
        if resource is LEASES and given.get("resourceVersion") in (None, "", "0"):
            cause = Cause.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.plural, resource.group, name, [cause])
        old = self.get(resource, namespace, name)
        _check_same(resource, old, given)
        return self._write(resource, old, copy.deepcopy(body), **how)

    def patch(self, resource: Resource, namespace: str, name: str, patch: Any, content_type: str, **how: Any) -> Object:
        """PATCH, of any of the three kinds."""
        old = self.get(resource, namespace, name)
        new = apply_patch(content_type, copy.deepcopy(old), patch)
        if why := admission.decode_check(resource, new):
            value = encode(new).decode().strip()
            raise invalid("", "", "", [Cause.invalid("patch", value, why)])
        return self._write(resource, old, new, **how)

    def _write(
        self, resource: Resource, old: Object, new: Object, *, dry_run: bool = False, subresource: str = ""
    ) -> Object:
        before = old["metadata"]
        _check_version(resource, old, new["metadata"].get("resourceVersion") or before["resourceVersion"])
        new = _merge_parts(old, new, subresource, resource)
        admission.complete(resource, new)
        admission.check_update(resource, old, new)
        if not subresource:
            admission.check(resource, new)
        return new if dry_run else self._store(Key(resource, before.get("namespace", ""), before["name"]), old, new)

    def modify(self, resource: Resource, namespace: str, name: str, change: Callable[[Object], None]) -> Object | None:
        """A change by the cluster itself: applied to what is there now; None if there is nothing."""
        key = Key(resource, namespace, name)
        old = self.store.get(key)
        if old is None:
            return None
        new = copy.deepcopy(old)
        change(new)
        return self._store(key, old, new)

    def _store(self, key: Key, old: Object, new: Object) -> Object:
        """Keep what changed: nothing if nothing did; remove what was only waiting for its finalizers."""
        if new == old:
            return old
        if old.get("spec") != new.get("spec") and "generation" in old["metadata"]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if _is_over(new) and _is_held(old):
            return self.store.remove(key)  # the last finalizer goes with the object, in one event
        stored = self.store.put(key, new)
        return self.store.remove(key) if _is_over(stored) else stored

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions | None = None) -> Object:
        """The object as it was last seen: with a deletionTimestamp if it still waits for something."""
        options = options or DeleteOptions()
        obj = self.get(resource, namespace, name)
        _check_preconditions(resource, obj, options.preconditions)
        if options.dry_run:
            return obj
        key = Key(resource, namespace, name)
        new = copy.deepcopy(obj)
        _mark_deleted(resource, new, options)
        if _is_over(new) and resource is not PODS:
            return self.store.remove(key)
        return self._store(key, obj, new)  # a pod says so in one last MODIFIED


def _check_decodes(resource: Resource, body: Object) -> None:
    if why := admission.decode_check(resource, body):
        version, kind = resource.version, resource.kind
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def _check_version(resource: Resource, old: Object, asked: str) -> None:
    if not asked.isdigit():
        raise ApiError(500, f'strconv.ParseUint: parsing "{asked}": invalid syntax')
    if asked != old["metadata"]["resourceVersion"]:
        raise stale(resource, old["metadata"]["name"])


def _check_same(resource: Resource, old: Object, given: Mapping[str, Any]) -> None:
    """A PUT names the very object, by its UID, where it names one."""
    uid = old["metadata"]["uid"]
    if given.get("uid") not in (None, "", uid):
        why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {uid}"
        raise conflict(resource, old["metadata"]["name"], f"StorageError: invalid object, Code: 4, {why}")


def _merge_parts(old: Object, new: Object, subresource: str, resource: Resource) -> Object:
    """Status is written through its own door, everything else through the main one."""
    metadata = new["metadata"] | {"resourceVersion": old["metadata"]["resourceVersion"]}
    for key in SERVER_OWNED[1:]:
        metadata.pop(key, None)
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
    metadata |= {key: old["metadata"][key] for key in ("name", "namespace") if key in old["metadata"]}
    metadata.setdefault("uid", old["metadata"]["uid"])
    head = {"kind": resource.kind, "apiVersion": resource.api_version}
    if subresource == "status":
        return old | {"status": new.get("status", {})}
    merged = head | new | {"metadata": metadata}
    if "status" in resource.subresources:
        merged["status"] = old.get("status", {})
    return merged


def _check_preconditions(resource: Resource, obj: Object, wanted: Mapping[str, str]) -> None:
    metadata, kind = obj["metadata"], resource.kind
    if wanted.get("uid") not in (None, metadata["uid"]):
        why = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record "
            f"({metadata['uid']}). The object might have been deleted and then recreated"
        )
        raise conflict(resource, metadata["name"], why, kind=kind)
    if wanted.get("resourceVersion") not in (None, metadata["resourceVersion"]):
        why = (
            f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise conflict(resource, metadata["name"], why, kind=kind)


def _mark_deleted(resource: Resource, obj: Object, options: DeleteOptions) -> None:
    metadata = obj["metadata"]
    if resource is NAMESPACES:
        obj["status"] = {"phase": "Terminating"}
    grace = _grace(resource, obj, options)
    policy = options.policy or ("Orphan" if resource is JOBS else "Background")
    finalizers = [name for name in metadata.get("finalizers") or () if name not in ("foregroundDeletion", "orphan")]
    if resource is JOBS or options.policy:
        finalizers += {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(policy, [])
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]
    previous = metadata.get("deletionGracePeriodSeconds")
    if previous is None or grace < previous:
        asked = _asked_at(metadata, previous)
        metadata["deletionTimestamp"] = times.stamp(asked + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata and previous is None:
            metadata["generation"] += 1


def _asked_at(metadata: dict[str, Any], grace: int | None) -> datetime:
    """A shorter grace period counts from the first request, too."""
    if grace is None:
        return datetime.now(UTC)
    return times.parse(metadata["deletionTimestamp"]) - timedelta(seconds=grace)


def _grace(resource: Resource, obj: Object, options: DeleteOptions) -> int:
    """Only pods have a grace period, and only those that a node has and that still run."""
    if resource is not PODS:
        return 0
    over = obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if over or not obj["spec"].get("nodeName"):
        return 0
    if options.grace is not None:
        return max(0, options.grace)
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30))


def _is_over(obj: Object) -> bool:
    metadata = obj["metadata"]
    deleted = "deletionTimestamp" in metadata and not _is_held(obj)
    return deleted and metadata.get("deletionGracePeriodSeconds", 0) == 0


def _is_held(obj: Object) -> bool:
    spec_too = obj["kind"] == "Namespace" and obj["spec"].get("finalizers")
    return bool(obj["metadata"].get("finalizers") or spec_too)
