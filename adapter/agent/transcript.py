"""What the agent's stdout tells: Claude Code's stream-json, one JSON object a line, read as it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adapter.agent.bounds import shortened
from adapter.agent.events import read
from adapter.agent.facts import Facts
from adapter.agent.lines import Lines
from adapter.agent.usage import Usage

RESULT_BYTES = 16 * 1024
"""The most that is kept of a result event, as JSON."""


def _no_number(_: str) -> None:
    """NaN and Infinity, which Python's reader takes and JSON does not have."""


_decode: Callable[[str], Any] = json.JSONDecoder(parse_constant=_no_number).decode


_QUIET = (b'{"type":"user"', b'{"type":"stream_event"')
_FAILED, _INTRUDER = b'"is_error":true', b'{"type":"rate_limit_event"'


def _tells_nothing(line: bytes) -> bool:
    """Whether a line is a tool's good result, or a part of a message that comes whole later.

    Most of a run's bytes are in those, and decoding them is most of the work: they are known by how they begin. Within
    a JSON text `"is_error":true` would have backslashes, so it is not mistaken for a failed tool's. The other mark is
    of an event that was written into this line (`Facts.add_plain`).
    """
    return line.startswith(_QUIET) and line.endswith(b"}") and _FAILED not in line and _INTRUDER not in line


class Transcript:
    """A run's stdout so far, and what it told, in constant memory.

    Feed it bytes, however they are cut, and `close` it at the end. No bytes can make it raise.
    """

    def __init__(self, facts: Facts | None = None, lines: Lines | None = None) -> None:
        self._facts = facts or Facts()
        self._lines = lines or Lines()

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of stdout."""
        self._take(self._lines.feed(data))

    def close(self) -> None:
        """Takes what came after the last newline as a line. Nothing is fed after it."""
        self._take(self._lines.close())

    def _take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._read(line)
        self._facts.add_skipped(*self._lines.take_skipped())

    def _read(self, line: bytes) -> None:
        if _tells_nothing(line):
            self._facts.add_event()
            return
        text = line.decode("utf-8", "replace")
        try:
            event = _decode(text)
        except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nesting without end
            event = None
        if isinstance(event, dict):
            self._facts.add_event()
            read(self._facts, event)
        elif text := text.strip():
            self._facts.add_plain(text, len(line))

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON of at most 24 KiB, for `from_json`.

        Made at the end of a line it is exact, but for texts that are too long for it. Made within a line it says so
        (`cut`), and that line is lost.
        """
        return self._facts.to_json() | {"cut": self._lines.within}

    @classmethod
    def from_json(cls, data: object) -> Transcript:
        """Goes on from what `to_json` wrote. What is not of its shape is as if it had never been seen."""
        if not isinstance(data, dict):
            return cls()
        return cls(Facts.from_json(data), Lines(within=data.get("cut") is True))

    @property
    def session_id(self) -> str | None:
        """The agent's session, as it was named last."""
        return self._facts.session_id or None

    @property
    def model(self) -> str | None:
        """The model, as the agent's first event names it."""
        return self._facts.model or None

    @property
    def cwd(self) -> str | None:
        """The directory in the pod that the session belongs to: it can only be resumed from there."""
        return self._facts.cwd or None

    @property
    def started(self) -> bool:
        """Whether the agent has said that it is there (its `init` event)."""
        return self._facts.started

    @property
    def lines(self) -> int:
        """Lines that were not blank."""
        return self._facts.lines

    @property
    def unparsed(self) -> int:
        """Lines that were no JSON object, those that were skipped among them."""
        return self._facts.unparsed

    @property
    def unparsed_bytes(self) -> int:
        """The bytes of those lines, without their newlines."""
        return self._facts.unparsed_bytes

    @property
    def lost(self) -> int:
        """Lines that were skipped unread: longer than 16 MiB, or cut in two by a dump. They may have been anything."""
        return self._facts.lost

    @property
    def first_plain(self) -> str:
        """The first line of plain text; never JSON, whole or in pieces."""
        return self._facts.first_plain

    @property
    def tail(self) -> str:
        """The end of all plain text, at most 4 KiB."""
        return self._facts.tail

    @property
    def usage(self) -> Usage | None:
        """Tokens: of the last result, else of all messages. None when nothing was said of it."""
        told = self._facts.result_usage
        return Usage.from_json(told) if told else self._facts.ledger.total

    @property
    def cost_usd(self) -> float | None:
        """What the run cost, in US dollars, as the last result tells."""
        return next(iter(self._facts.cost), None)

    @property
    def summary(self) -> str:
        """The text of the last result; where it has none, the agent's last texts, joined. About 64 KiB at most."""
        return self._facts.said or "\n\n".join(self._facts.texts)

    @property
    def turns(self) -> int:
        """The turns of the last result, else the messages of the agent itself."""
        return self._facts.turns or self._facts.messages

    @property
    def tool_calls(self) -> int:
        """How many tools were called, by sub-agents too."""
        return self._facts.tool_calls

    @property
    def tool_errors(self) -> int:
        """How many calls of tools failed. That is everyday work: it never makes a run fail."""
        return self._facts.tool_errors

    @property
    def permission_denials(self) -> int:
        """How many calls of tools the last result says were not permitted."""
        return self._facts.denials

    @property
    def retries(self) -> int:
        """How often the agent asked its provider again."""
        return self._facts.retries

    @property
    def api_error(self) -> Mapping[str, Any] | None:
        """The provider's last error (`error`, `status`, `text`), unless the agent went on after it."""
        return self._facts.api_error or None

    @property
    def rate_limit(self) -> Mapping[str, Any] | None:
        """What was said last of the provider's limits: `status`, `resetsAt` and the like."""
        return self._facts.rate_limit or None

    @property
    def rejected_until(self) -> int | None:
        """When the limit that has rejected a request is reset, in seconds since 1970."""
        return self._facts.rejected_until or None

    @property
    def result(self) -> dict[str, Any] | None:
        """The last result event, as plain JSON of at most 16 KiB."""
        if not self._facts.has_result:
            return None
        said = {"result": self._facts.said} if self._facts.said else {}
        return shortened(self._facts.result | said, RESULT_BYTES)

    @property
    def ended(self) -> frozenset[str]:
        """The names that the last result gives to its end: its `subtype`, `terminal_reason` and `stop_reason`."""
        facts = self._facts
        return frozenset(filter(None, (facts.subtype, facts.terminal_reason, facts.stop_reason)))

    @property
    def subtype(self) -> str:
        """How the last result calls itself: `success`, which it may be with an error, or `error_...`."""
        return self._facts.subtype

    @property
    def status(self) -> int | None:
        """The HTTP status of the API's error that the last result tells."""
        return self._facts.status or None

    @property
    def said(self) -> str:
        """The last result's own text."""
        return self._facts.said

    @property
    def errors(self) -> tuple[str, ...]:
        """The errors that the last result lists, the first three."""
        return tuple(self._facts.errors)

    @property
    def failed(self) -> bool:
        """Whether the last result says that the run failed."""
        return self._facts.failed

    @property
    def spoke(self) -> bool:
        """Whether the agent itself has said or called anything."""
        return self._facts.spoke

    @property
    def truncated(self) -> bool:
        """Whether the agent was at work and its result has not come, or not come since."""
        return self._facts.output

    @property
    def api_empty(self) -> bool:
        """Whether the provider's last answer was empty (no stop reason, no tokens), and no result has come."""
        return self._facts.empty and not self._facts.has_result
