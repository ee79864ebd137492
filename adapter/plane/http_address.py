"""Where a control plane is, and the token that it knows us by."""

from __future__ import annotations

from pathlib import Path

import httpx
from pydantic import SecretStr

from adapter.errors import InvalidRequest

LONGEST_TOKEN = 16 * 1024
"""Bytes: what is longer is not a token, but the wrong file."""


def base_of(url: str) -> httpx.URL:
    """A control plane's address, without a slash at its end. Raises `InvalidRequest`."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidRequest(f"plane.url is not a URL: {error}") from error
    _need(parsed.scheme in ("http", "https") and bool(parsed.host), "must begin with http:// or https:// and a host")
    _need(not parsed.userinfo, "holds a user or a password: give the token in plane.token")
    _need(not parsed.query and "?" not in url, "has a query: give the address that /v1/runs follows")
    _need(not parsed.fragment and "#" not in url, "has a fragment: give the address that /v1/runs follows")
    _need(parsed.port is None or parsed.port < 65536, "has a port that is none")
    return httpx.URL(str(parsed).rstrip("/"))


def _need(holds: bool, complaint: str) -> None:
    if not holds:
        raise InvalidRequest(f"plane.url {complaint}")


class Token:
    """A bearer token, given or in a file that is read again each time it changes: tokens are renewed under us."""

    def __init__(self, token: str | None = None, file: Path | None = None) -> None:
        if token is not None and file is not None:
            raise InvalidRequest("plane.token and a token file are given: give one of them")
        self._file, self._version = file, (0, 0, 0)
        self._secret = _checked(token, "plane.token") if token is not None else None
        if file is not None:
            self.header()

    def header(self) -> dict[str, str]:
        """What a request bears. Raises `InvalidRequest` where the file holds no token now; never shows it."""
        if self._file is not None:
            self._secret = self._read(self._file)
        return {"Authorization": f"Bearer {self._secret.get_secret_value()}"} if self._secret else {}

    def hide(self, text: str) -> str:
        """A text without the token: an answer may show what it was asked."""
        return text.replace(self._secret.get_secret_value(), "***") if self._secret else text

    def __bool__(self) -> bool:
        return self._secret is not None

    def _read(self, file: Path) -> SecretStr:
        try:
            stat = file.stat()
            version = stat.st_mtime_ns, stat.st_ino, stat.st_size
            if self._secret is not None and version == self._version:
                return self._secret
            with file.open("rb") as opened:
                secret = _checked(opened.read(LONGEST_TOKEN + 1).decode().strip(), f"the token file {file}")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the token file {file} cannot be read: {_why(error)}") from error
        self._version = version
        return secret


def _checked(token: str, name: str) -> SecretStr:
    if not token:
        raise InvalidRequest(f"{name} is empty")
    if len(token) > LONGEST_TOKEN or not all("!" <= character <= "~" for character in token):
        raise InvalidRequest(f"{name} is not a token: it is too long, or holds more than printable ASCII")
    return SecretStr(token)


def _why(error: Exception) -> str:
    """An error without the bytes that it is about."""
    return (error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8"
