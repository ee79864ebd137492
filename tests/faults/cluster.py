"""Mishaps of the container, its pod, its node and its Job."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from adapter.local import LocalCluster
from adapter.local.registry import DeleteOptions
from adapter.local.resources import JOBS
from tests.faults.scene import Mishap, Scene

Do = Callable[[LocalCluster, str], Any]


def _pod(name: str, do: Do, code: str, *outcomes: str, losing: bool = False) -> Mishap:
    async def strike(scene: Scene, dice: random.Random) -> None:
        do(scene.cluster, await scene.speaking(dice))

    return Mishap(name, "node", strike, outcomes=outcomes, codes=(code,), unseen=("deleted", "failed"), losing=losing)


async def _kubelet(scene: Scene, dice: random.Random) -> None:
    await scene.speaking(dice)
    scene.cluster.node.stop_kubelet()
    await asyncio.sleep(dice.random() * 0.4)
    scene.cluster.node.start_kubelet()


async def _node_back(scene: Scene, dice: random.Random) -> None:
    await scene.speaking(dice)
    scene.cluster.node.node_lost()
    await asyncio.sleep(0.1 + dice.random() * 0.4)
    scene.cluster.node.node_back()


def _waits(name: str, off: Callable[[LocalCluster], Any]) -> Mishap:
    """Something without which no pod starts, and which is there again before the grace is over."""

    async def strike(scene: Scene, dice: random.Random) -> None:
        switch = off(scene.cluster)
        await asyncio.sleep(0.1 + dice.random() * 0.2)
        switch.remove()

    return Mishap(name, "node", strike, early=True)


NODE = [
    _pod("process killed", lambda c, p: c.node.kill(p), "signalled", "failed"),
    _pod("out of memory", lambda c, p: c.node.oom_kill(p), "oom_killed", "failed"),
    _pod("evicted by the API", lambda c, p: c.node.evict(p), "evicted", "failed"),
    _pod("evicted by the kubelet", lambda c, p: c.node.evict(p, how="kubelet"), "evicted", "failed"),
    _pod("preempted", lambda c, p: c.node.preempt(p), "preempted", "failed"),
    _pod("pod deleted", lambda c, p: c.node.delete_pod(p), "pod_deleted", "deleted"),
    _pod(
        "pod deleted by force",
        lambda c, p: c.node.delete_pod(p, grace=0),
        "pod_deleted",
        "deleted",
        "failed",
        losing=True,
    ),
    _pod("container forgotten by its node", lambda c, p: c.node.status_unknown(p), "status_unknown", "unknown"),
    _pod("node lost for good", lambda c, p: c.node.node_lost(), "node_lost", "unknown", losing=True),
    Mishap("node lost and back", "node", _node_back, outcomes=("failed", "unknown"), codes=("node_lost",), losing=True),
    Mishap("kubelet stopped and started", "node", _kubelet),
    _waits("unschedulable for a moment", lambda c: c.node.unschedulable()),
    _waits("image not pulled for a moment", lambda c: c.node.image_pull_error()),
]


# -- the Job ---------------------------------------------------------------------------------------------------------


def _deleted(policy: str, *, losing: bool = False) -> Mishap:
    async def strike(scene: Scene, dice: random.Random) -> None:
        await scene.speaking(dice)
        scene.cluster._registry.delete(JOBS, "default", scene.job, DeleteOptions(policy=policy))

    return Mishap(
        f"Job deleted ({policy})", "Job", strike, outcomes=("deleted",), codes=("job_deleted",), losing=losing
    )


def _changed(name: str, spec: dict[str, Any], code: str, outcome: str, *, losing: bool = False) -> Mishap:
    async def strike(scene: Scene, dice: random.Random) -> None:
        await scene.speaking(dice)
        await changed(scene.cluster, scene.job, spec)

    return Mishap(name, "Job", strike, outcomes=(outcome,), codes=(code,), losing=losing)


async def changed(cluster: LocalCluster, job: str, spec: dict[str, Any]) -> None:
    """Changes a Job as kubectl does it, with a connection that no fault of the wire befalls by chance."""

    def change(obj: dict[str, Any]) -> None:
        obj["spec"] |= spec

    cluster._registry.modify(JOBS, "default", job, change)


async def _nothing(scene: Scene, dice: random.Random) -> None:
    """What is asked for in the request happens by itself."""


JOB = [
    _deleted("Background"),
    _deleted("Foreground"),
    _deleted("Orphan", losing=True),
    _changed("time to live of 0", {"ttlSecondsAfterFinished": 0}, "job_deleted", "deleted", losing=True),
    _changed("suspended by somebody", {"suspend": True}, "job_suspended", "failed"),
    Mishap("deadline", "Job", _nothing, early=True, outcomes=("timed_out",), codes=("deadline",), own={"timeout": 1}),
    Mishap("not kept (retain 0)", "Job", _nothing, early=True, own={"retain": 0}),
]
