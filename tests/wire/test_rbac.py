"""What the adapter asks for is what it says it needs; and what becomes of a run that is refused some of it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from adapter import Code, Outcome, RunResult
from adapter.cluster.rbac import TABLE, Right, needed, rules
from adapter.local import Fault, LocalCluster, reviews
from tests.recorder import Recorder
from tests.sidecar.books import kill, replica
from tests.wire.agentwork import agent_work
from tests.wire.conftest import Ran, Site

FAIL = ("sh", "-c", "echo hi; sleep 0.2; exit 3")
LAST_WORDS = ("sh", "-c", "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.02; done")
RUN = needed(agent=False)
NEEDED = [right for right in RUN if not right.without]
AGENT = [right for right in needed(agent=True) if not right.without]
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
PATH = re.compile(
    r"/apis?/(?:(?P<group>[^/]+)/)?v1/namespaces/[^/]+/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>.+))?"
)


NAMESPACE = re.compile(r"/api/v1/namespaces/[^/]+")


def right_of(method: str, path: str, query: dict[str, str]) -> tuple[str, str, str] | None:
    """What a request needs; None for what everybody may ask."""
    if NAMESPACE.fullmatch(path):
        return "", "namespaces", VERBS.get(method, "get")
    found = PATH.fullmatch(path)
    if found is None:
        return None
    resource = found["resource"] + (f"/{found['part']}" if found["part"] else "")
    reading = "watch" if query.get("watch") else "get" if found["name"] else "list"
    return found["group"] or "", resource, VERBS.get(method, reading)


def used(cluster: LocalCluster) -> set[tuple[str, str, str]]:
    needs = (right_of(request.method, request.path, dict(request.query)) for request in cluster.requests)
    return {need for need in needs if need}


def forbid(site: Site, verb: str, resource: str) -> None:
    """403 for each request that needs it, in the API server's words."""
    words = f'{resource} is forbidden: User "u" cannot {verb} resource "{resource}" in the namespace "default"'
    site.cluster.faults.add(Fault.respond(403, words, **PATTERNS[verb, resource]))


JOB, JOBS, PODS = re.compile("/jobs/[^/]+$"), "*/jobs", "*/pods"
LIST: dict[str, Any] = {"method": "GET", "query": {"watch": None}}
PATTERNS: dict[tuple[str, str], dict[str, Any]] = {
    ("create", "jobs"): {"method": "POST", "path": JOBS},
    ("get", "jobs"): {"method": "GET", "path": JOB},
    ("list", "jobs"): {"path": JOBS, **LIST},
    ("watch", "jobs"): {"path": JOBS, "query": {"watch": "1"}},
    ("patch", "jobs"): {"method": "PATCH", "path": JOB},
    ("delete", "jobs"): {"method": "DELETE", "path": JOB},
    ("list", "pods"): {"path": PODS, **LIST},
    ("watch", "pods"): {"path": PODS, "query": {"watch": "1"}},
    ("get", "pods/log"): {"path": "*/log"},
    ("list", "events"): {"path": "*/events"},
}


def without(right: Right, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server knows that we may do everything but that."""
    granted = rules(other for other in TABLE if other is not right)
    monkeypatch.setattr(reviews, "_status", lambda _: {"resourceRules": granted, "incomplete": False})


async def test_every_right_is_used_and_no_other(site: Site) -> None:
    await site.start(*FAIL).result()
    cancelled = await site.running(*LAST_WORDS, said="begun")
    cancelled.plane.cancel()
    await cancelled.result()
    result = await site.start(*FAIL, service_account="nobody").result()
    assert result.code is Code.SERVICE_ACCOUNT
    assert used(site.cluster) == {(right.group, right.resource, right.verb) for right in RUN}


async def test_every_right_of_an_agent_is_used_and_no_other(site: Site) -> None:
    await asyncio.gather(*(ran_agent(site, f"{retain}", retain=retain) for retain in (0, 60, 61)))
    rights = {(right.group, right.resource, right.verb) for right in needed(agent=True)}
    assert rights - used(site.cluster) == {("", "events", "list")}, "nothing had to be explained"
    assert used(site.cluster) <= rights


async def test_every_right_of_the_service_is_used_and_no_other(cluster: LocalCluster, tmp_path: Path) -> None:
    """What one replica began, another goes on with, though it has nothing of it but what is in the cluster."""
    async with replica(cluster, tmp_path / "two", "two") as two:
        async with replica(cluster, tmp_path / "one", "one") as one:
            await one.post("run", *LAST_WORDS)
            await one.until("run", lambda view: view.state == "running")
            await kill(one)
        await two.until("run", lambda view: view.mine and view.state == "running")
        assert await two.book.cancel("run", "enough")
        await two.end("run")
    rights = {(right.group, right.resource, right.verb): right.only for right in needed(agent=True, service=True)}
    assert used(cluster) <= rights.keys()
    assert {right for right, only in rights.items() if only == "service"} <= used(cluster)


async def ran_agent(site: Site, run_id: str, **fields: Any) -> RunResult:
    return await site.adapter.supervise(agent_work(run_id, *FAIL, **fields), Recorder())


@pytest.mark.parametrize("right", AGENT, ids=str)
async def test_an_agents_right_that_is_missing(right: Right, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    without(right, monkeypatch)
    result = await ran_agent(site, "agent")
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.FORBIDDEN)
    assert result.message == f"not allowed in namespace default: {right}"
    assert not site.cluster.list("jobs")
    if right.only:
        assert (await site.start(*FAIL).result()).exit_code == 3, "a plain command needs it not"


@pytest.mark.parametrize("right", NEEDED, ids=str)
async def test_a_right_that_is_known_to_be_missing(right: Right, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    without(right, monkeypatch)
    result = await site.start(*FAIL).result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.FORBIDDEN)
    assert result.message == f"not allowed in namespace default: {right}"
    assert not site.cluster.list("jobs")


async def test_a_job_that_runs_already_is_adopted_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 0.5; exit 3", said="begun", run_id="again")
    site.adapter.let_go("again")
    assert (await run.result()).outcome is Outcome.DETACHED
    without(next(right for right in TABLE if right.verb == "create"), monkeypatch)
    again = site.start(*run.request.command, run_id="again")
    assert (await again.result()).exit_code == 3


@pytest.mark.parametrize("right", [right for right in RUN if right.without], ids=str)
async def test_a_right_that_can_be_done_without(right: Right, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    without(right, monkeypatch)
    run = site.start(*FAIL)
    assert (await run.result()).exit_code == 3
    assert run.plane.words("rights") == [f"not allowed: {right}; {right.without}"]


# -- and where nobody knows before it is refused (an authorizer that cannot list its rules) --------------------------


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "jobs"), ("patch", "jobs"), ("list", "jobs"), ("list", "pods"), ("watch", "jobs"), ("watch", "pods")],
)
async def test_a_refusal_before_the_job_runs(verb: str, resource: str, site: Site) -> None:
    forbid(site, verb, resource)
    run = site.start(*FAIL)
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.FORBIDDEN)
    assert f'cannot {verb} resource "{resource}"' in result.message
    assert not site.cluster.list("jobs")


async def test_a_log_that_may_not_be_read(site: Site) -> None:
    forbid(site, "get", "pods/log")
    run = site.start(*FAIL)
    result = await run.result()
    assert (result.exit_code, run.plane.text) == (3, "")
    [note] = result.log.notes
    assert 'cannot get resource "pods/log"' in note


async def test_a_job_that_may_not_be_read_before_it_runs(site: Site) -> None:
    forbid(site, "get", "jobs")
    site.cluster.faults.add(Fault.respond(409, method="PATCH", path=JOB))
    run = site.start(*FAIL)
    result = await run.result(5)
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.FORBIDDEN)
    assert 'cannot get resource "jobs"' in result.message
    assert said(run, "job", "suspended and was left"), "what may not be read cannot be removed safely"


async def test_a_job_that_may_not_be_read_while_it_runs(site: Site) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 0.3; exit 3", said="begun", retain=0)
    forbid(site, "get", "jobs")
    result = await run.result(5)
    assert (result.outcome, result.exit_code) == (Outcome.FAILED, 3)
    assert not site.cluster.list("jobs")


async def test_a_job_that_may_not_be_deleted(site: Site) -> None:
    forbid(site, "delete", "jobs")
    run = site.start(*FAIL, retain=0)
    result = await run.result()
    assert result.exit_code == 3
    assert said(run, "job", "was not cleaned up", 'cannot delete resource "jobs"')


async def test_a_cancel_that_may_not_delete_stops_the_job_all_the_same(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun")
    forbid(site, "delete", "jobs")
    run.plane.cancel()
    result = await run.result(5)
    assert result.outcome is Outcome.CANCELLED
    assert run.plane.data == b"begun\nended\n"
    assert said(run, "cancel", 'cannot delete resource "jobs"')


async def test_events_that_may_not_be_read(site: Site) -> None:
    forbid(site, "list", "events")
    run = site.start(*FAIL, service_account="nobody")
    result = await run.result()
    assert result.code is Code.SCHEDULE_TIMEOUT
    assert said(run, "pod", 'cannot list resource "events"')
    assert not site.cluster.list("jobs")


def said(run: Ran, kind: str, *words: str) -> bool:
    return any(all(word in text for word in words) for text in run.plane.words(kind))
