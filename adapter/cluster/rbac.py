"""What the adapter must be allowed to do in its namespace, call by call: the one list of it.

`docs/rbac.md` and the Role in `docs/deploy/agents/role.yaml` are generated from this table (`make docs`), and
`claude-k8s doctor` asks for each of its rights; tests hold them and the calls themselves together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Only = Literal["", "agent", "service", "pod", "doctor"]
"""Who alone needs a right: an agent's run, `claude-k8s serve`, an adapter that is itself a pod, `claude-k8s doctor`; or
every run."""

NEEDED_BY: dict[Only, str] = {
    "": "every run",
    "agent": "an agent's run",
    "service": "`serve`",
    "pod": "an adapter in a pod",
    "doctor": "`doctor`",
}


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource, and why. `without` is what is lost without it; nothing said: no run is started.

    `only` says who alone needs it. What only an agent's run needs does not keep a plain command from running, and what
    only the service needs keeps neither.
    """

    group: str
    resource: str
    verb: str
    why: str
    without: str = ""
    only: Only = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")

    @property
    def lost(self) -> str:
        """What is lost without it, said in any case."""
        whose = {"agent": "no agent is run", "service": "the service does not start"}
        return self.without or whose.get(self.only, "no run is started")

    @property
    def code(self) -> str:
        """The name of its check, such as `k8s_rbac_job_create`; a subresource has but one verb."""
        resource, _, part = self.resource.partition("/")
        name = "pvc" if resource == "persistentvolumeclaims" else resource.removesuffix("s")
        return f"k8s_rbac_{name}_{part or self.verb}"

    def granted_by(self, rule: Mapping[str, Any]) -> bool:
        """Whether a rule of a Role, or of a SelfSubjectRulesReview, grants it for every name."""
        named = {self.resource, "*", "*" + self.resource[self.resource.find("/") :]}
        return (
            not rule.get("resourceNames")
            and not named.isdisjoint(rule.get("resources") or ())
            and not {self.group, "*"}.isdisjoint(rule.get("apiGroups") or ())
            and not {self.verb, "*"}.isdisjoint(rule.get("verbs") or ())
        )


LEASES = ("coordination.k8s.io", "leases")

TABLE: tuple[Right, ...] = (
    Right("batch", "jobs", "create", "Each run is a Job."),
    Right("batch", "jobs", "get", "To find a run's Job again, and to look for ourselves where the watch may be blind."),
    Right("batch", "jobs", "list", "What is there when a watch begins."),
    Right("batch", "jobs", "watch", "A Job's end, a cancel and a deletion are noticed at once."),
    Right("batch", "jobs", "patch", "To let the Job run, to stop it, and to write a cancel or the result on it."),
    Right("batch", "jobs", "delete", "A cancel ends the Job, and the clean-up removes it."),
    Right("", "pods", "list", "What is there when a watch begins."),
    Right("", "pods", "watch", "What becomes of the pod and its containers is noticed at once."),
    Right(
        *("", "pods", "get", "What an agent inherits from the adapter's own pod; in that pod's namespace."),
        *("nothing is inherited from the adapter's own pod", "pod"),
    ),
    Right("", "pods/log", "get", "The agent's output.", "no log is delivered; the result says so"),
    Right("", "events", "list", "Why a Job has no pod.", "a Job without a pod cannot be explained"),
    Right(
        "", "secrets", "create", "Prompt and token, and a request of the service, are Secrets of a run.", only="agent"
    ),
    Right("", "secrets", "delete", "Those Secrets are removed with the end of the run.", only="agent"),
    Right(
        *("", "secrets", "get", "To go on with a run that another process began: its request is kept in a Secret."),
        *("a run of the service that its process lost is gone on with only when its request is sent again", "service"),
    ),
    Right("", "configmaps", "create", "The agent's lock: no second Job of an agent beside a living one.", only="agent"),
    Right("", "configmaps", "get", "Who holds the agent's lock.", only="agent"),
    Right(
        "", "configmaps", "delete", "An agent's lock is freed when its holder is over, and by `release`.", only="agent"
    ),
    Right(*LEASES, "create", "Each process of the service says by a Lease of its own that it lives.", only="service"),
    Right(*LEASES, "get", "To find our own Lease again, and to be sure that another's is gone.", only="service"),
    Right(*LEASES, "list", "Whether the other processes of the service live.", only="service"),
    Right(*LEASES, "patch", "Our own Lease is renewed each 2 s.", only="service"),
    Right(
        *(*LEASES, "delete", "Our own Lease goes when we do, and a dead process's some minutes after it."),
        *("a process that leaves is missed only after 15 s, and the Leases of dead ones stay", "service"),
    ),
    Right(
        *("", "persistentvolumeclaims", "get", "Whether the workspace's volume is there and can be shared."),
        *("it is not checked whether the workspace's volume is there and can be shared", "doctor"),
    ),
    Right(
        *("", "resourcequotas", "list", "Whether the quota leaves room for a run."),
        *("it is not checked whether the quota leaves room for a run", "doctor"),
    ),
    Right(
        *("", "namespaces", "get", "Whether the namespace is there, and its Pod Security level; no other namespace."),
        *("it is not checked whether the namespace is there, nor which Pod Security level it has", "doctor"),
    ),
)


def missing(review: Mapping[str, Any], *, agent: bool = False, service: bool = False) -> list[Right]:
    """What a SelfSubjectRulesReview shows to be lacking for a run, a plain command's or an agent's, or for the service.

    A review that does not know everything shows nothing.
    """
    status = review.get("status") or {}
    rules = status.get("resourceRules")
    if rules is None or status.get("incomplete"):
        return []
    wanted = needed(agent=agent, service=service)
    return [right for right in wanted if not any(right.granted_by(rule) for rule in rules)]


def needed(*, agent: bool, service: bool = False) -> list[Right]:
    """The rights that a run may use; with `service`, all that the service may use, which runs agents as well."""
    whose = {"": True, "agent": agent or service, "service": service}
    return [right for right in TABLE if whose.get(right.only)]


def rules(rights: Iterable[Right] = TABLE) -> list[dict[str, list[str]]]:
    """The rights as the rules of a Role."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource), []).append(right.verb)
    return [{"apiGroups": [group], "resources": [resource], "verbs": each} for (group, resource), each in verbs.items()]


HEAD = """\
# What the adapter may do

Generated from `adapter/cluster/rbac.py` by `make docs`; do not edit.

The adapter needs these rights in the namespace of its Jobs, and nothing anywhere else: no ClusterRole, no other
namespace, and, but for the service (`claude-k8s serve`), no right to read a Secret.
[deploy/agents/role.yaml](deploy/agents/role.yaml) is the Role, with a ServiceAccount and its RoleBinding:

    sed 's/namespace: agents/namespace: YOURS/' docs/deploy/agents/role.yaml | kubectl apply -f -

Before a run is started the adapter asks the API server what it may do (a SelfSubjectRulesReview, which everybody may
ask). Where a right is lacking without which a run could not be brought to its end, nothing is started, and the result
is `forbidden`, with the right in its message. `claude-k8s doctor` asks for each right by itself and names those that
are lacking.

Who runs no agents, but only commands (`claude-k8s run`), can leave out what an agent's run needs; who has no service,
what `serve` needs; who can do without what the last column says can leave out the rest. Where the adapter is a pod of
another namespace than its Jobs', the right of an adapter in a pod belongs into a Role there.

Two rights do more than their name says:

- `create secrets` also tells whether a Secret is there: `doctor` asks the API server to create one of the same name by
  a dry run, which stores nothing and is refused where there is one. So the Secrets that an agent's configuration names
  are checked without the right to read any. ConfigMaps are checked in the same way.
- `create jobs` also tells whether Pod Security admits the agents' pods: a Job that is created by a dry run is
  answered with a warning where it does not.

Whoever may create Jobs in a namespace can mount each Secret of it into a pod. So give the agents a namespace of their
own, with no Secrets in it but theirs; and `get secrets` allows nothing that was not possible before. The service reads
no Secret but those that it made, with the requests of its runs.

The agents' pods need no rights: no token is mounted into them.

| resource | verb | why | needed by | without it |
|---|---|---|---|---|
"""


def markdown() -> str:
    """The table as the document `docs/rbac.md`."""
    return HEAD + "".join(_line(right) for right in TABLE)


def _line(right: Right) -> str:
    resource = f"{right.resource}.{right.group}" if right.group else right.resource
    return f"| `{resource}` | `{right.verb}` | {right.why} | {NEEDED_BY[right.only]} | {right.lost} |\n"


ROLE_HEAD = """\
# All that claude-k8s may do, in one namespace. Why each, and what can be left out: docs/rbac.md.
# Generated from adapter/cluster/rbac.py by `make docs`; do not edit.
#
#   sed 's/namespace: agents/namespace: YOURS/' docs/deploy/agents/role.yaml | kubectl apply -f -
#
# Where the adapter runs in another namespace than its Jobs, the ServiceAccount lives there, and the RoleBinding's
# subject names it there; Role and RoleBinding stay with the Jobs. `get pods` is then of use in a Role there, too.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: claude-k8s
  namespace: agents
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: claude-k8s
  namespace: agents
rules:
"""

ROLE_TAIL = """\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: claude-k8s
  namespace: agents
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: claude-k8s
subjects:
  - kind: ServiceAccount
    name: claude-k8s
    namespace: agents
"""


def role() -> str:
    """The table as the manifests `docs/deploy/agents/role.yaml`."""
    return ROLE_HEAD + "".join(_rule(rule) for rule in rules()) + ROLE_TAIL


def _rule(rule: Mapping[str, list[str]]) -> str:
    fields = {name: [item or '""' for item in items] for name, items in rule.items()}
    return "  - " + "\n    ".join(f"{name}: [{', '.join(items)}]" for name, items in fields.items()) + "\n"
