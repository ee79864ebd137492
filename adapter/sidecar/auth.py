"""Who may speak to the service: whoever has its token; without one, programs of this machine, but no web page."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Protocol

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter.errors import AdapterError
from adapter.loopback import is_loopback
from adapter.sidecar.errors import refusal

log = structlog.get_logger(__name__)

OPEN = frozenset({"/healthz", "/readyz"})
"""What anybody may ask: a kubelet has no token."""

VARIABLE = "CLAUDE_K8S_TOKEN"


class Token(Protocol):
    """Something that knows the token."""

    def matches(self, given: str) -> bool:
        """Whether it is this one; how long that takes says nothing of the token."""


class FixedToken:
    """A token that stays."""

    def __init__(self, token: str) -> None:
        """Raises `AdapterError` for what no header could carry."""
        self._digest = _digest(_checked(token, VARIABLE))

    def matches(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given), self._digest)


class FileToken:
    """The token in a file, which is read again when it changes: the kubelet renews a Secret's files in their place."""

    def __init__(self, path: Path) -> None:
        """Raises `AdapterError` where there is no token in it."""
        self._path = path
        self._seen = _look(path)
        self._digest: bytes | None = _digest(_read(path))

    def matches(self, given: str) -> bool:
        self._refresh()
        return self._digest is not None and hmac.compare_digest(_digest(given), self._digest)

    def _refresh(self) -> None:
        """Where the file has gone or is empty, nobody gets in: an old token may have been taken back."""
        seen = _look(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._digest = _digest(_read(self._path))
            log.info("auth.token_read", path=str(self._path))
        except AdapterError as error:
            self._digest = None
            log.error("auth.no_token", error=str(error), hint="no request is accepted until the file has a token")


def token_of(path: Path | None) -> Token | None:
    """The token of a file, or of the environment, or none. Raises `AdapterError` where it is no good."""
    if path is not None:
        return FileToken(path)
    return FixedToken(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


class Guard:
    """Lets nobody in without the token. What it refuses is not read any further."""

    def __init__(self, app: ASGIApp, token: Token | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refused(scope) if scope["type"] == "http" and scope["path"] not in OPEN else None
        await (answer or self._app)(scope, receive, send)

    def _refused(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if self._token is None:
            return None if _of_this_machine(headers) else refusal(403, "forbidden", _NO_PAGES)
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._token.matches(given.strip()):
            return None
        words = "the bearer token is not accepted" if given else "a bearer token is needed"
        return refusal(401, "unauthorized", words, headers={"WWW-Authenticate": "Bearer"})


_NO_PAGES = (
    "without a token only programs of this machine are served: no web page, and no other host name than localhost"
)


def _of_this_machine(headers: Headers) -> bool:
    """A browser on this machine can be made to speak to us by any page it shows.

    It then says so (`Origin`), or, where the page's host name was rebound to this machine, calls us by that name.
    """
    return "origin" not in headers and is_loopback(_host(headers.get("host", "")))


def _host(text: str) -> str:
    """The host without its port."""
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not text"
        raise AdapterError(f"token file {path}: {cause}") from None
    return _checked(text, f"token file {path}")


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token:
        raise AdapterError(f"{where}: is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise AdapterError(f"{where}: is not one word of plain characters, as a header needs it")
    return token


def _digest(token: str) -> bytes:
    """Of one length whatever the token is, so that a comparison takes no more or less time."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
