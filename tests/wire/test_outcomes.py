"""What becomes of a run, whatever happens to its container, pod, node and Job."""

from __future__ import annotations

import pytest

from adapter import Code, Outcome
from tests.wire.conftest import PYTHON, Site

FOREVER = ("sh", "-c", "echo begun; while :; do sleep 0.05; done")
LAST_WORDS = ("sh", "-c", "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.02; done")
GREEDY = (PYTHON, "-c", "import time; print('begun', flush=True); x = bytearray(300_000_000); time.sleep(60)")


async def test_success(site: Site) -> None:
    result = await site.start("sh", "-c", "echo out; echo err >&2").result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.SUCCEEDED, Code.OK, 0)
    assert result.log.complete
    assert result.log.delivered == 8


async def test_exit_code(site: Site) -> None:
    result = await site.start("sh", "-c", "sleep 0.2; exit 42").result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.FAILED, Code.EXIT_CODE, 42)
    assert result.message == "claude: terminated (exit 42, Error)"


async def test_out_of_memory(site: Site) -> None:
    run = site.start(*GREEDY, memory="100Mi")
    result = await run.result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.FAILED, Code.OOM_KILLED, 137)


async def test_a_child_that_is_killed_for_memory_is_a_warning(site: Site) -> None:
    run = await site.running("sh", "-c", "echo begun; sleep 5 || true", said="begun")
    site.cluster.node.oom_kill(site.pod(run), child_only=True)
    result = await run.result()
    assert (result.outcome, result.exit_code) == (Outcome.SUCCEEDED, 0)
    assert result.warnings


async def test_command_not_found(site: Site) -> None:
    result = await site.start("/no/such/program").result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.FAILED, Code.START_ERROR, 128)
    assert "/no/such/program" in result.message


async def test_deadline(site: Site) -> None:
    run = site.start(*LAST_WORDS, timeout=1, grace=5)
    result = await run.result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.TIMED_OUT, Code.DEADLINE, 0)
    assert run.plane.data == b"begun\nended\n"
    assert result.log.complete


async def test_cancel_while_running(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun")
    run.plane.cancel()
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.CANCELLED, Code.CANCELLED)
    assert run.plane.data == b"begun\nended\n"
    await site.cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))


async def test_cancel_before_the_job_exists(site: Site) -> None:
    from adapter.local import Fault

    site.cluster.faults.add(Fault.no_headers(method="POST", path="*/jobs"))
    run = site.start(*FOREVER)
    await run.plane.until(lambda: run.plane.beats)
    run.plane.cancel()
    result = await run.result()
    assert result.outcome is Outcome.CANCELLED
    assert not site.cluster.list("jobs")


async def test_cancel_while_pending(site: Site) -> None:
    site.cluster.node.unschedulable()
    run = site.start(*FOREVER)
    await run.plane.until(lambda: run.plane.words("pod"))
    run.plane.cancel()
    assert (await run.result()).outcome is Outcome.CANCELLED
    await site.cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))


async def test_cancel_by_another_adapter_of_the_instance(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun")
    assert await site.adapter.cancel(run.request.run_id, "by hand")
    result = await run.result()
    assert result.outcome is Outcome.CANCELLED
    assert "by hand" in result.message


async def test_cancel_of_no_such_run(site: Site) -> None:
    assert not await site.adapter.cancel("nobody")


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_job_deleted_by_somebody(site: Site, policy: str) -> None:
    run = await site.running(*LAST_WORDS, said="begun")
    await delete_job(site, run.job, policy)
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.DELETED, Code.JOB_DELETED)
    assert run.plane.data == b"begun\nended\n"


async def delete_job(site: Site, name: str, policy: str) -> None:
    """As kubectl does it."""
    path = f"/apis/batch/v1/namespaces/default/jobs/{name}"
    body = {"kind": "DeleteOptions", "apiVersion": "batch/v1", "propagationPolicy": policy}
    await site.adapter.connection.call("DELETE", path, body=body, deadline=3)


async def test_pod_deleted_by_somebody(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun")
    site.cluster.node.delete_pod(site.pod(run))
    result = await run.result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.DELETED, Code.POD_DELETED, 0)
    assert run.plane.data == b"begun\nended\n"


async def test_pod_deleted_by_force_never_shows_an_end(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun")
    site.cluster.node.delete_pod(site.pod(run), grace=0)
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.DELETED, Code.POD_DELETED)


@pytest.mark.parametrize("how", ["api", "pressure"])
async def test_evicted(site: Site, how: str) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.node.evict(site.pod(run), how=how)
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.EVICTED)
    assert result.transient


async def test_preempted(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.node.preempt(site.pod(run))
    assert (await run.result()).code is Code.PREEMPTED


async def test_node_lost_is_unknown_and_the_job_stays(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.node.node_lost()
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.UNKNOWN, Code.NODE_LOST)
    assert site.cluster.get("jobs", run.job)


async def test_status_unknown(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun")
    site.cluster.node.status_unknown(site.pod(run))
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.UNKNOWN, Code.STATUS_UNKNOWN)


async def test_suspended_by_somebody(site: Site) -> None:
    run = await site.running(*LAST_WORDS, said="begun")
    path = f"/apis/batch/v1/namespaces/default/jobs/{run.job}"
    merge = "application/merge-patch+json"
    body = {"spec": {"suspend": True}}
    await site.adapter.connection.call("PATCH", path, body=body, content_type=merge, deadline=3)
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.JOB_SUSPENDED)


async def test_unschedulable_only_after_a_grace(site: Site) -> None:
    site.cluster.node.unschedulable()
    run = site.start(*FOREVER)
    result = await run.result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.UNSCHEDULABLE)
    await site.cluster.until(lambda c: not c.list("jobs"))


async def test_unschedulable_for_a_moment_is_no_failure(site: Site) -> None:
    switch = site.cluster.node.unschedulable()
    run = site.start("true")
    await run.plane.until(lambda: any("unschedulable" in words for words in run.plane.words("pod")))
    switch.remove()
    assert (await run.result()).ok


async def test_image_pull_only_after_a_grace(site: Site) -> None:
    site.cluster.node.image_pull_error()
    result = await site.start("true").result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.IMAGE_PULL)


async def test_image_pull_for_a_moment_is_no_failure(site: Site) -> None:
    switch = site.cluster.node.image_pull_error()
    run = site.start("true")
    await run.plane.until(lambda: any("ErrImagePull" in words for words in run.plane.words("container")))
    switch.remove()
    assert (await run.result()).ok


async def test_an_invalid_image_name_fails_at_once_and_leaves_nothing(site: Site) -> None:
    result = await site.start("true", image="Not Valid").result()
    assert (result.outcome, result.code, result.exit_code) == (Outcome.FAILED, Code.IMAGE_INVALID, None)
    await site.cluster.until(lambda c: not c.list("jobs") and not c.list("pods"))


@pytest.mark.parametrize(
    ("why", "code"),
    [
        ('violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false', Code.POD_SECURITY),
        ("exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", Code.POD_QUOTA),
        ('error looking up service account default/nobody: serviceaccount "nobody" not found', Code.SERVICE_ACCOUNT),
        ('admission webhook "no.example.com" denied the request: no', Code.POD_REJECTED),
    ],
)
async def test_no_pod_at_all_is_explained_by_the_jobs_events(site: Site, why: str, code: Code) -> None:
    site.cluster.node.reject_pods(why)
    result = await site.start("true").result()
    assert (result.outcome, result.code) == (Outcome.FAILED, code)
    assert why in result.message


async def test_a_missing_namespace_starts_nothing(site: Site) -> None:
    from adapter import Adapter
    from tests.wire.conftest import FAST, start

    async with Adapter.connect(kubeconfig=str(site.cluster.kubeconfig), namespace="nowhere", limits=FAST) as adapter:
        result = await start(adapter, "true").result()
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.NAMESPACE)
