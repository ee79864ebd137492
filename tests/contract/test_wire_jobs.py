"""The life of a Job as a raw watch tells it: the same story on both clusters."""

from __future__ import annotations

import re

from tests.contract.conftest import RUNNING, Object, Stage, job, scene, sh

FOREVER = "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.2; done"
BORN = ["job: ADDED", "pod: ADDED, phase Pending", "pod: scheduled True", "pod: main waiting ContainerCreating"]
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@scene
async def test_success(stage: Stage) -> None:
    await stage.place.create("success", *sh("echo a; sleep 2; echo b"))
    story = await stage.until("success", "pod: phase Succeeded", "job: Complete")
    assert story == [
        *BORN,
        "pod: phase Running, main running",
        "pod: main terminated 0 Completed",
        "pod: phase Succeeded",
        "job: SuccessCriteriaMet CompletionsReached",
        "job: Complete CompletionsReached",
    ]
    status = stage.last("Job", "success")["status"]
    assert status["succeeded"] == 1
    assert not {"active", "failed"} & status.keys()
    assert not status.get("uncountedTerminatedPods")
    end = stage.main("success")["state"]["terminated"]
    for time in (status["startTime"], status["completionTime"], end["startedAt"], end["finishedAt"]):
        assert SECOND.fullmatch(time), "nothing tells a part of a second"
    assert stage.last("Pod", "success")["metadata"].get("finalizers") is None


@scene
async def test_exit_3_at_once(stage: Stage) -> None:
    await stage.place.create("exit-3", *sh("echo a; exit 3"))
    story = await stage.until("exit-3", "pod: phase Failed", "job: Failed")
    assert [step for step in story if step != RUNNING] == [  # it is hardly ever seen running
        *BORN,
        "pod: main terminated 3 Error",
        "pod: phase Failed",
        "job: FailureTarget BackoffLimitExceeded",
        "job: Failed BackoffLimitExceeded",
    ]
    status = stage.last("Job", "exit-3")["status"]
    assert status["failed"] == 1
    assert {one["message"] for one in status["conditions"]} == {"Job has reached the specified backoff limit"}
    assert "completionTime" not in status


@scene
async def test_deadline_lets_the_last_words_through_and_takes_the_log_away(stage: Stage) -> None:
    pod = await stage.play("deadline", *sh(FOREVER.replace("exit 0", "sleep 2; exit 0")), activeDeadlineSeconds=12)
    log = await stage.place.log(pod, follow="true")
    story = await stage.ending("deadline", "pod: DELETED", "job: Failed")
    assert log == b"begun\nended\n"
    story.remove("job: Failed DeadlineExceeded")  # after DELETED, but for a coincidence of two batches
    assert story == [
        "pod: deleting",
        "job: FailureTarget DeadlineExceeded",
        "pod: phase Succeeded, main terminated 0 Completed",
        "pod: at once",
        "pod: DELETED",
    ]
    conditions = stage.last("Job", "deadline")["status"]["conditions"]
    assert {one["message"] for one in conditions} == {"Job was active longer than specified deadline"}
    assert stage.last("Job", "deadline")["status"]["failed"] == 1
    gone = await stage.no_log(pod)
    assert (gone.status, gone.kind, gone.message) == (404, "pods", f'pods "{pod}" not found')


@scene
async def test_a_suspended_job_has_no_pod_until_it_is_resumed(stage: Stage) -> None:
    await stage.place.create("suspended", *sh("true"), suspend=True)
    assert await stage.until("suspended", "job: Suspended") == ["job: ADDED", "job: Suspended JobSuspended"]
    [condition] = stage.last("Job", "suspended")["status"]["conditions"]
    assert condition["message"] == "Job suspended"
    assert "startTime" not in stage.last("Job", "suspended")["status"]
    patch = {"spec": {"suspend": False}}
    kind = "application/merge-patch+json"
    await stage.place.ask("PATCH", f"{stage.place.jobs}/suspended", patch, content_type=kind)
    story = await stage.until("suspended", "pod: ADDED", "job: Complete")
    assert {"job: not Suspended", "pod: ADDED, phase Pending"} <= set(story[2:])
    resumed = stage.last("Job", "suspended")["status"]["conditions"][0]
    assert (resumed["type"], resumed["status"], resumed["reason"]) == ("Suspended", "False", "JobResumed")


@scene
async def test_suspending_a_running_job_ends_its_pod_and_counts_nothing(stage: Stage) -> None:
    await stage.play("paused", *sh(FOREVER))
    patch = {"spec": {"suspend": True}}
    kind = "application/merge-patch+json"
    await stage.place.ask("PATCH", f"{stage.place.jobs}/paused", patch, content_type=kind)
    story = await stage.ending("paused", "pod: DELETED", "job: Suspended")
    assert story[:2] == ["pod: deleting", "job: Suspended JobSuspended"]
    assert "failed" not in stage.last("Job", "paused")["status"]


@scene
async def test_time_to_live_of_none(stage: Stage) -> None:
    await stage.place.create("mortal", *sh("true"), ttlSecondsAfterFinished=0)
    story = await stage.until("mortal", "pod: DELETED", "job: DELETED")
    assert story[-5:] == [
        "job: Complete CompletionsReached",
        "job: deleting, foregroundDeletion",
        "pod: deleting, at once",
        "pod: DELETED",
        "job: DELETED",
    ]


@scene
async def test_a_container_that_is_started_again_has_a_log_of_each_instance(stage: Stage) -> None:
    script = "if [ -e /scratch/x ]; then echo second; sleep 3; else echo first; touch /scratch/x; exit 1; fi"
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    body = job("again", *sh(script), backoffLimit=6)
    template = body["spec"]["template"]["spec"]
    template["restartPolicy"] = "OnFailure"
    template["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    template["containers"][0]["volumeMounts"] = mounts
    await stage.place.ask("POST", stage.place.jobs, body)
    ended = await stage.place.until_pod("again", lambda pod: _main(pod).get("lastState"))
    assert (_main(ended)["restartCount"], _main(ended)["lastState"]["terminated"]["exitCode"]) == (1, 1)
    await stage.place.until_pod("again", lambda pod: "running" in _main(pod)["state"])
    pod = ended["metadata"]["name"]
    assert await stage.place.log(pod, previous="true") == b"first\n"
    assert await stage.place.log(pod, follow="true") == b"second\n"
    await stage.until("again", "job: Complete")


def _main(pod: Object) -> Object:
    return dict((pod["status"].get("containerStatuses") or [{}])[0])


@scene
async def test_a_restart_at_the_limit_ends_the_pod(stage: Stage) -> None:
    await stage.place.create("limit", *sh("exit 1"), backoffLimit=1, pod={"restartPolicy": "OnFailure"})
    story = await stage.until("limit", "pod: DELETED", "job: Failed")
    ends = [step for step in story if step.startswith("job:") or "deleting" in step or "DELETED" in step]
    ends.remove("job: Failed BackoffLimitExceeded")  # after DELETED, but for a coincidence of two batches
    assert ends == ["job: ADDED", "pod: deleting", "job: FailureTarget BackoffLimitExceeded", "pod: DELETED"]


@scene
async def test_no_service_account_no_pod(stage: Stage) -> None:
    await stage.place.create("nobody", *sh("true"), pod={"serviceAccountName": "missing"})
    message = await stage.warning("nobody", "FailedCreate")
    where = f"{stage.place.namespace}/missing"
    why = f'error looking up service account {where}: serviceaccount "missing" not found'
    assert message == f'Error creating: pods "nobody-" is forbidden: {why}'
    assert stage.story("nobody") == ["job: ADDED"]
    assert "active" not in stage.last("Job", "nobody")["status"]
