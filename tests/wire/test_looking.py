"""What the commands make of a run that others supervise: its description, and its cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from adapter import Adapter, AdapterError, Outcome, RunRequest
from adapter.cli.cancel import cancelled
from adapter.cli.describe import Account, account_of, text
from adapter.cli.finding import NotFound, find
from adapter.cli.ps import listed
from adapter.cluster.jobs import CANCEL, SUPERVISOR, Job, job_name
from adapter.cluster.rbac import needed
from adapter.local import Fault, LocalCluster
from adapter.observer import Observer
from adapter.plane.callbacks import CallbackPlane
from tests.recorder import Recorder
from tests.wire.agentwork import agent_work
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_outcomes import FOREVER, LAST_WORDS
from tests.wire.test_rbac import used


async def described(site: Site, run_id: str) -> Account:
    return await account_of(site.adapter, await find(site.adapter, run_id))


@asynccontextmanager
async def left(cluster: LocalCluster, *command: str) -> AsyncIterator[Job]:
    """A run whose supervisor has gone."""
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as other:
        run = start(other, *command, run_id="left", grace=5)
        await run.plane.until(lambda: "begun" in run.plane.text)
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        yield await find(adapter, "left")


async def test_who_waits_for_whom(site: Site) -> None:
    first = asyncio.create_task(site.adapter.supervise(agent_work("one", *FOREVER), plane := Recorder()))
    await plane.until(lambda: "begun" in plane.text)
    second = asyncio.create_task(site.adapter.supervise(agent_work("two", "true"), other := Recorder()))
    await other.until(lambda: other.words("admission"))
    path = f"/apis/batch/v1/namespaces/default/jobs/{job_name('default', 'two')}"
    with anyio.fail_after(10):
        while not Job.of(await site.adapter.connection.call("GET", path, deadline=3)).waits:
            await anyio.lowlevel.checkpoint()
    one, two = await described(site, "one"), await described(site, "two")
    held = job_name("default", "one")
    assert (one.view["state"], one.lock) == ("running", "this Job holds the agent")
    assert (two.view["state"], two.lock) == ("queued", f"Job {held} (run one) holds the agent")
    page = text(two)
    assert f"waits       the agent is busy with Job {held} (run one)" in page
    assert "claude-k8s cancel two" in page
    plane.cancel()
    await asyncio.gather(first, second)


async def test_a_lock_that_may_not_be_read_is_no_error(site: Site) -> None:
    first = asyncio.create_task(site.adapter.supervise(agent_work("one", *FOREVER), plane := Recorder()))
    await plane.until(lambda: "begun" in plane.text)
    site.cluster.faults.add(Fault.respond(403, path="*/configmaps/*"))
    assert (await described(site, "one")).lock.startswith("who holds the agent may not be read: ")
    site.cluster.faults.clear()
    plane.cancel()
    await first


async def test_why_a_job_has_no_pod_and_what_can_be_done(site: Site) -> None:
    run = site.start("true", service_account="nobody")
    await site.cluster.until(lambda c: any(event["reason"] == "FailedCreate" for event in c.list("events")))
    account = await described(site, run.request.run_id)
    assert account.hint == "Create the service account, or name another."
    assert any('serviceaccount "nobody" not found' in moment.words for moment in account.moments)
    await run.result()


async def test_the_account_as_json_is_plain(site: Site) -> None:
    await (run := site.start("sh", "-c", "exit 3", retain=60)).result()
    await site.cluster.until(lambda c: "claude-k8s/result" in c.list("jobs")[0]["metadata"]["annotations"])
    account = json.loads(json.dumps((await described(site, run.request.run_id)).to_json()))
    assert set(account) == {"run", "pods", "happened", "lock", "hint", "next"}
    assert account["run"]["result"]["exit_code"] == 3
    assert account["pods"][0]["now"][-1] == "claude: terminated (exit 3, Error)"


# -- cancel ----------------------------------------------------------------------------------------------------------


async def test_a_cancel_by_hand_is_the_supervisors_result(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun", grace=5)
    await cancelled(site.adapter, await find(site.adapter, run.request.run_id), "enough")
    result = await run.result()
    assert (result.outcome, result.message.partition(";")[0]) == (Outcome.CANCELLED, "cancelled: enough")
    assert run.plane.text == "begun\nended\n"


async def test_what_nobody_supervises_is_ended_all_the_same(cluster: LocalCluster, site: Site) -> None:
    async with left(cluster, *LAST_WORDS) as job:
        await cancelled(site.adapter, job, "enough")
        await cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))


async def test_a_replicas_job_is_left_to_it(cluster: LocalCluster, site: Site) -> None:
    """A replica that comes later has to find it, or nobody would report the run."""
    async with left(cluster, *FOREVER) as job:
        path = f"/apis/batch/v1/namespaces/default/jobs/{job.name}"
        body, merge = {"metadata": {"annotations": {SUPERVISOR: "replica-1"}}}, "application/merge-patch+json"
        await site.adapter.connection.call("PATCH", path, body=body, content_type=merge, deadline=3)
        await cancelled(site.adapter, await find(site.adapter, "left"), "enough")
        [kept] = cluster.list("jobs")
        assert kept["metadata"]["annotations"][CANCEL] == "enough"
        assert "deletionTimestamp" not in kept["metadata"]
        again = await cancelled(site.adapter, await find(site.adapter, "left"), "another reason")
        assert again.cancel == "enough", "only the first reason counts"
        await site.adapter.connection.call("DELETE", path, body={"propagationPolicy": "Background"}, deadline=3)
        await cluster.until(lambda c: not c.list("pods"))


async def test_a_job_that_vanishes_meanwhile(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    job = await find(site.adapter, run.request.run_id)
    run.plane.cancel()
    await run.result()
    await site.cluster.until(lambda c: not c.list("jobs"))
    with pytest.raises(NotFound, match="has ended meanwhile"):
        await cancelled(site.adapter, job, "enough")


async def test_a_job_that_may_not_be_deleted_is_marked_and_said(cluster: LocalCluster, site: Site) -> None:
    async with left(cluster, *FOREVER) as job:
        refusal = cluster.faults.add(Fault.respond(403, method="DELETE"))
        with pytest.raises(AdapterError, match="is marked as cancelled, but its Job stays"):
            await cancelled(site.adapter, job, "enough")
        refusal.remove()
        request = RunRequest(run_id="left", command=FOREVER, grace=5)
        result = await site.adapter.run(request, CallbackPlane())
        assert result.outcome is Outcome.CANCELLED, "who comes back to it obeys"


# -- what it takes ---------------------------------------------------------------------------------------------------


async def test_to_look_and_to_cancel_takes_no_right_that_a_run_does_not_need(cluster: LocalCluster) -> None:
    async with left(cluster, *LAST_WORDS) as job, Adapter.connect(kubeconfig=str(cluster.kubeconfig)) as adapter:
        before = len(cluster.requests)
        found = await listed(adapter, everybody=False)
        assert [row.run for row in found.rows] == ["left"]
        await account_of(adapter, job)
        observer = asyncio.create_task(Observer(adapter, job, plane := Recorder()).observe())
        await plane.until(lambda: "begun" in plane.text)
        await cancelled(adapter, job, "enough")
        observed = await observer
        assert observed.result
        assert observed.result.outcome is Outcome.CANCELLED
        assert used(cluster) <= {(right.group, right.resource, right.verb) for right in needed(agent=True)}
        assert not any(request.method == "POST" for request in cluster.requests[before:])
