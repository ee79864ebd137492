"""How Jobs and pods are deleted, in each of the ways there are."""

from __future__ import annotations

from typing import Any

from tests.contract.conftest import RUNNING, Stage, job, scene, sh

FOREVER = "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.2; done"
MERGE = "application/merge-patch+json"


@scene
async def test_background(stage: Stage) -> None:
    pod = await stage.play("background", *sh(FOREVER))
    answer = await stage.delete("background", propagationPolicy="Background")
    log = await stage.place.log(pod, follow="true")
    story = await stage.ending("background", "pod: DELETED", "job: DELETED")
    details = answer["details"]
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert {key: details[key] for key in ("name", "group", "kind")} == {
        "name": "background",
        "group": "batch",
        "kind": "jobs",
    }
    assert details["uid"] == stage.last("Job", "background")["metadata"]["uid"]
    assert story == [
        "job: DELETED",
        "pod: deleting",
        "pod: phase Succeeded, main terminated 0 Completed",
        "pod: at once",
        "pod: DELETED",
    ]
    assert log == b"begun\nended\n", "the last words are followed although the Job is gone"


@scene
async def test_foreground_by_query(stage: Stage) -> None:
    await stage.play("foreground", *sh(FOREVER))
    path, query = f"{stage.place.jobs}/foreground", [("propagationPolicy", "Foreground")]
    answer = await stage.place.ask("DELETE", path, query=query)
    assert answer["kind"] == "Job"
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    refused = await stage.place.refused("POST", stage.place.jobs, job("foreground", "true"))
    assert (refused.status, refused.reason) == (409, "AlreadyExists")
    assert refused.message == 'object is being deleted: jobs.batch "foreground" already exists'
    story = await stage.ending("foreground", "pod: DELETED", "job: DELETED")
    assert [step for step in story if "BackoffLimit" not in step] == [  # the Job may fail meanwhile
        "job: deleting, foregroundDeletion",
        "pod: deleting",
        "pod: phase Succeeded, main terminated 0 Completed",
        "pod: at once",
        "pod: DELETED",
        "job: DELETED",
    ]


@scene
async def test_no_policy_orphans_the_pod_which_runs_on(stage: Stage) -> None:
    pod = await stage.play("orphaning", *sh("echo begun; sleep 4; echo lived on"))
    answer = await stage.delete("orphaning")
    assert answer["metadata"]["finalizers"] == ["orphan"]
    log = await stage.place.log(pod, follow="true")
    story = await stage.ending("orphaning", "pod: phase Succeeded", "job: DELETED")
    assert log == b"begun\nlived on\n"
    assert story == [
        "job: deleting, orphan",
        "pod: orphaned",
        "job: DELETED",
        "pod: main terminated 0 Completed",
        "pod: phase Succeeded",
    ]


@scene
async def test_a_finalizer_holds_the_job_and_the_pod_runs_on(stage: Stage) -> None:
    body = job("held", *sh(FOREVER))
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await stage.place.ask("POST", stage.place.jobs, body)
    await stage.until("held", RUNNING)
    await stage.delete("held", propagationPolicy="Background")
    assert await stage.ending("held", "job: deleting") == ["job: deleting"]
    path = f"{stage.place.jobs}/held"
    await stage.place.ask("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
    story = await stage.ending("held", "pod: DELETED", "job: DELETED")
    assert story[1:3] == ["job: DELETED", "pod: deleting"]


SLOW_END = "trap 'echo ended; sleep 2; exit 0' TERM; echo begun; while :; do sleep 0.2; done"
"""the Job controller counts a deleted pod as failed within a second, unless it has ended well by then"""


async def deleted_pod(stage: Stage, name: str, grace: int | None) -> list[str]:
    """The end of a Job whose pod was deleted; Failed may come before the pod's last two steps or after them."""
    pod = await stage.play(name, *sh(SLOW_END))
    options: dict[str, Any] = {} if grace is None else {"gracePeriodSeconds": grace}
    await stage.place.ask("DELETE", f"{stage.place.core}/pods/{pod}", options or None)
    told = await stage.ending(name, "pod: DELETED", "job: Failed")
    told.remove("job: Failed BackoffLimitExceeded")
    return told


@scene
async def test_pod_with_its_grace_period(stage: Stage) -> None:
    assert await deleted_pod(stage, "graceful", None) == [
        "pod: deleting",
        "job: FailureTarget BackoffLimitExceeded",
        "pod: phase Succeeded, main terminated 0 Completed",
        "pod: at once",
        "pod: DELETED",
    ]


@scene
async def test_pod_by_force_is_gone_while_it_is_still_running(stage: Stage) -> None:
    assert await deleted_pod(stage, "forced", 0) == [
        "pod: deleting, at once",
        "job: FailureTarget BackoffLimitExceeded",
        "pod: DELETED",
    ]
    assert "running" in stage.main("forced")["state"], "its end is never told"


@scene
async def test_pod_that_has_ended_goes_at_once(stage: Stage) -> None:
    await stage.place.create("finished", *sh("true"))
    await stage.until("finished", "pod: phase Succeeded", "job: Complete")
    await stage.place.ask("DELETE", f"{stage.place.core}/pods/{stage.pod('finished')}")
    story = await stage.until("finished", "pod: DELETED")
    assert story[-2:] == ["pod: deleting, at once", "pod: DELETED"]


@scene
async def test_eviction(stage: Stage) -> None:
    pod = await stage.play("evicted", *sh(SLOW_END))
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    answer = await stage.place.ask("POST", f"{stage.place.core}/pods/{pod}/eviction", body)
    assert (answer["status"], answer["code"]) == ("Success", 201)
    told = await stage.ending("evicted", "pod: DELETED", "job: Failed")
    assert told[:2] == ["pod: EvictionByEvictionAPI", "pod: deleting"]
    assert "job: FailureTarget BackoffLimitExceeded" in told


@scene
async def test_a_secret_goes_with_its_job(stage: Stage) -> None:
    owner = await stage.place.create("owner", *sh("true"), suspend=True)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "owner"}
    secrets = f"{stage.place.core}/secrets"
    for name, uid in (("owned", owner["metadata"]["uid"]), ("stranger", "00000000-0000-4000-8000-000000000000")):
        metadata = {"name": name, "ownerReferences": [reference | {"uid": uid}]}
        await stage.place.ask("POST", secrets, {"metadata": metadata})
    await stage.collected(f"{secrets}/stranger")
    assert await stage.place.ask("GET", f"{secrets}/owned")
    await stage.delete("owner", propagationPolicy="Background")
    await stage.collected(f"{secrets}/owned")


@scene
async def test_preconditions(stage: Stage) -> None:
    made = await stage.place.create("precise", *sh("true"), suspend=True)
    path, uid = f"{stage.place.jobs}/precise", made["metadata"]["uid"]
    refused = await stage.place.refused("DELETE", path, {"preconditions": {"uid": "other"}})
    assert (refused.status, refused.reason, refused.kind) == (409, "Conflict", "Job")
    assert f"the UID in the precondition (other) does not match the UID in record ({uid})" in refused.message
    refused = await stage.place.refused("DELETE", path, {"preconditions": {"resourceVersion": "1"}})
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert "the ResourceVersion in the precondition (1) does not match" in refused.message
    refused = await stage.place.refused("DELETE", path, {"propagationPolicy": "Bogus"})
    assert refused.status == 422
    await stage.delete("precise", propagationPolicy="Background", preconditions={"uid": uid})
    gone = await stage.place.refused("DELETE", path)
    assert (gone.status, gone.reason, gone.kind) == (404, "NotFound", "jobs")
    assert gone.message == 'jobs.batch "precise" not found'
