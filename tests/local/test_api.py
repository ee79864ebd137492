"""Create, change and delete: the answers of a real API server."""

from __future__ import annotations

import io
from typing import Any

import pytest

from adapter.local import LocalCluster

from .conftest import JOBS, PODS, SECRETS, Wire, failure, job, secret, sh

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


# create


async def test_the_same_name_again(wire: Wire) -> None:
    await wire.run("true", name="dup", suspend=True)
    answer = await wire.ask("POST", JOBS, job("dup", "true"))
    assert answer.json == failure(
        409, "AlreadyExists", 'jobs.batch "dup" already exists', name="dup", group="batch", kind="jobs"
    )
    assert list(answer.json) == ["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"]


async def test_a_name_being_deleted(wire: Wire, cluster: LocalCluster) -> None:
    body = job("fg", "true", suspend=True)
    body["metadata"]["finalizers"] = ["example.com/keep"]
    await wire.create(JOBS, body)
    await wire.delete(f"{JOBS}/fg", propagationPolicy="Background")
    answer = await wire.ask("POST", JOBS, job("fg", "true"))
    assert answer.message == 'object is being deleted: jobs.batch "fg" already exists'
    refused = await wire.patch(f"{JOBS}/fg", {"metadata": {"finalizers": ["example.com/keep", "example.com/new"]}})
    assert (refused.status, "no new finalizers can be added" in refused.message) == (422, True)
    await wire.patch(f"{JOBS}/fg", {"metadata": {"finalizers": None}})
    assert cluster.get("jobs", "fg") is None


async def test_defaults_of_a_job(wire: Wire) -> None:
    made = await wire.run("true", name="a", suspend=True)
    uid = made["metadata"]["uid"]
    labels = {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
    labels |= {"batch.kubernetes.io/job-name": "a", "job-name": "a"}
    assert made["spec"]["template"]["metadata"]["labels"] == labels
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["completions"] == made["spec"]["parallelism"] == 1
    assert made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    assert made["metadata"]["generation"] == 1


async def test_dry_run_stores_nothing(cluster: LocalCluster, wire: Wire) -> None:
    before = len(cluster.history)
    made = await wire.create(JOBS, job("a", "true"), dryRun="All")
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert len(cluster.history) == before
    assert (await wire.ask("POST", JOBS, job("a", "true"), params={"dryRun": "foo"})).status == 422


async def test_generated_names(wire: Wire) -> None:
    made = await wire.create(SECRETS, {"metadata": {"generateName": "x-"}})
    assert len(made["metadata"]["name"]) == 7


@pytest.mark.parametrize(
    ("name", "status"),
    [("A", 422), ("a_b", 422), ("-a", 422), ("a" * 64, 422), ("a" * 63, 201), ("a.b", 201), ("1a", 201), ("", 422)],
)
async def test_names_of_jobs(wire: Wire, name: str, status: int) -> None:
    assert (await wire.ask("POST", JOBS, job(name, "true", suspend=True))).status == status


async def test_what_a_job_must_have(wire: Wire) -> None:
    body = job("b", "true")
    del body["spec"]["template"]["spec"]["restartPolicy"]
    answer = await wire.ask("POST", JOBS, body)
    text = 'Required value: valid values: "OnFailure", "Never"'
    field = "spec.template.spec.restartPolicy"
    cause = {"reason": "FieldValueRequired", "message": text, "field": field}
    words = f'Job.batch "b" is invalid: {field}: {text}'
    assert answer.json == failure(422, "Invalid", words, name="b", group="batch", kind="Job", causes=[cause])
    answer = await wire.ask("POST", JOBS, {"metadata": {"name": "b"}, "spec": {"template": {"spec": {}}}})
    assert answer.message == 'Job.batch "b" is invalid: spec.template.spec.containers: Required value'
    answer = await wire.ask("POST", JOBS, job("b", "true", backoffLimit=-1))
    assert answer.message.endswith("spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0")
    answer = await wire.ask("POST", JOBS, job("b", "true", backoffLimit="x"))
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.message.endswith(
        "json: cannot unmarshal string into Go struct field JobSpec.spec.backoffLimit of type int32"
    )


async def test_namespaces(cluster: LocalCluster, wire: Wire) -> None:
    answer = await wire.ask("POST", "/api/v1/namespaces/nope/secrets", secret("s"))
    assert answer.json == failure(404, "NotFound", 'namespaces "nope" not found', name="nope", kind="namespaces")
    await wire.create("/api/v1/namespaces", {"metadata": {"name": "x"}})
    await cluster.until(lambda c: c.get("serviceaccounts", "default", "x"))
    body = job("a", *sh("sleep 30"))
    await wire.create("/apis/batch/v1/namespaces/x/jobs", body)
    await cluster.until(lambda c: any(p["status"]["phase"] == "Running" for p in c.list("pods", "x")))
    await wire.delete("/api/v1/namespaces/x")
    answer = await wire.ask("POST", "/api/v1/namespaces/x/secrets", secret("s"))
    assert (answer.status, answer.json["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    await cluster.until(lambda c: c.get("namespaces", "x") is None)
    assert cluster.list("pods", "x") == []


async def test_bodies_that_are_none(wire: Wire) -> None:
    answer = await wire.ask("POST", JOBS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}})
    assert answer.message == (
        'Pod in version "v1" cannot be handled as a Job: converting (v1.Pod) to (batch.Job): unknown conversion'
    )
    async with wire.session.post(JOBS, data=b'{"a"') as response:
        assert response.status == 400
    answer = await wire.ask("POST", SECRETS, {"metadata": {"name": "s"}, "data": {"a": "!!"}})
    assert answer.json == failure(
        400,
        "BadRequest",
        'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0',
    )
    async with wire.session.post(SECRETS, data=io.BytesIO(b" " * 3_200_000)) as response:
        assert (response.status, (await response.json())["reason"]) == (413, "RequestEntityTooLarge")


async def test_protobuf(cluster: LocalCluster, wire: Wire) -> None:
    """What kubectl's typed commands send: a length and its bytes for each numbered field."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    entry = field(1, b"key") + field(2, b"value")
    made = field(1, field(1, b"s")) + field(2, entry) + field(3, b"Opaque")
    body = b"k8s\x00" + field(1, field(1, b"v1") + field(2, b"Secret")) + field(2, made)
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    async with wire.session.post(SECRETS, data=body, headers=headers) as response:
        assert response.status == 201
    assert (cluster.get("secrets", "s") or {})["data"] == {"key": "dmFsdWU="}
    for broken in (body[:-1], body[4:], b"k8s\x00\x0d"):
        async with wire.session.post(SECRETS, data=broken, headers=headers) as response:
            assert response.status in (400, 409)


async def test_unknown_paths(wire: Wire) -> None:
    assert (await wire.get("/apis/batch/v1/namespaces/default/nopes")).json["message"] == (
        "the server could not find the requested resource"
    )
    assert (await wire.ask("PUT", JOBS, {})).status == 405


async def test_secrets_are_encoded(wire: Wire) -> None:
    made = await wire.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "hello"}})
    assert (made["data"], made["type"]) == ({"a": "aGVsbG8="}, "Opaque")


# leases


@pytest.mark.parametrize("digits", ["", ".1", ".123", ".123456789"])
async def test_renew_time_has_six_digits(wire: Wire, digits: str) -> None:
    body = {"metadata": {"name": "l"}, "spec": {"renewTime": f"2026-01-01T00:00:00{digits}Z"}}
    answer = await wire.ask("POST", LEASES, body)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.message.startswith('Lease in version "v1" cannot be handled as a Lease: parsing time "2026-01-01T')
    await wire.create(LEASES, {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-01T00:00:00.000000+00:00"}})
    assert (await wire.patch(f"{LEASES}/l", {"spec": body["spec"]})).status == 422


async def test_compare_and_swap(wire: Wire) -> None:
    made = await wire.create(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    old = made["metadata"]["resourceVersion"]
    change = {"metadata": {"resourceVersion": old}, "spec": {"holderIdentity": "b"}}
    assert (await wire.patch(f"{LEASES}/l", change)).status == 200
    answer = await wire.patch(f"{LEASES}/l", change)
    assert answer.json == failure(
        409,
        "Conflict",
        'Operation cannot be fulfilled on leases.coordination.k8s.io "l": the object has been modified; '
        "please apply your changes to the latest version and try again",
        name="l",
        group="coordination.k8s.io",
        kind="leases",
    )
    assert (await wire.ask("PUT", f"{LEASES}/l", made)).status == 409
    del made["metadata"]["resourceVersion"]
    assert "must be specified for an update" in (await wire.ask("PUT", f"{LEASES}/l", made)).message


# change


async def test_a_patch_without_a_change_is_no_event(cluster: LocalCluster, wire: Wire) -> None:
    made = await wire.create(SECRETS, secret("s", a="b"))
    before = len(cluster.history)
    answer = await wire.patch(f"{SECRETS}/s", {"metadata": {"labels": {"a": "b"}}})
    assert (answer.status, answer.json) == (200, made)
    assert len(cluster.history) == before


async def test_what_of_a_job_can_be_changed(wire: Wire) -> None:
    await wire.run("true", suspend=True)
    for key, value in {"parallelism": 2, "backoffLimit": 2, "activeDeadlineSeconds": 9}.items():
        assert (await wire.patch(f"{JOBS}/a", {"spec": {key: value}})).status == 200
    answer = await wire.patch(f"{JOBS}/a", {"spec": {"completions": 3}})
    cause = {
        "reason": "FieldValueInvalid",
        "message": "Invalid value: 3: field is immutable",
        "field": "spec.completions",
    }
    assert answer.json == failure(
        422,
        "Invalid",
        'Job.batch "a" is invalid: spec.completions: Invalid value: 3: field is immutable',
        name="a",
        group="batch",
        kind="Job",
        causes=[cause],
    )
    template = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "other"}]}}}}
    answer = await wire.patch(f"{JOBS}/a", template, STRATEGIC)
    assert (answer.status, answer.message.endswith("field is immutable")) == (422, True)
    assert (await wire.patch(f"{JOBS}/a", {}, "application/json")).json == failure(
        415, "UnsupportedMediaType", "415: Unsupported Media Type"
    ) | {"details": {}}
    answer = await wire.patch(f"{JOBS}/a", {"metadata": {"uid": "x"}})
    assert answer.message == 'Job.batch "a" is invalid: metadata.uid: Invalid value: "x": field is immutable'


async def test_status_has_a_door_of_its_own(wire: Wire) -> None:
    await wire.run("true", suspend=True)
    await wire.until("Suspended")
    answer = await wire.patch(f"{JOBS}/a", {"status": {"failed": 9}})
    assert "failed" not in answer.json["status"]
    answer = await wire.patch(f"{JOBS}/a/status", {"status": {"failed": 9}})
    assert answer.json["status"]["failed"] == 9


async def test_json_patch(wire: Wire) -> None:
    await wire.create(SECRETS, secret("s", a="b"))
    good = [{"op": "test", "path": "/metadata/labels/a", "value": "b"}]
    good += [{"op": "replace", "path": "/metadata/labels/a", "value": "c"}]
    answer = await wire.patch(f"{SECRETS}/s", good, JSON_PATCH)
    assert answer.json["metadata"]["labels"] == {"a": "c"}
    answer = await wire.patch(f"{SECRETS}/s", good, JSON_PATCH)
    assert answer.json == failure(422, "Invalid", "the server rejected our request due to an error in our request") | {
        "details": {}
    }


async def test_strategic_patch(wire: Wire) -> None:
    owners = [{"apiVersion": "v1", "kind": "Secret", "name": "o", "uid": "1"}]
    await wire.create(SECRETS, secret("o"))
    owner = (await wire.get(f"{SECRETS}/o")).json["metadata"]["uid"]
    owners[0]["uid"] = owner
    await wire.create(SECRETS, {"metadata": {"name": "s", "ownerReferences": owners, "labels": {"a": "b"}}})
    patch: Any = {"metadata": {"labels": {"a": None, "c": "d"}}}
    patch["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Secret", "name": "p", "uid": "2"}]
    answer = await wire.patch(f"{SECRETS}/s", patch, STRATEGIC)
    assert answer.json["metadata"]["labels"] == {"c": "d"}
    assert [one["uid"] for one in answer.json["metadata"]["ownerReferences"]] == [owner, "2"]
    patch = {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "2"}]}}
    answer = await wire.patch(f"{SECRETS}/s", patch, STRATEGIC)
    assert [one["uid"] for one in answer.json["metadata"]["ownerReferences"]] == [owner]


# delete


async def test_preconditions(wire: Wire) -> None:
    made = await wire.create(SECRETS, secret("s"))
    uid = made["metadata"]["uid"]
    answer = await wire.delete(f"{SECRETS}/s", preconditions={"uid": "abc"})
    assert answer.json == failure(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on Secret "s": the UID in the precondition (abc) does not match the UID in '
        f"record ({uid}). The object might have been deleted and then recreated",
        name="s",
        kind="Secret",
    )
    answer = await wire.delete(f"{SECRETS}/s", preconditions={"resourceVersion": "1"})
    assert "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record" in answer.message
    version = made["metadata"]["resourceVersion"]
    answer = await wire.delete(f"{SECRETS}/s", preconditions={"uid": uid, "resourceVersion": version})
    assert answer.json["details"] == {"name": "s", "kind": "secrets", "uid": uid}
    answer = await wire.delete(f"{SECRETS}/s")
    assert answer.json == failure(404, "NotFound", 'secrets "s" not found', name="s", kind="secrets")
    answer = await wire.ask("DELETE", f"{SECRETS}/s", params={"propagationPolicy": "Bogus"})
    assert answer.status == 422


async def test_dependents_go_with_their_owner(cluster: LocalCluster, wire: Wire) -> None:
    made = await wire.run("true", suspend=True)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": made["metadata"]["uid"]}
    await wire.create(SECRETS, {"metadata": {"name": "s", "ownerReferences": [reference]}})
    stranger = reference | {"uid": "nobody"}
    await wire.create(SECRETS, {"metadata": {"name": "t", "ownerReferences": [stranger]}})
    await cluster.until(lambda c: c.get("secrets", "t") is None)
    assert cluster.get("secrets", "s")
    await wire.delete(f"{JOBS}/a", propagationPolicy="Background")
    await cluster.until(lambda c: c.get("secrets", "s") is None)


async def test_a_released_pod_is_replaced(cluster: LocalCluster, wire: Wire) -> None:
    await wire.run(*sh("sleep 30"))
    pod = await wire.running()
    labels = {"controller-uid": None, "batch.kubernetes.io/controller-uid": None}
    await wire.patch(f"{PODS}/{pod}", {"metadata": {"labels": labels}})
    await cluster.until(lambda _: len(wire.pods_of("a")) == 2)
    released = cluster.get("pods", pod) or {}
    assert "ownerReferences" not in released["metadata"]
    assert "deletionTimestamp" not in released["metadata"]
