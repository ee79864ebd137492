"""One container of a pod: its states, its instances, their logs."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from typing import TYPE_CHECKING, Any

from . import lastwords, times
from .environment import expand, quantity, rewriter, variables
from .guard import MARK
from .logfile import ContainerLog
from .processes import Process
from .volumes import mount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .guard import Guard
    from .store import Object, Store

STARTING = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: exec: "
)
LOST = "The container could not be located when the pod was terminated"


class Container:
    """What the kubelet knows of a container, before the API is told."""

    def __init__(self, spec: Mapping[str, Any], uid: str, place: Path, rotate_bytes: int) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.memory_limit = quantity(((spec.get("resources") or {}).get("limits") or {}).get("memory", 0))
        self.state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        self.last: dict[str, Any] = {}
        self.restarts = 0
        self.process: Process | None = None
        self.logs: list[ContainerLog] = []
        self.out_of_memory = False
        self.ended_at = 0.0
        self._uid, self._place, self._rotate_bytes = uid, place, rotate_bytes
        self._words = place

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def terminated(self) -> Mapping[str, Any] | None:
        return self.state.get("terminated")

    @property
    def is_sidecar(self) -> bool:
        return self.spec.get("restartPolicy") == "Always"

    @property
    def container_id(self) -> str:
        seed = f"{self._uid}/{self.name}/{self.restarts}"
        return f"containerd://{hashlib.sha256(seed.encode()).hexdigest()}"

    def waits(self, reason: str, message: str | None = None) -> None:
        self.state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}

    def start(self, store: Store, pod: Object, volumes: Mapping[str, Path], guard: Guard, status: Object) -> None:
        """Raises ConfigError while something is missing. A command that cannot be started is an end, too."""
        env = variables(store, pod, self.spec, status)
        argv, env, cwd = self._arrange(env, volumes, guard)
        self.close_logs()
        log = ContainerLog(self._place / self.name / f"{self.restarts}.log", self._rotate_bytes)
        self.logs = [*self.logs[-1:], log]
        self.out_of_memory = False
        try:
            self.process = Process(argv, env, cwd, log, guard)
        except (OSError, ValueError) as error:
            self._could_not_start(argv[0], error)
        else:
            self.state = {"running": {"startedAt": times.now()}}

    def _arrange(
        self, env: dict[str, str], volumes: Mapping[str, Path], guard: Guard
    ) -> tuple[list[str], dict[str, str], Path]:
        """Command, environment and directory, with every mount path where it is on this machine."""
        root = self._place / self.name / "root"
        root.mkdir(parents=True, exist_ok=True)
        self._words = lastwords.prepare(self._place / self.name / f"{self.restarts}.last-words")
        paths = {self.spec.get("terminationMessagePath") or lastwords.DEFAULT: str(self._words)}
        here = rewriter(paths | mount(self.spec, root, volumes, env))
        words = [*(self.spec.get("command") or ()), *(self.spec.get("args") or ())]
        argv = [here(expand(word, env)) for word in words] or ["/pause"]
        env = {name: here(value) for name, value in env.items()}
        env |= {"CLAUDE_K8S_LOCAL_ROOT": str(root), MARK: guard.mark}
        return argv, env, self._directory(here, root)

    def _directory(self, here: Any, root: Path) -> Path:
        """A working directory that is nowhere mounted is made in the root; an existing one is taken as it is."""
        wanted = self.spec.get("workingDir")
        if not wanted:
            return root
        mapped = root.__class__(here(wanted))
        place = mapped if str(mapped) != wanted or mapped.is_dir() else root / wanted.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _could_not_start(self, command: str, error: OSError | ValueError) -> None:
        message = STARTING + _go_words(command, error)
        end = {"exitCode": 128, "reason": "StartError", "message": message}
        end |= {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": times.now()}
        self.state = {"terminated": end | {"containerID": self.container_id}}
        self.process = None
        self.logs[-1].close()

    async def end(self) -> None:
        """Wait for the process, and say how it ended."""
        if self.process is not None:
            code = await asyncio.shield(self.process.exited)
            self.ended_at = asyncio.get_running_loop().time()
            if self.running:
                self.state = {"terminated": self._terminated(code)}

    async def stop(self, grace: float) -> None:
        """End what runs of it: TERM, and KILL when its grace period is over."""
        if self.running and self.process is not None:
            await self.process.stop(grace)
            await self.end()

    def _terminated(self, code: int) -> dict[str, Any]:
        reason = "OOMKilled" if self.out_of_memory else "Completed" if code == 0 else "Error"
        end: dict[str, Any] = {"exitCode": code, "reason": reason}
        end |= {"message": words} if (words := self._last_words(code)) else {}
        times_ = {"startedAt": self.state["running"]["startedAt"], "finishedAt": times.now()}
        return end | times_ | {"containerID": self.container_id}

    def _last_words(self, code: int) -> str:
        """What it wrote for this; after a failure, where the policy says so, else the end of its log."""
        words = lastwords.read(self._words)
        if not words and code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return self.logs[-1].tail()
        return words

    def restart(self) -> None:
        """Make room for the next instance."""
        self.last = self.state
        self.restarts += 1
        self.waits("ContainerCreating")

    def lose(self) -> None:
        """The node no longer knows what became of it."""
        end = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": LOST}
        self.state = {"terminated": end | {"startedAt": None, "finishedAt": None}}

    def status(self, *, ready: bool) -> dict[str, Any]:
        """Its entry in the pod's status."""
        started = self.running
        entry: dict[str, Any] = {} if "waiting" in self.state else {"containerID": self.container_id}
        entry |= {"image": self.spec["image"], "imageID": "", "lastState": self.last, "name": self.name}
        entry |= {"ready": ready and started, "resources": self.spec.get("resources") or {}}
        return entry | {"restartCount": self.restarts, "started": started, "state": self.state}

    def close_logs(self) -> None:
        for log in self.logs:
            log.close()


def _go_words(command: str, error: OSError | ValueError) -> str:
    """As runc puts it."""
    if isinstance(error, ValueError):
        return f'"{command}": invalid argument: unknown'
    if error.errno == errno.ENOENT and "/" not in command:
        return f'"{command}": executable file not found in $PATH: unknown'
    if error.errno == errno.ENOENT:
        return f'"{command}": stat {command}: no such file or directory: unknown'
    words = {errno.EACCES: "permission denied", errno.ENOEXEC: "exec format error"}
    words |= {errno.E2BIG: "argument list too long"}
    return f'"{command}": {words.get(error.errno or 0, error.strerror)}: unknown'
