"""Two members whose clocks agree in nothing: whoever is said to be dead has given up before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cluster.connection import ApiError, Unreachable
from adapter.local import errors
from adapter.local.registry import DeleteOptions, Registry
from adapter.local.resources import LEASES, NAMESPACES
from adapter.local.selecting import Selector
from adapter.local.store import Store
from adapter.membership import Membership, Tenure
from adapter.tenure import clock

Fate = tuple[float, str, float]
"""What becomes of a call: the seconds until it is carried out, if it is, and those until the answer is there."""

AT_ONCE: Fate = (0, "answered", 0)


@dataclass
class Api:
    """The embedded cluster's API without its wire, and the time, which only passes while it is asked."""

    now: float = 1_000.0
    fates: list[Fate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store()
        self.registry = Registry(self.store)
        self.registry.create(NAMESPACES, "", {"metadata": {"name": "default"}})

    async def call(self, method: str, path: str, *, deadline: float, **how: Any) -> dict[str, Any]:
        before, fate, after = self.fates.pop(0) if self.fates else AT_ONCE
        self.now += min(before, deadline)
        if fate == "unsent" or before >= deadline:
            raise Unreachable("it was not sent")
        try:
            answer = self.carry_out(method, path.partition("/leases")[2].strip("/"), **how)
        except errors.ApiError as error:
            raise ApiError(error.code, error.body()) from error
        self.now += min(after, deadline - before)
        if fate == "lost" or before + after >= deadline:
            raise Unreachable("the answer was lost")
        return answer

    def carry_out(self, method: str, name: str, *, body: Any = None, query: Any = (), **_: Any) -> dict[str, Any]:
        place = (LEASES, "default", name)
        if method == "POST":
            return self.registry.create(LEASES, "default", self.stamped(body))
        if method == "PATCH":
            return self.registry.patch(*place, self.stamped(body), "application/merge-patch+json")
        if method == "DELETE":
            return self.registry.delete(*place, DeleteOptions.read(body, {}))
        if name:
            return self.registry.get(*place)
        selector = Selector(LEASES, dict(query)["labelSelector"])
        return {"kind": "LeaseList", "items": [one for one in self.store.select(LEASES) if selector.matches(one)]}

    def stamped(self, body: Any) -> Any:
        """Each write has another time, as long as a clock runs: here it need not."""
        body["spec"]["renewTime"] = f"2026-01-01T00:00:00.{self.store.version:06}Z"
        return body


def member(api: Api, name: str, clock: Callable[[], float], **tenure: float) -> Membership:
    return Membership(api, "default", "test", name, tenure=Tenure(**tenure), clock=clock)  # type: ignore[arg-type]


class Pair:
    """`a` and `b`, and who of them was valid when the other's last look was sent."""

    def __init__(self, pace: float) -> None:
        self.api = api = Api()
        self.a = member(api, "a", lambda: api.now)
        self.b = member(api, "b", lambda: 50.0 + pace * api.now)
        self.members = {"a": self.a, "b": self.b}
        self.valid_at_look = {"a": True, "b": True}

    async def act(self, name: str, what: str, pause: float, fates: list[Fate]) -> None:
        one, other = self.members[name], self.members["b" if name == "a" else "a"]
        self.api.now += pause
        self.api.fates = list(fates)
        was = other.valid
        try:
            await {"renew": one._renew, "look": one._look, "leave": one.leave, "tidy": one._tidy}[what]()
        except (ApiError, Unreachable):
            one._note_lapse()
        else:
            one._settled = one._lapses  # what `regained` has to do is done at once
            self.valid_at_look[name] = was if what == "look" else self.valid_at_look[name]

    def check(self) -> int:
        """Whoever is dead was not valid any more when the look that says so was sent."""
        dead = 0
        for name, other in (("a", "b"), ("b", "a")):
            if not self.members[name].alive(other):
                assert not self.valid_at_look[name]
                dead += 1
        return dead


fates = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["answered", "answered", "unsent", "lost"]), st.integers(0, 4)),
    max_size=3,
)
pauses = st.one_of(st.integers(0, 3), st.integers(0, 20))
acts = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["look", "look", "look", "renew", "renew", "tidy"]),
        pauses,
        fates,
    ),
    max_size=60,
)
paces = st.floats(0.9, 1.1)
"""How fast b's clock is, by a's: give_up is two thirds of lease, so that a third may be lost."""


@given(paces, acts)
def test_whoever_is_said_to_be_dead_has_given_up_before(pace: float, schedule: list[Any]) -> None:
    async def play() -> None:
        pair = Pair(pace)
        for one in (pair.a, pair.b):
            await one.join()
        for act in schedule:
            await pair.act(*act)
            pair.check()

    asyncio.run(play())


@given(paces, st.lists(pauses, min_size=20, max_size=40), st.booleans())
def test_whoever_dies_is_found_out_and_gave_up_before(pace: float, pauses: list[int], leaves: bool) -> None:
    async def play() -> None:
        pair = Pair(pace)
        for one in (pair.a, pair.b):
            await one.join()
        if leaves:
            await pair.act("b", "leave", 0, [])
        for pause in pauses:
            await pair.act("a", "renew", min(pause, 2), [])
            await pair.act("a", "look", 0, [])
            pair.check()
        for _ in range(9):
            await pair.act("a", "look", 2, [])
            pair.check()
        assert not pair.a.alive("b")
        assert not pair.b.valid

    asyncio.run(play())


async def test_a_lease_is_good_from_when_its_renewal_was_sent() -> None:
    api = Api()
    a = member(api, "a", lambda: api.now)
    await a.join()
    api.fates = [(1, "answered", 1.5)]
    await a._renew()
    assert (a.valid, api.now) == (True, 1_002.5)
    api.now = 1_009.9
    assert a.valid
    api.now = 1_010
    assert not a.valid


async def test_a_renewal_that_comes_too_late_is_a_lapse() -> None:
    api = Api()
    a = member(api, "a", lambda: api.now)
    await a.join()
    api.now += 9
    api.fates = [(0, "answered", 2)]
    await a._renew()
    assert not a.valid, "for a second nobody could count on it; what came of that is not settled"
    a._settled = a._lapses
    assert a.valid


async def test_the_time_that_looks_take_is_not_counted() -> None:
    pair = Pair(1.0)
    await pair.b.join()
    await pair.a.join()
    await pair.b._renew()
    await pair.act("a", "look", 0, [(0, "answered", 2.5)])
    for _ in range(6):
        await pair.act("a", "look", 2, [])
    await pair.act("a", "look", 2, [(2.5, "answered", 0)])
    assert (pair.a.alive("b", since=0), pair.api.now) == (True, 1_019), "unchanged from 1,002.5 to 1,016.5"
    await pair.act("a", "look", 0, [])
    assert not pair.a.alive("b", since=0)


@pytest.mark.parametrize(
    "times",
    [
        {"renew": 0},
        {"renew": 6, "lease": 40},
        {"give_up": 15},
        {"tidy": 10},
        {"renew": 2.6},
    ],
)
def test_times_that_do_not_fit_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a tenure needs"):
        Tenure(**times)


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    first, second = clock(), clock()
    assert first <= second
