"""The one door to the API server: two clients, every call with a deadline, every status checked."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

from adapter._version import __version__
from adapter.cluster.credentials import Credentials, Source
from adapter.errors import AdapterError, ConnectError

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from multidict import CIMultiDictProxy

Query = Iterable[tuple[str, str]]
MERGE_PATCH = "application/merge-patch+json"

CALLS = 32
"""Connections for calls, at most: an idle one over TLS costs about 310 KiB, and what waits for one has a deadline."""


class ApiError(AdapterError):
    """The API server answered, and the answer was no.

    `status` is the HTTP status, `reason` and `message` are of the Status body, `kind` is its `details.kind`
    (it tells a missing pod, `pods`, from a log that is not there yet, `pods/log`).
    """

    def __init__(self, status: int, body: dict[str, Any], retry_after: float = 0.0) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = " ".join(str(body.get("message") or f"HTTP {status}").split())
        self.kind = str((body.get("details") or {}).get("kind") or "")
        self.retry_after = retry_after
        super().__init__(f"{self.message} (HTTP {status})")

    @property
    def transient(self) -> bool:
        """Whether the same call may be answered otherwise in a moment."""
        return self.status in (408, 429) or self.status >= 500


class Unreachable(AdapterError):
    """The API server did not answer: no connection, a broken one, a deadline, or an answer that is none."""


class Connection:
    """Calls and streams have a client each: the pool of one must never wait for the other (llama-agents #717)."""

    def __init__(self, credentials: Credentials) -> None:
        from kubernetes_asyncio.client import ApiClient

        self._credentials = credentials
        credentials.configuration.connection_pool_maxsize = CALLS
        self._calls = ApiClient(credentials.configuration)
        credentials.configuration.connection_pool_maxsize = 0  # a hundred and first stream would wait without a word
        self._streams = ApiClient(credentials.configuration)
        for client in (self._calls, self._streams):
            client.user_agent = f"claude-k8s-adapter/{__version__}"

    @classmethod
    async def open(cls, source: Source, *, deadline: float, ask: bool = True) -> Connection:
        """Reads the configuration, and asks the API server one question if it is to `ask`. Raises `ConnectError`."""
        credentials = Credentials(source)
        await credentials.load()
        try:
            connection = cls(credentials)
        except OSError as error:  # ssl.SSLError and a missing CA file are OSErrors
            raise ConnectError(f"cannot use the cluster's certificates: {error}") from error
        if not ask:
            return connection
        try:
            await connection.call("GET", "/version", deadline=deadline)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await connection.close()
            if isinstance(error, ApiError | Unreachable):
                raise ConnectError(f"{connection.server}: {error}") from error
            raise
        return connection

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self._credentials.configuration.host)

    @property
    def namespace(self) -> str:
        """The namespace of the kubeconfig's context, or the pod's own."""
        return self._credentials.namespace

    async def close(self) -> None:
        """Closes both clients; streams that are still open end."""
        await self._credentials.close()
        await self._calls.close()
        await self._streams.close()
        # A transport that was aborted, in its TLS handshake too, is gone some turns of the loop later; uvloop insists.
        await anyio.sleep(0.02)

    async def call(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        """One call, answered with JSON: the body of `answer`."""
        return (await self.answer(method, path, **how))[0]

    async def answer(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        query: Query = (),
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> tuple[dict[str, Any], CIMultiDictProxy[str]]:
        """One call: its JSON and its headers, within `deadline` seconds. Raises `ApiError` or `Unreachable`."""
        with _naming(), anyio.fail_after(deadline):
            response = await self._send(self._calls, method, path, query, body, content_type)
            try:
                return _json(await response.read()), response.headers
            finally:
                response.close()  # the connection of a body that was read to its end is in the pool already

    async def read(self, path: str, *, query: Query, headers: float) -> ClientResponse:
        """Opens a stream: the answer's head within `headers` seconds, its body for as long as it lasts.

        The caller owns the response and must `hang_up` on it. Raises `ApiError` or `Unreachable`.
        """
        with _naming(), anyio.fail_after(headers):
            response = await self._send(self._streams, "GET", path, query, None, "application/json")
        with suppress(OSError):  # it is a precaution, and some systems have other options
            _keep_alive(response)
        return response

    @asynccontextmanager
    async def stream(self, path: str, *, query: Query, headers: float) -> AsyncIterator[ClientResponse]:
        """`read` as a context: closed on the way out, synchronously, so that no cancellation can leave it open."""
        response = await self.read(path, query=query, headers=headers)
        try:
            yield response
        finally:
            hang_up(response)

    async def _send(
        self, client: Any, method: str, path: str, query: Query, body: Any, content_type: str
    ) -> ClientResponse:
        """Sends, and once more after a 401 with credentials that were read again."""
        await self._credentials.freshen()
        generation = self._credentials.generation
        try:
            return await _checked(client, method, path, query, body, content_type)
        except ApiError as error:
            if error.status != 401:
                raise
        await self._credentials.renew(generation)
        return await _checked(client, method, path, query, body, content_type)


async def _checked(client: Any, method: str, path: str, query: Query, body: Any, content_type: str) -> ClientResponse:
    """The response, if its status is good; the released library does not look with `_preload_content=False`."""
    from aiohttp import ClientTimeout

    response: ClientResponse = await client.call_api(
        path,
        method,
        query_params=list(query),
        header_params={"Accept": "application/json, */*", "Content-Type": content_type},
        body=body,
        auth_settings=["BearerToken"],
        _preload_content=False,
        _request_timeout=ClientTimeout(total=None, sock_connect=10),
    )
    if response.status in (200, 201, 202):
        return response
    try:
        text = await _beginning(response, 64 * 1024)
    finally:
        response.close()
    raise ApiError(response.status, _status_body(text), _seconds(response.headers.get("Retry-After")))


def hang_up(response: ClientResponse) -> None:
    """Closes a stream now, synchronously. A graceful end of TLS would wait for the peer, which may be silent."""
    transport = response.connection.transport if response.connection else None
    response.close()
    if transport:
        transport.abort()


async def _beginning(response: ClientResponse, most: int) -> bytes:
    """A body, up to `most` bytes of it. (One `read` returns what has arrived, which may be half of the JSON.)"""
    data = b""
    while len(data) < most and (block := await response.content.read(most - len(data))):
        data += block
    return data


def _keep_alive(response: ClientResponse) -> None:
    """TCP keepalive: a peer that vanished without a word is noticed although nothing is sent (aiohttp #5759)."""
    transport = response.connection.transport if response.connection else None
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@contextmanager
def _naming() -> Iterator[None]:
    """Errors that say that the server did not answer, as one of ours."""
    try:
        yield
    except Exception as error:
        named = _named(error)
        if named is error:
            raise
        raise named from error


def _named(error: Exception) -> Exception:
    """The error as one of ours, where it says that the server did not answer."""
    from aiohttp import ClientError

    if isinstance(error, TimeoutError):
        return Unreachable("the API server did not answer in time")
    if isinstance(error, ConnectError):
        return Unreachable(str(error))  # credentials that could not be renewed, this time
    if isinstance(error, ClientError | OSError | ValueError):
        return Unreachable(" ".join(str(error).split()) or type(error).__name__)
    return error


def _json(data: bytes) -> dict[str, Any]:
    answer = json.loads(data)
    if not isinstance(answer, dict):
        raise ValueError("the API server's answer is no JSON object")
    return answer


def _status_body(data: bytes) -> dict[str, Any]:
    try:
        return _json(data)
    except ValueError:
        return {"message": data.decode("utf-8", "replace")[:200]}


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
