"""Runs as rows of a table, whether a cluster or a service tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapter.case import Case
from adapter.cli.output import clean
from adapter.cluster.jobs import Job
from adapter.cluster.pods import Pod
from adapter.limits import Limits
from adapter.observation import phase_of
from adapter.takeover import result_on

GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run, in the service's own words for it, and the moment at which it was shown.

    What the service has no word for is `ended`: its Job is over, and no result is on it. Its supervisor is about to
    report one, or has died.
    """

    run: str
    state: str
    outcome: str
    agent: str
    created: str
    pod: str
    supervisor: str
    note: str
    instance: str
    json: Mapping[str, Any]

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.state == "finished"


def of_job(job: Job, pod: Pod | None, namespace: str) -> Row:
    """A run as its Job and its pod tell."""
    view = view_of(job, pod, namespace)
    return of_view(view, instance=job.instance or "")


def of_view(view: Mapping[str, Any], *, instance: str = "") -> Row:
    """A run as the service shows it."""
    words = {
        name: str(view.get(name) or "") for name in ("runId", "state", "outcome", "pod", "supervisor", "createdAt")
    }
    return Row(
        run=words["runId"],
        state=words["state"],
        outcome=words["outcome"],
        agent=str(view.get("agent") or view.get("agentKey") or ""),
        created=words["createdAt"],
        pod=words["pod"],
        supervisor=words["supervisor"],
        note=_note(view),
        instance=instance,
        json=view,
    )


def _note(view: Mapping[str, Any]) -> str:
    """What it waits for, or that it is to end."""
    if view.get("state") in ("finished", "ended"):
        return ""
    if view.get("cancel") is not None:
        return "cancelling" + (f": {view['cancel']}" if view["cancel"] else "")
    return f"waits: {view['waits']}" if view.get("waits") else ""


def view_of(job: Job, pod: Pod | None, namespace: str) -> dict[str, Any]:
    """A run's Job as the service would show it, with what only the cluster knows of it: instance and node."""
    reported = result_on(job)
    result = reported if reported and reported.run_id == job.of_run else None
    return {
        "runId": job.of_run,
        "state": "finished" if result else "ended" if job.over else phase_of(case_of(job, pod)),
        "outcome": result.outcome.value if result else None,
        "cancel": job.cancel,
        "waits": job.waits if job.waiting else None,
        "job": job.name,
        "jobUid": job.uid,
        "namespace": namespace,
        "instance": job.instance,
        "pod": pod.name if pod else None,
        "node": pod.node if pod else None,
        "agentKey": job.agent,
        "task": job.task,
        "session": job.session,
        "supervisor": job.supervisor,
        "createdAt": job.created,
        "result": result.to_json() if result else None,
    }


def case_of(job: Job, pod: Pod | None) -> Case:
    """What is known of a run at this moment; trouble in it counts at once."""
    case = Case(job, Limits(grace=0.0), job.of_run or "")
    case.running(0.0)
    if pod:
        case.see_pod(pod, 0.0)
    return case


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be. What comes from the cluster does not steer the terminal."""
    lines = [list(heads), *([clean(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    padded = (GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(line.rstrip() + "\n" for line in padded)


def age(created: str, at: datetime) -> str:
    """How long ago, to two units: `3m12s`."""
    seconds = max(0, int((at - moment).total_seconds())) if (moment := time_of(created)) else None
    if seconds is None:
        return ""
    days, rest = divmod(seconds, 86400)
    units: list[str] = []
    for amount, unit in ((days, "d"), (rest // 3600, "h"), (rest % 3600 // 60, "m"), (rest % 60, "s")):
        if units or amount or unit == "s":
            units.append(f"{amount}{unit}")
    return "".join(units[:2])


def time_of(text: str) -> datetime | None:
    """A time of the API server's; None for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
