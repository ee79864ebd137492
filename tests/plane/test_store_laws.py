"""Whatever is done to a store, and however often its process dies: it has what a plain list would have."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import zlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapter.plane import Position, Stream
from adapter.plane.store import Misfit, Store
from tests.plane.hands import chunk

T = TypeVar("T")

RUNS = ["a", "b/ü\n"]
ANY = st.sampled_from(RUNS)
SIZES = st.tuples(st.sampled_from([0, 0, 0, 0, -1, 5, 100]), st.sampled_from([0, 0, 3]), st.integers(0, 40))
STREAMS: st.SearchStrategy[Stream] = st.sampled_from(["stdout", "stderr"])
CHUNKS = st.lists(SIZES, min_size=1, max_size=8)


@dataclass
class Log:
    """One stream, as it should be: what was appended, where, and in which entry."""

    appended: list[tuple[int, int, bytes]] = field(default_factory=list)
    end: int = 0
    all: bytes = b""
    dropped: int = 0
    begun: bool = False


@dataclass
class Run:
    logs: dict[Stream, Log] = field(default_factory=lambda: {"stdout": Log(), "stderr": Log()})
    notes: dict[int, str] = field(default_factory=dict)
    seq: int = 0
    state: str = "running"


class Machine(RuleBasedStateMachine):
    """A store, beside what it should have."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.generation = 0
        self.runs = {run_id: Run() for run_id in RUNS}
        self.store = self.do(Store.open(self.path))
        for run_id in RUNS:
            assert self.do(self.store.create(run_id)) is True

    @property
    def path(self) -> Path:
        return self.directory / f"{self.generation}.db"

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    @rule(run_id=ANY)
    def create(self, run_id: str) -> None:
        assert self.do(self.store.create(run_id)) is False

    @rule(run_id=ANY, stream=STREAMS, chunks=CHUNKS, free=st.booleans())
    def append(self, run_id: str, stream: Stream, chunks: list[tuple[int, int, int]], free: bool) -> None:
        """Chunks: each begins so far from where it should, after such a gap, and has so many bytes."""
        for beside, gap, size in chunks:
            body = (b"%d|" % self.runs[run_id].seq * size)[:size]
            self.append_one(run_id, stream, beside, gap, body, free)

    def append_one(self, run_id: str, stream: Stream, beside: int, gap: int, body: bytes, free: bool) -> None:
        run = self.runs[run_id]
        log = run.logs[stream]
        offset = max(0, log.end + gap + beside)
        call = self.store.append(run_id, chunk(offset, body, stream=stream), gap=gap, free=free)
        if offset == log.end + gap or (free and not log.begun):
            assert self.do(call) == Position(offset + len(body), f"up to {offset + len(body)}")
            self.appended(run, log, offset, body, gap)
        else:
            with pytest.raises(Misfit) as refused:
                self.do(call)
            assert refused.value.position.offset == log.end

    def appended(self, run: Run, log: Log, offset: int, body: bytes, gap: int) -> None:
        if gap:
            run.seq += 1
            run.notes[run.seq] = "gap"
        if body:
            run.seq += 1
            log.appended.append((run.seq, offset, body))
        log.begun, log.end, log.all = True, offset + len(body), log.all + body

    @rule(run_id=ANY)
    def note(self, run_id: str) -> None:
        run = self.runs[run_id]
        run.seq += 1
        assert self.do(self.store.note(run_id, "event", {"text": "\ud800"})) == run.seq
        run.notes[run.seq] = "event"

    @rule(run_id=ANY, keep=st.integers(0, 30))
    def trim(self, run_id: str, keep: int) -> None:
        run = self.runs[run_id]
        self.do(self.store.trim(run_id, keep))
        while sum(len(body) for log in run.logs.values() for _, _, body in log.appended) > keep:
            oldest = min((log for log in run.logs.values() if log.appended), key=lambda log: log.appended[0][0])
            oldest.dropped += len(oldest.appended.pop(0)[2])

    @rule(run_id=ANY, state=st.sampled_from(["succeeded", "failed"]))
    def finish(self, run_id: str, state: str) -> None:
        run = self.runs[run_id]
        assert self.do(self.store.finish(run_id, state, {"state": state})) is (run.state == "running")
        run.state = state if run.state == "running" else run.state

    @rule(run_id=ANY)
    def forget(self, run_id: str) -> None:
        self.do(self.store.forget(run_id))
        assert self.do(self.store.row(run_id)) is None
        assert self.do(self.store.create(run_id)) is True
        del self.runs[run_id]
        self.runs[run_id] = Run()

    @rule()
    def close_and_open(self) -> None:
        self.do(self.store.close())
        self.store = self.do(Store.open(self.path))

    @rule()
    def die(self) -> None:
        """What `kill -9` leaves: the files as they are while the store is open."""
        before = self.path
        self.generation += 1
        for suffix in ("", "-wal"):
            shutil.copy(f"{before}{suffix}", f"{self.path}{suffix}")
        self.do(self.store.close())
        self.store = self.do(Store.open(self.path))

    @invariant()
    def it_has_what_it_should(self) -> None:
        assert [row.run_id for row in self.do(self.store.rows())] == list(self.runs)
        for run_id, run in self.runs.items():
            row = self.do(self.store.row(run_id))
            assert row is not None
            assert row.state == run.state
            assert self.entries(run_id) == self.expected(run)
            for stream, log in run.logs.items():
                self.check_log(run_id, stream, log)

    def entries(self, run_id: str) -> list[tuple[int, str, int, bytes]]:
        """Read page by page, each as small as can be."""
        read: list[tuple[int, str, int, bytes]] = []
        while page := self.do(self.store.entries(run_id, read[-1][0] if read else 0, 30)):
            read += [(entry.seq, entry.stream or entry.kind, entry.offset, entry.body) for entry in page]
        return read

    def expected(self, run: Run) -> list[tuple[int, str, int, bytes]]:
        logs = [(seq, stream, at, body) for stream, log in run.logs.items() for seq, at, body in log.appended]
        return sorted([*logs, *((seq, kind, 0, b"") for seq, kind in run.notes.items())])

    def check_log(self, run_id: str, stream: Stream, log: Log) -> None:
        row = self.do(self.store.log_row(run_id, stream))
        assert (row is not None) is log.begun
        if row:
            assert (row.offset, row.cursor, row.crc) == (log.end, f"up to {log.end}", zlib.crc32(log.all))
            assert (row.dropped, row.kept) == (log.dropped, sum(len(body) for _, _, body in log.appended))
            assert all(at >= row.begin for _, at, _ in log.appended)
        for start in {0, max(0, log.end - 7)}:
            kept = b"".join(body[max(0, start - at) :] for _, at, body in log.appended)
            assert self.do(self.store.log(run_id, stream, start, 1000)) == kept
            assert self.do(self.store.log(run_id, stream, start, 9)) == kept[:9]


TestStore = Machine.TestCase
TestStore.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
