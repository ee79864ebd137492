"""The store keeps law 3 for whoever stands on it: every byte of a log once, in order, or a gap that is said."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from adapter.plane import LogChunk, Position, Stream, store_schema
from adapter.plane.store import PROCESS_LOST, Misfit, Store, StoreError, UnknownRun
from tests.plane.hands import Hands, chunk

RUN = "a run/with%any?id"


@pytest.fixture
async def store(tmp_path: Path, hands: Hands) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db", clock=hands, now=hands)
    await opened.create(RUN)
    yield opened
    await opened.close()


async def test_a_run_is_made_once_and_stays_as_it_was(store: Store) -> None:
    before = await store.row(RUN)

    assert await store.create(RUN, b"another document") is False
    assert await store.row(RUN) == before
    assert before is not None
    assert (before.state, before.cancel, before.result, before.document) == ("running", None, None, b"")


async def test_runs_are_in_the_order_in_which_they_were_made(store: Store) -> None:
    await store.create("2", b"{}")
    await store.create("1")

    assert [(row.run_id, row.document) for row in await store.rows()] == [(RUN, b""), ("2", b"{}"), ("1", b"")]


async def test_an_append_is_kept_with_its_cursor(store: Store) -> None:
    assert await store.position(RUN, "stdout") is None

    assert await store.append(RUN, chunk(0, b"one\n")) == Position(4, "up to 4")
    assert await store.append(RUN, chunk(4, b"two\n")) == Position(8, "up to 8")

    assert await store.position(RUN, "stdout") == Position(8, "up to 8")
    assert await store.log(RUN, "stdout", 0, 100) == b"one\ntwo\n"
    assert await store.crc(RUN, "stdout") == zlib.crc32(b"one\ntwo\n")
    assert await store.position(RUN, "stderr") is None


@pytest.mark.parametrize("offset", [0, 3, 5])
async def test_an_append_that_does_not_fit_changes_nothing(store: Store, offset: int) -> None:
    await store.append(RUN, chunk(0, b"one\n"))

    with pytest.raises(Misfit) as refused:
        await store.append(RUN, chunk(offset, b"two\n"))

    assert refused.value.position == Position(4, "up to 4")
    assert await store.log(RUN, "stdout", 0, 100) == b"one\n"
    assert len(await store.entries(RUN, 0, 1000)) == 1


async def test_the_first_append_begins_at_0_unless_it_is_free(store: Store) -> None:
    with pytest.raises(Misfit) as refused:
        await store.append(RUN, chunk(7, b"one\n"))
    assert refused.value.position == Position(0, "")

    await store.append(RUN, chunk(7, b"one\n"), free=True)
    assert await store.pieces(RUN, "stdout", 0, 100) == [(7, b"one\n")]

    with pytest.raises(Misfit):  # only the first is free
        await store.append(RUN, chunk(99, b"two\n"), free=True)


async def test_a_gap_is_said_and_counted_but_has_no_bytes(store: Store) -> None:
    await store.append(RUN, chunk(0, b"one\n"))
    await store.append(RUN, chunk(10, b"two\n"), gap=6)

    assert await store.log(RUN, "stdout", 0, 100) == b"one\ntwo\n"
    assert await store.pieces(RUN, "stdout", 2, 100) == [(2, b"e\n"), (10, b"two\n")]
    assert await store.pieces(RUN, "stdout", 6, 2) == [(10, b"tw")]
    assert await store.crc(RUN, "stdout") == zlib.crc32(b"one\ntwo\n")
    (said,) = await store.entries(RUN, 0, 1000, log=False)
    assert (said.kind, said.data) == ("gap", {"stream": "stdout", "offset": 10, "bytes": 6})


async def test_a_gap_that_is_not_as_long_as_it_says_does_not_fit(store: Store) -> None:
    await store.append(RUN, chunk(0, b"one\n"))

    with pytest.raises(Misfit):
        await store.append(RUN, chunk(10, b"two\n"), gap=5)
    with pytest.raises(ValueError, match="negative"):
        await store.append(RUN, chunk(2, b"two\n"), gap=-2)


async def test_an_append_without_bytes_moves_the_cursor_alone(store: Store) -> None:
    await store.append(RUN, chunk(0, b"one\n"))
    await store.append(RUN, LogChunk(offset=4, data=b"", cursor="later", stamp=""))

    assert await store.position(RUN, "stdout") == Position(4, "later")
    assert len(await store.entries(RUN, 0, 1000)) == 1


async def test_entries_come_in_order_up_to_a_size_and_one_at_least(store: Store) -> None:
    await store.append(RUN, chunk(0, b"x" * 500))
    await store.note(RUN, "event", {"message": "between"})
    await store.append(RUN, chunk(0, b"y" * 500, stream="stderr", continued=True))

    assert [entry.seq for entry in await store.entries(RUN, 0, 10)] == [1]
    assert [entry.seq for entry in await store.entries(RUN, 0, 700)] == [1, 2]
    assert [entry.seq for entry in await store.entries(RUN, 0, 10_000)] == [1, 2, 3]
    assert await store.entries(RUN, 3, 10_000) == []
    (last,) = await store.entries(RUN, 2, 1)
    assert (last.kind, last.stream, last.offset, last.body) == ("log", "stderr", 0, b"y" * 500)
    assert last.data == {"stamp": "stamp", "continued": True}


async def test_log_is_not_noted(store: Store) -> None:
    with pytest.raises(ValueError, match="appended"):
        await store.note(RUN, "log", {})


async def test_trimming_drops_the_oldest_and_remembers_how_much(store: Store) -> None:
    streams: tuple[Stream, ...] = ("stdout", "stderr", "stdout", "stderr")
    for number, stream in enumerate(streams):
        await store.append(RUN, chunk(10 * (number // 2), b"%d" % number * 10, stream=stream))
    await store.note(RUN, "event", {})

    await store.trim(RUN, 40)
    assert len(await store.entries(RUN, 0, 1000)) == 5

    await store.trim(RUN, 15)
    out, err = await store.log_row(RUN, "stdout"), await store.log_row(RUN, "stderr")
    assert out is not None
    assert err is not None
    assert (out.begin, out.offset, out.kept, out.dropped) == (20, 20, 0, 20)
    assert (err.begin, err.offset, err.kept, err.dropped) == (10, 20, 10, 10)
    assert out.crc == zlib.crc32(b"0" * 10 + b"2" * 10)
    assert await store.log(RUN, "stderr", 0, 100) == b"3" * 10
    assert [entry.seq for entry in await store.entries(RUN, 0, 1000)] == [4, 5]

    await store.append(RUN, chunk(20, b"more\n"))
    assert [entry.seq for entry in await store.entries(RUN, 5, 1000)] == [6]


async def test_a_run_that_was_forgotten_is_another_one_when_it_comes_again(store: Store) -> None:
    await store.append(RUN, chunk(0, b"one\n"))
    before = await store.row(RUN)
    await store.forget(RUN)
    assert await store.row(RUN) is None
    assert await store.entries(RUN, 0, 1000) == []
    assert await store.log(RUN, "stdout", 0, 100) == b""

    await store.create(RUN)

    after = await store.row(RUN)
    assert before is not None
    assert after is not None
    assert before.epoch != after.epoch
    assert await store.position(RUN, "stdout") is None
    assert await store.note(RUN, "event", {}) == 1


async def test_forgetting_gives_disk_space_back(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await Store.open(path)
    await store.create(RUN)
    await store.append(RUN, chunk(0, b"x" * 8_000_000))
    await store.forget(RUN)
    await store.close()

    assert path.stat().st_size < 200_000


async def test_nothing_is_written_to_a_run_that_is_not_there(store: Store) -> None:
    writes: list[Callable[[], object]] = [
        lambda: store.append("none", chunk(0, b"x")),
        lambda: store.note("none", "event", {}),
        lambda: store.touch("none"),
        lambda: store.ask_cancel("none", "why"),
        lambda: store.finish("none", "failed", None),
    ]
    for write in writes:
        with pytest.raises(UnknownRun, match="none"):
            await write()  # type: ignore[misc]  # all of them are awaitable
    await store.trim("none", 0)
    await store.forget("none")


async def test_the_end_comes_once(store: Store) -> None:
    assert await store.ask_cancel(RUN, "first") is True
    assert await store.ask_cancel(RUN, "second") is True
    assert await store.finish(RUN, "cancelled", {"outcome": "cancelled"}) is True
    ended = await store.row(RUN)

    assert await store.finish(RUN, "succeeded", {"outcome": "succeeded"}) is False
    assert await store.ask_cancel(RUN, "third") is False
    await store.touch(RUN)

    assert await store.row(RUN) == ended
    assert ended is not None
    assert (ended.state, ended.cancel, ended.result) == ("cancelled", "first", {"outcome": "cancelled"})
    with pytest.raises(ValueError, match="running"):
        await store.finish(RUN, "running", None)


async def test_a_run_that_is_over_still_takes_log_but_is_not_alive_by_it(store: Store, hands: Hands) -> None:
    await store.finish(RUN, "failed", None)
    ended = await store.row(RUN)
    hands.forward(10)

    await store.append(RUN, chunk(0, b"last words\n"))
    await store.note(RUN, "event", {})

    assert await store.log(RUN, "stdout", 0, 100) == b"last words\n"
    assert await store.row(RUN) == ended


SIGNS: dict[str, Callable[[Store], object]] = {
    "touch": lambda store: store.touch(RUN),
    "note": lambda store: store.note(RUN, "event", {}),
    "append": lambda store: store.append(RUN, chunk(0, b"one\n")),
}


@pytest.mark.parametrize("sign", SIGNS)
async def test_each_sign_of_life_counts(store: Store, hands: Hands, sign: str) -> None:
    assert await hands.reaped(store, 290) == []
    await SIGNS[sign](store)  # type: ignore[misc]  # all of them are awaitable

    assert await hands.reaped(store, 290) == []
    assert await hands.reaped(store, 30) == [RUN]
    row = await store.row(RUN)
    assert row is not None
    assert (row.state, row.finished) == (PROCESS_LOST, hands.time)
    assert await hands.reaped(store, 3000) == []


async def test_the_time_that_the_store_was_closed_is_not_counted(tmp_path: Path) -> None:
    hands = Hands()
    store = await Store.open(tmp_path / "store.db", clock=hands, now=hands)
    await store.create(RUN)
    assert await hands.reaped(store, 290) == []
    await store.close()
    hands.forward(86_400)

    store = await Store.open(tmp_path / "store.db", clock=hands, now=hands)
    assert await hands.reaped(store, 290) == []
    assert await hands.reaped(store, 30) == [RUN]
    await store.close()


async def test_the_time_that_the_process_stood_still_is_not_counted(store: Store, hands: Hands) -> None:
    assert await hands.reaped(store, 290) == []
    hands.forward(86_400)  # a laptop's lid; a process that was stopped

    assert await store.reap(300) == []
    assert await hands.reaped(store, 290) == []
    assert await hands.reaped(store, 30) == [RUN]


async def test_a_wall_clock_that_jumps_loses_nobody(tmp_path: Path) -> None:
    hands, wall = Hands(), Hands()
    store = await Store.open(tmp_path / "store.db", clock=hands, now=wall)
    await store.create(RUN)
    wall.forward(86_400)

    assert await hands.reaped(store, 290) == []
    await store.close()


async def test_a_cancelled_call_has_happened_or_not_and_the_next_one_sees_which(store: Store, hands: Hands) -> None:
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def held() -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait()

    hands.meanwhile = held
    begun = asyncio.create_task(store.append(RUN, chunk(0, b"one\n")))
    await entered.wait()
    waiting = asyncio.create_task(store.append(RUN, chunk(4, b"two\n")))
    await asyncio.sleep(0)
    begun.cancel()
    waiting.cancel()
    assert [type(one) for one in await asyncio.gather(begun, waiting, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
    ]
    seeing = asyncio.create_task(store.position(RUN, "stdout"))
    release.set()

    assert await seeing == Position(4, "up to 4")
    await store.append(RUN, chunk(4, b"two\n"))


async def test_opening_that_is_cancelled_leaves_the_file_to_others(tmp_path: Path) -> None:
    opening = asyncio.create_task(Store.open(tmp_path / "store.db"))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    await (await Store.open(tmp_path / "store.db")).close()


async def test_a_predecessor_that_was_just_ending_was_taken_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not wait where it sees that waiting could be for ever."""
    prepare, busy = store_schema._prepare, iter([sqlite3.OperationalError("database is locked")])

    def once(db: sqlite3.Connection, path: Path) -> None:
        for error in busy:
            raise error
        prepare(db, path)

    monkeypatch.setattr(store_schema, "_prepare", once)
    await (await Store.open(tmp_path / "store.db")).close()


async def test_two_that_opened_a_store_at_once_waited_for_each_other_and_both_gave_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, meeting = store_schema._check, threading.Barrier(2)

    def together(db: sqlite3.Connection, path: Path) -> None:
        check(db, path)
        with suppress(threading.BrokenBarrierError):  # they meet once
            meeting.wait(2)
            meeting.abort()

    async def opened() -> None:
        await (await Store.open(tmp_path / "store.db")).close()

    monkeypatch.setattr(store_schema, "_check", together)
    await asyncio.gather(opened(), opened())


async def test_a_closed_store_says_so_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    store = await Store.open(tmp_path / "store.db")
    await store.close()
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await store.rows()
    assert set(threading.enumerate()) <= before


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store.db")
    await store.create(RUN, b"a token")

    assert _modes(tmp_path) == {"store.db": 0o600, "store.db-wal": 0o600}
    await store.close()


def _modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


async def test_two_processes_do_not_share_a_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.plane.store_schema.PATIENCE", 0)

    with pytest.raises(StoreError, match=r"store\.db: another process has it open"):
        await Store.open(tmp_path / "store.db")


async def test_the_file_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await Store.open(path)).close()
    with _database(path) as db:
        db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="later version"):
        await Store.open(path)
    assert path.read_bytes() == before


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with _database(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another program"):
        await Store.open(path)
    assert path.read_bytes() == before


class _database:  # noqa: N801 - used as a function
    """A database that is closed afterwards, which sqlite3's own context manager does not do."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)

    def __enter__(self) -> sqlite3.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.commit()
        self._db.close()


@pytest.mark.parametrize(
    ("name", "why"), [("text", "not a database"), ("none/store.db", "No such file"), (".", "Is a directory")]
)
async def test_what_cannot_be_opened_is_named_with_its_cause(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "text").write_text("hello " * 1000)

    with pytest.raises(StoreError, match=why) as refused:
        await Store.open(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)


async def test_a_full_disk_is_an_error_and_leaves_nothing_half(store: Store) -> None:
    await store.append(RUN, chunk(0, b"one\n"))
    await store._do(lambda: store._tables._db.execute("PRAGMA max_page_count = 40").close())

    with pytest.raises(StoreError, match="full"):
        await store.append(RUN, chunk(10, b"x" * 1_000_000), gap=6)

    assert await store.position(RUN, "stdout") == Position(4, "up to 4")
    assert await store.entries(RUN, 1, 1000) == []
    await store.append(RUN, chunk(4, b"two\n"))


WRITER = """
import asyncio, sys
from pathlib import Path
from adapter.plane import LogChunk
from adapter.plane.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    await store.create("run")
    position = await store.position("run", "stdout")
    at = position.offset if position else 0
    while True:
        data = b"%09d\\n" % at * (1 + at % 7)
        cursor = f"up to {at + len(data)}"
        at = (await store.append("run", LogChunk(offset=at, data=data, cursor=cursor, stamp=""))).offset
        print(at, flush=True)

asyncio.run(main())
"""


def _written(size: int) -> bytes:
    log = b""
    while len(log) < size:
        log += b"%09d\n" % len(log) * (1 + len(log) % 7)
    return log


def _killed(path: Path, lines: int) -> int:
    """Lets a process append until it has said so often where the log ends, and kills it; the last that it said."""
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(lines)]
        child.kill()
    return acknowledged[-1]


@pytest.mark.parametrize("kills", [(1, 1, 1), (40, 7, 500)])
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, kills: tuple[int, ...]) -> None:
    path = tmp_path / "store.db"
    for lines in kills:
        acknowledged = await asyncio.to_thread(_killed, path, lines)
        store = await Store.open(path)
        position = await store.position("run", "stdout")
        assert position is not None
        assert position.offset >= acknowledged
        assert position.cursor == f"up to {position.offset}"
        log = await store.log("run", "stdout", 0, 1 << 30)
        assert log == _written(position.offset)
        assert await store.crc("run", "stdout") == zlib.crc32(log)
        await store.close()
