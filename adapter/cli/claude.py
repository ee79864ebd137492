"""`claude-k8s claude ...`, or a link to `claude-k8s` that is named `claude`: the CLI's own command line, in a Job.

Whatever calls `claude` as a program runs it in Kubernetes by changing one path. So nothing on the command line is ours:
it is configured by environment and file alone.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import click

from adapter.cli import dropin
from adapter.cli.clusters import choice_of, run_loop
from adapter.cli.dropin_call import AGENT_ID, Call
from adapter.cli.dropin_output import AsTheCli, status, tell, trouble
from adapter.cli.dropin_settings import settings
from adapter.cli.dropin_stdin import read_stdin
from adapter.cli.dropin_words import Line
from adapter.cli.session import Session, log_to_stderr
from adapter.cli.settings import AGENT_TABLE, CONTEXT, cluster_options, setting
from adapter.errors import InvalidRequest
from adapter.run import Outcome


class _PassThrough(click.Command):
    """A command whose options come from environment and file: every word on its line is somebody else's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, [])
        ctx.params["argv"] = tuple(args)
        return rest


@click.command(
    cls=_PassThrough,
    context_settings=CONTEXT,
    add_help_option=False,
    short_help="Run the claude CLI in a Job: arguments, stdin, output, exit code.",
)
@cluster_options
@setting("--on-sigterm", type=click.Choice(["detach", "cancel"]), default="detach", help="What SIGTERM does.")
@setting("--run-id", help="The run's id: the same id, arguments and stdin come back to the same Job.")
@setting("--agent-id", help="Calls of one agent run one after the other; without it they do not wait.")
@setting("--sdk-one-shot", is_flag=True, help="An SDK's handshake is answered here; its first message is its last.")
@setting("--verbose", is_flag=True, help="What happens to the Job, on stderr.")
@click.pass_context
def claude(context: click.Context, /, argv: tuple[str, ...], **options: Any) -> int:
    """Run the `claude` CLI in a Job. Nobody is shown this: `--help` is the CLI's own, and docs/drop-in.md is ours."""
    _open_descriptors()
    line = Line(argv)
    _refuse(line)
    given = settings(os.environ, context.meta.get(AGENT_TABLE, {}))
    config = given.config()
    log_to_stderr(verbose=False)  # what is in it for people, the events say
    stdin = read_stdin(line, one_shot=options["sdk_one_shot"])
    call = Call(line, stdin, given, config, os.environ, options["run_id"], _agent(options))
    choice = choice_of({**options, "kubeconfig": options["kubeconfig"] or config.kubeconfig or None})
    again = f"come back with the same call and CLAUDE_K8S_RUN_ID={shlex.quote(call.run_id)}"
    output = AsTheCli(verbose=options["verbose"])
    session = Session(call.run_id, choice, output, call.start, again, term_cancels=options["on_sigterm"] == "cancel")
    result = run_loop(session.run())
    if result and result.outcome is Outcome.DETACHED and not output.talks:
        tell(session.how_to_come_back())  # else the session has said so
    elif result and (said := trouble(result, session.signal)):
        tell(said)
    return status(result, session.signal)


def _refuse(line: Line) -> None:
    if os.environ.get(dropin.INSIDE):
        raise InvalidRequest(
            "the claude of this image is claude-k8s again, and would make one pod after the other: name the CLI itself"
            f" in CLAUDE_K8S_COMMAND (to make a Job out of a Job on purpose, unset {dropin.INSIDE})"
        )
    if line.wants_terminal and os.isatty(1):
        raise InvalidRequest("claude runs in a Job, where there is no terminal: use it with -p (--print)")


def _agent(options: Mapping[str, Any]) -> str | None:
    """Whose call it is: that of the control plane's agent, unless an empty CLAUDE_K8S_AGENT_ID says nobody's."""
    theirs = None if "CLAUDE_K8S_AGENT_ID" in os.environ else os.environ.get(AGENT_ID)
    return options["agent_id"] or theirs


def _open_descriptors() -> None:
    """A caller may have closed stdin, stdout or stderr. What is opened next must not become one of them."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
