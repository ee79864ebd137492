"""Which values of a run are secret: they stand in no result, for what an agent says at its end is kept, and may repeat
them. Pure.

Not every variable: a summary in which each path and each id is blotted out says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE|PRIVATE|CERT|DSN|SIGNATURE", re.IGNORECASE)
"""What a variable or a header of a secret is called."""

_OPAQUE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_.:-]{16,}")
"""A value that is no word, path, address or id of the kind that people read."""
_PLAIN = re.compile(r"/|https?:|[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")


_IN_ADDRESS = re.compile(r"://[^/@:\s]*:([^/@\s]+)@")
"""The password in an address, such as a proxy's."""


def secrets_of(context: RunContext, config: AgentConfig, content: Mapping[str, bytes]) -> list[str]:
    """The secret values of a run whose Secret has this content."""
    texts = {key: value.decode("utf-8", "replace") for key, value in content.items() if key.startswith("env.")}
    variables = {key.removeprefix("env."): value for key, value in texts.items()}
    found = [value for name, value in variables.items() if _is_secret(name, value, name in config.env)]
    found += [password for value in variables.values() for password in _IN_ADDRESS.findall(value)]
    found += [value for server in config.mcp_servers.values() for value in _of_server(server)]
    found += [server.token.get_secret_value() for server in context.runtime_mcp or () if server.token]
    return [*found, *([context.auth_token.get_secret_value()] if context.auth_token else [])]


def _is_secret(name: str, value: str, given: bool) -> bool:
    """By its name; and, where an agent's configuration gives it, by its looks."""
    opaque = given and _OPAQUE.fullmatch(value) and not _PLAIN.match(value)
    return bool(_NAMES.search(name) or opaque)


def _of_server(server: Mapping[str, Any]) -> Iterator[str]:
    """What an MCP server is given in its environment and in its headers."""
    for part in ("env", "headers"):
        values = server.get(part)
        yield from (str(value) for value in (values if isinstance(values, Mapping) else {}).values() if value)
