"""The README's commands of the service, as they are written there; and what the process tells of itself meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

README = Path(__file__).parents[2] / "README.md"

BLOCKS = [block.partition("\n```")[0] for block in README.read_text().split("```sh\n")]
[COMMANDS] = [block for block in BLOCKS if "serve --local" in block]

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the commands are made with curl")


def commands() -> tuple[str, list[str]]:
    """What is left running, and what is said to it, without the comments."""
    first, *rest = (line.partition("  #")[0].strip() for line in COMMANDS.splitlines())
    return first, rest


@asynccontextmanager
async def service(command: str, tmp_path: Path) -> AsyncIterator[str]:
    """The first command; only its port and its directory are a test's. Where it is heard."""
    program, *arguments = command.split()
    assert program == ".venv/bin/claude-k8s"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "adapter.cli", *arguments, "--port", "0", "--state", str(tmp_path / "state")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        first = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        yield first.split()[2]
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def said(command: str, url: str) -> tuple[int, str]:
    """One of the other commands: its exit code, and its output."""
    here = command.replace("localhost:8642", url.removeprefix("http://"))
    environment = {"PATH": os.environ["PATH"], "no_proxy": "*"}
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", here], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


async def test_the_four_commands_work_as_written(tmp_path: Path) -> None:
    serve, (post, follow, cancel) = commands()
    follow = re.sub(r"--max-time \d+", "--max-time 3", follow)
    async with service(serve, tmp_path) as url:
        status, answer = await said(post, url)
        assert (status, json.loads(answer)["runId"]) == (0, "one")
        status, lines = await said(follow, url)
        assert status == 28, "it follows for as long as it may"
        assert any(json.loads(line)["type"] == "log" for line in lines.splitlines())
        status, answer = await said(cancel, url)
        assert (status, '"error"' in answer) == (0, False)
        status, lines = await said(follow.replace("--max-time 3", "--max-time 60"), url)
        result = json.loads(lines.splitlines()[-1])["result"]
        assert (status, result["outcome"], "seen enough" in result["message"]) == (0, "cancelled", True)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            metrics = (await client.get("/metrics")).text
            assert (await client.get("/healthz")).status_code == (await client.get("/readyz")).status_code == 200
    [lags] = re.findall(r"^claude_k8s_loop_lag_seconds_count (\S+)$", metrics, re.MULTILINE)
    assert float(lags) > 0, "how late the event loop is, is measured all the time"
