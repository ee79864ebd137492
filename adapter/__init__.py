"""Runs coding agents as Kubernetes Jobs: one run, one task group; no stream outlives its Job."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adapter._version import __version__
from adapter.errors import AdapterError, Code, ConnectError, InvalidRequest
from adapter.limits import Limits
from adapter.plane import Beat, Event, LogChunk, Plane, Position
from adapter.plane.callbacks import CallbackPlane
from adapter.run import LogSummary, Outcome, RunRequest, RunResult

if TYPE_CHECKING:
    from adapter.agent.config import AgentConfig
    from adapter.agent.context import RunContext
    from adapter.agent.execution import execution_result
    from adapter.plane.http import HttpPlane
    from adapter.service import Adapter

_LATER = {
    "Adapter": "adapter.service",
    "AgentConfig": "adapter.agent.config",
    "HttpPlane": "adapter.plane.http",
    "RunContext": "adapter.agent.context",
    "execution_result": "adapter.agent.execution",
}


def __getattr__(name: str) -> Any:
    """What is heavy is imported when it is first asked for: it is nine tenths of what there is to import."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


__all__ = [
    "Adapter",
    "AdapterError",
    "AgentConfig",
    "Beat",
    "CallbackPlane",
    "Code",
    "ConnectError",
    "Event",
    "HttpPlane",
    "InvalidRequest",
    "Limits",
    "LogChunk",
    "LogSummary",
    "Outcome",
    "Plane",
    "Position",
    "RunContext",
    "RunRequest",
    "RunResult",
    "__version__",
    "execution_result",
]
