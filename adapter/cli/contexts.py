"""Run contexts in files, for the commands that take one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from adapter.errors import InvalidRequest

if TYPE_CHECKING:
    from adapter.agent.context import RunContext


def read_context(path: str) -> RunContext:
    """The run context in a JSON or YAML file; `-` is stdin. Raises `InvalidRequest`, which names what is wrong."""
    from adapter.agent.context import RunContext  # a heavy import: only for who needs it

    return RunContext.parse(document(path))


def document(path: str) -> Any:
    """A JSON or YAML document. Raises `InvalidRequest`; what is in the file is in no error: it may be secret."""
    try:
        return yaml.safe_load(sys.stdin.read() if path == "-" else Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: {error.strerror if isinstance(error, OSError) else 'not UTF-8 text'}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidRequest(f"{path}: neither JSON nor YAML{where}") from None


context_option = click.option(
    "--context", "context_file", required=True, metavar="FILE", help="The run's context, JSON or YAML; - for stdin."
)
