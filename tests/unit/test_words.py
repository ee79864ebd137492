from __future__ import annotations

import pytest

from adapter.cluster.pods import Container
from adapter.words import Teller, describe_pod_terminated_error, signal_name, signal_of, state_of
from tests.unit.raws import Raw, condition, pod, running, terminated, unscheduled, waiting


def agent(raw: Raw) -> Container:
    return Container.of(raw, "main")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (terminated(137, "OOMKilled"), "claude: terminated (exit 137, OOMKilled)"),
        (terminated(None), "claude: terminated (exit ?, no reason)"),
        (waiting("ErrImagePull", "not found"), "claude: waiting (ErrImagePull: not found)"),
        (waiting("ContainerCreating"), "claude: waiting (ContainerCreating)"),
        ({"name": "claude", "state": {"waiting": {}}}, "claude: waiting (no reason)"),
        ({"name": "claude", "state": {}}, "claude: no state yet"),
        ({"name": "claude", "state": {"running": {}}}, "claude: running"),
        (running(), "claude: running"),
    ],
)
def test_a_containers_state(raw: Raw, words: str) -> None:
    assert state_of(agent(raw)) == words


class TestDescribePodTerminatedError:
    """The five cases of the FAR-10 test plan."""

    def describe(self, *containers: Raw) -> str:
        return describe_pod_terminated_error("pod-1", "Failed", [agent(raw) for raw in containers])

    def test_exit_code_and_reason(self) -> None:
        assert self.describe(terminated(3, "Error")) == "Pod pod-1 reached phase=Failed: claude exited 3 (Error)"

    def test_a_missing_reason_falls_back_to_the_message(self) -> None:
        described = self.describe(terminated(3, message="boom"))
        assert described == "Pod pod-1 reached phase=Failed: claude exited 3 (boom)"

    def test_no_container_status(self) -> None:
        assert self.describe() == "Pod pod-1 reached phase=Failed"

    def test_only_other_containers(self) -> None:
        assert self.describe(terminated(1, "Error", name="proxy")) == "Pod pod-1 reached phase=Failed"

    def test_exit_code_null(self) -> None:
        described = self.describe(terminated(None, "Error"))
        assert described == "Pod pod-1 reached phase=Failed: claude exited unknown (Error)"


@pytest.mark.parametrize(
    ("code", "number"), [(None, None), (0, None), (128, None), (129, 1), (137, 9), (143, 15), (255, None), (192, 64)]
)
def test_the_signal_of_an_exit_code(code: int | None, number: int | None) -> None:
    assert signal_of(code) == number


def test_a_signals_name() -> None:
    assert signal_name(15) == "SIGTERM"


def test_each_change_is_told_once() -> None:
    teller = Teller()
    creating = pod(waiting("ContainerCreating"), phase="Pending")

    assert teller.tell(creating) == [
        ("pod", "pod ck-run-abcde: scheduled to node-1"),
        ("container", "claude: waiting (ContainerCreating)"),
    ]
    assert teller.tell(creating) == []
    assert teller.tell(pod(running(), version="11")) == [("container", "claude: running")]
    assert teller.tell(pod(running(), version="12")) == []
    assert teller.tell(pod(terminated(137, "OOMKilled"))) == [("container", "claude: terminated (exit 137, OOMKilled)")]


def test_init_containers_and_sidecars_are_named_as_such() -> None:
    init = (terminated(7, "Error", name="setup"), running("proxy"))
    told = Teller().tell(pod(waiting("PodInitializing"), init=init, sidecars=("proxy",)))

    assert ("container", "init container setup: terminated (exit 7, Error)") in told
    assert ("container", "sidecar proxy: running") in told


def test_where_a_pod_stands_with_the_scheduler() -> None:
    assert Teller().tell(unscheduled("too small")) == [("pod", "pod ck-run-abcde: unschedulable (too small)")]


def test_a_deletion_is_told() -> None:
    assert ("pod", "pod ck-run-abcde: being deleted") in Teller().tell(pod(running(), deleting=True))


def test_a_disruption_is_told_instead_of_the_deletion() -> None:
    evicted = (condition("DisruptionTarget", "EvictionByEvictionAPI", "evicting"),)
    told = Teller().tell(pod(running(), deleting=True, conditions=evicted))

    assert ("pod", "pod ck-run-abcde: EvictionByEvictionAPI (evicting)") in told
    assert ("pod", "pod ck-run-abcde: being deleted") not in told


def test_the_containers_of_another_pod_are_told_anew() -> None:
    teller = Teller()
    teller.tell(pod(running()))
    other = pod(running(), uid="b002")
    object.__setattr__(other, "name", "ck-run-fghij")

    assert ("container", "claude: running") in teller.tell(other)
