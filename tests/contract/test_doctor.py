"""The doctor on the real cluster, as an account with the documented Role: what it finds there is so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from adapter import Adapter
from adapter.cluster.checks import Check
from adapter.cluster.connection import ApiError
from adapter.cluster.introspection import own_pod
from adapter.cluster.preflight import Report
from adapter.cluster.rbac import TABLE, Right, rules
from adapter.doctor import examine
from tests.contract.accounts import documented, granted, with_token
from tests.contract.conftest import Place

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("place", ["real"], indirect=True)]

AGENT = {"image": "busybox:1.36"}
MERGE = "application/merge-patch+json"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "PAPERCLIP_NAMESPACE", "POD_NAMESPACE", "POD_NAME"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[Adapter]:
    async with Adapter.connect(kubeconfig=place.kubeconfig, namespace=place.namespace, instance="test") as adapter:
        yield adapter


async def examined(place: Place, **config: Any) -> Report:
    async with connected(place) as adapter:
        return await examine(adapter, {**AGENT, **config})


async def limited(place: Place, directory: Path) -> Place:
    """As the account that docs/deploy/agents/role.yaml makes."""
    await documented(place)
    return await with_token(place, directory)


def bad(report: Report) -> list[str]:
    return [f"{check.level} {check.code}" for check in report.checks if check.level != "info"]


def only(report: Report, code: str) -> Check:
    [check] = [check for check in report.checks if check.code == code]
    return check


async def labelled(place: Place, **levels: str) -> None:
    labels = {f"pod-security.kubernetes.io/{name}": level for name, level in levels.items()}
    await place.ask("PATCH", place.core, {"metadata": {"labels": labels}}, content_type=MERGE)


async def quota(place: Place, name: str, hard: Mapping[str, str]) -> None:
    path = f"{place.core}/resourcequotas"
    await place.ask("POST", path, {"metadata": {"name": name}, "spec": {"hard": hard}})
    with anyio.fail_after(30):
        while "used" not in (await place.ask("GET", f"{path}/{name}")).get("status", {}):
            await anyio.sleep(0.1)


async def test_the_documented_role_passes(place: Place, tmp_path: Path) -> None:
    report = await examined(await limited(place, tmp_path))
    assert (report.status, bad(report)) == ("pass", [])
    assert only(report, "k8s_rbac").message == f"all {len(TABLE)} rights are there"
    codes = {check.code for check in report.checks}
    assert {"k8s_api_reachable", "k8s_clock", "k8s_namespace_exists", "k8s_job_accepted", "k8s_quota"} <= codes
    assert "k8s_pod_accepted" not in codes, "the Role does not allow to create pods"
    await nothing_was_made(place)


async def nothing_was_made(place: Place) -> None:
    for path in (place.jobs, *(f"{place.core}/{kind}" for kind in ("pods", "secrets"))):
        assert (await place.ask("GET", path))["items"] == []


async def test_it_passes_without_a_configuration_too(place: Place, tmp_path: Path) -> None:
    account = await limited(place, tmp_path)
    async with connected(account) as adapter:
        assert (await examine(adapter)).status == "pass"


async def test_each_right_that_is_taken_away_is_named(place: Place, tmp_path: Path) -> None:
    await granted(place, TABLE)
    account = await with_token(place, tmp_path)
    async with connected(account) as adapter:
        for right in TABLE:
            await only_these(place, [other for other in TABLE if other is not right], right)
            report = await examine(adapter, AGENT)
            check = only(report, right.code)
            assert str(right) in check.message
            level = "warn" if right.without or right.only == "service" else "error"
            level = "info" if right.only == "pod" else level
            assert (check.level, bad(report)) == (level, [] if level == "info" else [f"{level} {right.code}"])


async def only_these(place: Place, rights: Iterable[Right], lacking: Right) -> None:
    """Writes the Role anew, and waits until the API server knows."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place.namespace}/roles/claude-k8s"
    await place.ask("PATCH", roles, {"rules": rules(rights)}, content_type=MERGE)
    with anyio.fail_after(30):
        while await _may(place, lacking) or not await _may(place, TABLE[0] if lacking is not TABLE[0] else TABLE[-1]):
            await anyio.sleep(0.05)


async def _may(place: Place, right: Right) -> bool:
    resource, _, part = right.resource.partition("/")
    asked = {"namespace": place.namespace, "group": right.group, "resource": resource, "subresource": part}
    user = f"system:serviceaccount:{place.namespace}:claude-k8s"
    spec = {"user": user, "resourceAttributes": {**asked, "verb": right.verb}}
    answer = await place.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
    return bool(answer["status"]["allowed"])


async def test_pod_security(place: Place, tmp_path: Path) -> None:
    account = await limited(place, tmp_path)
    await labelled(place, enforce="restricted")
    assert bad(await examined(account)) == []
    assert bad(await examined(account, enableDocker=True)) == ["error k8s_pod_security"]
    await labelled(place, enforce="privileged", warn="baseline")
    report = await examined(account, enableDocker=True)
    assert bad(report) == ["warn k8s_pod_security_warning"]
    assert "container docker must not set" in only(report, "k8s_pod_security_warning").message.replace('"', "")
    assert bad(await examined(place, enableDocker=True)) == ["warn k8s_pod_security_warning"], "the pod is admitted"


async def test_pod_security_that_may_not_be_read_is_known_from_the_warning(place: Place, tmp_path: Path) -> None:
    await granted(place, [right for right in TABLE if right.resource != "namespaces"])
    account = await with_token(place, tmp_path)
    await labelled(place, enforce="restricted")
    report = await examined(account, enableDocker=True)
    assert bad(report) == ["warn k8s_rbac_namespace_get", "warn k8s_pod_security_warning"]
    assert "may refuse them (restricted)" in only(report, "k8s_pod_security_warning").message


async def test_secrets_are_looked_for_without_reading_any(place: Place, tmp_path: Path) -> None:
    await granted(place, [right for right in TABLE if str(right) != "get secrets"])
    account = await with_token(place, tmp_path)
    await place.ask("POST", f"{place.core}/secrets", {"metadata": {"name": "registry"}})
    report = await examined(account, imagePullSecrets=["registry"], secretRef="keys")
    assert only(report, "k8s_secret_exists").message == "Secret registry is there (to pull images)"
    assert bad(report) == ["warn k8s_rbac_secret_get", "warn k8s_secret_missing"]
    assert [one["metadata"]["name"] for one in (await place.ask("GET", f"{place.core}/secrets"))["items"]] == [
        "registry"
    ]
    async with connected(account) as adapter:
        with pytest.raises(ApiError, match="cannot get resource"):
            await adapter.connection.call("GET", f"{place.core}/secrets/registry", deadline=10)


async def test_quotas(place: Place, tmp_path: Path) -> None:
    account = await limited(place, tmp_path)
    await quota(place, "room", {"pods": "3", "requests.cpu": "3", "limits.memory": "20Gi", "count/jobs.batch": "9"})
    report = await examined(account)
    assert "quota room leaves room for 2 more runs" in only(report, "k8s_quota").message
    await quota(place, "tight", {"limits.cpu": "1"})
    assert bad(await examined(account)) == ["error k8s_quota_too_small"]
    await place.ask("DELETE", f"{place.core}/resourcequotas/tight")
    await quota(place, "storage", {"requests.storage": "1Gi"})
    assert bad(await examined(account)) == []


async def test_a_claim(place: Place, tmp_path: Path) -> None:
    account = await limited(place, tmp_path)
    assert bad(await examined(account, workspaceVolumeClaim="data")) == ["error k8s_pvc_missing"]
    for name, mode in (("shared", "ReadWriteMany"), ("alone", "ReadWriteOnce")):
        spec = {"accessModes": [mode], "storageClassName": "none", "resources": {"requests": {"storage": "1Mi"}}}
        await place.ask("POST", f"{place.core}/persistentvolumeclaims", {"metadata": {"name": name}, "spec": spec})
    report = await examined(account, workspaceVolumeClaim="shared")
    assert (bad(report), only(report, "k8s_pvc_pending").level) == ([], "info")
    assert bad(await examined(account, workspaceVolumeClaim="alone")) == ["warn k8s_pvc_not_rwx"]


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ({"serviceAccountName": "nobody"}, "k8s_service_account_missing", 'serviceaccount "nobody" not found'),
        ({"priorityClassName": "none"}, "k8s_pod_rejected", "no PriorityClass with name none"),
        ({"runtimeClassName": "none"}, "k8s_pod_rejected", 'RuntimeClass "none" not found'),
    ],
)
async def test_who_may_create_pods_is_told_more(config: dict[str, str], code: str, words: str, place: Place) -> None:
    report = await examined(place, **config)
    assert bad(report) == [f"error {code}"]
    assert words in only(report, code).message


async def test_a_namespace_that_is_not_there(place: Place) -> None:
    assert bad(await examined(place, namespace=f"{place.namespace}-x")) == ["error k8s_namespace_missing"]


async def test_our_own_pod(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await limited(place, tmp_path)
    container = {"name": "paperclip", "image": "busybox:1.36", "env": [{"name": "ANTHROPIC_MODEL", "value": "opus"}]}
    pod = {"metadata": {"name": "adapter-0"}, "spec": {"containers": [container], "restartPolicy": "Never"}}
    await place.ask("POST", f"{place.core}/pods", pod)
    async with connected(account) as adapter:
        at = urlsplit(adapter.connection.server)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", at.hostname or "")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(at.port))
        monkeypatch.setenv("POD_NAMESPACE", place.namespace)
        monkeypatch.setenv("POD_NAME", "adapter-1")
        assert "there is no pod" in (await own_pod(adapter.connection, call=10)).reason
        monkeypatch.setenv("POD_NAME", "adapter-0")
        report = await examine(adapter)
        assert only(report, "k8s_inherited").message.endswith("ANTHROPIC_MODEL")
        monkeypatch.setenv("POD_NAMESPACE", "default")
    async with connected(account) as adapter:
        assert "may not be read" in (await own_pod(adapter.connection, call=10)).reason
        assert bad(await examine(adapter, AGENT)) == ["warn k8s_rbac_pod_get"]
