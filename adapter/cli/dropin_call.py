"""One call of `claude` as a run: its id, and the Job that it becomes."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from anyio import to_thread

from adapter.agent.claude import NO_API_URL, AgentJob
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.prompt import Prompt
from adapter.agent.selfpod import SelfPod
from adapter.agent.workspace import claim_of
from adapter.agents import basics, job_of, own_pod_of
from adapter.cli import dropin
from adapter.cli.dropin_settings import Settings
from adapter.cli.dropin_words import Line
from adapter.cluster.belongings import agent_key
from adapter.errors import InvalidRequest
from adapter.plane import Plane
from adapter.run import RunResult
from adapter.service import Adapter
from adapter.work import Work, marks

RUN_ID, AGENT_ID, COMPANY_ID, TASK_ID, API_KEY = (
    f"PAPERCLIP_{name}" for name in ("RUN_ID", "AGENT_ID", "COMPANY_ID", "TASK_ID", "API_KEY")
)
"""What a control plane's local adapter says of its run in the environment of the CLI."""

NOBODY = "claude"
"""The agent of a call that is nobody's: a Job has to have one."""


@dataclass(frozen=True)
class Call:
    """One call. `given_id` and `agent` are what its caller says they are; `stdin` is what was read of it."""

    line: Line
    stdin: bytes = field(repr=False)
    given: Settings
    config: AgentConfig
    environ: Mapping[str, str] = field(repr=False)
    given_id: str | None = None
    agent: str | None = None

    @cached_property
    def run_id(self) -> str:
        """A control plane's run may call the CLI more than once: each call has an id of its own, always the same."""
        run = self.environ.get(RUN_ID)
        return self.given_id or (f"{run}-{self.digest[:8]}" if run else uuid.uuid4().hex[:12])

    @cached_property
    def digest(self) -> str:
        """What makes two calls under one id the same."""
        parts = [word.encode("utf-8", "surrogateescape") for word in self.line.argv] + [self.stdin]
        return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()

    async def start(self, adapter: Adapter, plane: Plane) -> RunResult:
        """The run, from what it is made of to its end. Raises `AdapterError` where there is nothing to begin with."""
        own = await own_pod_of(adapter)
        namespace = self.config.namespace or adapter.namespace
        work = await to_thread.run_sync(self._work, adapter.instance, namespace, own)
        return await adapter.supervise(
            work,
            plane,
            namespace=namespace,
            schedule=float(self.config.pod_schedule_timeout_sec),
            start=float(self.config.pod_start_timeout_sec),
        )

    def _work(self, instance: str, namespace: str, own: SelfPod | None) -> Work:
        with self.given.naming():
            config, around = self._configured(namespace), dropin.surroundings(own, self.environ, namespace)
            self._check_resume(claim_of(config, around) is not None)
            context, job = self._job(instance, config, around, dropin.shared_volume(config, own))
        # One who only asks for the version has nothing to wait for.
        waits = self.agent and not (self.line.is_command or self.line.only_tells)
        agent = agent_key(context.agent.company_id, context.agent.id) if waits else None
        return Work(**basics(context, config, job), agent=agent, replay=True, notes=tuple(self._notes(job)))

    def _configured(self, namespace: str) -> AgentConfig:
        """The configuration in its namespace, with the CLI behind our script, and the run that it is a part of."""
        command = ("sh", "-c", dropin.SCRIPT, "claude", *self.config.command)
        run = {RUN_ID: self.environ[RUN_ID]} if self.environ.get(RUN_ID) else {}
        env = {**run, **self.config.env}
        return self.config.model_copy(update={"namespace": namespace, "command": command, "env": env})

    def _check_resume(self, persistent: bool) -> None:
        if self.line.resumes and not persistent:
            raise InvalidRequest(
                f"{self.line.resumes[:40]!a} goes on with a session, and none outlives its pod here: set"
                " CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM to a claim that all calls share"
            )

    def _job(
        self, instance: str, config: AgentConfig, around: SelfPod, shared: str | None
    ) -> tuple[RunContext, AgentJob]:
        cwd = _directory()
        here = bool(shared and dropin.below(cwd, shared))
        # Below the mount of a volume that is not ours, our directory would be another one.
        there = not shared and dropin.below(cwd, config.workspace_mount_path)
        context = self._context("" if there else cwd)
        job = job_of(
            context,
            config,
            marks(instance, self.run_id, self.digest),
            self_pod=around,
            prompt=Prompt(self.stdin.decode("utf-8", "replace"), {}),
            bundle=dropin.cargo(self.line.argv, shared, here=here).bundle(),
            given=(),
        )
        return context, dropin.without_made_up(job, {*self.environ, *config.env})

    def _context(self, cwd: str) -> RunContext:
        agent = {"id": self.agent or NOBODY, "companyId": self.environ.get(COMPANY_ID, "")}
        wake = {"taskId": self.environ.get(TASK_ID), "paperclipWorkspace": {"cwd": cwd}}
        fields = {"runId": self.run_id, "agent": agent, "context": wake, "authToken": self.environ.get(API_KEY)}
        return RunContext.parse(fields)

    def _notes(self, job: AgentJob) -> Iterator[str]:
        yield from self.given.notes
        yield from (f"{self.given.place(name)} is not known" for name in self.config.unknown)
        yield from (note for note in job.notes if note != NO_API_URL or RUN_ID in self.environ)


def _directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a text, and it may be gone
    except FileNotFoundError:
        return ""
