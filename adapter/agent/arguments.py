"""The agent's command line. Pure. The prompt is not on it, but on stdin: an argument is seen by everybody."""

from __future__ import annotations

from collections.abc import Iterator

from adapter.agent import checks
from adapter.agent.bundle import INSTRUCTIONS, Bundle
from adapter.agent.config import AgentConfig
from adapter.agent.layout import BUNDLE, IN, MCP
from adapter.agent.workspace import Workspace
from adapter.errors import InvalidRequest

LONGEST = 256 * 1024
"""Bytes of all arguments together. They are a part of the Job, which everybody reads who lists Jobs."""


def arguments(
    config: AgentConfig, workspace: Workspace, *, session: str | None, bundle: Bundle, mcp: bool
) -> tuple[str, ...]:
    """What follows the command: print stream-json for the prompt on stdin, in the session, if one is given.

    `mcp` says that there is a file of MCP servers. Raises `InvalidRequest` for what no process can be given.
    """
    made = tuple(_arguments(config, workspace, session, bundle, mcp))
    size = sum(len(part.encode()) for part in (*config.command, *made))
    if size > LONGEST:
        raise InvalidRequest(
            f"command and extraArgs have {size} bytes together, more than {LONGEST}: put what is long into a file"
        )
    return made


def _arguments(
    config: AgentConfig, workspace: Workspace, session: str | None, bundle: Bundle, mcp: bool
) -> Iterator[str]:
    yield from ("--print", "-", "--output-format", "stream-json", "--verbose")
    if session:
        yield from ("--resume", _session(session))
    if config.dangerously_skip_permissions:
        yield "--dangerously-skip-permissions"
    if config.model:
        yield from ("--model", config.model)
    if config.effort:
        yield from ("--effort", config.effort)
    if config.max_turns_per_run:
        yield from ("--max-turns", str(config.max_turns_per_run))
    # A session has its instructions already: given again they cost 5,000 to 10,000 tokens each time.
    instructions = None if session else instructions_path(config, workspace, bundle)
    if instructions:
        yield from ("--append-system-prompt-file", instructions)
    if bundle.skills:
        yield from ("--add-dir", f"{IN}/{BUNDLE}")
    if mcp:
        yield from ("--mcp-config", f"{IN}/{MCP}", "--strict-mcp-config")
    yield from config.extra_args


def instructions_path(config: AgentConfig, workspace: Workspace, bundle: Bundle) -> str | None:
    """Where in the pod the agent's instructions are: in the bundle, else on the volume that pod and host share."""
    if INSTRUCTIONS in bundle.files:
        return f"{IN}/{BUNDLE}/{INSTRUCTIONS}"
    return workspace.path(config.instructions_file_path)


def _session(session: str) -> str:
    try:
        return checks.word(session)
    except ValueError as error:
        raise InvalidRequest(f"context.runtime.sessionId {error}") from None
