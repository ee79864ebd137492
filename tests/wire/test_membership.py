"""Replicas among themselves: who cannot renew gives up before another takes over."""

from __future__ import annotations

import asyncio

import pytest

from adapter.cluster.connection import MERGE_PATCH
from adapter.cluster.jobs import INSTANCE_LABEL
from adapter.local import Fault
from adapter.membership import MembershipError
from tests.wire.band import (
    LEASES,
    QUICK,
    STEADY,
    Band,
    changes,
    comes_true,
    held_up,
    path_of,
    regaining,
    valid,
)

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
