"""Agents among the runs: the fake `claude`, whose transcript must be there from its first line to its last."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.contract.agents import COST, FAKE, IMAGE, LITTLE, USAGE


@dataclass(frozen=True, slots=True)
class AgentScript:
    """An agent's run. Two of one `agent` come one after the other."""

    run_id: str
    agent: str
    seconds: int
    real: bool
    kind: str = "agent"
    cancel: str | None = None
    outcome: str = "succeeded"
    exit_code: int = 0
    keeps_job: bool = False

    def document(self, plane: str, marks: str | None) -> dict[str, Any]:
        """What is posted."""
        fake = {"image": IMAGE} if self.real else {"image": "any", "command": [str(FAKE)]}
        prompt = f"Do what is to be done.\nFAKE: big=200000 sleep={self.seconds}"
        context = {
            "runId": self.run_id,
            "agent": {"id": self.agent, "companyId": "acme", "name": self.agent},
            "authToken": "a-token-of-this-run",
            "config": {**fake, **LITTLE, "promptTemplate": prompt},
        }
        return {"context": context, "plane": {"url": plane}}

    def complaints(self, log: bytes, *, whole: bool) -> list[str]:
        """What is wrong with the transcript: each event of it has an id of its own, and all have one session."""
        events = [json.loads(line) for line in log.splitlines()]
        ids, sessions = (
            [event["uuid"] for event in events if "uuid" in event],
            {event["session_id"] for event in events},
        )
        facts = {"lines": len(events), "ids": len(set(ids)), "sessions": len(sessions)}
        wanted = {"lines": _lines(), "ids": len(ids), "sessions": 1}
        return [] if facts == wanted else [f"a transcript with {facts}, not {wanted}"]

    def told(self, execution: dict[str, Any]) -> list[str]:
        """What is wrong with what the control plane stores of it."""
        told = {name: execution.get(name) for name in ("usage", "costUsd", "summary")}
        wanted = {"usage": USAGE, "costUsd": COST, "summary": "The work is done."}
        return [] if told == wanted else [f"told {told}, not {wanted}"]


def _lines() -> int:
    """How many lines the fake writes when nothing happens to it."""
    command = ("sh", str(FAKE), "--print", "-", "--output-format", "stream-json", "--verbose")
    return subprocess.run(command, input=b"FAKE: big=200000", capture_output=True, check=True).stdout.count(b"\n")
