"""Traces, when they are asked for; and nothing of them when they are not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adapter.errors import Code
from adapter.plane import Event
from adapter.run import Outcome, RunResult
from adapter.sidecar.tracing import ENDPOINTS, NoTracer, OtelTracer, tracer_of


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENDPOINTS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def spans() -> Iterator[tuple[OtelTracer, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield OtelTracer(provider), exporter
    provider.shutdown()


def event(kind: str, message: str = "", **data: Any) -> Event:
    return Event(kind=kind, message=message, at=anyio.current_time(), data=data)


def ended(outcome: Outcome, code: Code = Code.OK) -> RunResult:
    return RunResult(run_id="r", outcome=outcome, code=code, message="so it ended", job="ck-r")


async def test_a_run_is_a_span_with_its_tasks_in_it(spans: tuple[OtelTracer, InMemorySpanExporter]) -> None:
    tracer, exporter = spans
    tracer.began("r", {"agent": "a", "pushed": False, "nothing": None})
    for kind, message, data in (
        ("task", "", {"task": "watch", "state": "began"}),
        ("job", "Job x created", {}),
        ("meta", "Job x", {"prompt": "secret"}),
        ("task", "", {"task": "watch", "state": "ended"}),
        ("task", "", {"task": "keepalive", "state": "began"}),
        ("task", "", {"task": "report", "state": "ended"}),
    ):
        tracer.event("r", event(kind, message, **data))
    tracer.event("another", event("job", "not ours"))
    tracer.ended("r", ended(Outcome.FAILED, Code.OOM_KILLED))
    tracer.ended("r", ended(Outcome.FAILED))
    watch, keepalive, run = exporter.get_finished_spans()
    assert (watch.name, keepalive.name, run.name) == ("watch", "keepalive", "run")
    assert run.context is not None
    assert all(one.parent and one.parent.span_id == run.context.span_id for one in (watch, keepalive))
    assert [(one.name, dict(one.attributes or {})) for one in run.events] == [("job", {"message": "Job x created"})]
    attributes = dict(run.attributes or {})
    assert attributes["claude_k8s.run_id"] == "r"
    assert attributes["claude_k8s.code"] == "oom_killed"
    assert (attributes["claude_k8s.pushed"], "claude_k8s.nothing" in attributes) == (False, False)
    assert (run.status.is_ok, run.status.description) == (False, "so it ended")
    assert (run.start_time or 0) <= (run.end_time or 0)
    assert (watch.start_time or 0) <= (watch.end_time or 0)


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.DETACHED])
async def test_what_was_meant_is_no_error(spans: tuple[OtelTracer, InMemorySpanExporter], outcome: Outcome) -> None:
    tracer, exporter = spans
    tracer.began("r", {})
    tracer.ended("r", ended(outcome))
    (run,) = exporter.get_finished_spans()
    assert run.status.is_ok or run.status.is_unset


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    """FastAPI brings OpenTelemetry's API, which does nothing; the SDK is what costs."""
    code = """if True:
        import sys
        from adapter.sidecar import tracing
        assert isinstance(tracing.tracer_of("i", "r"), tracing.NoTracer)
        assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_asked_for_and_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert isinstance(tracer_of("i", "r"), NoTracer)
    assert "claude-k8s-adapter[otel]" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "there"), [("true", False), ("false", True)])
async def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str, there: bool) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    tracer = tracer_of("i", "r")
    assert isinstance(tracer, OtelTracer) is there
    await tracer.aclose()
