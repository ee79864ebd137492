"""One request to a control plane: whatever it meets, it ends in time, and as an answer or a `PlaneError`."""

from __future__ import annotations

import email.utils
import ssl
import time
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adapter.plane.http_address import Token, base_of
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_status import Conflict, NotKnown, NotTakeable, PlaneError, TokenRefused
from adapter.plane.http_wire import Wire
from tests.plane.desk import FAST, URL, Desk, behind, unknown

COMPRESSED = True

SECRET = "s3cr3t-t0k3n"


@pytest.fixture(name="desk")
def _desk() -> Desk:
    return Desk()


@pytest.fixture(name="seen")
def _seen() -> list[tuple[str, str, float]]:
    return []


@pytest.fixture(name="wire")
async def _wire(desk: Desk, seen: list[tuple[str, str, float]]) -> AsyncIterator[Wire]:
    limits = PlaneLimits(call=0.2, append=0.2, answer=2000)
    wire = Wire(base_of(URL), Token(SECRET), limits, lambda *what: seen.append(what))
    with behind(desk):
        yield wire
    await wire.aclose()


async def failure(wire: Wire, kind: str = "status") -> PlaneError:
    """How a request fails."""
    asked = wire.get("r") if kind == "status" else wire.send(kind, "r", b"{}")
    with pytest.raises(PlaneError) as caught:
        await asked
    assert SECRET not in str(caught.value)
    return caught.value


async def test_an_answer_is_read_and_the_token_was_shown(wire: Wire, desk: Desk) -> None:
    desk.cancel, desk.interval = "enough", 12
    status = await wire.get("r")

    assert (status.cancel, status.interval, status.terminal) == ("enough", 12.0, False)
    assert desk.asked[0][1].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("run_id", ["a/b c%2F?d#e", "..", ".", "ünï", "a..b"])
async def test_a_run_id_is_one_part_of_the_path(run_id: str) -> None:
    asked: list[bytes] = []
    wire = Wire(base_of(URL), Token(), FAST)
    with behind() as router:

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.raw_path)
            return httpx.Response(200, json={"runId": run_id, "state": "running", "terminal": False})

        router.route().mock(side_effect=answer)
        await wire.sign("beat", run_id, b"{}")
    await wire.aclose()

    prefix, _, rest = asked[0].partition(b"/plane/v1/runs/")
    part, _, tail = rest.partition(b"/")
    assert (prefix, tail) == (b"", b"beat")
    assert httpx.URL(f"http://h/?{part.decode().replace('.', '%2E')}").query.count(b"/") == 0
    assert part not in (b".", b"..")


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 404, 409, 418])
async def test_what_is_no_control_planes_answer_is_a_failure_like_any_other(
    wire: Wire, desk: Desk, status: int
) -> None:
    desk.always["status"] = httpx.Response(status, html="<h1>It works</h1>")
    error = await failure(wire)

    assert type(error) is PlaneError
    assert f"HTTP {status}" in str(error)


async def test_the_404_of_another_server_is_not_a_run_that_is_not_known(wire: Wire, desk: Desk) -> None:
    desk.instead["status"] += [
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(404, json={"error": {"code": "not_found", "message": "no such path"}}),
        unknown(),
    ]
    assert [type(await failure(wire)) for _ in range(3)] == [PlaneError, PlaneError, NotKnown]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_since_it_would_take_the_token_along(
    wire: Wire, desk: Desk, status: int
) -> None:
    desk.always["status"] = httpx.Response(status, headers={"location": "http://elsewhere/"})
    assert f"HTTP {status}" in str(await failure(wire))
    assert len(desk.asked) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(200, html="<h1>Welcome</h1>"), "not a control plane's"),
        (httpx.Response(200), "not a control plane's"),
        (httpx.Response(204), "not a control plane's"),
        (httpx.Response(200, json=[1]), "not a control plane's"),
        (httpx.Response(200, json={"runId": "r", "state": "running", "terminal": "no"}), "terminal"),
        (httpx.Response(200, json={"runId": "r", "state": "running"}), "terminal"),
        (httpx.Response(200, json={"runId": "x", "state": "running", "terminal": False}), "another run"),
        (httpx.Response(200, json={"runId": "r", "state": "r", "terminal": False, "interval": -1}), "interval"),
        (httpx.Response(200, text='{"runId":"r","state":"r","terminal":false,"interval":NaN}'), "interval"),
        (httpx.Response(200, json={"runId": "r", "state": "r", "terminal": False, "log": {"stdout": 3}}), "log.stdout"),
        (httpx.Response(200, content=b"x" * 3000), "more than 2000 bytes"),
        (httpx.Response(200, content=b"[" * 1500), "not a control plane's"),
    ],
)
async def test_garbage_is_a_failure_with_a_clear_text(
    wire: Wire, desk: Desk, seen: list[tuple[str, str, float]], answer: httpx.Response, says: str
) -> None:
    async def give() -> httpx.Response:
        return answer

    desk.always["status"] = give

    assert says in str(await failure(wire))
    assert seen[0][:2] == ("status", "garbage")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("what?"),
        httpx.PoolTimeout("full"),
        ssl.SSLError("bad"),
        OSError("gone"),
        RuntimeError("a library's fault"),
    ],
)
async def test_no_error_comes_out_but_ours(
    wire: Wire, desk: Desk, seen: list[tuple[str, str, float]], error: Exception
) -> None:
    desk.always["status"] = error
    assert type(error).__name__ in str(await failure(wire))
    assert seen[0][:2] == ("status", "error")


@pytest.mark.parametrize("kind", ["status", "log"])
async def test_every_request_has_a_deadline(
    wire: Wire, desk: Desk, seen: list[tuple[str, str, float]], kind: str
) -> None:
    async def hang() -> None:
        await anyio.sleep_forever()

    desk.always[kind] = hang

    assert "no answer within 0.2 s" in str(await failure(wire, kind))
    assert seen[0][:2] == (kind, "timeout")


async def test_a_cancelled_request_is_observed_and_passed_on(
    wire: Wire, desk: Desk, seen: list[tuple[str, str, float]]
) -> None:
    async def hang() -> None:
        await anyio.sleep_forever()

    desk.always["status"] = hang
    async with anyio.create_task_group() as group:
        group.start_soon(wire.get, "r")
        await desk.until(lambda: desk.asked)
        group.cancel_scope.cancel()

    assert seen[0][:2] == ("status", "cancelled")


async def test_a_closed_client_is_a_failure_like_any_other(wire: Wire) -> None:
    await wire.aclose()
    assert "closed" in str(await failure(wire))


NOON = 1_800_000_000.0
"""What the plane's clock says, whatever ours does."""


def in_(seconds: float) -> str:
    return email.utils.formatdate(NOON + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7),
        (in_(40), 40, 40),
        (in_(-1e6), 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        ("-3", 0, 0),
        ("9" * 99, 1, 1e9),
    ],
    ids=["seconds", "date", "past", "words", "nothing", "negative", "ages"],
)
async def test_retry_after_is_heard_as_seconds_or_as_a_date(
    wire: Wire, desk: Desk, said: str, least: float, most: float
) -> None:
    desk.always["status"] = httpx.Response(503, headers={"retry-after": said, "date": in_(0)})
    assert least <= (await failure(wire)).retry_after <= most


async def test_a_date_to_retry_after_was_held_against_our_own_clock(wire: Wire, desk: Desk) -> None:
    desk.always["status"] = httpx.Response(503, headers={"retry-after": email.utils.formatdate(time.time() + 1e6)})
    assert (await failure(wire)).retry_after == 0, "without a date of the answer's own nobody knows how long that is"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_an_error_in_the_log_at_once_and_only_once(
    wire: Wire, desk: Desk, status: int
) -> None:
    desk.instead["status"] += [httpx.Response(status, text=SECRET)] * 3
    with capture_logs() as logs:
        for _ in range(3):
            assert isinstance(await failure(wire), TokenRefused)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("plane.refuses_our_token", "error")]
    assert SECRET not in repr(logs)
    await wire.get("r")
    desk.instead["status"].append(httpx.Response(status))
    with capture_logs() as again:
        await failure(wire)
    assert len(again) == 1, "it was well in between: this is another time"


@pytest.mark.parametrize(("status", "too_large"), [(400, False), (422, False), (413, True)])
async def test_what_cannot_be_taken_is_told_apart(wire: Wire, desk: Desk, status: int, too_large: bool) -> None:
    desk.always["log"] = httpx.Response(status, html="<h1>nginx</h1>")
    error = await failure(wire, "log")
    assert isinstance(error, NotTakeable)
    assert error.too_large is too_large


async def test_a_conflict_says_where_the_run_stands(wire: Wire, desk: Desk) -> None:
    desk.cancel = "stop"
    desk.always["log"] = desk.status(409, "misfit")
    error = await failure(wire, "log")
    assert isinstance(error, Conflict)
    assert error.code == "misfit"
    assert error.run
    assert error.run.cancel == "stop"


async def test_an_error_that_shows_the_token_does_not_pass_it_on(wire: Wire, desk: Desk) -> None:
    desk.instead["status"] += [
        httpx.Response(500, json={"error": {"code": "x", "message": f"what is {SECRET}?"}}),
        RuntimeError(f"header {SECRET}"),
    ]
    for _ in range(2):
        await failure(wire)
