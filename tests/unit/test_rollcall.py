"""Nobody is dead but by evidence, whatever the order of looks, failures and renewals; and who is dead is found out."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, cycle, islice

from hypothesis import given
from hypothesis import strategies as st

from adapter.cluster.leases import Lease
from adapter.rollcall import RollCall

LEASE, BLIND = 15_000, 7_500
"""Milliseconds, so that nothing is rounded."""

B = Lease(name="b", uid="u", version="1", holder="b_1", renewed="0", transitions=0)

Look = tuple[int, int, int]
"""When a LIST was sent, when the API server read, and when the answer came."""


def renewed(count: int) -> Lease:
    return replace(B, renewed=str(count), version=str(count))


def roll_call() -> RollCall:
    return RollCall(LEASE, BLIND)


def shown(renewals: list[int], at: int) -> list[Lease]:
    """What a LIST shows that is read at that moment: as many renewals as there were, or nothing before the first."""
    count = sum(time <= at for time in renewals)
    return [renewed(count)] if count else []


def watched(times: list[int]) -> RollCall:
    """A Lease that never changes, seen at these times."""
    roll = roll_call()
    for time in times:
        roll.look(time, time, [B])
    return roll


pauses = st.integers(0, 2 * BLIND)
looks = st.lists(st.tuples(pauses, st.integers(0, 4_000), st.integers(0, 4_000)), max_size=20).map(
    lambda given: [
        (end - before - after, end - after, end)
        for end, (_, before, after) in zip(accumulate(sum(each) for each in given), given, strict=True)
    ]
)
"""Looks that succeeded, one after the other; where one failed, or hung, there is a pause."""


def said_dead(renewals: list[int], schedule: list[Look], later: int) -> list[tuple[int, int]]:
    """When it was said to be dead, by a look sent when: asked at each answer, and some time after it."""
    roll, found = roll_call(), []
    roll.dead("b", 0)
    for asked, read, answered in schedule:
        roll.look(asked, answered, shown(renewals, read))
        found += [(now, asked) for now in (answered, answered + later) if roll.dead("b", now)]
    return found


@given(st.lists(st.integers(1, LEASE - 1), min_size=1, max_size=8), looks, st.integers(0, LEASE))
def test_whoever_renews_in_time_is_never_dead(pauses: list[int], schedule: list[Look], later: int) -> None:
    renewals = [0, *accumulate(islice(cycle(pauses), 80))]
    in_time = [look for look in schedule if look[2] < renewals[-1]]
    assert said_dead(renewals, in_time, later) == []


@given(st.lists(st.integers(0, 3 * LEASE), max_size=12), looks, st.integers(0, LEASE))
def test_whoever_is_dead_was_silent_for_a_lease_while_we_looked(
    pauses: list[int], schedule: list[Look], later: int
) -> None:
    renewals = [0, *accumulate(pauses)]
    for now, asked in said_dead(renewals, schedule, later):
        assert not any(asked - LEASE < renewal <= asked for renewal in renewals)
        sent = [look[0] for look in schedule if look[0] <= asked]
        spanning = [time for time in sent if time >= asked - LEASE]
        gaps = [b - a for a, b in zip([sent[-len(spanning) - 1], *spanning], [*spanning, now], strict=True)]
        assert max(gaps) <= BLIND, "a time in which we did not see counts for nobody"


@given(st.lists(st.integers(1, BLIND), min_size=1, max_size=8), st.integers(0, 4 * LEASE))
def test_whoever_is_silent_is_found_out(pauses: list[int], last: int) -> None:
    times = list(accumulate(islice(cycle(pauses), 40)))
    schedule = [(time, time, time) for time in times]
    found = said_dead([*range(0, last, 1_000), last], schedule, 0)
    first_silent = next((time for time in times if time >= last), None)
    due = [time for time in times if first_silent is not None and time >= first_silent + LEASE]
    assert [now for now, _ in found] == [time for time in due for _ in range(2)]


# -- a time in which we did not see ------------------------------------------------------------------------------------


def test_the_first_look_after_an_outage_declares_nobody_dead() -> None:
    roll = watched([0, 2_000, 62_000])
    assert not roll.dead("b", 62_000)
    for time in range(64_000, 78_000, 2_000):
        roll.look(time, time, [B])
        assert not roll.dead("b", time), "the count has begun anew"
    roll.look(78_000, 78_000, [B])
    assert roll.dead("b", 78_000)


def test_a_short_gap_does_not_begin_the_count_anew() -> None:
    assert watched([0, 2_000, 9_500, 15_000]).dead("b", 15_000, since=0)


def test_a_lease_is_as_long_as_it_is() -> None:
    assert not watched([0, 5_000, 10_000, LEASE - 1]).dead("b", LEASE, since=0)
    assert watched([0, 5_000, 10_000, LEASE]).dead("b", LEASE, since=0)


def test_while_we_do_not_see_everybody_may_be_alive() -> None:
    roll = watched(list(range(0, 20_000, 2_000)))
    assert roll.dead("b", 18_000 + BLIND, since=0)
    assert not roll.dead("b", 18_000 + BLIND + 1, since=0)
    assert not roll.dead("nobody", 18_000 + BLIND + 1, since=0)


def test_what_is_forgotten_is_no_evidence() -> None:
    roll = watched(list(range(0, 20_000, 2_000)))
    roll.forget()
    assert not roll.dead("b", 18_000, since=0)
    roll.look(20_000, 20_000, [B])
    assert not roll.dead("b", 20_000, since=0)


def test_the_time_that_an_answer_takes_is_not_counted() -> None:
    roll = roll_call()
    roll.look(0, 3_000, [B])
    for time in range(5_000, 17_000, 2_000):
        roll.look(time, time + 1_000, [B])
    assert not roll.dead("b", 18_000, since=0), "seen for 12 s: from the first answer to the last question"
    roll.look(18_000, 19_000, [B])
    assert roll.dead("b", 19_000, since=0)


# -- what counts as a change -------------------------------------------------------------------------------------------


def test_somebodys_label_is_no_sign_of_life() -> None:
    roll = roll_call()
    for time in range(0, 18_000, 2_000):
        roll.look(time, time, [replace(B, version=str(time))])
    assert roll.dead("b", 16_000, since=0)
    [lease] = roll.unchanged(LEASE)
    assert lease.version == "16000", "it is deleted as it was seen last"


def test_another_holder_or_another_lease_of_the_name_is_one() -> None:
    for other in (replace(B, holder="b_2"), replace(B, uid="v"), replace(B, renewed="1")):
        roll = watched(list(range(0, 16_000, 2_000)))
        roll.look(16_000, 16_000, [other])
        assert not roll.dead("b", 16_000, since=0)


def test_a_lease_without_a_holder_or_a_time_is_watched_like_any_other() -> None:
    roll, bare = roll_call(), replace(B, holder=None, renewed=None)
    for time in range(0, 18_000, 2_000):
        roll.look(time, time, [bare])
    assert roll.dead("b", 16_000, since=0)


# -- a Lease that is not there -----------------------------------------------------------------------------------------


def test_whoever_is_lacking_is_dead_by_a_look_newer_than_the_wish_to_know() -> None:
    roll = roll_call()
    roll.look(0, 0, [])
    assert not roll.dead("b", 1_000), "it may have come since"
    assert not roll.look(500, 1_500, [])
    assert not roll.dead("b", 1_500), "that look was sent before"
    assert roll.look(2_000, 2_000, []), "and this is news"
    assert roll.dead("b", 2_000)
    assert roll.dead("b", 3_000, since=1_900)
    assert not roll.dead("b", 3_000, since=2_100), "a newer wish needs a newer look"


def test_a_wish_that_nobody_repeats_is_over() -> None:
    roll = roll_call()
    roll.dead("b", 0)
    for time in range(0, 40_000, 2_000):
        roll.look(time, time, [])
    assert not roll.dead("b", 38_500), "asked afresh: it may be a wish about somebody who has come since"
    assert list(roll.missing([])) == ["b"]
    assert list(roll.missing([B])) == []
    for time in range(40_000, 60_000, 2_000):
        roll.look(time, time, [])
    assert list(roll.missing([])) == []


def test_nothing_is_known_before_the_first_look() -> None:
    assert not roll_call().dead("b", 0)
    assert not roll_call().dead("b", 0, since=-1)


# -- when there is something new ---------------------------------------------------------------------------------------


def test_news_are_who_comes_who_dies_and_who_leaves() -> None:
    roll = roll_call()
    assert roll.look(0, 0, [B])
    assert not roll.look(2_000, 2_000, [B])
    assert [roll.look(time, time, [B]) for time in range(4_000, 20_000, 2_000)] == [False] * 6 + [True, False]
    assert roll.look(20_000, 20_000, [renewed(1)]), "it has come back"
    assert roll.look(22_000, 22_000, []), "it has left"


def test_whoever_was_told_no_for_want_of_a_newer_look_hears_of_it() -> None:
    roll = watched(list(range(0, 18_000, 2_000)))
    assert roll.dead("b", 16_100, since=15_900)
    assert not roll.dead("b", 16_100, since=16_050)
    assert roll.dead("b", 16_200, since=15_900)
    assert roll.look(18_000, 18_000, [B])
    assert roll.dead("b", 18_000, since=16_050)
    assert not roll.dead("gone", 18_100)
    assert roll.look(20_000, 20_000, [B])
    assert roll.dead("gone", 20_000)
    assert not roll.look(22_000, 22_000, [B])
