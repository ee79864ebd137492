"""An agent's stream-json for people in a terminal: who says what, which tools, how it ended and what it cost.

What an agent prints is anybody's text. None of it reaches the terminal as a control sequence, and every line of it but
the first stands indented below its speaker, so that it cannot pass for another event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from adapter.agent import showing
from adapter.agent.lines import Lines
from adapter.agent.showing import Event, amount, blocks_of, compact, errors_of, event_of, failed, objects, text
from adapter.agent.usage import count

FEW = 6
"""Lines of a tool's answer that are shown."""

LEAST_WIDTH = 40
"""A narrower terminal wraps."""

_TELLING = ("command", "file_path", "notebook_path", "path", "pattern", "url", "query", "skill", "description")
"""Inputs of Claude Code's tools that say the most, in one line; the first there is stands for all of them."""

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor, erasing
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # titles, links, clipboards
    r"|\x1b[ -/]*[0-Z\\^-~]"  # character sets, resets
)
_JOINERS = "\u200c\u200d"
"""Not printable, but part of words and of emoji."""


def harmless(words: str) -> str:
    """Text that a terminal only shows: newlines, tabs and what is printable; other control characters as spaces."""
    if words.replace("\n", "").replace("\t", "").isprintable():
        return words
    bare = _SEQUENCES.sub("", words.replace("\r\n", "\n"))
    return "".join(char if char.isprintable() or char in "\n\t" or char in _JOINERS else " " for char in bare)


class Renderer:
    """Feed it a log's bytes, however they are cut, and print what it answers. Constant memory; nothing makes it raise.

    `width`: columns, for what is shown in one line. `debug`: events nobody knows are shown too.
    """

    def __init__(self, color: bool, width: int, debug: bool = False) -> None:
        self._color, self._width, self._debug = color, max(width, LEAST_WIDTH), debug
        self._lines = Lines()
        self._said = ""

    def feed(self, data: bytes) -> str:
        """What the next bytes add; text ends with a newline, and nothing is shown before its line is complete."""
        return self._all(self._lines.feed(data))

    def close(self) -> str:
        """What an unfinished line has, at the end or where the log has a gap. It can be fed again."""
        return self._all(self._lines.close())

    def _all(self, lines: Iterable[bytes]) -> str:
        shown = "".join(map(self._line, lines))
        skipped, size = self._lines.take_skipped()
        return shown + (
            self._say("skipped", f"{skipped} lines, {size} bytes: too long", fg="yellow") if skipped else ""
        )

    def _line(self, line: bytes) -> str:
        words = line.decode("utf-8", "replace").rstrip("\r")
        event = event_of(words)
        if event is None:
            return f"{harmless(words)}\n" if words.strip() else ""
        return "".join(self._event(event))

    def _event(self, event: Event) -> Iterator[str]:
        if words := showing.notice(event):
            yield self._say("note", words, dim=True)
        elif reader := _READERS.get(event["type"]):
            yield from reader(self, event)
        if self._debug and event["type"] not in _READERS and words is None:
            yield self._unknown(event)

    def _unknown(self, event: Event) -> str:
        return self._say("event", self._one_line(compact(event)), dim=True)

    def _system(self, event: Event) -> Iterator[str]:
        if event.get("subtype") == "init":
            session, cwd = text(event.get("session_id")), text(event.get("cwd"))
            facts = [text(event.get("model")) or "unknown", f"session {session}" if session else "", cwd]
            yield self._say("init", ", ".join(filter(None, facts)), fg="blue")
        elif self._debug:
            yield self._unknown(event)

    def _message(self, event: Event) -> Iterator[str]:
        for block in blocks_of(event):
            if reader := _BLOCKS.get(text(block.get("type"))):
                yield from reader(self, event, block)

    def _text(self, event: Event, block: Event) -> Iterator[str]:
        words = text(block.get("text"))
        if not words.strip():
            return
        if event["type"] == "user":
            yield self._say(_who(event), self._few(words), dim=True)
            return
        self._said = self._said if _who(event) != "assistant" else words
        why = text(event.get("error"))
        if why or event.get("is_api_error_message") is True:
            yield self._say(f"{_who(event)}, error", f"{words} ({why})" if why else words, fg="red")
        else:
            yield self._say(_who(event), words, fg="green")

    def _thinking(self, _: Event, block: Event) -> Iterator[str]:
        words = text(block.get("thinking"))
        if words.strip():
            yield self._say("thinking", words, dim=True)

    def _call(self, event: Event, block: Event) -> Iterator[str]:
        name = text(block.get("name")) or "unknown"
        label = "tool" if _who(event) == "assistant" else "sub-agent tool"
        yield self._say(label, self._one_line(f"{name} {_short(block.get('input'))}".rstrip()), fg="yellow")

    def _answer(self, _: Event, block: Event) -> Iterator[str]:
        words = self._few(showing.told(block.get("content")))
        if block.get("is_error") is True:
            yield self._say("tool error", words, fg="red")
        else:
            yield self._say("tool result", words, dim=True)

    def _result(self, event: Event) -> Iterator[str]:
        words = text(event.get("result"))
        if words.strip() and words.strip() != self._said.strip():
            yield self._say("result", words, fg="green")
        for error in errors_of(event):
            yield self._say("error", error, fg="red")
        subtype = text(event.get("subtype"))
        facts = [subtype if subtype != "success" else "", *_figures(event)]
        label, colour = ("failed", "red") if failed(event) else ("done", "green")
        yield self._say(label, ", ".join(filter(None, facts)), fg=colour)

    def _say(self, label: str, words: str, **style: Any) -> str:
        """A speaker in its colour, and what is said below it, indented. What is dim is dim as a whole."""
        said = harmless(words).strip("\n").replace("\n", "\n  ")
        if style.get("dim"):
            return self._styled(f"{label}: {said}", **style) + "\n"
        return f"{self._styled(f'{label}:', bold=True, **style)} {said}".rstrip() + "\n"

    def _styled(self, words: str, **style: Any) -> str:
        return click.style(words, **style) if self._color else words

    def _one_line(self, words: str) -> str:
        """The beginning of a text, in one line of the terminal's width."""
        words = " ".join(harmless(words[: 4 * self._width]).split())
        room = self._width - len("sub-agent tool: ")
        return words if len(words) <= room else words[: room - 1] + "…"

    def _few(self, words: str) -> str:
        """The first lines of a text, each within the terminal's width, and how many there are more."""
        words = words.strip("\n")
        more = words.count("\n") + 1 - FEW
        lines = words[: FEW * 4 * self._width].split("\n")[:FEW]
        cut = [line if len(line) < self._width else line[: self._width - 3] + "…" for line in map(harmless, lines)]
        return "\n".join([*cut, f"… {more} lines more"] if more > 0 else cut)


def _who(event: Event) -> str:
    return f"sub-agent {event['type']}" if event.get("parent_tool_use_id") else str(event["type"])


def _short(given: object) -> str:
    """A tool's input in a few words: what says the most of it, else all of it."""
    fields = objects(given)
    telling = next((fields[name] for name in _TELLING if text(fields.get(name)).strip()), None)
    return telling or (compact(given) if given else "")


def _figures(event: Event) -> Iterator[str]:
    """Turns, time, tokens and cost of a result, as far as they are told; tokens always."""
    usage = objects(event.get("usage"))
    turns, took = count(event.get("num_turns")), amount(event.get("duration_ms"))
    tokens = [count(usage.get(name)) for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")]
    if turns:
        yield f"{turns} turn{'s' if turns > 1 else ''}"
    if took:
        yield _duration(took / 1000)
    yield "tokens: {} in, {} out, {} cached".format(*tokens)
    if event.get("total_cost_usd") is not None:
        yield f"${amount(event['total_cost_usd']):.4f}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


_READERS: dict[str, Callable[[Renderer, Event], Iterator[str]]] = {
    "system": Renderer._system,
    "assistant": Renderer._message,
    "user": Renderer._message,
    "result": Renderer._result,
}
_BLOCKS: dict[str, Callable[[Renderer, Event, Event], Iterator[str]]] = {
    "text": Renderer._text,
    "thinking": Renderer._thinking,
    "tool_use": Renderer._call,
    "server_tool_use": Renderer._call,
    "tool_result": Renderer._answer,
}
