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
    INVALID_REQUEST = "invalid_request"
    ADMISSION_UNREACHABLE = "admission_unreachable"
    AGENT_BUSY = "agent_busy"
    SECRET_REJECTED = "secret_rejected"  # noqa: S105 - the name of a failure
    AGENT_ERROR = "agent_error"
    MAX_TURNS = "max_turns"
    SESSION_UNAVAILABLE = "session_unavailable"
    LOGIN_REQUIRED = "login_required"
    QUOTA_EXHAUSTED = "quota_exhausted"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    LLM_API_ERROR = "llm_api_error"
    CONTEXT_OVERFLOW = "context_overflow"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_REFUSED = "model_refused"
    TRUNCATED = "truncated"
    NO_RESULT = "no_result"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    `transient`: the same request may succeed later without anybody changing it. `wire`: the `errorCode` that the
    control plane knows it by, where adapters before this one have established one. `family`: the control plane's
    class of failures whose retry it schedules, or "".
    """

    meaning: str
    transient: bool
    hint: str
    wire: str = ""
    family: str = ""


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
        wire="k8s_pod_schedule_failed",
    ),
    Code.INIT_FAILED: Row(
        "An init container failed.",
        False,
        "Read the log of the init container that is named.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.IMAGE_PULL: Row(
        "The image could not be pulled within the grace.",
        True,
        "Check the image's name, its registry and the pull secrets.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.IMAGE_INVALID: Row(
        "The image's name is not a valid reference.", False, "Correct the image's name.", wire="k8s_pod_schedule_failed"
    ),
    Code.CONFIG_ERROR: Row(
        "The container could not be created from its configuration.",
        False,
        "A Secret or ConfigMap it names may be missing, or its security context may not fit the image.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.UNSCHEDULABLE: Row(
        "No node could take the pod within the grace.",
        True,
        "Ask for less, add nodes, or check node selectors and taints.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.SCHEDULE_TIMEOUT: Row(
        "The pod was not given a node within the schedule budget.",
        True,
        "Look at the scheduler and at the cluster's capacity.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.START_TIMEOUT: Row(
        "The container did not start within the start budget.",
        True,
        "Look at the pod's events: volumes that do not mount and slow pulls are the usual causes.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.POD_SECURITY: Row(
        "Pod Security admission refused the pod.",
        False,
        "Run in a namespace whose level admits the pod.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.POD_QUOTA: Row(
        "A quota refused the pod.",
        True,
        "Wait for other pods to end, or raise the quota.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.SERVICE_ACCOUNT: Row(
        "The pod's service account does not exist.",
        False,
        "Create the service account, or name another.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.POD_REJECTED: Row(
        "The Job could not create its pod (an admission webhook or another rule refused it).",
        True,
        "Read the Job's FailedCreate events.",
        wire="k8s_pod_schedule_failed",
    ),
    Code.DEADLINE: Row(
        "The run reached its deadline.", False, "Allow more time, or give the run less to do.", wire="timeout"
    ),
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
    Code.JOB_DELETED: Row(
        "Somebody deleted the Job.",
        True,
        "Find out who: the API server's audit log knows.",
        wire="k8s_job_deleted_externally",
    ),
    Code.JOB_FAILED: Row("The Job failed without a container status to say why.", False, "Describe the Job."),
    Code.JOB_SUSPENDED: Row(
        "Somebody suspended the Job while it ran.", True, "Find out who: the API server's audit log knows."
    ),
    Code.STATUS_UNKNOWN: Row(
        "The node lost the container's status: it may have done all its work or none.",
        True,
        "Check what the run left behind before running it again.",
        wire="k8s_job_state_mismatch",
    ),
    Code.END_NEVER_CAME: Row(
        "The Job was told to end and did not; its node may be lost. It may still be running.",
        True,
        "Look at the pod's node. The Job was left as it is.",
        wire="k8s_job_state_mismatch",
    ),
    Code.UNKNOWN: Row(
        "How the run ended could not be found out.",
        True,
        "Check what the run left behind before running it again.",
        wire="k8s_job_state_mismatch",
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
    Code.JOB_REJECTED: Row(
        "The API server refused the Job.", False, "Correct the field its answer names.", wire="k8s_job_create_failed"
    ),
    Code.CONFLICT: Row(
        "A different request was already run under this run id.",
        False,
        "Give the new request a run id of its own.",
    ),
    Code.INVALID_REQUEST: Row("The request could never run.", False, "Correct the fields that are named."),
    Code.ADMISSION_UNREACHABLE: Row(
        "Whether the agent already runs could not be found out, so nothing was started.",
        True,
        "Check the API server, and that the Role in docs/rbac.md is granted.",
        wire="k8s_concurrency_guard_unreachable",
    ),
    Code.AGENT_BUSY: Row(
        "Another run of the agent was live for longer than a run may wait for it.",
        True,
        "Wait for the Job that is named, or cancel its run.",
        wire="k8s_concurrent_run_blocked",
    ),
    Code.SECRET_REJECTED: Row(
        "The API server refused the Secret with the run's prompt and environment.",
        False,
        "Read its answer: a quota, a webhook, or a prompt of more than 1 MiB.",
        wire="k8s_prompt_secret_create_failed",
    ),
    Code.AGENT_ERROR: Row("The agent's own result is an error.", False, "Read the message, then the end of the log."),
    Code.MAX_TURNS: Row(
        "The agent used up its turns.",
        False,
        "Allow more turns, or give the run less to do. The next run starts a fresh session.",
        wire="max_turns_exhausted",
    ),
    Code.SESSION_UNAVAILABLE: Row(
        "The session that was to be resumed cannot be.",
        False,
        "Run it again: the next run starts a fresh session. Sessions live on the agent's volume.",
        wire="session_unavailable",
    ),
    Code.LOGIN_REQUIRED: Row(
        "The agent is not logged in, or its credentials were refused.",
        False,
        "Renew the API key or the login that the agent's pod is given.",
        wire="claude_auth_required",
    ),
    Code.QUOTA_EXHAUSTED: Row(
        "The provider's usage limit, credit or spend limit is used up.",
        True,
        "Wait for the time of the reset where one is told, or raise the limit.",
        wire="provider_quota",
        family="provider_quota",
    ),
    Code.UPSTREAM_UNAVAILABLE: Row(
        "The model's provider was overloaded, limited the rate, or could not be reached.",
        True,
        "Run it again later; look at the provider's status page and the pod's network.",
        wire="claude_transient_upstream",
        family="transient_upstream",
    ),
    Code.LLM_API_ERROR: Row(
        "The model's provider answered with nothing at all.",
        True,
        "Check the provider, and any gateway before it.",
        family="transient_upstream",
    ),
    Code.CONTEXT_OVERFLOW: Row(
        "The conversation no longer fits into the model's context.",
        False,
        "Give the run less to read. The next run starts a fresh session.",
    ),
    Code.MODEL_NOT_FOUND: Row("The provider does not know the model.", False, "Correct the agent's model."),
    Code.MODEL_REFUSED: Row(
        "The model declined to go on.",
        False,
        "Read the agent's last words; reword the task.",
        wire="claude_refusal",
        family="model_refusal",
    ),
    Code.TRUNCATED: Row(
        "The agent was cut off at work: it had said something, and its result never came.",
        True,
        "Look for what ended it: memory, a signal, the node. Its session may be resumed.",
        wire="claude_truncated",
    ),
    Code.NO_RESULT: Row(
        "The agent ended without a result.",
        False,
        "Check the image's agent, its arguments and its API credentials; read the log.",
    ),
    Code.INTERNAL: Row(
        "A fault of the adapter's own. The Job was left as it is.", True, "Report it with the adapter's log."
    ),
}


def wire_name(code: Code) -> str:
    """The `errorCode` by which the control plane knows a code."""
    return TABLE[code].wire or code.value


def markdown() -> str:
    """The table as the document `docs/errors.md`."""
    return _HEAD + "".join(_line(code, row) for code, row in TABLE.items())


_HEAD = """# Codes

Generated from `adapter/errors.py` by `make docs`; do not edit.

`errorCode` is what the control plane is told: the name that adapters before this one established, or ours. `family` is
the class of failures for which it schedules a retry of its own.

| code | meaning | may pass by itself | what to do | `errorCode` | family |
|---|---|---|---|---|---|
"""


def _line(code: Code, row: Row) -> str:
    transient, family = "yes" if row.transient else "no", f"`{row.family}`" if row.family else ""
    return f"| `{code}` | {row.meaning} | {transient} | {row.hint} | `{wire_name(code)}` | {family} |\n"
