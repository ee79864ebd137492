"""Where we are, and what our own pod is: read from the environment, asked once a connection, never elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter.cluster import introspection
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.introspection import OwnPod, Whereabouts, own_pod, where_am_i

HERE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOSTNAME": "paperclip-0"}
SERVER = "https://10.96.0.1:443"
NAMES = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HOSTNAME", "POD_NAME", "POD_NAMESPACE")


class Connected:
    """Stands for a connection: answers with pods, or raises."""

    def __init__(self, *answers: Any, server: str = SERVER) -> None:
        self.answers, self.server, self.namespace = list(answers), server, "default"
        self.asked: list[str] = []

    async def call(self, method: str, path: str, *, deadline: float) -> Any:
        self.asked.append(f"{method} {path} {deadline:g}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In a pod, whose service account's namespace is `spaces`."""
    for name in (*NAMES, "PAPERCLIP_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(introspection, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "namespace").write_text("spaces\n")
    return tmp_path


async def found(connection: Connected) -> OwnPod:
    return await own_pod(connection, call=3)  # type: ignore[arg-type]  # it only has to be asked


def refusal(status: int, kind: str = "pods") -> ApiError:
    return ApiError(status, {"message": f"HTTP {status} it is", "details": {"kind": kind}})


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, "spaces/paperclip-0"),
        ({"POD_NAMESPACE": "pods"}, "pods/paperclip-0"),
        ({"POD_NAMESPACE": "pods", "PAPERCLIP_NAMESPACE": "clips"}, "clips/paperclip-0"),
        ({"POD_NAMESPACE": "", "PAPERCLIP_NAMESPACE": ""}, "spaces/paperclip-0"),
        ({"POD_NAME": "paperclip-with-a-longer-name"}, "spaces/paperclip-with-a-longer-name"),
    ],
)
def test_where_we_are(environment: dict[str, str], place: str) -> None:
    assert str(where_am_i(HERE | environment)) == place


@pytest.mark.parametrize("lacking", ["KUBERNETES_SERVICE_HOST", "HOSTNAME"])
def test_where_nobody_says_it(lacking: str) -> None:
    assert where_am_i({name: value for name, value in HERE.items() if name != lacking}) is None


def test_the_environment_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "ours")
    assert where_am_i() == Whereabouts("ours", "paperclip-0")


def test_without_a_token_the_namespace_is_the_one_that_the_connection_has(somewhere: Path) -> None:
    (somewhere / "namespace").unlink()
    assert where_am_i(HERE) == Whereabouts("default", "paperclip-0")
    assert where_am_i(HERE, fallback="apps") == Whereabouts("apps", "paperclip-0")


async def test_our_pod_is_read_by_its_name_and_once() -> None:
    pod = {"metadata": {"name": "paperclip-0"}}
    connection = Connected(pod)
    assert (await found(connection)).raw == pod
    assert (await found(connection)).raw == pod
    assert connection.asked == ["GET /api/v1/namespaces/spaces/pods/paperclip-0 3"]


async def test_what_one_connection_found_is_not_what_another_has() -> None:
    """The old adapter's cache took no notice of the kubeconfig."""
    first, second = Connected({"metadata": {"name": "one"}}), Connected({"metadata": {"name": "two"}})
    assert [(await found(each)).raw for each in (first, second, first)] == [
        {"metadata": {"name": "one"}},
        {"metadata": {"name": "two"}},
        {"metadata": {"name": "one"}},
    ]
    outside = Connected(server="https://staging.example.com:6443")
    assert (await found(outside)).raw is None
    assert not outside.asked


@pytest.mark.parametrize(
    ("server", "ours"),
    [
        ("https://10.96.0.1:443", True),
        ("https://10.96.0.1", True),
        ("https://kubernetes.default.svc", True),
        ("https://kubernetes.default.svc.cluster.local:443", True),
        ("https://10.96.0.1:6443", False),
        ("https://10.96.0.2:443", False),
        ("https://api.example.com", False),
        ("http://127.0.0.1:8001", False),
    ],
)
async def test_only_in_the_cluster_that_we_talk_to(server: str, ours: bool) -> None:
    own = await found(Connected({"metadata": {}}, server=server))
    assert (own.raw is not None, own.place is not None) == (ours, ours)
    assert ours or own.reason == "we are in a cluster, but not known to be in the one that we talk to"


async def test_an_ipv6_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "FD00::1")
    assert (await found(Connected({"metadata": {}}, server="https://[fd00::1]:443"))).raw is not None


async def test_outside_of_any_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert await found(Connected()) == OwnPod(reason="we are not in a cluster")


async def test_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOSTNAME")
    own = await found(Connected())
    assert (own.raw, own.place) == (None, None)
    assert "POD_NAME" in own.reason


@pytest.mark.parametrize(("status", "word"), [(403, "HTTP 403 it is"), (404, "set POD_NAME and POD_NAMESPACE")])
async def test_a_clear_no_has_a_reason_and_is_asked_again(status: int, word: str) -> None:
    connection = Connected(refusal(status), {"metadata": {}})
    own = await found(connection)
    assert (own.raw, str(own.place)) == (None, "spaces/paperclip-0")
    assert word in own.reason
    assert (await found(connection)).raw == {"metadata": {}}


@pytest.mark.parametrize("error", [refusal(500), refusal(401), Unreachable("nobody there")])
async def test_a_moment_of_trouble_is_no_answer(error: Exception) -> None:
    with pytest.raises(type(error)):
        await found(Connected(error))


async def test_what_the_pod_holds_is_never_shown() -> None:
    own = await found(Connected({"spec": {"containers": [{"env": [{"name": "A", "value": "hunter2"}]}]}}))
    assert "hunter2" not in repr(own)
