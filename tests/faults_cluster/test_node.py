"""The kubelet, containerd and the node."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from adapter import Adapter
from tests.faults_cluster.control import Control
from tests.faults_cluster.ground import LIMITS, Ground
from tests.faults_cluster.judge import Expected, Judge
from tests.faults_cluster.scripts import burst, talk

pytestmark = [pytest.mark.cluster, pytest.mark.disruptive]

SHORT = 6
"""Seconds without a kubelet, after which its node is still taken for ready."""

FORGOTTEN = Expected("succeeded or unknown", ("ok", "status_unknown"), losing=True, torn=True)
"""A container that ends while containerd is away has no exit code: the node says 255, for the reason `Unknown`."""

LOST = Expected("failed", ("node_lost",), losing=True)


async def test_kubelet_restarted_under_an_open_follow(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(150))
    await control.restart("kubelet")
    await judge(run)


async def test_kubelet_stopped_and_started_under_an_open_follow(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(200))
    await control.stop("kubelet")
    await anyio.sleep(SHORT)
    await control.start("kubelet")
    await judge(run)


async def test_container_ended_without_a_kubelet(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(40, code=7))
    await control.stop("kubelet")
    await anyio.sleep(SHORT)
    await control.start("kubelet")
    await judge(run, expected=Expected("failed", ("exit_code",), 7))


async def test_kubelet_stopped_before_the_pod_starts(ground: Ground, judge: Judge, control: Control) -> None:
    run = ground.start(talk(20))
    await ground.witness.until(lambda: ground.witness.pods)
    await control.stop("kubelet", "KILL")
    await anyio.sleep(SHORT)
    await control.start("kubelet")
    await judge(run)


async def test_cancelled_without_a_kubelet(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(600), grace=20)
    await control.stop("kubelet")
    run.ledger.cancel()
    await anyio.sleep(SHORT)
    await control.start("kubelet")
    await judge(run, expected=Expected("cancelled", ("cancelled",), 0))


async def test_containerd_killed(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(150))
    await control.restart("containerd")
    await judge(run)


async def test_containerd_stopped_and_started(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(200))
    await control.stop("containerd")
    await anyio.sleep(SHORT)
    await control.start("containerd")
    await judge(run)


async def test_containerd_killed_in_a_burst(ground: Ground, judge: Judge, control: Control) -> None:
    # What it had read and not yet written is in no file, and nobody is told.
    run = await ground.speaking(burst(200_000, 100), lines=1000)
    await control.restart("containerd")
    await judge(run, expected=FORGOTTEN)


@pytest.mark.timeout(400)
async def test_node_not_ready_and_back(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(500))
    await control.stop("kubelet")
    await ground.witness.until(ground.witness.not_ready)
    await control.start("kubelet")
    await judge(run, within=200)


@pytest.mark.timeout(400)
async def test_node_lost_and_back(ground: Ground, judge: Judge, control: Control) -> None:
    # Its pod is told to end by the taint; the kubelet carries that out when it is back.
    run = await ground.speaking(talk(2000))
    await ground.impatient(run)
    await control.stop("kubelet")
    await ground.witness.until(lambda: _told_to_end(ground, run.job), 120)
    await control.start("kubelet")
    await judge(run, expected=LOST, within=200)


@pytest.mark.timeout(400)
async def test_node_lost_for_good(ground: Ground, judge: Judge, control: Control) -> None:
    # Nobody knows whether the pod still runs: that is the result, and Job and pod are left as they are.
    limits = replace(LIMITS, ending=10)
    place = ground.place
    async with Adapter.connect(kubeconfig=place.kubeconfig, namespace=place.namespace, limits=limits) as adapter:
        run = await ground.speaking(talk(2000), adapter=adapter)
        await ground.impatient(run)
        await control.stop("kubelet")
        await judge(run, expected=Expected("unknown", ("node_lost",), losing=True, goes_on=True), within=300)
    assert ground.witness.jobs[run.job]["metadata"].get("deletionTimestamp") is None


def _told_to_end(ground: Ground, job: str) -> object:
    pod = ground.witness.pod_of(job)
    return pod and pod["metadata"].get("deletionTimestamp")
