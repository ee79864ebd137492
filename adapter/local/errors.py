"""Failures as the API server words them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .resources import Resource


class ApiError(Exception):
    """An answer that is a `Status` of `Failure`."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.reason = code, message, reason
        self.details, self.headers = details, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The Status object, its keys in the order of the real one."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = self.message
        if self.reason is not None:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = dict(self.details)
        return status | {"code": self.code}


class Cause:
    """One violated rule of one field."""

    def __init__(self, field: str, message: str, reason: str = "FieldValueInvalid") -> None:
        self.field, self.message, self.reason = field, message, reason

    @classmethod
    def invalid(cls, field: str, value: object, why: str) -> Cause:
        return cls(field, f"Invalid value: {quoted(value)}: {why}")

    @classmethod
    def required(cls, field: str, why: str = "") -> Cause:
        return cls(field, "Required value" + (f": {why}" if why else ""), "FieldValueRequired")

    @classmethod
    def forbidden(cls, field: str, why: str) -> Cause:
        return cls(field, f"Forbidden: {why}", "FieldValueForbidden")

    def words(self) -> str:
        return f"{self.field}: {self.message}"

    def entry(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}


def quoted(value: object) -> str:
    """As Go's %#v shows a string, and %v anything else."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def details(resource: Resource, name: str = "", *, kind: str | None = None) -> dict[str, Any]:
    named = {"name": name} if name else {}
    grouped = {"group": resource.group} if resource.group else {}
    return named | grouped | {"kind": kind or resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, f'{resource.qualified} "{name}" not found', "NotFound", details(resource, name))


def unknown_path() -> ApiError:
    return ApiError(404, "the server could not find the requested resource", "NotFound", {})


def already_exists(resource: Resource, name: str, *, deleting: bool = False) -> ApiError:
    prefix = "object is being deleted: " if deleting else ""
    text = f'{prefix}{resource.qualified} "{name}" already exists'
    return ApiError(409, text, "AlreadyExists", details(resource, name))


def conflict(resource: Resource, name: str, why: str, *, kind: str | None = None) -> ApiError:
    what = f"{kind}.{resource.group}" if kind and resource.group else kind or resource.qualified
    text = f'Operation cannot be fulfilled on {what} "{name}": {why}'
    return ApiError(409, text, "Conflict", details(resource, name, kind=kind))


def stale(resource: Resource, name: str) -> ApiError:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def bad_request(message: str) -> ApiError:
    return ApiError(400, message, "BadRequest")


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    return ApiError(403, f'{resource.qualified} "{name}" is forbidden: {why}', "Forbidden", details(resource, name))


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    words = list(dict.fromkeys(cause.words() for cause in causes))
    text = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    what = f"{kind}.{group}" if group else kind
    named = {"name": name} if name else {}
    grouped = {"group": group} if group else {}
    entries = [cause.entry() for cause in causes]
    body = named | grouped | {"kind": kind, "causes": entries}
    return ApiError(422, f'{what} "{name}" is invalid: {text}', "Invalid", body)


def expired(asked: int, oldest: int) -> ApiError:
    return ApiError(410, f"too old resource version: {asked} ({oldest})", "Expired")


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")
