"""The log endpoint, byte for byte."""

from __future__ import annotations

import re

from tests.contract.conftest import Stage, scene, sh

STAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "
FIRST = 16384
"""bytes of the first part of a long line; the runtime writes it once it has read a block of 4096 bytes more"""


async def ended(stage: Stage, name: str, script: str) -> str:
    """The pod of a Job that has ended well."""
    return await stage.play(name, *sh(script), until="job: Complete")


def stamped(text: bytes) -> list[tuple[bytes, bytes]]:
    """Stamp and text of each line."""
    return [(line[:30], line[31:]) for line in text.splitlines(keepends=True)]


@scene
async def test_bytes_pass_unchanged_and_the_last_line_may_have_no_newline(stage: Stage) -> None:
    script = r"printf 'one\n\na\rb\000c\377d\n\303\244'; head -c 20000 /dev/zero | tr '\000' x; printf '\nlast'"
    pod = await ended(stage, "bytes", script)
    long = b"\xc3\xa4" + 20_000 * b"x"
    whole = b"one\n\na\rb\0c\xffd\n" + long + b"\nlast"
    for query in ({}, {"follow": "true"}, {"timestamps": "false"}):
        assert await stage.place.log(pod, **query) == whole, "a follow after the end gives all, and ends"
    text = await stage.place.log(pod, timestamps="true")
    lines = [b"one", b"", rb"a\rb\x00c\xffd", long, b"last"]
    assert re.fullmatch(b"\n".join(STAMP + line for line in lines), text), "one stamp a line, however many its parts"
    tail = await stage.place.log(pod, timestamps="true", tailLines="2")
    assert re.fullmatch(STAMP + b"x{%d}\n" % (len(long) - FIRST) + STAMP + b"last", tail), "parts are counted"
    assert await stage.place.log(pod, tailLines="0") == b""
    assert await stage.place.log(pod, limitBytes="6") == b"one\n\na"
    assert (await stage.place.log(pod, limitBytes="34", timestamps="true"))[31:] == b"one", "stamps are counted, too"
    assert await stage.place.log(pod, follow="true", limitBytes="2") == b"on"


@scene
async def test_headers_of_a_log(stage: Stage) -> None:
    pod = await ended(stage, "headers", "echo hello")
    path = f"{stage.place.core}/pods/{pod}/log"
    async with stage.place.connection.stream(path, query=[], headers=30) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain"
        assert "Content-Encoding" not in response.headers
        assert await response.read() == b"hello\n"


@scene
async def test_since_is_cut_to_its_second_and_inclusive(stage: Stage) -> None:
    pod = await ended(stage, "since", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done")
    lines = stamped(await stage.place.log(pod, timestamps="true"))
    assert [text for _, text in lines] == [b"%d\n" % n for n in range(1, 10)]
    second = lines[5][0][:19]
    wanted = b"".join(text for stamp, text in lines if stamp[:19] >= second)
    for fraction in ("", ".5", ".999999999"):
        assert await stage.place.log(pod, sinceTime=f"{second.decode()}{fraction}Z") == wanted
    assert await stage.place.log(pod, sinceTime=lines[5][0].decode()) == wanted
    assert await stage.place.log(pod, sinceTime="2099-01-01T00:00:00Z") == b""
    assert await stage.place.log(pod, sinceTime="2020-01-01T00:00:00+00:00", tailLines="1") == b"9\n"


@scene
async def test_since_within_a_long_line_gives_its_rest_without_a_stamp(stage: Stage) -> None:
    part = "head -c %d /dev/zero | tr '\\000' x"
    pod = await ended(stage, "split", f"{part % 21_000}; sleep 2.2; {part % 3_000}; echo")
    [(stamp, rest)] = stamped(await stage.place.log(pod, timestamps="true", tailLines="1"))
    assert rest == (24_000 - FIRST) * b"x" + b"\n"
    [(first, whole)] = stamped(await stage.place.log(pod, timestamps="true"))
    assert whole == 24_000 * b"x" + b"\n"
    assert first < stamp, "a line bears its first part's stamp"
    assert await stage.place.log(pod, timestamps="true", sinceTime=stamp.decode()) == rest


@scene
async def test_a_follow_delivers_what_is_there_and_ends_by_itself(stage: Stage) -> None:
    script = r"trap 'echo ended; exit 0' TERM; head -c 21000 /dev/zero | tr '\000' x; while :; do sleep 0.2; done"
    pod = await stage.play("live", *sh(script))
    path, query = f"{stage.place.core}/pods/{pod}/log", [("follow", "true"), ("timestamps", "true")]
    async with stage.place.connection.stream(path, query=query, headers=30) as response:
        part = await response.content.readexactly(31 + FIRST)
        assert re.fullmatch(STAMP + b"x{%d}" % FIRST, part), "a part comes before its line has ended"
        assert await stage.place.log(pod, follow="true", limitBytes="5") == b"xxxxx", "at the limit it ends"
        await stage.place.ask("DELETE", f"{stage.place.core}/pods/{pod}")
        assert await response.read() == (21_000 - FIRST) * b"x" + b"ended\n"


@scene
async def test_a_follow_ends_after_its_container(stage: Stage) -> None:
    pod = await stage.play("follow", *sh("for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done; printf end"))
    expected = b"".join(b"%d\n" % n for n in range(1, 10)) + b"end"
    assert await stage.place.log(pod, follow="true") == expected
    refused = await stage.no_log(pod, previous="true")
    assert (refused.status, refused.reason) == (400, "BadRequest")
    assert refused.message == f'previous terminated container "main" in pod "{pod}" not found'


@scene
async def test_both_streams_of_a_process_are_in_the_log(stage: Stage) -> None:
    pod = await ended(stage, "streams", "echo out; echo err >&2")
    assert sorted((await stage.place.log(pod)).split()) == [b"err", b"out"]


@scene
async def test_logs_that_are_not_there(stage: Stage) -> None:
    refused = await stage.no_log("missing", follow="true")
    assert (refused.status, refused.reason, refused.kind) == (404, "NotFound", "pods")
    assert refused.message == 'pods "missing" not found'
    path = "/api/v1/namespaces/no-such-namespace/pods/missing/log"
    elsewhere = await stage.place.refused("GET", path)
    assert (elsewhere.status, elsewhere.kind, elsewhere.message) == (404, "pods", refused.message)


@scene
async def test_values_that_are_refused(stage: Stage) -> None:
    pod = await ended(stage, "values", "echo hello")
    for name, value in (("sinceSeconds", "0"), ("limitBytes", "0"), ("tailLines", "-1")):
        refused = await stage.no_log(pod, **{name: value})
        assert (refused.status, refused.reason, refused.kind) == (422, "Invalid", "PodLogOptions"), name
    refused = await stage.no_log(pod, sinceTime="2026-01-01T00:00:00Z", sinceSeconds="1")
    assert refused.status == 422
    assert "at most one of `sinceTime` or `sinceSeconds` may be specified" in refused.message
    for name, value in (("sinceTime", "2026-01-01T00:00:00"), ("sinceTime", "yesterday"), ("tailLines", "abc")):
        assert (await stage.no_log(pod, **{name: value})).status == 400, name
