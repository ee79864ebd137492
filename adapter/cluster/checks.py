"""What `claude-k8s doctor` finds: one check, what the checks are about, and the ground that they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adapter.cluster.answers import Answer, ask
from adapter.cluster.connection import Connection, Query
from adapter.cluster.introspection import OwnPod
from adapter.errors import AdapterError


class Level(StrEnum):
    """How much a check says against running: nothing, something, everything."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding, as the control plane shows it: `code` is stable, `hint` says what the operator can do."""

    code: str
    level: Level
    message: str
    detail: str = ""
    hint: str = ""

    def to_json(self) -> dict[str, str | None]:
        """The check in the control plane's shape."""
        return {
            "code": self.code,
            "level": str(self.level),
            "message": self.message,
            "detail": self.detail or None,
            "hint": self.hint or None,
        }


def info(code: str, message: str, *, detail: str = "", hint: str = "") -> Check:
    return Check(code, Level.INFO, message, detail, hint)


def warn(code: str, message: str, *, detail: str = "", hint: str = "") -> Check:
    return Check(code, Level.WARN, message, detail, hint)


def error(code: str, message: str, *, detail: str = "", hint: str = "") -> Check:
    return Check(code, Level.ERROR, message, detail, hint)


def unchecked(code: str, what: str, cause: BaseException) -> Check:
    """A check that failed itself: it says nothing about what it was to check."""
    return warn(code, f"{what} could not be checked: {cause_of(cause)}")


def cause_of(cause: BaseException) -> str:
    """An error in one line; a fault of ours with its type."""
    text = " ".join(str(cause).split())
    return text if isinstance(cause, AdapterError) and text else f"{type(cause).__name__}: {text}".rstrip(": ")


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What an agent would be given of the adapter's own pod, and what not: names, with the reason, never values."""

    names: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be checked: the namespace, and the Job that would be created there.

    What the Job names (images, volumes, Secrets, its service account) is checked with it. `secret_ref` is a Secret that
    only the configuration names; `asked_for` says that somebody wrote it there.
    """

    namespace: str
    job: Mapping[str, Any] = field(repr=False)
    own: OwnPod = field(default_factory=OwnPod)
    inheritance: Inheritance = field(default_factory=Inheritance)
    secret_ref: str = ""
    asked_for: bool = False

    @property
    def pod(self) -> Mapping[str, Any]:
        """The spec of the Job's pods."""
        spec: Mapping[str, Any] = self.job["spec"]["template"]["spec"]
        return spec

    @property
    def at_home(self) -> bool:
        """Whether our own pod is in the namespace."""
        return self.own.place is not None and self.own.place.namespace == self.namespace


@dataclass(frozen=True, slots=True)
class Ground:
    """What every check has: the cluster, the subject, the deadline of a call in seconds, and what was found before it.

    `denied` are the verbs and resources that we are known not to be allowed: who needs one has nothing to say, since
    its lack was told. `enforced` is the namespace's Pod Security level; None where it says nothing of it, or may not be
    read.
    """

    connection: Connection
    subject: Subject
    call: float
    denied: frozenset[tuple[str, str]] = frozenset()
    enforced: str | None = None

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.subject.namespace}"

    @property
    def jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.subject.namespace}/jobs"

    def may(self, verb: str, resource: str) -> bool:
        """Whether it is worth trying."""
        return (verb, resource) not in self.denied

    async def ask(self, method: str, path: str, *, query: Query = (), body: dict[str, Any] | None = None) -> Answer:
        """One call. Raises `ApiError` or `Unreachable`."""
        return await ask(self.connection, method, path, query=query, body=body, deadline=self.call)
