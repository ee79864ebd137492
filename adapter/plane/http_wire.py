"""Requests to a control plane: each with a deadline, each answer bounded and checked, each failure a `PlaneError`."""

from __future__ import annotations

import email.utils
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

import anyio
import httpx
import structlog

from adapter._version import __version__
from adapter.backoff import Patience
from adapter.errors import InvalidRequest
from adapter.plane.http_address import Token
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_status import PlaneError, Status, TokenRefused, refusal

Observe = Callable[[str, str, float], None]
"""Called with what was asked, how it ended (an HTTP status, or a word), and the seconds that it took."""

CONNECTIONS = 16
"""To the control plane, through each of the two doors, while it answers; what waits for one has a deadline."""

CROWDED, MOST = 1.0, 256
"""A sign of life that has waited so many seconds makes room for one more, up to so many.

With a control plane that needs 30 s for each answer, sixteen at once were too few for the beats of 200 runs.
"""

IDLE = 4.0
"""Seconds that an unused connection is kept. Less than the five of many a server: one that it closes as we write to
it fails a beat."""

log = structlog.get_logger("adapter.plane")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    retry_after: float
    body: bytes


class _Door:
    """A client, and the queue before it, which is ours: it costs nothing.

    In the library's own each request that waits is compared with every connection, whenever any other one begins or
    ends: with 200 beats and 50 connections a beat cost three times as much, so that more had to wait, and so on.
    """

    def __init__(self, patience: Patience, most: int = CONNECTIONS) -> None:
        self.client, self.patience, self._most = _client(most), patience, most
        self._room = anyio.CapacityLimiter(CONNECTIONS)

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """In the order of coming, but for those who have waited for long: each makes room for one more, at the end."""
        room, guest = self._room, object()
        with anyio.move_on_after(CROWDED if self._most > CONNECTIONS else None) as waited:
            await room.acquire_on_behalf_of(guest)
        if waited.cancelled_caught:
            room.total_tokens = min(self._most, room.total_tokens + 1)
            await room.acquire_on_behalf_of(guest)
        try:
            yield
        finally:
            room.release_on_behalf_of(guest)
            if not room.statistics().tasks_waiting:
                room.total_tokens = max(CONNECTIONS, room.borrowed_tokens)


class Wire:
    """Two doors: log and events must never hold back a beat (or a result, or a question).

    `most` is how large an append may be, as far as was found out.
    """

    def __init__(self, base: httpx.URL, token: Token, limits: PlaneLimits, observe: Observe | None = None) -> None:
        self._base, self._token, self._limits, self._observe = base, token, limits, observe
        self._signs, self._bulk = (
            _Door(Patience(limits.call, limits.slow), MOST),
            _Door(Patience(limits.append, limits.append)),
        )
        self._refused = False
        self.most = limits.most

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._signs.client.aclose()
        await self._bulk.client.aclose()

    async def get(self, run_id: str) -> Status:
        """Where a run stands. Raises `PlaneError`."""
        return await self._ask("status", run_id, self._signs, "GET", "", None)

    async def sign(self, kind: str, run_id: str, body: bytes) -> Status:
        """A beat or a result. Raises `PlaneError`."""
        return await self._ask(kind, run_id, self._signs, "POST", f"/{kind}", body)

    async def send(self, kind: str, run_id: str, body: bytes) -> Status:
        """Log or events. Raises `PlaneError`."""
        return await self._ask(kind, run_id, self._bulk, "POST", f"/{kind}", body)

    async def _ask(
        self,
        kind: str,
        run_id: str,
        door: _Door,
        method: str,
        path: str,
        body: bytes | None,
    ) -> Status:
        began, said, within = anyio.current_time(), "cancelled", door.patience.now
        try:
            with door.patience.wait():
                async with door.entered():
                    answer = await self._exchange(door.client, method, f"{_of(run_id)}{path}", body)
            said = str(answer.status)
            return self._read(kind, run_id, answer)
        except TimeoutError as error:
            said = "timeout"
            raise PlaneError(f"{kind}: no answer within {within:g} s") from error
        except _Garbage as error:
            said = "garbage"
            raise PlaneError(f"{kind}: {error}") from error
        except PlaneError:
            raise
        except Exception as error:  # a closed client, a library's fault: whatever it is, it may not end a run
            said = "error"
            raise PlaneError(f"{kind}: {self._why(error)}") from error
        finally:
            if self._observe:
                self._observe(kind, said, anyio.current_time() - began)

    async def _exchange(self, client: httpx.AsyncClient, method: str, path: str, body: bytes | None) -> _Answer:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = client.build_request(
            method, f"{self._base}/v1/runs/{path}", content=body, headers=headers | self._token.header()
        )
        response = await client.send(request, stream=True)
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _Garbage("the answer is compressed, which was not asked for")
            content = await self._body(response)
        finally:
            await response.aclose()
        return _Answer(response.status_code, response.reason_phrase, _retry_after(response), content)

    async def _body(self, response: httpx.Response) -> bytes:
        """The body, if it is not too long: then the connection is closed, which ends the iteration from within.

        Left by the loop, the generators under it would be finished by tasks of their own, some time.
        """
        body, most = bytearray(), self._limits.answer
        try:
            async for part in response.aiter_raw():
                body += part
                if len(body) > most:
                    await response.aclose()
        except (httpx.HTTPError, httpx.StreamError):
            if len(body) <= most:
                raise
        if len(body) > most:
            raise _Garbage(f"the answer (HTTP {response.status_code}) has more than {most} bytes")
        return bytes(body)

    def _read(self, kind: str, run_id: str, answer: _Answer) -> Status:
        if not 200 <= answer.status < 300:
            text = f"{kind}: HTTP {answer.status} {answer.reason}".rstrip()
            error = refusal(answer.status, answer.body, run_id, text, answer.retry_after, self._token.hide)
            if isinstance(error, TokenRefused):
                self._tell_refused(error)
            raise error
        self._refused = False
        try:
            return Status.read(answer.body, run_id)
        except ValueError as error:
            raise _Garbage(f"HTTP {answer.status} with an answer that is not a control plane's: {error}") from error

    def _tell_refused(self, error: PlaneError) -> None:
        """At once, and once for all the runs of a control plane: an operator must hear of it, not be flooded."""
        if not self._refused:
            hint = "check the token and its rights; a token file is read again when it changes; runs go on meanwhile"
            log.error("plane.refuses_our_token", plane=str(self._base), error=str(error), hint=hint)
        self._refused = True

    def _why(self, error: Exception) -> str:
        if isinstance(error, InvalidRequest):  # the token file, as it is now
            return str(error)
        return self._token.hide(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


class _Garbage(Exception):
    """An answer that no control plane gives."""


@cache
def _trust() -> ssl.SSLContext:
    """Whom we trust. Reading all those certificates takes longer than many a run's requests: it is done once."""
    return httpx.create_ssl_context()


def _client(most: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=_trust(),
        timeout=None,  # noqa: S113 - the deadline is around the whole exchange
        follow_redirects=False,  # a token is not taken to wherever an answer points
        limits=httpx.Limits(max_connections=most, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE),
        headers={
            "User-Agent": f"claude-k8s-adapter/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a small answer could unpack to any size
        },
    )


def _of(run_id: str) -> str:
    """A run's id as a part of a path: dots alone would be taken for steps in it."""
    return run_id.replace(".", "%2E") if run_id in (".", "..") else quote(run_id, safe="")


def _retry_after(response: httpx.Response) -> float:
    """Seconds, given as such or as a date; 0: nothing of the kind was said.

    A date counts from the answer's own: both are of the plane's clock, and ours may be an hour off.
    """
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until, said = _moment(text), _moment(response.headers.get("date", ""))
    return max(0.0, until - said) if until and said else 0.0


def _moment(text: str) -> float | None:
    """The seconds since 1970 of an HTTP date (RFC 9110, section 5.6.7)."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
