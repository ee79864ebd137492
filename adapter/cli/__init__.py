"""The command `claude-k8s`. Each subcommand's module is imported when it is called, so that `--help` is quick."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from typing import Any

import click

from adapter._version import __version__
from adapter.cli.settings import CONTEXT, config_option
from adapter.errors import AdapterError

FAILED = 125
"""The exit code for whatever the adapter itself could not do (as `docker run` has it)."""

COMMANDS = {
    "run": "adapter.cli.run:run",
    "execute": "adapter.cli.execute:execute",
    "claude": "adapter.cli.claude:claude",
    "ps": "adapter.cli.ps:ps",
    "logs": "adapter.cli.logs:logs",
    "attach": "adapter.cli.attach:attach",
    "cancel": "adapter.cli.cancel:cancel",
    "describe": "adapter.cli.describe:describe",
    "manifest": "adapter.cli.manifest:manifest",
    "doctor": "adapter.cli.doctor:doctor",
    "release": "adapter.cli.release:release",
    "demo": "adapter.cli.demo:demo",
    "local": "adapter.cli.local:local",
    "config": "adapter.cli.config:config",
    "serve": "adapter.cli.serve:serve",
    "plane": "adapter.cli.plane:plane",
    "paperclip": "adapter.cli.paperclip:paperclip",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="claude-k8s")
@config_option
def cli() -> None:
    """Runs commands as Kubernetes Jobs: follows the log, notices the end at once, tells the truth about it.

    Every option is also an environment variable, CLAUDE_K8S_NAME, and a line `name = value` in the configuration
    file; the command line wins over the environment, and that over the file.

    `claude-k8s claude`, or a link to claude-k8s that is named claude, is the exception: it takes the claude CLI's own
    command line, --help included, and is configured by variables and files alone (docs/drop-in.md).
    """


def main(arguments: list[str] | None = None) -> None:
    """The entry point: whatever goes wrong is one line and an exit code. A link named `claude` is that command."""
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None and Path(sys.argv[0]).name == "claude":
        given = ["claude", *given]
    if given[:1] == ["claude"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # it dies of it without a word, as the CLI does
    sys.exit(_status(given))


def _status(arguments: list[str] | None) -> int:
    try:
        status: Any = cli.main(arguments, prog_name="claude-k8s", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        return _say(error.format_message())
    except AdapterError as error:
        return _say(str(error))


def _say(text: str) -> int:
    click.echo(f"claude-k8s: {text}", err=True)
    return FAILED
