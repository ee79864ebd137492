"""What all tests share: figures that are measured and told at the end, never asserted."""

from __future__ import annotations

from typing import Any

import pytest

CLOSINGS = pytest.StashKey[list[float]]()
"""Seconds from a container's `terminated` to its follow's close, as the server saw both."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CLOSINGS] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its figures to whoever started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["closings"] = session.config.stash[CLOSINGS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[CLOSINGS].extend(getattr(node, "workeroutput", {}).get("closings", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    measured = config.stash[CLOSINGS]
    if closings := sorted(measured):
        median, late = (closings[int(len(closings) * share)] * 1000 for share in (0.5, 0.99))
        text = (
            f"{len(closings)} follows, closed after `terminated`: median {median:.1f} ms, p99 {late:.1f} ms (aim: 50)"
        )
        terminalreporter.write_line(text)
