"""The reference plane: every answer of the protocol in docs/plane-protocol.md."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from adapter.errors import Code
from adapter.plane.reference import openapi, opened
from adapter.plane.reference_runs import ReferencePlane
from adapter.plane.store import StoreError
from adapter.run import Outcome, RunResult
from tests.plane.hands import Hands
from tests.plane.planes import DONE, Speaker, client_of, complaint, plane_at

NASTY = ["a/b", "events", "a/beat", "%2F", "..", "?x=1#y", "ü ", "a//b/", "a\nb"]


async def test_a_run_becomes_known_once(client: httpx.AsyncClient) -> None:
    run = Speaker(client, "run")
    new, again = await run.register(), await run.register()

    assert (new.status_code, again.status_code) == (201, 200)
    assert new.json() == again.json()
    assert new.json() == {
        "runId": "run",
        "state": "running",
        "terminal": False,
        "cancel": None,
        "interval": 30,
        "log": {"stdout": {"offset": 0, "cursor": ""}, "stderr": {"offset": 0, "cursor": ""}},
    }


@pytest.mark.parametrize("run_id", NASTY)
async def test_a_run_has_any_id(client: httpx.AsyncClient, run_id: str) -> None:
    path = "/v1/runs/%2E%2E" if run_id == ".." else Speaker(client, run_id).path
    await client.put("/v1/runs/a")  # of which many of them could be taken for a part

    assert (await client.put(path)).json()["runId"] == run_id
    beat = await client.post(f"{path}/beat", json={"phase": "running", "observedAgo": None})
    assert beat.json()["runId"] == run_id
    assert (await client.get(path)).json()["runId"] == run_id
    assert (await client.get(f"{path}/events")).json() == {"events": []}


@pytest.mark.parametrize("segment", ["%20", "%00", "x" * 513, "%ff", "%C3%28"])
async def test_what_is_no_runs_id_is_said(client: httpx.AsyncClient, segment: str) -> None:
    assert complaint(await client.put(f"/v1/runs/{segment}"), 422) == ("invalid", "runId")


async def test_a_run_that_is_not_known_is_404_for_everything(client: httpx.AsyncClient) -> None:
    nobody = Speaker(client, "nobody")
    answers = [
        await client.get(nobody.path),
        await nobody.beat(),
        await nobody.append(0, b"x"),
        await nobody.post("events", {"events": []}),
        await nobody.report(DONE),
        await nobody.post("cancel", {}),
        await client.get(f"{nobody.path}/log/stdout"),
        await client.get(f"{nobody.path}/events"),
    ]

    assert {complaint(answer, 404) for answer in answers} == {("unknown_run", None)}


async def test_a_beat_is_a_sign_of_life_and_is_shown(run: Speaker, hands: Hands) -> None:
    hands.forward(10)

    assert (await run.beat()).json() == (await run.register()).json()
    status = await run.status()
    assert status["updatedAt"] == hands.time
    assert status["beat"] == {"phase": "running", "observedAgo": 0.5, "supervisor": "me"}


async def test_fields_of_a_later_version_are_ignored(run: Speaker) -> None:
    answer = await run.post("beat", {"phase": "running", "observedAgo": None, "mood": {"good": True}})

    assert answer.status_code == 200


async def test_log_is_kept_byte_for_byte(run: Speaker) -> None:
    every = bytes(range(256)) * 5
    for offset in range(0, len(every), 128):
        answer = await run.append(offset, every[offset : offset + 128], stamp="2026-01-01T00:00:00.000000000Z")
        assert answer.status_code == 200
    await run.append(0, b"\xff", "stderr", continued=True)

    assert answer.json()["log"]["stdout"] == {"offset": len(every), "cursor": f"up to {len(every)}"}
    assert await run.log() == every
    assert await run.log("stderr") == b"\xff"
    assert (await run.status())["log"]["stdout"]["crc32"] == zlib.crc32(every)


async def test_a_large_log_is_read_in_pages(run: Speaker) -> None:
    chunks = [bytes([number]) * 700_000 for number in range(4)]
    for number, data in enumerate(chunks):
        assert (await run.append(number * 700_000, data)).status_code == 200

    assert await run.log() == b"".join(chunks)


@pytest.mark.parametrize("offset", [0, 3, 5, 2**53 - 1])
async def test_a_misfit_answers_where_the_log_ends(run: Speaker, offset: int) -> None:
    await run.append(0, b"one\n")
    answer = await run.append(offset, b"two\n")

    assert complaint(answer, 409) == ("misfit", None)
    assert answer.json()["log"]["stdout"] == {"offset": 4, "cursor": "up to 4"}
    assert await run.log() == b"one\n"


async def test_a_repeated_append_whose_answer_was_lost_is_a_misfit_at_its_own_end(run: Speaker) -> None:
    await run.append(0, b"one\n")
    answer = await run.append(0, b"one\n")

    assert answer.json()["log"]["stdout"]["offset"] == 4


async def test_a_gap_is_an_event_and_no_bytes(run: Speaker) -> None:
    await run.append(0, b"one\n")

    assert complaint(await run.append(10, b"two\n", gap=5), 409) == ("misfit", None)
    assert (await run.append(10, b"two\n", gap=6)).status_code == 200
    assert (await run.append(20, b"", gap=6)).status_code == 200  # nothing follows what was lost

    assert await run.log() == b"one\ntwo\n"
    first, second = await run.events()
    assert (first["kind"], first["data"]) == ("gap", {"stream": "stdout", "offset": 10, "bytes": 6})
    assert second["message"] == "6 bytes of the stdout before 20 are lost"
    assert (await run.status())["log"]["stdout"]["lost"] == 12
    assert (await run.report(DONE, stdout=(20, zlib.crc32(b"one\ntwo\n")))).status_code == 200
    assert (await run.status())["logMismatch"] is False


async def test_events_come_back_in_order_and_by_pages(run: Speaker) -> None:
    told = [{"kind": kind, "message": "m", "at": 5.5, "data": {"x": [1, None]}} for kind in ("log", "gap", "event")]
    await run.post("events", {"events": told[:2]})
    await run.append(0, b"between\n")
    await run.post("events", {"events": told[2:]})

    events = await run.events()
    assert [{name: event[name] for name in told[0]} for event in events] == told
    assert [event["kind"] for event in await run.events(after=events[0]["seq"])] == ["gap", "event"]
    assert await run.events(after=events[-1]["seq"]) == []


async def test_a_cancel_rides_on_every_answer(run: Speaker, client: httpx.AsyncClient) -> None:
    assert (await run.post("cancel", {"reason": "enough"})).json()["cancel"] == "enough"
    assert (await run.post("cancel", {"reason": "another"})).json()["cancel"] == "enough"

    answers = [
        await run.beat(),
        await run.append(0, b"x"),
        await run.append(7, b"x"),
        await run.post("events", {"events": []}),
        await run.report(DONE, stdout=(2, None)),
    ]
    assert [answer.json()["cancel"] for answer in answers] == ["enough"] * 5
    assert (await run.status())["terminal"] is False


async def test_a_cancel_needs_no_reason(run: Speaker, client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{run.path}/cancel")).json()["cancel"] == ""


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.DETACHED])
async def test_a_result_ends_the_run_as_its_outcome_says(run: Speaker, outcome: Outcome) -> None:
    result = RunResult(run_id="run", outcome=outcome, code=Code.UNKNOWN, message="m").to_json()
    answer = await run.report(json.loads(json.dumps(result)), stdout=(0, 0), stderr=(0, None))

    assert (answer.status_code, answer.json()["state"], answer.json()["terminal"]) == (200, str(outcome), True)
    status = await run.status()
    assert RunResult.from_json(status["result"]).outcome is outcome
    assert (status["logMismatch"], status["finishedAt"] is None) == (False, False)


async def test_a_run_that_was_let_go_has_no_result_yet(run: Speaker) -> None:
    assert complaint(await run.report(DONE | {"outcome": "detached"}), 422) == ("invalid", "result")


async def test_the_same_result_again_is_answered_the_same(run: Speaker) -> None:
    first, again = await run.report(DONE), await run.report(DONE)

    assert (first.status_code, first.json()) == (again.status_code, again.json())


async def test_another_result_is_refused_and_changes_nothing(run: Speaker) -> None:
    await run.report(DONE)
    before = await run.status()
    answer = await run.report(DONE | {"outcome": "failed"})

    assert complaint(answer, 409) == ("terminal", None)
    assert (answer.json()["state"], answer.json()["terminal"]) == ("succeeded", True)
    assert await run.status() == before


async def test_of_two_results_at_once_one_is_accepted(run: Speaker) -> None:
    answers = await asyncio.gather(*(run.report(DONE | {"message": text}) for text in "abcde"))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    accepted = next(answer for answer in answers if answer.status_code == 200)
    assert json.loads(accepted.request.content)["result"] == (await run.status())["result"]


async def test_a_result_waits_for_its_log(run: Speaker) -> None:
    await run.append(0, b"one\n")
    answer = await run.report(DONE, stdout=(8, zlib.crc32(b"one\ntwo\n")))

    assert complaint(answer, 409) == ("log_incomplete", None)
    assert (answer.json()["state"], answer.json()["log"]["stdout"]["offset"]) == ("running", 4)

    await run.append(4, b"two\n")
    assert (await run.report(DONE, stdout=(8, zlib.crc32(b"one\ntwo\n")))).status_code == 200
    assert (await run.status())["logMismatch"] is False


@pytest.mark.parametrize(("size", "crc"), [(4, 1), (3, None)])
async def test_a_log_that_is_another_is_accepted_and_flagged(run: Speaker, size: int, crc: int | None) -> None:
    await run.append(0, b"one\n")

    assert (await run.report(DONE, stdout=(size, crc))).status_code == 200
    assert (await run.status())["logMismatch"] is True


async def test_after_the_end_beats_are_dropped_and_log_is_kept(run: Speaker, hands: Hands) -> None:
    await run.report(DONE)
    ended = await run.status()
    hands.forward(10)

    beat = await run.beat()
    assert (beat.status_code, beat.json()["terminal"], beat.json()["state"]) == (200, True, "succeeded")
    assert (await run.append(0, b"late\n")).json()["terminal"] is True
    assert complaint(await run.post("cancel", {}), 409) == ("terminal", None)
    status = await run.status()
    assert await run.log() == b"late\n"
    assert {name: text for name, text in status.items() if status[name] != ended[name]}.keys() == {"log"}


async def test_a_silent_run_is_lost_for_good(run: Speaker, plane: ReferencePlane, hands: Hands) -> None:
    await run.append(0, b"one\n")
    for _ in range(9):
        hands.forward(30)
        assert await plane.reap() == []
    hands.forward(30)
    assert await plane.reap() == ["run"]

    beat = await run.beat()
    assert (beat.json()["state"], beat.json()["terminal"]) == ("process_lost", True)
    assert complaint(await run.report(DONE), 409) == ("terminal", None)
    assert (await run.status())["state"] == "process_lost"
    assert await run.log() == b"one\n"


@pytest.mark.parametrize("what", ["misfit", "log_incomplete"])
async def test_whoever_is_refused_is_alive(run: Speaker, hands: Hands, what: str) -> None:
    hands.forward(200)
    answer = await (run.append(5, b"x") if what == "misfit" else run.report(DONE, stdout=(5, None)))

    assert complaint(answer, 409) == (what, None)
    assert (await run.status())["updatedAt"] == hands.time


async def test_asking_is_no_sign_of_life(run: Speaker, hands: Hands, client: httpx.AsyncClient) -> None:
    before = await run.status()
    hands.forward(10)
    await run.register()
    await run.post("cancel", {"reason": "x"})
    await client.get("/v1/runs")

    assert (await run.status())["updatedAt"] == before["updatedAt"]


async def test_a_plane_that_comes_back_has_everything_and_counts_from_then(tmp_path: Path) -> None:
    hands, path = Hands(), tmp_path / "plane.db"
    async with plane_at(path, hands) as plane, client_of(plane) as client:
        run = Speaker(client, "run")
        await run.register()
        await run.append(0, b"one\n")
        before = await run.status()
    hands.forward(100_000)
    async with plane_at(path, hands) as plane, client_of(plane) as client:
        run = Speaker(client, "run")
        assert await plane.reap() == []
        assert await run.status() == before
        assert await run.log() == b"one\n"
        assert (await run.append(4, b"two\n")).status_code == 200


async def test_the_reaper_looks_by_itself_and_survives_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: asyncio.Queue[float] = asyncio.Queue()
    finds: list[list[str] | StoreError] = [StoreError("disk full"), ["run"]]

    async def reap(_: object, threshold: float) -> list[str]:
        await looks.put(threshold)
        found = finds.pop(0) if finds else []
        if isinstance(found, StoreError):
            raise found
        return found

    monkeypatch.setattr("adapter.plane.store.Store.reap", reap)
    with capture_logs() as said:
        async with opened(tmp_path / "plane.db", reaper=0.01):
            assert [await looks.get() for _ in range(3)] == [0.01] * 3
    assert [one["event"] for one in said] == ["reaper.failed", "run.process_lost"]


async def test_all_runs_are_listed(client: httpx.AsyncClient, run: Speaker) -> None:
    await Speaker(client, "another").register()

    runs = (await client.get("/v1/runs")).json()["runs"]
    assert [one["runId"] for one in runs] == ["run", "another"]
    assert runs[0] == await run.status()


def test_the_description_is_the_one_in_the_docs() -> None:
    written = Path(__file__).parents[2] / "docs" / "plane-openapi.json"

    assert json.loads(written.read_text()) == json.loads(openapi()), "make docs"
