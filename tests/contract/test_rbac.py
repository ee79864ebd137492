"""The documented Role on the real cluster: it is enough, and each of its rights is needed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from adapter import Adapter, Code, RunResult
from adapter.cluster.rbac import TABLE, Right, needed
from tests.contract.accounts import documented, granted, with_token
from tests.contract.conftest import Ended, Place, ended
from tests.recorder import Recorder
from tests.wire.agentwork import agent_work

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("place", ["real"], indirect=True)]

ONLY_AGENTS = [right for right in TABLE if right.only == "agent"]
NEEDED = [right for right in needed(agent=False) if not right.without]
FAIL = ("--", "sh", "-c", "echo hi; exit 3")


async def run_without(right: Right, place: Place, directory: Path) -> Ended:
    """A run of somebody who may do all but that."""
    await granted(place, [other for other in TABLE if other is not right])
    limited = await with_token(place, directory)
    return await limited.run("-q", *FAIL)


async def test_the_role_is_enough_for_a_run(place: Place, tmp_path: Path) -> None:
    await documented(place)
    limited = await with_token(place, tmp_path)
    ran = await limited.run("--keep", "--run-id", "kept", *FAIL)
    assert (ran.status, ran.out) == (3, "hi\n"), ran.err
    assert "allowed" not in ran.err
    assert "forbidden" not in ran.err
    again = await limited.run("--keep", "--run-id", "kept", *FAIL)
    assert again.status == 3, again.err


async def test_the_role_is_enough_for_a_cancel(place: Place, tmp_path: Path) -> None:
    await documented(place)
    limited = await with_token(place, tmp_path)
    process = await limited.start(
        "--", "sh", "-c", "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    )
    assert process.stdout
    assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGINT)
    ran = await ended(process)
    assert (ran.status, ran.out) == (130, "ended\n"), ran.err
    await place.empty()


async def test_the_role_is_enough_to_say_why_there_is_no_pod(place: Place, tmp_path: Path) -> None:
    await documented(place)
    limited = await with_token(place, tmp_path)
    ran = await limited.run("-q", "--service-account", "nobody", *FAIL)
    assert ran.status == 125, ran.err
    [line] = ran.err.splitlines()
    assert "[service_account]" in line
    assert 'serviceaccount "nobody" not found' in line
    await place.empty()


async def run_agents(place: Place, *run_ids: str) -> list[RunResult]:
    """Runs of one agent, begun at once."""
    instance = place.namespace
    async with Adapter.connect(kubeconfig=place.kubeconfig, namespace=place.namespace, instance=instance) as adapter:
        works = [agent_work(run_id, *FAIL[1:], instance=adapter.instance, retain=60) for run_id in run_ids]
        return await asyncio.gather(*(adapter.supervise(work, Recorder()) for work in works))


async def test_the_role_is_enough_for_two_runs_of_an_agent(place: Place, tmp_path: Path) -> None:
    await documented(place)
    results = await run_agents(await with_token(place, tmp_path), "one", "two")
    assert [(result.exit_code, result.warnings) for result in results] == [(3, ()), (3, ())]
    assert all(result.log.complete for result in results), results
    assert (await place.ask("GET", f"{place.core}/secrets"))["items"] == []


@pytest.mark.parametrize("right", ONLY_AGENTS, ids=str)
async def test_without_a_right_that_only_agents_need(right: Right, place: Place, tmp_path: Path) -> None:
    await granted(place, [other for other in TABLE if other is not right])
    account = await with_token(place, tmp_path)
    [result] = await run_agents(account, "one")
    assert (result.code, str(right) in result.message) == (Code.FORBIDDEN, True)
    assert (await place.ask("GET", place.jobs))["items"] == []
    ran = await account.run("-q", *FAIL)
    assert (ran.status, ran.out) == (3, "hi\n"), ran.err


@pytest.mark.parametrize("right", NEEDED, ids=str)
async def test_without_a_needed_right_nothing_is_started(right: Right, place: Place, tmp_path: Path) -> None:
    ran = await run_without(right, place, tmp_path)
    assert (ran.status, ran.out) == (125, "")
    [line] = ran.err.splitlines()
    assert "[forbidden]" in line
    assert right.verb in line
    assert right.resource in line
    await place.empty()


async def test_without_logs_the_outcome_is_right_and_the_lack_is_said(place: Place, tmp_path: Path) -> None:
    right = next(right for right in TABLE if right.resource == "pods/log")
    ran = await run_without(right, place, tmp_path)
    assert (ran.status, ran.out) == (3, "")
    assert "warning: log incomplete: it may not be read" in ran.err
    assert 'cannot get resource "pods/log"' in ran.err
    await place.empty()


async def test_without_events_the_outcome_is_right_and_the_lack_is_said(place: Place, tmp_path: Path) -> None:
    right = next(right for right in TABLE if right.resource == "events")
    await granted(place, [other for other in TABLE if other is not right])
    limited = await with_token(place, tmp_path)
    ran = await limited.run(*FAIL)
    assert (ran.status, ran.out) == (3, "hi\n"), ran.err
    assert "not allowed: list events" in ran.err
    await place.empty()
