"""The commands that look at a run which another process supervises, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.contract.accounts import documented, with_token
from tests.contract.conftest import Ended, Object, Place, ended

pytestmark = pytest.mark.timeout(300)
"""Each of these tests starts up to a dozen processes."""

COUNT = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.02; done"
SLOWLY = COUNT.replace("0.02", "0.5")
"""For as long as it takes until others have joined."""
COUNTED = "".join(f"line {n}\n" for n in range(1, 41))
ENDLESS = "trap 'echo ended; exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that fails leaves commands behind which look for ever, since an outage is none of their ends."""
    yield
    left = [one for one in psutil.Process().children() if "adapter.cli" in one.cmdline()]
    for process in left:
        process.kill()
    assert not left


async def command(place: Place, name: str, *arguments: str, **environment: str) -> Ended:
    return await ended(await place.command(name, *arguments, environment=environment))


async def started(place: Place, run_id: str, script: str, *options: str) -> asyncio.subprocess.Process:
    """A run that has said its first line."""
    process = await place.start("--run-id", run_id, *options, "--", "sh", "-c", script)
    assert process.stdout
    assert process.stderr
    if await process.stdout.readline() != b"line 1\n":
        raise AssertionError(await process.stderr.read())
    return process


async def rows(place: Place, *options: str) -> list[Object]:
    """What `ps --json` tells."""
    listed = await command(place, "ps", "--json", *options)
    assert (listed.status, listed.err) == (0, "")
    return [json.loads(line) for line in listed.out.splitlines()]


async def test_a_run_is_seen_followed_described_and_cancelled_by_others(place: Place) -> None:
    run = await started(place, "endless", ENDLESS, "--grace", "5")
    logs = asyncio.create_task(command(place, "logs", "-f", "endless"))
    attached = asyncio.create_task(command(place, "attach", "endless"))
    [row] = await rows(place)
    assert (row["runId"], row["state"], row["outcome"]) == ("endless", "running", None)
    listed = await command(place, "ps")
    assert re.match(r"RUN +STATE +OUTCOME .*\nendless +running +- ", listed.out)
    told = await command(place, "describe", "endl")
    assert (told.status, told.err) == (0, "")
    for words in ("state       running", "Job         ck-endless-", "claude: running", "let run", "claude-k8s cancel"):
        assert words in told.out
    cancelled = await command(place, "cancel", "endless", "--reason", "enough", "--wait")
    assert cancelled.status == 0, cancelled.err
    assert "run endless is cancelled" in cancelled.err
    assert "cancelled [cancelled]: cancelled: enough; claude: terminated (exit 0, Completed)" in cancelled.err
    ran, followed, looked = await ended(run), await logs, await attached
    assert (ran.status, followed.status, looked.status) == (130, 0, 130), (ran.err, followed.err, looked.err)
    assert followed.out == looked.out == "line 1\n" + ran.out
    assert followed.out.endswith("ended\n")
    assert "cancelling: enough" in looked.err
    assert "cancelled: enough" in ran.err
    await place.empty()


async def test_a_run_that_ends_is_told_as_it_was_to_its_supervisor(place: Place) -> None:
    run = await started(place, "counts", SLOWLY + "; exit 3")
    attached = asyncio.create_task(command(place, "attach", "counts", "--json"))
    followed = await command(place, "logs", "-f", "counts")
    ran, looked = await ended(run), await attached
    assert (ran.status, looked.status, followed.status) == (3, 3, 0), (looked.err, followed.err)
    assert followed.out == COUNTED
    texts = [line["text"] for line in map(json.loads, looked.out.splitlines()) if line["type"] == "log"]
    assert "".join(texts) == COUNTED
    assert (looked.result["outcome"], looked.result["exit_code"]) == ("failed", 3)
    await place.empty()


async def test_a_finished_run_is_told_for_as_long_as_it_is_kept(place: Place) -> None:
    ran = await place.run("--run-id", "kept", "--keep", "--", "sh", "-c", COUNT + "; exit 3")
    assert ran.status == 3
    assert await rows(place) == []
    [row] = await rows(place, "--all")
    assert (row["state"], row["outcome"], row["result"]["exit_code"]) == ("finished", "failed", 3)
    none = await command(place, "ps")
    assert none.out == ""
    assert "(1 finished: --all)" in none.err
    looked = await command(place, "attach", "kept")
    assert (looked.status, looked.out) == (3, COUNTED), looked.err
    assert looked.err.splitlines()[-1].startswith("claude-k8s: failed [exit_code]: claude: terminated (exit 3, Error)")
    for options in ((), ("-f",)):
        assert (await command(place, "logs", "kept", *options)).out == COUNTED
    cancelled = await command(place, "cancel", row["job"])
    assert (cancelled.status, cancelled.out) == (0, "")
    assert "has ended already (failed: claude: terminated (exit 3, Error))" in cancelled.err
    told = await command(place, "describe", "kept", "--json")
    account = json.loads(told.out)
    happened = [moment["what"] for moment in account["happened"]]
    assert account["run"]["result"] == row["result"]
    assert happened[0] == f"Job {row['job']} created"
    assert "container claude: terminated (exit 3, Error)" in happened
    assert any(what.startswith("the Job is failed (BackoffLimitExceeded") for what in happened)


async def test_ctrl_c_stops_looking_and_nothing_else(place: Place) -> None:
    run = await started(place, "goes-on", SLOWLY)
    attached = await place.command("attach", "goes-on")
    assert attached.stdout
    assert await attached.stdout.readline() == b"line 1\n"
    attached.send_signal(signal.SIGINT)
    looked = await ended(attached)
    assert looked.status == 130
    assert "the run goes on, and `claude-k8s attach goes-on` comes back to it" in looked.err
    ran = await ended(run)
    assert (ran.status, "line 1\n" + ran.out) == (0, COUNTED)
    await place.empty()


async def test_a_run_that_nobody_supervises_any_more(place: Place) -> None:
    run = await started(place, "orphan", ENDLESS, "--grace", "5")
    run.kill()
    await ended(run)
    attached = await place.command("attach", "orphan", environment={})
    assert attached.stdout
    assert await attached.stdout.readline() == b"line 1\n"  # it looks, before there is nothing left to look at
    cancelled = await command(place, "cancel", "orphan", "--wait")
    assert cancelled.status == 0, cancelled.err
    looked = await ended(attached)
    assert looked.status == 130, looked.err
    assert looked.out.startswith("line 2\n")
    assert looked.out.endswith("ended\n")
    await place.empty()


async def test_why_a_run_does_not_start(place: Place) -> None:
    process = await place.start("--run-id", "stuck", "--service-account", "nobody", "--", "true")
    assert process.stderr
    while b"no pod: " not in (said := await process.stderr.readline()):
        assert said, "it ended before it said why there is no pod"
    told = await command(place, "describe", "stuck")
    assert "state       pending" in told.out
    assert 'serviceaccount "nobody" not found' in told.out
    assert "hint        Create the service account" in told.out
    cancelled = await command(place, "cancel", "stuck", "--wait")
    assert cancelled.status == 0, cancelled.err
    assert (await ended(process)).status == 130
    await place.empty()


@pytest.mark.cluster
@pytest.mark.parametrize("place", ["real"], indirect=True)
async def test_the_role_is_enough_to_look_and_to_cancel(place: Place, tmp_path: Path) -> None:
    await documented(place)
    run = await started(place, "endless", ENDLESS, "--grace", "5")
    limited = await with_token(place, tmp_path)
    attached = asyncio.create_task(command(limited, "attach", "endless"))
    for name in ("ps", "describe", "logs"):
        ran = await command(limited, name, *(["endless"] if name != "ps" else []))
        assert (ran.status, ran.err) == (0, "")
    cancelled = await command(limited, "cancel", "endless", "--wait")
    assert cancelled.status == 0, cancelled.err
    looked, ran = await attached, await ended(run)
    assert (looked.status, looked.out) == (130, "line 1\n" + ran.out), looked.err
    assert "forbidden" not in looked.err + cancelled.err


@pytest.mark.parametrize("name", ["logs", "attach", "cancel", "describe"])
async def test_no_such_run(place: Place, name: str) -> None:
    ran = await command(place, name, "nobody")
    assert (ran.status, ran.out) == (125, "")
    [line] = ran.err.splitlines()
    assert line.startswith("claude-k8s: no run 'nobody' of instance ")
    assert f"in namespace {place.namespace}; " in line
    assert "claude-k8s ps --all" in line


async def test_which_run_is_meant(place: Place) -> None:
    for run_id in ("twin-1", "twin-2"):
        assert (await place.run("--run-id", run_id, "--keep", "--", "true")).status == 0
    both = await command(place, "describe", "twin")
    assert (both.status, both.out) == (125, "")
    assert both.err == "claude-k8s: 'twin' fits 2 runs: twin-1, twin-2\n"
    elsewhere = await command(place, "attach", "twin-1", "--instance", "staging")
    assert elsewhere.status == 125
    assert "there is one of instance" in elsewhere.err
    assert (await command(place, "attach", "twin-1", "--instance", "staging", "--all-instances")).status == 0
    assert "--all-instances" in (await command(place, "ps", "--instance", "staging")).err
    assert len(await rows(place, "--all", "--all-instances", "--instance", "staging")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("attach",), "Missing argument 'RUN'"),
        (("logs", "x", "--service", "nowhere"), "--service nowhere: not an address such as http://"),
        (("ps", "--service", "http://127.0.0.1:9"), "http://127.0.0.1:9: no answer from the service"),
        (("cancel", "x", "--service", "http://127.0.0.1:9", "--service-token-file", "/no/such"), "/no/such: No such"),
        (("ps", "--local"), "no embedded cluster is running here"),
        (("describe", "x", "--kubeconfig", "/no/such/file"), "no kubeconfig at /no/such/file"),
    ],
)
async def test_bad_input_is_one_clear_line(
    place: Place, arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    ran = await command(place, *arguments, XDG_STATE_HOME=str(tmp_path))
    assert (ran.status, ran.out) == (125, "")
    [line] = ran.err.splitlines()
    assert words in line


# -- through a service -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(place: Place, state: Path, token: str) -> AsyncIterator[str]:
    """A replica of the instance `shared`; its address."""
    where = ("--port", "0", "--state", str(state), "--instance", "shared")
    process = await place.command("serve", *where, environment={"CLAUDE_K8S_TOKEN": token})
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise AssertionError(line + (await ended(process)).err)
        yield found[0]
    finally:
        process.terminate()
        await ended(process)


async def test_a_run_of_a_service_is_seen_through_it_and_straight(place: Place, tmp_path: Path) -> None:
    token = secrets.token_hex(16)
    async with serving(place, tmp_path / "state", token) as url:
        command_line = ["sh", "-c", ENDLESS]
        body = {"request": {"runId": "served", "command": command_line, "grace": 5, "image": "busybox:1.36"}}
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
            assert (await client.post("/v1/runs", json=body, timeout=30)).status_code == 201
        here = {"CLAUDE_K8S_SERVICE": url, "CLAUDE_K8S_TOKEN": token}
        attached = await place.command("attach", "served", "--json", environment=here)
        straight = asyncio.create_task(command(place, "attach", "served", "--instance", "shared"))
        assert attached.stdout
        told = ""
        while '"line 1' not in told and (line := await attached.stdout.readline()):
            told += line.decode()
        [row] = [json.loads(line) for line in (await command(place, "ps", "--json", **here)).out.splitlines()]
        [seen] = await rows(place, "--instance", "shared")
        assert (row["runId"], row["state"], row["job"]) == ("served", "running", seen["job"])
        assert (seen["runId"], seen["state"]) == ("served", "running")
        assert seen["supervisor"] == row["supervisor"] is not None
        described = await command(place, "describe", "served", **here)
        assert "supervised by replica " in described.out
        assert (await command(place, "logs", "serv", **here)).out.startswith("line 1\n")
        refused = await command(place, "ps", CLAUDE_K8S_SERVICE=url)
        assert (refused.status, token in refused.err) == (125, False)
        assert "give its token with --service-token-file, or in CLAUDE_K8S_TOKEN" in refused.err
        cancelled = await command(place, "cancel", "served", "--reason", "enough", "--wait", **here)
        assert cancelled.status == 0, cancelled.err
        assert "cancelled: enough" in cancelled.err
        looked, direct = await ended(attached), await straight
        assert (looked.status, direct.status) == (130, 130), (looked.err, direct.err)
        texts = [line["text"] for line in map(json.loads, (told + looked.out).splitlines()) if line["type"] == "log"]
        assert "".join(texts) == direct.out
        assert direct.out.endswith("ended\n")
        nobody = await command(place, "cancel", "nobody", **here)
        assert (nobody.status, nobody.err.count("\n")) == (125, 1)


async def test_a_run_of_a_command_is_followed_and_cancelled_through_a_service(place: Place, tmp_path: Path) -> None:
    run = await started(place, "by-hand", ENDLESS, "--instance", "shared", "--grace", "5")
    async with serving(place, tmp_path / "state", "a-token") as url:
        here = {"CLAUDE_K8S_SERVICE": url, "CLAUDE_K8S_TOKEN": "a-token"}
        while not (await command(place, "ps", "--json", **here)).out:
            await asyncio.sleep(0.1)  # until its watch has told it of the Job
        looking = [await place.command(name, "by-hand", environment=here) for name in ("attach", "logs")]
        looking.append(await place.command("logs", "-f", "by-hand", environment=here))
        attached, _, following = looking
        for process in (attached, following):
            assert process.stdout
            assert await process.stdout.readline() == b"line 1\n"
        cancelled = await command(place, "cancel", "by-hand", "--wait", **here)
        assert cancelled.status == 0, cancelled.err
        looked, now, followed = [await ended(process) for process in looking]
        ran = await ended(run)
    assert (looked.status, now.status, followed.status, ran.status) == (130, 0, 0, 130), looked.err + followed.err
    assert looked.out == followed.out == ran.out
    assert ("line 1\n" + ran.out).startswith(now.out)
