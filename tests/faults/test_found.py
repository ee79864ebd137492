"""What the matrix has found, each named for what happened. Every one of these failed before its fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapter import Adapter, Outcome
from adapter.local import Fault, LocalCluster
from tests.wire.conftest import FAST, Site, start
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import LAST_WORDS, delete_job

# test_malice.py: a plane that answered a beat, or its position, with garbage ended the run.
# test_load.py: a drain that a blocked loop made late was called incomplete.

TRUSTING = replace(FAST, silence=30)
"""A watch that is open and says nothing is believed for longer than any other limit."""


async def test_a_read_of_the_drain_that_ended_early_and_cleanly_was_believed(site: Site) -> None:
    """As it does when a kubelet is stopped: the rest of the log was never read, and nothing was said."""
    site.cluster.faults.add(Fault.silent_log())
    for number, size in enumerate((1000, 5000), start=1):
        site.cluster.faults.add(Fault.cut(after_bytes=size, how="eof", path="*/log", skip=number, count=1))
    run = site.start("sh", "-c", "seq 200; sleep 0.6")
    result = await run.result()
    assert result.log.complete
    assert run.plane.data == b"".join(b"%d\n" % n for n in range(1, 201))


async def test_an_end_that_a_late_watch_did_not_tell_was_called_unknown(cluster: LocalCluster) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=TRUSTING) as adapter:
        site = Site(cluster, adapter)
        run = await site.running(*LAST_WORDS, said="begun", grace=1)
        cluster.faults.add(Fault.withhold(_is_end, events=None))
        cluster.faults.add(Fault.hang_log_after_end())
        await delete_job(site, run.job, "Foreground")
        result = await run.result()
    assert result.outcome is Outcome.DELETED
    assert run.plane.data == b"begun\nended\n"


def _is_end(type_: str, raw: dict[str, Any]) -> bool:
    statuses = raw.get("status", {}).get("containerStatuses", ())
    return type_ == "DELETED" or any("terminated" in status.get("state", {}) for status in statuses)


async def test_a_pod_that_had_recovered_unseen_was_stopped_as_unschedulable(cluster: LocalCluster) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=TRUSTING) as adapter:
        switch = cluster.node.unschedulable()
        run = start(adapter, *COUNT)
        await run.plane.until(lambda: any("unschedulable" in words for words in run.plane.words("pod")))
        handle = cluster.faults.add(Fault.withhold(lambda _, raw: raw["kind"] == "Pod", events=None))
        switch.remove()
        await cluster.until(lambda c: any(pod["spec"].get("nodeName") for pod in c.list("pods")))
        result = await run.result()
    assert handle.hits
    assert result.ok
    assert run.plane.data == COUNTED


async def test_a_pod_that_ran_and_went_unseen_left_a_log_that_was_called_complete(cluster: LocalCluster) -> None:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=replace(TRUSTING, grace=30)) as adapter:
        switch = cluster.node.image_pull_error()
        run = start(adapter, *COUNT)
        await run.plane.until(lambda: any("ErrImagePull" in words for words in run.plane.words("container")))
        cluster.faults.add(Fault.withhold(lambda _, raw: raw["kind"] == "Pod", events=None))
        switch.remove()
        await cluster.until(lambda c: any(pod["status"]["phase"] == "Running" for pod in c.list("pods")))
        cluster.node.delete_pod(cluster.list("pods")[0]["metadata"]["name"], grace=0)
        result = await run.result()
    assert not result.ok
    assert not result.log.complete


async def test_a_pod_that_nobody_ever_saw_left_a_log_that_was_called_complete(cluster: LocalCluster) -> None:
    """Its Job was cancelled and gone before the watch that had fallen silent was noticed: 47 lines, and not a word."""
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=TRUSTING) as adapter:
        cluster.faults.add(Fault.withhold(lambda _, raw: raw["kind"] == "Pod", events=None))
        run = start(adapter, *COUNT, grace=1)
        await cluster.until(lambda c: any(pod["status"]["phase"] == "Running" for pod in c.list("pods")))
        await adapter.cancel(run.request.run_id, "by hand")
        result = await run.result()
    assert result.outcome is Outcome.CANCELLED
    assert result.log.notes == ("log incomplete: no pod of the Job was seen",)
