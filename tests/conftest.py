"""What all tests share: figures that are measured and told at the end, never asserted."""

from __future__ import annotations

from typing import Any

import pytest

CLOSINGS = pytest.StashKey[list[float]]()
"""Seconds from a container's `terminated` to its follow's close, as the server saw both."""

TOLD = pytest.StashKey[list[str]]()
"""What tests have measured, in words."""


def say(config: pytest.Config, text: str) -> None:
    """Has something printed at the end, whichever worker it comes from."""
    config.stash[TOLD].append(text)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CLOSINGS], config.stash[TOLD] = [], []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its figures to whoever started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output |= {"closings": session.config.stash[CLOSINGS], "told": session.config.stash[TOLD]}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    output = getattr(node, "workeroutput", {})
    for key, name in ((CLOSINGS, "closings"), (TOLD, "told")):
        node.config.stash[key].extend(output.get(name, ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    measured = config.stash[CLOSINGS]
    if closings := sorted(measured):
        median, late = (closings[int(len(closings) * share)] * 1000 for share in (0.5, 0.99))
        text = (
            f"{len(closings)} follows, closed after `terminated`: median {median:.1f} ms, p99 {late:.1f} ms (aim: 50)"
        )
        terminalreporter.write_line(text)
    for text in config.stash[TOLD]:
        terminalreporter.write_line(text)
