"""Why a document is refused, in one line that names each field and never shows what was in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

MOST_PROBLEMS = 20
"""More problems than this of one document are counted, not said."""

MOST_NAME = 80
"""A key of somebody else's document is shown up to this many characters."""

_SAID = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "string_type": "is not text",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "literal_error": "is not one of {expected}",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
}


def explain(error: ValidationError, root: str, origins: Mapping[str, str] | None = None) -> str:
    """The problems of a document called `root`, joined by `; `. `origins`: top-level fields that come from elsewhere.

    Pydantic's own text of an error quotes the input, which may be a secret: here only places and rules are said.
    """
    found = error.errors(include_input=False)
    said = [_problem(one, root, origins or {}) for one in found[:MOST_PROBLEMS]]
    more = [f"and {len(found) - len(said)} more"] if len(found) > len(said) else []
    return "; ".join(said + more)


def dotted(location: Iterable[int | str], root: str) -> str:
    """A place in a document as its reader would write it: `config.tolerations[0].effect`."""
    return root + "".join(_step(part) for part in location if part != "[key]")


def shown(name: str) -> str:
    """A name out of somebody else's document, fit for one line of text whatever is in it."""
    return name if name.isprintable() and 0 < len(name) <= MOST_NAME else _quoted(name)


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= MOST_NAME else name[:MOST_NAME] + "...")


def _step(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isascii() and part.isidentifier() else f"[{_quoted(part)}]"


def _problem(one: Any, root: str, origins: Mapping[str, str]) -> str:
    place = dotted(one["loc"], origins.get(str(one["loc"][0]), root) if one["loc"] else root)
    rule = rule_of(one)
    # A rule may go on with the step it is about: `config.env` and `['NAME'] is too long`.
    return place + rule if rule.startswith(("[", ".")) else f"{place} {rule}"


def rule_of(one: Any) -> str:
    """What is wrong at one place, in words."""
    if one["type"] == "value_error":
        return str(one["msg"]).removeprefix("Value error, ")
    said = _SAID.get(one["type"])
    return said.format(**one.get("ctx", {})) if said else f"is not valid: {one['msg']}"
