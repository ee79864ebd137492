"""OpenTelemetry traces: a span for each run, and one in it for each of its tasks and steps.

Nothing of OpenTelemetry is imported unless `OTEL_EXPORTER_OTLP_ENDPOINT` says where to.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import structlog

from adapter._version import __version__
from adapter.plane import Event
from adapter.run import Outcome, RunResult

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = structlog.get_logger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

FLUSH = 1.0
"""Seconds that the last spans may take on their way out: the service is about to end."""

UNTOLD = frozenset({"task", "meta"})
"""Kinds of events that are no words about a run: its tasks, which are spans, and its prompt, which is its own."""


class Tracer(Protocol):
    """Who is told of runs, to make traces of them."""

    def began(self, run_id: str, attributes: Mapping[str, Any]) -> None:
        """A run is looked after from now on."""

    def event(self, run_id: str, event: Event) -> None:
        """Something that it has told."""

    def ended(self, run_id: str, result: RunResult) -> None:
        """It is not looked after any more."""

    async def aclose(self) -> None:
        """Hands out what was not yet handed out, for a moment."""


class NoTracer:
    """Nobody wants traces."""

    def began(self, run_id: str, attributes: Mapping[str, Any]) -> None: ...
    def event(self, run_id: str, event: Event) -> None: ...
    def ended(self, run_id: str, result: RunResult) -> None: ...
    async def aclose(self) -> None: ...


@dataclass(slots=True)
class _Trace:
    """One run's open spans."""

    span: Span
    tasks: dict[str, Span] = field(default_factory=dict)


class OtelTracer:
    """Makes spans of what it is told. `provider` is its own: nobody else's spans go where these do."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("claude-k8s-adapter", __version__)
        self._runs: dict[str, _Trace] = {}

    def began(self, run_id: str, attributes: Mapping[str, Any]) -> None:
        plain = {f"claude_k8s.{name}": value for name, value in attributes.items() if value is not None}
        self._runs[run_id] = _Trace(self._tracer.start_span("run", attributes={"claude_k8s.run_id": run_id, **plain}))

    def event(self, run_id: str, event: Event) -> None:
        trace = self._runs.get(run_id)
        if trace is None:
            return
        if event.kind == "task":
            self._task(trace, event.data["task"], event.data["state"], _unix(event.at))
        elif event.kind not in UNTOLD:
            trace.span.add_event(event.kind, {"message": event.message}, _unix(event.at))

    def _task(self, trace: _Trace, task: str, state: str, at: int) -> None:
        from opentelemetry.trace import set_span_in_context

        if state == "began":
            within = set_span_in_context(trace.span)
            trace.tasks[task] = self._tracer.start_span(task, within, start_time=at)
        elif span := trace.tasks.pop(task, None):
            span.end(at)

    def ended(self, run_id: str, result: RunResult) -> None:
        from opentelemetry.trace import StatusCode

        trace = self._runs.pop(run_id, None)
        if trace is None:
            return
        for span in trace.tasks.values():
            span.end()
        said = {
            "outcome": result.outcome.value,
            "code": result.code.value,
            "job": result.job or "",
            "pod": result.pod or "",
        }
        trace.span.set_attributes({f"claude_k8s.{name}": text for name, text in said.items() if text})
        if result.outcome not in (Outcome.SUCCEEDED, Outcome.DETACHED, Outcome.CANCELLED):
            trace.span.set_status(StatusCode.ERROR, result.message)
        trace.span.end()

    async def aclose(self) -> None:
        over = anyio.Event()
        loop = asyncio.get_running_loop()
        # A daemon: the process would wait for a thread of a pool, and an exporter can be patient.
        threading.Thread(target=self._flush, args=(loop, over), daemon=True).start()
        with anyio.move_on_after(FLUSH, shield=True):
            await over.wait()

    def _flush(self, loop: asyncio.AbstractEventLoop, over: anyio.Event) -> None:
        try:
            self._provider.shutdown()
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(over.set)


def tracer_of(instance: str, replica: str) -> Tracer:
    """The tracer that the environment asks for. Where it cannot be had, that is said, and the service runs without."""
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NoTracer()
    try:
        return OtelTracer(_provider(instance, replica))
    except ImportError as error:
        hint = "pip install 'claude-k8s-adapter[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT"
        log.error("tracing.not_installed", error=str(error), hint=hint)
        return NoTracer()


def _provider(instance: str, replica: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME") or "claude-k8s"
    about = {"service.name": name, "service.version": __version__, "service.instance.id": replica}
    provider = TracerProvider(
        resource=Resource.create({**about, "claude_k8s.instance": instance}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _unix(at: float) -> int:
    """The event loop's clock as nanoseconds of Unix time."""
    return time.time_ns() - int((anyio.current_time() - at) * 1e9)
