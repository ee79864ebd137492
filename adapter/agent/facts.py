"""What is kept of a transcript: a few facts, each bounded, so that they can be written down and gone on from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from adapter.agent.bounds import clip, last_bytes, newest, one_line, size
from adapter.agent.usage import Ledger

DUMP_BYTES = 24 * 1024
"""The most that the facts are as JSON: they are kept where a run's state is, in an annotation."""

TEXTS_BYTES = 64 * 1024
TAIL_BYTES = 4 * 1024
PLAIN_BYTES = 1024

T = TypeVar("T")

_ROOMS = (TEXTS_BYTES, 8192, 4096, 2048, 1024, 256, 128)


@dataclass(slots=True)
class Facts:
    """Plain JSON all of it but the ledger; a field's default says of what kind. `Transcript` says what they mean."""

    session_id: str = ""
    model: str = ""
    cwd: str = ""
    started: bool = False
    lines: int = 0
    unparsed: int = 0
    unparsed_bytes: int = 0
    lost: int = 0
    first_plain: str = ""
    tail: str = ""
    broken: bool = False
    messages: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    retries: int = 0
    spoke: bool = False
    output: bool = False
    empty: bool = False
    api_error: dict[str, Any] = field(default_factory=dict)
    rate_limit: dict[str, Any] = field(default_factory=dict)
    rejected_until: int = 0
    has_result: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    is_error: bool = False
    subtype: str = ""
    terminal_reason: str = ""
    stop_reason: str = ""
    status: int = 0
    errors: list[str] = field(default_factory=list)
    said: str = ""
    result_usage: list[int] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    turns: int = 0
    denials: int = 0
    texts: list[str] = field(default_factory=list)
    texts_bytes: int = 0
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def failed(self) -> bool:
        """Whether the last result says that the run failed.

        `subtype` alone does not tell: an API error is `success` with `is_error` (anthropics/claude-code#79500), and
        older versions give `error_max_turns` without it.
        """
        return self.is_error or self.subtype.startswith("error")

    def add_event(self) -> None:
        """Counts a line that is an event."""
        self.lines += 1
        self.broken = False

    def add_text(self, text: str) -> None:
        """Keeps one of the agent's texts, and forgets the oldest where they become too many."""
        if self.texts and self.texts[-1] == text:
            return
        self.texts.append(text)
        self.texts_bytes += len(text.encode())
        while self.texts_bytes > TEXTS_BYTES and len(self.texts) > 1:
            self.texts_bytes -= len(self.texts.pop(0).encode())

    def add_plain(self, text: str, length: int) -> None:
        """Counts a line that is no event. Of JSON and its fragments nothing is kept.

        Claude Code has written one event into the line of another (anthropics/claude-code#49640): neither half of that
        is plain text.
        """
        self.lines += 1
        self.unparsed += 1
        self.unparsed_bytes += length
        self.broken = text.startswith(("{", "[")) or (self.broken and text.endswith("}"))
        if not self.broken:
            self.first_plain = self.first_plain or one_line(text, PLAIN_BYTES)
            self.tail = last_bytes(f"{self.tail}\n{clip(text, TAIL_BYTES)}".strip(), TAIL_BYTES)

    def add_skipped(self, lines: int, length: int) -> None:
        """Counts lines that were skipped unread."""
        self.lines += lines
        self.lost += lines
        self.unparsed += lines
        self.unparsed_bytes += length

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON of at most 24 KiB: exact, but for texts that are too long for that."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)} | {"ledger": self.ledger.to_json()}
        for room in _ROOMS:
            texts = newest(self.texts, room)
            dump = plain | {"texts": texts, "texts_bytes": sum(len(text.encode()) for text in texts)}
            dump |= {name: clip(getattr(self, name), room) for name in ("said", "first_plain", "tail")}
            if size(dump) <= DUMP_BYTES:
                break
        return dump

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """Goes on from what `to_json` wrote. What is not of its shape is as if it had never been seen."""
        text = json.dumps(data, ensure_ascii=False).encode(errors="replace")
        document = json.loads(text, parse_constant=lambda _: None)  # neither half a surrogate pair nor NaN
        facts = cls(ledger=Ledger.from_json(document.get("ledger")))
        for each in fields(cls):
            value, default = document.get(each.name), getattr(facts, each.name)
            if type(value) is type(default):
                setattr(facts, each.name, value)
        facts.texts, facts.errors = _only(str, facts.texts), _only(str, facts.errors)
        facts.texts_bytes = sum(len(text.encode()) for text in facts.texts)
        facts.cost = _only(float, facts.cost)
        return facts


def _only(kind: type[T], values: Iterable[object]) -> list[T]:
    return [value for value in values if isinstance(value, kind)]
