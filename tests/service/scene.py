"""A scene: runs that are asked for and cancelled as clients do it, whatever becomes of the service meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio

from adapter.cluster.jobs import INSTANCE_LABEL, RESULT, RUN_ID, SUPERVISOR
from tests.contract.conftest import Place
from tests.service.client import Client
from tests.service.judge import Judge, judge
from tests.service.processes import until
from tests.service.victim import INSTANCE, Victim

FAULTS = ("run.fault", "observer.fault", "feed.died", "plane.fault", "plane.result_not_taken", "Traceback", "Warning")
"""Words that the log of a service may not have: faults of ours, and a second result, another one, for a run."""

PATIENCE = 20
"""Seconds after which what was to be written on a Job should be there."""


class Play(Protocol):
    """What a run does. `cancel`: by whom it is cancelled, if it is."""

    @property
    def run_id(self) -> str: ...
    @property
    def cancel(self) -> str | None: ...
    @property
    def exit_code(self) -> int: ...
    @property
    def outcome(self) -> str: ...
    @property
    def keeps_job(self) -> bool: ...
    def document(self, plane: str, marks: str | None) -> dict[str, Any]: ...
    def complaints(self, log: bytes, *, whole: bool) -> list[str]: ...
    def told(self, execution: dict[str, Any]) -> list[str]: ...


@dataclass
class Scene:
    """A place, a judge, the replicas of a service, and all runs that were begun."""

    place: Place
    judge: Judge
    client: Client
    victims: Sequence[Victim]
    directory: Path
    plays: list[Play] = field(default_factory=list)
    bytes: int = 0
    cut: int = 0

    async def perform(self, play: Play, cancel_after: float = 0) -> None:
        """Asks for a run, and later, if it is one that never ends, for its end."""
        await self.judge.register(play.run_id)
        await self.ask(play)
        if play.cancel:
            await anyio.sleep(cancel_after)
            await (self.judge.cancel if play.cancel == "plane" else self.client.cancel)(play.run_id)

    async def ask(self, play: Play) -> None:
        """Asks for a run that the plane knows already."""
        self.plays.append(play)
        await self.client.post(play.document(self.judge.url, self._marks()))

    async def begun(self, count: int) -> bool:
        """Whether so many runs have begun."""
        states = [run["state"] for run in (await self.client.runs()).values()]
        return sum(state in ("running", "ending", "finished") for state in states) >= count

    def _marks(self) -> str | None:
        return None if self.place.real else str(self.directory / f"{len(self.plays)}.executions")

    async def living(self) -> int:
        """How many runs are not over now."""
        return sum(not run["terminal"] for run in (await self.judge.runs()).values())

    async def supervisors(self) -> set[str]:
        """The replicas that look after Jobs without a result."""
        notes = [job["metadata"]["annotations"] for job in await self._jobs()]
        return {note[SUPERVISOR] for note in notes if RESULT not in note}

    def told(self) -> str:
        """What was seen, in words."""
        cut = f", {self.cut} cancelled ones without their last words, which is said" if self.cut else ""
        return f"{len(self.plays)} runs{cut}; {self.bytes} bytes; silent for {self.judge.silence:.1f} s at most"

    # -- the verdict -------------------------------------------------------------------------------------------------

    async def verdict(self, seconds: float) -> list[str]:
        """What is wrong, once every run is over. Nothing may be."""
        with suppress(TimeoutError):  # then it is said below what is not over
            await until(lambda: self.judge.over([play.run_id for play in self.plays]), seconds)
        known = await self.judge.runs()
        complaints = [f"{play.run_id}: {text}" for play in self.plays for text in await self._of_run(play, known)]
        complaints += await self._of_jobs()
        for victim in self.victims:
            complaints += _of_service(victim)
        return complaints + self._of_executions()

    async def _of_run(self, play: Play, known: dict[str, dict[str, Any]]) -> list[str]:
        run, log, events = known[play.run_id], await self.judge.log(play.run_id), await self.judge.events(play.run_id)
        self.bytes += len(log)
        result = run["result"] or {}
        told = result.get("log") or {}
        whole = not self._was_cut(play, told)
        facts = {"state": run["state"], "mismatch": run["logMismatch"], "delivered": told.get("delivered")}
        wanted = {"state": play.outcome, "mismatch": False, "delivered": len(log)}
        if whole:
            facts |= {
                "exit_code": result.get("exit_code"),
                "complete": told.get("complete"),
                "notes": told.get("notes"),
            }
            wanted |= {"exit_code": play.exit_code, "complete": True, "notes": []}
            facts["gaps"] = [event["message"] for event in events if event["kind"] in ("log_gap", "gap")]
            wanted["gaps"] = []
        wrong = [f"{name}: {facts[name]!r}, not {wanted[name]!r}" for name in wanted if facts[name] != wanted[name]]
        return [*wrong, *play.complaints(log, whole=whole), *play.told(run["execution"] or {})]

    def _was_cut(self, play: Play, told: dict[str, Any]) -> bool:
        """Whether the end of the log is lost, and said to be.

        Of a cancelled run alone: its pod goes with its last words, whether or not there is a service to read them.
        """
        cut = play.cancel is not None and told.get("complete") is False and bool(told.get("notes"))
        self.cut += cut
        return cut

    async def _of_jobs(self) -> list[str]:
        """What is wrong with the Jobs that are left; their controller's last words take some seconds."""

        async def well() -> bool:
            return not await self._of_jobs_now()

        with suppress(TimeoutError):
            await until(well, PATIENCE)
        return await self._of_jobs_now()

    async def _of_jobs_now(self) -> list[str]:
        """One Job for each run that keeps it, over, with its result on it; it has had one pod."""
        jobs = {job["metadata"]["annotations"][RUN_ID]: job for job in await self._jobs()}
        wanted = sorted(play.run_id for play in self.plays if play.keeps_job)
        complaints = [] if sorted(jobs) == wanted else [f"Jobs of {sorted(jobs)}, not of {wanted}"]
        return complaints + [f"Job of {run_id}: {text}" for run_id, job in jobs.items() for text in _of_job(job)]

    async def _jobs(self) -> list[dict[str, Any]]:
        query = [("labelSelector", f"{INSTANCE_LABEL}={INSTANCE}")]
        return list((await self.place.ask("GET", self.place.jobs, query=query))["items"])

    def _of_executions(self) -> list[str]:
        counts = {file.name: file.read_text().count("\n") for file in self.directory.glob("*.executions")}
        return [f"{name}: executed {count} times" for name, count in counts.items() if count != 1]


def _of_job(job: dict[str, Any]) -> list[str]:
    true = {one["type"] for one in job["status"].get("conditions", ()) if one["status"] == "True"}
    complaints = [] if true & {"Complete", "Failed"} else [f"is not over: {job['status']}"]
    pods = sum(job["status"].get(name, 0) for name in ("active", "succeeded", "failed"))
    complaints += [] if pods == 1 else [f"has had {pods} pods"]
    return complaints + ([] if RESULT in job["metadata"]["annotations"] else ["has no result on it"])


def _of_service(victim: Victim) -> list[str]:
    lines = victim.log.read_text().splitlines()
    return [f"{victim.log.name}: {line[:1000]}" for line in lines if any(word in line for word in FAULTS)]


@asynccontextmanager
async def scene(place: Place, directory: Path, *victims: Victim, reaper: float = 60) -> AsyncIterator[Scene]:
    """A scene with a judge of its own, who listens all the while."""
    async with judge(directory, reaper=reaper) as judging, anyio.create_task_group() as beside:
        beside.start_soon(judging.listen)
        client = Client([victim.url for victim in victims])
        try:
            yield Scene(place, judging, client, victims, directory)
        finally:
            beside.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await client.aclose()
