"""`claude-k8s doctor`: could an agent be run here, and if not, why not?"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from adapter.cli.clusters import Choice, choice_of, connected, run_loop
from adapter.cli.contexts import document
from adapter.cli.output import clean, write
from adapter.cli.settings import CONTEXT, cluster_options, setting
from adapter.cluster.checks import Check, Level
from adapter.cluster.checks_api import refusal
from adapter.cluster.preflight import Report
from adapter.errors import ConnectError

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {Level.INFO: "green", Level.WARN: "yellow", Level.ERROR: "bold red"}
WIDTH = 120
"""Of the table where nobody's terminal says another."""


@click.command(context_settings=CONTEXT)
@click.option(
    "--agent",
    "agent_file",
    metavar="FILE",
    help="An agent's configuration, or a run context with one in it, JSON or YAML; - for stdin.",
)
@setting("--json", "json_lines", is_flag=True, help="The report as the control plane has it.")
@cluster_options
def doctor(agent_file: str | None, *, json_lines: bool, **options: Any) -> int:
    """Check that an agent could be run here: the cluster, each right, the workspace, Secrets, images, the very Job.

    Nothing is changed: what is created is created by dry runs. No Secret is read, and no value is shown. Without
    --agent the defaults are checked. The exit code is 1 where something would keep an agent from running, else 0.
    """
    given = _given(agent_file)
    report = run_loop(_examined(_choice(given, choice_of(options)), given))
    write((json.dumps(report.to_json(), indent=2) + "\n" if json_lines else table(report)).encode())
    return 1 if report.status == "fail" else 0


def _given(path: str | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    given = document(path)
    if not isinstance(given, Mapping):
        raise click.UsageError(f"--agent {path}: not a configuration, which has fields with names")
    return given


def _choice(given: Mapping[str, Any] | None, choice: Choice) -> Choice:
    """The cluster that the agent's configuration names, where the command line names none."""
    config = (given or {}).get("config", given) or {}
    named = config.get("kubeconfig") if isinstance(config, Mapping) else None
    if choice.local or choice.kubeconfig or not isinstance(named, str):
        return choice
    return replace(choice, kubeconfig=named or None)


async def _examined(choice: Choice, given: Mapping[str, Any] | None) -> Report:
    from adapter.doctor import examine  # an agent's configuration is a heavy import: not for `--help`

    try:
        async with connected(choice) as adapter:
            return await examine(adapter, given)
    except ConnectError as problem:
        return Report.of([refusal(str(problem), problem.__cause__)])


def table(report: Report) -> str:
    """The report for people, in the colours of their terminal."""
    from rich.console import Console  # neither is rich for `--help`
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    here = sys.stdout.isatty()
    console = Console(file=out, highlight=False, force_terminal=here, width=None if here else WIDTH)
    rows = Table(box=None, show_header=False, padding=(0, 1))
    rows.add_column(no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_column(no_wrap=True, style="dim")
    for check in report.checks:
        rows.add_row(Text(str(check.level), style=STYLES[check.level]), _words(check), Text(check.code))
    console.print(rows)
    console.print(Text(f"{report.status}: {_count(report)}", style="bold"))
    return out.getvalue()


def _words(check: Check) -> Text:
    """The finding; below it what is to be known of it, and what can be done."""
    from rich.text import Text

    words = Text(clean(check.message))
    for more in (check.detail, check.hint and f"-> {check.hint}"):
        if more:
            words.append(f"\n{clean(more)}", style="dim")
    return words


def _count(report: Report) -> str:
    """How many findings there are, and how many of them are bad."""
    levels = [check.level for check in report.checks]
    counts = ((len(levels), "check"), (levels.count(Level.ERROR), "error"), (levels.count(Level.WARN), "warning"))
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts if count)
