"""Why a run cannot be started: the API server's answers, as codes of ours."""

from __future__ import annotations

from adapter.cluster.connection import ApiError, Unreachable
from adapter.errors import Code


class Refused(Exception):
    """The run cannot be started. Nothing runs, and nothing was left behind."""

    def __init__(self, code: Code, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)


def raise_if_final(error: ApiError | Unreachable, rejected: Code = Code.JOB_REJECTED) -> None:
    """Raises `Refused` for an answer that trying again would not change; `rejected` is what a plain no means."""
    if isinstance(error, Unreachable) or error.transient:
        return
    if error.status == 401:
        raise Refused(Code.UNAUTHORIZED, str(error)) from error
    if (error.status == 404 and error.kind == "namespaces") or "because it is being terminated" in error.message:
        raise Refused(Code.NAMESPACE, error.message) from error
    if error.status == 403 and "exceeded quota" not in error.message:
        raise Refused(Code.FORBIDDEN, error.message) from error
    raise Refused(rejected, error.message) from error


def refusal_of(error: ApiError | Unreachable) -> Refused:
    """A problem of the watch, as the reason why nothing was started."""
    try:
        raise_if_final(error)
    except Refused as refused:
        return refused
    return Refused(Code.API_UNREACHABLE, str(error))
