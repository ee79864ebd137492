"""The MCP servers of a run, as the file that Claude Code reads them from. Pure. Their tokens make it a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adapter.agent.config import AgentConfig
from adapter.agent.context import McpServer, RunContext


def mcp_servers(context: RunContext, config: AgentConfig) -> dict[str, dict[str, Any]]:
    """The servers by name: those of the run's context, and the agent's own, which win."""
    found: dict[str, dict[str, Any]] = {}
    for server in context.runtime_mcp or ():
        found[_free_name(server, found)] = _entry(server)
    return found | {name: dict(server) for name, server in config.mcp_servers.items()}


def mcp_file(servers: Mapping[str, Any]) -> bytes:
    """The servers as `--mcp-config` wants them."""
    return json.dumps({"mcpServers": servers}).encode()


def _entry(server: McpServer) -> dict[str, Any]:
    token = server.token.get_secret_value() if server.token else ""
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    return {"type": "http", "url": server.url, **headers}


def _free_name(server: McpServer, taken: Mapping[str, object]) -> str:
    """Two connections to one kind of server bear one name; the control plane's own adapter tells them apart so, too."""
    marked = "-".join(filter(None, (server.name, (server.connection_id or "")[:8])))
    numbered = (f"{marked}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (server.name, marked, *numbered) if name not in taken)
