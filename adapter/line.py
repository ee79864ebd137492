"""Whose turn it is: a cap on the runs of one process, and one at a time for each agent; the rest waits in order."""

from __future__ import annotations

from math import inf

import anyio


class Line:
    """The runs that are at work, and those that wait, in the order in which they came.

    `most` is how many may be at work at once. With `agents`, runs of one agent wait for each other here, where they
    keep their order, before they wait for the agent's lock, where all that come next have the same chance.
    """

    def __init__(self, most: float = inf, *, agents: bool = False) -> None:
        self.most, self._agents = most, agents
        self._at_work: dict[str, str | None] = {}
        self._waiting: dict[str, str | None] = {}
        self._changed = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def join(self, run_id: str, agent: str | None) -> str | None:
        """Takes the run's turn, if it has come; else why not, in words. Whoever waits keeps the place it has."""
        if run_id not in self._at_work:
            self._waiting.setdefault(run_id, agent)
            self._admit()
        return None if run_id in self._at_work else self._hindrance(agent)

    def enter(self, run_id: str, agent: str | None) -> None:
        """Counts a run that is at work whatever the cap says: its Job runs already."""
        self._waiting.pop(run_id, None)
        self._at_work[run_id] = agent

    def leave(self, run_id: str) -> None:
        """The run is over, or not ours any more: the places that are free go to those who came first."""
        self._at_work.pop(run_id, None)
        self._waiting.pop(run_id, None)
        self._admit()
        self._changed.set()
        self._changed = anyio.Event()

    async def change(self) -> None:
        """Waits until somebody has left."""
        await self._changed.wait()

    def _admit(self) -> None:
        busy = {agent for agent in self._at_work.values() if agent is not None and self._agents}
        for run_id, agent in list(self._waiting.items()):
            if len(self._at_work) >= self.most:
                return
            if agent not in busy:
                self.enter(run_id, agent)
                busy |= {agent} if agent is not None and self._agents else set()

    def _hindrance(self, agent: str | None) -> str:
        everybody = {**self._at_work, **self._waiting}.items()
        if self._agents and agent is not None and agent in self._at_work.values():
            return f"the agent is busy with run {next(run_id for run_id, whose in everybody if whose == agent)}"
        return f"as many runs are at work as may be at once: {self.most:g}"
