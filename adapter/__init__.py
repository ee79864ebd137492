"""Runs coding agents as Kubernetes Jobs: one run, one task group; no stream outlives its Job."""

from typing import TYPE_CHECKING, Any

from adapter._version import __version__
from adapter.errors import AdapterError, Code, ConnectError, InvalidRequest
from adapter.limits import Limits
from adapter.plane import Beat, Event, LogChunk, Plane, Position
from adapter.plane.callbacks import CallbackPlane
from adapter.run import LogSummary, Outcome, RunRequest, RunResult

if TYPE_CHECKING:
    from adapter.service import Adapter


def __getattr__(name: str) -> Any:
    """The adapter itself is imported when it is first asked for: it is four fifths of what there is to import."""
    if name != "Adapter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from adapter.service import Adapter

    return Adapter


__all__ = [
    "Adapter",
    "AdapterError",
    "Beat",
    "CallbackPlane",
    "Code",
    "ConnectError",
    "Event",
    "InvalidRequest",
    "Limits",
    "LogChunk",
    "LogSummary",
    "Outcome",
    "Plane",
    "Position",
    "RunRequest",
    "RunResult",
    "__version__",
]
