"""What the adapter must be allowed to do in its namespace, call by call: the one list of it.

`docs/rbac.md` is generated from this table (`make docs`); tests hold it, the Role in `docs/deploy/role.yaml` and
the calls themselves together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource, and why. `without` is what is lost without it; nothing said: no run is started."""

    group: str
    resource: str
    verb: str
    why: str
    without: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")

    def granted_by(self, rule: Mapping[str, Any]) -> bool:
        """Whether a rule of a Role, or of a SelfSubjectRulesReview, grants it for every name."""
        named = {self.resource, "*", "*" + self.resource[self.resource.find("/") :]}
        return (
            not rule.get("resourceNames")
            and not named.isdisjoint(rule.get("resources") or ())
            and not {self.group, "*"}.isdisjoint(rule.get("apiGroups") or ())
            and not {self.verb, "*"}.isdisjoint(rule.get("verbs") or ())
        )


TABLE: tuple[Right, ...] = (
    Right("batch", "jobs", "create", "Each run is a Job."),
    Right("batch", "jobs", "get", "To find a run's Job again, and to look for ourselves where the watch may be blind."),
    Right("batch", "jobs", "list", "What is there when a watch begins."),
    Right("batch", "jobs", "watch", "A Job's end, a cancel and a deletion are noticed at once."),
    Right("batch", "jobs", "patch", "To let the Job run, to stop it, and to write a cancel or the result on it."),
    Right("batch", "jobs", "delete", "A cancel ends the Job, and the clean-up removes it."),
    Right("", "pods", "list", "What is there when a watch begins."),
    Right("", "pods", "watch", "What becomes of the pod and its containers is noticed at once."),
    Right("", "pods/log", "get", "The agent's output.", "no log is delivered; the result says so"),
    Right("", "events", "list", "Why a Job has no pod.", "a Job without a pod cannot be explained"),
)


def missing(review: Mapping[str, Any]) -> list[Right]:
    """What a SelfSubjectRulesReview shows to be lacking. One that does not know everything shows nothing."""
    status = review.get("status") or {}
    rules = status.get("resourceRules")
    if rules is None or status.get("incomplete"):
        return []
    return [right for right in TABLE if not any(right.granted_by(rule) for rule in rules)]


def rules(rights: Iterable[Right] = TABLE) -> list[dict[str, list[str]]]:
    """The rights as the rules of a Role."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource), []).append(right.verb)
    return [{"apiGroups": [group], "resources": [resource], "verbs": each} for (group, resource), each in verbs.items()]


HEAD = """\
# What the adapter may do

Generated from `adapter/cluster/rbac.py` by `make docs`; do not edit.

The adapter needs these rights in the namespace of its Jobs, and nothing anywhere else: no ClusterRole, no Secrets, no
other namespace. [deploy/role.yaml](deploy/role.yaml) is the Role, with a ServiceAccount and its RoleBinding:

    sed 's/namespace: agents/namespace: YOURS/' docs/deploy/role.yaml | kubectl apply -f -

Before a run is started the adapter asks the API server what it may do (a SelfSubjectRulesReview, which everybody may
ask). Where a right is lacking without which a run could not be brought to its end, nothing is started, and the result
is `forbidden`, with the right in its message.

The agents' pods need no rights: no token is mounted into them.

| resource | verb | why | without it |
|---|---|---|---|
"""


def markdown() -> str:
    """The table as the document `docs/rbac.md`."""
    return HEAD + "".join(_line(right) for right in TABLE)


def _line(right: Right) -> str:
    resource = f"{right.resource}.{right.group}" if right.group else right.resource
    return f"| `{resource}` | `{right.verb}` | {right.why} | {right.without or 'no run is started'} |\n"
