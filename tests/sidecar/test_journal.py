"""One run's journal: what is written is read, by anybody, at any time, after anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zlib import crc32

import anyio
import pytest

from adapter.plane import Beat, Event
from adapter.plane.store import Store
from adapter.sidecar.errors import BadCursor
from adapter.sidecar.journal import Journal
from tests.sidecar.serving import KEEP, chunk, result, stored


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with stored(tmp_path) as opened:
        yield opened


async def journal_of(store: Store, run_id: str = "r", keep: int = KEEP, ping: float = 15.0) -> Journal:
    await store.create(run_id)
    row = await store.row(run_id)
    assert row is not None
    return Journal(store, run_id, row.epoch, keep=keep, ping=ping)


def event(kind: str, message: str = "", **data: Any) -> Event:
    return Event(kind=kind, message=message, at=anyio.current_time(), data=data)


async def end(journal: Journal, execution: dict[str, Any] | None = None) -> None:
    await journal.result(result("r").to_json(), execution)


async def lines(journal: Journal, after: str | None = None) -> list[dict[str, Any]]:
    return [line async for line in journal.read(after)]


def text(told: list[dict[str, Any]], stream: str = "stdout") -> str:
    return "".join(line["text"] for line in told if line["type"] == "log" and line["stream"] == stream)


async def test_everything_is_read_in_the_order_in_which_it_was_written(store: Store) -> None:
    journal = await journal_of(store)
    await journal.event(event("job", "Job x created", job="x"))
    await journal.event(event("task", "watch began", task="watch", state="began"))
    await journal.event(event("meta", "Job x", prompt="do it"))
    await journal.log(chunk(b"out\n"))
    await journal.log(chunk(b"err\n", stream="stderr"))
    await end(journal, {"exitCode": 0})
    job, meta, out, err, last = await lines(journal)
    assert (job["type"], job["kind"], job["message"], job["data"]) == ("event", "job", "Job x created", {"job": "x"})
    assert (meta["type"], meta["data"]) == ("meta", {"prompt": "do it"})
    assert (out["stream"], out["text"], out["continued"], err["stream"]) == ("stdout", "out\n", False, "stderr")
    assert (last["type"], last["result"]["outcome"], last["execution"]) == ("result", "succeeded", {"exitCode": 0})
    heads = (crc32(b"out\n"), crc32(b"err\n"))
    assert last["cursor"] == "{}.4.4.4.{:x}.{:x}".format(journal._epoch, *heads)


async def test_it_survives_a_process_that_comes_back_to_the_same_file(tmp_path: Path) -> None:
    async with stored(tmp_path) as store:
        journal = await journal_of(store)
        await journal.log(chunk(b"one\n"))
        (reader, seen) = await begun(journal)
        await reader.aclose()
    async with stored(tmp_path) as store:
        journal = await journal_of(store)
        assert await journal.position("stdout") is not None
        await journal.log(chunk(b"one\ntwo\n"))  # from the beginning: what it has is skipped
        await end(journal)
        told = await lines(journal, seen["cursor"])
        assert text(told) == "two\n"
    async with stored(tmp_path) as store:
        journal = await journal_of(store)
        await end(journal)  # reported once more, after a crash before the Job was marked
        told = await lines(journal)
        assert (text(told), [line["type"] for line in told]) == ("one\ntwo\n", ["log", "log", "result"])


async def begun(journal: Journal, after: str | None = None) -> tuple[Any, dict[str, Any]]:
    """A reader, and the first line that it was given."""
    reader: Any = journal.read(after)
    return reader, await anext(reader)


async def test_a_reader_waits_for_what_comes_and_hears_beats_as_they_are(store: Store) -> None:
    journal = await journal_of(store)
    journal.beat(Beat(run_id="r", phase="launch", observed_ago=None))  # before anybody read: no news
    await journal.log(chunk(b"one\n"))
    reader, first = await begun(journal)
    assert first["text"] == "one\n"
    coming = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    journal.beat(Beat(run_id="r", phase="watch", observed_ago=1.5))
    beat = await coming
    assert (beat["type"], beat["phase"], beat["observedAgo"], beat["cursor"]) == ("beat", "watch", 1.5, first["cursor"])
    coming = asyncio.create_task(anext(reader))
    await journal.log(chunk(b"two\n", 4))
    assert (await coming)["text"] == "two\n"
    coming = asyncio.create_task(anext(reader))
    await end(journal)
    assert (await coming)["type"] == "result"
    assert [line async for line in reader] == []


async def test_silence_is_broken_by_a_ping(store: Store) -> None:
    journal = await journal_of(store, ping=0.01)
    reader, first = await begun(journal)
    assert first == {"type": "ping"}
    await reader.aclose()


async def test_bye_ends_every_reader_at_once_whatever_it_has_not_read(store: Store) -> None:
    journal = await journal_of(store)
    await journal.log(chunk(b"one\n"))
    reader, first = await begun(journal)
    waiting = asyncio.create_task(anext(reader))
    await journal.log(chunk(b"two\n", 4))
    await waiting
    waiting = asyncio.create_task(anext(reader))
    journal.bye("gone for lunch")
    bye = await waiting
    assert (bye["type"], bye["message"]) == ("bye", "gone for lunch")
    assert [line["type"] for line in await lines(journal, first["cursor"])] == ["bye"]
    assert [line async for line in reader] == []


async def test_who_reads_is_counted_and_when_the_last_one_left_is_known(store: Store) -> None:
    journal = await journal_of(store)
    began = journal.last_read
    await journal.log(chunk(b"one\n"))
    assert journal.readers == 0
    reader, _ = await begun(journal)
    other, _ = await begun(journal)
    assert journal.readers == 2
    await reader.aclose()
    await other.aclose()
    assert (journal.readers, journal.last_read > began) == (0, True)


async def test_a_garbled_cursor_is_refused_before_anything_is_read(store: Store) -> None:
    with pytest.raises(BadCursor):
        (await journal_of(store)).read("what")


async def test_a_journal_that_was_lost_goes_on_where_the_reader_is(store: Store) -> None:
    """Another epoch: everything from the beginning, but of the log only what is new, cut where need be."""
    journal = await journal_of(store)
    await journal.event(event("job", "Job x adopted"))
    await journal.log(chunk(b"one\ntwo\n"))
    await journal.log(chunk(b"err\n", stream="stderr"))
    await end(journal)
    told = await lines(journal, "another-epoch.900.6.4")
    assert [line["type"] for line in told] == ["event", "log", "result"]
    assert (told[1]["offset"], told[1]["text"]) == (6, "o\n")


async def test_a_reader_of_another_journal_was_not_told_that_the_log_was_rotated_before_this_one(store: Store) -> None:
    """What the one had counted was skipped by the other, which had begun to count where the kubelet still had log."""
    one = await journal_of(store, "one")
    await one.log(chunk(b"first\nsecond\nthird\n"))
    _, line = await begun(one)
    two = await journal_of(store, "two")
    await two.log(chunk(b"third\n"))
    await two.event(event("job", "Job x adopted"))
    await end(two)
    _, missed, log, last = await lines(two, line["cursor"])
    assert ("rotated" in missed["message"], log["text"], last["type"]) == (True, "third\n", "result")
    await two.log(chunk(b"fourth\n", 6))
    assert text(await lines(two, log["cursor"])) == "fourth\n"


async def test_a_journal_that_begins_above_the_reader_says_what_is_missing(store: Store) -> None:
    """A replica that took the run over was told where its control plane's log ends, and begins there."""
    journal = await journal_of(store)
    await journal.log(chunk(b"three\n", 100))
    await end(journal)
    missed, log, _ = await lines(journal, "another-epoch.3.40.0")
    assert (missed["type"], missed["bytes"], log["offset"]) == ("missed", 60, 100)


async def test_what_was_trimmed_before_it_was_read_is_missed(store: Store) -> None:
    journal = await journal_of(store, keep=4000)
    await journal.event(event("job", "Job x created"))
    await journal.log(chunk(b"x" * 999 + b"\n"))
    reader, _ = await begun(journal)
    _, seen = await begun(journal)
    await anext(reader)
    for number in range(1, 20):
        await journal.log(chunk(b"x" * 999 + b"\n", number * 1000))
    await end(journal)
    told = [line async for line in reader]
    kept = [line for line in told if line["type"] == "log"]
    assert [line["type"] for line in told] == ["missed"] + ["log"] * len(kept) + ["result"]
    assert told[0]["bytes"] + sum(len(line["text"]) for line in kept) == 19_000
    assert len(kept) <= 5
    for cursor in (None, seen["cursor"], "elsewhere.1.0.0"):
        again = await lines(journal, cursor)
        assert [line["type"] for line in again].count("missed") == 1
        assert next(line for line in again if line["type"] == "missed")["bytes"] == 20_000 - 1000 * len(kept)


async def test_log_that_is_kept_no_more_at_all_is_missed_before_the_result(store: Store) -> None:
    journal = await journal_of(store, keep=10)
    await journal.log(chunk(b"x" * 99 + b"\n"))
    await end(journal)
    missed, last = await lines(journal)
    assert (missed["type"], missed["bytes"], last["type"]) == ("missed", 100, "result")


async def test_a_start_behind_the_end_leaves_a_gap_that_is_told(store: Store) -> None:
    journal = await journal_of(store)
    await journal.log(chunk(b"one\n"))
    await journal.log(chunk(b"three\n", 10))
    await journal.log(chunk(b"three\nfour\n", 10))
    await end(journal)
    told = await lines(journal)
    assert [line["type"] for line in told] == ["log", "missed", "log", "log", "result"]
    assert (told[1]["bytes"], text(told)) == (6, "one\nthree\nfour\n")
    assert [line["offset"] for line in told if line["type"] == "log"] == [0, 10, 16]


async def test_a_cursor_of_before_a_loss_of_power_does_not_hide_what_came_after(store: Store) -> None:
    """SQLite may lose its last writes then: the entries are counted on from before them, in the same epoch."""
    journal = await journal_of(store)
    await journal.log(chunk(b"one\n"))
    beyond = f"{journal._epoch}.7.4.0"  # entries 2 to 7 are lost
    await journal.event(event("note", "after the loss"))
    await end(journal)
    assert [line["type"] for line in await lines(journal, beyond)] == ["event", "result"]


async def test_an_event_that_is_no_json_is_told_without_its_data(store: Store) -> None:
    journal = await journal_of(store)
    await journal.event(event("note", "half \ud83d an emoji", thing=object()))
    await end(journal)
    told, _ = await lines(journal)
    assert told["data"] == {"omitted": "the data contains something that JSON cannot carry"}


async def test_events_have_the_time_of_the_world(store: Store) -> None:
    import time

    journal = await journal_of(store)
    before = time.time()
    await journal.event(event("note", "now"))
    await end(journal)
    told, _ = await lines(journal)
    assert before - 0.01 <= told["at"] <= time.time() + 0.01


async def test_a_result_that_comes_while_a_reader_begins_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, read, go_on = await journal_of(store), store.row, anyio.Event()
    looking = anyio.Event()

    async def slow(run_id: str) -> Any:
        row = await read(run_id)
        looking.set()
        await go_on.wait()
        return row

    monkeypatch.setattr(store, "row", slow)
    reading = asyncio.create_task(lines(journal))
    await looking.wait()
    await end(journal)
    go_on.set()
    with anyio.fail_after(5):
        assert [line["type"] for line in await reading] == ["result"]
