"""Options that are flags, environment variables and lines of a configuration file, in this order of precedence."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

AGENT_TABLE = "agent"
"""The table of the configuration file that holds an agent's configuration, and its place in a context's `meta`."""

FILE = "claude-k8s.file"
"""The place of the configuration file's path in a context's `meta`."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def setting(*names: str, **attributes: Any) -> Callable[[F], F]:
    """A click option that is also `CLAUDE_K8S_<NAME>` and `<name>` in the configuration file."""
    name = max((n for n in names if n.startswith("--")), key=len).partition("/")[0].lstrip("-")
    variable = "CLAUDE_K8S_" + name.replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **attributes)


def default_config() -> Path:
    """Where the configuration file is looked for."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "claude-k8s" / "config.toml"


def _load(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    path = context.meta[FILE] = value or default_config()
    if value is None and not path.exists():
        return
    try:
        settings = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"configuration file {path}: {error}") from error
    table = settings.pop(AGENT_TABLE, {})
    if not isinstance(table, dict):
        raise click.UsageError(f"configuration file {path}: {AGENT_TABLE} must be a table of an agent's configuration")
    context.meta[AGENT_TABLE] = table
    known = _known(context)
    unknown = sorted(name for name in settings if name.replace("_", "-") not in known)
    if unknown:
        raise click.UsageError(f"configuration file {path}: unknown setting {unknown[0]!r}")
    defaults = {known[name.replace("_", "-")]: value for name, value in settings.items()}
    context.default_map = dict.fromkeys(context.command.list_commands(context), defaults)  # type: ignore[attr-defined]


def _known(context: click.Context) -> dict[str, str]:
    """The long names of all commands' options, and the parameters they stand for."""
    group = context.command
    assert isinstance(group, click.Group)  # noqa: S101 - the option is the group's
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    options = [one for command in commands if command for one in command.params if isinstance(one, click.Option)]
    return {long.lstrip("-"): str(one.name) for one in options for long in one.opts if long.startswith("--")}


def config_option(command: F) -> F:
    """`--config FILE` on the group: read before any command, so that it gives their defaults."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="CLAUDE_K8S_CONFIG",
        show_envvar=True,
        is_eager=True,
        expose_value=False,
        callback=_load,
        help="Configuration file (TOML).  [default: ~/.config/claude-k8s/config.toml]",
    )(command)


def cluster_options(command: F) -> F:
    """Which cluster: for every command that talks to one."""
    options = (
        setting("--local", is_flag=True, help="The embedded cluster: commands run on THIS machine, as you."),
        setting("--kubeconfig", help="Kubeconfig file; as kubectl takes it if not given.", metavar="FILE"),
        setting("--kube-context", help="Context of the kubeconfig.", metavar="NAME"),
        setting("--namespace", "-n", help="Namespace; that of the context if not given.", metavar="NAME"),
        setting("--instance", help="Whose runs these are; else user and machine (serve: default).", metavar="NAME"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def output_options(command: F) -> F:
    """What is shown of a run, and how: for every command that follows one."""
    options = (
        setting("--json", "json_lines", is_flag=True, help="One JSON object a line on stdout, instead of the log."),
        setting("--raw", is_flag=True, help="The log's bytes, with an agent's transcript as it is."),
        setting("--quiet", "-q", is_flag=True, help="Nothing on stderr but errors."),
        setting("--verbose", "-v", is_flag=True, help="The adapter's own log on stderr."),
    )
    for option in reversed(options):
        command = option(command)
    return command


class Duration(click.ParamType[int]):
    """Whole seconds, or a number with s, m or h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
        number = text[:-1] if factor else text
        if not (number.isascii() and number.isdigit()):
            self.fail(f"{text!r} is no duration: give seconds, or such as 90s, 5m, 2h", param, ctx)
        return int(number) * (factor or 1)
