"""A control plane's run viewer: a line of a run's log as the entries that it shows.

The entries are Paperclip's `TranscriptEntry` (adapter-utils): `kind`, `ts` as it was given, and, by kind,
`assistant`, `thinking`, `user`, `system`, `stderr` and `stdout`: `text`; `tool_call`: `name`, `input`, `toolUseId`;
`tool_result`: `toolUseId`, `content`, `isError`; `init`: `model`, `sessionId`; `result`: `text`, `inputTokens`,
`outputTokens`, `cachedTokens`, `costUsd`, `subtype`, `isError`, `errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from adapter.agent.bounds import clean
from adapter.agent.showing import Event, amount, blocks_of, errors_of, event_of, failed, notice, objects, text, told
from adapter.agent.usage import count

Entry = dict[str, Any]


def parse_stdout_line(line: str, ts: str) -> list[Entry]:
    """A line of stdout, stream-json or not. What has nothing to show is shown as it is, of kind `stdout`.

    Never raises, and every entry is JSON that anybody can write. A blank line has no entries.
    """
    event = event_of(line)
    entries = [] if event is None else [{**entry, "ts": ts} for entry in _entries(event)]
    return entries or _plain("stdout", line, ts)


def parse_stderr_line(line: str, ts: str) -> list[Entry]:
    """A line of stderr, as it is."""
    return _plain("stderr", line, ts)


def _plain(kind: str, line: str, ts: str) -> list[Entry]:
    shown = clean(line.rstrip("\r\n"))
    return [{"kind": kind, "ts": ts, "text": shown}] if shown.strip() else []


def _entries(event: Event) -> Iterator[Entry]:
    if words := notice(event):
        yield {"kind": "system", "text": words}
    elif reader := _READERS.get(event["type"]):
        yield from reader(event)


def _system(event: Event) -> Iterator[Entry]:
    if event.get("subtype") == "init":
        model = text(event.get("model")) or "unknown"
        yield {"kind": "init", "model": model, "sessionId": text(event.get("session_id"))}


def _message(event: Event) -> Iterator[Entry]:
    speaker = event["type"]
    for block in blocks_of(event):
        if reader := _BLOCKS.get(text(block.get("type"))):
            yield from reader(block, speaker)


def _text(block: Event, speaker: str) -> Iterator[Entry]:
    if words := text(block.get("text")):
        yield {"kind": speaker, "text": words}


def _thinking(block: Event, _: str) -> Iterator[Entry]:
    if words := text(block.get("thinking")):
        yield {"kind": "thinking", "text": words}


def _call(block: Event, _: str) -> Iterator[Entry]:
    entry = {"kind": "tool_call", "name": text(block.get("name")) or "unknown", "input": block.get("input") or {}}
    named = text(block.get("id")) or text(block.get("tool_use_id"))
    yield entry | ({"toolUseId": named} if named else {})


def _answer(block: Event, _: str) -> Iterator[Entry]:
    named, content = text(block.get("tool_use_id")), told(block.get("content"))
    yield {"kind": "tool_result", "toolUseId": named, "content": content, "isError": block.get("is_error") is True}


def _result(event: Event) -> Iterator[Entry]:
    usage = objects(event.get("usage"))
    yield {
        "kind": "result",
        "text": text(event.get("result")),
        "inputTokens": count(usage.get("input_tokens")),
        "outputTokens": count(usage.get("output_tokens")),
        "cachedTokens": count(usage.get("cache_read_input_tokens")),
        "costUsd": amount(event.get("total_cost_usd")),
        "subtype": text(event.get("subtype")),
        "isError": failed(event),
        "errors": errors_of(event),
    }


_READERS: dict[str, Callable[[Event], Iterator[Entry]]] = {
    "system": _system,
    "assistant": _message,
    "user": _message,
    "result": _result,
}
_BLOCKS: dict[str, Callable[[Event, str], Iterator[Entry]]] = {
    "text": _text,
    "thinking": _thinking,
    "tool_use": _call,
    "server_tool_use": _call,
    "tool_result": _answer,
}
