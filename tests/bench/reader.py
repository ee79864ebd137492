"""A program: one run with a fast log into a sink that counts and decodes. It says its pod, then what it took."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from adapter import Adapter, CallbackPlane, Event, LogChunk, RunRequest
from tests.bench.programs import quiet, say

WIDTH = 498
"""Characters of text in a line: with the number and the stamp about 540 bytes on the wire, as an agent's are."""

ATTACH = 3
"""Seconds for whoever else follows the pod."""


@dataclass(slots=True)
class Sink:
    """Counts lines and bytes, decodes them, and notes when the first and the last came."""

    lines: int = 0
    size: int = 0
    text: int = 0
    first: float = 0.0
    last: float = 0.0
    chunks: int = 0
    cpu: float = 0.0

    def log(self, chunk: LogChunk) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last
        text = chunk.data.decode("utf-8", "replace")
        self.lines += text.count("\n")
        self.text += len(text)
        self.size += len(chunk.data)
        self.chunks += 1

    def event(self, event: Event) -> None:
        if event.message == "claude: running":
            self.cpu = time.process_time()
            say(pod=event.data["pod"])


def main() -> None:
    quiet()
    options = _arguments()
    loop = _uvloop() if options.uvloop else None
    with asyncio.Runner(loop_factory=loop) as runner:
        sink, complete = runner.run(_read(options))
    cpu = time.process_time() - sink.cpu
    say(**asdict(sink) | {"cpu": cpu}, complete=complete, peak=_peak())


async def _read(options: argparse.Namespace) -> tuple[Sink, bool]:
    sink = Sink()
    request = RunRequest(run_id=f"read-{time.monotonic_ns()}", command=_command(options.lines), retain=60)
    async with Adapter.connect(kubeconfig=options.kubeconfig, namespace=options.namespace) as adapter:
        result = await adapter.run(request, CallbackPlane(on_log=sink.log, on_event=sink.event))
    assert result.ok, result.message
    return sink, result.log.complete


def _command(lines: int) -> tuple[str, ...]:
    """Prints so many lines as fast as it can, once whoever wants to see them is there."""
    text = "x" * WIDTH
    return ("sh", "-c", f"sleep {ATTACH}; exec awk 'BEGIN{{for(i=0;i<{lines};i++) printf \"%09d {text}\\n\", i}}'")


def _peak() -> float:
    """The most memory this process ever had, in MiB. (`ru_maxrss` would begin with what its parent had.)"""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _uvloop() -> type[asyncio.AbstractEventLoop]:
    import uvloop

    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig")
    parser.add_argument("namespace")
    parser.add_argument("lines", type=int)
    parser.add_argument("--uvloop", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
