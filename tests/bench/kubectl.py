"""`kubectl logs -f --timestamps`, measured: what the adapter's throughput is held against."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass

from tests.bench.places import Place

BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds from the first byte to the last, CPU seconds of the process, and the lines that came."""

    wall: float
    cpu: float
    lines: int


def find() -> str | None:
    """kubectl: $KUBECTL, or the one on the path."""
    return shutil.which(os.environ.get("KUBECTL") or "kubectl")


def follow(kubectl: str, place: Place, pod: str) -> Taken:
    """Follows a pod to its end. Blocks."""
    where = ("--kubeconfig", place.kubeconfig, "--namespace", place.namespace)
    command = (kubectl, *where, "logs", "-f", "--timestamps", pod, "-c", "claude")
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as pipe:
        wall, lines = _drain(pipe.fileno())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(wall, usage.ru_utime + usage.ru_stime, lines)


def _drain(pipe: int) -> tuple[float, int]:
    first = last = lines = 0.0
    while block := os.read(pipe, BLOCK):
        last = time.monotonic()
        first = first or last
        lines += block.count(b"\n")
    return last - first, int(lines)
