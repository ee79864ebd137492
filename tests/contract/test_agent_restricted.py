"""An agent's run where little is allowed: restricted Pod Security, and an account with exactly the documented Role."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.accounts import documented, restricted, with_token
from tests.contract.agents import USAGE, Agents
from tests.contract.conftest import ended

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("place", ["real"], indirect=True)]

MUCH: dict[str, Any] = {
    "mcpServers": {"git": {"command": "git-mcp", "env": {"TOKEN": "hush"}}},
    "env": {"WORD": "hush-hush"},
    "labels": {"team": "blue"},
    "bootstrapPromptTemplate": "You are {{agent.name}}.",
}
"""A configuration that makes use of what there is."""


@pytest.fixture
async def limited(agents: Agents, tmp_path: Path) -> Agents:
    """The agents of somebody who may do what the Role says, and nothing else."""
    await restricted(agents.place)
    await documented(agents.place)
    return replace(agents, place=await with_token(agents.place, tmp_path))


async def test_a_run(limited: Agents) -> None:
    context = limited.context("stderr=2 echo-files", config=MUCH, instructionsContent="Be kind.")
    ran = await limited.run(context, "--json", "--verbose")
    assert ran.status == 0, ran.err
    assert not {"allowed", "forbidden"} & set(ran.err.split())
    assert ran.words("rights") == []
    assert ran.told["usage"] == USAGE
    assert ran.log("stderr") == "stderr line 1\nstderr line 2\n"
    await limited.bare()


async def test_a_cancel(limited: Agents) -> None:
    async with limited.working(limited.context("forever", config=MUCH)) as working:
        working.process.send_signal(signal.SIGINT)
        ran = await working.end()
    assert (ran.status, ran.told["errorCode"]) == (130, "cancelled"), ran.err
    assert "forbidden" not in ran.out + ran.err
    await limited.bare()


async def test_the_api_server_takes_the_manifest(limited: Agents) -> None:
    file = await limited.file(limited.context(config=MUCH))
    over = await ended(await limited.place.command("manifest", "--server", "--context", file))
    assert (over.status, over.err) == (0, "")
    job = yaml.safe_load(over.out)
    assert job["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    assert job["metadata"]["uid"], "the server has made it"


async def test_what_was_left_is_looked_at_and_freed(limited: Agents) -> None:
    context = limited.context("forever", config={"graceSec": 2})
    async with limited.working(context) as left:
        left.process.kill()
        await left.process.wait()
    shown = await ended(await limited.place.command("logs", context["runId"]))
    assert (shown.status, "I look at what is there." in shown.out) == (0, True), shown.err
    freed = await ended(await limited.place.command("release", "ann", "--company", "acme", "--yes"))
    assert (freed.status, freed.out.splitlines()[-1]) == (0, "freed"), freed.err
    await limited.bare()


async def test_a_privileged_sidecar_is_refused_and_that_is_said(limited: Agents) -> None:
    ran = await limited.run(limited.context(config={"enableDocker": True}))
    assert ran.result["code"] == "pod_security"
    assert "privileged" in ran.told["errorMessage"]
    assert any("Pod Security" in note for note in ran.words("note"))
    assert ran.told["executionRecovery"] == {"kind": "bootstrap", "providerWorkStarted": False}
    await limited.bare()
    assert ran.status == 125, ran.err
