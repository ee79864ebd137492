"""Text that a form sends where a configuration has structure: `key=value` lines, JSON in a string, one item a line.

Whatever is no text goes through unchanged: its type is checked by whoever comes next. Raised is ValueError, phrased
to follow the name of the field; what the text says is in no error, because a line may be half of a secret.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from adapter.agent.checks import env_name
from adapter.agent.plain import plain

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def is_blank(value: object) -> bool:
    """Whether a form left the field out: null, or text without a visible character."""
    return value is None or (isinstance(value, str) and not value.strip())


def optional(form: Callable[[object], object]) -> Callable[[object], object]:
    """The form of a field that can be unset: text without a line that counts is as if it were not there.

    `{}` and `[]`, as JSON or as they are, are values of their own: nothing, and nothing inherited either.
    """

    def read(value: object) -> object:
        return None if isinstance(value, str) and not list(_lines(value)) else form(value)

    return read


def trimmed(value: object) -> object:
    """Text without the space around it."""
    return value.strip() if isinstance(value, str) else value


def document(value: object) -> object:
    """JSON in a string."""
    return _json(value) if isinstance(value, str) else value


def mapping(value: object) -> object:
    """A JSON object in a string, or lines of `key=value`."""
    return _mapping(value, lambda key, _: key)


def variables(value: object) -> object:
    """As `mapping`, for environment variables: a line that starts with no variable's name is shown by its number."""
    return _mapping(value, _variable)


def sequence(value: object) -> object:
    """A JSON list in a string, or one item a line."""
    if not isinstance(value, str):
        return value
    return _json(value) if value.lstrip().startswith("[") else [line for _, line in _lines(value)]


def arguments(value: object) -> object:
    """A JSON list in a string, or a command line, split as a shell splits it (lines are no different from spaces)."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _json(value)
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split as a shell would: {str(error).lower()}") from None


def tolerations(value: object) -> object:
    """A JSON list in a string, or lines of `key=value:Effect`, `key:Effect` or `key`."""
    if not isinstance(value, str):
        return value
    return _json(value) if value.lstrip().startswith("[") else [_toleration(line) for _, line in _lines(value)]


def integer(value: object) -> int:
    """A whole number, also as text and as 30.0."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    raise ValueError("is not a whole number")


def deadline(value: object) -> int | None:
    """A number of seconds, of which none are no deadline."""
    return None if value is None else integer(value) or None


def scalar(value: object) -> object:
    """A number or a truth value as the text it would be in JSON: `2` and `"2"` are the same amount of cores."""
    return trimmed(untrimmed_scalar(value))


def untrimmed_scalar(value: object) -> object:
    """As `scalar`, for text in which a space at an end may matter."""
    return json.dumps(plain(value)) if isinstance(value, bool | int | float) else value


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that count, trimmed, with their numbers: neither blank ones nor comments."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _mapping(value: object, check: Callable[[str, int], str]) -> object:
    if not isinstance(value, str):
        return value
    return _json(value) if value.lstrip().startswith("{") else _pairs(value, check)


def _pairs(text: str, check: Callable[[str, int], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in _lines(text):
        key, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"is not key=value in line {number}")
        name = check(key.strip(), number)
        if name in found:
            raise ValueError(f"says twice what is said in line {number}")
        found[name] = value.strip()
    return found


def _variable(name: str, line: int) -> str:
    try:
        return env_name(name)
    except ValueError:
        raise ValueError(f"does not begin with the name of a variable in line {line}") from None


def _toleration(line: str) -> dict[str, str]:
    head, _, effect = line.partition(":")
    key, equals, value = head.partition("=")
    operator = "Equal" if equals else "Exists"
    return {"key": key.strip(), "operator": operator, "value": value.strip(), "effect": effect.strip()}


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg.lower()} in line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON that can be read: a number is too large, or it is nested too deep") from None


def _no_number(_: str) -> NoReturn:
    raise ValueError
