"""Runs of agents as a control plane asks for them: a context in a file, the command as a process, what it told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio

from tests.contract.conftest import Ended, Object, Place, ended

FAKE = Path(__file__).parents[1] / "fake" / "claude"
IMAGE = os.environ.get("CLAUDE_K8S_FAKE_IMAGE", "")
"""An image with the fake as `claude`, which the real cluster's nodes have."""

USAGE = {"inputTokens": 812, "outputTokens": 405, "cachedInputTokens": 24000}
COST = 0.0271
"""What the fake says at its end that it has used."""

LITTLE = {"resources.requests.cpu": "10m", "resources.requests.memory": "16Mi"}
"""Enough for a script, so that several pods fit on a small node."""


@dataclass
class Ran(Ended):
    """A run of an agent that has ended; `told` is what a control plane stores of it."""

    told: Object

    @property
    def lines(self) -> list[Object]:
        """What `--json` has printed, each line of which must be an object."""
        return [json.loads(line) for line in self.out.splitlines()]

    def words(self, kind: str) -> list[str]:
        """The messages of the events of one kind."""
        return [line["message"] for line in self.lines if line["type"] == "event" and line["kind"] == kind]

    def event(self, kind: str) -> Object:
        """The one event of that kind."""
        [found] = [line for line in self.lines if line["type"] == "event" and line["kind"] == kind]
        return found

    def log(self, stream: str = "stdout") -> str:
        """A stream's text, without a gap and without anything twice."""
        chunks = [line for line in self.lines if line["type"] == "log" and line["stream"] == stream]
        text = ""
        for chunk in chunks:
            assert chunk["offset"] == len(text.encode()), f"{stream} goes on at {chunk['offset']}"
            text += chunk["text"]
        return text

    @property
    def transcript(self) -> list[Object]:
        """The agent's stream-json: every line of it is an event."""
        return [json.loads(line) for line in self.log().splitlines()]

    @property
    def session(self) -> str:
        """The session of the agent's first event."""
        return str(json.loads(self.log().partition("\n")[0])["session_id"])


@dataclass
class Agents:
    """A place where the fake is what `claude` is. `claim` is a volume that outlives its pods, if there is one."""

    place: Place
    directory: Path
    claim: str = ""
    _files: dict[str, Path] = field(default_factory=dict)

    def context(self, faults: str = "", /, *, agent: str = "ann", **more: Any) -> Object:
        """A context whose prompt asks the fake for `faults`; `config` goes on top of what a run needs here."""
        fake = {"image": IMAGE} if self.place.real else {"image": "any", "command": [str(FAKE)]}
        kept = {"workspaceVolumeClaim": self.claim} if self.claim else {}
        asked = {"promptTemplate": f"Do what is to be done.\nFAKE: {faults}"}
        return {
            "runId": f"run-{uuid4()}",
            "agent": {"id": agent, "companyId": "acme", "name": "Ann"},
            "authToken": "a-token-of-this-run",
            **more,
            "config": {**fake, **kept, **LITTLE, **asked, **more.get("config", {})},
        }

    async def begin(self, context: Object, *options: str, **how: Any) -> asyncio.subprocess.Process:
        """The command, with the context in a file."""
        file = await self.file(context)
        shown = options or ("--json",)
        return await self.place.command("execute", "--context", file, "--result", f"{file}.told", *shown, **how)

    async def file(self, context: Object) -> str:
        """The context's file: the same one for the same run."""
        path = self._files.setdefault(context["runId"], self.directory / f"context-{len(self._files)}.json")
        await anyio.Path(path).write_text(json.dumps(context))
        return str(path)

    async def end(self, context: Object, process: asyncio.subprocess.Process) -> Ran:
        """What became of it."""
        over = await ended(process)
        told = anyio.Path(f"{self._files[context['runId']]}.told")
        return Ran(over.status, over.out, over.err, json.loads(await told.read_text()) if await told.exists() else {})

    async def run(self, context: Object, *options: str, **how: Any) -> Ran:
        """The run from its beginning to its end."""
        return await self.end(context, await self.begin(context, *options, **how))

    @asynccontextmanager
    async def working(self, context: Object, *options: str, **how: Any) -> AsyncIterator[Working]:
        """A run whose agent has spoken; the command is ended by force if it is still there afterwards."""
        process = await self.begin(context, *options, **how)
        working = Working(self, context, process)
        try:
            await working.until("log")
            yield working
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def bare(self) -> None:
        """Waits until nothing of any run is left: no Jobs, pods, Secrets and ConfigMaps."""
        await self.place.empty()
        with anyio.fail_after(60):
            while left := [*await self._names("secrets"), *await self._names("configmaps")]:
                assert all(name.startswith("ck-") for name in left), left
                await anyio.sleep(0.1)  # the garbage collector's time

    async def _names(self, resource: str) -> list[str]:
        items = (await self.place.ask("GET", f"{self.place.core}/{resource}"))["items"]
        return [name for one in items if (name := one["metadata"]["name"]) != "kube-root-ca.crt"]


@dataclass
class Working:
    """A run that goes on, and what it has told so far."""

    agents: Agents
    context: Object
    process: asyncio.subprocess.Process
    out: str = ""

    async def until(self, kind: str, words: str = "") -> Object:
        """The next line of that type, or event of that kind, that has these words."""
        assert self.process.stdout
        with anyio.fail_after(60):
            while line := (await self.process.stdout.readline()).decode():
                self.out += line
                found = json.loads(line)
                if kind in (found["type"], found.get("kind")) and words in line:
                    return dict(found)
        assert self.process.stderr
        raise AssertionError(f"it ended before {kind} {words!r}: {self.out} {await self.process.stderr.read()!r}")

    def told(self, kind: str) -> Object:
        """The first event of that kind, which was told already."""
        lines = (json.loads(line) for line in self.out.splitlines())
        return dict(next(line for line in lines if line.get("kind") == kind))

    async def end(self) -> Ran:
        """What became of it, from its beginning."""
        ran = await self.agents.end(self.context, self.process)
        return replace(ran, out=self.out + ran.out)


def of(obj: Mapping[str, Any], *names: str) -> Object:
    """Some fields of an object."""
    return {name: obj.get(name) for name in names}
