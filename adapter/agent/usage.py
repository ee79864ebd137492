"""What a run used of its model: tokens, each message of it counted once, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from adapter.agent.bounds import word

_MOST = 2**53 - 1
_OPEN = 16
"""Messages whose tokens may still grow. Claude Code writes one at a time for each agent that works side by side."""

_ID_BYTES = 64

_MESSAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_MODEL = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")


def count(value: object) -> int:
    """A number of tokens, turns or the like; 0 for anything else."""
    return value if type(value) is int and 0 <= value <= _MOST else 0


class Usage(NamedTuple):
    """Tokens. `input` is what neither came from the cache nor went into it, as the provider's API counts."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    @classmethod
    def together(cls, each: Iterable[Usage]) -> Usage:
        """The sum."""
        return cls(*(min(sum(column), _MOST) for column in zip(cls(), *each, strict=True)))

    @property
    def total(self) -> int:
        """All kinds of tokens together."""
        return sum(self)

    @classmethod
    def of_message(cls, value: object) -> Usage | None:
        """The `usage` of an API message or of a result event."""
        return cls._of(value, _MESSAGE)

    @classmethod
    def of_models(cls, value: object) -> Usage | None:
        """The `modelUsage` of a result event: the models of a run, summed. It knows of sub-agents, `usage` does not."""
        if not isinstance(value, dict) or not value:
            return None
        return cls.together(cls._of(one, _MODEL) or cls() for one in value.values())

    @classmethod
    def of_result(cls, event: Mapping[str, Any]) -> Usage | None:
        """What a result event tells: the larger of its two accounts."""
        accounts = (cls.of_models(event.get("modelUsage")), cls.of_message(event.get("usage")))
        return max((one for one in accounts if one is not None), key=lambda one: one.total, default=None)

    @classmethod
    def _of(cls, value: object, names: tuple[str, ...]) -> Usage | None:
        if type(value) is not dict:
            return None
        told = [value.get(name) for name in names]
        # `count` written out: this runs for every line.
        counts = [one if type(one) is int and 0 <= one <= _MOST else 0 for one in told]
        return None if told.count(None) == len(names) else cls._make(counts)

    @classmethod
    def from_json(cls, data: object) -> Usage:
        """Reads a list of the four numbers; anything else is nothing used."""
        return cls(*map(count, data)) if isinstance(data, list) and len(data) == len(_MESSAGE) else cls()


class Ledger:
    """Tokens by message. A message is written once for each of its blocks, with counts that grow: the last ones count.

    (Summing every line over-counts by 1.8 in the median session, keeping the first one loses a third of the output.)
    """

    def __init__(self) -> None:
        self._closed = Usage()
        self._open: dict[str, Usage] = {}
        self._seen = False
        self._message: object = None
        self._id = ""
        self._latest: object = None  # not read before another message comes: most lines are of the same one

    def note(self, message: object, usage: object) -> bool:
        """Notes the `usage` of a line of a message, known by its id. Whether it is the first line known of it."""
        if self._id and message == self._message:
            if type(usage) is dict and type(usage.get("output_tokens")) is int:
                self._latest = usage
            return False
        self._settle()
        self._message, self._id, self._latest = message, word(message, _ID_BYTES), usage
        return self._id not in self._open

    def _settle(self) -> None:
        message, usage = self._id, Usage.of_message(self._latest)
        self._message, self._id, self._latest = None, "", None
        self._seen = self._seen or usage is not None
        if usage is not None or (message and message not in self._open):
            self._open[message] = usage or Usage()
        if "" in self._open:
            self._close("")
        elif len(self._open) > _OPEN:
            self._close(next(iter(self._open)))

    def _close(self, message: str) -> None:
        self._closed = Usage.together((self._closed, self._open.pop(message)))

    @property
    def total(self) -> Usage | None:
        """All that was used; None when no line has said anything of it."""
        self._settle()
        return Usage.together((self._closed, *self._open.values())) if self._seen else None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` reads it back."""
        self._settle()
        opened = [[message, *usage] for message, usage in self._open.items()]
        return {"seen": self._seen, "closed": [*self._closed], "open": opened}

    @classmethod
    def from_json(cls, data: object) -> Ledger:
        """Reads what `to_json` wrote; what is not of that shape is left out."""
        ledger = cls()
        if not isinstance(data, dict):
            return ledger
        ledger._seen = data.get("seen") is True
        ledger._closed = Usage.from_json(data.get("closed"))
        opened = data.get("open")
        for one in opened[:_OPEN] if isinstance(opened, list) else ():
            if isinstance(one, list) and one and isinstance(one[0], str):
                ledger._open[one[0]] = Usage.from_json(one[1:])
        return ledger
