"""The victim: a process of `claude-k8s serve`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import anyio

from tests.contract.conftest import Place, _warnings
from tests.service.processes import COMMAND, Process, free_port

INSTANCE = "proof"


class Where(Protocol):
    """A namespace of a cluster."""

    @property
    def kubeconfig(self) -> str: ...
    @property
    def namespace(self) -> str: ...


class Victim(Process):
    """One replica. Started again with its state directory it is the same one; with another one it is not."""

    def __init__(self, where: Where, directory: Path, name: str, *options: str, **how: Any) -> None:
        port = str(free_port())
        place = "--kubeconfig", where.kubeconfig, "--namespace", where.namespace, "--instance", INSTANCE
        super().__init__(directory / f"{name}.log", "serve", *place, "--port", port, *options, **how)
        self._states, self._lives = str(directory / name), 1
        self.url = f"http://127.0.0.1:{port}"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return Path(f"{self._states}-{self._lives}")

    @property
    def replica(self) -> str:
        """Its name among the replicas, once it has one."""
        return (self.state / "identity").read_text().strip()

    def arguments(self) -> tuple[str, ...]:
        return *super().arguments(), "--state", str(self.state)

    def lose_state(self) -> None:
        """The next life begins with an empty directory."""
        self._lives += 1


@asynccontextmanager
async def victim(
    place: Place, directory: Path, name: str = "one", command: tuple[str, ...] = COMMAND
) -> AsyncIterator[Victim]:
    """A service that is starting."""
    one = Victim(place, directory, name, command=command, warnings=_warnings(place.real))
    await one.start()
    try:
        yield one
    finally:
        with anyio.CancelScope(shield=True):
            await one.discard()
