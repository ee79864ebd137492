"""What can go wrong on the wire, switched on for the requests a pattern names."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

How = Literal["rst", "eof", "fin"]
"""a reset; a clean end; a connection closed in the middle of a chunked body, as a killed API server leaves it"""


@dataclass(frozen=True)
class Respond:
    status: int
    message: str
    reason: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Delay:
    seconds: float


@dataclass(frozen=True)
class NoHeaders:
    pass


@dataclass(frozen=True)
class LoseAnswer:
    how: How


@dataclass(frozen=True)
class Cut:
    after_bytes: int | None
    after_seconds: float | None
    how: How


@dataclass(frozen=True)
class Silence:
    pass


@dataclass(frozen=True)
class Gone:
    pass


@dataclass(frozen=True)
class HangAfterEnd:
    pass


@dataclass(frozen=True)
class Slow:
    bytes_per_second: float


@dataclass(frozen=True)
class Withhold:
    predicate: Callable[[str, dict[str, Any]], bool]
    events: int | None


Action = Respond | Delay | NoHeaders | LoseAnswer | Cut | Silence | Gone | HangAfterEnd | Slow | Withhold

WATCHES = {"query": {"watch": "true"}}
FOLLOWS = {"path": "*/log", "query": {"follow": "true"}}


@dataclass(frozen=True)
class Fault:
    """An action, and the requests it befalls.

    `path` is a glob, or a compiled regular expression that is searched for. `query` compares the values
    given, truth values by their truth (`watch=1` is `watch=true`). The first `skip` requests that match are
    left alone, then `count` of them are hit, or all.
    """

    action: Action
    method: str | None = None
    path: str | re.Pattern[str] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None
    skip: int = 0

    def matches(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        wanted = self.query.items()
        return (
            self.method in (None, method)
            and self._matches_path(path)
            and all(_truth(query.get(key)) == _truth(value) for key, value in wanted)
        )

    def _matches_path(self, path: str) -> bool:
        if isinstance(self.path, str):
            return fnmatchcase(path, self.path)
        return self.path is None or self.path.search(path) is not None

    @classmethod
    def hang_log_after_end(cls, **pattern: Any) -> Fault:
        """A follow that never ends, although its container has."""
        return cls(HangAfterEnd(), **FOLLOWS | pattern)

    @classmethod
    def no_headers(cls, **pattern: Any) -> Fault:
        """The request is taken, and nothing is ever answered."""
        return cls(NoHeaders(), **pattern)

    @classmethod
    def delay(cls, seconds: float, **pattern: Any) -> Fault:
        """An answer that is late."""
        return cls(Delay(seconds), **pattern)

    @classmethod
    def cut(
        cls,
        *,
        after_bytes: int | None = None,
        after_seconds: float | None = None,
        how: How = "rst",
        **pattern: Any,
    ) -> Fault:
        """A stream that ends after so many bytes or seconds (default: at once); any other answer is lost."""
        if after_bytes is None and after_seconds is None:
            after_seconds = 0.0
        return cls(Cut(after_bytes, after_seconds, how), **pattern)

    @classmethod
    def silent_watch(cls, **pattern: Any) -> Fault:
        """A watch that stays open and says nothing: no event, no bookmark."""
        return cls(Silence(), **WATCHES | pattern)

    @classmethod
    def silent_log(cls, **pattern: Any) -> Fault:
        """A follow that stays open and says nothing."""
        return cls(Silence(), **FOLLOWS | pattern)

    @classmethod
    def end_watch(cls, **pattern: Any) -> Fault:
        """A watch that ends cleanly as soon as it is opened."""
        return cls(Cut(None, 0.0, "eof"), **WATCHES | pattern)

    @classmethod
    def gone_event(cls, **pattern: Any) -> Fault:
        """A watch whose version is too old: 200, then an ERROR event."""
        return cls(Gone(), **WATCHES | pattern)

    @classmethod
    def respond(
        cls,
        status: int,
        message: str = "",
        reason: str | None = None,
        *,
        retry_after: int | None = None,
        **pattern: Any,
    ) -> Fault:
        """An error instead of an answer; the request is not carried out."""
        known, words = _ANSWERS.get(status, (None, "injected failure"))
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls(Respond(status, message or words, reason or known, headers), **pattern)

    @classmethod
    def throttled(cls, retry_after: int = 1, **pattern: Any) -> Fault:
        """429 with Retry-After."""
        return cls.respond(429, retry_after=retry_after, **pattern)

    @classmethod
    def unauthorized(cls, **pattern: Any) -> Fault:
        """401, once unless said otherwise."""
        return cls.respond(401, **{"count": 1} | pattern)

    @classmethod
    def lose_answer(cls, how: How = "rst", **pattern: Any) -> Fault:
        """The request is carried out, but the connection breaks before the answer; once unless said otherwise."""
        return cls(LoseAnswer(how), **{"count": 1} | pattern)

    @classmethod
    def slow(cls, bytes_per_second: float, **pattern: Any) -> Fault:
        """A stream that trickles."""
        return cls(Slow(bytes_per_second), **pattern)

    @classmethod
    def withhold(
        cls, predicate: Callable[[str, dict[str, Any]], bool], *, events: int | None = 1, **pattern: Any
    ) -> Fault:
        """Events no watch gets to see: the first `events` for which `predicate(type, object)` holds."""
        return cls(Withhold(predicate, events), **WATCHES | pattern)


_ANSWERS: dict[int, tuple[str | None, str]] = {
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden by an injected fault"),
    404: ("NotFound", "the server could not find the requested resource"),
    409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
    410: ("Expired", "The resourceVersion for the provided list is too old."),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "Internal error occurred: injected failure"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within requested timeout - context deadline exceeded"),
}


def _truth(value: str | None) -> str | None:
    """One spelling for each truth value; anything else as it is."""
    spellings = {"1": "true", "True": "true", "0": "false", "False": "false"}
    return spellings.get(value, value) if value is not None else None


class Handle:
    """A fault that is switched on."""

    def __init__(self, fault: Fault, faults: Faults) -> None:
        self.fault = fault
        self.hits = 0
        """requests hit; for withheld events, events"""
        self.lifted = asyncio.Event()
        self._faults = faults
        self._matched = 0
        self._withheld: set[int] = set()

    def remove(self) -> None:
        """Switch it off: whatever it holds back goes on."""
        self._faults.drop(self)
        self.lifted.set()

    def strikes(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        """Whether this request is one of those to be hit; counts."""
        if not self.fault.matches(method, path, query):
            return False
        self._matched += 1
        number = self._matched - self.fault.skip
        hit = number > 0 and (self.fault.count is None or number <= self.fault.count)
        self.hits += hit and not isinstance(self.fault.action, Withhold)
        return hit

    def withholds(self, version: int, type_: str, obj: dict[str, Any]) -> bool:
        """Whether this event is to be kept from the watches: the same from all of them."""
        action = self.fault.action
        if not isinstance(action, Withhold) or self.lifted.is_set():
            return False
        open_ = action.events is None or len(self._withheld) < action.events
        if version not in self._withheld and open_ and action.predicate(type_, obj):
            self._withheld.add(version)
            self.hits += 1
        return version in self._withheld


class Faults:
    """Those that are switched on."""

    def __init__(self, joined: Callable[[Handle], None]) -> None:
        self._handles: list[Handle] = []
        self._joined = joined

    def add(self, fault: Fault, **pattern: Any) -> Handle:
        """Switch a fault on, for streams that are already open, too; `pattern` overrides the fault's own."""
        handle = Handle(replace(fault, **pattern), self)
        self._handles.append(handle)
        self._joined(handle)
        return handle

    def drop(self, handle: Handle) -> None:
        if handle in self._handles:
            self._handles.remove(handle)

    def clear(self) -> None:
        for handle in list(self._handles):
            handle.remove()

    def striking(self, method: str, path: str, query: Mapping[str, str]) -> list[Handle]:
        """Those that hit this request."""
        return [handle for handle in self._handles if handle.strikes(method, path, query)]


def of_kind(handles: Iterable[Handle], *kinds: type[Any]) -> list[Handle]:
    """Those of some kinds that are still on."""
    return [handle for handle in handles if isinstance(handle.fault.action, kinds) and not handle.lifted.is_set()]
