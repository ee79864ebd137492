"""A service (`claude-k8s serve`) as its client sees it: its runs, what is told of each, and cancels."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import anyio

from adapter.backoff import Backoff
from adapter.errors import AdapterError
from adapter.loopback import is_loopback

if TYPE_CHECKING:
    import httpx  # a heavy import: only for who asks a service

TOKEN = "CLAUDE_K8S_TOKEN"  # noqa: S105 - the name of a variable
"""The variable that holds the service's token."""

CALL = 10.0
"""Seconds that an answer may take."""
SILENCE = 45.0
"""Seconds without a line after which a stream is dead: the service sends a ping each 15 s."""
PATIENCE = 300.0
"""Seconds for which a stream that broke is opened again and again."""

Line = dict[str, Any]


class RemoteError(AdapterError):
    """The service did not answer, or its answer was no."""


class Broken(RemoteError):
    """It may answer in a moment."""


def remote_of(options: Mapping[str, Any]) -> Remote | None:
    """The service that a command's options name; None: the cluster is asked. Raises `RemoteError`."""
    url = options["service"]
    return Remote(url, token_of(options["service_token_file"])) if url else None


def token_of(path: str | None) -> str | None:
    """The token in a file, else that of the environment. Raises `RemoteError`, without any of it."""
    if path is None:
        return _checked(os.environ[TOKEN], TOKEN) if os.environ.get(TOKEN) else None
    try:
        return _checked(Path(path).read_text(), f"--service-token-file {path}")
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "not text"
        raise RemoteError(f"--service-token-file {path}: {words}") from None


def _checked(text: str, place: str) -> str:
    token = text.strip()
    if not (token and token.isascii() and token.isprintable()):
        raise RemoteError(f"{place}: no token, which is one line of ASCII")
    return token


class Remote:
    """A connection to one service; used as a context. Its `repr` shows no token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Raises `RemoteError` for what is no address."""
        import httpx

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RemoteError(f"--service {_shown(url)}: not an address such as http://127.0.0.1:8642")
        self.url = _shown(url).rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(CALL, read=SILENCE)
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout, trust_env=not is_loopback(parts.hostname)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def runs(self) -> tuple[list[Line], datetime]:
        """Every run that the service knows, and its time."""
        answer = await self._asked("GET", "/v1/runs")
        return list(_json(answer)["runs"]), _date(answer)

    async def run(self, run_id: str) -> Line | None:
        """One run; None if it is not known."""
        answer = await self._asked("GET", _path(run_id), missing=True)
        return _json(answer) if answer.status_code != 404 else None

    async def cancel(self, run_id: str, why: str) -> bool:
        """Cancels a run; returns when the API server has it. False if there is no such run.

        What was not taken yet is asked for again, for a moment.
        """
        pace, problem = Backoff(0.2, 2.0), Broken(f"{self.url}: the cancel was not taken in time")
        with anyio.move_on_after(CALL):
            while True:
                try:
                    answer = await self._asked("POST", f"{_path(run_id)}/cancel", missing=True, body={"reason": why})
                    return answer.status_code != 404
                except Broken as error:
                    problem = error
                await pace.wait()
        raise problem

    async def events(self, run_id: str, after: str = "") -> AsyncGenerator[Line]:
        """What is told of a run, line by line, to its result; gone on with after every break. Raises `RemoteError`.

        A `bye` is a break, too: the service lets go, and another one, or the same, will go on.
        """
        pace, cursor, give_up = Backoff(0.2, 5.0), after, anyio.current_time()
        while True:
            problem = Broken(f"{self.url}: the service ends the stream, and tells nothing")
            try:
                async with aclosing(self._stream(run_id, cursor)) as lines:
                    async for line in lines:
                        cursor, give_up = line.get("cursor") or cursor, anyio.current_time() + PATIENCE
                        pace.reset()
                        yield line
                        if line["type"] == "result":
                            return
            except Broken as error:
                problem = error
            if anyio.current_time() >= give_up:
                raise problem
            await pace.wait()

    async def _stream(self, run_id: str, cursor: str) -> AsyncGenerator[Line]:
        """The lines of one answer, to its end. Raises `Broken` where it broke off."""
        from httpx import HTTPError

        query = {"after": cursor} if cursor else {}
        headers = {"Accept": "application/x-ndjson"}
        try:
            async with self._client.stream("GET", f"{_path(run_id)}/events", params=query, headers=headers) as answer:
                if answer.is_error:
                    await answer.aread()
                self._check(answer)
                async for text in _lines(answer.aiter_bytes()):
                    yield _line(text)
        except HTTPError as error:
            raise self._broken(error) from None

    async def _asked(self, method: str, path: str, *, missing: bool = False, body: Any = None) -> httpx.Response:
        from httpx import HTTPError

        try:
            with anyio.fail_after(CALL):
                answer = await self._client.request(method, path, json=body)
        except (HTTPError, TimeoutError) as error:
            raise self._broken(error) from None
        if not (missing and answer.status_code == 404):
            self._check(answer)
        return answer

    def _check(self, answer: httpx.Response) -> None:
        """Raises for what is no success, with the service's own words."""
        if answer.is_success:
            return
        words = f"{self.url}: {_words(answer)}"
        if answer.status_code in (401, 403):
            raise RemoteError(f"{words}; give its token with --service-token-file, or in {TOKEN}")
        raise Broken(words) if answer.status_code in (429, 502, 503, 504) else RemoteError(words)

    def _broken(self, error: Exception) -> Broken:
        """What went wrong on the way. The errors of httpx quote no header."""
        text = " ".join(str(error).split()) or type(error).__name__
        return Broken(f"{self.url}: no answer from the service: {text}")


def _path(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}"


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines end with a newline, and with nothing else that Python takes for one: a log may hold it."""
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line


def _line(text: bytes) -> Line:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("type"), str):
        raise RemoteError("the service has sent a line that is none: is it claude-k8s serve?")
    return line


def _json(answer: httpx.Response) -> Line:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RemoteError(f"{answer.url.host} does not speak as claude-k8s serve does: is the address right?")
    return body


def _words(answer: httpx.Response) -> str:
    try:
        return " ".join(str(answer.json()["error"]["message"]).split()) + f" (HTTP {answer.status_code})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _date(answer: httpx.Response) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _shown(url: str) -> str:
    """An address without the password that may be in it."""
    head, at, rest = url.rpartition("@")
    return f"{head.partition('://')[0]}://***@{rest}" if at else url
