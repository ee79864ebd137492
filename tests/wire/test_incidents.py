"""What was found wrong once, each named for what happened. Every one of these failed before its fix."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

import adapter.case
from adapter import Adapter, Event, LogChunk, Outcome, RunResult
from adapter.cli import output
from adapter.cluster.connection import ApiError, Connection
from adapter.cluster.credentials import Source
from adapter.errors import Code
from adapter.local import Fault, LocalCluster
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import FOREVER, delete_job


async def test_a_run_cancelled_before_its_job_was_found_went_on_for_ever(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", run_id="x", grace=1)
    site.adapter.let_go("x")
    await run.result()
    plane = Recorder()
    plane.cancel()
    result = await site.start(*FOREVER, plane=plane, run_id="x", grace=1).result()
    assert result.outcome is Outcome.CANCELLED
    await site.cluster.until(lambda c: not c.list("jobs"))


async def test_a_cancelled_run_was_run_again_by_a_restart_in_its_grace_period(site: Site) -> None:
    command = ("sh", "-c", "trap 'sleep 0.6; exit 0' TERM; echo begun; while :; do sleep 0.02; done")
    run = await site.running(*command, said="begun", run_id="x", grace=3)
    run.plane.cancel()
    await site.cluster.until(lambda c: "deletionTimestamp" in (c.get("jobs", run.job) or {"metadata": ()})["metadata"])
    site.adapter.let_go("x")
    await run.result()
    again = site.start(*command, run_id="x", grace=3)
    assert (await again.result()).outcome is Outcome.CANCELLED
    assert not any("created" in words for words in again.plane.words("job"))


async def test_a_cancel_during_the_drain_turned_a_success_into_a_cancelled_run(site: Site) -> None:
    plane, gate = Recorder(), anyio.Event()
    plane.before_log = gate.wait
    run = site.start("echo", "held", plane=plane)
    await plane.until(lambda: "drain began" in plane.words("task"))
    plane.cancel()
    await plane.until(lambda: len(plane.beats) > 3)
    gate.set()
    assert (await run.result()).outcome is Outcome.SUCCEEDED


async def test_a_cancel_during_the_report_deleted_the_job_before_the_result_was_accepted(site: Site) -> None:
    plane = Recorder()
    tries = iter(range(5))

    async def refuse_five_times() -> None:
        plane.cancel()
        if next(tries, None) is not None:
            raise ConnectionError("the plane is away")
        assert site.cluster.list("jobs")

    plane.before_result = refuse_five_times
    assert (await site.start("true", plane=plane).result()).ok


async def test_a_cancel_after_the_result_was_accepted_made_it_an_internal_fault(site: Site) -> None:
    plane, gate = Recorder(), anyio.Event()

    async def late(event: Event) -> None:
        if plane.accepted:
            plane.cancel()
            await gate.wait()

    plane.event = late  # type: ignore[method-assign]
    run = site.start("true", plane=plane)
    await plane.until(lambda: plane.accepted)
    gate.set()
    assert (await run.result()).ok


async def test_a_delete_that_is_refused_for_ever_hid_the_end_of_the_run(site: Site) -> None:
    gate = site.cluster.directory / "gate"
    run = await site.running("sh", "-c", f"echo begun; until [ -e {gate} ]; do sleep 0.02; done", said="begun")
    handle = site.cluster.faults.add(Fault.respond(500, method="DELETE", path="*/jobs/*"))
    run.plane.cancel()
    await site.cluster.until(lambda _: handle.hits >= 3)
    gate.touch()
    assert (await run.result()).outcome is Outcome.CANCELLED


async def test_a_plane_that_was_cancelled_in_its_own_call_ended_the_run(site: Site) -> None:
    plane = Recorder()

    async def await_a_task_that_was_cancelled() -> None:
        task = asyncio.create_task(anyio.sleep_forever())
        task.cancel()
        await task

    plane.before_beat = await_a_task_that_was_cancelled
    assert (await site.start(*COUNT, plane=plane).result()).ok
    assert plane.data == COUNTED


async def test_one_of_two_closes_hung(cluster: LocalCluster) -> None:
    adapter = await Adapter.open(kubeconfig=str(cluster.kubeconfig), limits=FAST)
    run = start(adapter, *FOREVER, grace=0)
    await run.plane.until(lambda: b"begun" in run.plane.data)
    async with asyncio.timeout(10):
        await asyncio.gather(adapter.aclose(), adapter.aclose())
    await run.task


async def test_a_drain_that_was_cut_by_its_budget_was_called_complete(cluster: LocalCluster) -> None:
    talkative = "trap 'while :; do echo still; sleep 0.05; done' TERM; echo begun; while :; do sleep 0.02; done"
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(FAST, tail=1.0)) as adapter:
        site = Site(cluster, adapter)
        run = await site.running("sh", "-c", talkative, said="begun", grace=4)
        await delete_job(site, run.job, "Background")
        result = await run.result()
    assert result.outcome is Outcome.DELETED
    assert not result.log.complete


async def test_a_cancel_that_was_accepted_late_took_the_pods_grace_period_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter.case, "CANCEL_ENDS", 0.3)
    slow = "trap 'sleep 0.5; echo ended; exit 0' TERM; echo begun; while :; do sleep 0.02; done"
    run = await site.running("sh", "-c", slow, said="begun", grace=1)
    handle = site.cluster.faults.add(Fault.respond(503, method="DELETE", path="*/jobs/*"))
    run.plane.cancel()
    await run.plane.until(lambda: run.plane.words("cancel"))
    told = next(event.at for event in run.plane.events if event.kind == "cancel")
    await run.plane.until(lambda: anyio.current_time() > told + 1.4)
    handle.remove()
    await run.result()
    assert run.plane.data == b"begun\nended\n"


async def test_the_result_of_a_cancel_was_held_up_by_the_log_of_a_lost_node(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter.case, "CANCEL_ENDS", 0.3)
    patient = replace(FAST, headers=60, stall=60, tail=120)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=patient) as connected:
        site = Site(cluster, connected)
        run = await site.running(*FOREVER, said="begun", grace=1)
        cluster.node.node_lost()
        cluster.faults.add(Fault.no_headers(path="*/log"))
        run.plane.cancel()
        result = await run.result()
    assert result.outcome is Outcome.CANCELLED
    assert not result.log.complete


async def test_a_json_line_was_torn_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    got = bytearray()

    def slowly() -> None:
        while block := os.read(read, 3000):
            got.extend(block)

    class Pipe:
        def fileno(self) -> int:
            return write

    reader = threading.Thread(target=slowly)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", Pipe())
        shown = output.output_of(json_lines=True, raw=False, quiet=True)
        async with anyio.create_task_group() as group:
            group.start_soon(shown.log, LogChunk(offset=0, data=b"x" * 900_000, cursor="", stamp=""))
            group.start_soon(shown.event, Event(kind="container", message="claude: terminated", at=0.0))
            group.start_soon(shown.log, LogChunk(offset=0, data=b"y" * 900_000, cursor="", stamp=""))
            reader.start()
    os.close(write)
    reader.join()
    os.close(read)
    assert [json.loads(line)["type"] for line in bytes(got).splitlines()].count("log") == 2


async def test_an_error_body_in_two_segments_lost_its_reason(tmp_path: Path) -> None:
    details = {"kind": "jobs"}
    body = {"kind": "Status", "message": "already exists", "reason": "AlreadyExists", "details": details, "code": 409}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"/version" in (await reader.readuntil(b"\r\n\r\n")):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        data = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(data) + data[:40])
        await writer.drain()
        await asyncio.sleep(0.05)  # so that it is a segment of its own
        writer.write(data[40:])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        kubeconfig = anyio.Path(tmp_path / "config")
        await kubeconfig.write_text(json.dumps(_config(f"http://127.0.0.1:{port}", {})))
        connection = await Connection.open(Source(str(kubeconfig)), deadline=3)
        with pytest.raises(ApiError) as caught:
            await connection.call("GET", "/x", deadline=3)
        await connection.close()
    assert caught.value.reason == "AlreadyExists"
    assert caught.value.__cause__ is None


def _config(server: str, user: dict[str, object]) -> dict[str, object]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }


async def test_a_page_that_is_no_list_ended_the_feed_for_good(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON of a proxy's own, instead of the lists, while a run goes on."""
    api = site.cluster._server._api
    lists, pages = api._list, 6
    run = await site.running(*COUNT, said="line 3")

    def page(*args: Any, **how: Any) -> Any:
        nonlocal pages
        pages -= 1
        return lists(*args, **how) if pages < 0 else {"please": "log in"}

    monkeypatch.setattr(api, "_list", page)
    site.cluster.faults.add(Fault.cut(how="rst", query={"watch": "1"}, count=2))
    site.cluster.faults.add(Fault.gone_event(count=2, skip=2))
    assert (await run.result()).ok
    assert pages < 0, "nobody asked for a list"
    assert run.plane.data == COUNTED


async def test_a_list_that_was_never_answered_blinded_all_runs_for_three_times_a_calls_deadline(
    cluster: LocalCluster,
) -> None:
    """As etcd came back the API server took a list and never answered it: the end was seen 30 s late."""
    limits = replace(FAST, call=1, safety=60, retry_most=0.02)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=limits) as adapter:
        run = start(adapter, *COUNT)
        await run.plane.until(lambda: b"line 3" in run.plane.data)
        seen = len(lists(cluster))
        cluster.faults.add(Fault.no_headers(count=2, method="GET", path="*/jobs", query={"watch": None}))
        cluster.faults.add(Fault.gone_event(count=1, path="*/jobs"))
        cluster.faults.add(Fault.cut(how="rst", path="*/jobs", query={"watch": "1"}, count=1))
        assert (await run.result()).ok
        await cluster.until(lambda c: len(lists(c)) >= seen + 3)
    first, second, third = lists(cluster)[seen : seen + 3]
    assert third - second > 1.5 * (second - first), "it is asked for again soon, and is given more time each time"


def lists(cluster: LocalCluster) -> list[float]:
    """When all Jobs were listed."""
    return [r.at for r in cluster.requests if r.path.endswith("/jobs") and r.method == "GET" and "watch" not in r.query]


async def test_a_feed_that_died_was_not_noticed_by_its_runs(site: Site) -> None:
    """By a fault of ours, whatever it is: the run says so at once, its Job goes on, and can be come back to."""
    run = await site.running("sh", "-c", "echo begun; sleep 1; echo over", said="begun", run_id="x")
    place = site.adapter.places.at("default")
    place.watching.cancel()
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.UNKNOWN, Code.INTERNAL)
    assert "the feed ended" in result.message
    assert run.plane.accepted is None
    plane = Recorder(position=await run.plane.position("stdout"))
    again = site.start(*run.request.command, run_id="x", plane=plane)
    assert (await again.result()).ok
    assert run.plane.data + plane.data == b"begun\nover\n"
    assert site.adapter.places.at("default") is not place


async def test_the_result_is_told_once_although_the_adapter_is_closed_at_that_moment(cluster: LocalCluster) -> None:
    plane = Recorder()
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        run = start(adapter, "true", plane=plane)
        await plane.until(lambda: any(isinstance(said, RunResult) for said in plane.said))
    result = await run.result()
    assert plane.accepted is None or plane.accepted == result
