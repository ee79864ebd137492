"""Replicas among themselves: who cannot renew gives up before another takes over, and an outage kills nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from adapter.cluster.connection import MERGE_PATCH, Connection
from adapter.cluster.credentials import Source
from adapter.cluster.jobs import INSTANCE_LABEL
from adapter.cluster.leases import lease_name
from adapter.local import Fault, LocalCluster
from adapter.membership import Membership, MembershipError, Tenure, Usurped

QUICK = Tenure(lease=1.5, renew=0.2, give_up=0.9, tidy=2.5)
"""The proportions of the real times, small."""

STEADY = Tenure(lease=30, renew=0.2, give_up=20)
"""Nobody lapses or dies here, however slow the machine."""

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


def name_of(replica: str) -> str:
    return lease_name("test", replica)


def path_of(replica: str) -> str:
    return f"{LEASES}/{name_of(replica)}"


@dataclass
class Band:
    """Members in one process, each with a connection of its own."""

    cluster: LocalCluster
    connections: list[Connection] = field(default_factory=list)
    lives: dict[Membership, asyncio.Task[None]] = field(default_factory=dict)

    async def make(self, name: str, tenure: Tenure = QUICK, instance: str = "test") -> Membership:
        self.connections.append(await Connection.open(Source(str(self.cluster.kubeconfig)), deadline=5))
        return Membership(self.connections[-1], "default", instance, name, tenure=tenure)

    async def join(self, name: str, tenure: Tenure = QUICK, **how: Any) -> Membership:
        """A member that lives."""
        member = await self.make(name, tenure, **how)
        await member.join()
        self.lives[member] = asyncio.create_task(member.run())
        return member

    def kill(self, member: Membership) -> None:
        """As `kill -9` does: nothing more is said."""
        self.lives[member].cancel()

    async def renewed(self, name: str, times: int = 2) -> None:
        """Waits for renewals to come: when the second is there, the first is known to whoever sent it."""
        for _ in range(times):
            await self.cluster.until(partial(self._is_renewed, name, self._renewal(name)))

    def _is_renewed(self, name: str, before: str | None, _: LocalCluster) -> bool:
        return self._renewal(name) not in (None, before)

    def _renewal(self, name: str) -> str | None:
        return (self.lease(name).get("spec") or {}).get("renewTime")

    def lease(self, name: str) -> dict[str, Any]:
        return self.cluster.get("leases", name_of(name)) or {}

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> dict[str, Any]:
        return await self.connections[0].call(method, path, body=body, deadline=5, **how)

    async def close(self) -> None:
        for life in self.lives.values():
            life.cancel()
        await asyncio.gather(*self.lives.values(), return_exceptions=True)
        for connection in self.connections:
            await connection.close()


@pytest.fixture
async def band(cluster: LocalCluster) -> AsyncIterator[Band]:
    band = Band(cluster)
    yield band
    await band.close()


async def changes(member: Membership, holds: Callable[[], object], seconds: float = 20) -> None:
    """Waits for what `changed` tells of."""
    async with asyncio.timeout(seconds):
        while not holds():
            await member.changed()


async def comes_true(holds: Callable[[], object]) -> None:
    """Waits for what nobody tells of, since it comes by the clock alone."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - as the docstring says
            await asyncio.sleep(0.01)


async def valid(*members: Membership) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*(member.until_valid() for member in members))


def regaining(member: Membership) -> list[bool]:
    """What `valid` was each time that `regained` was called, and at the end of it."""
    calls: list[bool] = []

    async def regained() -> None:
        calls.append(member.valid)
        await asyncio.sleep(0)
        calls.append(member.valid)

    member.regained = regained
    return calls


# -- coming and going --------------------------------------------------------------------------------------------------


async def test_a_member_has_a_lease_of_its_own_and_renews_it(band: Band) -> None:
    a = await band.join("A replica", STEADY)
    assert a.valid
    lease = band.lease("A replica")
    assert lease["metadata"]["name"].startswith("ck-a-replica-")
    assert lease["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "claude-k8s-adapter",
        INSTANCE_LABEL: "test",
    }
    assert lease["spec"]["holderIdentity"].startswith("A replica_")
    assert (lease["spec"]["leaseDurationSeconds"], lease["spec"]["leaseTransitions"]) == (30, 0)
    await band.renewed("A replica")
    assert a.valid
    assert a.problem is None


async def test_members_see_each_other_come_and_leave(band: Band) -> None:
    a = await band.join("a", STEADY)
    await asyncio.wait_for(a.changed(), 10)  # its own coming
    b = await band.join("b", STEADY)
    await asyncio.wait_for(a.changed(), 10)
    assert a.alive("b")
    assert b.alive("a")
    await b.leave()
    await asyncio.wait_for(band.lives[b], 5)
    assert not band.lease("b")
    assert not b.valid
    await changes(a, lambda: not a.alive("b"))
    with pytest.raises(MembershipError, match="has left"):
        await b.until_valid()


async def test_a_member_that_is_killed_is_dead_when_its_lease_has_not_changed(band: Band) -> None:
    a, b = await band.join("a"), await band.join("b")
    await valid(a, b)
    band.kill(b)
    await changes(a, lambda: not a.alive("b"))
    assert not b.valid, "it had given up by then"
    assert band.lease("b"), "its Lease is still there"
    await valid(a)


async def test_whoever_lives_is_never_dead(band: Band) -> None:
    members = [await band.join(name) for name in "abc"]
    seen = len(band.cluster.history)
    while sum(change.kind == "Lease" for change in band.cluster.history[seen:]) < 40:
        await asyncio.sleep(0.02)  # it is looked at, not waited for
        assert all(one.alive(other) for one in members for other in "abc")


async def test_an_earlier_life_is_taken_over_at_once_and_is_alive_throughout(band: Band) -> None:
    a, first = await band.join("a", STEADY), await band.join("b", STEADY)
    band.kill(first)
    b = await band.join("b", STEADY)
    assert b.valid
    assert a.alive("b")
    assert band.lease("b")["spec"]["leaseTransitions"] == 1
    with pytest.raises(asyncio.CancelledError):
        await band.lives[first]


async def test_other_instances_are_none_of_ours(band: Band) -> None:
    a, other = await band.join("a", STEADY), await band.join("b", STEADY, instance="other")
    assert a.alive("b")
    await changes(a, lambda: not a.alive("b"))
    assert other.valid


async def test_whoever_was_never_there_is_alive_until_a_look_newer_than_the_question(band: Band) -> None:
    a = await band.join("a", STEADY)
    before = a.clock()
    assert a.alive("nobody", since=before)
    await changes(a, lambda: not a.alive("nobody", since=before))
    assert a.alive("nobody", since=a.clock())


async def test_a_lease_that_has_lost_its_label_is_still_there(band: Band) -> None:
    a, b = await band.join("a", STEADY), await band.join("b", STEADY)
    await band.ask("PATCH", path_of("b"), {"metadata": {"labels": {INSTANCE_LABEL: "x"}}}, content_type=MERGE_PATCH)
    assert a.alive("b")
    asked = len(band.cluster.requests)
    await band.cluster.until(
        lambda c: sum(r.method == "GET" and r.path == path_of("b") for r in c.requests[asked:]) > 2
    )
    assert a.alive("b")
    assert b.valid


# -- what cannot be renewed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Fault.respond(500), Fault.respond(403), Fault.respond(409), Fault.no_headers(), Fault.cut(how="rst")],
    ids=["500", "403", "409", "hanging", "reset"],
)
async def test_whoever_cannot_renew_gives_up_before_it_is_dead_to_others(fault: Fault, band: Band) -> None:
    a, b = await band.join("a"), await band.join("b")
    calls = regaining(b)
    cut = band.cluster.faults.add(fault, method="PATCH", path=path_of("b"))
    await changes(a, lambda: not a.alive("b"))
    assert not b.valid
    assert "the Leases cannot be used (renew)" in (b.problem or "")
    assert calls == []
    cut.remove()
    await valid(b)
    assert set(calls) == {False}, "it is valid only when that is over"
    await changes(a, lambda: a.alive("b"))
    assert b.problem is None
    assert band.lease("b")["spec"]["leaseTransitions"] == 0


async def test_a_short_failure_is_no_lapse(band: Band) -> None:
    a = await band.join("a", STEADY)
    calls = regaining(a)
    hit = band.cluster.faults.add(Fault.respond(503), method="PATCH", path=path_of("a"), count=3)
    await band.cluster.until(lambda _: hit.hits == 3)
    await band.renewed("a")
    assert a.valid
    assert calls == []


async def test_slow_answers_are_answers(band: Band) -> None:
    a, b = await band.join("a", STEADY), await band.join("b", STEADY)
    calls = regaining(a)
    band.cluster.faults.add(Fault.delay(0.15), path=f"{LEASES}*")
    await band.renewed("a", 4)
    assert a.valid
    assert b.valid
    assert a.alive("b")
    assert calls == []


async def test_a_renewal_whose_answer_is_lost_is_ours_all_the_same(band: Band) -> None:
    a = await band.join("a", STEADY)
    calls = regaining(a)
    lost = band.cluster.faults.add(Fault.lose_answer(), method="PATCH", path=path_of("a"), count=2)
    await band.cluster.until(lambda _: lost.hits == 2)
    await band.renewed("a")
    assert a.valid
    assert calls == []
    assert band.lease("a")["spec"]["leaseTransitions"] == 0


async def test_what_is_regained_is_asked_for_again_until_it_succeeds(band: Band) -> None:
    b = await band.join("b")
    tries = 0

    async def regained() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("not yet")

    b.regained = regained
    await band.ask("DELETE", path_of("b"))
    await band.cluster.until(lambda c: not b.valid)
    await valid(b)
    assert tries == 3


@dataclass
class Regaining:
    """A `regained` that is held up: how often it was called, and whether it may go on."""

    calls: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.calls += 1
        self.begun.set()
        await self.go_on.wait()


async def held_up(band: Band, member: Membership) -> Regaining:
    """A member that has lapsed, and whose owner is busy with what came of it."""
    member.regained = regaining = Regaining()
    await band.ask("DELETE", path_of(member.name))
    await asyncio.wait_for(regaining.begun.wait(), 10)
    return regaining


async def test_a_lapse_while_we_regain_is_another_one(band: Band) -> None:
    b = await band.join("b", STEADY)
    regaining = await held_up(band, b)
    await band.renewed("b")
    assert not b.valid, "it is renewed, and what came of the lapse is not settled"
    await band.ask("DELETE", path_of("b"))
    await band.renewed("b", 3)
    regaining.go_on.set()
    await valid(b)
    assert regaining.calls == 2


async def test_nothing_is_regained_before_the_lease_is_renewed_again(band: Band) -> None:
    b = await band.join("b")
    regaining = await held_up(band, b)
    cut = band.cluster.faults.add(Fault.respond(500), method="PATCH", path=path_of("b"))
    away = b.clock() + QUICK.give_up
    await comes_true(lambda: b.clock() > away)
    hits = cut.hits
    await band.cluster.until(lambda _: cut.hits > hits + 1)
    regaining.go_on.set()
    hits = cut.hits
    await band.cluster.until(lambda _: cut.hits > hits + 1)
    assert regaining.calls == 1
    cut.remove()
    await valid(b)
    assert regaining.calls == 2


async def test_a_lease_that_others_deleted_is_made_anew_and_is_a_lapse(band: Band) -> None:
    a, b = await band.join("a", STEADY), await band.join("b", STEADY)
    calls = regaining(b)
    uid = band.lease("b")["metadata"]["uid"]
    await band.ask("DELETE", path_of("b"))
    await band.cluster.until(lambda _: band.lease("b") and band.lease("b")["metadata"]["uid"] != uid)
    await comes_true(lambda: calls)
    await valid(b)
    assert calls == [False, False]
    assert a.valid


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
