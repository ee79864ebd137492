"""Where a control plane may be, and the token, which shows nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from adapter.errors import InvalidRequest
from adapter.loopback import is_loopback
from adapter.plane.http import HttpPlane
from adapter.plane.http_address import Token, base_of

SECRET = "s3cr3t-t0k3n"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://plane", "must begin with http"),
        ("plane:8080", "must begin with http"),
        ("", "must begin with http"),
        ("http:///v1", "must begin with http"),
        (" http://plane", "must begin with http"),
        ("http://me:word@plane", "holds a user or a password"),
        ("http://plane/?a=b", "has a query"),
        ("http://plane/?", "has a query"),
        ("http://plane/#top", "has a fragment"),
        ("http://plane:99999", "has a port"),
        ("http://plane/\n", "is not a URL"),
        ("http://[::1", "is not a URL"),
    ],
)
def test_a_url_that_cannot_be_is_refused_by_name(url: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"plane\.url.*{complaint}") as caught:
        HttpPlane(url)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("url", ["http://plane/api/", "http://plane/api"])
def test_a_slash_at_the_end_is_no_part_of_it(url: str) -> None:
    assert str(base_of(url)) == "http://plane/api"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("[::1]", True), ("localhost", True), ("10.0.0.1", False), ("p", False)],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(httpx.URL(f"http://{host}:80/").host) is loopback


async def test_a_token_in_the_clear_is_warned_of_once() -> None:
    with capture_logs() as logs:
        plane = HttpPlane("http://plane.example", token=SECRET)
        await plane.aclose()

    assert [entry["event"] for entry in logs] == ["plane.token_in_the_clear"]
    assert SECRET not in repr((logs, plane, vars(plane)))


@pytest.mark.parametrize(("url", "token"), [("https://plane", SECRET), ("http://[::1]", SECRET), ("http://p", None)])
async def test_nothing_is_warned_of_where_nobody_listens(url: str, token: str | None) -> None:
    with capture_logs() as logs:
        await HttpPlane(url, token=token).aclose()
    assert logs == []


class TestToken:
    def test_no_token_no_header(self) -> None:
        assert Token().header() == {}
        assert not Token()

    def test_it_never_shows(self) -> None:
        token = Token(SECRET)
        assert token.header() == {"Authorization": f"Bearer {SECRET}"}
        assert SECRET not in repr(token) + repr(vars(token))
        assert token.hide(f"echo {SECRET}!") == "echo ***!"

    def test_a_file_is_read_again_each_time_it_changes(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("first\n")
        token = Token(file=file)
        assert token.header() == {"Authorization": "Bearer first"}
        file.write_text("other\n")
        os.utime(file, ns=(1, 1))

        assert token.header() == {"Authorization": "Bearer other"}

    def test_a_file_that_has_not_changed_is_not_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "token"
        file.write_text("first")
        token = Token(file=file)
        monkeypatch.setattr(Path, "open", None)

        assert token.header() == {"Authorization": "Bearer first"}

    @pytest.mark.parametrize("text", [b"", b"\n", b"two words", b"\xff\xfe", b"x" * 20000])
    def test_a_file_without_a_token_is_refused_by_name(self, tmp_path: Path, text: bytes) -> None:
        file = tmp_path / "token"
        file.write_bytes(text)
        with pytest.raises(InvalidRequest, match=str(file)) as caught:
            Token(file=file)
        assert "two words" not in str(caught.value)

    def test_a_file_that_is_not_there_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"cannot be read: No such file"):
            Token(file=tmp_path / "token")

    def test_one_of_both_is_to_be_given(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match="one of them"):
            Token(SECRET, tmp_path)

    @pytest.mark.parametrize("text", ["", "two words", "new\nline", "ü"])
    def test_a_token_that_cannot_be_one_is_refused_and_not_shown(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match=r"plane\.token is") as caught:
            Token(text)
        assert not text or text not in str(caught.value)
