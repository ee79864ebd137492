"""Who gets in: the token and nobody else; without one, programs of this machine and no web page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapter.errors import AdapterError
from adapter.loopback import is_loopback
from adapter.sidecar.auth import FileToken, FixedToken, token_of
from tests.sidecar.serving import served

SECRET = "s3cret-s3cret"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    return path


async def test_nothing_but_health_and_readiness_is_answered_without_the_token(tmp_path: Path) -> None:
    paths = ("/v1/runs", "/v1/runs/r/events", "/v1/schema", "/metrics", "/openapi.json", "/nothing", "/healthz/")
    async with served(tmp_path, token=FixedToken(SECRET)) as service:
        for path in paths:
            for headers in ({}, bearer("wrong"), bearer(SECRET[:-1]), {"authorization": f"Basic {SECRET}"}):
                answer = await service.client.get(path, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), path
                assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/healthz", "/readyz"):
            assert (await service.client.get(path)).status_code == 200
        for path in ("/v1/runs", "/metrics", "/openapi.json"):
            for given in (bearer(SECRET), {"authorization": f"bearer  {SECRET}"}):
                assert (await service.client.get(path, headers=given)).status_code == 200


async def test_what_is_refused_is_not_read(tmp_path: Path) -> None:
    async with served(tmp_path, token=FixedToken(SECRET)) as service:
        body = {"request": {"runId": "r", "command": ["true"]}}
        assert (await service.client.post("/v1/runs", json=body)).status_code == 401
        assert service.book.documents == []


async def test_a_token_that_is_renewed_counts_at_once_and_the_old_one_no_more(tmp_path: Path, file: Path) -> None:
    """A kubelet renews a Secret's files by another link in their place."""
    async with served(tmp_path, token=FileToken(file)) as service:

        async def status(token: str) -> int:
            return (await service.client.get("/v1/runs", headers=bearer(token))).status_code

        assert await status(SECRET) == 200
        new = tmp_path / "new"
        new.write_text("another-token")
        new.replace(file)
        assert (await status(SECRET), await status("another-token")) == (401, 200)
        file.unlink()  # noqa: ASYNC240 - a test's small file
        assert await status("another-token") == 401
        file.write_text("")  # noqa: ASYNC240 - a test's small file
        assert await status("another-token") == 401
        file.write_text("third-token")  # noqa: ASYNC240 - a test's small file
        assert await status("third-token") == 200


@pytest.mark.parametrize("text", ["", " \n", "two words", "t\u00f6ken", "a\nb", "nul\0"])
def test_a_token_that_no_header_could_carry_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(AdapterError, match=str(file)) as refused:
        token_of(file)
    with pytest.raises(AdapterError, match="CLAUDE_K8S_TOKEN"):
        FixedToken(text)
    assert "words" not in str(refused.value)


def test_the_tokens_place(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLAUDE_K8S_TOKEN", raising=False)
    assert token_of(None) is None
    monkeypatch.setenv("CLAUDE_K8S_TOKEN", "from-the-environment")
    given = token_of(None)
    assert given is not None
    assert (given.matches("from-the-environment"), given.matches(SECRET), given.matches("\udc80")) == (
        True,
        False,
        False,
    )
    first = token_of(file)
    assert first is not None
    assert (first.matches(SECRET), SECRET in repr(vars(first))) == (True, False)
    with pytest.raises(AdapterError, match="No such file"):
        token_of(tmp_path / "missing")
    if os.geteuid():
        file.chmod(0)
        with pytest.raises(AdapterError, match="Permission"):
            token_of(file)


async def test_without_a_token_no_web_page_is_served(tmp_path: Path) -> None:
    """A page on this machine can make its browser send to us: the browser says so, or names us as the page's host."""
    async with served(tmp_path) as service:
        port = service.url.rpartition(":")[2]
        for host in ("localhost", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST:1", "127.8.8.8"):
            assert (await service.client.get("/v1/runs", headers={"host": host})).status_code == 200, host
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "10.0.0.1", "", "[::1"):
            answer = await service.client.get("/v1/runs", headers={"host": host})
            assert answer.status_code == (200 if host == "[::1" else 403), host
        await service.book.add("r")
        answer = await service.client.post("/v1/runs/r/cancel", headers={"origin": "http://localhost"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert service.book.cancelled == {}
        assert (await service.client.get("/healthz", headers={"host": "10.0.0.1"})).status_code == 200, "a kubelet's"


async def test_with_a_token_any_name_will_do(tmp_path: Path) -> None:
    async with served(tmp_path, token=FixedToken(SECRET)) as service:
        headers = bearer(SECRET) | {"host": "claude-k8s.agents.svc", "origin": "https://plane.example"}
        assert (await service.client.get("/v1/runs", headers=headers)).status_code == 200


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "", "example.com", "localhost.example")))
