"""Prompt templates: `{{name.of.a.variable}}` and nothing else. Pure.

A template is an operator's text, its values are the control plane's data. So a variable is looked up in plain
dictionaries only, never as an attribute or by a format specification, and a value is put in as it is: a comment that
says `{{agent.id}}` stays one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from adapter.errors import InvalidRequest

_VARIABLE = re.compile(r"(\\?)\{\{([^{}\n]*)\}\}")
_SHOWN = 24
"""So many of the known names are listed in an error: a wake's context has dozens."""


def render(template: str, values: Mapping[str, Any], *, field: str = "promptTemplate") -> str:
    r"""The template with each `{{a.b}}` replaced by what `values["a"]["b"]` holds; spaces inside are allowed.

    A text is put in as it is, `None` as nothing, any other value as JSON. `\{{a.b}}` stands for the text `{{a.b}}`.
    Raises `InvalidRequest` for a variable that is not there, naming it, `field` and the variables that are.
    """
    return _VARIABLE.sub(_replacing(values, field), template)


def _replacing(values: Mapping[str, Any], field: str) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        found, value = _find(values, match[2].strip())
        if not found:
            raise InvalidRequest(_complaint(match[0], values, field))
        return _text(value)

    return replace


def _find(values: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    here: Any = values
    for part in name.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return False, None
        here = here[part]
    return True, here


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _complaint(variable: str, values: Mapping[str, Any], field: str) -> str:
    names = list(_names(values))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    known = f"known are {', '.join(names[:_SHOWN])}{more}" if names else "no variable is known here"
    return rf"{field} uses {variable}, which is not a variable: {known}; write \{variable} for the text itself"


def _names(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
