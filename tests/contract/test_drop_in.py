"""A link named `claude`, called as anything calls the CLI: what it says and ends with is what the CLI does."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.contract.accounts import documented, restricted, with_token
from tests.contract.agents import FAKE, IMAGE, Agents
from tests.contract.conftest import Place, _warnings
from tests.contract.volumes import kept

STREAM = ("-p", "--output-format", "stream-json", "--verbose")
CANARY = "canary-4711"
PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)


@dataclass(frozen=True)
class Call:
    """What a call of `claude` came to."""

    status: int
    out: bytes
    err: bytes

    @property
    def complaint(self) -> str:
        """The one line that the adapter says where it has failed itself."""
        assert (self.status, self.out) == (125, b"")
        [line] = self.err.decode().splitlines()
        assert line.startswith("claude-k8s: ")
        return line


@dataclass(frozen=True)
class Cli:
    """The link, and where its Jobs are."""

    agents: Agents
    link: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return self.agents.place

    def given(self, **environ: str) -> Cli:
        """The same, with more in its environment."""
        return replace(self, environ={**self.environ, **environ})

    @property
    def whole(self) -> dict[str, str]:
        fake = {"CLAUDE_K8S_IMAGE": IMAGE} if self.place.real else {"CLAUDE_K8S_IMAGE": "any"}
        fake |= {} if self.place.real else {"CLAUDE_K8S_COMMAND": str(FAKE)}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.link.parent),
            "PYTHONWARNINGS": _warnings(self.place.real),
            "CLAUDE_K8S_KUBECONFIG": self.place.kubeconfig,
            "CLAUDE_K8S_NAMESPACE": self.place.namespace,
            "CLAUDE_K8S_RESOURCES_REQUESTS_CPU": "10m",
            "CLAUDE_K8S_RESOURCES_REQUESTS_MEMORY": "16Mi",
            **fake,
            **self.environ,
        }

    async def start(self, *argv: str, cwd: Path | None = None, **streams: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.link, *argv, env=self.whole, cwd=cwd or self.link.parent, limit=2**25, **{**PIPES, **streams}
        )

    async def call(self, *argv: str, stdin: bytes = b"", cwd: Path | None = None) -> Call:
        return await ended(await self.start(*argv, cwd=cwd), stdin)

    async def begun(self, faults: str) -> asyncio.subprocess.Process:
        """A call whose CLI has said its first words."""
        process = await self.start(*STREAM, f"FAKE: {faults}")
        assert process.stdin
        process.stdin.close()
        assert process.stdout
        assert b'"init"' in await asyncio.wait_for(process.stdout.readline(), 60)
        return process


async def ended(process: asyncio.subprocess.Process, stdin: bytes | None = None) -> Call:
    out, err = await asyncio.wait_for(process.communicate(stdin), 120)
    return Call(process.returncode or 0, out or b"", err or b"")


async def itself(*argv: str, stdin: bytes = b"", faults: str = "") -> Call:
    """What the CLI itself says, without a cluster."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "FAKE_CLAUDE": faults}
    return await ended(await asyncio.create_subprocess_exec(FAKE, *argv, env=environ, **PIPES), stdin)


@pytest.fixture
def cli(agents: Agents, tmp_path: Path) -> Cli:
    link = tmp_path / "bin" / "claude"
    link.parent.mkdir()
    link.symlink_to(Path(sys.executable).with_name("claude-k8s"))
    return Cli(agents, link)


# What the CLI says, byte for byte: the fake's text has nothing in it that differs from one run to the next.


@pytest.mark.parametrize(
    "faults",
    [
        "echo-prompt",
        "exit=3",
        "is-error",
        "max-turns",
        "login",
        "overloaded",
        "garbage",
        "stderr=40",
        "garbage stderr=400 exit=9",
        "no-result",
    ],
)
async def test_its_text_and_stderr_and_exit_code_are_its_own(cli: Cli, faults: str) -> None:
    argv = ("-p", "--session-id", "00000000-0000-4000-8000-000000000000", "Do it.")
    called = await cli.given(CLAUDE_K8S_ENV=f"FAKE_CLAUDE={faults}").call(*argv, stdin=b"With this.\n\n")
    expected = await itself(*argv, stdin=b"With this.\n\n", faults=faults)
    if cli.place.real:  # containerd takes a CR at the end of a line for a part of its end
        expected = replace(expected, out=expected.out.replace(b"\r\n", b"\n"))
    assert called == expected


@pytest.mark.parametrize(
    "argv",
    [
        ("-p", ""),
        ("-p", "-n", "name", "--namespace", "elsewhere", "--verbose", "a\nb\n", " ' \" \\ $HOME `id` * ~ é \x80"),
        ("--model", "opus", "hello", "--", "--help", "", "--settings"),
        ("-p", "--settings", '{"a": "$(id)"}', "--mcp-config", "{}", '{"b": 1}', "--tools="),
        ("--version",),
        ("-v", "--no-such-flag"),
        ("mcp", "list"),
        ("x" * 100_000,),
    ],
    ids=["empty", "quotes", "dashes", "json", "version", "unknown", "mcp", "long"],
)
async def test_every_word_arrives_as_it_was(cli: Cli, argv: tuple[str, ...]) -> None:
    words = tuple(os.fsdecode(word.encode("latin-1")) for word in argv) if "\x80" in "".join(argv) else argv
    called = await cli.given(CLAUDE_K8S_ENV="FAKE_CLAUDE=echo-args").call(*words, stdin=b"hello")
    assert called == await itself(*words, stdin=b"hello", faults="echo-args")
    assert called.status == 0


async def test_its_json_is_one_document_and_its_stream_json_one_a_line(cli: Cli) -> None:
    whole = await cli.call("-p", "--output-format=json", stdin=b"hello")
    assert json.loads(whole.out)["result"] == "The work is done."
    stream = await cli.call(*STREAM, stdin=b"FAKE: line=3000000 stderr=100")
    events = [json.loads(line) for line in stream.out.splitlines()]
    assert [event["type"] for event in events][0 :: len(events) - 1] == ["system", "result"]
    assert max(map(len, stream.out.splitlines())) == 3_000_000
    assert stream.err == b"".join(b"stderr line %d\n" % n for n in range(1, 101))
    assert (whole.status, whole.err, stream.status) == (0, b"", 0)
    await cli.agents.bare()


async def test_20_mb_go_through_a_slow_reader(cli: Cli) -> None:
    # The pause is for the kubelet: it throws the first 10 MiB away if nobody has begun to read by then.
    process = await cli.start(*STREAM, "FAKE: sleep=3 big=20000000", stdin=asyncio.subprocess.DEVNULL)
    assert process.stdout
    numbers, out = [], b""
    while block := await process.stdout.read(1 << 20):
        out += block
        await asyncio.sleep(0.1)  # the reader is slow: that is what is tested
    for line in out.splitlines():
        event = json.loads(line)
        if event.get("message", {}).get("id") == "msg_01fakefiller":
            numbers.append(int(event["message"]["content"][0]["text"][:8]))
    assert numbers == list(range(len(numbers)))
    assert 20_000_000 < len(out) < 20_100_000
    called = await ended(process)
    assert (called.status, called.err) == (0, b"")


async def test_a_reader_that_goes_away_does_not_disturb_it(cli: Cli) -> None:
    # So it is with the CLI (2.1.327): it works to its end, ends with 0, and has nothing to say of it.
    read, write = os.pipe()
    process = await cli.start(*STREAM, "FAKE: sleep=1 big=2000000", stdin=asyncio.subprocess.DEVNULL, stdout=write)
    os.close(write)
    assert await anyio.to_thread.run_sync(os.read, read, 10) == b'{"type":"s'
    os.close(read)
    called = await ended(process)
    assert (called.status, called.err) == (0, b"")
    await cli.agents.bare()


# What goes along.


async def test_the_files_that_its_words_name_go_along(cli: Cli, tmp_path: Path) -> None:
    skill = tmp_path / "skills" / "review"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("Review.")
    (tmp_path / "bundle" / ".claude" / "skills").mkdir(parents=True)
    (tmp_path / "bundle" / ".claude" / "skills" / "review it: ä").symlink_to(skill)
    (tmp_path / "mcp.json").write_text("{}")
    (tmp_path / "system.md").write_text("Be brief.")
    (tmp_path / "empty").mkdir()
    argv = ["--mcp-config", "mcp.json", "{}", f"--append-system-prompt-file={tmp_path}/system.md"]
    argv += ["--add-dir", "bundle", "empty", "-p", "FAKE: echo-files"]
    called = await cli.call(*argv, cwd=tmp_path)
    assert called.err == b""
    names = [line.partition("/bundle/files/")[2] for line in called.out.decode().splitlines()]
    assert [name.partition("/")[2] for name in names if name] == [
        "bundle/.claude/skills/review it: ä/SKILL.md",
        "empty/.empty",
    ]


async def test_a_file_that_is_not_there_is_its_own_complaint(cli: Cli) -> None:
    called = await cli.call("-p", "x", "--mcp-config", "nowhere.json")
    assert called == await itself("-p", "x", "--mcp-config", "nowhere.json")
    assert called.status == 1


async def test_its_environment_is_the_callers_as_far_as_it_may_be(cli: Cli) -> None:
    given = {
        "ANTHROPIC_API_KEY": CANARY,
        "PAPERCLIP_API_KEY": "token",
        "PAPERCLIP_RUN_ID": "their-run",
        "DATABASE_URL": CANARY,
        "CLAUDE_K8S_ENV": "MINE=my own",
        "SECRET": CANARY,
    }
    names = ["ANTHROPIC_API_KEY", "PAPERCLIP_API_KEY", "PAPERCLIP_RUN_ID", "DATABASE_URL", "MINE", "SECRET"]
    asked = " ".join(f"echo-env={name}" for name in [*names, "PAPERCLIP_AGENT_ID"])
    called = await cli.given(**given).call("-p", f"FAKE: {asked}")
    assert called.out.decode().splitlines() == [
        f"ANTHROPIC_API_KEY={CANARY}",
        "PAPERCLIP_API_KEY=token",
        "PAPERCLIP_RUN_ID=their-run",
        "DATABASE_URL is unset",
        "MINE=my own",
        "SECRET is unset",
        "PAPERCLIP_AGENT_ID is unset",
    ]


async def test_nothing_that_may_be_secret_is_in_its_job_and_pod(cli: Cli) -> None:
    secrets = cli.given(ANTHROPIC_API_KEY=CANARY)
    process = await secrets.begun(f"sleep=2\n{CANARY}")
    jobs = await cli.place.ask("GET", cli.place.jobs)
    pods = await cli.place.ask("GET", f"{cli.place.core}/pods")
    events = await cli.place.ask("GET", f"{cli.place.core}/events")
    assert len(jobs["items"]) == len(pods["items"]) == 1
    assert CANARY not in json.dumps([jobs, pods, events])
    assert (await ended(process)).status == 0
    await cli.agents.bare()


@pytest.fixture
async def volume(cli: Cli) -> AsyncIterator[Cli]:
    """With a volume that outlives the pods, which is mounted where the caller has it."""
    place = cli.link.parent / "volume"
    (place / "a project").mkdir(parents=True)
    async for claim in _claims(cli.place):
        yield cli.given(CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM=claim, CLAUDE_K8S_WORKSPACE_MOUNT_PATH=str(place))


async def _claims(place: Place) -> AsyncIterator[str]:
    async with kept(place) as claim:
        yield claim


async def test_a_session_is_gone_on_with_in_the_callers_directory(volume: Cli) -> None:
    cwd = volume.link.parent / "volume" / "a project"
    first = await volume.call(*STREAM, "FAKE: session-file", cwd=cwd)
    begun = json.loads(first.out.splitlines()[0])
    assert begun["cwd"].endswith("/a project"), first.err
    again = await volume.call("-p", "--resume", begun["session_id"], "FAKE: session-file", cwd=cwd)
    assert again.out.endswith(b"I remember 1 earlier prompts.\n")


async def test_a_file_on_the_volume_stays_where_it_is(volume: Cli) -> None:
    file = volume.link.parent / "volume" / "settings.json"
    file.write_text("{}")
    argv = [f"--settings={file}", "--add-dir", str(file.parent), "-p", "FAKE: echo-args"]
    called = await volume.call(*argv)
    assert called.out.decode().splitlines() == [*argv, ""]


async def test_without_a_volume_there_is_no_session_to_go_on_with(cli: Cli) -> None:
    for argv in (("--resume", "x"), ("--resume=x",), ("-c",)):
        assert "CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM" in (await cli.call("-p", "hello", *argv)).complaint
    await cli.agents.bare()


# Signals, and coming back.


async def test_sigint_cancels_the_run(cli: Cli) -> None:
    process = await cli.begun("forever")
    process.send_signal(signal.SIGINT)
    called = await ended(process)
    assert (called.status, called.err) == (130, b"")
    assert called.out.endswith(b"got TERM\n"), "its last words are heard"
    await cli.agents.bare()


async def test_sigint_before_there_is_a_job_leaves_none(cli: Cli) -> None:
    process = await cli.start("-p", "FAKE: forever")
    process.send_signal(signal.SIGINT)
    called = await ended(process)
    assert (called.status, called.out, called.err) in {(130, b"", b""), (-signal.SIGINT, b"", b"")}
    await cli.agents.bare()


async def test_a_second_sigint_lets_go(cli: Cli) -> None:
    process = await cli.given(CLAUDE_K8S_GRACE_SEC="5", CLAUDE_K8S_RUN_ID="mine").begun("sleep=600 ignore-term")
    process.send_signal(signal.SIGINT)
    await _deleting(cli.place)
    process.send_signal(signal.SIGINT)
    called = await ended(process)
    assert called.status == 130
    assert called.err == b"claude-k8s: let go; come back with the same call and CLAUDE_K8S_RUN_ID=mine\n"
    await cli.agents.bare()


async def _deleting(place: Place) -> None:
    with anyio.fail_after(30):
        while not (await place.ask("GET", place.jobs))["items"][0]["metadata"].get("deletionTimestamp"):
            await asyncio.sleep(0.05)  # a poll of the outside world


async def test_sigterm_lets_go_and_the_same_call_comes_back_to_all_of_it(cli: Cli) -> None:
    mine = cli.given(CLAUDE_K8S_RUN_ID="mine")
    process = await mine.begun("sleep=3 stderr=4")
    process.send_signal(signal.SIGTERM)
    called = await ended(process)
    assert called.status == 143
    assert called.err == b"claude-k8s: let go; come back with the same call and CLAUDE_K8S_RUN_ID=mine\n"
    [job] = (await cli.place.ask("GET", cli.place.jobs))["items"]
    again = await mine.call(*STREAM, "FAKE: sleep=3 stderr=4")
    types = [json.loads(line)["type"] for line in again.out.splitlines()]
    assert (types[0], types[-1], again.status) == ("system", "result", 0)
    assert again.err == b"".join(b"stderr line %d\n" % n for n in range(1, 5))
    assert job["metadata"]["name"].startswith("ck-mine-")
    await cli.agents.bare()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_sigterm_cancels_where_that_is_wanted(cli: Cli, number: signal.Signals) -> None:
    process = await cli.given(CLAUDE_K8S_ON_SIGTERM="cancel").begun("forever")
    process.send_signal(number)
    called = await ended(process)
    assert (called.status, called.err) == (128 + number, b"")
    await cli.agents.bare()


async def test_a_reader_that_has_stopped_does_not_hold_it_when_it_lets_go(cli: Cli) -> None:
    read, write = os.pipe()
    process = await cli.start(*STREAM, "FAKE: big=1000000 sleep=1", stdin=asyncio.subprocess.DEVNULL, stdout=write)
    os.close(write)
    await anyio.to_thread.run_sync(os.read, read, 10)
    process.send_signal(signal.SIGTERM)
    called = await asyncio.wait_for(ended(process), 20)
    assert called.status == 143
    os.close(read)


async def test_a_call_of_a_control_planes_run_comes_back_to_its_own_job(cli: Cli) -> None:
    theirs = cli.given(PAPERCLIP_RUN_ID="run-1")
    process = await theirs.begun("sleep=3")
    process.send_signal(signal.SIGTERM)
    await ended(process)
    other = await theirs.call("-p", "another prompt")
    assert other.out == b"The work is done.\n", "it is a Job of its own"
    again = await theirs.call(*STREAM, "FAKE: sleep=3")
    assert (again.status, again.err) == (0, b"")
    assert json.loads(again.out.splitlines()[0])["subtype"] == "init"
    await cli.agents.bare()


async def test_a_call_whose_cli_has_ended_meanwhile_is_told_all_of_it(cli: Cli) -> None:
    mine = cli.given(CLAUDE_K8S_RUN_ID="mine")
    process = await mine.begun("exit=3 sleep=1 stderr=4")
    process.send_signal(signal.SIGTERM)
    await ended(process)
    with anyio.fail_after(60):
        while "Failed" not in str((await cli.place.ask("GET", cli.place.jobs))["items"][0]["status"]):
            await asyncio.sleep(0.1)  # a poll of the outside world
    again = await mine.call(*STREAM, "FAKE: exit=3 sleep=1 stderr=4")
    types = [json.loads(line)["type"] for line in again.out.splitlines()]
    assert (types[0], types[-1], again.status) == ("system", "result", 3)
    assert again.err == b"".join(b"stderr line %d\n" % n for n in range(1, 5))
    await cli.agents.bare()


async def test_a_job_that_is_kept_is_told_again(cli: Cli) -> None:
    keeping = cli.given(CLAUDE_K8S_RETAIN_JOBS="true", CLAUDE_K8S_RUN_ID="kept", CLAUDE_K8S_ENV="FAKE_CLAUDE=exit=4")
    first, again = [await keeping.call(*STREAM, stdin=b"hello") for _ in range(2)]
    assert first.status == 4
    assert first == again
    other = await keeping.call(*STREAM, stdin=b"something else")
    assert "'kept' is Job ck-kept" in other.complaint


@pytest.mark.cluster
@pytest.mark.parametrize("place", ["real"], indirect=True)
async def test_the_documented_role_and_restricted_pod_security_are_enough(cli: Cli, tmp_path: Path) -> None:
    await restricted(cli.place)
    await documented(cli.place)
    account = replace(cli.agents, place=await with_token(cli.place, tmp_path))
    called = await replace(cli, agents=account).call("-p", "hello")
    assert called == Call(0, b"The work is done.\n", b"")
    await cli.agents.bare()


# What cannot be done.


async def test_a_terminal_is_refused_and_a_prompt_at_one_is_not(cli: Cli) -> None:
    assert b"there is no terminal: use it with -p" in await at_a_terminal(cli)
    assert b"there is no terminal: use it with -p" in await at_a_terminal(cli, "fix it")
    assert await at_a_terminal(cli, "-p", "hello") == b"The work is done.\r\n"
    await cli.agents.bare()


async def at_a_terminal(cli: Cli, *argv: str) -> bytes:
    """What a person sees."""
    ours, theirs = pty.openpty()
    process = await cli.start(*argv, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    await asyncio.wait_for(process.wait(), 60)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # so it ends on Linux
        pass
    os.close(ours)
    return shown


INITIALIZE = b'{"type":"control_request","request_id":"r1","request":{"subtype":"initialize"}}\n'
MESSAGE = b'{"type":"user","message":{"role":"user","content":"Hello."}}\n'


async def test_an_sdk_is_not_left_waiting(cli: Cli) -> None:
    process = await cli.start("--input-format", "stream-json", *STREAM)
    assert process.stdin
    assert process.stderr
    process.stdin.write(INITIALIZE)
    assert b"CLAUDE_K8S_SDK_ONE_SHOT=1" in await asyncio.wait_for(process.stderr.readline(), 30)
    assert await asyncio.wait_for(process.wait(), 30) == 125


async def test_an_sdks_query_of_one_prompt_is_answered_where_that_is_wanted(cli: Cli) -> None:
    process = await cli.given(CLAUDE_K8S_SDK_ONE_SHOT="1").start("--input-format", "stream-json", *STREAM)
    assert process.stdin
    assert process.stdout
    process.stdin.write(INITIALIZE)
    answer = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert (answer["type"], answer["response"]["request_id"]) == ("control_response", "r1")
    process.stdin.write(MESSAGE)  # and its end stays open
    types: list[str] = []
    while types[-1:] != ["result"]:
        types.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 60))["type"])
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert await process.stderr.read() == b""  # type: ignore[union-attr]
    await cli.agents.bare()


async def test_who_says_nothing_is_waited_for_as_long_as_the_cli_does(cli: Cli) -> None:
    process = await cli.start("-p", "hello")
    called = Call(
        await asyncio.wait_for(process.wait(), 60),
        await process.stdout.read(),  # type: ignore[union-attr]
        await process.stderr.read(),  # type: ignore[union-attr]
    )
    assert (called.status, called.out) == (0, b"The work is done.\n")
    assert called.err.startswith(b"Warning: no stdin data received in 3s")


BROKEN: list[tuple[dict[str, str], str]] = [
    ({"CLAUDE_K8S_NAMESPACE": "no-such-namespace"}, 'namespaces "no-such-namespace" not found'),
    ({"CLAUDE_K8S_KUBECONFIG": "/no/such/file"}, "no kubeconfig at /no/such/file"),
    ({"CLAUDE_K8S_IMAGE": ""}, "CLAUDE_K8S_IMAGE is not set"),
    ({"CLAUDE_K8S_IMAGE": "Not:Valid:At-all"}, "InvalidImageName"),
    ({"CLAUDE_K8S_LABELS": "a b=c"}, "CLAUDE_K8S_LABELS"),
]


@pytest.mark.parametrize(("environ", "said"), BROKEN, ids=[next(iter(environ)) for environ, _ in BROKEN])
async def test_what_the_adapter_cannot_do_is_one_line(cli: Cli, environ: dict[str, str], said: str) -> None:
    assert said in (await cli.given(**environ).call("-p", "hello")).complaint
    await cli.agents.bare()


async def test_a_deadline_is_one_line(cli: Cli) -> None:
    called = await cli.given(CLAUDE_K8S_TIMEOUT_SEC="3", CLAUDE_K8S_GRACE_SEC="5").call("-p", "FAKE: forever")
    assert called.status == 124
    assert called.err.startswith(b"claude-k8s: timed out [deadline]: the run reached its deadline")
    assert called.err.count(b"\n") == 1
    await cli.agents.bare()


async def test_what_happens_is_told_who_wants_to_know(cli: Cli) -> None:
    called = await cli.given(CLAUDE_K8S_VERBOSE="1").call("-p", "hello")
    told = called.err.decode()
    assert called.out == b"The work is done.\n"
    for words in ("created", "no volume outlives the pod", "claude: terminated (exit 0, Completed)", "succeeded"):
        assert words in told
    assert all(line.startswith("claude-k8s: ") for line in told.splitlines())


async def test_a_link_of_that_name_is_what_is_called(cli: Cli) -> None:
    """As a shell calls it: by its name, found on the PATH."""
    environ = cli.whole | {"PATH": f"{cli.link.parent}:{os.environ['PATH']}"}
    script = "printf 'hello\\n' | claude -p --output-format text | tr a-z A-Z"
    done = await anyio.run_process(["sh", "-c", script], env=environ, check=False)
    assert (done.stdout, done.stderr) == (b"THE WORK IS DONE.\n", b"")
