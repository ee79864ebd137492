"""The module that Paperclip loads, in JavaScript: `claude-k8s paperclip install` writes it out. Here is what it needs.

It forwards each run to `claude-k8s serve` and answers Paperclip's forms from there. The files beside this one are the
module; `lib/defaults.json` is generated (`make docs`) and is what the forms show while the service is away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from adapter.agent.models import MODELS, SESSION_MANAGEMENT
from adapter.agent.schema import markdown, ui_schema

MODULE = Path(__file__).parent
NAME = "claude-k8s-paperclip-adapter"
"""The name of the module's package, by which it is known again."""

CONFIG = "claude-k8s.json"
"""The file beside the module that says where the service is."""

_PARTS = ("*.js", "*.cjs", "package.json", "lib/*.js", "lib/*.json")


def files() -> Iterator[Path]:
    """The module's files, relative to `MODULE`."""
    for pattern in _PARTS:
        yield from sorted(path.relative_to(MODULE) for path in MODULE.glob(pattern))


def defaults() -> str:
    """The document `lib/defaults.json`: what the service of this version tells Paperclip's forms."""
    told = {
        "uiSchema": ui_schema(),
        "models": MODELS,
        "sessionManagement": SESSION_MANAGEMENT,
        "agentConfigurationDoc": markdown(),
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
