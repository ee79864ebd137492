"""What goes into a run and what comes out of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from adapter.errors import Code, InvalidRequest

MAX_ENV_BYTES = 128 * 1024 - 1
"""Linux refuses to exec with a longer `NAME=value` (MAX_ARG_STRLEN, counted with its final NUL)."""

MAX_REQUEST_BYTES = 1024 * 1024
"""etcd takes objects of about 1.5 MiB; what is longer fails there with a misleading text."""

_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_QUANTITY = re.compile(r"(\d+(\.\d*)?|\.\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")


AGAIN = "again"
"""What `RunResult.agent` says of an attempt that another one follows. No plane is told of such a result."""


class Outcome(StrEnum):
    """What became of a run. `UNKNOWN` and `DETACHED` are answers of their own, never a kind of success."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    DETACHED = "detached"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One request to execute a command as a Kubernetes Job.

    `run_id` identifies the run: the same id with the same request is the same run, whoever asks.
    `timeout` is the run's deadline in whole seconds (None: no deadline); `grace` is how long the container
    may go on after SIGTERM, in seconds; `retain` is how long the finished Job is kept, in seconds (0: deleted
    as soon as its result is accepted). `cpu` and `memory` are Kubernetes quantities and bound the container.

    Raises `InvalidRequest`, which names the field, when a value could never run.
    """

    run_id: str
    command: tuple[str, ...]
    image: str = "busybox:1.36"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    working_dir: str | None = None
    timeout: int | None = None
    grace: int = 30
    retain: int = 3600
    cpu: str | None = None
    memory: str | None = None
    service_account: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", tuple(self.command))
        object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        object.__setattr__(self, "node_selector", MappingProxyType(dict(self.node_selector)))
        for check in (_check_text, _check_env, _check_numbers, _check_quantities, _check_size):
            check(self)

    def to_json(self) -> dict[str, Any]:
        """The request as plain JSON, with sorted environment: equal requests give equal JSON."""
        return {
            "run_id": self.run_id,
            "command": list(self.command),
            "image": self.image,
            "env": dict(sorted(self.env.items())),
            "working_dir": self.working_dir,
            "timeout": self.timeout,
            "grace": self.grace,
            "retain": self.retain,
            "cpu": self.cpu,
            "memory": self.memory,
            "service_account": self.service_account,
            "node_selector": dict(sorted(self.node_selector.items())),
        }


def _check_text(request: RunRequest) -> None:
    _need(bool(request.run_id.strip()), "run_id", "is empty: give every run an id of its own")
    _need(len(request.run_id) <= 512, "run_id", "is longer than 512 characters")
    _need(bool(request.command) and bool(request.command[0]), "command", "is empty: name a program to run")
    _need(bool(request.image.strip()), "image", "is empty: name a container image")
    texts = [("run_id", request.run_id), ("image", request.image), ("working_dir", request.working_dir or "")]
    for name, text in [*texts, *((f"command[{n}]", part) for n, part in enumerate(request.command))]:
        _need("\0" not in text, name, "contains a NUL character, which no process can be given")
        _need(_is_utf8(text), name, "is not valid Unicode")


def _check_env(request: RunRequest) -> None:
    for name, value in request.env.items():
        _need(bool(_ENV_NAME.fullmatch(name)), f"env[{name!r}]", "is not a valid environment variable name")
        _need("\0" not in value, f"env[{name!r}]", "contains a NUL character, which no process can be given")
        _need(_is_utf8(value), f"env[{name!r}]", "is not valid Unicode")
        size = len(name.encode()) + 1 + len(value.encode())
        _need(
            size <= MAX_ENV_BYTES,
            f"env[{name!r}]",
            f"has {size} bytes, more than the {MAX_ENV_BYTES} Linux can exec: put it into a file",
        )


def _check_numbers(request: RunRequest) -> None:
    _need(request.timeout is None or request.timeout >= 1, "timeout", "is less than 1 second")
    _need(request.grace >= 0, "grace", "is negative")
    _need(request.retain >= 0, "retain", "is negative")


def _check_quantities(request: RunRequest) -> None:
    for name in ("cpu", "memory"):
        text = getattr(request, name)
        _need(
            text is None or bool(_QUANTITY.fullmatch(text)),
            name,
            f"{text!r} is not a Kubernetes quantity such as 500m or 2Gi",
        )


def _check_size(request: RunRequest) -> None:
    size = sum(len(part.encode()) for part in (*request.command, *request.env, *request.env.values()))
    _need(size <= MAX_REQUEST_BYTES, "command and env", f"have {size} bytes together, over {MAX_REQUEST_BYTES}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _need(holds: bool, name: str, complaint: str) -> None:
    if not holds:
        raise InvalidRequest(f"{name} {complaint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSummary:
    """What became of the log: bytes delivered, and whether all of it was.

    `complete` is false when the adapter knows, or cannot exclude, that something was not delivered;
    `notes` says what, in words.
    """

    delivered: int = 0
    complete: bool = True
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LogSummary:
        """Reads what `asdict` made of one; fields of later versions are ignored."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        return cls(**known | {"notes": tuple(known.get("notes", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The one, truthful result of a run.

    `code` is a row of the table in `adapter.errors`, `message` says what happened in one line, `hint` what the
    operator can do. `exit_code`, `signal`, `reason` and `termination_message` are the container's own, as far
    as anybody saw them. Times are the container's, RFC 3339, in whole seconds. `stderr` is the agent's second log,
    where it has one; `agent` is what the agent's own transcript told, as plain JSON.
    """

    run_id: str
    outcome: Outcome
    code: Code
    message: str
    hint: str = ""
    transient: bool = False
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    termination_message: str | None = None
    job: str | None = None
    job_uid: str | None = None
    pod: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    warnings: tuple[str, ...] = ()
    log: LogSummary = field(default_factory=LogSummary)
    stderr: LogSummary | None = None
    agent: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.outcome is Outcome.SUCCEEDED

    @property
    def again(self) -> bool:
        """Whether it is the end of a first attempt alone: the agent's session was gone, and another one follows."""
        return bool(self.agent and self.agent.get(AGAIN))

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunResult:
        """Reads what `to_json` wrote; fields of later versions are ignored. Raises ValueError or KeyError."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        known["log"] = LogSummary.from_json(known.pop("log", None) or {})
        known["stderr"] = LogSummary.from_json(known["stderr"]) if known.get("stderr") else None
        known["outcome"] = Outcome(known["outcome"])
        known["code"] = Code(known["code"])
        known["warnings"] = tuple(known.get("warnings", ()))
        return cls(**known)
