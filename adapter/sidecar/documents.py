"""What the service is asked for: one JSON document a run, which is also what another replica goes on with."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StrictInt, ValidationError
from pydantic.alias_generators import to_camel

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.labels import label_value
from adapter.agent.plain import plain
from adapter.agent.problems import explain
from adapter.agents import request_hash
from adapter.cluster.belongings import agent_key
from adapter.cluster.jobs import digest
from adapter.errors import InvalidRequest
from adapter.plane.http_address import Token, base_of
from adapter.run import RunRequest
from adapter.work import hash_of

MOST_BYTES = 900 * 1024
"""A Secret may hold 1 MiB, in base64 and all; a document that does not fit could not be gone on with."""


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )


class CommandRequest(_Part):
    """A command to run as it is: the fields of `RunRequest`, in either spelling."""

    run_id: str
    command: tuple[str, ...]
    image: str = "busybox:1.36"
    env: Annotated[dict[str, str], Field(repr=False)] = {}
    working_dir: str | None = None
    timeout: StrictInt | None = None
    grace: StrictInt = 30
    retain: StrictInt = 3600
    cpu: str | None = None
    memory: str | None = None
    service_account: str | None = None
    node_selector: dict[str, str] = {}


class PlaneTarget(_Part):
    """The control plane that this run's log, beats and result are pushed to."""

    url: str = Field(repr=False)
    token: SecretStr | None = None


class _Document(_Part):
    context: dict[str, Any] | None = Field(default=None, repr=False)
    request: CommandRequest | None = None
    plane: PlaneTarget | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that was asked for: an agent's, with its `context`, or a command's, with its `request`.

    `what` is the hash that its Jobs bear of it.
    """

    run_id: str
    context: RunContext | None = field(repr=False)
    request: RunRequest | None = field(repr=False)
    plane: PlaneTarget | None
    document: bytes = field(repr=False)
    what: str

    @classmethod
    def parse(cls, data: object) -> Asked:
        """Reads a document. Raises `InvalidRequest`, which names every field that is wrong, and shows none of them."""
        document = _validated(data)
        if (document.context is None) == (document.request is None):
            raise InvalidRequest("the document needs either a `context` (an agent's run) or a `request` (a command's)")
        context = RunContext.parse(document.context) if document.context is not None else None
        if context:
            AgentConfig.parse(context.config, target=context.execution_target)  # refused now rather than as a result
        request = RunRequest(**document.request.model_dump()) if document.request else None
        if document.plane:
            base_of(document.plane.url)
            Token(document.plane.token.get_secret_value() if document.plane.token else None)
        run_id = context.run_id if context else request.run_id if request else ""
        what = request_hash(context) if context else hash_of(request) if request else ""
        return cls(run_id, context, request, document.plane, _kept(data), what)

    @classmethod
    def read(cls, document: bytes) -> Asked:
        """Reads what was kept of a document. Raises `InvalidRequest`."""
        try:
            data = json.loads(gzip.decompress(document))
        except (OSError, EOFError, ValueError):
            raise InvalidRequest("what was kept of the request cannot be read") from None
        return cls.parse(data)

    @property
    def hash(self) -> str:
        """What makes two documents under one run id the same: not the tokens, which are issued anew each time."""
        return digest({"what": self.what, "plane": self.plane.url if self.plane else None})

    @property
    def retain(self) -> int:
        """How long its finished Job is kept, in seconds; 0: no longer than the result is waited for."""
        if self.request:
            return self.request.retain
        config = AgentConfig.parse(self.context.config, target=self.context.execution_target) if self.context else None
        return config.ttl_seconds_after_finished if config and config.retain_jobs else 0

    @property
    def kubeconfig(self) -> str:
        """The cluster of the agent's own, if its configuration names one."""
        return str(self.context.config.get("kubeconfig") or "") if self.context else ""

    @property
    def continues(self) -> str | None:
        """The run that the control plane has lost, which this one goes on with."""
        return self.context.retry_of if self.context else None

    @property
    def agent(self) -> str | None:
        """The agent's id."""
        return self.context.agent.id if self.context else None

    @property
    def agent_key(self) -> str | None:
        """The agent's label on its Jobs."""
        return agent_key(self.context.agent.company_id, self.context.agent.id) if self.context else None

    @property
    def task(self) -> str | None:
        """The task's label on its Jobs."""
        return label_value(self.context.task_id) if self.context else None

    @property
    def session(self) -> str | None:
        """The session's label on its Jobs."""
        return label_value(self.context.session_id) if self.context else None


def _validated(data: object) -> _Document:
    try:
        return _Document.model_validate(plain(data))
    except ValidationError as error:
        problems = explain(error, "")
    except ValueError as error:
        problems = f"the document {error}"
    # Raised outside of the handler: the exception that was handled there holds the input, secrets included.
    raise InvalidRequest(problems.replace(" .", " ").removeprefix("."))


def _kept(data: object) -> bytes:
    document = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), compresslevel=3, mtime=0)
    if len(document) > MOST_BYTES:
        text = f"the document has {len(document)} bytes, compressed, over {MOST_BYTES}: a Secret could not hold it"
        raise InvalidRequest(text)
    return document
