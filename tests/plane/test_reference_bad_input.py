"""The reference plane and what it is not to be told: each fault is named, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapter.plane.reference import create_app
from adapter.plane.reference_runs import ReferencePlane
from adapter.plane.reference_web import BODY
from adapter.plane.store import StoreError
from tests.plane.planes import DONE, Speaker, complaint

LOG = {"stream": "stdout", "offset": 0, "data": "eA==", "cursor": "c"}
EVENT = {"kind": "k", "message": "m", "at": 1}


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("beat", {}, "phase"),
        ("beat", {"phase": 5, "observedAgo": None}, "phase"),
        ("beat", {"phase": "x", "observedAgo": -1}, "observedAgo"),
        ("beat", {"phase": "x", "observedAgo": "1"}, "observedAgo"),
        ("log", {}, "stream"),
        ("log", LOG | {"stream": "stdlog"}, "stream"),
        ("log", LOG | {"offset": -1}, "offset"),
        ("log", LOG | {"offset": 2**53}, "offset"),
        ("log", LOG | {"offset": 10**40}, "offset"),
        ("log", LOG | {"offset": 1.5}, "offset"),
        ("log", LOG | {"offset": True}, "offset"),
        ("log", LOG | {"offset": "0"}, "offset"),
        ("log", LOG | {"gap": -1}, "gap"),
        ("log", LOG | {"data": "eA="}, "data"),
        ("log", LOG | {"data": "e\nA=="}, "data"),
        ("log", LOG | {"data": "ü"}, "data"),
        ("log", LOG | {"data": [1]}, "data"),
        ("log", LOG | {"cursor": None}, "cursor"),
        ("log", LOG | {"cursor": "\ud800"}, "cursor"),
        ("log", LOG | {"continued": 1}, "continued"),
        ("events", {"events": {}}, "events"),
        ("events", {"events": [EVENT, EVENT | {"at": "now"}]}, "events.1.at"),
        ("events", {"events": [EVENT | {"data": []}]}, "events.0.data"),
        ("result", {"result": {}, "log": {}}, "result"),
        ("result", {"result": DONE | {"outcome": ["x"]}, "log": {}}, "result"),
        ("result", {"result": DONE}, "log"),
        ("result", {"result": DONE, "log": {"stdin": {"size": 1}}}, "log.stdin.[key]"),
        ("result", {"result": DONE, "log": {"stdout": {"size": -1}}}, "log.stdout.size"),
        ("result", {"result": DONE, "log": {"stdout": {"size": 1, "crc32": 2**32}}}, "log.stdout.crc32"),
        ("cancel", {"reason": 5}, "reason"),
        ("cancel", {"reason": "\ud800"}, "reason"),
    ],
)
async def test_a_field_that_is_impossible_is_named(run: Speaker, what: str, body: Any, field: str) -> None:
    before = await run.status()
    content = json.dumps(body).encode()
    answer = await run.client.post(f"{run.path}/{what}", content=content, headers={"Content-Type": "application/json"})

    assert complaint(answer, 422) == ("invalid", field)
    assert await run.status() == before


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"null", 422),
        (b"[]", 422),
        (b"5", 422),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"phase": NaN}', 400),
        (b'{"phase": -Infinity}', 400),
        (b'{"phase": 1e999}', 400),
        (b'{"phase": 1' + b"0" * 5000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b'{"phase": "' + b"x" * BODY + b'"}', 413),
    ],
)
async def test_what_is_no_body_is_refused(run: Speaker, content: bytes, status: int) -> None:
    answer = await run.client.post(f"{run.path}/beat", content=content, headers={"Content-Type": "application/json"})

    code, field = complaint(answer, status)
    assert (code, field) == ({400: "malformed", 413: "too_large", 422: "invalid"}[status], None)


async def test_a_body_that_never_ends_is_not_read_on(run: Speaker) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 1_000_000
        raise AssertionError("it was read on")

    answer = await run.client.post(f"{run.path}/beat", content=body(), headers={"Content-Type": "application/json"})

    assert complaint(answer, 413) == ("too_large", None)


async def test_a_body_of_another_kind_is_told_what_is_wanted(run: Speaker) -> None:
    answer = await run.client.post(f"{run.path}/beat", data={"phase": "x"})

    assert complaint(answer, 422) == ("invalid", None)
    assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("after", ["x", "-1", "9007199254740992", "1.5"])
async def test_a_place_among_the_events_is_a_number(run: Speaker, after: str) -> None:
    assert complaint(await run.client.get(f"{run.path}/events?after={after}"), 422) == ("invalid", "after")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/runs/", 404, "not_found"),
        ("GET", "/v2/runs", 404, "not_found"),
        ("GET", "/v1/runs//beat", 404, "not_found"),
        ("DELETE", "/v1/runs/run", 405, "method_not_allowed"),
        ("GET", "/v1/runs/run/beat", 405, "method_not_allowed"),
        ("GET", "/v1/runs/run/log/stdlog", 422, "invalid"),
    ],
)
async def test_what_there_is_not_is_an_error_of_the_same_shape(
    client: httpx.AsyncClient, run: Speaker, method: str, path: str, status: int, code: str
) -> None:
    assert complaint(await client.request(method, path), status)[0] == code


async def test_half_a_surrogate_pair_in_a_result_is_no_fault(run: Speaker) -> None:
    result = DONE | {"message": "\ud83d"}
    content = json.dumps({"result": result, "log": {}}).encode()
    answer = await run.client.post(f"{run.path}/result", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 200
    assert (await run.status())["result"] == result


async def test_a_database_that_fails_is_a_503_to_be_tried_again(
    run: Speaker, plane: ReferencePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreError("/a/path: disk full")

    monkeypatch.setattr(plane.store, "touch", full)
    answer = await run.beat()

    assert complaint(answer, 503) == ("unavailable", None)
    assert int(answer.headers["Retry-After"]) > 0
    assert "/a/path" not in answer.text


async def test_a_fault_is_a_500_of_the_same_shape(
    run: Speaker, plane: ReferencePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(plane.store, "touch", fault)
    transport = httpx.ASGITransport(create_app(plane), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://plane") as client:
        answer = await Speaker(client, "run").beat()

    assert complaint(answer, 500) == ("internal", None)
    assert "secret" not in answer.text
