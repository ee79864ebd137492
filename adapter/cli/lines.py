"""What a service tells of a run, line by line, as a command shows it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import anyio

from adapter.cli.output import Output
from adapter.cli.remote import RemoteError
from adapter.plane import Event, LogChunk, Stream
from adapter.run import RunResult

Line = Mapping[str, Any]


class Reader:
    """Takes a service's lines and hands them to an output. Log that was shown already is not shown again."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._shown: dict[Stream, int] = {}
        self.missed = False
        self.result: RunResult | None = None

    async def take(self, line: Line) -> None:
        """One line. What is not known is of a later version, and left. Raises `RemoteError` for what is garbled."""
        take = {"log": self._log, "event": self._event, "missed": self._missed, "bye": self._bye}
        try:
            if line["type"] == "result":
                self.result = RunResult.from_json(line["result"])
            elif line["type"] in take:
                await take[line["type"]](line)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise RemoteError(f"the service has sent a {line['type']!r} that cannot be read: {error!r}") from None

    async def _log(self, line: Line) -> None:
        data = base64.b64decode(line["base64"]) if "base64" in line else line["text"].encode("utf-8", "surrogatepass")
        stream = _stream(line)
        offset, shown = int(line["offset"]), self._shown.get(stream, 0)
        if offset + len(data) <= shown:
            return
        own = data[max(0, shown - offset) :]
        self._shown[stream] = offset + len(data)
        await self._output.log(
            LogChunk(
                offset=max(offset, shown),
                data=own,
                cursor=line.get("cursor", ""),
                stamp=str(line.get("stamp") or ""),
                continued=bool(line.get("continued")),
                stream=stream,
            )
        )

    async def _event(self, line: Line) -> None:
        data = {str(name): value for name, value in (line.get("data") or {}).items()}
        await self._output.event(
            Event(kind=str(line["kind"]), message=str(line["message"]), at=float(line.get("at") or 0.0), data=data)
        )

    async def _missed(self, line: Line) -> None:
        self.missed = True
        if "offset" in line:  # it may be counted anew
            self._shown[_stream(line)] = int(line["offset"])
        await self._say("log_gap", str(line["message"]))

    async def _bye(self, line: Line) -> None:
        await self._say("service", f"{line['message']}; looking for it again")

    async def _say(self, kind: str, message: str) -> None:
        await self._output.event(Event(kind=kind, message=message, at=anyio.current_time()))


def _stream(line: Line) -> Stream:
    return "stderr" if line["stream"] == "stderr" else "stdout"
