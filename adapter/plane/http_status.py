"""What a control plane answers: where a run stands with it. Nothing that it sends is believed before it is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter.errors import AdapterError


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class LogEnd(_Answer):
    """Where the log that the control plane has of a stream ends, and the cursor that came with the last of it."""

    offset: Annotated[int, Field(ge=0)]
    cursor: str


class Trouble(_Answer):
    """Why a request was not carried out."""

    code: str
    message: str = ""


class Status(_Answer):
    """Where a run stands with its control plane. `cancel`: why it is to be cancelled; None: it is not."""

    run_id: Annotated[str, Field(alias="runId")]
    state: str
    terminal: bool
    cancel: str | None = None
    interval: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    log: dict[str, LogEnd] = Field(default_factory=dict)

    @classmethod
    def read(cls, body: bytes, run_id: str) -> Status:
        """Reads an answer. Raises ValueError, which says what is wrong with it, also if it is of another run."""
        try:
            status = cls.model_validate_json(body)
        except ValidationError as error:
            raise ValueError(_first(error)) from error
        if status.run_id != run_id:
            raise ValueError("it is about another run")
        return status


class Refusal(_Answer):
    """An answer that is no."""

    error: Trouble


class PlaneError(AdapterError):
    """The control plane did not do what it was asked. Never final: it is asked again, `retry_after` seconds later.

    `run` is where the run stands, if that was said along.
    """

    def __init__(self, text: str, *, retry_after: float = 0.0, run: Status | None = None) -> None:
        super().__init__(text)
        self.retry_after, self.run = retry_after, run


class TokenRefused(PlaneError):
    """401 or 403: the token is wrong or missing, or it has none of the rights it needs."""


class NotKnown(PlaneError):
    """404 `unknown_run`. Any other 404 is a proxy's, or a wrong URL's, and a failure like others."""


class Conflict(PlaneError):
    """409: the request does not fit where the run stands. `code` says in what."""

    def __init__(self, text: str, code: str, run: Status | None) -> None:
        super().__init__(text, run=run)
        self.code = code


class NotTakeable(PlaneError):
    """400, 413 or 422: it is what we sent that is not taken. `too_large`: there was too much of it."""

    def __init__(self, text: str, *, too_large: bool) -> None:
        super().__init__(text)
        self.too_large = too_large


def refusal(
    status: int, body: bytes, run_id: str, text: str, retry_after: float, hide: Callable[[str], str]
) -> PlaneError:
    """The error for an answer that is no. `hide` takes out of its text what nobody may see."""
    try:
        trouble = Refusal.model_validate_json(body).error
    except ValidationError:
        trouble = None
    message = hide(f"{text}: {_line(trouble.message or trouble.code)}" if trouble else text)
    if status in (401, 403):
        return TokenRefused(message, retry_after=retry_after)
    if status in (400, 413, 422):
        return NotTakeable(message, too_large=status == 413)
    if status == 404 and trouble and trouble.code == "unknown_run":
        return NotKnown(message)
    run = _run_in(body, run_id)
    if status == 409 and trouble:
        return Conflict(message, trouble.code, run)
    return PlaneError(message, retry_after=retry_after, run=run)


def _run_in(body: bytes, run_id: str) -> Status | None:
    try:
        return Status.read(body, run_id)
    except ValueError:
        return None


def _first(error: ValidationError) -> str:
    """What is wrong first, without the input: it may be anything."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return _line(f"{place}: {first['msg']}" if place else str(first["msg"]))


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
