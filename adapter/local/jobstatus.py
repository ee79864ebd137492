"""One look of the Job controller at one Job: count, decide, act, write."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import times
from .errors import ApiError
from .jobpods import (
    disown,
    has_ended,
    is_deleted,
    is_leaving,
    is_ready,
    is_tracked,
    pod_of,
    restarts,
    untrack,
)
from .jobspec import CONTROLLER_UID
from .registry import DeleteOptions
from .resources import JOBS, PODS, SERVICE_ACCOUNTS
from .selecting import labels_of
from .store import Key

if TYPE_CHECKING:
    from .jobs import JobController
    from .store import Object

BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")
LONGEST_BACKOFF = 600.0
REJECTION_RETRY = 1.0


class JobSync:
    """What real controllers do in one reconciliation, in their order."""

    def __init__(self, controller: JobController, key: Key, job: Object) -> None:
        self.controller, self.key, self.job = controller, key, job
        self.registry, self.timing = controller.registry, controller.timing
        self.uid: str = job["metadata"]["uid"]
        self.spec: dict[str, Any] = job["spec"]
        self.status: dict[str, Any] = copy.deepcopy(job.get("status", {}))
        self.pods = controller.pods_of(self.uid)
        self.uncounted: dict[str, list[str]] = self.status.get("uncountedTerminatedPods") or {}

    def run(self) -> None:
        if self._true("Complete", "Failed"):
            self._after_end()
            return
        self._let_go_of_strangers()
        self._move_counted()
        self._begin()
        self._count_ended()
        self._judge()
        self._act()
        self._conclude()
        self.write()
        self._untrack_counted()

    # what is so

    def _true(self, *types: str) -> Object | None:
        conditions = self.status.get("conditions", ())
        return next((one for one in conditions if one["type"] in types and one["status"] == "True"), None)

    @property
    def suspended(self) -> bool:
        return bool(self.spec.get("suspend"))

    @property
    def active(self) -> list[Object]:
        return [pod for pod in self.pods if not is_deleted(pod) and not has_ended(pod)]

    @property
    def terminating(self) -> list[Object]:
        return [pod for pod in self.pods if is_deleted(pod) and not has_ended(pod)]

    def _total(self, what: str) -> int:
        return int(self.status.get(what, 0)) + len(self.uncounted.get(what, ()))

    # count

    def _let_go_of_strangers(self) -> None:
        """A pod that no longer bears the Job's label runs on without it."""
        for pod in self.pods:
            if labels_of(pod).get(CONTROLLER_UID) != self.uid and not has_ended(pod):
                disown(self.registry, pod)
        self.pods = self.controller.pods_of(self.uid)

    def _move_counted(self) -> None:
        """Pods without a finalizer were counted for good."""
        tracked = {pod["metadata"]["uid"] for pod in self.pods if is_tracked(pod)}
        for what, uids in list(self.uncounted.items()):
            counted = [uid for uid in uids if uid not in tracked]
            if counted:
                self.status[what] = self.status.get(what, 0) + len(counted)
            self.uncounted[what] = [uid for uid in uids if uid in tracked]
        self.uncounted = {what: uids for what, uids in self.uncounted.items() if uids}

    def _begin(self) -> None:
        if not self.suspended and "startTime" not in self.status:
            self.status["startTime"] = times.now()

    def _count_ended(self) -> None:
        known = {uid for uids in self.uncounted.values() for uid in uids}
        for pod in self.pods:
            if not is_tracked(pod) or pod["metadata"]["uid"] in known:
                continue
            if pod["status"].get("phase") == "Succeeded":
                self._count("succeeded", pod)
            elif pod["status"].get("phase") == "Failed" or is_deleted(pod):
                self._count("failed", pod)

    def _count(self, what: str, pod: Object) -> None:
        self.uncounted.setdefault(what, []).append(pod["metadata"]["uid"])
        if what == "failed":
            now = asyncio.get_running_loop().time()
            self.controller.failures.setdefault(self.uid, []).append(now)

    # decide

    def _judge(self) -> None:
        """The condition that comes before the end."""
        if self._true("SuccessCriteriaMet", "FailureTarget"):
            return
        if self._total("failed") > self.spec["backoffLimit"] or self._restarted_too_often():
            self._will_fail(BACKOFF)
        elif self._is_too_late():
            self._will_fail(DEADLINE)
        elif self._has_succeeded():
            self._set("SuccessCriteriaMet", *REACHED)

    def _restarted_too_often(self) -> bool:
        if self.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        count = sum(restarts(pod) for pod in self.active)
        return count > 0 and count >= int(self.spec["backoffLimit"])

    def _is_too_late(self) -> bool:
        """Counted from a start time that was cut to its second: up to a second early, as the real one."""
        deadline, started = self.spec.get("activeDeadlineSeconds"), self.status.get("startTime")
        if deadline is None or started is None or self.suspended:
            return False
        left = deadline - _age(started)
        if left > 0:
            self.controller.schedule(self.key, left)
        return bool(left <= 0)

    def _has_succeeded(self) -> bool:
        wanted = self.spec.get("completions")
        if wanted is None:
            return self._total("succeeded") > 0 and not self.active
        return self._total("succeeded") >= int(wanted)

    def _will_fail(self, why: tuple[str, str]) -> None:
        self._set("FailureTarget", *why)
        self.controller.recorder.warn(self.job, *why, "job-controller")

    def _set(self, type_: str, reason: str, message: str, status: str = "True") -> None:
        condition = {"type": type_, "status": status, "lastProbeTime": times.now()}
        condition |= {"lastTransitionTime": times.now(), "reason": reason, "message": message}
        others = [one for one in self.status.get("conditions", ()) if one["type"] != type_]
        self.status["conditions"] = [*others, condition]

    # act

    def _act(self) -> None:
        if self._true("SuccessCriteriaMet", "FailureTarget"):
            self._end_active()
        elif self.suspended:
            self._suspend()
        else:
            self._resume()
            self._create_missing()

    def _end_active(self) -> None:
        """When a Job has failed, whatever of it still runs has failed, too."""
        failed = self._true("FailureTarget") is not None
        for pod in self.active:
            self._delete(pod)
            if failed and is_tracked(pod):
                self._count("failed", pod)
        self.pods = self.controller.pods_of(self.uid)

    def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        options = DeleteOptions(preconditions={"uid": metadata["uid"]})
        self.registry.delete(PODS, metadata["namespace"], metadata["name"], options)
        message = f"Deleted pod: {metadata['name']}"
        self.controller.recorder.tell(self.job, "SuccessfulDelete", message, "job-controller")

    def _suspend(self) -> None:
        """What was running is not counted: neither failed nor succeeded."""
        for pod in self.active:
            untrack(self.registry, pod)
            self._delete(pod)
        self.pods = self.controller.pods_of(self.uid)
        if not self._true("Suspended"):
            self._set("Suspended", "JobSuspended", "Job suspended")
            self.controller.recorder.tell(self.job, "Suspended", "Job suspended", "job-controller")

    def _resume(self) -> None:
        if self._true("Suspended"):
            self._set("Suspended", "JobResumed", "Job resumed", "False")
            self.status["startTime"] = times.now()
            self.controller.recorder.tell(self.job, "Resumed", "Job resumed", "job-controller")

    def _create_missing(self) -> None:
        missing = self._wanted() - len(self.active)
        if missing <= 0 or self._is_backing_off():
            return
        for _ in range(missing):
            if not self._create_pod():
                return
        self.pods = self.controller.pods_of(self.uid)

    def _wanted(self) -> int:
        parallel, completions = int(self.spec["parallelism"]), self.spec.get("completions")
        if completions is None:
            return 0 if self._total("succeeded") else parallel
        return min(parallel, int(completions) - self._total("succeeded"))

    def _is_backing_off(self) -> bool:
        failures = self.controller.failures.get(self.uid)
        if not failures:
            return False
        delay = min(self.timing.pod_backoff * 2 ** (len(failures) - 1), LONGEST_BACKOFF)
        left = failures[-1] + delay - asyncio.get_running_loop().time()
        if left > 0:
            self.controller.schedule(self.key, left)
        return bool(left > 0)

    def _missing_account(self) -> str | None:
        """The `default` one comes with its namespace."""
        name = self.spec["template"]["spec"].get("serviceAccountName", "default")
        known = self.registry.store.get(Key(SERVICE_ACCOUNTS, self.key.namespace, name))
        if known is not None or name == "default":
            return None
        return f'error looking up service account {self.key.namespace}/{name}: serviceaccount "{name}" not found'

    def _create_pod(self) -> bool:
        if why := self.controller.rejection or self._missing_account():
            name = f"{self.key.name}-"
            message = f'Error creating: pods "{name}" is forbidden: {why}'
            self.controller.recorder.warn(self.job, "FailedCreate", message, "job-controller")
            self.controller.schedule(self.key, REJECTION_RETRY)
            return False
        try:
            pod = self.registry.create(PODS, self.key.namespace, pod_of(self.job))
        except ApiError as error:
            self.controller.recorder.warn(self.job, "FailedCreate", f"Error creating: {error}", "job-controller")
            return False
        message = f"Created pod: {pod['metadata']['name']}"
        self.controller.recorder.tell(self.job, "SuccessfulCreate", message, "job-controller")
        return True

    # write

    def _conclude(self) -> None:
        """The end itself comes when every pod has been counted and none is left running."""
        before = self._true("SuccessCriteriaMet", "FailureTarget")
        if before is None or self.uncounted or self.active or any(is_leaving(pod) for pod in self.pods):
            return
        if before not in self.job.get("status", {}).get("conditions", ()):
            self.controller.schedule(self.key, self.timing.job_condition)
            return
        succeeded = before["type"] == "SuccessCriteriaMet"
        self._set("Complete" if succeeded else "Failed", before["reason"], before["message"])
        if succeeded:
            self.status["completionTime"] = times.now()
            self.controller.recorder.tell(self.job, "Completed", "Job completed", "job-controller")
        self.controller.schedule(self.key, 0)

    def write(self) -> None:
        """What is observed, and what was decided."""
        status = {key: value for key, value in self.status.items() if key != "active"}
        status |= {"active": len(self.active)} if self.active else {}
        status |= {"ready": sum(is_ready(pod) for pod in self.active), "terminating": len(self.terminating)}
        status["uncountedTerminatedPods"] = self.uncounted
        self.registry.modify(*self.key, lambda job: job.update(status=status))

    def _untrack_counted(self) -> None:
        """What is written may be let go; then it is counted for good."""
        counted = {uid for uids in self.uncounted.values() for uid in uids}
        if not counted:
            return
        for pod in self.pods:
            if pod["metadata"]["uid"] in counted:
                untrack(self.registry, pod)
        self.controller.schedule(self.key, self.timing.job_condition)

    def _after_end(self) -> None:
        """Nothing but the TTL is left to keep."""
        ttl = self.spec.get("ttlSecondsAfterFinished")
        end = self._true("Complete", "Failed")
        for pod in self.pods:
            untrack(self.registry, pod)
        if ttl is None or end is None:
            return
        left = ttl - _age(end["lastTransitionTime"])
        if left > 0:
            self.controller.schedule(self.key, left)
        else:
            self.registry.delete(JOBS, self.key.namespace, self.key.name, DeleteOptions(policy="Foreground"))


def _age(moment: str) -> float:
    return (datetime.now(UTC) - times.parse(moment)).total_seconds()
