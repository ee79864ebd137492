"""The Job controller and the node: what the wire shows of a Job's life, in the order of a real cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import JOBS, PODS, Object, Wire, job, sh

if TYPE_CHECKING:
    from adapter.local import LocalCluster


def stages(cluster: LocalCluster) -> list[str]:
    """The history in short: what is new in each event of Jobs and pods."""
    told: list[str] = []
    for change in cluster.history:
        if change.kind not in ("Job", "Pod"):
            continue
        words = (_job_words if change.kind == "Job" else _pod_words)(change.object)
        if change.type != "MODIFIED":
            words.insert(0, change.type)
        told += [word for word in (f"{change.kind} {word}" for word in words) if word not in told]
    return told


def _job_words(obj: Any) -> list[str]:
    status = obj.get("status", {})
    words = [f"{key} {status[key]}" for key in ("active", "succeeded", "failed") if status.get(key)]
    words += ["ready 1"] if status.get("ready") else []
    uncounted = status.get("uncountedTerminatedPods") or {}
    words += [f"uncounted {what}" for what in uncounted]
    return words + [f"{one['type']} {one['status']}" for one in status.get("conditions", ())]


def _pod_words(obj: Any) -> list[str]:
    status = obj["status"]
    scheduled = ["scheduled"] if obj["spec"].get("nodeName") else []
    deleted = ["deletionTimestamp"] if obj["metadata"].get("deletionTimestamp") else []
    states = [next(iter(one["state"])) for one in status.get("containerStatuses", ())]
    free = [] if obj["metadata"].get("finalizers") else ["untracked"]
    return [*scheduled, *deleted, *states, f"phase {status['phase']}", *free]


async def test_success_is_told_in_steps(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("echo one; sleep 0.1"))
    await wire.until("Complete")
    assert stages(cluster) == [
        "Job ADDED",
        "Pod ADDED",
        "Pod phase Pending",
        "Job active 1",
        "Pod scheduled",
        "Pod waiting",
        "Pod running",
        "Pod phase Running",
        "Job ready 1",
        "Pod terminated",
        "Pod phase Succeeded",
        "Job uncounted succeeded",
        "Job SuccessCriteriaMet True",
        "Pod untracked",
        "Job succeeded 1",
        "Job Complete True",
    ]
    status = (cluster.get("jobs", "a") or {})["status"]
    assert status["completionTime"]
    assert [one["reason"] for one in status["conditions"]] == ["CompletionsReached"] * 2


async def test_an_early_failure_leaves_the_phase_pending(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("exit 3"))
    await wire.until("Failed")
    told = stages(cluster)
    assert "Pod running" not in told
    assert told.index("Pod terminated") < told.index("Pod phase Failed") < told.index("Job FailureTarget True")
    assert told[-1] == "Job Failed True"
    failed = wire.condition("Failed")
    assert (failed["reason"], failed["message"]) == (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    state = wire.state(await wire.pod())["terminated"]
    assert (state["exitCode"], state["reason"]) == (3, "Error")


async def test_a_second_pod_after_a_failure(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("exit 1"), backoffLimit=1)
    await wire.until("Failed")
    assert len(wire.pods_of("a")) == 2
    assert (cluster.get("jobs", "a") or {})["status"]["failed"] == 2


async def test_deadline_takes_pod_and_log_before_it_says_failed(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("trap 'echo last; exit 0' TERM; echo up; while :; do sleep 0.05; done"), activeDeadlineSeconds=1)
    pod = await wire.running()
    following = await wire.follow(pod)
    target = await wire.until("FailureTarget")
    assert (target["reason"], target["message"]) == (
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
    )
    assert await following.read() == b"up\nlast\n"
    await wire.until("Failed")
    told = stages(cluster)
    assert told.index("Job FailureTarget True") < told.index("Pod phase Succeeded")
    assert told.index("Pod DELETED") < told.index("Job Failed True")
    assert (await wire.log(pod)).status == 404


async def test_suspend_and_resume(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"), suspend=True)
    suspended = await wire.until("Suspended")
    assert (suspended["reason"], suspended["message"]) == ("JobSuspended", "Job suspended")
    assert not wire.pods_of("a")
    assert "startTime" not in (cluster.get("jobs", "a") or {})["status"]
    await wire.patch(f"{JOBS}/a", {"spec": {"suspend": False}})
    await wire.running()
    resumed = (cluster.get("jobs", "a") or {})["status"]["conditions"][0]
    assert (resumed["status"], resumed["reason"]) == ("False", "JobResumed")


async def test_suspending_a_running_job_counts_nothing(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    await wire.patch(f"{JOBS}/a", {"spec": {"suspend": True}})
    await cluster.until(lambda c: c.get("pods", pod) is None)
    await wire.until("Suspended")
    status = (cluster.get("jobs", "a") or {})["status"]
    assert "failed" not in status
    assert "active" not in status


async def test_ttl_deletes_job_and_pod(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run("true", ttlSecondsAfterFinished=0)
    await cluster.until(lambda c: c.history[-1].type == "DELETED" and not c.get("jobs", "a"))
    deleted = [change.kind for change in cluster.history if change.type == "DELETED"]
    assert deleted == ["Pod", "Job"]


async def test_on_failure_restarts_in_the_pod(cluster: LocalCluster, wire: Wire) -> None:
    body = job("a", *sh("echo again; exit 1"), pod={"restartPolicy": "OnFailure"}, backoffLimit=2)
    await wire.create(JOBS, body)
    await wire.until("Failed")
    assert len([change for change in cluster.history if change.type == "ADDED" and change.kind == "Pod"]) == 1
    restarted = [
        status
        for change in cluster.history
        if change.kind == "Pod"
        for status in change.object["status"].get("containerStatuses", ())
        if status["restartCount"] == 2
    ]
    assert restarted[-1]["lastState"]["terminated"]["exitCode"] == 1


async def test_parallel_completions(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run("true", parallelism=2, completions=3)
    await wire.until("Complete")
    assert (cluster.get("jobs", "a") or {})["status"]["succeeded"] == 3


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_deleting_a_job_ends_its_pod(cluster: LocalCluster, wire: Wire, policy: str) -> None:
    await wire.run(*sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"))
    pod = await wire.running()
    following = await wire.follow(pod)
    await following.content.readline()
    answer = await wire.delete(f"{JOBS}/a", propagationPolicy=policy)
    assert answer.json["kind"] == ("Status" if policy == "Background" else "Job")
    assert await following.read() == b"bye\n"
    await cluster.until(lambda c: not c.get("jobs", "a") and not c.get("pods", pod))
    deleted = [change.kind for change in cluster.history if change.type == "DELETED"]
    assert deleted == (["Job", "Pod"] if policy == "Background" else ["Pod", "Job"])


async def test_deleting_a_job_without_a_policy_orphans_its_pod(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    answer = await wire.delete(f"{JOBS}/a")
    assert answer.json["metadata"]["finalizers"] == ["orphan"]
    assert answer.headers["Warning"].startswith('299 - "child pods are preserved by default')
    await cluster.until(lambda c: c.get("jobs", "a") is None)
    orphan = await cluster.until(lambda c: (o := c.get("pods", pod)) and "finalizers" not in o["metadata"] and o)
    assert "ownerReferences" not in orphan["metadata"]
    assert "deletionTimestamp" not in orphan["metadata"]


async def test_forced_deletion_of_a_pod_shows_no_end(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    await wire.delete(f"{PODS}/{pod}", gracePeriodSeconds=0)
    await cluster.until(lambda c: c.get("pods", pod) is None)
    last = [change for change in cluster.history if change.kind == "Pod"][-1]
    assert "running" in last.object["status"]["containerStatuses"][0]["state"]
    await wire.until("Failed")


async def test_init_container_fails(wire: Wire) -> None:
    init = {"name": "init", "image": "x", "command": list(sh("echo no; exit 7"))}
    await wire.create(JOBS, job("a", "true", pod={"initContainers": [init]}))
    await wire.until("Failed")
    pod = await wire.pod()
    assert wire.state(pod, "init")["terminated"]["exitCode"] == 7
    assert wire.state(pod) == {"waiting": {"reason": "PodInitializing"}}
    assert (await wire.log(pod, container="init")).body == b"no\n"
    answer = await wire.log(pod, container="main")
    assert (answer.status, answer.message) == (
        400,
        f'container "main" in pod "{pod}" is waiting to start: PodInitializing',
    )


async def test_sidecar_starts_before_and_ends_after(wire: Wire) -> None:
    sidecar: Object = {"name": "side", "image": "x", "restartPolicy": "Always"}
    sidecar |= {"command": list(sh("trap 'exit 0' TERM; while :; do sleep 0.02; done"))}
    await wire.create(JOBS, job("a", *sh("sleep 0.1"), pod={"initContainers": [sidecar]}))
    await wire.until("Complete")
    assert wire.state(await wire.pod(), "side")["terminated"]["exitCode"] == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory: unknown'),
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH: unknown'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied: unknown'),
    ],
)
async def test_a_command_that_cannot_start(wire: Wire, command: str, words: str) -> None:
    await wire.run(command)
    await wire.until("Failed")
    pod = await wire.pod()
    state = wire.state(pod)["terminated"]
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert state["message"].endswith(words)
    assert state["startedAt"] == "1970-01-01T00:00:00Z"
    assert (await wire.log(pod)).body == b""


async def test_memory_limit(wire: Wire) -> None:
    container = {"resources": {"limits": {"memory": "60Mi"}}}
    hog = ("python3", "-c", "import time; hog = b'x' * 200_000_000; time.sleep(30)")
    await wire.run(*hog, container=container)
    await wire.until("Failed")
    state = wire.state(await wire.pod())["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")


async def test_killed_from_outside(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    cluster.node.kill(pod)
    await wire.until("Failed")
    state = wire.state(pod)["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "Error")


async def test_term_then_kill(wire: Wire, cluster: LocalCluster) -> None:
    await wire.run(*sh("trap '' TERM; echo up; while :; do sleep 0.05; done"))
    pod = await wire.running()
    await (await wire.follow(pod)).content.readline()
    await wire.delete(f"{PODS}/{pod}", gracePeriodSeconds=1)
    await cluster.until(lambda _: "terminated" in wire.state(pod))
    assert wire.state(pod)["terminated"]["exitCode"] == 137


async def test_termination_message_from_the_log(wire: Wire) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    await wire.run(*sh("echo why; exit 2"), container=policy)
    await wire.until("Failed")
    assert wire.state(await wire.pod())["terminated"]["message"] == "why\n"


async def test_long_job_name_makes_a_pod_name(wire: Wire) -> None:
    name = "n" * 63
    await wire.run("true", name=name)
    pod = await wire.pod(name)
    assert len(pod) == 63
    assert pod.startswith("n" * 58)


async def test_a_command_that_cannot_start_is_tried_again(cluster: LocalCluster, wire: Wire) -> None:
    await wire.create(JOBS, job("a", "/no/such", pod={"restartPolicy": "OnFailure"}, backoffLimit=9))
    pod = await wire.pod()
    for reason in ("RunContainerError", "CrashLoopBackOff"):
        await cluster.until(partial(_waits_for, wire, pod, reason))
    status = wire.status(pod)["containerStatuses"][0]
    assert status["lastState"]["terminated"]["reason"] == "StartError"


def _waits_for(wire: Wire, pod: str, reason: str, _: LocalCluster) -> bool:
    return bool(wire.state(pod).get("waiting", {}).get("reason") == reason)
