"""What can happen to pods and their node: done to a cluster by tests and by the eviction API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import times
from .memory import kill, kill_child
from .node import NAME
from .podstatus import true_condition
from .registry import DeleteOptions
from .resources import NODES, PODS
from .scheduling import CORDONED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .containers import Container
    from .jobs import JobController
    from .node import Node
    from .pods import PodWorker
    from .store import Object

PRESSURE = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. "
TAINTED = "Taint manager: deleting due to NoExecute taint"
PULL_FAILS = 'failed to pull and unpack image "{0}": failed to resolve reference "{0}": {0}: not found'
STOPPED = {"status": "Unknown", "reason": "NodeStatusUnknown"}
STARTED = {"status": "True", "reason": "KubeletReady"}


class Switch:
    """A fault that is on until it is removed."""

    def __init__(self, off: Callable[[], None]) -> None:
        self._off = off

    def remove(self) -> None:
        self._off()


class NodeFaults:
    """Each method does one thing, at once, and returns; what follows can be watched."""

    def __init__(self, node: Node, jobs: JobController, end_logs: Callable[[], None]) -> None:
        self._node, self._jobs, self._end_logs = node, jobs, end_logs

    # pods

    def delete_pod(self, pod: str, namespace: str = "default", *, grace: int | None = None) -> None:
        """Delete a pod; `grace=0` is a forced deletion, after which nobody learns how it ended."""
        self._node.registry.delete(PODS, namespace, pod, DeleteOptions(grace=grace))

    def evict(self, pod: str, namespace: str = "default", *, how: str = "api") -> None:
        """By the eviction API (a drained node), or by the kubelet itself (`how="kubelet"`: memory pressure)."""
        if how == "kubelet":
            self._evict_for_pressure(self._worker(pod, namespace))
            return
        self._node.registry.get(PODS, namespace, pod)
        self._disrupt(pod, namespace, "EvictionByEvictionAPI", "Eviction API: evicting")
        self.delete_pod(pod, namespace)

    def _evict_for_pressure(self, worker: PodWorker) -> None:
        message = PRESSURE + f"Container {worker.containers[0].name} was using 200Mi, request is 0. "
        worker.report.extra = {"phase": "Failed", "reason": "Evicted", "message": message}
        self._disrupt(worker.name, worker.namespace, "TerminationByKubelet", message)
        self._node.recorder.warn(worker.pod, "Evicted", message, "kubelet")
        worker.request_stop(worker.pod["spec"]["terminationGracePeriodSeconds"])

    def preempt(self, pod: str, namespace: str = "default") -> None:
        """By the scheduler, for a pod that matters more."""
        message = "local-scheduler: preempting to accommodate a higher priority pod"
        self._disrupt(pod, namespace, "PreemptionByScheduler", message.replace("local", "default"))
        self.delete_pod(pod, namespace)

    def _disrupt(self, pod: str, namespace: str, reason: str, message: str) -> None:
        condition = true_condition("DisruptionTarget", reason, message) | {"lastTransitionTime": times.now()}

        def change(obj: Object) -> None:
            obj["status"]["conditions"] = [*obj["status"].get("conditions", ()), condition]

        self._node.registry.modify(PODS, namespace, pod, change)

    def oom_kill(self, pod: str, container: str = "", namespace: str = "default", *, child_only: bool = False) -> None:
        """The kernel kills the container, or only its largest child: the exit code is then the parent's own."""
        (kill_child if child_only else kill)(self._container(pod, container, namespace))

    def kill(self, pod: str, container: str = "", namespace: str = "default", *, signal: int = 9) -> None:
        """Somebody on the node signals the container's processes."""
        process = self._container(pod, container, namespace).process
        if process is not None:
            process.signal(signal)

    def status_unknown(self, pod: str, namespace: str = "default") -> None:
        """The node has forgotten what became of the containers."""
        worker = self._worker(pod, namespace)
        for container in worker.all_containers:
            if container.process is not None and container.running:
                container.lose()
                container.process.signal(9)

    def rotate_log(self, pod: str, container: str = "", namespace: str = "default") -> None:
        """Begin a new log file now: what is in the old one is never served again."""
        self._container(pod, container, namespace).logs[-1].rotate()

    def append_log(self, pod: str, entries: bytes, container: str = "", namespace: str = "default") -> None:
        """Write whole CRI entries into a log, with whatever stamps they bear (30 bytes each)."""
        self._container(pod, container, namespace).logs[-1].append(entries)

    # the node

    def stop_kubelet(self) -> None:
        """Follows end at once, cleanly; containers run on; nothing is told until the kubelet is back."""
        self._node.set_kubelet(up=False)
        self._end_logs()

    def start_kubelet(self) -> None:
        self._node.set_kubelet(up=True)

    def node_lost(self) -> None:
        """The machine is gone from the network: NotReady, then its pods are marked for deletion, then nothing."""
        self.stop_kubelet()
        timing = self._node.timing
        self._node.later(timing.node_monitor, self._not_ready)
        self._node.later(timing.node_monitor + timing.taint_eviction, self._evict_tainted)

    def _not_ready(self) -> None:
        if self._node.kubelet_up:
            return
        self._node.ready = False
        self._mark_node(STOPPED)
        for worker in self._still_running():
            self._node.registry.modify(PODS, worker.namespace, worker.name, _unready)

    def _evict_tainted(self) -> None:
        if self._node.kubelet_up:
            return
        for worker in self._still_running():
            self._disrupt(worker.name, worker.namespace, "DeletionByTaintManager", TAINTED)
            self.delete_pod(worker.name, worker.namespace)

    def _still_running(self) -> list[PodWorker]:
        """As far as the API knows: pods that are there and have not ended."""
        return [one for one in self._node.workers if not one.removed.is_set() and not one.report.has_ended]

    def node_back(self) -> None:
        """The kubelet is back, and does what it was told meanwhile."""
        self._node.ready = True
        self._mark_node(STARTED)
        self.start_kubelet()

    def _mark_node(self, condition: dict[str, Any]) -> None:
        ready = {"type": "Ready", "lastTransitionTime": times.now()} | condition
        self._node.registry.modify(NODES, "", NAME, lambda node: node.update(status={"conditions": [ready]}))

    def unschedulable(self, message: str = CORDONED) -> Switch:
        """No pod is scheduled until the switch is removed."""
        self._node.unschedulable = message
        return Switch(self._schedulable)

    def _schedulable(self) -> None:
        self._node.unschedulable = None
        self._node.schedule_waiting()

    def image_pull_error(self, pattern: str = "*", message: str | None = None) -> Switch:
        """Images that match the glob cannot be pulled until the switch is removed."""
        self._node.image_errors[pattern] = message or PULL_FAILS.format(pattern)
        return Switch(lambda: self._images_back(pattern))

    def _images_back(self, pattern: str) -> None:
        self._node.image_errors.pop(pattern, None)
        self._node.image_changed.fire()

    def reject_pods(self, why: str = "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0") -> Switch:
        """No pod may be created: Jobs get FailedCreate events, and no pod, until the switch is removed."""
        self._jobs.rejection = why
        return Switch(self._accept_pods)

    def _accept_pods(self) -> None:
        self._jobs.rejection = None
        self._jobs.resync()

    # finding

    def _worker(self, pod: str, namespace: str) -> PodWorker:
        worker = self._node.worker(pod, namespace)
        if worker is None:
            raise LookupError(f"no pod {namespace}/{pod} on the node")
        return worker

    def _container(self, pod: str, container: str, namespace: str) -> Container:
        worker = self._worker(pod, namespace)
        found = worker.container(container) if container else worker.containers[0]
        if found is None:
            raise LookupError(f"no container {container} in pod {namespace}/{pod}")
        return found


def _unready(pod: Object) -> None:
    for condition in pod["status"].get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "True":
            condition |= {"status": "False", "reason": "NodeNotReady", "lastTransitionTime": times.now()}
