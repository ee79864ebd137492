"""`claude-k8s config`: every setting as it is here and now, and where it comes from. Nothing secret is shown."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from adapter.cli.clusters import default_instance
from adapter.cli.dropin import INSIDE
from adapter.cli.dropin_settings import CONFIG_FILE, FIELDS, PREFIX, settings
from adapter.cli.output import write
from adapter.cli.remote import TOKEN
from adapter.cli.rows import table
from adapter.cli.serve import INSTANCE
from adapter.cli.settings import AGENT_TABLE, CONTEXT, FILE, setting
from adapter.errors import InvalidRequest

MASK = "***"

_SECRET = re.compile(r"key|token|secret|password|passwd|credential|authorization", re.IGNORECASE)
_NAMES_ONE = re.compile(r"([-_]file|secretRef|imagePullSecrets)\Z")
"""What only says where a secret is."""
_VALUES = frozenset({"env", "headers", "args", "mcpServers"})
"""What may hold a secret in any of its values."""
_UNSET = getattr(click.core, "UNSET", None)
"""What click says from 8.3 on where there is no value."""
_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")

OTHERS = frozenset({TOKEN, CONFIG_FILE, INSIDE, f"{PREFIX}CONFIG"})
"""Variables that are no option's."""


@dataclass(frozen=True, slots=True)
class Line:
    """A setting, masked. `source` is `default`, or the variable or the line of the file that it comes from."""

    name: str
    value: Any
    source: str
    commands: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line as plain JSON."""
        commands = {"commands": list(self.commands)} if self.commands else {}
        return {"name": self.name, "value": self.value, "source": self.source, **commands}


@click.command(context_settings=CONTEXT)
@setting("--json", "json_lines", is_flag=True, help="One JSON object.")
@click.pass_context
def config(context: click.Context, /, *, json_lines: bool) -> int:
    """Print the effective configuration: each setting's value, and the variable or file that it comes from.

    What a command line says wins over all of it. Tokens, keys, passwords and the values of an agent's environment are
    shown as ***. The exit code is 1 where something of it is not valid, which is said.
    """
    root = context.find_root()
    problems: list[str] = []
    lines = list(_options(root, problems))
    agent, notes = _agent(root.meta.get(AGENT_TABLE, {}), problems)
    lines += [Line(name, MASK, name) for name in (TOKEN,) if os.environ.get(name)]
    problems += _unknown(root)
    path = Path(root.meta[FILE])
    if json_lines:
        whole = {"file": str(path), "exists": path.exists(), "settings": [line.to_json() for line in lines]}
        whole |= {"agent": [line.to_json() for line in agent], "notes": notes, "problems": problems}
        write(json.dumps(whole, indent=2).encode() + b"\n")
    else:
        write(_text(path, lines, agent).encode())
    for problem in (*notes, *problems):
        click.echo(f"claude-k8s: {problem}", err=True)
    return 1 if problems else 0


# -- the commands' options -------------------------------------------------------------------------------------------


def _options(root: click.Context, problems: list[str]) -> Iterator[Line]:
    """Each option of every command, once for each value that it has."""
    found: dict[tuple[str, str, str], list[str]] = {}
    values: dict[tuple[str, str, str], Any] = {}
    for context, name, option in sorted(_every(root), key=lambda one: one[1]):
        value, source = _effective(context, name, option, problems)
        key = (name, json.dumps(value), source)
        found.setdefault(key, []).append(context.command_path.removeprefix(root.command_path).strip())
        values[key] = value
    for (name, shown, source), commands in found.items():
        yield Line(name, values[name, shown, source], source, tuple(commands))


def _every(context: click.Context) -> Iterator[tuple[click.Context, str, click.Option]]:
    """The options that are settings, each with a context in which its command would be called."""
    here = context.command
    if isinstance(here, click.Group):
        for name in here.list_commands(context):
            if command := here.get_command(context, name):
                yield from _every(click.Context(command, info_name=name, parent=context))
    for option in here.params if context.parent else ():
        if isinstance(option, click.Option) and option.envvar:
            yield context, _name(option), option


def _name(option: click.Option) -> str:
    return max((name for name in option.opts if name.startswith("--")), key=len).lstrip("-")


def _effective(context: click.Context, name: str, option: click.Option, problems: list[str]) -> tuple[Any, str]:
    """An option's value as its command would have it, masked, and where it comes from."""
    given, source = option.consume_value(context, {})
    place, value = _place(name, option, source), None if given is _UNSET else given
    try:
        if value is not None and not isinstance(option.type, click.File):  # which would be opened, and emptied
            value = option.process_value(context, value)
    except click.BadParameter as error:
        words = "is not valid" if _is_secret(name) else error.message
        problems += [f"{place}: {words}"] if f"{place}: {words}" not in problems else []
    if name == "instance" and value is None:
        value = INSTANCE if context.info_name == "serve" else default_instance()
    return masked(name, value), place


def _place(name: str, option: click.Option, source: ParameterSource) -> str:
    if source is ParameterSource.ENVIRONMENT:
        return str(option.envvar)
    return f"file: {name}" if source is ParameterSource.DEFAULT_MAP else "default"


def _unknown(root: click.Context) -> list[str]:
    """Variables of ours that nobody reads: a name that was misspelt."""
    known = {str(option.envvar) for _, _, option in _every(root)} | set(FIELDS.values()) | OTHERS
    ours = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    return [f"{name}: no setting has this name" for name in ours if not name.startswith(f"{PREFIX}LOCAL_")]


# -- an agent's configuration, for calls of `claude` -----------------------------------------------------------------


def _agent(given: Mapping[str, Any], problems: list[str]) -> tuple[list[Line], list[str]]:
    """The fields that are set, by the names that a control plane has for them; and what is to be known of them."""
    try:
        found = settings(os.environ, given)
    except InvalidRequest as error:
        problems.append(str(error))
        return [], []
    try:
        found.config()
    except InvalidRequest as error:
        problems.append(str(error))
    lines = [Line(name, masked(name, value), found.places[name]) for name, value in sorted(found.values.items())]
    return lines, list(found.notes)


# -- how it is shown -------------------------------------------------------------------------------------------------


def masked(name: str, value: Any) -> Any:
    """A value as plain JSON, without what is secret in it by the name that it has, or by its place."""
    if _is_secret(name) and value not in (None, "", (), []):
        return MASK
    if isinstance(value, Mapping):
        hide = name in _VALUES
        return {str(key): MASK if hide else masked(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [MASK if name in _VALUES else masked("", one) for one in value]
    if isinstance(value, str):
        return MASK if name in _VALUES else _LOGIN.sub(f"{MASK}@", value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and not _NAMES_ONE.search(name)


def _text(path: Path, lines: list[Line], agent: list[Line]) -> str:
    there = "" if path.exists() else " (not there)"
    head = f"configuration file: {path}{there}\n\n"
    count = Counter(line.name for line in lines)
    rows = [
        replace(line, source=f"{line.source} ({', '.join(line.commands)})") if count[line.name] > 1 else line
        for line in lines
    ]
    text = head + table(("SETTING", "VALUE", "FROM"), map(_cells, rows))
    if agent:
        text += "\n" + table(("AGENT", "VALUE", "FROM"), map(_cells, agent))
    return text


def _cells(line: Line) -> tuple[str, str, str]:
    value = line.value if isinstance(line.value, str) else "" if line.value is None else json.dumps(line.value)
    return line.name, value, line.source
