"""What a pod says, in words an operator understands."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from adapter.cluster.pods import AGENT, Container, Pod


def state_of(container: Container) -> str:
    """A container's state in one line, such as `claude: terminated (exit 137, OOMKilled)`."""
    if container.terminated:
        code = "?" if container.exit_code is None else container.exit_code
        return f"{container.name}: terminated (exit {code}, {container.reason or 'no reason'})"
    if container.state == "waiting":
        detail = ": ".join(part for part in (container.reason, container.message) if part)
        return f"{container.name}: waiting ({detail or 'no reason'})"
    return f"{container.name}: {container.state if container.state != 'none' else 'no state yet'}"


def describe_pod_terminated_error(pod: str, phase: str, containers: Iterable[Container]) -> str:
    """Why a pod that never ran is in its final phase: pod, phase, the agent's exit code and reason.

    A missing reason falls back to the message, a missing exit code says `unknown`; without a terminated agent's
    container, and with only others, the phase stands alone (the five cases of the FAR-10 test plan).
    """
    head = f"Pod {pod} reached phase={phase}"
    agent = next((c for c in containers if c.name == AGENT and c.terminated), None)
    if agent is None:
        return head
    code = "unknown" if agent.exit_code is None else agent.exit_code
    return f"{head}: {AGENT} exited {code} ({agent.reason or agent.message or 'no reason'})"


def signal_of(exit_code: int | None) -> int | None:
    """The signal that an exit code above 128 stands for, if there is one of that number."""
    if exit_code is None or not 128 < exit_code < 128 + 65:
        return None
    return exit_code - 128 if exit_code - 128 in list(signal.Signals) else None


def signal_name(number: int) -> str:
    """A signal's name, such as SIGKILL."""
    return signal.Signals(number).name


class Teller:
    """Tells every change of a pod once: where it was placed, what its containers do, what ends it."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, pod: Pod) -> list[tuple[str, str]]:
        """The kind and the words of what has changed since the pod was told last."""
        news = [(kind, words) for key, kind, words in _facts(pod) if self._told.get(key) != words]
        self._told |= {key: words for key, _, words in _facts(pod)}
        return news


def _facts(pod: Pod) -> Iterable[tuple[str, str, str]]:
    if pod.unschedulable and not pod.node:
        yield "place", "pod", f"pod {pod.name}: unschedulable ({pod.unschedulable})"
    elif pod.node:
        yield "place", "pod", f"pod {pod.name}: scheduled to {pod.node}"
    if pod.disruption:
        yield (
            "disruption",
            "pod",
            f"pod {pod.name}: {pod.disruption} ({pod.disruption_message or 'no message'})",
        )
    elif pod.deleting:
        yield "disruption", "pod", f"pod {pod.name}: being deleted"
    for container in pod.containers:
        if container.state != "none":
            yield f"{pod.name} {container.role} {container.name}", "container", _with_role(container)


def _with_role(container: Container) -> str:
    prefix = {"init": "init container ", "sidecar": "sidecar ", "main": ""}[container.role]
    return prefix + state_of(container)
