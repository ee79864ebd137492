"""How a call of `claude` is configured: by the environment, a file that it names, and our own configuration file.

In this order of precedence, field by field. Nothing is said on the command line, which is the CLI's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from adapter.agent.config import AgentConfig
from adapter.agent.problems import shown
from adapter.agent.raw import DOTTED, NO_EFFECT
from adapter.cli.contexts import document
from adapter.errors import InvalidRequest

PREFIX = "CLAUDE_K8S_"
CONFIG_FILE = "CLAUDE_K8S_AGENT_CONFIG"
"""Names a JSON or YAML file with an agent's configuration, as a control plane would give it."""

ELSEWHERE = frozenset(
    {
        *("model", "effort", "extraArgs", "maxTurnsPerRun", "dangerouslySkipPermissions", "mcpServers"),
        *("instructionsFilePath", "promptTemplate", "bootstrapPromptTemplate"),
        *("resumeLastSession", "retryFreshSession", "reattachOrphanedJobs", "secretRef"),
    }
)
"""Fields that mean nothing here: the caller's command line says it instead, or there is no such thing."""

FIELDS = {str(field.alias): PREFIX + name.upper() for name, field in AgentConfig.model_fields.items()}
FIELDS |= {name: PREFIX + name.replace(".", "_").upper() for name in DOTTED}
"""The fields by their names on the wire, and the variable of each."""

_TABLE = "configuration file: agent."
_OURS = {
    "context.runId": f"{PREFIX}RUN_ID",
    "context.agent.id": f"{PREFIX}AGENT_ID",
    "context.agent.companyId": "PAPERCLIP_COMPANY_ID",
    "context.authToken": "PAPERCLIP_API_KEY",
}
_NAME = re.compile(rf"\bconfig\.({'|'.join(sorted(map(re.escape, FIELDS), key=len, reverse=True))})\b")


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields that are set, by their names on the wire, and where each is set, as its user wrote it."""

    values: Mapping[str, Any] = field(repr=False)
    places: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def config(self) -> AgentConfig:
        """The configuration. Raises `InvalidRequest`, which names the variable or the file's key.

        A key that nobody knows is a mistake in our own file. A control plane's document may well have others.
        """
        with self.naming():
            config = AgentConfig.parse(self.values)
        if mistakes := [place for place in map(self.place, config.unknown) if place.startswith(_TABLE)]:
            raise InvalidRequest("; ".join(f"{place} is not known" for place in mistakes))
        return config

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Has an `InvalidRequest` about a field say the name that its user knows."""
        try:
            yield
        except InvalidRequest as error:
            text = _NAME.sub(lambda match: self.place(match[1]), str(error))
        else:
            return
        for name, ours in _OURS.items():
            text = text.replace(name, ours)
        # Raised outside of the handler: what was handled there may hold the input, secrets included.
        raise InvalidRequest(text)

    def place(self, name: str) -> str:
        """Where a field is set; if it is not, the variable that would set it."""
        above, dot, below = name.partition(".")
        if name in self.places or above not in self.places:
            return self.places.get(name) or FIELDS.get(name, name)
        return self.places[above] + dot + below


def settings(environ: Mapping[str, str], table: Mapping[str, Any]) -> Settings:
    """What is set by the environment, by the file that it names, and by the table of our own configuration file.

    Raises `InvalidRequest` for a file that cannot be read.
    """
    sources = (_of_table(table), _of_file(environ.get(CONFIG_FILE)), _of_environment(environ))
    found = {name: (value, place) for source in sources for name, value, place in source}
    used = {name: one for name, one in found.items() if name not in ELSEWHERE and name not in NO_EFFECT}
    return Settings(
        {name: value for name, (value, _) in used.items()},
        {name: place for name, (_, place) in used.items()},
        tuple(f"{place} has no effect on a call of claude" for name, (_, place) in found.items() if name not in used),
    )


Found = Iterator[tuple[str, Any, str]]
"""Name on the wire, value, and where it is set."""


def _of_table(table: Mapping[str, Any]) -> Found:
    """Names may be written as those of our own options are: `grace-sec` or `grace_sec` for graceSec."""
    names = {name.lower(): name for name in FIELDS}
    for key, value in table.items():
        yield names.get(key.replace("-", "").replace("_", "").lower(), key), value, _TABLE + shown(key)


def _of_file(path: str | None) -> Found:
    content = document(path) if path else {}
    if not isinstance(content, Mapping):
        raise InvalidRequest(f"{CONFIG_FILE}: {path} holds no configuration: it must be an object")
    for key, value in content.items():
        yield str(key), value, f"{path}: {shown(str(key))}"


def _of_environment(environ: Mapping[str, str]) -> Found:
    for name, variable in FIELDS.items():
        if value := environ.get(variable):
            yield name, value, variable
