"""Where in the agent's pod things are that the adapter puts there. Paths, and nothing else."""

from __future__ import annotations

from adapter.agent.checks import OURS

IN = f"{OURS}/in"
"""The run's Secret, mounted read-only."""
IO = f"{OURS}/io"
"""What the pod's containers tell each other."""
DOCKER = f"{OURS}/docker"
"""The Docker daemon's socket, where there is one."""

PROMPT = "prompt.txt"
MCP = "mcp.json"
BUNDLE = "bundle"
"""Below `IN`."""
