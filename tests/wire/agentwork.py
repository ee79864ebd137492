"""A small agent's work: a plain command that wants an agent for itself alone, and a Secret.

As a program it is a launcher that can be killed: `python -m tests.wire.agentwork KUBECONFIG RUN COMMAND...`.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any

import click
import structlog

from adapter import Adapter, Limits, RunRequest
from adapter.cluster.jobs import AGENT_LABEL, TASK_LABEL
from adapter.plane.callbacks import CallbackPlane
from adapter.work import Work, plain_work

QUICK = Limits(
    call=3, launch=1.0, beat=0.05, busy_look=0.05, retry_first=0.01, retry_most=0.1, news=0.1, stall=0.5, let_go=1
)


def agent_work(run_id: str, *command: str, agent: str = "a", task: str | None = "t", **fields: Any) -> Work:
    """Work of an agent, as `adapter.agents` makes it of a context, in little."""
    request = RunRequest(run_id=run_id, command=command, retain=fields.pop("retain", 0), grace=fields.pop("grace", 5))
    plain = plain_work(request, fields.pop("instance", "default"))
    manifest = dict(plain.manifest)
    labels = {AGENT_LABEL: agent} | ({TASK_LABEL: task} if task else {})
    template = manifest["spec"]["template"]
    _read_the_secret(template["spec"], plain.name)
    for meta in (manifest["metadata"], template["metadata"]):
        meta["labels"] = {**meta["labels"], **labels}
    return replace(plain, manifest=manifest, agent=agent, task=task, secret={"word": b"hush"}, **fields)


def _read_the_secret(pod: dict[str, Any], name: str) -> None:
    [container] = pod["containers"]
    container["env"].append({"name": "WORD", "valueFrom": {"secretKeyRef": {"name": name, "key": "word"}}})


async def launch(kubeconfig: str, rounds: int, name: str, command: tuple[str, ...]) -> None:
    """Runs the agent so many times, one line of input before each; the outcomes on stdout."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    async with Adapter.connect(kubeconfig=kubeconfig, limits=QUICK) as adapter:
        for number in range(rounds):
            await asyncio.to_thread(sys.stdin.readline)
            work = agent_work(f"{name}-{number}" if rounds > 1 else name, *command)
            result = await adapter.supervise(work, CallbackPlane())
            click.echo(f"{result.outcome} {result.code} {result.message}")


if __name__ == "__main__":
    asyncio.run(launch(sys.argv[1], int(sys.argv[2]), sys.argv[3], tuple(sys.argv[4:])))
