"""What the service counts, for Prometheus; a registry of its own for each service."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from adapter._version import __version__
from adapter.plane import Event
from adapter.run import RunResult
from adapter.sidecar.views import State

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

LATE = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0)
LAG = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

MINUTE = 60.0


class Worst:
    """The largest value of the last minute: what a scrape each half minute cannot miss."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._falling: deque[tuple[float, float]] = deque()

    def note(self, value: float) -> None:
        """One more value. Those before it that are smaller can be the largest no more."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((self._clock(), value))

    def value(self) -> float:
        """The largest now; 0 where there was none."""
        while self._falling and self._falling[0][0] < self._clock() - MINUTE:
            self._falling.popleft()
        return self._falling[0][1] if self._falling else 0.0


class Metrics:
    """Everything that is counted. `text` is what is scraped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._info = self._gauge("info", "The service's version.", "version")
        self._info.labels(__version__).set(1)
        self._ready = self._gauge("ready", "1 if a run can be taken: the API server answers and is watched.")
        self._runs = self._gauge("runs", "Runs that are known, by state.", "state")
        self._readers = self._gauge("journal_readers", "Readers of runs' events.")
        self._results = self._counter("results", "Results of runs, by outcome and code.", "outcome", "code")
        self._events = self._counter("events", "What runs have told beside their logs, by kind.", "kind")
        self._log = self._counter("log_bytes", "Bytes of log that runs have delivered.")
        self._late = self._histogram("beat_late_seconds", "How late a beat was.", LATE)
        self._lag = self._histogram("loop_lag_seconds", "How late the event loop was.", LAG)
        self._plane = self._counter(
            "plane_requests", "Requests to control planes, by kind and answer.", "kind", "status"
        )
        self._plane_seconds = self._histogram("plane_request_seconds", "How long they took.", LATE, "kind")
        self._api = self._counter("api_problems", "Requests that failed for the API server's sake, by code.", "code")
        self.latest, self.lags = Worst(), Worst()
        self._gauge("beat_late_seconds_max", "The latest beat of the last minute.").set_function(self.latest.value)
        self._gauge("loop_lag_seconds_max", "The worst of the last minute.").set_function(self.lags.value)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"claude_k8s_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"claude_k8s_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"claude_k8s_{name}", text, labels, buckets=buckets, registry=self.registry)

    # -- what runs do ------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """An event of a run. Its own tasks' are for traces."""
        if event.kind != "task":
            self._events.labels(event.kind).inc()

    def log(self, size: int) -> None:
        """Bytes of log, delivered."""
        self._log.inc(size)

    def beat(self, late: float) -> None:
        """A beat, and how many seconds later than it was due."""
        self._late.observe(late)
        self.latest.note(late)

    def result(self, result: RunResult) -> None:
        """The end of a run here."""
        self._results.labels(result.outcome.value, result.code.value).inc()

    # -- what is around them -----------------------------------------------------------------------------------------

    def plane(self, kind: str, status: str, seconds: float) -> None:
        """A request to a control plane: what it was, its status or what went wrong, and how long it took."""
        self._plane.labels(kind, status).inc()
        self._plane_seconds.labels(kind).observe(seconds)

    def api_problem(self, code: str) -> None:
        """A request could not be served: the API server did not answer, not in time, or its answer was no."""
        self._api.labels(code).inc()

    def lagged(self, lag: float) -> None:
        """How many seconds late the event loop was, once."""
        self._lag.observe(lag)
        self.lags.note(lag)

    def reading(self, change: int) -> None:
        """A reader of events came (1), or went (-1)."""
        self._readers.inc(change)

    def text(self, states: Iterable[State], *, ready: bool) -> bytes:
        """Everything, in Prometheus' text format, with the states of all runs as they are now."""
        count = Tally(states)
        for state in State:
            self._runs.labels(state.value).set(count[state])
        self._ready.set(ready)
        return generate_latest(self.registry)


class Pulse:
    """Whether the event loop turns: a timer, and how late it comes."""

    def __init__(self, observe: Callable[[float], None], period: float = 0.25) -> None:
        self._observe, self._period = observe, period
        self._seen, self._lag = time.monotonic(), 0.0

    @property
    def lag(self) -> float:
        """How late the loop was when it was last looked at, or is now, in seconds."""
        return max(self._lag, time.monotonic() - self._seen - self._period)

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            self._seen = time.monotonic()
            await asyncio.sleep(self._period)
            self._lag = max(0.0, time.monotonic() - self._seen - self._period)
            self._observe(self._lag)
