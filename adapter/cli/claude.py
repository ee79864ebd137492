"""`claude-k8s claude ...`, or a link to `claude-k8s` that is named `claude`: the CLI's own command line, in a Job.

Whatever calls `claude` as a program runs it in Kubernetes by changing one path. So nothing on the command line is ours:
it is configured by environment and file alone.
"""

from __future__ import annotations

import hashlib
import os
import select
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from anyio import to_thread

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.prompt import Prompt
from adapter.agent.workspace import claim_of
from adapter.agents import basics, job_of, own_pod_of
from adapter.cli import dropin
from adapter.cli.clusters import Choice, choice_of, run_loop
from adapter.cli.output import as_streams
from adapter.cli.session import Session, exit_code, log_to_stderr
from adapter.cli.settings import AGENT_TABLE, CONTEXT, cluster_options, setting
from adapter.cluster.belongings import agent_key
from adapter.errors import InvalidRequest
from adapter.plane import Plane
from adapter.run import Outcome, RunResult
from adapter.service import Adapter
from adapter.work import Work, marks

STDIN_WAIT = 3.0
"""Seconds that the first byte of stdin may take; the CLI itself goes on without it then."""

NOT_INTERACTIVE = ("-p", "--print", "-v", "--version", "-h", "--help")


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
@setting("--verbose", is_flag=True, help="The adapter's own notes and log on stderr.")
@click.pass_context
def claude(context: click.Context, /, argv: tuple[str, ...], **options: Any) -> int:
    """Run the claude CLI in a Kubernetes Job: every argument is passed on to it.

    stdin, stdout, stderr and the exit code are those of the CLI. Configured by CLAUDE_K8S_IMAGE,
    CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM and the like (docs/drop-in.md), a file named by CLAUDE_K8S_AGENT_CONFIG, and the
    table [agent] of the configuration file.
    """
    _refuse_terminal(argv)
    config = dropin.settings(os.environ, context.meta.get(AGENT_TABLE, {}))
    log_to_stderr(verbose=options["verbose"])
    call = _Call(argv, _stdin(), config, options)
    output = as_streams(quiet=not options["verbose"])
    again = f"the Job goes on; come back with the same call and CLAUDE_K8S_RUN_ID={call.run_id}"
    term_cancels = options["on_sigterm"] == "cancel"
    session = Session(call.run_id, call.choice, output, call.start, again, term_cancels=term_cancels)
    return _status(run_loop(session.run()))


def _status(result: RunResult | None) -> int:
    """As a process that got the signal would have it."""
    if result and result.outcome is Outcome.DETACHED:
        return 143
    return exit_code(result)


def _refuse_terminal(argv: Sequence[str]) -> None:
    interactive = not argv or argv[0].startswith("-")
    if interactive and sys.stdin.isatty() and sys.stdout.isatty() and not set(argv).intersection(NOT_INTERACTIVE):
        raise InvalidRequest("claude runs in a Job, where there is no terminal: use it with -p")


def _stdin() -> bytes:
    """All of stdin. Nobody types there; and who leaves it open without a word does not want to be waited for."""
    if sys.stdin.isatty():
        return b""
    try:
        ready, _, _ = select.select([sys.stdin], [], [], STDIN_WAIT)
    except (OSError, ValueError):
        return b""
    return sys.stdin.buffer.read() if ready else b""


class _Call:
    """One call of the CLI, as a run."""

    def __init__(
        self, argv: tuple[str, ...], stdin: bytes, config: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self._argv, self._stdin, self._config = argv, stdin, config
        self._agent = options["agent_id"] or os.environ.get("PAPERCLIP_AGENT_ID")
        self.run_id = options["run_id"] or self._given_id() or uuid.uuid4().hex[:12]
        self.choice: Choice = choice_of(options)

    def _given_id(self) -> str | None:
        """A control plane's run may call the CLI more than once: each has an id of its own, always the same."""
        run = os.environ.get("PAPERCLIP_RUN_ID")
        return f"{run}-{self._digest[:8]}" if run else None

    @property
    def _digest(self) -> str:
        return hashlib.sha256(
            "\0".join(self._argv).encode("utf-8", "surrogateescape") + b"\0\0" + self._stdin
        ).hexdigest()

    async def start(self, adapter: Adapter, plane: Plane) -> RunResult:
        own = dropin.surroundings(await own_pod_of(adapter), os.environ)
        return await adapter.supervise(await to_thread.run_sync(self._work, adapter.instance, own), plane)

    def _work(self, instance: str, own: Any) -> Work:
        context = self._context()
        config = AgentConfig.parse(context.config)
        shared = config.workspace_mount_path if claim_of(config, own) else None
        bundle = dropin.cargo(self._argv, shared).bundle()
        given = ("sh", "-c", dropin.SCRIPT, "claude", *config.command)
        job = job_of(
            context,
            config.model_copy(update={"command": given}),
            marks(instance, self.run_id, self._digest),
            self_pod=own,
            prompt=Prompt(self._stdin.decode("utf-8", "replace"), {}),
            bundle=bundle,
            given=(),
        )
        agent = agent_key(context.agent.company_id, context.agent.id) if self._agent else None
        return Work(**basics(context, config, job), agent=agent, notes=job.notes)

    def _context(self) -> RunContext:
        wake = {"taskId": os.environ.get("PAPERCLIP_TASK_ID"), "paperclipWorkspace": {"cwd": str(Path.cwd())}}
        agent = {"id": self._agent or "claude", "companyId": os.environ.get("PAPERCLIP_COMPANY_ID", ""), "name": ""}
        token = os.environ.get("PAPERCLIP_API_KEY")
        fields = {
            "runId": self.run_id,
            "agent": agent,
            "config": dict(self._config),
            "context": wake,
            "authToken": token,
        }
        return RunContext.parse(fields)
