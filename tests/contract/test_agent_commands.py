"""The commands around an agent's run: what it would be, and what it says."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal

import anyio
import pytest
import yaml

from tests.contract.agents import Agents
from tests.contract.conftest import ended


async def manifest(agents: Agents, context: dict[str, object], *options: str) -> tuple[int, str]:
    over = await ended(await agents.place.command("manifest", "--context", await agents.file(context), *options))
    assert over.err == ""
    return over.status, over.out


async def test_the_manifest_is_yaml_that_can_be_applied(agents: Agents) -> None:
    context = agents.context(config={"labels": {"team": "blue"}, "env": {"WORD": "hush-hush"}})
    status, text = await manifest(agents, context)
    job = yaml.safe_load(text)
    assert (status, job["kind"], job["spec"]["suspend"]) == (0, "Job", True)
    assert f"# Secret {job['metadata']['name']}, owned by the Job" in text
    assert "env.WORD (9 bytes)" in text
    assert "hush-hush" not in text
    await agents.bare()
    if not agents.place.real or not shutil.which("kubectl"):
        return
    file = anyio.Path(agents.directory) / "job.yaml"
    await file.write_text(text)
    command = ("--kubeconfig", agents.place.kubeconfig, "-n", agents.place.namespace, "apply", "--dry-run=server")
    process = await asyncio.create_subprocess_exec("kubectl", *command, "-f", str(file), stderr=-1, stdout=-1)
    applied = await ended(process)
    assert (applied.status, applied.err) == (0, "")
    assert applied.out == f"job.batch/{job['metadata']['name']} created (server dry run)\n"


async def test_the_manifest_as_the_api_server_would_have_it(agents: Agents) -> None:
    status, text = await manifest(agents, agents.context(), "--server")
    job = yaml.safe_load(text)
    assert (status, job["metadata"]["namespace"]) == (0, agents.place.namespace)
    assert job["metadata"]["uid"]
    await agents.bare()


async def test_a_manifest_that_no_cluster_would_take(agents: Agents) -> None:
    context = agents.context(config={"resources.requests.cpu": "lots"})
    file = await agents.file(context)
    over = await ended(await agents.place.command("manifest", "--context", file))
    assert (over.status, over.out) == (125, "")
    assert over.err.startswith("claude-k8s: config.resources.requests.cpu is not an amount of cores")


async def test_the_manifest_beside_the_job_that_runs(agents: Agents) -> None:
    context = agents.context("forever")
    assert (
        await ended(await agents.place.command("manifest", "--context", await agents.file(context), "--diff"))
    ).status == 125
    async with agents.working(context) as working:
        assert await manifest(agents, context, "--diff") == (0, "")
        changed = {**context, "config": context["config"] | {"graceSec": 7, "labels": {"team": "blue"}}}
        status, text = await manifest(agents, changed, "--diff")
        assert status == 1
        assert "+      terminationGracePeriodSeconds: 7" in text.splitlines()
        assert "+    team: blue" in text.splitlines()
        await agents.file(context)
        working.process.send_signal(signal.SIGINT)
        await working.end()


@pytest.mark.parametrize("options", [(), ("--raw",)], ids=["for people", "raw"])
async def test_logs(agents: Agents, options: tuple[str, ...]) -> None:
    context = agents.context("sleep=10 stderr=2")
    async with agents.working(context) as working:
        follow = asyncio.create_task(_logs(agents, context, "-f", *options))
        now, _ = await _logs(agents, context, *options)
        assert "I look at what is there." in now
        assert "The work is done." not in now
        ran = await working.end()
        text, err = await follow
    assert ran.status == 0, ran.err
    assert "stderr line 2" in err
    assert text == ran.log() if options else "The work is done." in text
    if not options:
        assert '{"type"' not in text
    await agents.bare()


async def _logs(agents: Agents, context: dict[str, object], *options: str) -> tuple[str, str]:
    over = await ended(await agents.place.command("logs", str(context["runId"]), *options))
    assert over.status == 0, over.err
    return over.out, over.err


async def test_logs_of_a_job_that_is_kept(agents: Agents) -> None:
    context = agents.context("exit=3 stderr=2", config={"retainJobs": True})
    ran = await agents.run(context)
    text, err = await _logs(agents, context, "--raw")
    assert (text, err) == (ran.log(), ran.log("stderr"))
    again = await agents.run(context)
    assert (again.status, again.result) == (3, ran.result)
    [job] = (await agents.place.ask("GET", agents.place.jobs))["items"]
    assert json.loads(job["metadata"]["annotations"]["claude-k8s/result"]) == {
        name: value for name, value in ran.result.items() if name != "type"
    }
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
