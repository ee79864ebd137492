"""The kinds this cluster knows, and how a path names them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import unknown_path

CRUD = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)  # each is one of a kind: compared and hashed by identity
class Resource:
    """One kind, by all its names."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = field(default=())
    """what a field selector may ask for besides name and namespace"""
    verbs: tuple[str, ...] = CRUD

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As error messages name it: `jobs.batch`, but `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


EVENT_FIELDS = (
    *(f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion")),
    *("involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent"),
    *("source", "type"),
)
POD_FIELDS = (
    *(f"spec.{part}" for part in ("nodeName", "restartPolicy", "schedulerName", "serviceAccountName")),
    *("spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
)

PODS = Resource(*("", "v1", "pods", "Pod", True, ("po",), ("all",), ("log", "status", "eviction")), fields=POD_FIELDS)
JOBS = Resource(*("batch", "v1", "jobs", "Job", True, (), ("all",), ("status",)), fields=("status.successful",))
SECRETS = Resource("", "v1", "secrets", "Secret", fields=("type",))
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",))
EVENTS = Resource("", "v1", "events", "Event", True, ("ev",), fields=EVENT_FIELDS)
NAMESPACES = Resource(*("", "v1", "namespaces", "Namespace", False, ("ns",), (), ("status",)), fields=("status.phase",))
NODES = Resource("", "v1", "nodes", "Node", False, ("no",), (), ("status",), ("spec.unschedulable",))
PVCS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), (), ("status",))
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",))
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
ACCESS_REVIEWS = Resource(
    *("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    verbs=("create",),
)
RULES_REVIEWS = Resource(
    *("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    verbs=("create",),
)
WHO_AM_I = Resource(
    *("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False), verbs=("create",)
)

REVIEWS = (ACCESS_REVIEWS, RULES_REVIEWS, WHO_AM_I)
STORED = (CONFIGMAPS, EVENTS, NAMESPACES, NODES, PVCS, PODS, SECRETS, SERVICE_ACCOUNTS, JOBS, LEASES)
RESOURCES = (*STORED, ROLES, ROLE_BINDINGS, *REVIEWS)
BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


@dataclass(frozen=True)
class Target:
    """What a path points at."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False


def resolve(path: str) -> Target:
    """The target of an API path; raises the 404 of an unknown one."""
    parts = [part for part in path.split("/") if part]
    group, version, rest = _group_version(parts)
    watch = rest[:1] == ["watch"]
    rest = rest[1:] if watch else rest
    namespace, rest = _namespace(rest)
    resource = BY_PLURAL.get(rest[0]) if rest else None
    if resource is None or (resource.group, resource.version) != (group, version) or len(rest) > 3:
        raise unknown_path()
    name, subresource = [*rest[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        raise unknown_path()
    return Target(resource, namespace, name, subresource, watch)


def _group_version(parts: list[str]) -> tuple[str, str, list[str]]:
    if parts[:1] == ["api"] and len(parts) > 1:
        return "", parts[1], parts[2:]
    if parts[:1] == ["apis"] and len(parts) > 2:
        return parts[1], parts[2], parts[3:]
    raise unknown_path()


def _namespace(rest: list[str]) -> tuple[str, list[str]]:
    """`namespaces/x` is an object, `namespaces/x/pods` a place."""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] in BY_PLURAL:
        return rest[1], rest[2:]
    return "", rest
