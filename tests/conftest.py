"""What all tests share."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Figures that are measured, never asserted."""
    from tests.wire.conftest import CLOSINGS

    if text := config.stash.get(CLOSINGS, None):
        terminalreporter.write_line(text)
