"""The log endpoint, byte for byte."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.local import LocalCluster
from adapter.local.logfile import PART, ContainerLog
from adapter.local.logreader import LogOptions, Rendering, read

from .conftest import JOBS, PODS, Wire, job, sh

if TYPE_CHECKING:
    from pathlib import Path

STAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "
WAITING = "while [ ! -e go ]; do sleep 0.02; done"


def go(cluster: LocalCluster, pod: str) -> None:
    """Let a process that waits for the file `go` in its directory go on."""
    uid = (cluster.get("pods", pod) or {})["metadata"]["uid"]
    (cluster.directory / "pods" / uid / "main" / "root" / "go").touch()


async def finished(wire: Wire, script: str) -> str:
    await wire.run(*sh(script))
    pod = await wire.pod()
    await wire.cluster.until(lambda _: "terminated" in wire.state(pod))
    return pod


async def test_stamps_empty_lines_and_an_unfinished_last_line(wire: Wire) -> None:
    pod = await finished(wire, r"printf 'one\n\ntw\r\377o\nlast'")
    assert (await wire.log(pod)).body == b"one\n\ntw\r\xffo\nlast"
    stamped = (await wire.log(pod, timestamps="true")).body
    assert re.fullmatch(STAMP + rb"one\n" + STAMP + rb"\n" + STAMP + rb"tw\r\xffo\n" + STAMP + b"last", stamped)


async def test_headers_come_before_the_first_line(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh(f"{WAITING}; echo gone"))
    pod = await wire.running()
    following = await wire.follow(pod)
    assert following.status == 200
    assert following.headers["Content-Type"] == "text/plain"
    assert following.headers["Transfer-Encoding"] == "chunked"
    go(cluster, pod)
    assert await following.read() == b"gone\n"


async def test_a_line_is_followed_in_parts(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh(f"head -c 21000 /dev/zero | tr '\\0' x; {WAITING}; echo"))
    pod = await wire.running()
    following = await wire.follow(pod, timestamps="true")
    assert len(await following.content.readexactly(31 + PART)) == 31 + PART
    go(cluster, pod)
    assert await following.read() == b"x" * (21_000 - PART) + b"\n"
    tail = (await wire.log(pod, tailLines="1", timestamps="true")).body
    assert re.fullmatch(STAMP + rb"x{%d}\n" % (21_000 - PART), tail)


async def test_both_streams_are_merged(wire: Wire) -> None:
    pod = await finished(wire, "echo out; sleep 0.05; echo err >&2; sleep 0.05; echo out")
    assert (await wire.log(pod)).body == b"out\nerr\nout\n"


async def test_tail_and_limit(wire: Wire) -> None:
    pod = await finished(wire, "seq 1 5")
    assert (await wire.log(pod, tailLines="2")).body == b"4\n5\n"
    assert (await wire.log(pod, tailLines="0")).body == b""
    assert (await wire.log(pod, tailLines="9")).body == b"1\n2\n3\n4\n5\n"
    assert (await wire.log(pod, limitBytes="3")).body == b"1\n2"
    assert (await wire.log(pod, limitBytes="3", follow="true")).body == b"1\n2"
    assert (await wire.log(pod, follow="true")).body == b"1\n2\n3\n4\n5\n"


async def test_since_time_is_cut_to_its_second(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    entries = b"".join(b"2026-01-02T03:04:%02d.%09dZ stdout F %d\n" % (s, s, s) for s in range(50, 53))
    cluster.node.append_log(pod, entries)
    for fraction in ("", ".5", ".999999999"):
        answer = await wire.log(pod, sinceTime=f"2026-01-02T03:04:51{fraction}Z")
        assert answer.body == b"51\n52\n"
    assert (await wire.log(pod, sinceTime="2026-01-02T05:04:52+02:00")).body == b"52\n"
    assert (await wire.log(pod, sinceTime="2036-01-02T03:04:52Z")).body == b""
    assert (await wire.log(pod, sinceSeconds="5")).body == b""


async def test_since_time_inside_a_line_leaves_its_rest_without_a_stamp(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    parts = [(b"01", b"P", b"first"), (b"02", b"P", b"second"), (b"02", b"F", b"third"), (b"03", b"F", b"next")]
    stamp = b"2026-01-02T03:04:%s.000000000Z"
    cluster.node.append_log(
        pod, b"".join(stamp % second + b" stdout " + tag + b" " + text + b"\n" for second, tag, text in parts)
    )
    answer = await wire.log(pod, sinceTime="2026-01-02T03:04:02Z", timestamps="true")
    assert answer.body == b"secondthird\n" + stamp % b"03" + b" next\n"


async def test_stderr_lands_inside_a_long_line(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    stamp = b"2026-01-02T03:04:05.000000000Z"
    entries = [b" stdout P a", b" stderr F err", b" stdout F b"]
    cluster.node.append_log(pod, b"".join(stamp + entry + b"\n" for entry in entries))
    answer = await wire.log(pod, timestamps="true")
    assert answer.body == stamp + b" aerr\n" + stamp + b" b\n"


async def test_follow_crosses_a_rotation_but_the_old_file_is_never_served(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh(f"echo old; {WAITING}; echo new"))
    pod = await wire.running()
    following = await wire.follow(pod)
    assert await following.content.readline() == b"old\n"
    cluster.node.rotate_log(pod)
    assert (await wire.log(pod)).body == b""
    go(cluster, pod)
    assert await following.read() == b"new\n"
    assert (await wire.log(pod)).body == b"new\n"


async def test_rotation_by_size(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = ContainerLog(path, rotate_bytes=1000)
    pieces = read(log, LogOptions(follow=True))
    text = b""
    for number in range(60):
        log.feed("stdout", b"%04d\n" % number)
        text += await anext(pieces)
    log.close()
    assert [piece async for piece in pieces] == []
    assert text == b"".join(b"%04d\n" % number for number in range(60))
    assert len(list(tmp_path.iterdir())) == 2  # noqa: ASYNC240
    assert path.stat().st_size < 1000


async def test_two_rotations_behind_lose_a_file(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "0.log", rotate_bytes=10_000)
    log.feed("stdout", b"one\n")
    pieces = read(log, LogOptions(follow=True))
    assert await anext(pieces) == b"one\n"
    for word in (b"two", b"three"):
        log.rotate()
        log.feed("stdout", word + b"\n")
    log.close()
    assert [piece async for piece in pieces] == [b"three\n"]


async def test_no_log_yet(cluster: LocalCluster, wire: Wire) -> None:
    switch = cluster.node.unschedulable()
    await wire.run("true")
    pod = await wire.pod()
    for query in ({}, {"follow": "true"}, {"previous": "true"}):
        answer = await wire.log(pod, **query)
        assert (answer.status, answer.body, answer.headers.get("Content-Type")) == (204, b"", None)
    images = cluster.node.image_pull_error()
    switch.remove()
    await cluster.until(lambda _: wire.state(pod).get("waiting", {}).get("reason") == "ErrImagePull")
    answer = await wire.log(pod)
    words = f'container "main" in pod "{pod}" is waiting to start: '
    assert answer.status == 400
    assert answer.message in (words + "image can't be pulled", words + "trying and failing to pull image")
    images.remove()
    await wire.until("Complete")


async def test_answers_to_wrong_questions(wire: Wire) -> None:
    missing = await wire.log("nope")
    assert missing.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "nope" not found',
        "reason": "NotFound",
        "details": {"name": "nope", "kind": "pods"},
        "code": 404,
    }
    second = {"name": "b", "image": "x", "command": ["true"]}
    main = {"name": "a", "image": "x", "command": ["true"]}
    init = {"name": "i", "image": "x", "command": ["true"]}
    await wire.create(JOBS, job("a", pod={"containers": [main, second], "initContainers": [init]}))
    await wire.until("Complete")
    pod = await wire.pod()
    cases = {
        "": f"a container name must be specified for pod {pod}, choose one of: [i a b]",
        "container=nope": f"container nope is not valid for pod {pod}",
        "container=a&previous=true": f'previous terminated container "a" in pod "{pod}" not found',
    }
    for query, words in cases.items():
        answer = await wire.get(f"{PODS}/{pod}/log?{query}")
        assert answer.json == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": words,
            "reason": "BadRequest",
            "code": 400,
        }


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("sinceSeconds=0", 422),
        ("limitBytes=0", 422),
        ("tailLines=-1", 422),
        ("tailLines=abc", 400),
        ("sinceTime=2026-01-01T00:00:00", 400),
        ("sinceTime=2026-01-01T00:00:00z", 400),
        ("sinceTime=2026-01-01T00:00:00Z&sinceSeconds=1", 422),
        ("stream=Stdout", 422),
        ("follow=maybe", 200),
    ],
)
async def test_bad_values(wire: Wire, query: str, status: int) -> None:
    pod = await finished(wire, "true")
    assert (await wire.get(f"{PODS}/{pod}/log?{query}")).status == status


async def test_previous_instance(cluster: LocalCluster, wire: Wire) -> None:
    script = "if [ -e x ]; then echo second; sleep 30; else touch x; echo first; exit 1; fi"
    await wire.create(JOBS, job("a", *sh(script), pod={"restartPolicy": "OnFailure"}, backoffLimit=5))
    pod = await wire.pod()
    following = await wire.follow(pod) if await wire.running() else None
    status = await cluster.until(
        lambda _: [s for s in wire.status(pod)["containerStatuses"] if s["restartCount"] == 1 and s["started"]]
    )
    assert status[0]["lastState"]["terminated"]["exitCode"] == 1
    assert (await wire.log(pod)).body == b"second\n"
    assert (await wire.log(pod, previous="true")).body == b"first\n"
    assert following is not None


async def test_a_slow_reader_does_not_stop_the_process(wire: Wire) -> None:
    """The pipe is read whether anybody follows or not."""
    await wire.run(*sh("seq 1 200000"))
    pod = await wire.pod()
    await wire.cluster.until(lambda _: "terminated" in wire.state(pod))
    assert (await wire.log(pod)).body == b"".join(b"%d\n" % number for number in range(1, 200_001))


async def test_the_server_sees_a_client_leave_a_silent_stream(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    following = await wire.follow(pod)
    watching = await wire.watch(PODS, resourceVersion=str(cluster.history[-1].object["metadata"]["resourceVersion"]))
    await cluster.until(lambda c: len(c.open_streams()) == 2)
    left = asyncio.get_running_loop().time()
    following.close()
    watching.close()
    await cluster.until(lambda c: not c.open_streams())
    assert {record.closed_by for record in cluster.streams} == {"client"}
    assert all((record.closed_at or 0) - left < 0.05 for record in cluster.streams)


lines = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40)), max_size=30)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=lines)
async def test_each_stream_arrives_whole_and_in_order(tmp_path: Path, writes: list[tuple[str, bytes]]) -> None:
    path = tmp_path / "logs" / "0.log"
    path.unlink(missing_ok=True)
    log = ContainerLog(path, rotate_bytes=10**9)
    for stream, data in writes:
        log.feed(stream, data)
    log.finish()
    log.close()
    entries = path.read_bytes().split(b"\n")[:-1]
    for stream in ("stdout", "stderr"):
        wrote = b"".join(data for name, data in writes if name == stream)
        mine = [entry for entry in entries if entry[31:37] == stream.encode()]
        text = b"".join(entry[40:] + (b"\n" if entry[38:39] == b"F" else b"") for entry in mine)
        assert text == wrote
    stamps = [entry[:30] for entry in entries]
    assert stamps == sorted(set(stamps))


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from([b"P", b"F"]), st.integers(0, 9)), min_size=1, max_size=20),
    since=st.integers(0, 9),
    stamped=st.booleans(),
)
def test_rendering_is_the_kubelets(parts: list[tuple[bytes, int]], since: int, *, stamped: bool) -> None:
    """Each entry is judged alone, for stamps can go back; and however they are cut into blocks."""
    entries = [b"2026-01-01T00:00:%02d.000000000Z stdout %s %d" % (second, tag, second) for tag, second in parts]
    options = LogOptions(timestamps=stamped, since=b"2026-01-01T00:00:%02d.000000000Z" % since)
    one_by_one = Rendering(options)
    expected, at_start = b"", True
    for (tag, second), entry in zip(parts, entries, strict=True):
        if second >= since:
            expected += (entry[:31] if stamped and at_start else b"") + entry[40:]
            expected += b"\n" if tag == b"F" else b""
        at_start = tag == b"F"
    assert Rendering(options).render(entries) == expected
    assert b"".join(one_by_one.render([entry]) for entry in entries) == expected


@given(
    text=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), min_size=1), stamped=st.booleans()
)
def test_whole_lines_take_a_short_way_to_the_same_text(text: list[bytes], *, stamped: bool) -> None:
    stamp = b"2026-01-01T00:00:00.000000000Z "
    entries = [stamp + b"stderr F " + line for line in text]
    expected = b"".join((stamp if stamped else b"") + line + b"\n" for line in text)
    assert Rendering(LogOptions(timestamps=stamped)).render(entries) == expected
