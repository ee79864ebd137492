"""What is counted, and that it is right."""

from __future__ import annotations

import asyncio
import re
import time

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapter.errors import Code
from adapter.plane import Event
from adapter.run import Outcome, RunResult
from adapter.sidecar.metrics import Metrics, Pulse, Worst
from adapter.sidecar.tracing import NoTracer
from adapter.sidecar.views import State
from adapter.sidecar.watcher import MetricsAndTraces


def values(metrics: Metrics, *states: State, ready: bool = True) -> dict[str, float]:
    text = metrics.text(states, ready=ready).decode()
    return {
        f"{sample.name}{''.join(f' {name}={value}' for name, value in sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_runs_are_counted_by_state_as_they_are_now() -> None:
    metrics = Metrics()
    found = values(metrics, State.RUNNING, State.RUNNING, State.QUEUED)
    assert (found["claude_k8s_runs state=running"], found["claude_k8s_runs state=queued"]) == (2, 1)
    assert found["claude_k8s_ready"] == 1
    found = values(metrics, ready=False)
    assert (found["claude_k8s_runs state=running"], found["claude_k8s_ready"]) == (0, 0)


def test_what_runs_tell_is_counted() -> None:
    metrics = Metrics()
    watcher = MetricsAndTraces(metrics, NoTracer())
    watcher.began("r", {})
    for kind in ("job", "task", "log_gap", "log_gap"):
        watcher.event("r", Event(kind=kind, message="", at=0.0))
    watcher.log("r", 100)
    watcher.log("r", 11)
    watcher.beat("r", 0.0)
    watcher.beat("r", 2.0)
    watcher.ended("r", RunResult(run_id="r", outcome=Outcome.FAILED, code=Code.OOM_KILLED, message=""))
    metrics.plane("beat", "200", 0.02)
    metrics.plane("beat", "timeout", 10.0)
    metrics.api_problem("not_taken")
    metrics.reading(1)
    found = values(metrics)
    assert found["claude_k8s_events_total kind=log_gap"] == 2
    assert "claude_k8s_events_total kind=task" not in found
    assert found["claude_k8s_log_bytes_total"] == 111
    assert found["claude_k8s_results_total code=oom_killed outcome=failed"] == 1
    assert (found["claude_k8s_beat_late_seconds_count"], found["claude_k8s_beat_late_seconds_max"]) == (2, 2.0)
    assert found["claude_k8s_plane_requests_total kind=beat status=timeout"] == 1
    assert found["claude_k8s_plane_request_seconds_count kind=beat"] == 2
    assert found["claude_k8s_api_problems_total code=not_taken"] == 1
    assert found["claude_k8s_journal_readers"] == 1
    assert any(name.startswith("process_") for name in found)


def test_names_are_what_prometheus_wants() -> None:
    text = Metrics().text([], ready=True).decode()
    assert all(re.match(r"(# )|(claude_k8s_|process_)", line) for line in text.splitlines())


def test_the_worst_of_the_last_minute() -> None:
    now = 0.0
    worst = Worst(lambda: now)
    assert worst.value() == 0
    for now, value in ((0, 1.0), (10, 5.0), (20, 2.0), (30, 3.0)):  # noqa: B007 - it is the clock
        worst.note(value)
    assert worst.value() == 5.0
    now = 71
    assert worst.value() == 3.0
    now = 91
    assert worst.value() == 0


async def test_a_loop_that_does_not_turn_is_seen() -> None:
    seen: list[float] = []
    come = anyio.Event()

    def observe(lag: float) -> None:
        seen.append(lag)
        come.set()

    pulse = Pulse(observe, period=0.01)
    looking = asyncio.create_task(pulse.run())
    await come.wait()
    come = anyio.Event()
    time.sleep(0.1)  # noqa: ASYNC251 - this is what a loop does that does not turn
    assert pulse.lag >= 0.08, "it is late while it is, not only afterwards"
    await come.wait()
    assert max(seen) >= 0.08
    looking.cancel()
    await asyncio.wait([looking])


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_row(state: State) -> None:
    assert values(Metrics(), state)[f"claude_k8s_runs state={state}"] == 1
