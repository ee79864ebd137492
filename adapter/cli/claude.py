"""`claude-k8s claude ...`, or a link to `claude-k8s` that is named `claude`: the CLI's own command line, in a Job.

Whatever calls `claude` as a program runs it in Kubernetes by changing one path. So nothing on the command line is ours:
it is configured by environment and file alone.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import click
from anyio import to_thread

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.environment import API_URL
from adapter.agent.prompt import Prompt
from adapter.agent.selfpod import SelfPod
from adapter.agents import basics, job_of, own_pod_of
from adapter.cli import dropin
from adapter.cli.clusters import choice_of, run_loop
from adapter.cli.dropin_output import AsTheCli, status
from adapter.cli.dropin_settings import Settings, settings
from adapter.cli.dropin_stdin import read_stdin
from adapter.cli.dropin_words import Line
from adapter.cli.session import Session, log_to_stderr
from adapter.cli.settings import AGENT_TABLE, CONTEXT, cluster_options, setting
from adapter.cluster.belongings import agent_key
from adapter.errors import InvalidRequest
from adapter.plane import Plane
from adapter.run import RunResult
from adapter.service import Adapter
from adapter.work import Work, marks

AGENT_ID, RUN_ID = "PAPERCLIP_AGENT_ID", "PAPERCLIP_RUN_ID"


class _PassThrough(click.Command):
    """A command whose options come from environment and file: every word on its line is somebody else's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for parameter in self.get_params(ctx):
            parameter.handle_parse_result(ctx, {}, [])
        ctx.params["argv"] = tuple(args)
        return []


@click.command(cls=_PassThrough, context_settings=CONTEXT, add_help_option=False)
@cluster_options
@setting("--on-sigterm", type=click.Choice(["detach", "cancel"]), default="detach", help="What SIGTERM does.")
@setting("--run-id", help="The run's id: the same id, arguments and stdin come back to the same Job.")
@setting("--agent-id", help="Calls of one agent run one after the other; without it they do not wait.")
@setting("--sdk-one-shot", is_flag=True, help="Answers an SDK's handshake here; its first message is its last.")
@setting("--verbose", is_flag=True, help="The adapter's own notes and log on stderr.")
@click.pass_context
def claude(context: click.Context, /, argv: tuple[str, ...], **options: Any) -> int:
    """Run the claude CLI in a Job: its arguments, stdin, stdout, stderr and exit code are passed on.

    Configured by CLAUDE_K8S_IMAGE, CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM and the like, by a file that
    CLAUDE_K8S_AGENT_CONFIG names, and by the table [agent] of the configuration file: docs/drop-in.md.
    """
    line = Line(argv)
    _refuse(line)
    given = settings(os.environ, context.meta.get(AGENT_TABLE, {}))
    call = _Call(line, given, options)
    log_to_stderr(verbose=options["verbose"])
    call.stdin = read_stdin(line, one_shot=options["sdk_one_shot"])
    again = f"come back with the same call and CLAUDE_K8S_RUN_ID={shlex.quote(call.run_id)}"
    output = AsTheCli(verbose=options["verbose"])
    choice = choice_of({**options, "kubeconfig": options["kubeconfig"] or call.config.kubeconfig or None})
    session = Session(
        call.run_id, choice, output, call.start, again, term_cancels=options["on_sigterm"] == "cancel", hangs_up=True
    )
    return status(run_loop(session.run()), session.signal)


def _refuse(line: Line) -> None:
    if os.environ.get(dropin.INSIDE):
        raise InvalidRequest(
            "the claude of this image is claude-k8s itself, and would make one pod after the other: name the CLI's own in"
            f" CLAUDE_K8S_COMMAND (or, to make a Job out of a Job on purpose, unset {dropin.INSIDE})"
        )
    if line.wants_terminal and os.isatty(1):
        raise InvalidRequest("claude runs in a Job, where there is no terminal: use it with -p (--print)")


class _Call:
    """One call of the CLI, as a run. `stdin` is what was read of it."""

    def __init__(self, line: Line, given: Settings, options: Mapping[str, Any]) -> None:
        self._line, self._given, self._options = line, given, options
        self.config = given.config()
        self.stdin = b""

    @property
    def run_id(self) -> str:
        """A control plane's run may call the CLI more than once: each call has an id of its own, always the same."""
        if not self._options["run_id"]:
            run = os.environ.get(RUN_ID)
            self._options = {**self._options, "run_id": f"{run}-{self._digest[:8]}" if run else uuid.uuid4().hex[:12]}
        return str(self._options["run_id"])

    @property
    def _digest(self) -> str:
        parts = [word.encode("utf-8", "surrogateescape") for word in self._line.argv] + [self.stdin]
        return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()

    @property
    def _agent(self) -> str | None:
        """Whose call it is. One that asks for the version has nothing to wait for."""
        if self._line.is_command or self._line.only_tells:
            return None
        own = None if "CLAUDE_K8S_AGENT_ID" in os.environ else os.environ.get(AGENT_ID)
        return self._options["agent_id"] or own

    async def start(self, adapter: Adapter, plane: Plane) -> RunResult:
        """The run, from what it is made of to its end."""
        own = await own_pod_of(adapter)
        work = await to_thread.run_sync(self._work, adapter, own)
        return await adapter.supervise(
            work,
            plane,
            namespace=self._namespace(adapter),
            schedule=float(self.config.pod_schedule_timeout_sec),
            start=float(self.config.pod_start_timeout_sec),
        )

    def _namespace(self, adapter: Adapter) -> str:
        return self.config.namespace or adapter.namespace

    def _work(self, adapter: Adapter, own: SelfPod | None) -> Work:
        with self._given.naming():
            return self._made(adapter, own)

    def _made(self, adapter: Adapter, own: SelfPod | None) -> Work:
        namespace = self._namespace(adapter)
        inherited = dropin.surroundings(own, os.environ, namespace)
        config = self._configured(namespace)
        shared = dropin.shared_volume(config, own)
        cwd = _directory()
        here = bool(shared and dropin.below(cwd, shared))
        context = self._context(cwd if here or not shared else "")
        job = job_of(
            context,
            config,
            marks(adapter.instance, self.run_id, self._digest),
            self_pod=inherited,
            prompt=Prompt(self.stdin.decode("utf-8", "replace"), {}),
            bundle=dropin.cargo(self._line.argv, shared, here=here).bundle(),
            given=(),
        )
        if self._line.resumes and not job.persistent:
            raise InvalidRequest(
                f"{self._line.resumes[:40]} needs a volume that outlives the pod: set CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM to a"
                " claim that all calls share"
            )
        job = dropin.without_made_up(job, {*os.environ, *config.env})
        agent = agent_key(context.agent.company_id, context.agent.id) if self._agent else None
        return Work(**basics(context, config, job), agent=agent, notes=tuple(self._notes(job.notes)), replay=True)
