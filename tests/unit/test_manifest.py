"""The Job: within restricted Pod Security whatever the request, and given to the kubelet literally."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.agent.manifest import ABANDONED, job_manifest
from adapter.run import RunRequest
from adapter.work import plain_work

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
REQUESTS = st.builds(
    RunRequest,
    run_id=st.just("r"),
    command=st.lists(TEXT.filter(bool), min_size=1, max_size=3).map(tuple),
    env=st.dictionaries(NAMES, TEXT, max_size=3),
    working_dir=st.none() | st.just("/work"),
    timeout=st.none() | st.integers(1, 100),
    grace=st.integers(0, 100),
    retain=st.integers(0, 100),
    cpu=st.none() | st.just("500m"),
    memory=st.none() | st.just("1Gi"),
    service_account=st.none() | st.just("agent"),
    node_selector=st.just({}) | st.just({"disk": "ssd"}),
)


def manifest(request: RunRequest) -> dict[str, Any]:
    return job_manifest(request, name="j", labels={"l": "1"}, annotations={"a": "1"})


def pod_of(request: RunRequest) -> dict[str, Any]:
    pod: dict[str, Any] = manifest(request)["spec"]["template"]["spec"]
    return pod


def breaches(pod: dict[str, Any]) -> list[str]:
    """What the Pod Security level `restricted` would say (kubernetes.io/docs/concepts/security)."""
    found = [f"host field {name}" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [f"volume {v['name']}" for v in pod.get("volumes", ()) if not set(v) - {"name"} <= allowed]
    outer = pod.get("securityContext", {})
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        own = container.get("securityContext", {})
        both = outer | own
        seccomp = both.get("seccompProfile", {}).get("type")
        checks = {
            "privileged": not own.get("privileged"),
            "escalation": own.get("allowPrivilegeEscalation") is False,
            "non-root": both.get("runAsNonRoot") is True,
            "user": both.get("runAsUser") != 0,
            "seccomp": seccomp in ("RuntimeDefault", "Localhost"),
            "capabilities dropped": own.get("capabilities", {}).get("drop") == ["ALL"],
            "capabilities added": set(own.get("capabilities", {}).get("add", ())) <= {"NET_BIND_SERVICE"},
            "host port": not any(port.get("hostPort") for port in container.get("ports", ())),
            "proc mount": own.get("procMount", "Default") == "Default",
        }
        found += [f"{container['name']}: {name}" for name, good in checks.items() if not good]
    return found


@settings(deadline=None, max_examples=60)
@given(request=REQUESTS)
def test_every_pod_is_within_restricted_pod_security(request: RunRequest) -> None:
    assert breaches(pod_of(request)) == []


def expanded(text: str, variables: dict[str, str]) -> str:
    """As the kubelet expands commands and values: `$$` is `$`, `$(NAME)` a variable, if there is one."""

    def one(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


@settings(deadline=None, max_examples=150)
@given(text=st.text(st.sampled_from("$()AB \\"), min_size=1, max_size=12))
def test_the_command_and_the_environment_reach_the_container_literally(text: str) -> None:
    (container,) = pod_of(RunRequest(run_id="r", command=(text,), env={"A": text}))["containers"]

    assert expanded(container["command"][0], {"A": "expanded", "B": "expanded"}) == text
    assert expanded(container["env"][0]["value"], {"A": "expanded", "B": "expanded"}) == text


def test_a_job_is_created_suspended_and_never_retries() -> None:
    spec = manifest(RunRequest(run_id="r", command=("true",)))["spec"]

    assert (spec["suspend"], spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (True, 0, "Never")


@pytest.mark.parametrize(("retain", "ttl"), [(60, 60), (0, ABANDONED)])
def test_every_job_has_a_ttl_even_one_that_we_mean_to_delete(retain: int, ttl: int) -> None:
    spec = manifest(RunRequest(run_id="r", command=("true",), retain=retain))["spec"]

    assert spec.get("ttlSecondsAfterFinished") == ttl


@pytest.mark.parametrize("timeout", [None, 7])
def test_the_deadline_is_the_jobs(timeout: int | None) -> None:
    spec = manifest(RunRequest(run_id="r", command=("true",), timeout=timeout))["spec"]

    assert spec.get("activeDeadlineSeconds") == timeout


def test_bounds_are_requests_and_limits() -> None:
    (container,) = pod_of(RunRequest(run_id="r", command=("true",), cpu="1", memory="2Gi"))["containers"]

    assert container["resources"]["limits"] == container["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}


def test_labels_are_on_the_pods_too() -> None:
    made = manifest(RunRequest(run_id="r", command=("true",)))

    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"] == {"l": "1"}


def test_no_secret_is_in_labels_or_annotations() -> None:
    made = plain_work(RunRequest(run_id="r", command=("true",), env={"TOKEN": "hunter2"}), "i").manifest

    assert "hunter2" not in str(made["metadata"])
