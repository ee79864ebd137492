"""Leases: their views, their names and times, and what answers that is no API server."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cluster import leases
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.leases import Lease, Leases, lease_name

LEASE = Lease(name="ck-a", uid="u", version="3", holder="a_1", renewed=None, transitions=2)
RAW = {"metadata": {"name": "ck-a", "uid": "u", "resourceVersion": "4"}, "spec": {"holderIdentity": "a_1"}}


class Answers:
    """A connection that keeps what it is asked, and gives one answer to all."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def call(self, method: str, path: str, *, body: Any = None, deadline: float, **_: Any) -> Any:
        assert deadline == 3
        self.asked.append((method, path.rpartition("/namespaces/")[2], body or {}))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def leases(self) -> Leases:
        return Leases(self, "agents", "test", call=3)  # type: ignore[arg-type]  # it only has to be asked


def test_a_view_of_a_lease_that_says_little() -> None:
    assert Lease.of({"metadata": {"name": "x"}}) == Lease("x", "", "", None, None, 0)
    assert Lease.of({"metadata": {"name": "x"}, "spec": {"leaseTransitions": None}}).transitions == 0


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_are_of_one_replica_each(one: str, other: str) -> None:
    name = lease_name("test", one)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)
    assert (lease_name("test", one) == lease_name("test", other)) == (one == other)
    assert lease_name("test", one) != lease_name("other", one)


@given(st.datetimes())
def test_a_time_has_exactly_six_digits(now: Any) -> None:
    with patch.object(leases, "datetime") as clock:
        clock.now.return_value = now
        assert re.fullmatch(r"\d+-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", leases._now())


async def test_a_renewal_names_what_was_seen_and_another_holder_is_a_takeover() -> None:
    answers = Answers(RAW)
    await answers.leases.renew(LEASE, "a_1")
    await answers.leases.renew(LEASE, "a_2")
    (method, path, renewal), (_, _, takeover) = answers.asked
    assert (method, path) == ("PATCH", "agents/leases/ck-a")
    assert renewal["metadata"] == takeover["metadata"] == {"resourceVersion": "3"}
    assert set(renewal["spec"]) == {"renewTime"}
    assert set(takeover["spec"]) == {"renewTime", "acquireTime", "holderIdentity", "leaseTransitions"}
    assert takeover["spec"]["leaseTransitions"] == 3


async def test_what_is_gone_or_was_renewed_is_not_deleted() -> None:
    for status in (404, 409):
        await Answers(ApiError(status, {})).leases.delete(LEASE)
    with pytest.raises(ApiError):
        await Answers(ApiError(403, {})).leases.delete(LEASE)
    answers = Answers({})
    await answers.leases.delete(LEASE)
    [(_, _, options)] = answers.asked
    assert options["preconditions"] == {"uid": "u", "resourceVersion": "3"}


async def test_only_a_404_says_that_there_is_none() -> None:
    assert await Answers(ApiError(404, {})).leases.get("ck-a") is None
    for error in (ApiError(403, {}), ApiError(500, {}), Unreachable("no answer")):
        with pytest.raises(type(error)):
            await Answers(error).leases.get("ck-a")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"items": []},
        {"kind": "Status"},
        {"kind": "LeaseList", "items": [{}]},
        {"kind": "LeaseList", "items": ["x"]},
    ],
)
async def test_what_is_no_list_of_leases_is_no_answer(answer: Any) -> None:
    with pytest.raises(Unreachable, match="no API server"):
        await Answers(answer).leases.all()


async def test_what_is_no_lease_is_no_answer() -> None:
    for answer in ({}, {"metadata": None}, {"metadata": {"name": "x"}, "spec": "y"}):
        with pytest.raises(Unreachable, match="no API server"):
            await Answers(answer).leases.get("ck-a")


async def test_a_list_of_nothing_may_be_null() -> None:
    assert await Answers({"kind": "LeaseList", "items": None}).leases.all() == []
