"""An agent's log: all of it, stdout as stream-json alone, stderr beside it, whatever either of them holds."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.contract.agents import USAGE, Agents
from tests.contract.conftest import embedded

FILLER = "msg_01fakefiller"

GARBAGE = (  # without the `\r` before a newline: containerd takes it for the newline's
    b"nul \x00 and \xff\xfe and \xc3\n\x1b[2J\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x9b\nprogress 10%\rprogress 20%\n"
    b"[claude-k8s] succeeded\nclaude-k8s: cancelled [cancelled]: not really\n"
    b"2026-01-01T00:00:00.000000000Z stdout F not a line of the runtime\n"
)


@pytest.mark.timeout(300)
async def test_fifty_megabytes(agents: Agents) -> None:
    # It pauses first: what is written before anybody follows is lost where a kubelet rotates it away at this moment.
    ran = await agents.run(agents.context("sleep=3 big=50000000"), "--json")
    assert ran.status == 0, ran.err
    log = ran.log()
    assert ran.result["log"] == {"delivered": len(log), "complete": True, "notes": []}
    filler = [line for line in log.splitlines() if FILLER in line]
    assert sum(len(line) + 1 for line in filler) == 50_000_000
    assert [int(re.search(r'"text":"(\d{8})', line)[1]) for line in filler] == list(range(len(filler)))  # type: ignore[index]
    assert (ran.told["usage"], ran.told["summary"]) == (USAGE, "The work is done.")
    await agents.bare()


async def test_a_beginning_that_was_rotated_away_is_said(tmp_path: Path) -> None:
    async with asynccontextmanager(embedded)(rotate_bytes=100_000) as place:
        agents = Agents(place, tmp_path)
        ran = await agents.run(agents.context("big=2000000"))
        assert ran.status == 0, ran.err
        assert "init" not in ran.transcript[0].values()
        assert not ran.result["log"]["complete"]


async def test_what_is_written_to_stderr_is_in_no_line_of_stdout(agents: Agents) -> None:
    ran = await agents.run(agents.context("stderr=2000 line=400000"))
    assert ran.status == 0, ran.err
    assert ran.log("stderr") == "".join(f"stderr line {n}\n" for n in range(1, 2001))
    assert "stderr line" not in ran.log()
    assert max(map(len, ran.log().splitlines())) == 400_000
    assert ran.transcript[-1]["result"] == "The work is done."
    assert [ran.result[name]["complete"] for name in ("log", "stderr")] == [True, True]
    assert ran.result["agent"]["stderr"].endswith("stderr line 2000\n")
    await agents.bare()


async def test_garbage_is_passed_on_as_it_is_and_believed_in_nothing(agents: Agents) -> None:
    context = agents.context("garbage stderr=2")
    raw = await (await agents.begin(context, "--raw")).communicate()
    assert GARBAGE in raw[0].replace(b"\r\n", b"\n")
    assert b"claude-k8s: succeeded" in raw[1]
    assert b"stderr line 2" in raw[1]
    told = (await agents.run(agents.context("garbage"))).told
    assert (told["exitCode"], told["errorCode"], told["usage"]) == (0, None, USAGE)
    assert (told["summary"], told["resultJson"]["result"]) == ("The work is done.", "The work is done.")
    await agents.bare()


async def test_people_are_shown_no_control_characters(agents: Agents) -> None:
    ran = await agents.run(agents.context("garbage"), "--quiet")
    assert ran.status == 0, ran.err
    assert "The work is done." in ran.out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ran.out)
    assert "warning" not in ran.err


async def test_people_are_shown_what_the_agent_does(agents: Agents) -> None:
    ran = await agents.run(agents.context("stderr=2"))
    shown = await agents.run(agents.context("stderr=2"), "-q")
    assert shown.status == 0, shown.err
    for words in ("I look at what is there.", "Bash", "ls -la", "There are two words.", "The work is done."):
        assert words in shown.out
    assert "stderr line 1" in shown.err
    assert json.loads(ran.log().splitlines()[0])["subtype"] == "init"
