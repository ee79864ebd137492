"""What of a run is secret or large: the content of its Secret, and which of it are files in the pod. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.agent.bundle import Bundle
from adapter.agent.environment import Environment
from adapter.agent.layout import BUNDLE, MCP, PROMPT
from adapter.agent.mcp import mcp_file
from adapter.errors import InvalidRequest

LIMIT = 1024 * 1024 - 32 * 1024
"""Bytes of keys and values together. A Secret takes 1 MiB of values; the rest is for what the cluster adds."""

READABLE = 0o444
"""By everybody in the pod: where it has no `fsGroup`, its files belong to root, and the agent is somebody else."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """The Secret's content, and the volume's `items`: key, path and mode of each file."""

    content: Mapping[str, bytes] = field(repr=False)
    items: tuple[Mapping[str, Any], ...]


def parcel(prompt: str, servers: Mapping[str, Any], environment: Environment, bundle: Bundle) -> Parcel:
    """Prompt, MCP servers, environment and bundle as one Secret. Raises `InvalidRequest` where they are too large."""
    places = {f"b{number}": place for number, place in enumerate(sorted(bundle.files))}
    parts = {
        "the prompt": {PROMPT: prompt.encode("utf-8", "replace")},
        "mcpServers": {MCP: mcp_file(servers)} if servers else {},
        "the environment": environment.content(),
        "skills and instructions": {key: bundle.files[place] for key, place in places.items()},
    }
    _check(parts)
    content = {key: value for part in parts.values() for key, value in part.items()}
    files = [{"key": key, "path": key, "mode": READABLE} for key in (PROMPT, MCP) if key in content]
    bundled = [
        {"key": key, "path": f"{BUNDLE}/{place}", "mode": READABLE | bundle.modes.get(place, 0) & 0o555}
        for key, place in places.items()
    ]
    return Parcel(content, (*files, *bundled))


def _check(parts: Mapping[str, Mapping[str, bytes]]) -> None:
    sizes = {name: sum(len(key) + len(value) for key, value in part.items()) for name, part in parts.items()}
    total = sum(sizes.values())
    if total > LIMIT:
        told = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items(), key=lambda one: -one[1]) if size)
        raise InvalidRequest(
            f"what travels in the run's Secret has {total} bytes, more than the {LIMIT} it can hold ({told}): shorten"
            " the largest, or put it into a file on the agent's volume"
        )
