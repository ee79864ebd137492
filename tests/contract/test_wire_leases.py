"""Leases: what the API server makes of them, and that members find each other by them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from adapter.cluster.jobs import delete_options
from adapter.cluster.leases import Leases, lease_name
from adapter.membership import Membership, MembershipError, Tenure, Usurped
from tests.contract.conftest import Object, Place, Stage, scene

MERGE = "application/merge-patch+json"
TIME, LATER = "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:02.000000Z"
NOBODYS = "11111111-1111-1111-1111-111111111111"
CHANGED = "the object has been modified; please apply your changes to the latest version and try again"
QUICK = Tenure(lease=6, renew=0.7, give_up=4)


def path_of(place: Place, name: str = "") -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{place.namespace}/leases" + (f"/{name}" if name else "")


def leases(place: Place, instance: str) -> Leases:
    return Leases(place.connection, place.namespace, instance, call=30)


async def made(place: Place, name: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    body = {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}
    return await place.ask("POST", path_of(place), body)


async def unmade(place: Place, **spec: Any) -> tuple[int, str]:
    """How a Lease is refused."""
    refused = await place.refused("POST", path_of(place), {"metadata": {"name": "refused"}, "spec": spec})
    return refused.status, refused.message.removeprefix('Lease in version "v1" cannot be handled as a Lease: ')


async def patched(place: Place, name: str, patch: Object) -> Object:
    return await place.ask("PATCH", path_of(place, name), patch, content_type=MERGE)


async def unpatched(place: Place, name: str, patch: Object) -> tuple[int, str, str]:
    refused = await place.refused("PATCH", path_of(place, name), patch, content_type=MERGE)
    return refused.status, refused.reason, refused.message


def conflict(name: str) -> tuple[int, str, str]:
    return 409, "Conflict", f'Operation cannot be fulfilled on leases.coordination.k8s.io "{name}": {CHANGED}'


# -- what the API server makes of them ---------------------------------------------------------------------------------


@scene
async def test_what_is_kept_of_a_lease(stage: Stage) -> None:
    spec: dict[str, Any] = {"holderIdentity": "h", "leaseDurationSeconds": 15, "leaseTransitions": 0}
    lease = await made(stage.place, "kept", **spec, acquireTime=TIME, renewTime="2026-01-01T02:00:00.000001+02:00")
    assert lease["spec"] == spec | {"acquireTime": TIME, "renewTime": "2026-01-01T00:00:00.000001Z"}
    assert "generation" not in lease["metadata"]
    bare = await made(stage.place, "bare", renewTime=None, unknown=1)
    assert bare["spec"] == {}
    assert (await made(stage.place, "empty", holderIdentity=""))["spec"] == {"holderIdentity": ""}
    refused = await stage.place.refused("POST", path_of(stage.place), {"metadata": {"name": "kept"}})
    assert (refused.status, refused.reason, refused.kind) == (409, "AlreadyExists", "leases")


@scene
async def test_what_is_no_lease(stage: Stage) -> None:
    place, layout = stage.place, "2006-01-02T15:04:05.000000Z07:00"
    value: Any
    for key, value, words in (
        ("leaseDurationSeconds", 0, "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        ("leaseTransitions", -1, "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"),
    ):
        status, message = await unmade(place, **{key: value})
        assert (status, message) == (422, f'Lease.coordination.k8s.io "refused" is invalid: {words}')
    for key, value, words in (
        ("leaseDurationSeconds", "15", "string into Go struct field LeaseSpec.spec.leaseDurationSeconds of type int32"),
        (
            "leaseDurationSeconds",
            1.5,
            "number 1.5 into Go struct field LeaseSpec.spec.leaseDurationSeconds of type int32",
        ),
        ("holderIdentity", 1, "number into Go struct field LeaseSpec.spec.holderIdentity of type string"),
        ("renewTime", 1, "number into Go struct field LeaseSpec.spec.renewTime of type string"),
    ):
        assert await unmade(place, **{key: value}) == (400, f"json: cannot unmarshal {words}")
    for time, rest, wanted in (
        ("2026-01-01T00:00:00Z", "Z", ".000000"),
        ("2026-01-01T00:00:00.0000000Z", "0Z", "Z07:00"),
        ("2026-01-01T00:00:00.000000", "", "Z07:00"),
        ("2026-01-01 00:00:00.000000Z", " 00:00:00.000000Z", "T"),
        ("", "", "2006"),
    ):
        words = f'parsing time "{time}" as "{layout}": cannot parse "{rest}" as "{wanted}"'
        assert await unmade(place, renewTime=time) == (400, words)
    late = "2026-13-01T00:00:00.000000Z"
    assert await unmade(place, acquireTime=late) == (400, f'parsing time "{late}": month out of range')


@scene
async def test_a_renewal_of_what_was_seen_and_of_nothing_else(stage: Stage) -> None:
    place = stage.place
    first = (await made(place, "cas", holderIdentity="h", renewTime=TIME))["metadata"]["resourceVersion"]
    renewal = {"metadata": {"resourceVersion": first}, "spec": {"renewTime": LATER}}
    second = await patched(place, "cas", renewal)
    version = second["metadata"]["resourceVersion"]
    assert (version != first, second["spec"]) == (True, {"holderIdentity": "h", "renewTime": LATER})
    again = {"metadata": {"resourceVersion": version}, "spec": {"renewTime": LATER}}
    assert (await patched(place, "cas", again))["metadata"]["resourceVersion"] == version, "nothing has changed"
    assert await unpatched(place, "cas", renewal) == conflict("cas"), "though it would change nothing"
    other = {"metadata": {"uid": NOBODYS, "resourceVersion": first}, "spec": {"renewTime": TIME}}
    assert await unpatched(place, "cas", other) == conflict("cas")
    assert (await unpatched(place, "cas", {"metadata": {"uid": NOBODYS}}))[:2] == (422, "Invalid")
    assert (await unpatched(place, "missing", renewal))[:2] == (404, "NotFound")
    assert (await unpatched(place, "cas", {"spec": {"leaseDurationSeconds": 0}}))[:2] == (422, "Invalid")
    assert (await unpatched(place, "cas", {"spec": {"renewTime": "now"}}))[:2] == (422, "Invalid")


@scene
async def test_a_lease_that_is_replaced(stage: Stage) -> None:
    place = stage.place
    lease = await made(place, "put", holderIdentity="h")
    put = await place.ask("PUT", path_of(place, "put"), lease | {"spec": {"holderIdentity": "i"}})
    assert put["spec"] == {"holderIdentity": "i"}
    stale = await place.refused("PUT", path_of(place, "put"), lease | {"spec": {}})
    assert (stale.status, stale.reason, stale.message) == conflict("put")
    alien = put | {"metadata": put["metadata"] | {"uid": NOBODYS}}
    refused = await place.refused("PUT", path_of(place, "put"), alien)
    assert (refused.status, "UID in precondition" in refused.message) == (409, True)
    for version in (None, "0"):
        blind = put | {"metadata": {"name": "put"} | ({"resourceVersion": version} if version else {})}
        refused = await place.refused("PUT", path_of(place, "put"), blind)
        assert (refused.status, "must be specified for an update" in refused.message) == (422, True)
    new = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "put-new"}, "spec": {}}
    assert (await place.ask("PUT", path_of(place, "put-new"), new))["metadata"]["uid"]


@scene
async def test_a_lease_that_is_deleted_as_it_was_seen(stage: Stage) -> None:
    place = stage.place
    metadata = (await made(place, "doomed", holderIdentity="h"))["metadata"]
    path, uid, version = path_of(place, "doomed"), metadata["uid"], metadata["resourceVersion"]
    for options, words in ((delete_options(NOBODYS), "UID"), (delete_options(uid, version="1"), "ResourceVersion")):
        refused = await place.refused("DELETE", path, options)
        assert (refused.status, refused.reason, refused.kind) == (409, "Conflict", "Lease")
        assert f"the {words} in the precondition" in refused.message
    gone = await place.ask("DELETE", path, delete_options(uid, version=version))
    assert (gone["kind"], gone["status"], gone["details"]["kind"]) == ("Status", "Success", "leases")
    refused = await place.refused("DELETE", path, delete_options(uid, version=version))
    assert (refused.status, refused.kind) == (404, "leases")
    await made(place, "doomed", holderIdentity="i")
    renewal = {"metadata": {"resourceVersion": version}, "spec": {"renewTime": TIME}}
    assert await unpatched(place, "doomed", renewal) == conflict("doomed"), "another one of the same name"


@scene
async def test_leases_are_listed_by_label(stage: Stage) -> None:
    place = stage.place
    for name, label in (("listed-a", "yes"), ("listed-b", "no")):
        await made(place, name, {"group": "g", "wanted": label})
    listed = await place.ask("GET", path_of(place), query=[("labelSelector", "group=g,wanted=yes")])
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("LeaseList", ["listed-a"])
    assert not {"kind", "apiVersion"} & listed["items"][0].keys()
    nothing = await place.ask("GET", path_of(place), query=[("labelSelector", "group=none")])
    assert nothing["items"] == []
    refused = await place.refused("GET", path_of(place), query=[("fieldSelector", "spec.holderIdentity=h")])
    assert (refused.status, "is not a known field selector" in refused.message) == (400, True)
    elsewhere = path_of(place).replace(place.namespace, "no-such-namespace")
    assert (await place.ask("GET", elsewhere))["items"] == []
    refused = await place.refused("POST", elsewhere, {"metadata": {"name": "x"}})
    assert (refused.status, refused.kind) == (404, "namespaces")


# -- what we make of them ----------------------------------------------------------------------------------------------


@scene
async def test_the_life_of_a_lease(stage: Stage) -> None:
    ours, theirs = leases(stage.place, "life"), leases(stage.place, "another-life")
    name = lease_name("life", "a")
    lease = await ours.create(name, "a_1", 15)
    assert (lease.name, lease.holder, lease.transitions) == (name, "a_1", 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lease.renewed or "")
    assert await ours.get(name) == lease
    assert await ours.all() == [lease]
    assert await theirs.all() == []
    renewed = await ours.renew(lease, "a_1")
    assert (renewed.holder, renewed.transitions) == ("a_1", 0)
    assert (renewed.mark != lease.mark, renewed.version != lease.version) == (True, True)
    taken = await ours.renew(renewed, "a_2")
    assert (taken.holder, taken.transitions, taken.uid) == ("a_2", 1, lease.uid)
    await ours.delete(renewed)
    assert await ours.get(name) == taken, "it was renewed since"
    await ours.delete(taken)
    await ours.delete(taken)
    assert await ours.get(name) is None


@scene
async def test_members_find_each_other_dead_or_alive(stage: Stage) -> None:
    a, b = await joined(stage.place, "a"), await joined(stage.place, "b")
    lives = {one: asyncio.create_task(one.run()) for one in (a, b)}
    try:
        await renewals(stage.place, "b", 8)
        assert (a.valid, b.valid, a.alive("b"), b.alive("a")) == (True, True, True, True)
        lives[b].cancel()
        await until_dead(a, "b")
        assert not b.valid
        b = await joined(stage.place, "b")
        lives[b] = asyncio.create_task(b.run())
        await until_dead(a, "nobody")
        assert a.alive("b")
        await b.leave()
        await until_dead(a, "b")
        assert await leases(stage.place, "members").get(lease_name("members", "b")) is None
        usurper = await joined(stage.place, "a")
        with pytest.raises(Usurped):
            await asyncio.wait_for(lives[a], 30)
        await usurper.leave()
    finally:
        for life in lives.values():
            life.cancel()
        await asyncio.gather(*lives.values(), return_exceptions=True)


async def joined(place: Place, name: str) -> Membership:
    member = Membership(place.connection, place.namespace, "members", name, tenure=QUICK)
    await member.join()
    return member


async def renewals(place: Place, name: str, count: int) -> None:
    seen = set[str | None]()
    async with asyncio.timeout(40):
        while len(seen) < count:
            lease = await leases(place, "members").get(lease_name("members", name))
            seen.add(lease.renewed if lease else None)
            await asyncio.sleep(0.1)  # a poll of the outside world


async def until_dead(member: Membership, name: str) -> None:
    async with asyncio.timeout(40):
        while member.alive(name):
            await member.changed()


@scene
async def test_no_namespace_no_membership(stage: Stage) -> None:
    nowhere = Membership(stage.place.connection, "no-such-namespace", "members", "a", tenure=QUICK)
    with pytest.raises(MembershipError, match='namespaces "no-such-namespace" not found'):
        await nowhere.join()
