"""`claude-k8s execute --context FILE`: an agent's run, as a control plane's run context says."""

from __future__ import annotations

import json
from typing import Any

import click

from adapter.cli.clusters import choice_of, run_loop
from adapter.cli.contexts import context_option, read_context
from adapter.cli.output import output_of
from adapter.cli.session import Session, Start, exit_code, log_to_stderr
from adapter.cli.settings import CONTEXT, cluster_options, output_options, setting


@click.command(context_settings=CONTEXT)
@context_option
@setting(
    "--result", type=click.File("w", lazy=False), help="Where to write what a control plane stores of the run, as JSON."
)
@cluster_options
@output_options
def execute(context_file: str, **options: Any) -> int:
    """Run an agent as a Kubernetes Job, as a control plane's run context says, and follow it to its end.

    Its transcript is shown for people; --raw gives its own stream-json. Exit codes are those of `claude-k8s run`, and
    1 where the agent ended with 0 but says itself that it failed. The same context again comes back to the same Job.
    """
    from adapter.agent.execution import execution_result

    context = read_context(context_file)
    log_to_stderr(verbose=options["verbose"])
    shown = {name: options[name] for name in ("json_lines", "raw", "quiet")}
    output = output_of(**shown, agent=True)
    start: Start = lambda adapter, plane: adapter.execute(context, plane)  # noqa: E731 - it says no more than that
    again = "come back with the same context"
    result = run_loop(Session(context.run_id, choice_of(options), output, start, again).run())
    if result and options["result"]:
        json.dump(execution_result(result, context), options["result"], indent=2)
        options["result"].write("\n")
    return exit_code(result)
