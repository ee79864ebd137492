"""The doctor on the embedded cluster: what it asks, what it finds, and that no failure of one check hides another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from adapter import RunRequest
from adapter.cluster.checks import Check, Inheritance, Subject
from adapter.cluster.introspection import OwnPod, Whereabouts, own_pod
from adapter.cluster.preflight import CHECKERS, Report, preflight
from adapter.cluster.rbac import TABLE, Right
from adapter.local import Fault, LocalCluster, reviews
from adapter.work import plain_work
from tests.wire.conftest import Site
from tests.wire.test_rbac import used

REQUEST = RunRequest(run_id="doctor", command=("true",), cpu="1", memory="1Gi")
POD_CREATE = ("", "pods", "create")
DRY = {("", "secrets", "create"), ("", "configmaps", "create"), ("batch", "jobs", "create")}
"""What is created by dry runs alone."""


def subject(**fields: Any) -> Subject:
    job = plain_work(REQUEST, "test").manifest
    return Subject(**{"namespace": "default", "job": job, **fields})


def with_pod(**pod: Any) -> dict[str, Any]:
    """The Job of a plain command, with more in its pod."""
    job = plain_work(REQUEST, "test").manifest
    template = {"metadata": job["spec"]["template"]["metadata"], "spec": job["spec"]["template"]["spec"] | pod}
    return {**job, "spec": {**job["spec"], "template": template}}


async def examine(site: Site, call: float = 3, **fields: Any) -> list[Check]:
    return await preflight(site.adapter.connection, subject(**fields), call=call)


def told(checks: Iterable[Check], *levels: str) -> set[str]:
    """The findings of some levels; of the bad ones, if none is named."""
    return {f"{check.level} {check.code}" for check in checks if check.level in (levels or ("warn", "error"))}


def deny(monkeypatch: pytest.MonkeyPatch, *denied: tuple[str, str, str], unknown: bool = False) -> None:
    """The API server allows anything but this; asked for as it must be, with subresources apart."""

    def review(resource: Any, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["spec"]["resourceAttributes"]
        part = f"/{asked['subresource']}" if "subresource" in asked else ""
        allowed = (asked["group"], asked["resource"] + part, asked["verb"]) not in denied
        return {"kind": resource.kind, "apiVersion": resource.api_version, "status": {"allowed": allowed}}

    monkeypatch.setattr(reviews, "review", review)


async def create(site: Site, plural: str, name: str, **more: Any) -> None:
    path = f"/api/v1/namespaces/default/{plural}"
    await site.adapter.connection.call("POST", path, body={"metadata": {"name": name}, **more}, deadline=3)


async def test_a_cluster_where_everything_is_right(site: Site) -> None:
    checks = await examine(site)
    assert Report.of(checks).status == "pass", [check for check in checks if check.level != "info"]
    assert {
        *("info k8s_api_reachable", "info k8s_clock", "info k8s_rbac", "info k8s_namespace_exists", "info k8s_quota"),
        *("info k8s_job_accepted", "info k8s_pod_accepted", "info k8s_image", "info k8s_pvc_not_detected"),
        "info k8s_self_pod_none",
    } == told(checks, "info")


async def test_nothing_is_changed(site: Site) -> None:
    job = with_pod(imagePullSecrets=[{"name": "registry"}])
    before = {kind: site.cluster.list(kind) for kind in ("jobs", "pods", "secrets", "configmaps")}
    await examine(site, job=job)
    assert {kind: site.cluster.list(kind) for kind in before} == before
    writes = [request for request in site.cluster.requests if request.method != "GET"]
    assert all(request.query.get("dryRun") == "All" or "accessreviews" in request.path for request in writes)


async def test_the_doctor_uses_its_rights_and_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    deny(monkeypatch, POD_CREATE)
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    ca = {"name": "ca", "configMap": {"name": "ca"}}
    await examine(site, job=with_pod(volumes=[volume, ca]), secret_ref="keys")
    await _own_pod(site, monkeypatch)
    own = {(right.group, right.resource, right.verb) for right in TABLE if right.only in ("doctor", "pod")}
    assert own | DRY == {need for need in used(site.cluster) if need[1] != "selfsubjectaccessreviews"}


async def _own_pod(site: Site, monkeypatch: pytest.MonkeyPatch) -> OwnPod:
    """As a process in the pod `adapter-0` of the cluster, which talks to it as its pods do."""
    host, _, port = site.cluster.url.removeprefix("http://").partition(":")
    for name, value in {"HOST": host, "PORT": port}.items():
        monkeypatch.setenv(f"KUBERNETES_SERVICE_{name}", value)
    monkeypatch.setenv("POD_NAME", "adapter-0")
    monkeypatch.setenv("PAPERCLIP_NAMESPACE", "default")
    return await own_pod(site.adapter.connection, call=3)


async def test_our_own_pod(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no pod default/adapter-0" in (await _own_pod(site, monkeypatch)).reason
    await create(site, "pods", "adapter-0", spec={"containers": [{"name": "paperclip", "image": "p:1"}]})
    own = await _own_pod(site, monkeypatch)
    assert own.raw is not None
    assert own.raw["spec"]["containers"][0]["image"] == "p:1"
    given = Inheritance(("ANTHROPIC_API_KEY",), {"DATABASE_URL": "is never inherited (*DATABASE*)"})
    checks = await examine(site, own=own, inheritance=given)
    words = [check.message for check in checks if check.code in ("k8s_inherited", "k8s_not_inherited")]
    assert words == ["inherited from our own pod default/adapter-0: ANTHROPIC_API_KEY", "not inherited: DATABASE_URL"]


async def test_our_own_pod_that_could_not_be_read_is_a_warning(site: Site) -> None:
    own = OwnPod(reason="our own pod may not be read", place=Whereabouts("default", "adapter-0"))
    assert told(await examine(site, own=own)) == {"warn k8s_self_pod_unread"}


@pytest.mark.parametrize("right", TABLE, ids=str)
async def test_each_right_that_is_lacking_is_named_once(
    right: Right, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, (right.group, right.resource, right.verb))
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    await create(site, "persistentvolumeclaims", "data", spec={"accessModes": ["ReadWriteMany"]})
    own = OwnPod({"metadata": {}}, place=Whereabouts("default", "adapter-0"))
    checks = await examine(site, job=with_pod(volumes=[volume]), own=own)
    assert told(checks) == {f"{'warn' if right.without or right.only == 'service' else 'error'} {right.code}"}
    [lacking] = [check for check in checks if check.code == right.code]
    assert str(right) in lacking.message


async def test_an_api_server_that_is_gone(site: Site) -> None:
    await site.cluster.stop_api()
    [check] = await examine(site, call=1)
    assert (check.code, check.level) == ("k8s_api_unreachable", "error")
    await site.cluster.start_api()


async def test_credentials_that_are_refused(site: Site) -> None:
    site.cluster.faults.add(Fault.respond(401, path="/version"))
    [check] = await examine(site)
    assert (check.code, check.level) == ("k8s_unauthorized", "error")


async def test_an_api_server_without_an_answer_is_given_up_at_the_deadline(site: Site) -> None:
    site.cluster.faults.add(Fault.no_headers(path="/version"))
    async with asyncio.timeout(2):
        [check] = await examine(site, call=0.2)
    assert check.code == "k8s_api_unreachable"


async def test_reviews_that_fail_hide_nothing(site: Site) -> None:
    site.cluster.faults.add(Fault.respond(500, path="*/selfsubjectaccessreviews"))
    checks = await examine(site)
    assert told(checks) == {"warn k8s_rbac_check_failed", "warn k8s_pod_check_failed"}
    assert {"info k8s_namespace_exists", "info k8s_job_accepted", "info k8s_quota"} <= told(checks, "info")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/namespaces/default", "k8s_namespace_check_failed"),
        ("*/resourcequotas", "k8s_quota_check_failed"),
        ("*/jobs", "k8s_job_check_failed"),
        ("*/pods", "k8s_pod_check_failed"),
        ("*/persistentvolumeclaims/*", "k8s_pvc_check_failed"),
        ("*/secrets", "k8s_secret_check_failed"),
    ],
)
@pytest.mark.parametrize("fault", [Fault.respond(500), Fault.no_headers(), Fault.cut(how="rst")], ids=["500", "-", "x"])
async def test_one_check_that_fails_hides_no_other(path: str, code: str, fault: Fault, site: Site) -> None:
    await create(site, "persistentvolumeclaims", "data", spec={"accessModes": ["ReadWriteMany"]})
    await create(site, "secrets", "registry")
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    site.cluster.faults.add(replace(fault, path=path))
    job = with_pod(volumes=[volume], imagePullSecrets=[{"name": "registry"}])
    checks = await examine(site, call=1.5, job=job)
    assert told(checks) == {f"warn {code}"}
    assert len(checks) == 11


async def test_a_fault_of_a_check_itself_is_a_warning_with_its_cause(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Any) -> list[Check]:
        raise KeyError("metadata")

    monkeypatch.setattr("adapter.cluster.preflight.CHECKERS", (("k8s_x_check_failed", "it", broken), *CHECKERS[1:]))
    checks = await examine(site)
    assert [check.message for check in checks if check.level == "warn"] == [
        "it could not be checked: KeyError: 'metadata'"
    ]


async def test_a_namespace_that_is_not_there_is_said_once(site: Site) -> None:
    checks = await examine(site, namespace="nowhere")
    assert told(checks) == {"error k8s_namespace_missing"}
    assert len([check for check in Report.of(checks).checks if check.level == "error"]) == 1


async def test_a_namespace_that_is_being_deleted(site: Site) -> None:
    body = {"metadata": {"name": "old", "finalizers": ["example.com/hold"]}}
    await site.adapter.connection.call("POST", "/api/v1/namespaces", body=body, deadline=3)
    await site.adapter.connection.call("DELETE", "/api/v1/namespaces/old", deadline=3)
    checks = await examine(site, namespace="old")
    assert "error k8s_namespace_terminating" in told(checks)


@pytest.mark.parametrize(
    ("reference", "lack"),
    [
        ({"imagePullSecrets": [{"name": "keys"}]}, "warn k8s_secret_missing"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "keys"}}]}, "error k8s_secret_missing"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "keys", "optional": True}}]}, None),
        ({"volumes": [{"name": "v", "configMap": {"name": "keys"}}]}, "error k8s_configmap_missing"),
    ],
)
async def test_what_must_be_there(reference: dict[str, Any], lack: str | None, site: Site) -> None:
    job = with_pod(**reference)
    assert told(await examine(site, job=job)) == ({lack} if lack else set())
    for plural in ("secrets", "configmaps"):
        await create(site, plural, "keys")
    assert told(await examine(site, job=job)) == set()
    assert not any(request.method == "GET" and "/secrets" in request.path for request in site.cluster.requests)


@pytest.mark.parametrize(("asked_for", "level"), [(True, "warn"), (False, "info")])
async def test_the_secret_that_only_the_configuration_names(asked_for: bool, level: str, site: Site) -> None:
    checks = await examine(site, secret_ref="keys", asked_for=asked_for)
    assert f"{level} k8s_secret_missing" in told(checks, "info", "warn")
    await create(site, "secrets", "keys")
    assert "info k8s_secret_exists" in told(await examine(site, secret_ref="keys"), "info")


async def test_secrets_that_may_not_be_created_are_not_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    deny(monkeypatch, ("", "secrets", "create"))
    checks = await examine(site, secret_ref="keys")
    assert "info k8s_secret_unchecked" in told(checks, "info")
    assert not any(request.path.endswith("/secrets") for request in site.cluster.requests)


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        (["ReadWriteMany"], "info k8s_pvc_rwx"),
        (["ReadWriteOnce"], "warn k8s_pvc_not_rwx"),
        (None, "error k8s_pvc_missing"),
    ],
)
async def test_the_workspace(modes: list[str] | None, found: str, site: Site) -> None:
    if modes:
        await create(site, "persistentvolumeclaims", "data", spec={"accessModes": modes})
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    assert found in told(await examine(site, job=with_pod(volumes=[volume])), "info", "warn", "error")


async def test_a_job_that_is_refused(site: Site) -> None:
    checks = await examine(site, job=with_pod(restartPolicy="Always"))
    assert "error k8s_job_rejected" in told(checks)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged', "error k8s_pod_security"),
        (
            'error looking up service account default/x: serviceaccount "x" not found',
            "error k8s_service_account_missing",
        ),
        ("failed quota: q: must specify limits.cpu for: claude", "error k8s_quota_unbounded"),
        ("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1", "warn k8s_quota_exhausted"),
        ("no PriorityClass with name x was found", "error k8s_pod_rejected"),
    ],
)
async def test_pods_that_are_refused(words: str, found: str, site: Site) -> None:
    site.cluster.faults.add(Fault.respond(403, words, method="POST", path="*/pods"))
    assert told(await examine(site)) == {found}


async def test_without_the_right_no_pod_is_tried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    deny(monkeypatch, POD_CREATE)
    assert told(await examine(site)) == set()
    checks = await examine(site, job=with_pod(serviceAccountName="robot"))
    assert "info k8s_service_account_unchecked" in told(checks, "info")
    assert not any(request.path.endswith("/pods") for request in site.cluster.requests)


def _ours(cluster: LocalCluster) -> int:
    return sum(request.user_agent.startswith("claude-k8s-adapter") for request in cluster.requests)


async def test_it_asks_no_more_than_it_must(site: Site) -> None:
    before = _ours(site.cluster)
    await examine(site)
    rights, version, pod, namespace, quota, dry_runs = len(TABLE), 1, 1, 1, 1, 2
    assert _ours(site.cluster) - before == rights + version + pod + namespace + quota + dry_runs
