"""The API server: from a request to an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import web

from . import discovery, protobuf, reviews, tables
from .errors import ApiError, bad_request
from .logs import LogRequest, NoContent
from .patching import APPLY_PATCH
from .registry import ORPHANED, DeleteOptions
from .resources import JOBS, REVIEWS, Target, resolve
from .selecting import Selector
from .store import Key, Object, encode
from .watches import TRUE, Watch, WatchOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .node import Node
    from .node_faults import NodeFaults
    from .registry import Registry
    from .streams import Stream

LARGEST_BODY = 3_145_728


class Api:
    """Answers everything but who may ask."""

    def __init__(self, registry: Registry, node: Node, faults: NodeFaults, bookmark_seconds: float) -> None:
        self.registry, self.store, self.node, self.faults = registry, registry.store, node, faults
        self._bookmark_seconds = bookmark_seconds

    async def answer(self, request: web.Request, path: str, stream: Stream | None) -> web.StreamResponse:
        """Raises ApiError for every answer that is a failure."""
        if path in discovery.HEALTH:
            return web.Response(text="ok")
        if request.method == "GET" and (document := discovery.answer(path, request.host)) is not None:
            return reply(document)
        target, query = resolve(path), dict(request.query)
        if target.resource in REVIEWS:
            return reply(reviews.review(target.resource, await body_of(request)), 201)
        if request.method == "GET":
            return await self._read(request, target, query, stream)
        return await self._write(request, target, query)

    # reading

    async def _read(
        self, request: web.Request, target: Target, query: Mapping[str, str], stream: Stream | None
    ) -> web.StreamResponse:
        if target.subresource == "log":
            return await self._log(target, query, stream)
        if stream is not None:
            return await self._watch(target, query, stream)
        as_table = tables.wanted(request.headers.get("Accept", ""))
        if target.name:
            obj = self.registry.get(target.resource, target.namespace, target.name)
            version = obj["metadata"]["resourceVersion"]
            return reply(tables.table(target.resource, [obj], version) if as_table else obj)
        return reply(self._list(target, query, as_table=as_table))

    async def _log(self, target: Target, query: Mapping[str, str], stream: Stream | None) -> web.StreamResponse:
        assert stream is not None  # noqa: S101 - the server made one for this path
        try:
            log = LogRequest(self.node, target.namespace, target.name, query)
        except NoContent:
            return web.Response(status=204)
        return await stream.serve("text/plain", log.produce)

    async def _watch(self, target: Target, query: Mapping[str, str], stream: Stream) -> web.StreamResponse:
        watch = Watch(
            self.store,
            target.resource,
            target.namespace,
            _selector(target, query),
            WatchOptions.read(query),
            self._bookmark_seconds,
        )
        return await stream.serve("application/json", watch.produce)

    def _list(self, target: Target, query: Mapping[str, str], *, as_table: bool) -> Object:
        self._check_version(query)
        resource, selector = target.resource, _selector(target, query)
        found = [one for one in self.store.select(resource, target.namespace) if selector.matches(one)]
        found, more = _page(found, query)
        version = str(self.store.version)
        if as_table:
            return tables.table(resource, found, version)
        items = [{key: obj[key] for key in obj if key not in ("kind", "apiVersion")} for obj in found]
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return head | {"metadata": {"resourceVersion": version} | more, "items": items}

    def _check_version(self, query: Mapping[str, str]) -> None:
        text = query.get("resourceVersion") or "0"
        if not text.isdigit():
            why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
            raise bad_request(f'invalid resource version: resourceVersion: Invalid value: "{text}": {why}')
        version, current = int(text), self.store.version
        if query.get("resourceVersionMatch") == "Exact" and version < max(self.store.compacted, 1):
            raise ApiError(410, "The resourceVersion for the provided list is too old.", "Expired")
        if version > current:
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            text = f"Timeout: Too large resource version: {version}, current: {current}"
            raise ApiError(504, text, "Timeout", {"causes": [cause], "retryAfterSeconds": 1})

    # writing

    async def _write(self, request: web.Request, target: Target, query: Mapping[str, str]) -> web.Response:
        verb = {"POST": self._create, "PUT": self._replace, "PATCH": self._patch, "DELETE": self._delete}.get(
            request.method
        )
        named = bool(target.name)
        if verb is None or (named != (request.method in ("PUT", "PATCH")) and not _is_special(request, target)):
            text = "the server does not allow this method on the requested resource"
            raise ApiError(405, text, "MethodNotAllowed", {})
        return await verb(request, target, query)

    async def _create(self, request: web.Request, target: Target, query: Mapping[str, str]) -> web.Response:
        body = await body_of(request)
        if target.subresource == "eviction":
            self.faults.evict(target.name, target.namespace)
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
            return reply(status, 201)
        made = self.registry.create(target.resource, target.namespace, body, dry_run=_dry_run(query))
        return reply(made, 201)

    async def _replace(self, request: web.Request, target: Target, query: Mapping[str, str]) -> web.Response:
        body = await body_of(request)
        how: dict[str, Any] = {"dry_run": _dry_run(query), "subresource": target.subresource}
        return reply(self.registry.replace(target.resource, target.namespace, target.name, body, **how))

    async def _patch(self, request: web.Request, target: Target, query: Mapping[str, str]) -> web.Response:
        body = await body_of(request)
        how: dict[str, Any] = {"dry_run": _dry_run(query), "subresource": target.subresource}
        place = (target.resource, target.namespace, target.name)
        if request.content_type == APPLY_PATCH and self.store.get(Key(*place)) is None:
            made = self.registry.create(target.resource, target.namespace, body, dry_run=_dry_run(query))
            return reply(made, 201)
        return reply(self.registry.patch(*place, body, request.content_type, **how))

    async def _delete(self, request: web.Request, target: Target, query: Mapping[str, str]) -> web.Response:
        body = await body_of(request) or {}
        options = DeleteOptions.read(body, query)
        if not target.name:
            return reply(self._delete_all(target, query, options))
        gone = self.registry.delete(target.resource, target.namespace, target.name, options)
        warned = target.resource is JOBS and options.policy is None
        headers = {"Warning": ORPHANED} if warned else {}
        left = self.store.get(Key(target.resource, target.namespace, target.name))
        return reply(_deleted(target, gone, left), 200, headers)

    def _delete_all(self, target: Target, query: Mapping[str, str], options: DeleteOptions) -> Object:
        selector = _selector(target, query)
        found = [one for one in self.store.select(target.resource, target.namespace) if selector.matches(one)]
        for obj in found:
            metadata = obj["metadata"]
            self.registry.delete(target.resource, metadata.get("namespace", ""), metadata["name"], options)
        head = {"kind": f"{target.resource.kind}List", "apiVersion": target.resource.api_version}
        return head | {"metadata": {"resourceVersion": str(self.store.version)}, "items": found}


def _is_special(request: web.Request, target: Target) -> bool:
    return request.method == "DELETE" or bool(target.subresource)


def _deleted(target: Target, gone: Object, left: Object | None) -> Object:
    """The object, if it is still there; else only its name."""
    if left is not None and left["metadata"]["uid"] == gone["metadata"]["uid"]:
        return left
    if target.resource.plural == "pods":
        return gone
    group = {"group": target.resource.group} if target.resource.group else {}
    details = {"name": target.name} | group | {"kind": target.resource.plural, "uid": gone["metadata"]["uid"]}
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return head | {"details": details}


def reply(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=encode(document),
        content_type="application/json",
        headers={"Cache-Control": "no-cache, private"} | dict(headers or {}),
    )


def failure(error: ApiError) -> web.Response:
    return reply(error.body(), error.code, error.headers)


async def body_of(request: web.Request) -> Any:
    """The body, from JSON or from YAML; None if there is none."""
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        text = f"Request entity too large: limit is {LARGEST_BODY}"
        raise ApiError(413, text, "RequestEntityTooLarge", {}) from None
    if not data:
        return None
    try:
        if request.content_type == protobuf.CONTENT_TYPE:
            return protobuf.decode(data)
        return yaml.safe_load(data) if "yaml" in request.content_type else json.loads(data)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error


def _selector(target: Target, query: Mapping[str, str]) -> Selector:
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    return Selector(target.resource, labels, fields, target.name)


def _page(found: list[Object], query: Mapping[str, str]) -> tuple[list[Object], dict[str, Any]]:
    """`limit` and `continue`: the token is the number of objects already seen."""
    start = int(query.get("continue") or 0)
    limit = int(query.get("limit") or 0)
    if not limit or query.get("resourceVersion") == "0" or start + limit >= len(found):
        return found[start:], {}
    end = start + limit
    return found[start:end], {"continue": str(end), "remainingItemCount": len(found) - end}


def _dry_run(query: Mapping[str, str]) -> bool:
    value = query.get("dryRun")
    if value not in (None, "", "All"):
        raise ApiError(422, f'dryRun: Unsupported value: "{value}": supported values: "All"', "Invalid", {})
    return value == "All"


def is_watch(target: Target, query: Mapping[str, str]) -> bool:
    return target.watch or (not target.name and query.get("watch") in TRUE)
