"""Every fault does what it says, and nothing else."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from adapter.local import Fault

from .conftest import JOBS, PODS, Wire, job, sh

if TYPE_CHECKING:
    from adapter.local import LocalCluster

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
SECRETS = "/api/v1/namespaces/default/secrets"


def secret(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


async def test_hang_log_after_end(cluster: LocalCluster, wire: Wire) -> None:
    handle = cluster.faults.add(Fault.hang_log_after_end())
    await wire.run(*sh("echo one"))
    await wire.until("Complete")
    following = await wire.follow(await wire.pod())
    assert await following.content.readline() == b"one\n"
    assert not following.content.at_eof()
    assert len(cluster.open_streams()) == 1
    assert handle.hits == 1
    handle.remove()
    assert await following.read() == b""


async def test_no_headers(cluster: LocalCluster, wire: Wire) -> None:
    handle = cluster.faults.add(Fault.no_headers(path="*/jobs", count=1))
    asking = asyncio.ensure_future(wire.get(JOBS))
    await cluster.until(lambda _: handle.hits)
    assert (await wire.get(JOBS)).status == 200
    assert not asking.done()
    handle.remove()
    assert (await asking).status == 200


async def test_delay(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.delay(0.05, count=1))
    before = asyncio.get_running_loop().time()
    assert (await wire.get(JOBS)).status == 200
    assert asyncio.get_running_loop().time() - before >= 0.05


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_cut_after_bytes_uncleanly(cluster: LocalCluster, wire: Wire, how: Any) -> None:
    await wire.run(*sh("seq 1 1000"))
    await wire.until("Complete")
    cluster.faults.add(Fault.cut(after_bytes=100, how=how, path="*/log"))
    following = await wire.follow(await wire.pod())
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
        await following.read()
    assert (cluster.streams[-1].bytes_sent, cluster.streams[-1].closed_by) == (100, "server")


async def test_cut_after_bytes_cleanly(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("seq 1 1000"))
    await wire.until("Complete")
    cluster.faults.add(Fault.cut(after_bytes=100, how="eof", path="*/log", skip=1, count=1))
    pod = await wire.pod()
    assert [len((await wire.log(pod, follow="true")).body) for _ in range(3)] == [3893, 100, 3893]


async def test_cut_befalls_an_open_stream(cluster: LocalCluster, wire: Wire) -> None:
    watching = await wire.watch(JOBS)
    cluster.faults.add(Fault.cut(after_seconds=0.01, how="eof", query={"watch": "true"}))
    assert await watching.next() is None


async def test_silent_watch(cluster: LocalCluster, wire: Wire) -> None:
    silent = await wire.watch(SECRETS)
    handle = cluster.faults.add(Fault.silent_watch())
    await wire.create(SECRETS, secret("s"))
    assert handle.hits == 1
    handle.remove()
    assert await silent.take(1) == [("ADDED", "s")]


async def test_silent_log(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("echo one"))
    await wire.until("Complete")
    handle = cluster.faults.add(Fault.silent_log())
    following = await wire.follow(await wire.pod())
    assert cluster.open_streams()[0].bytes_sent == 0
    handle.remove()
    assert await following.read() == b"one\n"


async def test_end_watch(cluster: LocalCluster, wire: Wire) -> None:
    handle = cluster.faults.add(Fault.end_watch(count=2))
    for _ in range(2):
        assert await (await wire.watch(SECRETS)).next() is None
    await wire.create(SECRETS, secret("s"))
    assert await (await wire.watch(SECRETS)).take(1) == [("ADDED", "s")]
    assert handle.hits == 2


async def test_gone_as_an_event(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.gone_event(count=1))
    watching = await wire.watch(SECRETS)
    event = await watching.next()
    assert watching.response.status == 200
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert await watching.next() is None


async def test_gone_as_an_answer(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.respond(410, path=re.compile("secrets$"), count=1))
    answer = await wire.get(SECRETS)
    assert (answer.status, answer.json["reason"]) == (410, "Expired")
    assert (await wire.get(SECRETS)).status == 200


async def test_throttled(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.throttled(retry_after=3, method="POST", count=1))
    answer = await wire.ask("POST", SECRETS, secret("s"))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert cluster.get("secrets", "s") is None


async def test_a_burst_of_500(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.respond(500, skip=1, count=2))
    assert [(await wire.get(JOBS)).status for _ in range(4)] == [200, 500, 500, 200]


async def test_unauthorized_once(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.unauthorized())
    assert [(await wire.get(JOBS)).status for _ in range(2)] == [401, 200]


async def test_clear(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.respond(500))
    cluster.faults.clear()
    assert (await wire.get(JOBS)).status == 200


async def test_an_event_withheld_is_withheld_from_all(cluster: LocalCluster, wire: Wire) -> None:
    def terminal(type_: str, obj: dict[str, Any]) -> bool:
        conditions = obj.get("status", {}).get("conditions", ())
        return type_ == "MODIFIED" and any(one["type"] == "Complete" for one in conditions)

    watches = [await wire.watch(JOBS) for _ in range(2)]
    handle = cluster.faults.add(Fault.withhold(terminal))
    await wire.run("true")
    await wire.until("Complete")
    await wire.patch(f"{JOBS}/a", {"metadata": {"labels": {"last": "one"}}})
    for watching in watches:
        while "last" not in (event := await watching.next())["object"]["metadata"]["labels"]:
            assert not terminal(event["type"], event["object"])
    assert handle.hits == 1


async def test_slow_bytes(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("seq 1 100"))
    await wire.until("Complete")
    cluster.faults.add(Fault.slow(2000, path="*/log"))
    before = asyncio.get_running_loop().time()
    assert len((await wire.log(await wire.pod())).body) == 292
    assert asyncio.get_running_loop().time() - before >= 0.14


async def test_lost_answer(cluster: LocalCluster, wire: Wire) -> None:
    cluster.faults.add(Fault.lose_answer(method="POST"))
    with pytest.raises(aiohttp.ClientError):
        await wire.ask("POST", JOBS, job("a", "true"))
    assert (await wire.ask("POST", JOBS, job("a", "true"))).status == 409


async def test_evicted_by_the_api(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    answer = await wire.ask("POST", f"{PODS}/{pod}/eviction", {"metadata": {"name": pod}})
    assert (answer.status, answer.json["status"]) == (201, "Success")
    condition = disruption(cluster, pod)
    assert (condition["reason"], condition["message"]) == ("EvictionByEvictionAPI", "Eviction API: evicting")
    await wire.until("Failed")
    assert cluster.get("pods", pod) is None


def disruption(cluster: LocalCluster, pod: str) -> Any:
    """The pod's DisruptionTarget, wherever in its history."""
    for change in reversed(cluster.history):
        if change.kind == "Pod" and change.object["metadata"]["name"] == pod:
            for condition in change.object["status"].get("conditions", ()):
                if condition["type"] == "DisruptionTarget":
                    return condition
    raise LookupError(pod)


async def test_evicted_by_the_kubelet(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    cluster.node.evict(pod, how="kubelet")
    await wire.until("Failed")
    status = wire.status(pod)
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert status["message"].startswith("The node was low on resource: memory.")
    assert disruption(cluster, pod)["reason"] == "TerminationByKubelet"


async def test_preempted(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    cluster.node.preempt(pod)
    await wire.until("Failed")
    assert disruption(cluster, pod)["reason"] == "PreemptionByScheduler"


async def test_oom_kill(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    cluster.node.oom_kill(pod)
    await wire.until("Failed")
    state = wire.state(pod)["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")


async def test_oom_kill_of_a_child_only(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30 & echo up; wait; exit 0"))
    pod = await wire.running()
    assert await (await wire.follow(pod)).content.readline() == b"up\n"
    cluster.node.oom_kill(pod, child_only=True)
    await wire.until("Complete")
    state = wire.state(pod)["terminated"]
    assert (state["exitCode"], state["reason"]) == (0, "OOMKilled")


async def test_status_unknown(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    cluster.node.status_unknown(pod)
    await wire.until("Failed")
    state = wire.state(pod)["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "ContainerStatusUnknown")


async def test_kubelet_stopped_and_started(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two"))
    pod = await wire.running()
    following = await wire.follow(pod)
    assert await following.content.readline() == b"one\n"
    cluster.node.stop_kubelet()
    assert await following.read() == b""
    answer = await wire.log(pod, follow="true", timestamps="true")
    assert (answer.status, "reason" in answer.json) == (500, False)
    assert f"containerLogs/default/{pod}/main?follow=true&timestamps=true" in answer.message
    uid = (cluster.get("pods", pod) or {})["metadata"]["uid"]
    (cluster.directory / "pods" / uid / "main" / "root" / "go").touch()
    cluster.node.start_kubelet()
    answer = await wire.log(pod)
    assert (answer.status, answer.json["details"]["kind"]) == (404, "pods/log")
    await wire.until("Complete")
    assert (await wire.log(pod)).body == b"one\ntwo\n"


async def test_container_ends_while_the_kubelet_is_down(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    version = len(cluster.history)
    cluster.node.stop_kubelet()
    cluster.node.kill(pod)
    await wire.create(SECRETS, secret("s"))
    assert not [change for change in cluster.history[version:] if change.kind == "Pod"]
    cluster.node.start_kubelet()
    await wire.until("Failed")


async def test_node_lost_and_back(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    following = await wire.follow(pod)
    cluster.node.node_lost()
    assert await following.read() == b""
    await wire.until("FailureTarget")
    assert disruption(cluster, pod)["reason"] == "DeletionByTaintManager"
    lost = cluster.get("pods", pod) or {}
    assert lost["metadata"]["deletionTimestamp"]
    assert lost["status"]["phase"] == "Running"
    assert (await wire.log(pod)).status == 500
    assert wire.condition("Failed") is None
    cluster.node.node_back()
    await wire.until("Failed")
    assert cluster.get("pods", pod) is None


async def test_unschedulable(cluster: LocalCluster, wire: Wire) -> None:
    switch = cluster.node.unschedulable()
    await wire.run("true")
    pod = await wire.pod()
    condition = await cluster.until(lambda _: wire.status(pod).get("conditions"))
    assert (condition[0]["status"], condition[0]["reason"]) == ("False", "Unschedulable")
    assert "containerStatuses" not in wire.status(pod)
    switch.remove()
    await wire.until("Complete")


async def test_image_pull_error(cluster: LocalCluster, wire: Wire) -> None:
    switch = cluster.node.image_pull_error("busy*")
    await wire.run("true")
    pod = await wire.pod()
    for reason in ("ErrImagePull", "ImagePullBackOff", "ErrImagePull"):
        await cluster.until(partial(_waits_for, wire, pod, reason))
    switch.remove()
    await wire.until("Complete")


def _waits_for(wire: Wire, pod: str, reason: str, _: LocalCluster) -> bool:
    return bool(wire.state(pod).get("waiting", {}).get("reason") == reason)


async def test_invalid_image_name(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run("true", container={"image": "No Such"})
    pod = await wire.pod()
    await cluster.until(lambda _: wire.state(pod).get("waiting", {}).get("reason") == "InvalidImageName")
    assert wire.state(pod)["waiting"]["message"].startswith('Failed to apply default image tag "No Such"')


async def test_pods_rejected(cluster: LocalCluster, wire: Wire) -> None:
    switch = cluster.node.reject_pods()
    await wire.run("true")
    event = await cluster.until(lambda c: next((e for e in c.list("events") if e["reason"] == "FailedCreate"), None))
    assert event["message"].startswith('Error creating: pods "a-" is forbidden: exceeded quota')
    assert not wire.pods_of("a")
    assert "active" not in (cluster.get("jobs", "a") or {})["status"]
    switch.remove()
    await wire.until("Complete")


async def test_expired_token(cluster: LocalCluster, wire: Wire) -> None:
    cluster.expire_token()
    answer = await wire.get(JOBS)
    assert answer.status == 401
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }
    token = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]["token"]
    fresh = await wire.ask("GET", JOBS, headers={"Authorization": f"Bearer {token}"})
    assert fresh.status == 200


async def test_unknown_pods_are_said_to_be_unknown(cluster: LocalCluster) -> None:
    with pytest.raises(LookupError, match="no pod default/nope"):
        cluster.node.oom_kill("nope")
    with pytest.raises(TimeoutError, match=r"test_unknown_pods.*test_faults\.py"):
        await cluster.until(lambda _: False, timeout=0.01)


@pytest.mark.parametrize("how", ["eof", "fin"])
async def test_an_answer_is_lost_in_other_ways(cluster: LocalCluster, wire: Wire, how: Any) -> None:
    cluster.faults.add(Fault.lose_answer(how, method="POST"))
    with pytest.raises(aiohttp.ClientError):
        await wire.ask("POST", SECRETS, secret("s"))
    assert cluster.get("secrets", "s")


async def test_a_pod_that_is_too_large(wire: Wire, cluster: LocalCluster) -> None:
    await wire.run("true", container={"resources": {"requests": {"cpu": "10000"}}})
    pod = await wire.pod()
    condition = (await cluster.until(lambda _: wire.status(pod).get("conditions")))[0]
    assert condition["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")


async def test_a_missing_service_account(cluster: LocalCluster, wire: Wire) -> None:
    await wire.create(JOBS, job("a", "true", pod={"serviceAccountName": "nope"}))
    event = await cluster.until(lambda c: next((e for e in c.list("events") if e["reason"] == "FailedCreate"), None))
    assert event["message"] == (
        'Error creating: pods "a-" is forbidden: '
        'error looking up service account default/nope: serviceaccount "nope" not found'
    )


async def test_the_api_server_is_killed_and_comes_back(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("echo up; sleep 30"))
    pod = await wire.running()
    following, watching = await wire.follow(pod), await wire.watch(JOBS)
    assert await following.content.readline() == b"up\n"
    await watching.next()
    await cluster.stop_api()
    with pytest.raises(aiohttp.ClientPayloadError):
        await following.read()
    with pytest.raises(aiohttp.ClientError):
        await wire.get(JOBS)
    assert {record.closed_by for record in cluster.streams} == {"server"}
    await cluster.start_api()
    assert (await wire.get(JOBS)).status == 200
    assert "running" in wire.state(pod)
