"""What each finding of the doctor means: pure rules over what the API server answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from adapter.cluster import checks_api
from adapter.cluster.answers import date_of, warnings_of
from adapter.cluster.checks import Check, Ground, Level, Subject, error, info, warn
from adapter.cluster.checks_api import address, clock_checks, refusal, version_check
from adapter.cluster.checks_job import security_checks
from adapter.cluster.checks_needs import claim_check, image_check
from adapter.cluster.checks_place import Place, needs_of, place_checks, quota_check
from adapter.cluster.checks_rights import Access, attributes, rights_checks
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.introspection import OwnPod, Whereabouts
from adapter.cluster.preflight import Report
from adapter.cluster.rbac import TABLE, Right
from adapter.cluster.references import Image, Reference, claims_of, images_of, references_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
IN_POD = OwnPod(place=Whereabouts("home", "adapter-0"))
RESTRICTED = (
    'would violate PodSecurity "restricted:latest": privileged (container "docker" must not set '
    "securityContext.privileged=true)"
)


def job(**pod: Any) -> dict[str, Any]:
    containers = [{"name": "claude", "image": "busybox:1.36", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]
    return {"metadata": {"name": "ck-run"}, "spec": {"template": {"spec": {"containers": containers, **pod}}}}


def subject(own: OwnPod | None = None, **pod: Any) -> Subject:
    return Subject(namespace="agents", job=job(**pod), own=own or OwnPod())


def told(checks: list[Check]) -> list[str]:
    return [f"{check.level} {check.code}" for check in checks]


def right(verb: str, resource: str) -> Right:
    return next(each for each in TABLE if (each.verb, each.resource) == (verb, resource))


# -- the report --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([], "pass"),
        ([info("a", "fine")], "pass"),
        ([info("a", "fine"), warn("b", "hm")], "warn"),
        ([error("c", "no"), warn("b", "hm"), info("a", "fine")], "fail"),
    ],
)
def test_the_worst_check_is_the_status(checks: list[Check], status: str) -> None:
    assert Report.of(checks).status == status


def test_the_shape_is_the_control_planes() -> None:
    report = Report.of([warn("code", "words", detail="more", hint="do"), info("other", "fine")]).to_json()
    assert datetime.fromisoformat(report.pop("testedAt")).tzinfo is not None
    assert report == {
        "adapterType": "claude_k8s",
        "status": "warn",
        "checks": [
            {"code": "code", "level": "warn", "message": "words", "detail": "more", "hint": "do"},
            {"code": "other", "level": "info", "message": "fine", "detail": None, "hint": None},
        ],
    }


def test_what_is_found_twice_is_said_once() -> None:
    assert len(Report.of([info("a", "fine"), warn("b", "hm"), info("a", "fine")]).checks) == 2


# -- the API server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ({"major": "1", "minor": "34", "gitVersion": "v1.34.4"}, "info k8s_api_reachable"),
        ({"major": "1", "minor": "29+", "gitVersion": "v1.29.9-eks"}, "info k8s_api_reachable"),
        ({"major": "2", "minor": "0"}, "info k8s_api_reachable"),
        ({"major": "1", "minor": "28"}, "error k8s_version_too_old"),
        ({"major": "1", "minor": "9+"}, "error k8s_version_too_old"),
        ({"major": "1", "minor": ""}, "warn k8s_version_unknown"),
        ({}, "warn k8s_version_unknown"),
    ],
)
def test_native_sidecars_need_a_version(version: dict[str, str], found: str) -> None:
    assert told([version_check("https://k8s.example.com:6443", version)]) == [found]


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ("https://k8s.example.com:6443", "https://k8s.example.com:6443"),
        ("http://127.0.0.1:8001/secret-path", "http://127.0.0.1:8001"),
        ("https://user:hunter2@k8s.example.com/clusters/1?token=x", "https://k8s.example.com"),
    ],
)
def test_an_address_tells_nothing_secret(server: str, shown: str) -> None:
    assert address(server) == shown


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0, "info", "agree"),
        (4.4, "info", "agree"),
        (-5.4, "info", "agree"),
        (8, "warn", "8 s ahead of ours"),
        (-61, "warn", "60 s behind ours"),
    ],
)
def test_two_clocks(ahead: float, level: str, words: str) -> None:
    [check] = clock_checks(NOON + timedelta(seconds=ahead), NOON)
    assert check.level == level
    assert words in check.message


def test_without_a_date_nothing_is_said_of_the_clock() -> None:
    assert clock_checks(None, NOON) == []
    assert date_of("yesterday") is date_of(None) is None
    assert date_of("Tue, 24 Nov 2026 12:00:00 GMT") == NOON


def test_a_refusal_of_our_credentials_is_not_an_api_server_that_is_gone() -> None:
    assert refusal("x", ApiError(401, {})).code == "k8s_unauthorized"
    assert refusal("x", Unreachable("x")).code == refusal("x").code == "k8s_api_unreachable"


def test_a_pod_without_a_token_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks_api, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "automount" not in refusal("x").hint
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert "automountServiceAccountToken" in refusal("x").hint
    (tmp_path / "token").touch()
    assert "automount" not in refusal("x").hint


def test_warnings_of_headers() -> None:
    quoted = r'299 - "would violate PodSecurity \"restricted:latest\": a, \\ b"'
    assert warnings_of([quoted, '299 - "one", 299 k8s "two"']) == [
        'would violate PodSecurity "restricted:latest": a, \\ b',
        "one",
        "two",
    ]
    assert warnings_of(["nonsense"]) == []


# -- rights ------------------------------------------------------------------------------------------------------------


def test_a_log_is_asked_for_as_a_subresource() -> None:
    """The old adapter asked for a resource `pods/log`, which nobody is ever allowed."""
    asked = attributes(right("get", "pods/log"), subject())
    assert asked == {"namespace": "agents", "verb": "get", "group": "", "resource": "pods", "subresource": "log"}


def test_what_is_asked_for_by_name() -> None:
    assert attributes(right("get", "namespaces"), subject())["name"] == "agents"
    own = attributes(right("get", "pods"), subject(IN_POD))
    assert (own["namespace"], own["name"]) == ("home", "adapter-0")
    assert attributes(right("get", "pods"), subject()) == {
        "namespace": "agents",
        "verb": "get",
        "group": "",
        "resource": "pods",
    }
    assert "name" not in attributes(right("create", "secrets"), subject(IN_POD))


def test_all_rights_are_one_line() -> None:
    assert told(rights_checks(Access(), subject())) == ["info k8s_rbac"]


@pytest.mark.parametrize(
    ("verb", "resource", "level"),
    [
        ("create", "jobs", Level.ERROR),
        ("create", "secrets", Level.ERROR),
        ("delete", "configmaps", Level.ERROR),
        ("get", "pods/log", Level.WARN),
        ("list", "events", Level.WARN),
        ("get", "namespaces", Level.WARN),
        ("get", "persistentvolumeclaims", Level.WARN),
        ("list", "resourcequotas", Level.WARN),
        ("get", "pods", Level.INFO),
        ("get", "secrets", Level.WARN),
        ("create", "leases", Level.WARN),
    ],
)
def test_a_right_that_is_lacking(verb: str, resource: str, level: Level) -> None:
    lacking = right(verb, resource)
    [check] = rights_checks(Access(denied=(lacking,)), subject())
    assert (check.code, check.level) == (lacking.code, level)
    assert check.message == f"not allowed in namespace agents: {lacking}; {lacking.lost}"
    assert check.detail == lacking.why
    assert "docs/rbac.md" in check.hint


def test_our_own_pod_may_not_be_read_where_there_is_one() -> None:
    [check] = rights_checks(Access(denied=(right("get", "pods"),)), subject(IN_POD))
    assert (check.level, "in namespace home" in check.message) == (Level.WARN, True)


def test_what_could_not_be_asked_is_one_warning() -> None:
    unknown = tuple((each, "the API server did not answer in time") for each in TABLE[:3])
    [denied, check] = rights_checks(Access(denied=TABLE[4:5], unknown=unknown), subject())
    assert (denied.level, check.code, check.level) == (Level.ERROR, "k8s_rbac_check_failed", Level.WARN)
    assert check.message.startswith(f"3 of {len(TABLE)} rights could not be asked for: the API server did not")
    assert "create jobs.batch" in check.detail


# -- the namespace -----------------------------------------------------------------------------------------------------


def space(phase: str = "Active", **labels: str) -> Place:
    named = {f"pod-security.kubernetes.io/{name}": level for name, level in labels.items()}
    return Place({"metadata": {"name": "agents", "labels": named}, "status": {"phase": phase}})


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (space(), ["info k8s_namespace_exists"]),
        (space("Terminating"), ["error k8s_namespace_terminating"]),
        (Place(problem=ApiError(404, {"details": {"kind": "namespaces"}})), ["error k8s_namespace_missing"]),
        (Place(problem=ApiError(500, {})), ["warn k8s_namespace_check_failed"]),
        (Place(problem=Unreachable("no answer")), ["warn k8s_namespace_check_failed"]),
        (Place(), []),
    ],
)
def test_a_namespace(place: Place, found: list[str]) -> None:
    assert told(place_checks(place, subject())) == found


@pytest.mark.parametrize("place", [Place(), Place(problem=ApiError(403, {})), space()])
def test_the_namespace_that_we_are_in_exists(place: Place) -> None:
    at_home = Subject(namespace="home", job=job(), own=IN_POD)
    assert told(place_checks(place, at_home)) == ["info k8s_namespace_exists"]


def test_the_pod_security_level_is_told() -> None:
    assert "Pod Security: baseline" in place_checks(space(enforce="baseline", warn="restricted"), subject())[0].message
    assert space(warn="restricted").enforced is None


# -- quotas ------------------------------------------------------------------------------------------------------------


def quota(used: dict[str, str], **hard: str) -> dict[str, Any]:
    named = {name.replace("_", "."): value for name, value in hard.items()}
    return {"metadata": {"name": "q"}, "spec": {"hard": named}, "status": {"hard": named, "used": used}}


def quotas(raw: dict[str, Any], **pod: Any) -> list[Check]:
    given = subject(**pod)
    return quota_check(raw, needs_of(given), given.pod)


def test_a_run_is_a_job_a_pod_a_secret_a_lock_and_its_resources() -> None:
    sidecar = {"name": "stderr", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}}}
    needs = needs_of(subject(initContainers=[sidecar]))
    counted = ("count/jobs.batch", "pods", "count/pods", "secrets", "count/configmaps")
    assert {name: needs[name] for name in counted} == dict.fromkeys(counted, 1)
    assert needs["requests.cpu"] == needs["cpu"] == Fraction(101, 100)
    assert needs["limits.memory"] == needs["memory"] == 2**30


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (quota({"pods": "3"}, pods="10"), "info k8s_quota: quota q leaves room for 7 more runs (pods: used 3 of 10)"),
        (quota({"limits.cpu": "2500m"}, limits_cpu="4"), "leaves room for 1 more run (limits.cpu: used 2500m of 4)"),
        (quota({}, services="1"), "info k8s_quota: quota q leaves room for any number of runs"),
        (
            quota({"pods": "10"}, pods="10"),
            "warn k8s_quota_exhausted: no run fits now into quota q: pods, used 10 of 10",
        ),
        (quota({"memory": "8Gi"}, memory="8704Mi"), "warn k8s_quota_exhausted"),
        (quota({"limits.cpu": "0"}, limits_cpu="500m"), "error k8s_quota_too_small: a run can never fit into quota q"),
        (quota({}, pods="0"), "error k8s_quota_too_small"),
        ({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}, "scopes": ["BestEffort"]}}, "was not checked"),
    ],
)
def test_a_quota(raw: dict[str, Any], found: str) -> None:
    [check] = quotas(raw)
    assert found in f"{check.level} {check.code}: {check.message}"


def test_a_quota_refuses_what_has_no_bound() -> None:
    bare = {"name": "bare", "image": "busybox"}
    [check] = quotas(quota({}, limits_cpu="8"), initContainers=[bare])
    assert told([check]) == ["warn k8s_quota_unbounded"]
    assert "container bare has no limits for cpu" in check.message
    assert told(quotas(quota({}, cpu="8"), initContainers=[bare])) == ["warn k8s_quota_unbounded"]


# -- what must be there ------------------------------------------------------------------------------------------------


def claim(*modes: str, phase: str = "Bound", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "data", **meta}, "spec": {"accessModes": list(modes)}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (claim("ReadWriteMany"), ["info k8s_pvc_rwx"]),
        (claim("ReadWriteOnce", "ReadWriteMany"), ["info k8s_pvc_rwx"]),
        (claim("ReadWriteOnce"), ["warn k8s_pvc_not_rwx"]),
        (claim("ReadWriteOncePod"), ["warn k8s_pvc_not_rwx"]),
        (claim("ReadOnlyMany"), ["error k8s_pvc_not_rwx"]),
        (claim("ReadWriteMany", phase="Pending"), ["info k8s_pvc_rwx", "info k8s_pvc_pending"]),
        (claim("ReadWriteMany", phase="Lost"), ["info k8s_pvc_rwx", "error k8s_pvc_lost"]),
        (claim("ReadWriteMany", deletionTimestamp=str(NOON)), ["info k8s_pvc_rwx", "error k8s_pvc_deleted"]),
    ],
)
def test_a_volume_claim(raw: dict[str, Any], found: list[str]) -> None:
    assert told(claim_check(raw)) == found


def test_the_modes_of_the_volume_win_over_those_asked_for() -> None:
    raw = claim("ReadWriteOnce")
    raw["status"]["accessModes"] = ["ReadWriteMany"]
    assert told(claim_check(raw)) == ["info k8s_pvc_rwx"]


@pytest.mark.parametrize(
    ("name", "policy", "found"),
    [
        ("busybox:1.36", "", "info k8s_image"),
        ("registry.example.com:5000/team/agent:v1.2_3", "IfNotPresent", "info k8s_image"),
        ("[fd00::1]:5000/agent:1", "", "info k8s_image"),
        (f"ghcr.io/o/agent@sha256:{'a' * 64}", "Always", "info k8s_image"),
        (f"agent:latest@sha256:{'0' * 64}", "", "info k8s_image"),
        ("busybox", "", "warn k8s_image_floating"),
        ("localhost:5000/agent", "Never", "warn k8s_image_floating"),
        ("ghcr.io/o/agent:latest", "IfNotPresent", "warn k8s_image_floating"),
        *((name, "", "error k8s_image_invalid") for name in ("", "Agent", "a b", "ghcr.io/O/x:1", "x:", "x@sha256:12")),
        (f"a{'/a' * 130}:1", "", "error k8s_image_invalid"),
        ("https://ghcr.io/o/agent:1", "", "error k8s_image_invalid"),
        ("agent:1\n", "", "error k8s_image_invalid"),
    ],
)
def test_an_image(name: str, policy: str, found: str) -> None:
    assert told([image_check(Image(name, policy, ("claude",)))]) == [found]


def test_what_the_pull_policy_means() -> None:
    assert "each node must have it" in image_check(Image("agent:1", "Never", ("claude",))).detail
    assert "registry must answer" in image_check(Image("agent:1", "Always", ("claude",))).detail


POD: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "initContainers": [{"name": "docker", "image": "docker:28", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
    "containers": [
        {
            "name": "claude",
            "image": "agent:1",
            "imagePullPolicy": "Always",
            "env": [
                {"name": "A", "value": "literal"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "ck-run", "key": "env.B"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "c", "optional": True}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [{"secretRef": {"name": "keys"}}],
        },
        {"name": "more", "image": "agent:1", "imagePullPolicy": "Always"},
    ],
    "volumes": [
        {"name": "prompt", "secret": {"secretName": "ck-run"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}},
        {"name": "again", "persistentVolumeClaim": {"claimName": "shared"}},
        {"name": "tls", "secret": {"secretName": "certificates", "optional": True}},
        {"name": "mixed", "projected": {"sources": [{"configMap": {"name": "ca"}}, {"serviceAccountToken": {}}]}},
        {"name": "scratch", "emptyDir": {}},
    ],
}


def test_what_a_pod_refers_to() -> None:
    assert references_of(POD, but="ck-run") == [
        Reference("Secret", "registry", "pull"),
        Reference("ConfigMap", "settings", "environment"),
        Reference("Secret", "keys", "environment"),
        Reference("Secret", "certificates", "volume", optional=True),
        Reference("ConfigMap", "ca", "volume"),
    ]
    assert claims_of(POD) == ["shared"]
    assert images_of(POD) == [Image("docker:28", "", ("docker",)), Image("agent:1", "Always", ("claude", "more"))]
    assert not any((references_of({}), claims_of({}), images_of({})))


# -- Pod Security ------------------------------------------------------------------------------------------------------


def security(enforced: str | None, *warnings: str, **pod: Any) -> list[str]:
    ground = Ground(None, subject(**pod), 1.0, enforced=enforced)  # type: ignore[arg-type]  # nothing is asked
    return told(security_checks(ground, warnings))


DOCKER = {"initContainers": [{"name": "docker", "image": "docker:28", "securityContext": {"privileged": True}}]}


@pytest.mark.parametrize(
    ("enforced", "warnings", "pod", "found"),
    [
        (None, (), {}, "info k8s_job_accepted"),
        ("restricted", (), {}, "info k8s_job_accepted"),
        ("restricted", (RESTRICTED,), {}, "error k8s_pod_security"),
        ("baseline", (RESTRICTED,), {}, "warn k8s_pod_security_warning"),
        ("privileged", (RESTRICTED,), DOCKER, "warn k8s_pod_security_warning"),
        (None, (RESTRICTED,), DOCKER, "warn k8s_pod_security_warning"),
        ("baseline", (), DOCKER, "error k8s_pod_security"),
        ("baseline", (RESTRICTED,), DOCKER, "error k8s_pod_security"),
        ("privileged", (), DOCKER, "info k8s_job_accepted"),
        (None, ('unknown field "spec.x"',), {}, "info k8s_job_accepted"),
    ],
)
def test_pod_security(enforced: str | None, warnings: tuple[str, ...], pod: dict[str, Any], found: str) -> None:
    assert security(enforced, *warnings, **pod) == [found]
