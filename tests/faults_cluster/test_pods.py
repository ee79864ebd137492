"""What befalls the container, its pod, the Job and the namespace. Every node and its kubelet are well."""

from __future__ import annotations

import secrets
import signal

import pytest

from tests.contract.conftest import process_of
from tests.faults_cluster.ground import Ground
from tests.faults_cluster.judge import Expected, Judge
from tests.faults_cluster.scripts import eat, talk

pytestmark = pytest.mark.cluster

LONG = talk(600)
"""Goes on for longer than any of these tests needs."""


async def test_nothing_at_all(ground: Ground, judge: Judge) -> None:
    await judge(ground.start(talk(20)))


async def test_exit_code_7(ground: Ground, judge: Judge) -> None:
    await judge(ground.start(talk(20, code=7)), expected=Expected("failed", ("exit_code",), 7))


async def test_process_killed(ground: Ground, judge: Judge) -> None:
    token = secrets.token_hex(8)
    run = await ground.speaking(f": {token}; {LONG}")
    process_of(token).send_signal(signal.SIGKILL)
    await judge(run, expected=Expected("failed", ("signalled",), 137))


async def test_out_of_memory(ground: Ground, judge: Judge) -> None:
    await judge(ground.start(eat(20), memory="40Mi"), expected=Expected("failed", ("oom_killed",), 137))


async def test_pod_deleted(ground: Ground, judge: Judge) -> None:
    run = await ground.speaking(LONG)
    await ground.place.ask("DELETE", await ground.pod(run))
    await judge(run, expected=Expected("deleted", ("pod_deleted",), 0))


async def test_pod_deleted_by_force(ground: Ground, judge: Judge) -> None:
    # Its `terminated` state is never seen, and it may go on for 2 s after it is gone: nobody can say what is missing.
    run = await ground.speaking(LONG)
    await ground.place.ask("DELETE", await ground.pod(run), {"gracePeriodSeconds": 0})
    await judge(run, expected=Expected("deleted", ("pod_deleted",), losing=True, goes_on=True))


async def test_pod_evicted(ground: Ground, judge: Judge) -> None:
    run = await ground.speaking(LONG)
    pod = await ground.pod(run)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.rpartition("/")[2]}}
    await ground.place.ask("POST", f"{pod}/eviction", eviction)
    await judge(run, expected=Expected("failed", ("evicted",), 0))


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_job_deleted(ground: Ground, judge: Judge, policy: str) -> None:
    run = await ground.speaking(LONG)
    await ground.place.ask("DELETE", f"{ground.place.jobs}/{run.job}", {"propagationPolicy": policy})
    await judge(run, expected=Expected("deleted", ("job_deleted",), 0))


async def test_job_deleted_and_its_pod_orphaned(ground: Ground, judge: Judge) -> None:
    # The pod goes on, nobody's: what it says after the result is said to be missing.
    run = await ground.speaking(LONG)
    await ground.place.ask("DELETE", f"{ground.place.jobs}/{run.job}", {"propagationPolicy": "Orphan"})
    await judge(run, expected=Expected("deleted", ("job_deleted",), losing=True, goes_on=True))


async def test_time_to_live_of_0(ground: Ground, judge: Judge) -> None:
    run = await ground.speaking(talk(20))
    await ground.patch_job(run, {"ttlSecondsAfterFinished": 0})
    await judge(run)


async def test_namespace_deleted(ground: Ground, judge: Judge) -> None:
    run = await ground.speaking(LONG)
    await ground.place.ask("DELETE", f"/api/v1/namespaces/{ground.place.namespace}")
    await judge(run, expected=Expected("deleted", ("pod_deleted", "job_deleted"), 0))
