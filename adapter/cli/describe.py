"""`claude-k8s describe RUN`: what happened to a run, in words and with times, and what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from adapter.case import EndKind, rejection_of
from adapter.cli.clusters import run_loop
from adapter.cli.finding import find, find_at, looking, looking_options, run_argument
from adapter.cli.output import clean, write
from adapter.cli.remote import Remote, remote_of
from adapter.cli.rows import case_of, view_of
from adapter.cli.session import log_to_stderr
from adapter.cli.settings import CONTEXT, setting
from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import ApiError
from adapter.cluster.jobs import Job, Jobs
from adapter.cluster.listing import Raw, listing
from adapter.cluster.pods import Pod
from adapter.errors import TABLE, Code
from adapter.service import Adapter
from adapter.story import Moment, story
from adapter.words import Teller

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """All that is known of a run: as the service shows it, its pods as they are now, and what happened.

    `lock` is who holds the right to its agent; `hint` what can be done about what keeps it from starting.
    """

    view: View
    pods: Sequence[Pod] = ()
    moments: Sequence[Moment] = ()
    lock: str = ""
    hint: str = ""
    advice: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The account as plain JSON."""
        return {
            "run": dict(self.view),
            "pods": [{"name": pod.name, "node": pod.node, "phase": pod.phase, "now": words(pod)} for pod in self.pods],
            "happened": [{"at": at_of(moment), "what": moment.words} for moment in self.moments],
            "lock": self.lock,
            "hint": self.hint,
            "next": list(self.advice),
        }


@click.command(context_settings=CONTEXT)
@run_argument
@setting("--json", "json_lines", is_flag=True, help="One JSON object.")
@looking_options
def describe(run_id: str, *, json_lines: bool, **options: Any) -> int:
    """Say what happened to RUN: its Job, pod and containers, conditions, warnings and result, and what to do next.

    RUN is a run's id, a beginning of one that fits no other, or its Job's name. Times are the cluster's. A service
    (--service) tells less than the cluster does: where the run stands, and its result.
    """
    log_to_stderr(verbose=False)
    remote = remote_of(options)
    account = run_loop(_of_service(remote, run_id) if remote else _of_cluster(run_id, options))
    write((json.dumps(account.to_json(), indent=2) + "\n" if json_lines else text(account)).encode())
    return 0


async def _of_service(remote: Remote, run_id: str) -> Account:
    async with remote:
        view = await find_at(remote, run_id)
    return Account(view, advice=tuple(_next(view, f" --service {shlex.quote(remote.url)}")))


async def _of_cluster(run_id: str, options: Mapping[str, Any]) -> Account:
    async with looking(options) as adapter:
        job = await find(adapter, run_id, all_instances=options["all_instances"])
        return await account_of(adapter, job)


async def account_of(adapter: Adapter, job: Job) -> Account:
    """Everything that the cluster has of the run. Raises `ApiError` or `Unreachable`."""
    place, call = (adapter.connection, adapter.namespace), adapter.limits.call
    raw = await Jobs(*place, call=call).raw(job.name)
    pods = await listing(*place, "pods", labels=f"batch.kubernetes.io/controller-uid={job.uid}", deadline=call)
    events: list[Raw] = []
    for uid in (job.uid, *(pod["metadata"]["uid"] for pod in pods.items)):
        found = await listing(*place, "events", fields=f"involvedObject.uid={uid},type=Warning", deadline=call)
        events += found.items
    views = [Pod.of(pod) for pod in pods.items]
    view = view_of(job, views[-1] if views else None, adapter.namespace)
    moments = story(raw, pods.items, events) if raw else []
    elsewhere = f" --instance {shlex.quote(job.instance)}" if job.instance and job.instance != adapter.instance else ""
    lock = await _lock(adapter, job, job.agent) if job.agent and view["state"] != "finished" else ""
    return Account(view, views, moments, lock, _hint(job, views, events), tuple(_next(view, elsewhere)))


async def _lock(adapter: Adapter, job: Job, agent: str) -> str:
    """Who has the agent, in words. Not everybody who may look at runs may read locks."""
    try:
        lock = await Belongings(adapter.connection, adapter.namespace, call=adapter.limits.call).locked(agent)
    except ApiError as error:
        return f"who holds the agent may not be read: {error}"
    if lock is None:
        return "nobody holds the agent"
    return (
        "this Job holds the agent" if lock.job_uid == job.uid else f"Job {lock.job} (run {lock.run_id}) holds the agent"
    )


def _hint(job: Job, pods: Sequence[Pod], events: Sequence[Raw]) -> str:
    """What can be done about what keeps the run from starting."""
    if not pods:
        rejected = rejection_of([(str(event.get("reason")), str(event.get("message"))) for event in events])
        return TABLE[rejected[0]].hint if rejected else ""
    end = case_of(job, pods[-1]).end(0.0)
    return TABLE[end.code].hint if end and end.kind is EndKind.VERDICT and end.code else ""


def words(pod: Pod) -> list[str]:
    """The pod in words, as it is now."""
    return [told for _, told in Teller().tell(pod)]


def at_of(moment: Moment) -> str:
    """A time as the API server writes it."""
    return moment.at.strftime("%Y-%m-%dT%H:%M:%SZ")


# -- for people ------------------------------------------------------------------------------------------------------


def text(account: Account) -> str:
    """The account as a page. What comes from the cluster does not steer the terminal."""
    lines = [f"{name:<11} {clean(said)}" for name, said in _facts(account)]
    if account.moments:
        first = account.moments[0].at
        lines += ["", "what happened"]
        for moment in account.moments:
            since = int((moment.at - first).total_seconds())
            lines.append(f"  {at_of(moment)}  {f'+{since}s':>7}  {clean(moment.words)}")
    if account.advice:
        lines += ["", "what to do next", *(f"  {clean(line)}" for line in account.advice)]
    return "\n".join(lines) + "\n"


def _facts(account: Account) -> Iterator[tuple[str, str]]:
    view = account.view
    yield "run", str(view["runId"])
    where = f"namespace {view.get('namespace')}"
    instance = f", instance {view['instance']}" if view.get("instance") else ""
    if view.get("job"):
        yield "Job", f"{view['job']} ({where}{instance})"
    for name, label in (("agentKey", "agent"), ("task", "task"), ("session", "session")):
        if view.get(name):
            yield label, str(view[name])
    by = f", supervised by replica {view['supervisor']}" if view.get("supervisor") else ""
    yield "state", f"{view['state']}{by}"
    if view.get("waits"):
        yield "waits", str(view["waits"])
    if account.lock:
        yield "lock", account.lock
    if view.get("cancel") is not None:
        yield "cancel", f"asked for{': ' + view['cancel'] if view['cancel'] else ''}"
    for pod in account.pods:
        yield "pod", f"{pod.name}: {pod.phase}"
        for said in words(pod):
            yield "", said
    yield from _result(view)
    if account.hint:
        yield "hint", account.hint


def _result(view: View) -> Iterator[tuple[str, str]]:
    result = view.get("result")
    if not result:
        return
    yield "result", f"{str(result['outcome']).replace('_', ' ')} [{result['code']}]: {result['message']}"
    code, number = result.get("exit_code"), result.get("signal")
    if code is not None:
        yield "exit code", f"{code}{f' (signal {number})' if number else ''}"
    if result.get("hint"):
        yield "hint", str(result["hint"])
    log = result.get("log") or {}
    yield "log", f"{log.get('delivered', 0)} bytes delivered, {'complete' if log.get('complete') else 'incomplete'}"
    for note in (*(log.get("notes") or ()), *(result.get("warnings") or ())):
        yield "", str(note)
    agent = result.get("agent") or {}
    if agent.get("summary"):
        yield "summary", str(agent["summary"])
    if agent.get("cost_usd") is not None:
        yield "cost", f"{agent['cost_usd']} USD"


def _next(view: View, where: str) -> Iterator[str]:
    """The commands that fit where the run stands."""
    run, state = shlex.quote(str(view["runId"])), view.get("state")
    if state in ("pending", "running", "ending", "elsewhere"):
        yield f"claude-k8s attach {run}{where}   # its log and its end"
    if state in ("accepted", "queued", "pending", "running", "detached", "elsewhere", "orphaned"):
        yield f"claude-k8s cancel {run}{where}   # end it"
    if state in ("ended", "orphaned"):
        yield "ask for the run again, as it was asked for: its result is found again, and reported"
    if state in ("finished", "ended"):
        yield f"claude-k8s logs {run}{where}   # its log, for as long as its pod is kept"
    if (view.get("result") or {}).get("code") in (Code.END_NEVER_CAME, Code.NODE_LOST) and view.get("agentKey"):
        yield f"claude-k8s release {view['agentKey']}   # free the agent, if its node does not come back"
