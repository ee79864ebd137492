"""The module between its stand-ins."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.paperclip.scene import QUICK, Host, Rows, Sidecar, host, module_at


@dataclass
class Stage:
    """One service, one Paperclip and one module that both know."""

    sidecar: Sidecar
    rows: Rows
    module: Path
    host: Host


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        sidecar, rows = Sidecar(), Rows()
        for server in (sidecar, rows):
            await server.start()
            stack.push_async_callback(server.kill)
        module = module_at(tmp_path / "module", url=sidecar.url, times=QUICK)
        hosted = await stack.enter_async_context(host(module, PAPERCLIP_LISTEN_PORT=str(rows.port)))
        yield Stage(sidecar, rows, module, hosted)


@pytest.fixture
def old_node() -> str:
    """The machine's own Node, where there is one that the module names."""
    found = shutil.which("node")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout if found else ""
    if not found or int(version.removeprefix("v").partition(".")[0] or 0) < 20:
        pytest.skip("no other Node here")
    return found
