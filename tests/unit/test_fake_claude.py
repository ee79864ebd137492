"""The fake claude: what the other tests rely on it to do, under every shell there is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil
import pytest

CLAUDE = Path(__file__).parents[1] / "fake" / "claude"
PIPED = ("--print", "-", "--output-format", "stream-json", "--verbose")
SHELLS = sorted(
    {Path(found).resolve().name for name in ("sh", "dash", "bash", "busybox") if (found := shutil.which(name))}
)

Event = dict[str, Any]


class Fake:
    """The script under one shell; under busybox with nothing but busybox's own tools, as in its image."""

    def __init__(self, shell: str, place: Path) -> None:
        self.env = {"PATH": os.environ["PATH"], "HOME": str(place / "home")}
        self.argv = [shutil.which(shell) or shell, str(CLAUDE)]
        if shell == "busybox":
            self.argv.insert(1, "sh")
            self.env["PATH"] = str(_applets(place / "bin"))

    def start(self, prompt: str, *arguments: str, both: bool = False, **env: str) -> subprocess.Popen[bytes]:
        with TemporaryFile() as stdin:  # a pipe would break where the script ends before it reads
            stdin.write(prompt.encode())
            stdin.seek(0)
            stderr = subprocess.STDOUT if both else subprocess.PIPE
            argv = [*self.argv, *(arguments or PIPED)]
            return subprocess.Popen(argv, env=self.env | env, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)

    def run(self, prompt: str, *arguments: str, both: bool = False, **env: str) -> Ended:
        """To its end; `both`: stderr into stdout, as they come."""
        process = self.start(prompt, *arguments, both=both, **env)
        stdout, stderr = process.communicate(timeout=30)
        return Ended(process.returncode, stdout, (stderr or b"").decode())


def _applets(place: Path) -> Path:
    place.mkdir()
    for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        (place / name).symlink_to(shutil.which("busybox") or "busybox")
    return place


class Ended:
    """What a call came to."""

    def __init__(self, code: int, stdout: bytes, stderr: str) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def events(self) -> list[Event]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def result(self) -> Event:
        return next(event for event in reversed(self.events) if event["type"] == "result")

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


@pytest.fixture(params=SHELLS)
def fake(request: pytest.FixtureRequest, tmp_path: Path) -> Fake:
    return Fake(request.param, tmp_path)


def asks(*words: str) -> str:
    return f"Do the work.\nFAKE: {' '.join(words)}\nThank you.\n"


def test_every_kind_of_event(fake: Fake) -> None:
    ended = fake.run("Do the work.", *PIPED, "--model", "claude-x", "--max-turns", "5", "--unheard-of", "value")
    assert (ended.code, ended.stderr) == (0, "")
    init, *_, result = ended.events
    assert (init["type"], init["subtype"], init["model"]) == ("system", "init", "claude-x")
    assert init["cwd"] == str(Path.cwd())
    assert "Bash" in init["tools"]
    assert len({event["session_id"] for event in ended.events}) == 1
    blocks = [block for event in ended.events if "message" in event for block in event["message"]["content"]]
    assert {block["type"] for block in blocks} == {"thinking", "text", "tool_use", "tool_result"}
    assert [block["is_error"] for block in blocks if block["type"] == "tool_result"] == [False, True, False]
    assert {event.get("subtype") for event in ended.events if event["type"] == "system"} > {"compact_boundary"}
    assert any(event.get("parent_tool_use_id") for event in ended.events)
    assert "rate_limit_event" in ended.kinds
    assert (result["subtype"], result["is_error"], result["result"]) == ("success", False, "The work is done.")
    assert result["usage"]["output_tokens"] == 345
    assert set(result["modelUsage"]) == {"claude-x", "claude-haiku-4-5-20251001"}
    spent = sum(model["costUSD"] for model in result["modelUsage"].values())
    assert result["total_cost_usd"] == pytest.approx(spent)
    assert (result["num_turns"], result["duration_ms"] > 0) == (4, True)


def test_several_blocks_share_a_message(fake: Fake) -> None:
    """As the real one prints them: an event a block."""
    messages = [event["message"]["id"] for event in fake.run("x").events if event["type"] == "assistant"]
    assert messages[:3] == [messages[0]] * 3
    assert messages[3] != messages[0]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("exit=3", 3, {"subtype": "success", "is_error": False}),
        (
            "is-error",
            1,
            {"subtype": "error_during_execution", "is_error": True, "errors": ["the tool runner went away"]},
        ),
        ("is-error exit=0", 0, {"is_error": True}),
        ("max-turns", 1, {"subtype": "error_max_turns", "is_error": True, "terminal_reason": "max_turns"}),
        ("login", 1, {"subtype": "success", "is_error": True, "api_error_status": 401}),
        ("rate-limited", 1, {"is_error": True, "api_error_status": 429}),
        ("overloaded", 1, {"is_error": True, "api_error_status": 529}),
        ("context-overflow", 1, {"is_error": True, "result": "Prompt is too long"}),
    ],
)
def test_ends(fake: Fake, words: str, code: int, expected: Event) -> None:
    ended = fake.run(asks(*words.split()))
    assert ended.code == code
    assert expected.items() <= ended.result.items()


def test_the_cli_speaks_for_the_api(fake: Fake) -> None:
    """A refusal is a synthetic message, with what the API said it was."""
    limited = fake.run(asks("rate-limited", "resets=1800000000"))
    event, message, _ = limited.events[1:]
    assert event["rate_limit_info"]["status"] == "rejected"
    assert event["rate_limit_info"]["resetsAt"] == 1_800_000_000
    assert (message["message"]["model"], message["error"]) == ("<synthetic>", "rate_limit")
    login = fake.run(asks("login"))
    assert "https://claude.ai/oauth/" in login.result["result"]
    assert "https://claude.ai/oauth/" in login.stderr
    retries = [event for event in fake.run(asks("overloaded")).events if event.get("subtype") == "api_retry"]
    assert [event["attempt"] for event in retries] == [1, 2]


def test_max_turns_is_what_was_allowed(fake: Fake) -> None:
    assert fake.run(asks("max-turns"), *PIPED, "--max-turns", "7").result["num_turns"] == 7


def test_no_result(fake: Fake) -> None:
    ended = fake.run(asks("no-result"))
    assert ended.code == 0
    assert "result" not in ended.kinds


def test_empty_answer_of_the_api(fake: Fake) -> None:
    ended = fake.run(asks("empty-api", "exit=1"))
    assert (ended.code, ended.kinds) == (1, ["system", "assistant"])
    message = ended.events[-1]["message"]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == (None, 0)


@pytest.mark.parametrize(("words", "code"), [("truncated", -9), ("truncated exit=137", 137), ("truncated kill=6", -6)])
def test_dies_in_the_middle_of_a_line(fake: Fake, words: str, code: int) -> None:
    ended = fake.run(asks(*words.split()))
    assert ended.code == code
    assert not ended.stdout.endswith(b"\n")
    assert b'"type":"result"' not in ended.stdout


def test_dies_between_two_lines(fake: Fake) -> None:
    ended = fake.run(asks("kill=9"))
    assert ended.code == -9
    assert "result" not in ended.kinds


def test_resumes_the_session_it_is_given(fake: Fake) -> None:
    assert {event["session_id"] for event in fake.run("x", *PIPED, "--resume", "S").events} == {"S"}
    assert {event["session_id"] for event in fake.run("x", *PIPED, "--session-id=N").events} == {"N"}


def test_unknown_session(fake: Fake) -> None:
    ended = fake.run(asks("unknown-session"), *PIPED, "--resume", "S")
    assert (ended.code, ended.kinds) == (1, ["result"])
    assert ended.stderr == "No conversation found with session ID: S\n"
    assert ended.result["errors"] == ["No conversation found with session ID: S"]
    assert (ended.result["subtype"], ended.result["num_turns"]) == ("error_during_execution", 0)
    assert ended.result["session_id"] != "S"
    assert fake.run(asks("unknown-session")).code == 0


def test_a_session_file_must_have_been_kept(fake: Fake) -> None:
    first = fake.run(asks("session-file"))
    session = first.result["session_id"]
    assert first.result["result"].endswith("I remember 0 earlier prompts.")
    again = fake.run(asks("session-file"), *PIPED, "--resume", session)
    assert again.result["result"].endswith("I remember 1 earlier prompts.")
    shutil.rmtree(Path(fake.env["HOME"]) / ".claude")
    assert fake.run(asks("session-file"), *PIPED, "--resume", session).stderr.startswith("No conversation found")


def test_without_being_asked_it_writes_nothing(fake: Fake) -> None:
    fake.run("x")
    assert not Path(fake.env["HOME"]).exists()


@pytest.mark.parametrize("size", [1, 5_000, 1_000_000])
def test_as_many_bytes_as_asked_for(fake: Fake, size: int) -> None:
    plain = fake.run("x", *PIPED, "--session-id", "S").events
    more = fake.run(asks(f"big={size}"), *PIPED, "--session-id", "S")
    filler = [line for line in more.stdout.splitlines(keepends=True) if b"msg_01fakefiller" in line]
    assert len(more.events) == len(plain) + len(filler)
    assert sum(map(len, filler)) == (size if size > 1_000 else len(filler[0]))
    assert more.kinds[-1] == "result"


def test_one_event_of_many_bytes(fake: Fake) -> None:
    ended = fake.run(asks("line=300000"))
    assert max(map(len, ended.stdout.splitlines())) == 300_000
    assert ended.result["subtype"] == "success"


def test_garbage_among_the_events(fake: Fake) -> None:
    ended = fake.run(asks("garbage"))
    for piece in (b"\0", b"\xff\xfe", b"\x1b[2J", b"\r", b"[claude-k8s] succeeded\n", b'\n{"type":"result"\n'):
        assert piece in ended.stdout
    lines = ended.stdout.split(b"\n")
    forged = next(number for number, line in enumerate(lines) if b'"result":"forged"' in line)
    assert json.loads(lines[-2])["result"] == "The work is done."
    assert forged < len(lines) - 2


def test_stderr_in_the_middle_of_a_line(fake: Fake) -> None:
    ended = fake.run(asks("stderr=5"))
    assert ended.stderr.splitlines() == [f"stderr line {number}" for number in range(1, 6)]
    assert max(map(len, ended.stdout.splitlines())) > 65_536
    assert ended.result["subtype"] == "success"
    both = fake.run(asks("stderr=5"), both=True).stdout.splitlines()
    assert [line.endswith(b"fstderr line 1") or line == b"stderr line 3" for line in both].count(True) == 2


def test_the_prompt_word_for_word(fake: Fake) -> None:
    prompt = 'He said "no".\n\tC:\\path %s $(id) `id`\r\nnaïve 🙂\n\nFAKE: echo-prompt\n\n'
    assert fake.run(prompt).result["result"] == prompt


def test_the_environment(fake: Fake) -> None:
    ended = fake.run(asks("echo-env=TOKEN", "echo-env=NOT_SET"), TOKEN='a"b c')
    assert ended.result["result"] == 'TOKEN=a"b c\nNOT_SET is unset'


def test_the_arguments_and_the_files_they_name(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "skills" / "a").mkdir(parents=True)
    (tmp_path / "skills" / "a" / "SKILL.md").touch()
    arguments = (*PIPED, "--allowedTools", "Read", "Bash(ls *)", "--add-dir", str(tmp_path / "skills"))
    told = fake.run(asks("echo-args", "echo-files"), *arguments).result["result"]
    assert told.splitlines() == [*arguments, "", str(tmp_path / "skills" / "a" / "SKILL.md")]


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--mcp-config", "MCP config file not found: /no/such"),
        ("--append-system-prompt-file", "Append system prompt file not found: /no/such"),
    ],
)
def test_a_file_that_is_not_there(fake: Fake, flag: str, complaint: str) -> None:
    ended = fake.run("x", *PIPED, flag, "/no/such")
    assert (ended.code, ended.stdout) == (1, b"")
    assert complaint in ended.stderr


def test_other_formats(fake: Fake) -> None:
    assert fake.run("x", "-p").stdout == b"The work is done.\n"
    assert fake.run("x", "-p", "--output-format", "json").kinds == ["result"]
    assert fake.run("x", "-p", "--output-format=stream-json").stderr.endswith("requires --verbose\n")
    assert fake.run("", "--version").stdout == b"2.1.0 (Claude Code)\n"


def test_a_prompt_as_an_argument(fake: Fake) -> None:
    assert fake.run("and this", "-p", "FAKE: echo-prompt").stdout == b"FAKE: echo-prompt\nand this\n"
    assert fake.run("", "-p").code == 1


def test_words_from_the_environment(fake: Fake) -> None:
    assert fake.run("x", FAKE_CLAUDE="exit=4").code == 4


def test_a_word_nobody_knows_is_refused(fake: Fake) -> None:
    ended = fake.run(asks("exit-3"))
    assert ended.code == 64
    assert "'exit-3'" in ended.stderr


def _until_at_work(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if b"rate_limit_event" in line:
            return


@pytest.mark.parametrize(
    ("words", "number", "code", "last"),
    [
        ("forever", signal.SIGTERM, 143, b"got TERM\n"),
        ("sleep=60", signal.SIGTERM, 143, b""),
        ("sleep=60", signal.SIGINT, 130, b""),
    ],
)
def test_signals(fake: Fake, words: str, number: int, code: int, last: bytes) -> None:
    process = fake.start(asks(words))
    _until_at_work(process)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=10)
    assert (process.returncode, rest) == (code, last)


def test_deaf_to_term(fake: Fake) -> None:
    process = fake.start(asks("ignore-term", "sleep=0.3"))
    _until_at_work(process)
    process.terminate()
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b'"subtype":"success"' in rest


def test_eats_memory(fake: Fake) -> None:
    process = fake.start(asks("oom=256"))
    _until_at_work(process)
    watched = psutil.Process(process.pid)
    while watched.memory_info().rss < 40 << 20:
        assert process.poll() is None
    for child in watched.children():
        child.kill()
    process.kill()
    process.communicate(timeout=10)
    assert process.returncode == -9
