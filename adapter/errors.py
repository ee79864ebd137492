"""One table of codes: what each means, whether trying again may help, what the operator can do.

`docs/errors.md` is generated from this table (`make docs`); a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AdapterError(Exception):
    """Whatever the adapter raises on purpose: one line that names the cause and what to do."""


class InvalidRequest(AdapterError, ValueError):
    """A request that could never run. The text names the field."""


class ConnectError(AdapterError):
    """No working connection to a cluster: bad configuration, refused credentials or nobody there."""


class Code(StrEnum):
    """Why a run ended as it did. Stable: control planes may branch on these."""

    OK = "ok"
    EXIT_CODE = "exit_code"
    SIGNALLED = "signalled"
    OOM_KILLED = "oom_killed"
    START_ERROR = "start_error"
    INIT_FAILED = "init_failed"
    IMAGE_PULL = "image_pull"
    IMAGE_INVALID = "image_invalid"
    CONFIG_ERROR = "config_error"
    UNSCHEDULABLE = "unschedulable"
    SCHEDULE_TIMEOUT = "schedule_timeout"
    START_TIMEOUT = "start_timeout"
    POD_SECURITY = "pod_security"
    POD_QUOTA = "pod_quota"
    SERVICE_ACCOUNT = "service_account"
    POD_REJECTED = "pod_rejected"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    POD_DELETED = "pod_deleted"
    JOB_DELETED = "job_deleted"
    JOB_FAILED = "job_failed"
    JOB_SUSPENDED = "job_suspended"
    STATUS_UNKNOWN = "status_unknown"
    END_NEVER_CAME = "end_never_came"
    UNKNOWN = "unknown"
    DETACHED = "detached"
    API_UNREACHABLE = "api_unreachable"
    FORBIDDEN = "forbidden"
    UNAUTHORIZED = "unauthorized"
    NAMESPACE = "namespace"
    JOB_REJECTED = "job_rejected"
    CONFLICT = "conflict"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `transient`: the same request may succeed later without anybody changing it."""

    meaning: str
    transient: bool
    hint: str


TABLE: dict[Code, Row] = {
    Code.OK: Row("The container exited with 0.", False, ""),
    Code.EXIT_CODE: Row("The container exited with a code of its own.", False, "Read the end of the log."),
    Code.SIGNALLED: Row(
        "The container was ended by a signal that nobody here sent.",
        False,
        "Look for who killed it: the node's kernel log, or an operator on the node.",
    ),
    Code.OOM_KILLED: Row(
        "The kernel killed the container because it reached its memory limit.",
        False,
        "Raise the memory limit, or give the work less to hold at once.",
    ),
    Code.START_ERROR: Row(
        "The container's command could not be started.",
        False,
        "Check that the program is in the image, is executable, and that its arguments and environment fit.",
    ),
    Code.INIT_FAILED: Row("An init container failed.", False, "Read the log of the init container that is named."),
    Code.IMAGE_PULL: Row(
        "The image could not be pulled within the grace.",
        True,
        "Check the image's name, its registry and the pull secrets.",
    ),
    Code.IMAGE_INVALID: Row("The image's name is not a valid reference.", False, "Correct the image's name."),
    Code.CONFIG_ERROR: Row(
        "The container could not be created from its configuration.",
        False,
        "A Secret or ConfigMap it names may be missing, or its security context may not fit the image.",
    ),
    Code.UNSCHEDULABLE: Row(
        "No node could take the pod within the grace.",
        True,
        "Ask for less, add nodes, or check node selectors and taints.",
    ),
    Code.SCHEDULE_TIMEOUT: Row(
        "The pod was not given a node within the schedule budget.",
        True,
        "Look at the scheduler and at the cluster's capacity.",
    ),
    Code.START_TIMEOUT: Row(
        "The container did not start within the start budget.",
        True,
        "Look at the pod's events: volumes that do not mount and slow pulls are the usual causes.",
    ),
    Code.POD_SECURITY: Row(
        "Pod Security admission refused the pod.", False, "Run in a namespace whose level admits the pod."
    ),
    Code.POD_QUOTA: Row("A quota refused the pod.", True, "Wait for other pods to end, or raise the quota."),
    Code.SERVICE_ACCOUNT: Row(
        "The pod's service account does not exist.", False, "Create the service account, or name another."
    ),
    Code.POD_REJECTED: Row(
        "The Job could not create its pod (an admission webhook or another rule refused it).",
        True,
        "Read the Job's FailedCreate events.",
    ),
    Code.DEADLINE: Row("The run reached its deadline.", False, "Allow more time, or give the run less to do."),
    Code.CANCELLED: Row("The run was cancelled.", False, ""),
    Code.EVICTED: Row(
        "The pod was evicted from its node.",
        True,
        "Run it again; look at the node's memory and disk pressure.",
    ),
    Code.PREEMPTED: Row(
        "The pod had to make room for one of higher priority.",
        True,
        "Run it again, or with a higher priority.",
    ),
    Code.NODE_LOST: Row("The pod's node was lost or shut down.", True, "Run it again once the node is gone or back."),
    Code.POD_DELETED: Row("Somebody deleted the pod.", True, "Find out who: the API server's audit log knows."),
    Code.JOB_DELETED: Row("Somebody deleted the Job.", True, "Find out who: the API server's audit log knows."),
    Code.JOB_FAILED: Row("The Job failed without a container status to say why.", False, "Describe the Job."),
    Code.JOB_SUSPENDED: Row(
        "Somebody suspended the Job while it ran.", True, "Find out who: the API server's audit log knows."
    ),
    Code.STATUS_UNKNOWN: Row(
        "The node lost the container's status: it may have done all its work or none.",
        True,
        "Check what the run left behind before running it again.",
    ),
    Code.END_NEVER_CAME: Row(
        "The Job was told to end and did not; its node may be lost. It may still be running.",
        True,
        "Look at the pod's node. The Job was left as it is.",
    ),
    Code.UNKNOWN: Row(
        "How the run ended could not be found out.",
        True,
        "Check what the run left behind before running it again.",
    ),
    Code.DETACHED: Row(
        "The adapter let go of the run. The Job goes on.",
        True,
        "Run the same request again to come back to it.",
    ),
    Code.API_UNREACHABLE: Row(
        "The API server could not be reached, so the run was not started.",
        True,
        "Check the network, the kubeconfig's server and the API server.",
    ),
    Code.FORBIDDEN: Row(
        "The API server does not allow a call the run needs.", False, "Grant the Role in docs/rbac.md."
    ),
    Code.UNAUTHORIZED: Row("The API server does not accept our credentials.", False, "Renew the credentials."),
    Code.NAMESPACE: Row("The namespace does not exist, or is being deleted.", False, "Create it, or name another."),
    Code.JOB_REJECTED: Row("The API server refused the Job.", False, "Correct the field its answer names."),
    Code.CONFLICT: Row(
        "A different request was already run under this run id.",
        False,
        "Give the new request a run id of its own.",
    ),
    Code.INTERNAL: Row(
        "A fault of the adapter's own. The Job was left as it is.", True, "Report it with the adapter's log."
    ),
}


def markdown() -> str:
    """The table as the document `docs/errors.md`."""
    head = "# Codes\n\nGenerated from `adapter/errors.py` by `make docs`; do not edit.\n\n"
    head += "| code | meaning | may pass by itself | what to do |\n|---|---|---|---|\n"
    rows = (
        f"| `{code}` | {row.meaning} | {'yes' if row.transient else 'no'} | {row.hint} |" for code, row in TABLE.items()
    )
    return head + "\n".join(rows) + "\n"
