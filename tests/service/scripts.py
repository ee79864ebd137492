"""What runs do, and by what it is known afterwards that they did it once, and that all of it was told.

Each script makes up a word of its own when it begins (a second execution would make up another one) and says it in
every line. What it must have printed is a function of that word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

WORD = "w=$(cat /proc/sys/kernel/random/uuid); "
STEPS = "i=0; while [ $i -lt {steps} ]; do {step}; i=$((i+1)); sleep {pace}; done; "
BURST = 'j=0; while [ $j -lt {lines} ]; do echo "$w $i.$j"; j=$((j+1)); done'
LONG = 'x="$w"; while [ ${#x} -lt 40000 ]; do x="$x$x"; done; '
STOP = "trap 'echo \"$w bye\"; exit 0' TERM; "


@dataclass(frozen=True, slots=True)
class Script:
    """What a run does: a command, and what is to be expected of it. `cancel`: it goes on until it is cancelled."""

    kind: str
    run_id: str
    shell: str
    exit_code: int = 0
    steps: int = 0
    lines: int = 1
    filler: int = 0
    newline: bool = True
    cancel: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def document(self, plane: str, marks: str | None) -> dict[str, Any]:
        """What is posted. `marks` is a file, where there can be one, in which each execution leaves its word."""
        mark = f'echo "$w" >> {marks}; ' if marks else ""
        request = {"runId": self.run_id, "command": ["sh", "-c", WORD + mark + self.shell], **self.fields}
        return {"request": request, "plane": {"url": plane}}

    @property
    def keeps_job(self) -> bool:
        """A cancelled run's Job is deleted."""
        return self.cancel is None

    @property
    def outcome(self) -> str:
        if self.cancel:
            return "cancelled"
        return "failed" if self.exit_code else "succeeded"

    def complaints(self, log: bytes, *, whole: bool) -> list[str]:
        """What is wrong with the log; with one that is not `whole`, with as much of it as there is."""
        if not log and not whole:
            return []
        word = log[:36].decode("ascii", "replace")
        if not re.fullmatch(r"[0-9a-f-]{36}", word):
            return [f"the log begins with {log[:60]!r}"]
        wanted = self._cancelled(word, log, whole) if self.cancel else self._whole(word)
        return [] if log == (wanted if whole else wanted[: len(log)]) else [_difference(log, wanted)]

    def told(self, execution: dict[str, Any]) -> list[str]:
        """Of a command nothing is told but its result."""
        return []

    def _whole(self, word: str) -> bytes:
        head = f"{word}{_doubled(word)}\n" if self.filler else ""
        body = "".join(f"{word} {i}.{j}\n" for i in range(self.steps) for j in range(self.lines))
        text = head + body + f"{word} end" + ("\n" if self.newline else "")
        return text.encode()

    def _cancelled(self, word: str, log: bytes, whole: bool) -> bytes:
        """As many lines as there are, and then its last word. It may be there although nobody could be sure of it."""
        lines = max(0, log.count(b"\n") - (whole or log.endswith(b"bye\n")))
        return "".join(f"{word} {n}.0\n" for n in range(lines)).encode() + f"{word} bye\n".encode()


def _doubled(word: str) -> str:
    while len(word) < 40000:
        word += word
    return f" {word}"


def _difference(log: bytes, wanted: bytes) -> str:
    at = next((n for n, (a, b) in enumerate(zip(log, wanted, strict=False)) if a != b), min(len(log), len(wanted)))
    place = max(0, at - 60)
    return f"{len(log)} bytes, not {len(wanted)}; at {at}: {log[place : at + 60]!r}, not {wanted[place : at + 60]!r}"


def lasting(run_id: str, seconds: float, lines: int = 1, exit_code: int = 0) -> Script:
    """So many lines five times a second, for about so long."""
    steps = max(1, round(seconds * 5))
    shell = STEPS.format(steps=steps, step=BURST.format(lines=lines), pace=0.2) + f'echo "$w end"; exit {exit_code}'
    return Script("lasting", run_id, shell, exit_code, steps, lines)


def quiet(run_id: str, seconds: float) -> Script:
    """Nothing for so long, and then a word."""
    return Script("quiet", run_id, f'sleep {seconds}; echo "$w end"; exit 1', 1)


def endless(run_id: str, by: str) -> Script:
    """Goes on until it is cancelled: by its control plane (`plane`), or through the service (`service`)."""
    shell = STOP + 'i=0; while :; do echo "$w $i.0"; i=$((i+1)); sleep 0.2; done'
    return Script("endless", run_id, shell, cancel=by, fields={"grace": 10})


def steady(run_id: str, chance: Random, steps: int) -> Script:
    """Some lines at a time."""
    lines, pace, code = chance.randint(1, 5), chance.choice((0.1, 0.2)), chance.choice((0, 0, 3, 77))
    step = BURST.format(lines=lines)
    shell = STEPS.format(steps=steps, step=step, pace=pace) + f'echo "$w end"; exit {code}'
    return Script("steady", run_id, shell, code, steps, lines)


def bursts(run_id: str, chance: Random, steps: int) -> Script:
    """Thousands of lines at a time, and long silences."""
    lines, few = chance.randint(500, 2000), max(2, steps // 8)
    shell = STEPS.format(steps=few, step=BURST.format(lines=lines), pace=2) + 'echo "$w end"'
    return Script("bursts", run_id, shell, 0, few, lines)


def long_line(run_id: str, chance: Random, steps: int) -> Script:
    """A line of many pieces, and none at the end of the last one."""
    body = STEPS.format(steps=steps, step=BURST.format(lines=1), pace=0.2)
    shell = LONG + 'echo "$w $x"; ' + body + 'printf "%s end" "$w"; exit 5'
    return Script("long line", run_id, shell, 5, steps, 1, filler=1, newline=False)


def silent(run_id: str, chance: Random, steps: int) -> Script:
    """Nothing, and then a word."""
    return quiet(run_id, steps // 5 + 1)


def brief(run_id: str, chance: Random, steps: int) -> Script:
    """Over at once."""
    return Script("brief", run_id, 'echo "$w end"')


def cancelled(run_id: str, chance: Random, steps: int) -> Script:
    """Goes on until it is cancelled: by its control plane, or through the service."""
    return endless(run_id, chance.choice(("plane", "service")))


KINDS = (steady, cancelled, bursts, brief, long_line, silent)


def scripts(chance: Random, count: int, steps: int) -> list[Script]:
    """So many scripts, of each kind in turn, of about `steps` steps."""
    kinds = [KINDS[n % len(KINDS)] for n in range(count)]
    return [
        kind(f"run/{n} {kind.__name__}", chance, max(2, round(steps * chance.uniform(0.5, 1.5))))
        for n, kind in enumerate(kinds)
    ]
