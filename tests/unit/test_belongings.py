"""What only a 404 may mean, and what is owned from its creation on: the calls about Jobs, locks and Secrets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cluster.belongings import Belongings, Lock, agent_key
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import Jobs
from tests.unit.raws import JOB_UID, job

Call = Callable[["Calls"], Awaitable[object]]

LOCK = Lock(name="ck-agent-a", uid="l", version="3", job="ck-run", job_uid=JOB_UID, run_id="r")


class Calls:
    """A connection that keeps what it is asked, and answers in turn; what it has no answer for succeeds."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def call(self, method: str, path: str, *, body: Any = None, deadline: float, **_: Any) -> Any:
        assert deadline == 3
        self.asked.append((method, path.rpartition("/v1/namespaces/agents/")[2], body or {}))
        answer = self.answers.pop(0) if self.answers else {"metadata": {"name": "x"}}
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def jobs(self) -> Jobs:
        return Jobs(self, "agents", call=3)  # type: ignore[arg-type]  # it only has to be asked

    @property
    def belongings(self) -> Belongings:
        return Belongings(self, "agents", call=3)  # type: ignore[arg-type]  # as above


def refusal(status: int, **body: Any) -> ApiError:
    return ApiError(status, {"message": f"HTTP {status} it is", **body})


GONE = refusal(404, reason="NotFound", details={"kind": "jobs"})
REPLACED = refusal(409, message="the UID in the precondition (5f0c) does not match the UID in record (1)")
READS: dict[str, Call] = {
    "a Job": lambda calls: calls.jobs.get("ck-run"),
    "a Job as it is": lambda calls: calls.jobs.raw("ck-run"),
    "a lock": lambda calls: calls.belongings.locked("a"),
}
DELETES: dict[str, Call] = {
    "a Job": lambda calls: calls.jobs.delete(job(), "Background"),
    "a lock": lambda calls: calls.belongings.free(LOCK),
    "a Secret": lambda calls: calls.belongings.take(job()),
}
OTHERS = [refusal(400), refusal(401), refusal(403), refusal(410), refusal(429), refusal(500), Unreachable("no answer")]


@pytest.mark.parametrize("what", READS)
async def test_what_the_api_server_does_not_have_is_absent(what: str) -> None:
    assert await READS[what](Calls(GONE)) is None


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("error", OTHERS, ids=repr)
async def test_no_other_answer_is_an_absence(what: str, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        await READS[what](Calls(error))
    assert raised.value is error


async def test_a_namespace_that_is_not_there_is_no_free_agent() -> None:
    with pytest.raises(ApiError):
        await READS["a lock"](Calls(refusal(404, details={"kind": "namespaces"})))


@pytest.mark.parametrize("what", DELETES)
async def test_what_is_gone_is_as_good_as_deleted(what: str) -> None:
    await DELETES[what](Calls(GONE))


@pytest.mark.parametrize("what", DELETES)
@pytest.mark.parametrize("error", OTHERS, ids=repr)
async def test_what_could_not_be_deleted_is_said(what: str, error: Exception) -> None:
    with pytest.raises(type(error)):
        await DELETES[what](Calls(error))


async def test_only_the_very_object_that_was_seen_is_deleted() -> None:
    calls = Calls(REPLACED, refusal(409), refusal(409))
    await calls.jobs.delete(job(), "Background")
    await calls.belongings.free(LOCK)
    with pytest.raises(ApiError):
        await calls.jobs.delete(job(), "Background", version=True)

    assert [body["preconditions"] for _, _, body in calls.asked] == [
        {"uid": JOB_UID},
        {"uid": "l", "resourceVersion": "3"},
        {"uid": JOB_UID, "resourceVersion": "10"},
    ]


async def test_a_secret_and_a_lock_are_the_jobs_from_their_creation_on() -> None:
    """3,395 Secrets were left behind where an owner was patched on afterwards, in a body that the server refused."""
    calls = Calls()
    await calls.belongings.give(job(), {"prompt.txt": b"do it"})
    await calls.belongings.lock("a", job())

    assert [(method, path) for method, path, _ in calls.asked] == [("POST", "secrets"), ("POST", "configmaps")]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "ck-run", "uid": JOB_UID}
    assert [body["metadata"]["ownerReferences"] for _, _, body in calls.asked] == [[owner], [owner]]
    assert [body["metadata"]["name"] for _, _, body in calls.asked] == ["ck-run", "ck-agent-a"]
    assert calls.asked[0][2]["data"] == {"prompt.txt": "ZG8gaXQ="}


async def test_a_secret_of_an_earlier_try_is_replaced() -> None:
    calls = Calls(refusal(409, reason="AlreadyExists"))
    await calls.belongings.give(job(), {"env.PAPERCLIP_API_KEY": b"new"})

    assert [(method, path) for method, path, _ in calls.asked] == [
        ("POST", "secrets"),
        ("DELETE", "secrets/ck-run"),
        ("POST", "secrets"),
    ]


async def test_a_secret_that_is_refused_is_not_made_in_another_way() -> None:
    calls = Calls(refusal(422))
    with pytest.raises(ApiError):
        await calls.belongings.give(job(), {"prompt.txt": b"x"})

    assert len(calls.asked) == 1


KEY = re.compile(r"[a-z0-9]([-a-z0-9]{0,52}[a-z0-9])?")


@given(company=st.text(max_size=80), agent=st.text(max_size=80))
def test_an_agent_of_any_id_has_a_lock(company: str, agent: str) -> None:
    """The old adapter gave up where no character of an id could be in a label."""
    assert KEY.fullmatch(agent_key(company, agent))


def test_ids_that_become_one_label_have_two_locks() -> None:
    ids = [("c", "a@b"), ("c", "ab"), ("c", "a b"), ("c", "@@@"), ("c", "!!!"), ("d", "ab"), ("ca", "b"), ("", "cab")]

    assert len({agent_key(*each) for each in ids}) == len(ids)
    assert agent_key("c", "ab") == agent_key("c", "ab")
