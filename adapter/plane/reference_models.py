"""What the reference plane hears and says, as types: its checks and its OpenAPI come from them."""

from __future__ import annotations

import base64
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from adapter.plane import Stream
from adapter.run import Outcome

STREAMS: tuple[Stream, ...] = get_args(Stream)

ENDS = tuple(str(outcome) for outcome in Outcome if outcome is not Outcome.DETACHED)
"""What a result may make of a run. A run that was let go has not ended: its next supervisor reports."""


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
    return text


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("is no text, but must be base64")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("is not base64") from error


def _ended(result: dict[str, Any]) -> dict[str, Any]:
    if result.get("outcome") not in ENDS:
        raise ValueError(f"its outcome must be one of {', '.join(ENDS)}")
    return result


Text = Annotated[str, AfterValidator(_encodable)]

Bytes = Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Bytes. What is more is no exact number in every language's JSON."""

_RESULT = {"type": "object", "required": ["outcome"], "properties": {"outcome": {"enum": list(ENDS)}}}

Result = Annotated[dict[str, Any], AfterValidator(_ended), WithJsonSchema(_RESULT)]


class Model(BaseModel):
    """Numbers are numbers and texts are texts; fields of later versions are ignored."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel, validate_by_name=True)


class Beat(Model):
    """A sign of life."""

    phase: str = Field(description="Where the run stands, in one word.")
    observed_ago: float | None = Field(
        None, ge=0, description="Seconds since the Job was last observed; null: there is no Job yet."
    )
    supervisor: str | None = Field(None, description="Which process of the adapter supervises the run.")


class Append(Model):
    """More log."""

    stream: Stream
    offset: Count = Field(description="Where the data begins in the whole log of its stream, in bytes.")
    data: Bytes = Field(description="The log's bytes, base64.")
    cursor: Text = Field(description="Opaque; stored with the data in one step and given back in every answer.")
    stamp: str = Field("", description="Time of the last line, RFC 3339.")
    continued: bool = Field(False, description="More of the same line follows.")
    gap: Count = Field(0, description="So many bytes before `offset` are lost for good.")


class Event(Model):
    """Something that an operator may want to know."""

    kind: str
    message: str
    at: float = Field(description="Unix time in seconds.")
    data: dict[str, Any] = Field(default_factory=dict)


class Events(Model):
    events: list[Event]


class Sum(Model):
    """What the whole log of a stream was."""

    size: Count = Field(description="Its bytes, with those that were lost.")
    crc32: int | None = Field(
        None, ge=0, lt=2**32, description="CRC-32 of the bytes that were appended; null: not known."
    )


class Report(Model):
    """The run's end."""

    result: Result = Field(description="The run's result; its `outcome` becomes the run's state.")
    execution: dict[str, Any] | None = Field(None, description="The same in the control plane's own shape.")
    log: dict[Stream, Sum] = Field(
        description="What of the log there must be. A stream that is not named is not checked."
    )


class Cancel(Model):
    reason: Text = ""


class LogEnd(Model):
    """Where a stream ends. Nothing of it yet: 0 and the empty text."""

    offset: int = 0
    cursor: str = ""


class Error(Model):
    code: str
    message: str
    field: str | None = None


class _Run(Model):
    run_id: str
    state: str = Field(description="running, an outcome, or process_lost.")
    terminal: bool
    cancel: str | None = Field(description="Why the run is to be cancelled; null: it is not.")
    interval: float | None = Field(description="Seconds between two signs of life, as the plane wants them.")


class Status(_Run):
    """The answer to everything about a run."""

    log: dict[Stream, LogEnd]


class Refusal(Status):
    """An error that has to do with a run: its status, and what is wrong."""

    error: Error


class Failure(Model):
    """Any other error."""

    error: Error


class LogView(LogEnd):
    crc32: int = Field(0, description="CRC-32 of the bytes that were appended.")
    lost: int = Field(0, description="Bytes that were lost, in gaps.")


class Run(_Run):
    """All that is known of a run. Times are Unix seconds."""

    log: dict[Stream, LogView]
    created_at: float
    updated_at: float = Field(description="The last sign of life.")
    finished_at: float | None
    beat: Beat | None = Field(description="The last beat that this process of the plane has heard.")
    result: dict[str, Any] | None
    execution: dict[str, Any] | None
    log_mismatch: bool = Field(description="The log is not the one that the result tells of.")


class Runs(Model):
    runs: list[Run]


class Noted(Event):
    seq: int = Field(description="Its place; `after` asks for what follows it.")


class History(Model):
    events: list[Noted]
