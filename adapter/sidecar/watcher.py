"""Who is told what runs do, to count it and to make traces of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.plane import Event
from adapter.run import RunResult
from adapter.sidecar.metrics import Metrics
from adapter.sidecar.tracing import Tracer


class MetricsAndTraces:
    """The `Watcher` of `adapter.sidecar.telling`."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics, self._tracer = metrics, tracer

    def began(self, run_id: str, attributes: Mapping[str, Any]) -> None:
        self._tracer.began(run_id, attributes)

    def event(self, run_id: str, event: Event) -> None:
        self._metrics.event(event)
        self._tracer.event(run_id, event)

    def log(self, run_id: str, size: int) -> None:
        self._metrics.log(size)

    def beat(self, run_id: str, late: float) -> None:
        self._metrics.beat(late)

    def ended(self, run_id: str, result: RunResult) -> None:
        self._metrics.result(result)
        self._tracer.ended(run_id, result)
