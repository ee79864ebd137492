"""The API server is killed in each phase of a run, and etcd is stopped for a minute."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from adapter.cluster.jobs import RESULT
from tests.faults_cluster.control import Control
from tests.faults_cluster.ground import Ground, Run
from tests.faults_cluster.judge import Expected, Judge
from tests.faults_cluster.scripts import talk

pytestmark = [pytest.mark.cluster, pytest.mark.disruptive]

UNSEEN = Expected("cancelled", ("cancelled",), losing=True, goes_on=True)
"""Its pod ends when the garbage collector has come to itself, which may be after the result, or is gone with its log
before anybody could see it again: that is said."""

OUTAGE = 60
"""Seconds without etcd."""


async def test_api_server_killed_before_the_launch(ground: Ground, judge: Judge, control: Control) -> None:
    await control.stop("apiserver", "KILL")
    run = ground.start(talk(20))
    await run.ledger.until(lambda: run.ledger.beats)
    await control.start("apiserver")
    await judge(run)


async def test_api_server_killed_between_creation_and_start(ground: Ground, judge: Judge, control: Control) -> None:
    run = ground.start(talk(20))
    suspended: list[bool] = []

    async def strike() -> None:
        """The Job is told to the plane before it is let run."""
        [job] = await ground.witness.until(lambda: list(ground.witness.jobs.values()))
        await control.stop("apiserver", "KILL")
        suspended.append(job["spec"]["suspend"])

    run.ledger.before_event["job"] = strike
    await run.ledger.until(lambda: suspended)
    await control.start("apiserver")
    await judge(run)
    assert suspended == [True]


async def test_api_server_killed_while_the_pod_is_pending(ground: Ground, judge: Judge, control: Control) -> None:
    run = ground.start(talk(50))
    await ground.witness.until(lambda: ground.witness.pods)
    await control.stop("apiserver", "KILL")
    [pod] = ground.witness.pods.values()
    assert pod["status"]["phase"] == "Pending", "the API server was killed too late"
    await control.start("apiserver")
    await judge(run)


async def test_api_server_killed_while_the_pod_speaks(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(150))
    await control.restart("apiserver")
    await judge(run)


async def test_api_server_stopped_while_the_pod_speaks(ground: Ground, judge: Judge, control: Control) -> None:
    # It goes on with what is open while it drains, and takes nothing new.
    run = await ground.speaking(talk(300))
    await control.stop("apiserver", "TERM")
    await anyio.sleep(5)
    await control.start("apiserver")
    await judge(run)


async def test_api_server_killed_again_and_again(ground: Ground, judge: Judge, control: Control) -> None:
    # But not so often that the node is not heard for long: that would be another fault, which takes its pods.
    run = await ground.speaking(talk(400))
    for _ in range(4):
        seen = run.ledger.tally.lines
        await control.restart("apiserver")
        await run.ledger.until(lambda seen=seen: run.ledger.tally.lines > seen)  # type: ignore[misc]  # awaited here
        await control.heard()
    await judge(run)


async def test_api_server_killed_at_the_last_line(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(50, code=7), lines=50)
    await control.stop("apiserver", "KILL")
    await anyio.sleep(5)
    await control.start("apiserver")
    await judge(run, expected=Expected("failed", ("exit_code",), 7))


async def test_api_server_killed_while_the_result_is_reported(ground: Ground, judge: Judge, control: Control) -> None:
    run = ground.start(talk(20))
    run.ledger.before_result = _once(run, lambda: control.stop("apiserver", "KILL"))
    await run.ledger.until(lambda: run.ledger.accepted)
    await control.mend()
    await judge(run)
    await ground.witness.until(lambda: RESULT in ground.witness.jobs[run.job]["metadata"]["annotations"])


async def test_api_server_killed_after_a_cancel(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(600))
    await control.stop("apiserver", "KILL")
    run.ledger.cancel()
    await anyio.sleep(5)
    await control.start("apiserver")
    await judge(run, expected=UNSEEN)


@pytest.mark.timeout(400)
async def test_etcd_stopped_for_60_s(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(1000))
    await control.stop("etcd")
    await anyio.sleep(OUTAGE)
    await control.start("etcd")
    await judge(run, within=300)


@pytest.mark.timeout(400)
async def test_etcd_stopped_for_60_s_while_a_run_ends(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(50))
    await control.stop("etcd")
    await anyio.sleep(OUTAGE)
    await control.start("etcd")
    await judge(run, within=300)


@pytest.mark.timeout(400)
async def test_etcd_stopped_for_60_s_before_the_launch(ground: Ground, judge: Judge, control: Control) -> None:
    await control.stop("etcd")
    run = ground.start(talk(20))
    await anyio.sleep(OUTAGE)
    await control.start("etcd")
    await judge(run, within=300)


@pytest.mark.timeout(400)
async def test_etcd_killed(ground: Ground, judge: Judge, control: Control) -> None:
    run = await ground.speaking(talk(200))
    await control.restart("etcd")
    await judge(run)


def _once(run: Run, strike: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Strikes with the first try to report, which is not taken."""

    async def strike_and_refuse() -> None:
        run.ledger.before_result = None
        await strike()
        raise ConnectionError("the plane went down with the API server")

    return strike_and_refuse
