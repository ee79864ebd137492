"""A program: `claude-k8s` whose clock is compressed: every duration of a run and of its plane is divided by a factor.

`python -m tests.service.compressed FACTOR serve ...`. But for the deadlines of single calls, which this machine must be
able to meet: they are one second at least.
"""

from __future__ import annotations

import dataclasses
import sys

from adapter.limits import Limits
from adapter.plane.http_limits import PlaneLimits

CALLS = ("call", "append", "sink", "headers", "cancel_call", "beat_in_flight", "stall", "let_go", "flush", "farewell")
LEAST = 1.0


def compress(limits: type[Limits | PlaneLimits], factor: float) -> None:
    """Changes the durations that such limits have by default, of this process alone. What is whole is no duration."""
    defaults = {field.name: field.default for field in dataclasses.fields(limits)}
    durations = {name: value / factor for name, value in defaults.items() if isinstance(value, float)}
    floors = {name: max(LEAST, value) for name, value in durations.items() if name in CALLS}
    limits.__init__.__kwdefaults__ = defaults | durations | floors


if __name__ == "__main__":
    factor = float(sys.argv.pop(1))
    for kind in (Limits, PlaneLimits):
        compress(kind, factor)
    from adapter.cli import main

    main()
