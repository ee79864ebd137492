"""`claude-k8s release AGENT`: frees by hand an agent whose Job nobody could see to its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import click

from adapter.backoff import Backoff
from adapter.cli.clusters import choice_of, connected, run_loop
from adapter.cli.settings import CONTEXT, cluster_options
from adapter.cluster.belongings import Belongings, Lock, agent_key
from adapter.cluster.jobs import AGENT_LABEL, MANAGED_BY, MANAGED_LABEL, Job, Jobs
from adapter.cluster.pods import Pod
from adapter.service import Adapter

KILLED = 10.0
"""Seconds beyond its grace period in which a kubelet that works kills a pod and says so. A pod that takes all of its
grace ends just after it, never within it."""
FORCED = 60.0
"""Seconds beyond its grace period that a pod may take to end before it is deleted by force."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands between an agent and its next run."""

    key: str
    lock: Lock | None
    jobs: tuple[Job, ...]
    pods: tuple[Pod, ...]

    @property
    def free(self) -> bool:
        return self.lock is None and not self.jobs and not self.pods


@click.command(context_settings=CONTEXT)
@click.argument("agent")
@click.option("--company", default="", help="The agent's company, where the control plane gives one.", metavar="ID")
@click.option("--force", is_flag=True, help="Delete pods of a lost node at once, without knowing that they have ended.")
@click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
@cluster_options
def release(agent: str, company: str, *, force: bool, yes: bool, **options: Any) -> int:
    """Free AGENT: delete the Job that holds it, and its lock. Says first what it will do.

    For what `unknown` left behind: a Job on a lost node, or one that never ended. AGENT is the agent's id (or its key,
    as the label claude-k8s/agent has it). Its pods get their grace period; one that stays all the same, because its
    node is lost, is deleted with --force, which needs rights that the adapter's own Role does not give.
    """

    async def work() -> int:
        async with connected(choice_of(options)) as adapter:
            found = await _find(adapter, agent, company)
            for line in _plan(found, force=force):
                click.echo(line)
            if found.free:
                return 0
            if not yes and not await anyio.to_thread.run_sync(_agreed):
                return 1
            return await _free(adapter, found, force=force)

    return run_loop(work())


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: say --yes")
    return click.confirm("Do it?", err=True)


async def _find(adapter: Adapter, agent: str, company: str) -> Found:
    found = Found(agent_key(company, agent), None, (), ())
    for key in filter(_is_label, dict.fromkeys((found.key, agent.lower()))):
        found = found if not found.free else await _found(adapter, key)
    return found


async def _found(adapter: Adapter, key: str) -> Found:
    jobs, belongings = _doors(adapter)
    lock = await belongings.locked(key)
    pods = tuple(pod for pod in await jobs.pods_of_agent(key) if not pod.over)
    held = [await jobs.get(lock.job)] if lock and lock.job else []
    theirs = [job for job in await jobs.all(f"{MANAGED_LABEL}={MANAGED_BY},{AGENT_LABEL}={key}") if not job.waiting]
    live = {job.uid: job for job in (*held, *theirs) if job and not job.over}
    return Found(key, lock, tuple(live.values()), pods)


def _is_label(key: str) -> bool:
    return 0 < len(key) <= 63 and key.replace("-", "").isalnum() and key.isascii()


def _plan(found: Found, *, force: bool) -> Iterator[str]:
    if found.free:
        yield f"agent {found.key} is free"
        return
    if found.lock:
        yield f"agent {found.key} is held by Job {found.lock.job} (run {found.lock.run_id or 'unknown'})"
    for job in found.jobs:
        yield f"Job {job.name}: {_state(job)}"
    for pod in found.pods:
        yield f"pod {pod.name} on node {pod.node or 'none'}: {pod.phase}{', being deleted' if pod.deleting else ''}"
    for job in found.jobs:
        yield f"will delete Job {job.name}: whatever still runs in its pod is ended"
    if force and found.pods:
        yield "will delete by force, after their grace period, pods that stay: on a lost node they may go on"
    if found.lock:
        yield f"will delete the lock {found.lock.name}"


def _state(job: Job) -> str:
    if job.suspended:
        return "suspended" if job.let_run else "never let run"
    return "being deleted" if job.deleting else "running, as far as is known"


async def _free(adapter: Adapter, found: Found, *, force: bool) -> int:
    """Does it; what stays is said, and is exit code 1."""
    jobs, belongings = _doors(adapter)
    for job in found.jobs:
        await jobs.delete(job, "Background")
    left = await _left(jobs, found, FORCED if force else KILLED)
    for pod in left if force else ():
        await jobs.end_pod(pod)
    if found.lock:
        await belongings.free(found.lock)
    for pod in () if force else left:
        click.echo(
            f"pod {pod.name} has not ended yet: the agent's next run waits for it (--force, if its node is lost)"
        )
    click.echo("freed" if force or not left else "the lock is freed")
    return 1 if left and not force else 0


async def _left(jobs: Jobs, found: Found, beyond: float) -> list[Pod]:
    """Those of the pods that were found, and only those, which are still there after their grace period."""
    pace, ours = Backoff(0.2, 2.0), {pod.uid for pod in found.pods}
    left: list[Pod] = []
    with anyio.move_on_after(max((pod.grace for pod in found.pods), default=0) + beyond):
        while True:
            left = [pod for pod in await jobs.pods_of_agent(found.key) if pod.uid in ours and not pod.over]
            if not left:
                break
            await pace.wait()
    return left


def _doors(adapter: Adapter) -> tuple[Jobs, Belongings]:
    place = adapter.connection, adapter.namespace
    return Jobs(*place, call=adapter.limits.call), Belongings(*place, call=adapter.limits.call)
