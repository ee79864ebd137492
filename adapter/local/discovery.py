"""What a client asks before it asks for anything: versions, kinds, and as much OpenAPI as kubectl needs."""

from __future__ import annotations

from typing import Any

from .resources import RESOURCES, Resource

VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.4+local",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "python",
    "compiler": "",
    "platform": "local",
}
HEALTH = ("/healthz", "/livez", "/readyz")


def answer(path: str, address: str) -> dict[str, Any] | None:
    """The document at a path; None if there is none."""
    path = path.rstrip("/")
    fixed = {"/version": VERSION, "/api": _core(address), "/apis": _groups(), "/openapi/v3": _openapi_index()}
    return fixed.get(path) or _group(path) or _resources(path) or _openapi(path)


def _core(address: str) -> dict[str, Any]:
    ranges = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    head = {"kind": "APIVersions", "apiVersion": "v1"}
    return head | {"versions": ["v1"], "serverAddressByClientCIDRs": ranges}


def _by_group() -> dict[str, list[Resource]]:
    groups: dict[str, list[Resource]] = {}
    for resource in RESOURCES:
        groups.setdefault(resource.api_version, []).append(resource)
    return groups


def _groups() -> dict[str, Any]:
    groups = [_group_entry(version) for version in _by_group() if "/" in version]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _group_entry(group_version: str) -> dict[str, Any]:
    name, version = group_version.split("/")
    entry = {"groupVersion": group_version, "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def _group(path: str) -> dict[str, Any] | None:
    for version in _by_group():
        if "/" in version and path == f"/apis/{version.split('/')[0]}":
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group_entry(version)
    return None


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _resources(path: str) -> dict[str, Any] | None:
    for version, resources in _by_group().items():
        if path == _root(version):
            entries = [entry for resource in resources for entry in _entries(resource)]
            head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version}
            return head | {"resources": entries}
    return None


def _entries(resource: Resource) -> list[dict[str, Any]]:
    main: dict[str, Any] = {"name": resource.plural, "singularName": resource.kind.lower()}
    main |= {"namespaced": resource.namespaced, "kind": resource.kind, "verbs": list(resource.verbs)}
    main |= {"shortNames": list(resource.short)} if resource.short else {}
    main |= {"categories": list(resource.categories)} if resource.categories else {}
    return [main, *(_subresource(resource, name) for name in resource.subresources)]


def _subresource(resource: Resource, name: str) -> dict[str, Any]:
    verbs = {"log": ["get"], "eviction": ["create"]}.get(name, ["get", "patch", "update"])
    entry = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if name == "eviction":
        entry |= {"group": "policy", "version": "v1"}
    return entry | {"kind": "Eviction" if name == "eviction" else resource.kind, "verbs": verbs}


def _openapi_index() -> dict[str, Any]:
    paths = {_root(version)[1:]: {"serverRelativeURL": f"/openapi/v3{_root(version)}"} for version in _by_group()}
    return {"paths": paths}


def _openapi(path: str) -> dict[str, Any] | None:
    """Says no more than that the server validates fields itself: kubectl then leaves it to the server."""
    for version, resources in _by_group().items():
        if path == f"/openapi/v3{_root(version)}":
            paths = {_item_path(version, resource): {"patch": _operation(resource)} for resource in resources}
            return {"openapi": "3.0.0", "info": {"title": "local", "version": "v1.34"}, "paths": paths}
    return None


def _item_path(version: str, resource: Resource) -> str:
    place = "namespaces/{namespace}/" if resource.namespaced else ""
    return f"{_root(version)}/{place}{resource.plural}/{{name}}"


def _operation(resource: Resource) -> dict[str, Any]:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    return {"parameters": [parameter], "x-kubernetes-group-version-kind": kind, "responses": {}}
