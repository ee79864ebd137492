"""The real Paperclip, the real service, the embedded cluster: `make test-paperclip`.

One Paperclip, one service and one cluster for all of these tests, in their order: a run that is silent goes on all the
while, and is looked at before the last of them kill Paperclip itself.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from adapter.cluster.connection import Connection
from adapter.cluster.credentials import Source
from adapter.cluster.jobs import RUN_ID
from adapter.local import LocalCluster, Timing
from tests.paperclip.real import ROOT, Object, Paperclip, Service, installed, polled
from tests.paperclip.scene import module_at

pytestmark = [pytest.mark.paperclip, pytest.mark.asyncio(loop_scope="module")]

SILENT = 420
"""Seconds without a word: Paperclip's reaper looks for what has been silent for 300."""

LIE = 360
"""Seconds for which a killed server's row may say `running`, and a little more."""

USAGE = {"inputTokens": 812, "outputTokens": 405, "cachedInputTokens": 24000, "costUsd": 0.0271}
"""What the fake agent says that it has used (tests/fake/claude)."""


@dataclass
class World:
    paperclip: Paperclip
    service: Service
    connection: Connection
    company: str
    silent: str

    async def agent(self, name: str, faults: str) -> str:
        return await self.paperclip.agent(self.company, name, config(faults))

    async def begun(self, agent: str) -> str:
        """A run of the agent's, which has spoken."""
        run = await self.paperclip.invoke(agent)
        await self.spoken(run)
        return run

    async def on_a_task(self, agent: str) -> tuple[str, str]:
        """A task, and its run, which Paperclip begins by itself, and which has spoken."""
        # A title of its own: what is asked for twice is one task, for Paperclip.
        asked = {"title": f"For {agent}", "description": "Please.", "status": "todo", "assigneeAgentId": agent}
        task = str((await self.paperclip.ask("POST", f"/companies/{self.company}/issues", asked))["id"])
        run = await self.next_run(agent)
        await self.spoken(run)
        return task, run

    async def next_run(self, agent: str, but: str = "") -> str:
        """The agent's run, other than the one it had."""
        path = f"/companies/{self.company}/heartbeat-runs?agentId={agent}"
        runs = await polled(
            lambda: self.paperclip.ask("GET", path), lambda runs: [run for run in runs if run["id"] != but]
        )
        return next(str(run["id"]) for run in runs if run["id"] != but)

    async def spoken(self, run: str) -> None:
        await polled(lambda: self.paperclip.log_of(run), lambda log: "I look at what is there" in self.text(log))

    @staticmethod
    def text(log: list[Object]) -> str:
        return "".join(entry["chunk"] for entry in log if entry["stream"] == "stdout")

    async def ended(self, run: str, seconds: float = 90) -> Object:
        return await self.paperclip.until(run, lambda row: row["status"] not in ("queued", "running"), seconds)

    async def woken(self, agent: str, task: str) -> str:
        """A run for the task, as an operator wakes the agent for it."""
        asked = {"source": "on_demand", "reason": "go on", "payload": {"issueId": task}}
        return str((await self.paperclip.ask("POST", f"/agents/{agent}/wakeup", asked, status=202))["id"])

    async def reconciled(self, agent: str, task: str, run: str) -> str:
        """The next run for a task that Paperclip holds up until an operator says what became of its last run."""
        settled = await polled(lambda: self.paperclip.events_of(run), lambda events: _action_of(events))
        words = "Its Job goes on; the next run takes it over."
        said = {"runId": run, "providerStopped": True, "actionOutcome": "mixed", "outcomeEvidence": words}
        asked = {"actionId": _action_of(settled), "outcome": "restored", "sourceIssueStatus": "todo"}
        path = f"/issues/{task}/recovery-actions/resolve"
        await self.paperclip.ask("POST", path, {**asked, "executionReconciliation": said}, status=200)
        return await self.next_run(agent, run)

    async def jobs(self) -> set[str]:
        """The runs that have a Job."""
        listed = await self.connection.call("GET", "/apis/batch/v1/namespaces/default/jobs", deadline=10)
        return {job["metadata"]["annotations"][RUN_ID] for job in listed["items"]}


def _action_of(events: list[Object]) -> str:
    """The decision that Paperclip wants of an operator, as it says among the lost run's events."""
    found = ((event.get("payload") or {}).get("recoveryActionId") for event in events)
    return next((str(action) for action in found if action), "")


def config(faults: str) -> Object:
    fake = {"image": "any", "command": [str(ROOT / "tests" / "fake" / "claude")], "env": {"FAKE_CLAUDE": faults}}
    return {**fake, "resources.requests.cpu": "10m", "resources.requests.memory": "16Mi"}


def a_place() -> Path:
    """A directory that Paperclip's user can read: the module is there, and the token."""
    place = Path(tempfile.mkdtemp(prefix="claude-k8s-paperclip-"))
    place.chmod(0o755)
    (place / "home").mkdir()
    return place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    packages = await installed()
    place = a_place()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        cluster = await stack.enter_async_context(LocalCluster(timing=Timing.real()))
        paperclip = Paperclip(packages, place / "home")
        connection = await Connection.open(Source(str(cluster.kubeconfig)), deadline=10)
        stack.push_async_callback(connection.close)
        service = Service(Path(cluster.kubeconfig), place, f"http://127.0.0.1:{paperclip.port}")
        stack.push_async_callback(service.stop)
        stack.push_async_callback(paperclip.stop)
        await service.start()
        await paperclip.start()
        module = module_at(place / "module", url=service.url, tokenFile=str(service.token))
        await paperclip.ask("POST", "/adapters/install", {"packageName": str(module), "isLocalPath": True}, status=201)
        company = str((await paperclip.ask("POST", "/companies", {"name": "Acme"}))["id"])
        silent = await paperclip.invoke(await paperclip.agent(company, "Silent", config(f"sleep={SILENT}")))
        yield World(paperclip, service, connection, company, silent)


async def test_paperclips_forms_are_answered(world: World) -> None:
    told = await world.paperclip.ask("GET", "/adapters/claude_k8s")
    assert told["modelsCount"] > 1
    assert told["capabilities"]["supportsLocalAgentJwt"] is True
    assert (await world.paperclip.ask("GET", "/adapters/claude_k8s/config-schema"))["fields"]
    path = f"/companies/{world.company}/adapters/claude_k8s/test-environment"
    report = await world.paperclip.ask("POST", path, {"adapterConfig": config("")})
    assert report["status"] in ("pass", "warn")
    assert any(check["code"] == "k8s_api_reachable" for check in report["checks"])


async def test_a_run_succeeds_with_its_log_and_its_usage(world: World) -> None:
    run = await world.paperclip.invoke(await world.agent("Ann", "garbage stderr=10"))
    row = await world.ended(run)
    assert row["status"] == "succeeded", row["error"]
    assert {name: row["usageJson"][name] for name in USAGE} == USAGE
    await the_log_is_whole(world, run)
    kinds = {event["eventType"] for event in await world.paperclip.events_of(run)}
    assert {"adapter.invoke", "claude_k8s.container", "claude_k8s.job"} <= kinds


async def test_a_cancel_answers_200_and_the_job_is_gone(world: World) -> None:
    run = await world.begun(await world.agent("Bob", "forever"))
    await world.paperclip.ask("POST", f"/heartbeat-runs/{run}/cancel", {}, status=200)
    row = await world.paperclip.run(run)
    assert row["status"] == "cancelled"
    assert row["resultJson"]["executionCancellation"]["state"] == "acknowledged"
    assert row["usageJson"]["outputTokens"] > 0
    assert "got TERM" in World.text(await world.paperclip.log_of(run))
    await polled(world.jobs, lambda runs: run not in runs)


async def test_the_service_killed_and_started_again_changes_nothing(world: World) -> None:
    run = await world.begun(await world.agent("Cid", "sleep=15 big=300000"))
    await world.service.kill()
    await asyncio.sleep(3)  # the module tries again meanwhile
    await world.service.start()
    row = await world.ended(run)
    assert row["status"] == "succeeded", row["error"]
    assert {name: row["usageJson"][name] for name in USAGE} == USAGE
    await the_log_is_whole(world, run)


async def test_a_run_that_is_silent_past_the_reapers_threshold_succeeds(world: World) -> None:
    row = await world.ended(world.silent, SILENT + 60)
    assert row["status"] == "succeeded", row["error"]
    assert {name: row["usageJson"][name] for name in USAGE} == USAGE
    await the_log_is_whole(world, world.silent)


async def test_paperclip_stopped_and_started_its_next_run_takes_the_job_over(world: World) -> None:
    """SIGTERM: the run is `interrupted`, and its signal says that the lease is lost. That is no cancel."""
    agent = await world.agent("Dan", "sleep=60")
    task, run = await world.on_a_task(agent)
    await world.paperclip.kill(signal.SIGTERM)
    await world.paperclip.start()
    assert (await world.paperclip.run(run))["status"] == "interrupted"
    await taken_over(world, run, await world.reconciled(agent, task, run))


async def test_paperclip_killed_and_started_its_next_run_takes_the_job_over(world: World) -> None:
    """The agent is woken while the row of the lost run says `running` still, which is a lie."""
    agent = await world.agent("Eve", f"sleep={LIE + 30}")
    task, run = await world.on_a_task(agent)
    await world.paperclip.kill()
    await world.paperclip.start()
    assert (await world.paperclip.run(run))["status"] == "running"
    again = await world.woken(agent, task)
    assert (await world.ended(run, LIE))["errorCode"] == "process_lost"
    await taken_over(world, run, again)


async def taken_over(world: World, run: str, again: str) -> None:
    """Never two: the run's Job is the only one, and its end is the end of the new run."""
    row = await world.ended(again, 180)
    assert row["status"] == "succeeded", row["error"]
    assert {name: row["usageJson"][name] for name in USAGE} == USAGE
    events = await world.paperclip.events_of(again)
    told = [event["message"] for event in events if event["eventType"] == "claude_k8s.job"]
    assert any(run in message for message in told), told
    await the_log_is_whole(world, again)


async def the_log_is_whole(world: World, run: str) -> None:
    """What Paperclip has is what the service's journal has: every line, once. Its secrets' names it hides itself."""
    theirs, ours = await world.paperclip.log_of(run), await world.service.log_of(run)
    for stream in ("stdout", "stderr"):
        chunks = [entry["chunk"] for entry in theirs if entry["stream"] == stream]
        text = "".join(chunk for chunk in chunks if not chunk.startswith("[paperclip] "))  # its own words
        assert hidden(text) == hidden(ours[stream])
    assert '"subtype":"success"' in World.text(theirs).splitlines()[-1]


def hidden(text: str) -> str:
    """Paperclip hides what it takes for keys and tokens, and Postgres takes no NUL."""
    return re.sub('"(apiKeySource|input_tokens)":"[^"]*"', r'"\1":"***REDACTED***"', text).replace("\0", "\ufffd")
