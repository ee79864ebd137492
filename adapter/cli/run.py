"""`claude-k8s run -- COMMAND...`: one run, its log on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shlex
import signal
import sys
import uuid
from collections.abc import Callable
from typing import Any

import click
import structlog

from adapter.cli.clusters import Choice, connected, run_loop, running_local
from adapter.cli.output import Output, as_json, as_text
from adapter.cli.settings import CONTEXT, Duration, cluster_options, setting
from adapter.limits import Limits
from adapter.plane.callbacks import CallbackPlane
from adapter.run import Outcome, RunRequest, RunResult

KEEP = 3600
"""Seconds a Job is kept with `--keep`."""


def _variable(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, or NAME alone for a variable of our own environment."""
    pairs = {}
    for text in values:
        name, given, value = text.partition("=")
        if not given and name not in os.environ:
            raise click.BadParameter(f"{name!r} is not set here: give NAME=VALUE", context, parameter)
        pairs[name] = value if given else os.environ[name]
    return pairs


@click.command(context_settings={**CONTEXT, "ignore_unknown_options": False})
@click.argument("command", nargs=-1, metavar="-- COMMAND...")
@cluster_options
@setting("--image", default="busybox:1.36", show_default=True, help="Container image.")
@setting("--env", "-e", multiple=True, callback=_variable, metavar="NAME[=VALUE]", help="Environment variable.")
@setting("--timeout", type=Duration(), help="Deadline of the run: seconds, or such as 5m.")
@setting("--grace", type=Duration(), default=30, show_default=True, help="Time to end after SIGTERM.")
@setting("--cpu", metavar="QUANTITY", help="CPU request and limit, such as 500m.")
@setting("--memory", metavar="QUANTITY", help="Memory request and limit, such as 2Gi.")
@setting("--workdir", metavar="DIR", help="Working directory in the container.")
@setting("--service-account", metavar="NAME", help="Service account of the pod.")
@setting("--run-id", help="The run's id: the same id and request come back to the same Job.")
@setting("--keep", is_flag=True, help="Keep the Job, with its result on it, for an hour.")
@setting("--json", "json_lines", is_flag=True, help="One JSON object a line on stdout, instead of the log itself.")
@setting("--quiet", "-q", is_flag=True, help="Nothing on stderr but errors.")
@setting("--verbose", "-v", is_flag=True, help="The adapter's own log on stderr.")
def run(command: tuple[str, ...], env: dict[str, str], **options: Any) -> int:
    """Run COMMAND as a Kubernetes Job and follow it to its end.

    The exit code is the container's; 124 at the deadline, 130 when cancelled by Ctrl-C, 125 when the adapter itself
    failed. A second Ctrl-C lets go of the run and says how to come back to it; SIGTERM does so at once.
    """
    request = RunRequest(
        run_id=options["run_id"] or uuid.uuid4().hex[:12],
        command=command,
        image=options["image"],
        env=env,
        working_dir=options["workdir"],
        timeout=options["timeout"],
        grace=options["grace"],
        retain=KEEP if options["keep"] else 0,
        cpu=options["cpu"],
        memory=options["memory"],
        service_account=options["service_account"],
    )
    _log_to_stderr(verbose=options["verbose"])
    choice = Choice(*(options[name] for name in ("local", "kubeconfig", "context", "namespace", "instance")))
    output = (as_json if options["json_lines"] else as_text)(quiet=options["quiet"])
    result = run_loop(_Session(request, choice, output).run())
    return exit_code(result)


def exit_code(result: RunResult | None) -> int:
    """What the process exits with; None: interrupted before there was a run."""
    if result is None or result.outcome in (Outcome.CANCELLED, Outcome.DETACHED):
        return 130
    if result.outcome is Outcome.TIMED_OUT:
        return 124
    if result.outcome is Outcome.SUCCEEDED:
        return 0
    return result.exit_code or 125


class _Session:
    """One call of the command: the run, and the signals that reach it."""

    def __init__(self, request: RunRequest, choice: Choice, output: Output) -> None:
        self._request, self._choice, self._output = request, choice, output
        self._plane = CallbackPlane(on_log=output.log, on_event=output.event)
        self._interrupted = False
        self._running: asyncio.Task[RunResult | None] | None = None
        self._let_go: Callable[[], None] | None = None

    async def run(self) -> RunResult | None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._detach)
        self._running = asyncio.create_task(self._run())
        try:
            result = await self._running
        except asyncio.CancelledError:
            return None
        await self._output.result(result) if result else None
        if result and result.outcome is Outcome.DETACHED:
            self._output.say(self._again())
        return result

    async def _run(self) -> RunResult | None:
        # A pipe that is not read for minutes (`| less`) must not be given the same lines twice: no deadline for it.
        async with connected(self._choice, Limits(sink=math.inf)) as adapter:
            self._let_go = lambda: adapter.let_go(self._request.run_id)
            return await adapter.run(self._request, self._plane)

    def _interrupt(self) -> None:
        """Ctrl-C: cancels the run; a second one lets go of it."""
        if self._interrupted or self._let_go is None:
            self._detach()
            return
        self._interrupted = True
        self._output.say("cancelling the run; Ctrl-C again lets go of it")
        self._plane.cancel("interrupted")

    def _detach(self) -> None:
        if self._let_go:
            self._let_go()
        elif self._running:
            self._running.cancel()

    def _again(self) -> str:
        """How to come back. Not the command line itself: a variable on it may be secret."""
        if self._choice.local and running_local() is None:
            return "the embedded cluster ends with this command, and the run with it"
        return f"let go; come back with the same command and --run-id {shlex.quote(self._request.run_id)}"


def _log_to_stderr(*, verbose: bool) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
