"""`claude-k8s demo`: four short runs on the embedded cluster, and a picture of what their tasks did."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import click
import structlog
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.cli.clusters import never_by_proxy, run_loop
from adapter.cli.output import clean
from adapter.cli.settings import CONTEXT
from adapter.plane import Event, LogChunk
from adapter.plane.callbacks import CallbackPlane
from adapter.run import Outcome, RunRequest, RunResult
from adapter.service import Adapter

BESIDE = 38
"""Columns for what stands beside a bar."""

TASKS = ("watch", "follow", "deliver", "keepalive", "drain", "report")

COUNT = "for i in 1 2 3 4; do echo line $i; sleep 0.3; done"
EAT = "import time; print('eating', flush=True); time.sleep(1); eaten = bytearray(400_000_000); time.sleep(60)"


@dataclass(frozen=True, slots=True)
class Scene:
    """One run of the demo, and what is to be seen in it."""

    name: str
    title: str
    command: tuple[str, ...]
    expected: Outcome
    memory: str | None = None
    hang: bool = False


SCENES = (
    Scene("success", "a success: its log is streamed as it is written", ("sh", "-c", COUNT), Outcome.SUCCEEDED),
    Scene(
        "exit-3",
        "exit 3 at once: the pod failed before it was ever seen running, and its three lines are shown all the same",
        ("sh", "-c", "echo one; echo two; echo three; exit 3"),
        Outcome.FAILED,
    ),
    Scene(
        "hung-follow",
        "a follow that never ends after the container has: the run returns at once all the same",
        ("sh", "-c", COUNT),
        Outcome.SUCCEEDED,
        hang=True,
    ),
    Scene(
        "oom",
        "a container that eats more memory than it may: killed, and the result says why",
        (sys.executable, "-c", EAT),
        Outcome.FAILED,
        memory="150Mi",
    ),
)


@dataclass
class Take:
    """What was recorded of one scene. Times are seconds of the event loop's clock."""

    scene: Scene
    result: RunResult
    spans: dict[str, tuple[float, float]]
    stream: tuple[float, float] | None
    end: float
    began: float
    returned: float
    problems: list[str] = field(default_factory=list)


@click.command(context_settings=CONTEXT)
def demo() -> int:
    """Run four short Jobs on the embedded cluster and draw what their tasks did.

    Their commands run on THIS machine, as you. Nothing is left behind.
    """
    never_by_proxy()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console(highlight=False)
    takes = run_loop(_play(console))
    for take in takes:
        console.print(_timeline(take, max(20, console.width - BESIDE)))
    console.print(_verdict(takes))
    return 0 if not any(take.problems for take in takes) else 1


async def _play(console: Console) -> list[Take]:
    from adapter.local import LocalCluster, Timing  # only who asks for the embedded cluster pays for it

    console.print("The embedded cluster speaks the Kubernetes wire; its pods run on THIS machine, as you.\n")
    # The order of events is the real one; the pauses between them are those of an idle, quick machine.
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(LocalCluster(timing=Timing.real()))
        connecting = Adapter.connect(kubeconfig=str(cluster.kubeconfig), instance="demo")
        adapter = await stack.enter_async_context(connecting)
        return [await _scene(console, cluster, adapter, scene) for scene in SCENES]


async def _scene(console: Console, cluster: Any, adapter: Adapter, scene: Scene) -> Take:
    from adapter.local import Fault

    console.print(f"[bold]{scene.name}[/bold]: {scene.title}")
    handle = cluster.faults.add(Fault.hang_log_after_end()) if scene.hang else None
    events: list[Event] = []
    plane = CallbackPlane(
        on_log=lambda chunk: _show(console, chunk), on_event=lambda event: _event(console, events, event)
    )
    began = anyio.current_time()
    request = RunRequest(run_id=scene.name, command=scene.command, memory=scene.memory, grace=2)
    result = await adapter.run(request, plane)
    returned = anyio.current_time()
    if handle:
        handle.remove()
    console.print(f"  [bold]=> {result.outcome}[/bold] \\[{result.code}] {clean(result.message)}\n", markup=True)
    take = Take(scene, result, _spans(events), _stream(cluster, result), _end(cluster, result), began, returned)
    return replace(take, problems=list(_problems(take)))


def _show(console: Console, chunk: LogChunk) -> None:
    for line in chunk.data.decode("utf-8", "replace").splitlines():
        console.print(f"  | {clean(line)}", markup=False)


def _event(console: Console, events: list[Event], event: Event) -> None:
    events.append(event)
    if event.kind == "container":
        console.print(f"  [dim]{clean(event.message)}[/dim]")


def _spans(events: list[Event]) -> dict[str, tuple[float, float]]:
    times: dict[str, dict[str, float]] = {}
    for event in events:
        if event.kind == "task":
            times.setdefault(event.data["task"], {})[event.data["state"]] = event.at
    return {task: (at["began"], at["ended"]) for task, at in times.items() if len(at) == 2}


def _stream(cluster: Any, result: RunResult) -> tuple[float, float] | None:
    """When the server saw the run's last log follow opened and closed."""
    mine = [s for s in cluster.streams if f"/{result.pod}/" in s.path and "follow" in s.query and s.closed_at]
    return (mine[-1].opened_at, mine[-1].closed_at) if mine else None


def _end(cluster: Any, result: RunResult) -> float:
    """When the server first told that the container had terminated."""
    for change in cluster.history:
        if change.object["metadata"]["name"] == result.pod:
            statuses = change.object.get("status", {}).get("containerStatuses", ())
            if any("terminated" in status.get("state", {}) for status in statuses):
                return float(change.at)
    return 0.0


def _problems(take: Take) -> Iterator[str]:
    if take.result.outcome is not take.scene.expected:
        yield f"expected {take.scene.expected}, got {take.result.outcome}"
    if not take.result.log.complete:
        yield "the log is incomplete"
    if take.stream and take.stream[1] > take.returned:
        yield "a log stream outlived its run"


def _timeline(take: Take, width: int) -> Table:
    """Each task as a bar; the server's log stream beneath; the end of the container as a line through all."""
    table = Table(box=None, padding=(0, 1), title=f"{take.scene.name}", title_justify="left", title_style="bold")
    for justify in ("right", "left", "left"):
        table.add_column(justify=justify, no_wrap=True)
    bars = [(task, take.spans[task], "cyan") for task in TASKS if task in take.spans]
    if take.stream:
        bars.insert(2, ("log stream", take.stream, "magenta"))
    for name, span, colour in bars:
        table.add_row(name, _bar(take, span, colour, width), _remark(take, name, span))
    table.add_row("", _bar(take, (take.end, take.end), "red", width), f"terminated at {take.end - take.began:.2f} s")
    return table


def _bar(take: Take, span: tuple[float, float], colour: str, width: int) -> Text:
    cells = [" "] * (width + 1)
    first, last = (_column(take, at, width) for at in span)
    cells[first : last + 1] = "━" * (last - first + 1)
    text = Text("".join(cells), style=colour)
    mark = _column(take, take.end, width)
    return Text.assemble(text[:mark], ("┃", "red"), text[mark + 1 :])


def _column(take: Take, at: float, width: int) -> int:
    share = (at - take.began) / (take.returned - take.began)
    return round(width * min(1.0, max(0.0, share)))


def _remark(take: Take, name: str, span: tuple[float, float]) -> str:
    late = (span[1] - take.end) * 1000
    if name == "follow":
        return f"cancelled {late:+.0f} ms"
    if name == "log stream":
        return f"server: closed {late:+.0f} ms"
    return f"accepted {late:+.0f} ms" if name == "report" else ""


def _verdict(takes: list[Take]) -> Text:
    problems = [f"{take.scene.name}: {problem}" for take in takes for problem in take.problems]
    if problems:
        return Text("\n".join(problems), style="bold red")
    return Text(
        "\nNo stream outlived its Job. The red line is the container's end: nothing that reads the log crosses it."
    )
