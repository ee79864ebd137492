"""Kubeconfigs good and bad, exec plugins whose tokens expire, and the service account's token file."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.cluster import credentials
from adapter.cluster.credentials import TOKEN_REREAD, Credentials, Source
from adapter.errors import ConnectError


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def kubeconfig(path: Path, user: dict[str, Any], namespace: str | None = "apps") -> str:
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


def plugin(path: Path, lifetime: float) -> dict[str, Any]:
    """An exec plugin that gives a new token at each call."""
    expiry = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")
    version = "client.authentication.k8s.io/v1"
    status = f'{{"token": "token-%s", "expirationTimestamp": "{expiry}"}}'
    answer = f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {status}}}'
    path.write_text(f"#!/bin/sh\necho >> {path}.calls\nprintf '{answer}' $(wc -l < {path}.calls)\n")
    path.chmod(0o755)
    return {"exec": {"apiVersion": version, "command": str(path), "args": [], "interactiveMode": "Never"}}


async def load(path: str, context: str | None = None) -> Credentials:
    loaded = Credentials(Source(path, context))
    await loaded.load()
    return loaded


def token(loaded: Credentials) -> str:
    return str(loaded.configuration.api_key["BearerToken"])


def left(loaded: Credentials) -> float:
    return loaded._fresh_until - asyncio.get_running_loop().time()


async def test_a_kubeconfig_gives_server_token_and_namespace(tmp_path: Path) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", {"token": "t"}))

    assert (loaded.configuration.host, token(loaded), loaded.namespace) == ("http://127.0.0.1:1", "Bearer t", "apps")


async def test_a_context_without_a_namespace_means_default(tmp_path: Path) -> None:
    assert (await load(kubeconfig(tmp_path / "config", {"token": "t"}, None))).namespace == "default"


async def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"no kubeconfig at .*nowhere: name one with --kubeconfig"):
        await load(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("text", ["{", "", "[]", "clusters: 7", "current-context: x", "\0"])
async def test_a_broken_kubeconfig_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(ConnectError) as raised:
        await load(str(path))
    assert str(raised.value).startswith(f"cannot use {path}: ")
    assert "\n" not in str(raised.value)


async def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="staging"):
        await load(kubeconfig(tmp_path / "config", {"token": "t"}), "staging")


async def test_a_token_without_expiry_is_fresh_for_ever(tmp_path: Path) -> None:
    assert left(await load(kubeconfig(tmp_path / "config", {"token": "t"}))) == float("inf")


async def test_a_plugins_token_is_renewed_a_minute_before_it_expires(tmp_path: Path) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", plugin(tmp_path / "plugin", 600)))

    assert token(loaded) == "Bearer token-1"
    assert 500 < left(loaded) <= 540


async def test_a_token_that_is_about_to_expire_is_renewed_once(tmp_path: Path) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", plugin(tmp_path / "plugin", 600)))
    loaded._fresh_until = 0.0
    await asyncio.gather(loaded.freshen(), loaded.freshen(), loaded.freshen())

    assert token(loaded) == "Bearer token-2"
    assert left(loaded) > 500  # and after that renewal it is known again when the next is due


async def test_a_fresh_token_costs_nothing(tmp_path: Path) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", plugin(tmp_path / "plugin", 600)))
    await loaded.freshen()

    assert token(loaded) == "Bearer token-1"


async def test_all_who_saw_a_token_refused_renew_it_once(tmp_path: Path) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", plugin(tmp_path / "plugin", 600)))
    seen = loaded.generation
    await asyncio.gather(*(loaded.renew(seen) for _ in range(3)))

    assert token(loaded) == "Bearer token-2"


@pytest.mark.parametrize("lifetime", [90, 40, 10])
async def test_a_short_lived_token_is_renewed_while_it_lives(tmp_path: Path, lifetime: int) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", plugin(tmp_path / "plugin", lifetime)))

    assert 0 < left(loaded) < lifetime


async def test_a_clock_an_hour_ahead_had_a_plugin_asked_each_second(tmp_path: Path) -> None:
    loaded = await load(kubeconfig(tmp_path / "config", plugin(tmp_path / "plugin", 600 - 3600)))
    assert 59 < left(loaded) <= 60, "a token that was issued just now has not expired"


async def test_a_plugin_that_fails_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nonexistent/plugin"}}

    with pytest.raises(ConnectError, match="/nonexistent/plugin"):
        await load(kubeconfig(tmp_path / "config", user))


@pytest.fixture
def service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from kubernetes_asyncio.config import incluster_config

    for name, text in (("token", "secret\n"), ("namespace", "agents\n"), ("ca.crt", "certificate")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


async def in_pod() -> Credentials:
    loaded = Credentials(Source())
    await loaded.load()
    return loaded


async def test_a_token_file_is_stripped(service_account: Path) -> None:
    loaded = await in_pod()

    assert (token(loaded).split(), loaded.namespace) == (["Bearer", "secret"], "agents")
    assert token(loaded) == token(loaded).strip()


async def test_a_token_file_is_read_again(service_account: Path) -> None:
    loaded = await in_pod()
    assert 0 < left(loaded) <= TOKEN_REREAD
    (service_account / "token").write_text("rotated\n")
    loaded._fresh_until = 0.0
    await loaded.freshen()

    assert token(loaded).endswith(" rotated")


def test_a_kubeconfig_that_is_named_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/from/environment")

    assert Source("/named").path() == "/named"
    assert Source().path() == "/from/environment"


def test_without_any_kubeconfig_a_pod_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(Source().path()).endswith("/.kube/config")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")

    assert Source().path() is None
    assert Source(context="x").path() is not None
