"""Create, change, list and watch: the answers of the API server."""

from __future__ import annotations

import json
from typing import Any

import anyio

from tests.contract.conftest import Object, Stage, job, scene

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


async def suspended(stage: Stage, name: str, **labels: str) -> Object:
    """A Job that does nothing."""
    body = job(name, "true", suspend=True)
    body["metadata"]["labels"] = labels
    return await stage.place.ask("POST", stage.place.jobs, body)


async def patched(stage: Stage, name: str, patch: Object, kind: str = MERGE, **how: Any) -> Object:
    return await stage.place.ask("PATCH", f"{stage.place.jobs}/{name}", patch, content_type=kind, **how)


async def unpatched(stage: Stage, name: str, patch: Object, kind: str = MERGE) -> tuple[int, str, str]:
    refused = await stage.place.refused("PATCH", f"{stage.place.jobs}/{name}", patch, content_type=kind)
    return refused.status, refused.reason, refused.message


async def watched(stage: Stage, path: str, *, count: int = 0, within: float = 30, **query: str) -> list[Object]:
    """The first events of a watch, or all until it ends; whatever has come, when the time is over."""
    events: list[Object] = []
    with anyio.move_on_after(within):
        async with stage.place.connection.stream(path, query=[("watch", "1"), *query.items()], headers=30) as response:
            assert response.headers["Content-Type"] == "application/json"
            while (not count or len(events) < count) and (line := await response.content.readline()):
                events.append(json.loads(line))
    return events


def told(events: list[Object]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


@scene
async def test_the_same_name_again(stage: Stage) -> None:
    await suspended(stage, "dup")
    for query in ([], [("dryRun", "All")]):
        refused = await stage.place.refused("POST", stage.place.jobs, job("dup", "false"), query=query)
        assert (refused.status, refused.reason, refused.kind) == (409, "AlreadyExists", "jobs")
        assert refused.message == 'jobs.batch "dup" already exists'


@scene
async def test_a_change_to_an_old_version(stage: Stage) -> None:
    made = await suspended(stage, "old")
    version = made["metadata"]["resourceVersion"]
    await patched(stage, "old", {"metadata": {"labels": {"a": "b"}}})
    words = (
        'Operation cannot be fulfilled on jobs.batch "old": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    stale = {"metadata": {"resourceVersion": version, "labels": {"a": "c"}}}
    assert await unpatched(stage, "old", stale) == (409, "Conflict", words)
    refused = await stage.place.refused("PUT", f"{stage.place.jobs}/old", made)
    assert (refused.status, refused.reason, refused.message) == (409, "Conflict", words)
    assert (await unpatched(stage, "old", {"metadata": {"uid": "other"}}))[0] == 422


@scene
async def test_what_is_not_there(stage: Stage) -> None:
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"metadata": {"labels": {"a": "b"}}})):
        kind = MERGE if method == "PATCH" else "application/json"
        path = f"{stage.place.jobs}/missing"
        refused = await stage.place.refused(method, path, body, content_type=kind)
        assert (refused.status, refused.reason, refused.kind) == (404, "NotFound", "jobs")
        assert refused.message == 'jobs.batch "missing" not found'
    path = "/apis/batch/v1/namespaces/no-such-namespace/jobs"
    refused = await stage.place.refused("POST", path, job("a", "true"))
    assert (refused.status, refused.kind) == (404, "namespaces")
    assert refused.message == 'namespaces "no-such-namespace" not found'
    assert (await stage.place.ask("GET", path))["items"] == []


@scene
async def test_names(stage: Stage) -> None:
    for name in ("Upper", "under_score", "-dash", "x" * 64):
        refused = await stage.place.refused("POST", stage.place.jobs, job(name, "true", suspend=True))
        assert (refused.status, refused.reason, refused.kind) == (422, "Invalid", "Job")
        assert f'Job.batch "{name}" is invalid' in refused.message
    for name in ("x" * 63, "a.b", "1a"):
        assert await suspended(stage, name)


@scene
async def test_what_of_a_job_can_be_changed(stage: Stage) -> None:
    await suspended(stage, "fixed")
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "other"}]}}}}
    for kind in (MERGE, STRATEGIC):
        status, reason, message = await unpatched(stage, "fixed", image, kind)
        assert (status, reason) == (422, "Invalid")
        assert "spec.template: Invalid value" in message
        assert message.endswith("field is immutable")
    for spec in ({"completions": 2}, {"selector": {"matchLabels": {"a": "b"}}}):
        assert (await unpatched(stage, "fixed", {"spec": spec}))[0] == 422
    changes = {"backoffLimit": 1, "activeDeadlineSeconds": 99, "ttlSecondsAfterFinished": 99, "parallelism": 2}
    changed = await patched(stage, "fixed", {"spec": changes, "metadata": {"annotations": {"a": "b"}}})
    assert {key: changed["spec"][key] for key in changes} == changes
    assert (await unpatched(stage, "fixed", {"spec": {}}, "application/json"))[:2] == (415, "UnsupportedMediaType")


@scene
async def test_dry_run_stores_nothing(stage: Stage) -> None:
    query = [("dryRun", "All")]
    made = await stage.place.ask("POST", stage.place.jobs, job("dry", "true"), query=query)
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert (await stage.place.refused("GET", f"{stage.place.jobs}/dry")).status == 404
    assert (
        await stage.place.refused("POST", stage.place.jobs, job("dry", "true"), query=[("dryRun", "x")])
    ).status == 422
    await suspended(stage, "wet")
    await patched(stage, "wet", {"metadata": {"labels": {"a": "b"}}}, query=query)
    assert "a" not in (await stage.place.ask("GET", f"{stage.place.jobs}/wet"))["metadata"].get("labels", {})
    assert stage.story("dry") == []


@scene
async def test_a_change_that_changes_nothing_is_no_event(stage: Stage) -> None:
    await suspended(stage, "same", a="b")
    await stage.until("same", "job: Suspended")
    before = await stage.place.ask("GET", f"{stage.place.jobs}/same")
    after = await patched(stage, "same", {"metadata": {"labels": {"a": "b"}}})
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    await patched(stage, "same", {"metadata": {"labels": {"a": "c"}}})
    query = {"resourceVersion": before["metadata"]["resourceVersion"], "fieldSelector": "metadata.name=same"}
    [event] = await watched(stage, stage.place.jobs, count=1, **query)
    assert event["object"]["metadata"]["labels"] == {"a": "c"}, "the first event is of the second change"


@scene
async def test_leaving_a_selector_is_deletion_and_entering_it_is_birth(stage: Stage) -> None:
    await suspended(stage, "mover", group="in")
    await stage.until("mover", "job: Suspended")
    version = (await stage.place.ask("GET", stage.place.jobs))["metadata"]["resourceVersion"]
    await patched(stage, "mover", {"metadata": {"labels": {"group": "out"}}})
    await patched(stage, "mover", {"metadata": {"labels": {"group": "in"}}})
    query = {"labelSelector": "group=in", "resourceVersion": version}
    events = await watched(stage, stage.place.jobs, count=2, **query)
    assert told(events) == [("DELETED", "mover"), ("ADDED", "mover")]


@scene
async def test_lists(stage: Stage) -> None:
    await suspended(stage, "listed", list="yes")
    await stage.until("listed", "job: Suspended")
    selector = ("labelSelector", "list=yes")
    found = await stage.place.ask("GET", stage.place.jobs, query=[selector])
    assert (found["kind"], found["apiVersion"]) == ("JobList", "batch/v1")
    [item] = found["items"]
    assert item["metadata"]["name"] == "listed"
    assert not {"kind", "apiVersion"} & item.keys()
    query = [("fieldSelector", "spec.suspend=true")]
    refused = await stage.place.refused("GET", stage.place.jobs, query=query)
    assert refused.status == 400
    assert 'field label "spec.suspend" not supported for' in refused.message
    await suspended(stage, "listed-later", list="yes")
    query_of_watch = {"labelSelector": "list=yes", "resourceVersion": found["metadata"]["resourceVersion"]}
    [event] = await watched(stage, stage.place.jobs, count=1, **query_of_watch)
    assert told([event]) == [("ADDED", "listed-later")], "a watch goes on where the list ended"
    assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("Job", "batch/v1")


@scene
async def test_a_watch_from_the_future_is_silent(stage: Stage) -> None:
    version = str(int((await stage.place.ask("GET", stage.place.jobs))["metadata"]["resourceVersion"]) + 100_000)
    events: list[Object] = []

    async def watch() -> None:
        events.extend(await watched(stage, stage.place.jobs, within=3, resourceVersion=version))

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await suspended(stage, "unheard")
        await stage.until("unheard", "job: Suspended")
    assert events == []


@scene
async def test_a_watch_without_a_version_begins_with_what_is_there(stage: Stage) -> None:
    await suspended(stage, "present")
    await stage.until("present", "job: Suspended")
    for version in ({}, {"resourceVersion": ""}, {"resourceVersion": "0"}):
        query: dict[str, Any] = {"fieldSelector": "metadata.name=present", "timeoutSeconds": "1", **version}
        events = await watched(stage, stage.place.jobs, **query)
        assert told(events) == [("ADDED", "present")], "and timeoutSeconds ends it"


@scene
async def test_watches_of_no_version_and_of_no_namespace(stage: Stage) -> None:
    refused = await stage.place.refused("GET", stage.place.jobs, query=[("watch", "1"), ("resourceVersion", "abc")])
    assert refused.status == 500
    empty = "/api/v1/namespaces/no-such-namespace/pods"
    assert await watched(stage, empty, timeoutSeconds="1") == []


@scene
async def test_bookmarks_say_where_the_beginning_ends(stage: Stage) -> None:
    await suspended(stage, "marked")
    one: dict[str, Any] = {"fieldSelector": "metadata.name=marked", "allowWatchBookmarks": "true"}
    initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    for query in (one, one | initial):
        added, mark = await watched(stage, stage.place.jobs, count=2, **query)
        assert told([added]) == [("ADDED", "marked")]
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert (mark["object"]["kind"], mark["object"]["apiVersion"]) == ("Job", "batch/v1")
        assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(added["object"]["metadata"]["resourceVersion"])
        assert mark["object"]["spec"]["template"]["spec"] == {"containers": None}
    refused = await stage.place.refused("GET", stage.place.jobs, query=[("watch", "1"), ("sendInitialEvents", "true")])
    assert refused.status == 422


@scene
async def test_leases_know_microseconds_only(stage: Stage) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{stage.place.namespace}/leases"
    for time in ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.123456789Z"):
        refused = await stage.place.refused("POST", path, {"metadata": {"name": "l"}, "spec": {"renewTime": time}})
        assert (refused.status, refused.reason) == (400, "BadRequest")
        assert refused.message.startswith('Lease in version "v1" cannot be handled as a Lease: parsing time')
    made = await stage.place.ask(
        "POST", path, {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-01T00:00:00.123456+00:00"}}
    )
    assert made["spec"]["renewTime"] == "2026-01-01T00:00:00.123456Z"
    del made["metadata"]["resourceVersion"]
    refused = await stage.place.refused("PUT", f"{path}/l", made)
    assert refused.status == 422
    assert "must be specified for an update" in refused.message
    bad = {"spec": {"renewTime": "2026-01-01T00:00:00Z"}}
    assert (await stage.place.refused("PATCH", f"{path}/l", bad, content_type=MERGE)).status == 422


@scene
async def test_an_administrator_may(stage: Stage) -> None:
    attributes = {"namespace": stage.place.namespace, "verb": "create", "group": "batch", "resource": "jobs"}
    review = {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await stage.place.ask("POST", path, {"apiVersion": "authorization.k8s.io/v1", **review})
    assert answer["status"]["allowed"] is True
    assert answer["spec"]["resourceAttributes"] == attributes
