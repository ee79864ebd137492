"""Runs coding agents as Kubernetes Jobs: one run, one task group; no stream outlives its Job."""

from adapter._version import __version__
from adapter.errors import AdapterError, Code, ConnectError, InvalidRequest
from adapter.limits import Limits
from adapter.plane import Beat, Event, LogChunk, Plane, Position
from adapter.plane.callbacks import CallbackPlane
from adapter.run import LogSummary, Outcome, RunRequest, RunResult
from adapter.service import Adapter

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
