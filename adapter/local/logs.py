"""The log endpoint: which log is meant, and what to say when there is none."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from .errors import ApiError, bad_request
from .logreader import LogOptions, read
from .resources import PODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .containers import Container
    from .logfile import ContainerLog
    from .node import Node
    from .pods import PodWorker
    from .store import Object
    from .streams import Stream

PULL_WORDS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class NoContent(Exception):
    """A pod that no node has yet: 204."""


class LogRequest:
    """One request for a log, resolved to a file."""

    def __init__(self, node: Node, namespace: str, name: str, query: Mapping[str, str]) -> None:
        self.node = node
        self.options = LogOptions.read(name, query)
        pod = node.registry.get(PODS, namespace, name)
        container = _container_name(pod, self.options.container)
        if not pod["spec"].get("nodeName"):
            raise NoContent
        worker = self._worker(pod, container, query)
        found = worker.container(container)
        assert found is not None  # noqa: S101 - the name is one of the pod's
        self.log = _choose(found, name, previous=self.options.previous)

    def _worker(self, pod: Object, container: str, query: Mapping[str, str]) -> PodWorker:
        metadata, node = pod["metadata"], self.node
        if not node.kubelet_up:
            raise _unreachable(metadata, container, query)
        worker = node.worker(metadata["name"], metadata["namespace"])
        since = asyncio.get_running_loop().time() - node.kubelet_since
        if worker is None or not worker.report.begun or since < node.timing.kubelet_back:
            raise _unknown_to_kubelet(metadata["name"])
        return worker

    async def produce(self, stream: Stream) -> None:
        async with contextlib.aclosing(read(self.log, self.options)) as pieces:
            async for piece in pieces:
                await stream.send(piece)
        if self.options.follow:
            await stream.before_end()


def _container_name(pod: Object, asked: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [one["name"] for one in [*(spec.get("initContainers") or ()), *spec["containers"]]]
    if asked and asked not in names:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    if not asked and len(spec["containers"]) > 1:
        choices = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")
    return asked or str(spec["containers"][0]["name"])


def _choose(container: Container, pod: str, *, previous: bool) -> ContainerLog:
    where = f'container "{container.name}" in pod "{pod}"'
    if previous:
        if container.restarts == 0 or not container.logs:
            raise bad_request(f"previous terminated {where} not found")
        return container.logs[-1 if "waiting" in container.state else -2]
    if not container.logs:
        reason = container.state["waiting"]["reason"]
        raise bad_request(f"{where} is waiting to start: {PULL_WORDS.get(reason, reason)}")
    return container.logs[-1]


def _unknown_to_kubelet(name: str) -> ApiError:
    text = f"the server could not find the requested resource ( pods/log {name})"
    return ApiError(404, text, "NotFound", {"name": name, "kind": "pods/log"})


def _unreachable(metadata: Mapping[str, Any], container: str, query: Mapping[str, str]) -> ApiError:
    passed = [f"{key}={query[key]}" for key in ("follow", "timestamps") if key in query]
    tail = f"?{'&'.join(passed)}" if passed else ""
    url = f"https://127.0.0.1:10250/containerLogs/{metadata['namespace']}/{metadata['name']}/{container}{tail}"
    return ApiError(500, f'Get "{url}": dial tcp 127.0.0.1:10250: connect: connection refused')
