"""A namespace, an adapter, a witness, and the runs that are begun there."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from adapter import Adapter, Limits, RunRequest, RunResult
from adapter.cluster.connection import MERGE_PATCH, ApiError, Connection, Unreachable
from adapter.cluster.credentials import Source
from tests.contract.conftest import Object, Place
from tests.faults_cluster.ledger import Ledger
from tests.faults_cluster.polling import until
from tests.faults_cluster.streams import log_streams, nothing_left
from tests.faults_cluster.witness import Witness, witness_of

LIMITS = Limits(beat=5.0)
"""The defaults, with a beat that comes often enough to be missed."""

SOON = 10
"""Seconds that a pod stays on a lost node, in the tests of that."""

_ids = itertools.count(1)


@dataclass
class Run:
    """A run that has begun."""

    request: RunRequest
    ledger: Ledger
    task: asyncio.Task[RunResult]

    @property
    def job(self) -> str:
        """The Job's name, or "" before there is one. It is told to the plane before the Job is let run."""
        return next((str(event.data["job"]) for event in self.ledger.events if event.kind == "job"), "")

    async def over(self, seconds: float) -> None:
        """Waits for the run's result; the judge, who may read the whole log again, comes after that."""
        await asyncio.wait_for(asyncio.shield(self.task), seconds)


@dataclass
class Ground:
    """Where the runs of one test take place. `streams_before` are the log requests of others."""

    place: Place
    adapter: Adapter
    witness: Witness
    streams_before: int

    def start(self, script: str, *, adapter: Adapter | None = None, **fields: Any) -> Run:
        """Begins a run."""
        ledger = Ledger()
        fields = {"run_id": f"run-{next(_ids)}", "grace": 5, **fields}
        request = RunRequest(command=("sh", "-c", script), **fields)
        return Run(request, ledger, asyncio.create_task((adapter or self.adapter).run(request, ledger)))

    async def speaking(self, script: str, *, lines: int = 5, **fields: Any) -> Run:
        """Begins a run, and returns when so many of its lines were delivered."""
        run = self.start(script, **fields)
        await run.ledger.until(lambda: run.ledger.tally.lines >= lines or run.ledger.accepted)
        assert run.ledger.tally.lines >= lines, run.ledger.accepted
        return run

    async def pod(self, run: Run) -> str:
        """The path of the run's pod, once it has one."""
        pod = await self.witness.until(lambda: self.witness.pod_of(run.job))
        return f"{self.place.core}/pods/{pod['metadata']['name']}"

    async def impatient(self, run: Run) -> None:
        """Has the run's pod told to end soon after its node is lost, whatever the cluster's default is (5 minutes)."""
        path = await self.pod(run)
        before = (await self.place.ask("GET", path))["spec"]["tolerations"]
        sooner = [{**one, "tolerationSeconds": SOON} if "tolerationSeconds" in one else one for one in before]
        spec = {"spec": {"tolerations": sooner}}
        await self.place.ask("PATCH", path, spec, content_type=MERGE_PATCH)

    async def patch_job(self, run: Run, spec: Object) -> None:
        """Changes the run's Job as an operator would."""
        path = f"{self.place.jobs}/{run.job}"
        await self.place.ask("PATCH", path, {"spec": spec}, content_type=MERGE_PATCH)


@asynccontextmanager
async def ground_of(kubeconfig: str) -> AsyncIterator[Ground]:
    """An empty namespace, and an adapter on it. Afterwards no connection of ours may be left."""
    async with _namespace(kubeconfig) as place, witness_of(place) as witness, adapter_of(place) as adapter:
        yield Ground(place, adapter, witness, await log_streams(place))
    await nothing_left(place.connection.server)


@asynccontextmanager
async def adapter_of(place: Place) -> AsyncIterator[Adapter]:
    """An adapter of one's own."""
    async with Adapter.connect(kubeconfig=place.kubeconfig, namespace=place.namespace, limits=LIMITS) as adapter:
        yield adapter


@asynccontextmanager
async def _namespace(kubeconfig: str) -> AsyncIterator[Place]:
    connection = await Connection.open(Source(kubeconfig), deadline=30)
    name = f"claude-k8s-faults-{secrets.token_hex(4)}"
    place = Place(kubeconfig, name, connection, real=True)
    try:
        await place.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        await until(lambda: _is_there(place, f"{place.core}/serviceaccounts/default"), 180)  # slow after an outage
        yield place
    finally:
        with suppress(ApiError, Unreachable):  # a test may have deleted it
            await place.ask("DELETE", f"/api/v1/namespaces/{name}")
        await connection.close()


async def _is_there(place: Place, path: str) -> bool:
    try:
        await place.connection.call("GET", path, deadline=10)
    except (ApiError, Unreachable):  # one that was asked as etcd came back was never answered
        return False
    return True
