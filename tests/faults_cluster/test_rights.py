"""Tokens that end and are rotated, and rights that are withdrawn, in the middle of a run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.faults_cluster.control import Control
from tests.faults_cluster.ground import Ground, adapter_of
from tests.faults_cluster.judge import Expected, Judge
from tests.faults_cluster.scripts import talk
from tests.faults_cluster.tokens import SHORTEST, Account

pytestmark = pytest.mark.cluster

REFUSED = 5
"""Seconds without rights, for an adapter whose streams are broken."""

NOT_READ = Expected("succeeded", ("ok",), 0, losing=True)
"""A log that may not be read to its end: nobody can say that nothing is missing."""


@pytest.fixture(params=["in the kubeconfig", "in a file"])
async def account(ground: Ground, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Account]:
    """An account with the documented Role; the ground's adapter has its token."""
    account = Account(ground.place, tmp_path, token_file=request.param == "in a file")
    await account.begin()
    async with adapter_of(account.place) as adapter:
        ground.adapter = adapter
        yield account


token_in_file = pytest.mark.parametrize("account", ["in a file"], indirect=True)


async def test_token_revoked_and_rotated(ground: Ground, judge: Judge, account: Account) -> None:
    run = await ground.speaking(talk(200))
    await account.revoke()
    await account.rotate()
    await judge(run)


@token_in_file
async def test_token_revoked_and_rotated_after_the_end(ground: Ground, judge: Judge, account: Account) -> None:
    run = await ground.speaking(talk(200))
    await account.revoke()
    await ground.witness.until(lambda: run.job in ground.witness.ended_at)
    await account.rotate()
    await judge(run)


@token_in_file
async def test_token_revoked_for_good(ground: Ground, judge: Judge, account: Account) -> None:
    run = await ground.speaking(talk(200))
    await account.revoke()
    await judge(run, expected=NOT_READ)


@token_in_file
@pytest.mark.timeout(SHORTEST + 300)
@pytest.mark.skipif("CLAUDE_K8S_FAULTS_LONG" not in os.environ, reason="takes 12 minutes: set CLAUDE_K8S_FAULTS_LONG")
async def test_token_expired_and_rotated(ground: Ground, judge: Judge, account: Account) -> None:
    run = await ground.speaking(talk(SHORTEST + 120, pause=1))
    await account.refused(SHORTEST + 120)
    await account.rotate()
    await judge(run)


@token_in_file
async def test_rights_withdrawn_and_given_back(ground: Ground, judge: Judge, account: Account) -> None:
    run = await ground.speaking(talk(100))
    binding = await account.withdraw()
    await run.ledger.until(lambda: run.ledger.tally.lines > 50)
    await account.give_back(binding)
    await judge(run)


@token_in_file
async def test_rights_withdrawn_for_good(ground: Ground, judge: Judge, account: Account) -> None:
    run = await ground.speaking(talk(60))
    await account.withdraw()
    await judge(run, expected=NOT_READ)


@token_in_file
@pytest.mark.disruptive
async def test_rights_withdrawn_while_the_api_server_restarts(
    ground: Ground, judge: Judge, account: Account, control: Control
) -> None:
    # Every stream is refused for a while. A follow that was refused once was never tried again: the log stood still.
    run = await ground.speaking(talk(500))
    binding = await account.withdraw()
    await control.restart("apiserver")
    await control.mend()
    await anyio.sleep(REFUSED)
    await account.give_back(binding)
    seen = run.ledger.tally.lines
    await run.ledger.until(lambda: run.ledger.tally.lines > seen)
    assert run.job not in ground.witness.ended_at, "the log stood still until the end"
    await judge(run)


@token_in_file
@pytest.mark.disruptive
async def test_token_rotated_while_the_api_server_restarts(
    ground: Ground, judge: Judge, account: Account, control: Control
) -> None:
    run = await ground.speaking(talk(200))
    await account.revoke()
    await control.restart("apiserver")
    await control.mend()
    await account.rotate()
    await judge(run)
