"""List and watch: the answers of a real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from adapter.local import LocalCluster

from .conftest import JOBS, SECRETS, Wire, failure, secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


# list


async def test_lists(wire: Wire) -> None:
    for name in ("a", "b", "c"):
        await wire.create(SECRETS, secret(name, app=name))
    found = (await wire.get(SECRETS, labelSelector="app in (a,c)")).json
    assert [one["metadata"]["name"] for one in found["items"]] == ["a", "c"]
    assert found["kind"] == "SecretList"
    assert "kind" not in found["items"][0]
    page = (await wire.get(SECRETS, limit="2")).json
    assert (len(page["items"]), page["metadata"]["remainingItemCount"]) == (2, 1)
    rest = (await wire.get(SECRETS, limit="2", **{"continue": page["metadata"]["continue"]})).json
    assert [one["metadata"]["name"] for one in rest["items"]] == ["c"]
    assert len((await wire.get(SECRETS, limit="1", resourceVersion="0")).json["items"]) == 3


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=a", "a"),
        ("app!=a", "bn"),
        ("app", "ab"),
        ("!app", "n"),
        ("app notin (a,b)", "n"),
        ("app in (a),app==a", "a"),
        ("", "abn"),
    ],
)
async def test_label_selectors(wire: Wire, selector: str, names: str) -> None:
    await wire.create(SECRETS, secret("a", app="a"))
    await wire.create(SECRETS, secret("b", app="b"))
    await wire.create(SECRETS, secret("n"))
    found = (await wire.get(SECRETS, labelSelector=selector)).json["items"]
    assert "".join(one["metadata"]["name"] for one in found) == names


async def test_field_selectors(wire: Wire) -> None:
    await wire.create(SECRETS, secret("a"))
    await wire.create(SECRETS, secret("b"))
    found = (await wire.get(SECRETS, fieldSelector="metadata.name=b")).json["items"]
    assert [one["metadata"]["name"] for one in found] == ["b"]
    answer = await wire.get(JOBS, fieldSelector="spec.suspend=true")
    assert answer.json == failure(400, "BadRequest", 'field label "spec.suspend" not supported for Job')


async def test_versions_of_lists(cluster: LocalCluster, wire: Wire) -> None:
    answer = await wire.get(JOBS, resourceVersion="abc")
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    answer = await wire.get(JOBS, resourceVersion="99999999")
    assert (answer.status, answer.json["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")
    await wire.create(SECRETS, secret("s"))
    cluster.compact()
    answer = await wire.get(JOBS, resourceVersion="1", resourceVersionMatch="Exact")
    assert answer.json == failure(410, "Expired", "The resourceVersion for the provided list is too old.")


# watch


async def test_watch_from_the_beginning_and_from_a_version(wire: Wire) -> None:
    await wire.create(SECRETS, secret("a"))
    version = (await wire.get(SECRETS)).json["metadata"]["resourceVersion"]
    everything = await wire.watch(SECRETS)
    later = await wire.watch(SECRETS, resourceVersion=version)
    await wire.create(SECRETS, secret("b"))
    await wire.delete(f"{SECRETS}/b")
    assert await everything.take(3) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    assert await later.take(2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_leaving_a_selector_is_a_deletion(wire: Wire) -> None:
    watching = await wire.watch(SECRETS, labelSelector="app=a")
    await wire.create(SECRETS, secret("s", app="b"))
    for value in ("a", "b", "a"):
        await wire.patch(f"{SECRETS}/s", {"metadata": {"labels": {"app": value}}})
    await wire.patch(f"{SECRETS}/s", {"metadata": {"labels": {"x": "y"}}})
    assert await watching.take(4) == [("ADDED", "s"), ("DELETED", "s"), ("ADDED", "s"), ("MODIFIED", "s")]


async def test_too_old_a_version(cluster: LocalCluster, wire: Wire) -> None:
    await wire.create(SECRETS, secret("a"))
    cluster.compact()
    watching = await wire.watch(SECRETS, resourceVersion="1")
    event = await watching.next()
    assert watching.response.status == 200
    assert event["type"] == "ERROR"
    assert event["object"]["message"].startswith("too old resource version: 1 (")
    assert event["object"]["code"] == 410
    assert await watching.next() is None


async def test_a_version_from_the_future_is_silent(wire: Wire) -> None:
    watching = await wire.watch(SECRETS, resourceVersion="99999999", timeoutSeconds="1")
    await wire.create(SECRETS, secret("a"))
    assert await watching.next() is None
    assert (await wire.get(SECRETS, watch="1", resourceVersion="abc")).status == 500


async def test_initial_events_end_with_a_bookmark(wire: Wire) -> None:
    await wire.create(SECRETS, secret("a"))
    how = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    watching = await wire.watch(SECRETS, **how)
    assert await watching.take(1) == [("ADDED", "a")]
    mark = await watching.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (await wire.get(SECRETS, watch="1", sendInitialEvents="true")).status == 422


@pytest.fixture
async def talkative(tmp_path: Any) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "talkative", bookmark_seconds=0.02) as cluster:
        yield cluster


async def test_bookmarks(talkative: LocalCluster, wire: Wire) -> None:
    headers = {"Authorization": f"Bearer {talkative.token}"}
    version = talkative.history[-1].object["metadata"]["resourceVersion"]
    query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
    async with wire.session.get(f"{talkative.url}{JOBS}{query}", headers=headers) as response:
        line = await response.content.readline()
        metadata = (
            b'"metadata":{"resourceVersion":"%s"}'
            % str(talkative.history[-1].object["metadata"]["resourceVersion"]).encode()
        )
        spec = b'"spec":{"template":{"metadata":{},"spec":{"containers":null}}},"status":{}'
        assert line == b'{"type":"BOOKMARK","object":{"kind":"Job","apiVersion":"batch/v1",%s,%s}}\n' % (metadata, spec)
        assert (await response.content.readline()).startswith(b'{"type":"BOOKMARK"')


async def test_timeout_of_a_watch(wire: Wire) -> None:
    before = asyncio.get_running_loop().time()
    assert await (await wire.watch(SECRETS, timeoutSeconds="1")).next() is None
    assert 0.9 < asyncio.get_running_loop().time() - before < 2
    assert await (await wire.watch(SECRETS, timeoutSeconds="-1")).next() is None


async def test_a_missing_namespace_is_watched_in_silence(cluster: LocalCluster, wire: Wire) -> None:
    watching = await wire.watch("/api/v1/namespaces/nope/secrets")
    assert watching.response.status == 200
    await cluster.until(lambda c: len(c.open_streams()) == 1)


# who may ask


async def test_who_may_ask(cluster: LocalCluster, wire: Wire) -> None:
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        answer = await wire.ask("GET", JOBS, headers=headers)
        assert answer.json == failure(401, "Unauthorized", "Unauthorized")
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = await wire.create(path, {"spec": {"resourceAttributes": {"verb": "create", "resource": "jobs"}}})
    assert review["status"]["allowed"] is True
    assert (await wire.get("/readyz")).body == b"ok"
    assert (await wire.get("/version")).json["minor"] == "34"


async def test_requests_are_remembered(cluster: LocalCluster, wire: Wire) -> None:
    await wire.get(JOBS, limit="1")
    record = cluster.requests[-1]
    assert (record.method, record.path, record.query, record.status) == ("GET", JOBS, {"limit": "1"}, 200)
    assert "aiohttp" in record.user_agent
