"""`claude-k8s run -- COMMAND...`: one run, its log on stdout, everything else on stderr."""

from __future__ import annotations

import os
import shlex
import uuid
from typing import Any

import click

from adapter.cli.clusters import choice_of, run_loop
from adapter.cli.output import output_of
from adapter.cli.session import Session, Start, exit_code, log_to_stderr
from adapter.cli.settings import CONTEXT, Duration, cluster_options, output_options, setting
from adapter.run import RunRequest

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
@output_options
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
    log_to_stderr(verbose=options["verbose"])
    output = output_of(json_lines=options["json_lines"], raw=options["raw"], quiet=options["quiet"])
    again = f"come back with the same command and --run-id {shlex.quote(request.run_id)}"
    start: Start = lambda adapter, plane: adapter.run(request, plane)  # noqa: E731 - it says no more than that
    return exit_code(run_loop(Session(request.run_id, choice_of(options), output, start, again).run()))
