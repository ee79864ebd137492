"""Faults that were found in how runs are come back to, and let go of, each by its own test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from adapter.cluster.jobs import RESULT
from adapter.local import Fault, LocalCluster, Timing
from adapter.sidecar import adoption
from adapter.sidecar.place import Line
from adapter.tail import Tail
from tests.sidecar.books import Replica, command_document, kill, replica
from tests.sidecar.test_found import notes, running


@pytest.mark.parametrize("status", [401, 403])
async def test_rights_that_were_away_for_a_moment_left_an_orphan_for_good(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(adoption, "REFUSED", 0.3)
    async with replica(cluster, tmp_path, "one") as one:
        await running(one)
        await kill(one)
    fault = cluster.faults.add(Fault.respond(status, method="PATCH", path="*/jobs/*"))
    async with replica(cluster, tmp_path, "two") as two:
        await two.until("a", lambda view: view.state == "orphaned" and fault.hits)
        fault.remove()
        view = await two.until("a", lambda view: view.mine)
        assert view.outcome is None


async def test_what_another_replica_has_was_remembered_for_ever(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "ACKED", 0.3)
    async with replica(cluster, tmp_path, "one") as one, replica(cluster, tmp_path, "two") as two:
        await running(one)
        view, _ = await two.book.accept(command_document("a", "sleep", "20"))
        assert (view.state, [*two.book.keeper.held]) == ("elsewhere", ["a"])
        await two.until("a", lambda _: not two.book.keeper.held)
        assert (await two.view("a")).state == "elsewhere"
        assert (await one.view("a")).mine


async def test_a_result_never_got_onto_its_job_where_the_first_try_failed(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(cluster, tmp_path) as one:
        with monkeypatch.context() as patched:
            patched.setattr(Tail, "clean_up", lambda *_: anyio.sleep_forever())
            await one.post("a", "true")
            await one.lines("a")
            await kill(one)
    fault = cluster.faults.add(Fault.respond(503, method="PATCH", path="*/jobs/*"))
    async with replica(cluster, tmp_path) as one:
        await one.comes_true(lambda: fault.hits > 2 and one.book.ready() is None)  # nothing else is held up by it
        fault.remove()
        await cluster.until(lambda c: RESULT in notes(c))


async def read_until(one: Replica, after: str | None, holds: Callable[[Line], bool]) -> Line:
    """The first line of the run `a` behind a cursor of which something holds."""
    journal = await one.book.journal("a")
    assert journal is not None
    with anyio.fail_after(15):
        async for line in journal.read(after):
            if holds(line):
                return line
    raise AssertionError("there is none")


def says(words: str) -> Callable[[Line], bool]:
    return lambda line: words in line.get("text", "")


async def test_a_reader_who_came_to_another_replica_was_not_told_that_the_log_was_rotated_meanwhile(
    tmp_path: Path,
) -> None:
    wait = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    much, more = "seq -f 'the quick brown fox %.0f' 300", "sleep 0.3; seq -f 'and more %.0f' 50"
    async with (
        LocalCluster(timing=Timing.fast(), rotate_bytes=16_000) as cluster,
        replica(cluster, tmp_path, "one") as one,
        replica(cluster, tmp_path, "two") as two,
    ):
        await one.post("a", "sh", "-c", f"echo begun; {wait}; {much}; {more}; exec sleep 20")
        begun = await read_until(one, None, says("begun"))
        (tmp_path / "go").touch()
        read = await read_until(one, begun["cursor"], says("more 50\n"))
        missed = await read_until(two, read["cursor"], lambda line: line["type"] in ("log", "missed"))
        assert (missed["type"], missed["offset"]) == ("missed", 0)
        assert "begun" not in (await read_until(two, missed["cursor"], says("more 50\n")))["text"]
