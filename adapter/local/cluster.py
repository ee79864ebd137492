"""The embedded cluster as its users see it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import yaml

from .api import Api
from .garbage import GarbageCollector
from .guard import Guard
from .jobs import JobController
from .namespaces import NamespaceController
from .node import Node
from .node_faults import NodeFaults
from .recorder import EventRecorder
from .registry import Registry
from .resources import BY_PLURAL, NAMESPACES
from .server import Server
from .signals import Signal
from .store import Event, Key, Object, Store
from .tasks import Tasks
from .timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from .faults import Faults
    from .records import RequestRecord, StreamRecord

ROTATE_BYTES = 10 * 1024 * 1024
BOOKMARK_SECONDS = 60.0


class Change(NamedTuple):
    """One stored event."""

    at: float
    type: str
    kind: str
    object: Object


class LocalCluster:
    """A Kubernetes wire on loopback whose pods are processes of this machine.

    Commands of pods run here, as the current user. Enter and exit may happen in different tasks.
    """

    namespace = "default"

    def __init__(
        self,
        directory: Path | None = None,
        port: int = 0,
        timing: Timing | None = None,
        rotate_bytes: int = ROTATE_BYTES,
        bookmark_seconds: float = BOOKMARK_SECONDS,
    ) -> None:
        self.timing = timing or Timing.fast()
        self.url = ""
        self._given, self._port = directory, port
        self._rotate_bytes, self._bookmark_seconds = rotate_bytes, bookmark_seconds

    async def __aenter__(self) -> Self:
        self.directory = self._given or Path(tempfile.mkdtemp(prefix="claude-k8s-local-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = self.directory / "kubeconfig"
        self._build()
        self._start_controllers()
        bound = await self._server.start(self._port)
        self.url = f"http://127.0.0.1:{bound}"
        self._write_kubeconfig()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.stop()
        self._jobs.stop()
        await self._node.stop()
        self._garbage.stop()
        self._namespaces.stop()
        await self._tasks.stop()
        await asyncio.to_thread(self._guard.stop)

    def _build(self) -> None:
        self._store, self._tasks, self._changed = Store(), Tasks(), Signal()
        self._store.listeners.append(lambda _: self._changed.fire())
        self._guard = Guard(secrets.token_hex(8), "" if self._given else str(self.directory))
        registry = Registry(self._store)
        recorder = EventRecorder(registry)
        self._namespaces = NamespaceController(registry, self._tasks, self.timing.collect)
        self._garbage = GarbageCollector(registry, self._tasks, self.timing.collect)
        self._jobs = JobController(registry, recorder, self.timing)
        self._node = Node(registry, recorder, self.timing, self.directory, self._guard, self._rotate_bytes)
        self._registry = registry
        self.node = NodeFaults(self._node, self._jobs, lambda: self._server.end_streams("log"))
        api = Api(registry, self._node, self.node, self._bookmark_seconds)
        self._server = Server(api, self._changed.fire)

    def _start_controllers(self) -> None:
        for controller in (self._namespaces, self._garbage, self._jobs, self._node):
            controller.start()
        for name in ("default", "kube-system"):
            self._registry.create(NAMESPACES, "", {"metadata": {"name": name}})

    def _write_kubeconfig(self) -> None:
        """Readable by its owner only: whoever has it runs commands as this user."""
        user = {"token": self._server.token}
        place = {"server": self.url + self._server.secret_path}
        context = {"cluster": "local", "user": "local", "namespace": self.namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": place}],
            "users": [{"name": "local", "user": user}],
            "contexts": [{"name": "local", "context": context}],
            "current-context": "local",
        }
        new = self.kubeconfig.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(yaml.safe_dump(config))
        new.replace(self.kubeconfig)

    # what tests and judges look at

    @property
    def token(self) -> str:
        """The bearer token that is good now."""
        return self._server.token

    @property
    def faults(self) -> Faults:
        return self._server.faults

    @property
    def requests(self) -> Sequence[RequestRecord]:
        """The last ten thousand, oldest first."""
        return tuple(self._server.requests)

    @property
    def streams(self) -> Sequence[StreamRecord]:
        """Watches and follows since their headers were sent; the last ten thousand, oldest first."""
        return tuple(self._server.streams)

    def open_streams(self) -> list[StreamRecord]:
        return [record for record in self._server.streams if record.closed_at is None]

    @property
    def history(self) -> list[Change]:
        """Every event the store recorded, oldest first."""
        return [_change(event) for event in self._store.events]

    def get(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        """An object as it is stored; `kind` is the plural."""
        resource = BY_PLURAL[kind]
        return self._store.get(Key(resource, namespace if resource.namespaced else "", name))

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        """All objects of a kind, of one namespace or of all."""
        return self._store.select(BY_PLURAL[kind], namespace)

    async def until(self, predicate: Callable[[LocalCluster], object], timeout: float = 10) -> Any:
        """Wait for a truth about this cluster; looked at after every change of an object, a request or a stream."""
        try:
            async with asyncio.timeout(timeout):
                while not (truth := predicate(self)):
                    await self._changed.wait()
                return truth
        except TimeoutError:
            raise TimeoutError(f"{_name(predicate)} did not become true within {timeout} s") from None

    # what can be done to it as a whole

    def compact(self) -> None:
        """Forget the history: every watch that resumes from now or before is told 410."""
        self._store.compact()

    async def stop_api(self) -> None:
        """The API server is killed: streams break, connections are refused. The node goes on."""
        await self._server.crash()

    async def start_api(self) -> None:
        """It is back, at the same address."""
        await self._server.listen(int(self.url.rpartition(":")[2]))

    def expire_token(self) -> None:
        """The token is refused from now on; the kubeconfig holds a new one."""
        self._server.token = secrets.token_hex(16)
        self._write_kubeconfig()


def _change(event: Event) -> Change:
    return Change(event.at, event.type, event.resource.kind, event.object)


def _name(predicate: Callable[..., object]) -> str:
    """Where it was written, so that whoever reads the error finds it."""
    code = getattr(predicate, "__code__", None)
    name = getattr(predicate, "__qualname__", repr(predicate))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
