"""Replicas and an API server that is away, or says no: an outage kills nobody, and nobody is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapter.cluster.connection import Connection
from adapter.local import Fault
from adapter.membership import Membership, MembershipError, Usurped
from tests.wire.band import (
    LEASES,
    QUICK,
    STEADY,
    Band,
    changes,
    comes_true,
    path_of,
    regaining,
    valid,
)

# -- an API server that is away ----------------------------------------------------------------------------------------


async def test_an_outage_kills_nobody(band: Band) -> None:
    members = [await band.join(name) for name in "abc"]
    calls = [regaining(member) for member in members]
    await band.cluster.stop_api()
    away = members[0].clock() + 2 * QUICK.lease
    await comes_true(lambda: members[0].clock() > away)
    assert not any(member.valid for member in members)
    await band.cluster.start_api()
    await valid(*members)
    assert all(one.alive(other) for one in members for other in "abc")
    assert [set(each) for each in calls] == [{False}] * 3
    until = members[0].clock() + QUICK.lease
    while members[0].clock() < until:
        assert all(one.alive(other) for one in members for other in "abc")
        await asyncio.sleep(0.02)  # it is looked at, not waited for


async def test_whoever_died_in_an_outage_is_found_out_after_it(band: Band) -> None:
    a, b = await band.join("a"), await band.join("b")
    await band.cluster.stop_api()
    band.kill(b)
    await comes_true(lambda: not a.valid)
    await band.cluster.start_api()
    await valid(a)
    assert a.alive("b")
    await changes(a, lambda: not a.alive("b"))


@pytest.mark.parametrize("fault", [Fault.respond(500), Fault.no_headers()], ids=["500", "hanging"])
async def test_while_lists_fail_everybody_may_be_alive(fault: Fault, band: Band) -> None:
    a, b = await band.join("a"), await band.join("b")
    blind = band.cluster.faults.add(fault, method="GET", path=LEASES)
    band.kill(b)
    await comes_true(lambda: "(look)" in (a.problem or ""))
    until = a.clock() + 2 * QUICK.lease
    while a.clock() < until:
        assert a.alive("b")
        await asyncio.sleep(0.02)  # it is looked at, not waited for
    blind.remove()
    await changes(a, lambda: not a.alive("b"))
    assert a.problem is None


async def test_where_nobody_can_write_nobody_is_dead(band: Band) -> None:
    """An etcd that is full can be read: every Lease stays as it is, and the first to write again must not be alone."""
    a, b = await band.join("a"), await band.join("b")
    since = a.clock()
    full = band.cluster.faults.add(Fault.respond(500, "etcdserver: mvcc: database space exceeded"), method="PATCH")
    away = a.clock() + 2 * QUICK.lease
    await comes_true(lambda: a.clock() > away)
    assert not a.valid
    assert not b.valid
    only_b = band.cluster.faults.add(Fault.respond(500), method="PATCH", path=path_of("b"))
    full.remove()
    await valid(a)
    assert a.alive("b", since=since), "it could not renew either"
    only_b.remove()
    await valid(b)
    await changes(a, lambda: a.alive("b"))


async def test_what_is_no_list_of_leases_lacks_nobody(band: Band, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await band.join("a", STEADY), await band.join("b", STEADY)
    answers: list[Any] = [{}, {"kind": "Status", "items": []}, {"kind": "LeaseList", "items": [{"metadata": {}}]}]
    call, told = Connection.call, len(answers)

    async def wrong(self: Connection, method: str, path: str, **how: Any) -> dict[str, Any]:
        if path == LEASES and method == "GET" and answers:
            return answers.pop() or {}
        return await call(self, method, path, **how)

    monkeypatch.setattr(Connection, "call", wrong)
    since = a.clock()
    await comes_true(lambda: len(answers) < told and a.problem)
    assert "no API server" in (a.problem or "")
    await comes_true(lambda: not answers)
    assert a.alive("b", since=since)
    assert b.alive("a", since=since)


# -- what cannot be ----------------------------------------------------------------------------------------------------


async def test_two_processes_of_one_name_do_not_fight(band: Band) -> None:
    first = await band.join("a", STEADY)
    second = await band.join("a", STEADY)
    with pytest.raises(Usurped, match=r"Lease ck-a-.* of replica 'a' is held by another process .*state directory"):
        await asyncio.wait_for(band.lives[first], 10)
    assert not first.valid
    with pytest.raises(Usurped):
        await first.until_valid()
    holder = band.lease("a")["spec"]["holderIdentity"]
    await first.leave()
    assert band.lease("a")["spec"]["holderIdentity"] == holder, "the other's Lease is left alone"
    assert second.valid
    assert band.lease("a")["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [
        ("get", "GET", path_of("a")),
        ("create", "POST", LEASES),
        ("patch", "PATCH", path_of("a")),
        ("list", "GET", LEASES),
    ],
)
async def test_a_right_that_is_lacking_is_said_at_the_start(verb: str, method: str, path: str, band: Band) -> None:
    words = f'leases.coordination.k8s.io is forbidden: User "u" cannot {verb} resource "leases"'
    band.cluster.faults.add(Fault.respond(403, words), method=method, path=path)
    a = await band.make("a")
    with pytest.raises(MembershipError, match=rf"namespace default cannot .* cannot {verb} resource .*docs/rbac\.md"):
        await a.join()


async def test_a_namespace_that_is_not_there_is_said_at_the_start(band: Band) -> None:
    made = await band.make("a")
    a = Membership(band.connections[0], "nowhere", "test", made.name, tenure=QUICK)
    with pytest.raises(MembershipError, match='namespaces "nowhere" not found'):
        await a.join()


async def test_joining_waits_for_an_api_server_that_is_away(band: Band) -> None:
    a = await band.make("a")
    await band.cluster.stop_api()
    joining = asyncio.create_task(a.join())
    await comes_true(lambda: "(join)" in (a.problem or ""))
    assert not joining.done()
    await band.cluster.start_api()
    await asyncio.wait_for(joining, 10)
    assert a.valid
    assert a.problem is None


async def test_joining_finds_what_an_earlier_try_has_made(band: Band) -> None:
    lost = [Fault.lose_answer(method=method, path=f"{LEASES}*") for method in ("POST", "PATCH")]
    for fault in lost:
        band.cluster.faults.add(fault)
    a = await band.join("a", STEADY)
    assert a.valid
    assert band.lease("a")["spec"]["leaseTransitions"] == 0


async def test_a_right_that_is_withdrawn_is_a_lapse_until_it_is_given_back(band: Band) -> None:
    a = await band.join("a")
    withdrawn = band.cluster.faults.add(Fault.respond(403), path=f"{LEASES}*")
    await comes_true(lambda: not a.valid)
    assert not band.lives[a].done()
    withdrawn.remove()
    await valid(a)


async def test_leaving_never_raises(band: Band) -> None:
    a = await band.join("a")
    band.cluster.faults.add(Fault.no_headers(), path=f"{LEASES}*")
    await asyncio.wait_for(a.leave(), 10)
    await asyncio.wait_for(band.lives[a], 5)
    assert not a.valid


# -- what is left behind -----------------------------------------------------------------------------------------------


async def test_a_lease_that_has_been_dead_for_long_is_deleted_by_whoever_notices(band: Band) -> None:
    a, c, b = await band.join("a"), await band.join("c"), await band.join("b")
    band.kill(b)
    await changes(a, lambda: not a.alive("b"))
    assert band.lease("b")
    await band.cluster.until(lambda _: not band.lease("b"))
    assert not a.alive("b")
    assert band.lease("a")
    assert band.lease("c")
    assert c.valid


async def test_a_lease_that_may_not_be_deleted_is_left_and_nothing_is_wrong(band: Band) -> None:
    a, b = await band.join("a"), await band.join("b")
    kept = band.cluster.faults.add(Fault.respond(403), method="DELETE", path=path_of("b"))
    band.kill(b)
    await band.cluster.until(lambda _: kept.hits > 1)
    assert band.lease("b")
    await changes(a, lambda: not a.alive("b"))
    await valid(a)
    assert a.problem is None


async def test_nothing_is_left_of_a_member_that_is_cancelled(band: Band) -> None:
    a = await band.join("a")
    band.cluster.faults.add(Fault.no_headers(), path=f"{LEASES}*")
    asked = len(band.cluster.requests)
    await band.cluster.until(lambda c: len(c.requests) > asked + 1)
    band.kill(a)
    with pytest.raises(asyncio.CancelledError):
        await band.lives[a]
