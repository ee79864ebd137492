"""What becomes of the live Job of a lost run: may the run that continues it take it over? Pure.

Only the Job that the control plane names is looked at, by name and UID: another Job of the same task is not trusted to
be ours (BLO-15956), but waited for. What may be alive is never deleted.
"""

from __future__ import annotations

from enum import Enum

from adapter.cluster.jobs import Job
from adapter.work import Work


class Fate(Enum):
    """The verdict; its value is the reason in words."""

    ADOPT = "it fits"
    NEVER_RAN = "it was never let run"
    STOPPED = "it was stopped"
    UNWANTED = "the agent's configuration does not want it (reattachOrphanedJobs)"
    TAKEN = "another run has taken it over"
    TASK_UNKNOWN = "which task it works on is not known"
    TASK_MISMATCH = "it works on another task"
    SESSION_MISMATCH = "it works in another session"


def fate_of(job: Job, work: Work) -> Fate:
    """The orphan's fate, by the labels of task and session; a session that one side does not know fits any."""
    if job.waiting:
        return Fate.NEVER_RAN
    if job.halted:
        return Fate.STOPPED
    if not work.reattach:
        return Fate.UNWANTED
    if job.adopter not in (None, work.run_id, work.lost):
        return Fate.TAKEN
    if work.task is None or job.task is None:
        return Fate.TASK_UNKNOWN
    if work.task != job.task:
        return Fate.TASK_MISMATCH
    sessions = {work.session, job.session} - {None}
    return Fate.SESSION_MISMATCH if len(sessions) > 1 else Fate.ADOPT
