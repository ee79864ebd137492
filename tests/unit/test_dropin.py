"""A call of `claude`: what its words mean, and how they and what they name come into a pod."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.agent.bundle import LIMIT, Bundle
from adapter.agent.config import AgentConfig
from adapter.agent.selfpod import Claim, SelfPod
from adapter.cli import dropin
from adapter.cli.dropin import cargo, shared_volume
from adapter.cli.dropin_words import FILES, Line, words
from adapter.errors import InvalidRequest

SHELLS = [
    shell for shell in (["sh"], ["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]


@pytest.mark.parametrize(
    ("argv", "files"),
    [
        ("-p hello", {}),
        ("--settings a.json hello", {"a.json": "--settings"}),
        ("--settings=a.json hello", {"a.json": "--settings"}),
        ("--add-dir a b -p c", {"a": "--add-dir", "b": "--add-dir"}),
        ("--add-dir=a b", {"a": "--add-dir"}),
        ("--add-dir - -p c", {"-": "--add-dir"}),
        ("--mcp-config a --add-dir b c", {"a": "--mcp-config", "b": "--add-dir", "c": "--add-dir"}),
        ("--system-prompt-file --add-dir b", {"--add-dir": "--system-prompt-file"}),
        ("--add-dir --settings x y", {"--settings": "--add-dir", "x": "--add-dir", "y": "--add-dir"}),
        ("--plugin-dir a b", {"a": "--plugin-dir"}),
        ("--settings -- x", {"--": "--settings"}),
        ("-- --settings a.json", {}),
        ("--add-dir a -- b", {"a": "--add-dir"}),
        ("--debug-file log.txt", {}),
        ("--settings", {}),
    ],
)
def test_the_words_that_name_files_are_those_that_the_cli_takes_for_them(argv: str, files: dict[str, str]) -> None:
    found = [(word.text, word.option) for word in words(shlex.split(argv)) if word.option]
    assert found == list(files.items())


@given(st.lists(st.sampled_from([*FILES, "--", "-p", "-", "", "a", "--settings=b", "--add-dir=", "--model"])))
def test_no_word_is_lost(argv: list[str]) -> None:
    said = [f"{word.option}={word.text}" if word.joined else word.text for word in words(argv)]
    assert said == argv


@pytest.mark.parametrize(
    ("argv", "wants"),
    [
        ("", True),
        ("'fix it'", True),
        ("--model opus", True),
        ("-c", True),
        ("-cp", True),  # the CLI looks for the word -p
        ("-- -p", True),
        ("-p", False),
        ("fix --print", False),
        ("-v", False),
        ("--help", False),
        ("mcp list", False),
        ("--debug mcp list", False),
    ],
)
def test_whether_the_cli_would_begin_a_conversation(argv: str, wants: bool) -> None:
    assert Line(shlex.split(argv)).wants_terminal is wants


@pytest.mark.parametrize(
    ("argv", "reads"),
    [
        ("-p", True),
        ("hello", True),
        ("-p --agent doctor", True),
        ("--version", False),
        ("-h", False),
        ("mcp list", False),
        ("mcp add-json x -", True),
        ("plugin configure x --values-stdin", True),
    ],
)
def test_whether_the_cli_reads_stdin(argv: str, reads: bool) -> None:
    assert Line(shlex.split(argv)).reads_stdin is reads


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ("-p --resume abc", "--resume"),
        ("-p --resume=abc", "--resume=abc"),
        ("-p -r abc", "-r"),
        ("-rabc -p", "-rabc"),
        ("-pc", "-pc"),
        ("-c -p", "-c"),
        ("--continue", "--continue"),
        ("-p --fork-session", None),
        ("-p hello -- -r", None),
        ("--add-dir -r", None),
        ("-p --restricted", None),
        ("--settings -c", None),
        ("mcp remove -r", None),
    ],
)
def test_which_word_asks_for_an_earlier_session(argv: str, word: str | None) -> None:
    assert Line(shlex.split(argv)).resumes == word


@pytest.mark.parametrize(
    ("argv", "messages"),
    [
        ("-p --input-format stream-json", True),
        ("-p --input-format=stream-json", True),
        ("-p --input-format stream-json --input-format text", False),
        ("-p --output-format stream-json", False),
        ("-p --input-format", False),
        ("-p -- --input-format stream-json", False),
    ],
)
def test_whether_stdin_is_a_stream_of_messages(argv: str, messages: bool) -> None:
    assert Line(shlex.split(argv)).reads_messages is messages


def unpacked(bundle: Bundle, place: Path) -> Path:
    for name, content in bundle.files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return place


def received(shell: list[str], place: Path) -> list[bytes]:
    """The arguments that a program is given by the script, in a pod whose bundle is at `place`."""
    script = dropin.SCRIPT.replace("/run/claude-k8s/in/bundle", shlex.quote(str(place)))
    program = ["env", "printf", r"%s\0"]
    done = subprocess.run([*shell, "-c", script, "claude", *program], capture_output=True, timeout=20, check=True)
    assert done.stderr == b""
    return done.stdout.split(b"\0")[:-1]


ANY_WORD = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])) | st.text(
    "'\"\\$`!*?[]{}()<>|&;#~=% \n\t\r-\x01\x7f\x80\x81\x88é", max_size=8
)
ANY_BYTES = st.binary(max_size=12).filter(lambda word: b"\0" not in word).map(os.fsdecode)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_WORD | ANY_BYTES, min_size=1, max_size=6).filter(lambda argv: not any(map(os.path.exists, argv))))
def test_every_word_comes_through_the_shell_as_it_was(
    shell: list[str], tmp_path_factory: pytest.TempPathFactory, argv: list[str]
) -> None:
    place = unpacked(cargo(argv).bundle(), tmp_path_factory.mktemp("in"))
    assert received(shell, place) == [os.fsencode(word) for word in argv]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_long_word_and_a_word_that_is_a_file_come_through_too(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "it's a $file.json").write_text("{}")
    given = str(tmp_path / "it's a $file.json")
    argv = ["-p", "x" * 100_000, f"--settings={given}", "--mcp-config", given, "--", given]
    place = unpacked(cargo(argv).bundle(), tmp_path / "in")
    *_, joined, option, plain, dashes, prompt = received(shell, place)
    assert joined == os.fsencode(f"--settings={place}/files/0/it's a $file.json")
    assert (option, plain) == (b"--mcp-config", os.fsencode(f"{place}/files/1/it's a $file.json"))
    assert (dashes, prompt) == (b"--", os.fsencode(given))
    assert (place / "files/0/it's a $file.json").read_text() == "{}"


def shipped(argv: list[str], shared: str | None = None, *, here: bool = False) -> dict[str, bytes]:
    made = cargo(argv, shared, here=here)
    return {name.removeprefix("files/0/"): content for name, content in made.files.items()}


@pytest.mark.parametrize("word", ["{}", ' {"a": 1}', "[]", "not there", "x" * 5000, "", "a\0b"])
def test_what_names_no_file_is_left_alone(word: str) -> None:
    made = cargo(["--settings", word])
    assert made.arguments == ["--settings", shlex.quote(word)]
    assert made.files == {}


def test_a_directory_goes_along_with_what_its_links_lead_to(tmp_path: Path) -> None:
    skill = tmp_path / "elsewhere" / "review"
    (skill / "scripts").mkdir(parents=True)
    (skill / "SKILL.md").write_text("Review.")
    (skill / "scripts" / "run.sh").write_text("#!/bin/sh\n")
    (skill / "scripts" / "run.sh").chmod(0o755)
    bundle = tmp_path / "bundle" / ".claude" / "skills"
    bundle.mkdir(parents=True)
    (bundle / "one").symlink_to(skill)
    (bundle / "two").symlink_to(skill)
    (bundle / "lost").symlink_to("/no/such/thing")
    made = cargo(["--add-dir", str(tmp_path / "bundle")])
    inner = "files/0/bundle/.claude/skills"
    assert made.files == {
        f"{inner}/{name}/{file}": content
        for name in ("one", "two")
        for file, content in (("SKILL.md", b"Review."), ("scripts/run.sh", b"#!/bin/sh\n"))
    }
    assert made.modes[f"{inner}/one/scripts/run.sh"] == 0o755
    assert made.modes[f"{inner}/one/SKILL.md"] == 0o644


def test_a_circle_of_links_has_an_end(tmp_path: Path) -> None:
    place = tmp_path / "d"
    place.mkdir()
    (place / "file").write_text("x")
    (place / "up").symlink_to("..")
    assert set(shipped(["--add-dir", str(place)])) == {"d/file"}


def test_what_is_no_file_in_a_directory_is_left_out_and_an_empty_one_is_there_all_the_same(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    assert shipped(["--add-dir", str(tmp_path)]) == {f"{tmp_path.name}/.empty": b""}


def test_a_pipe_that_a_shell_has_made_is_read(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b'{"mcpServers": {}}')
    os.close(write)
    assert list(shipped(["--mcp-config", f"/dev/fd/{read}"]).values()) == [b'{"mcpServers": {}}']
    os.close(read)


def test_a_relative_name_is_that_of_our_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    assert shipped(["--settings", "a.json"]) == {"a.json": b"{}"}
    assert set(shipped(["--add-dir", "."])) == {f"{tmp_path.name}/a.json"}


def test_files_below_the_shared_volume_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for place in (volume / "work", outside):
        place.mkdir(parents=True)
        (place / "a.json").write_text("{}")
    (outside / "link.json").symlink_to(volume / "work" / "a.json")
    (volume / "out.json").symlink_to(outside / "a.json")
    monkeypatch.chdir(volume / "work")

    def named(word: str, *, here: bool = True) -> str:
        return cargo(["--settings", word], str(volume), here=here).arguments[1]

    assert named(f"{volume}/work/a.json") == f"{volume}/work/a.json"
    assert named("a.json") == "a.json"
    assert named("a.json", here=False) == f"{volume}/work/a.json", "the pod works somewhere else"
    assert named(f"{outside}/link.json") == f"{volume}/work/a.json", "the pod has not the link, but the file"
    assert named(f"{volume}/out.json") == '"$at"/files/0/out.json', "the pod has the link, but not the file"
    assert named(f"{tmp_path}/volume-not/x") == f"{tmp_path}/volume-not/x"


def test_a_bundle_on_the_volume_goes_along_if_its_skills_are_not_there(tmp_path: Path) -> None:
    skills = tmp_path / "volume" / "bundle" / ".claude" / "skills"
    skills.mkdir(parents=True)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "SKILL.md").write_text("x")
    bundle = ["--add-dir", str(tmp_path / "volume" / "bundle")]
    assert shipped(bundle, str(tmp_path / "volume")) == {}
    (skills / "review").symlink_to(tmp_path / "app")
    assert shipped(bundle, str(tmp_path / "volume")) == {"bundle/.claude/skills/review/SKILL.md": b"x"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: (at / "big").write_bytes(b"x" * (LIMIT + 1)), "is too much to travel with a command line (700 KiB"),
        (lambda at: [(at / str(n)).write_text("") for n in range(501)], "500 files): put it on the volume"),
        (lambda at: (at / "a\nb").write_text(""), "has a name that cannot be given to a pod"),
    ],
    ids=["size", "count", "name"],
)
def test_what_cannot_go_along_is_named(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path)
    with pytest.raises(InvalidRequest) as refused:
        cargo(["--add-dir", str(tmp_path)])
    assert str(tmp_path) in str(refused.value)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.json").write_text("{}")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidRequest, match=r"a\.json' cannot be read: Permission denied"):
        cargo(["--settings", str(tmp_path / "a.json")])


def test_a_command_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="the command line has 800003 bytes"):
        cargo(["-p", "x" * 800_000]).bundle()


OWN = SelfPod(name="us", namespace="here", image="ours:1", claims={"/paperclip": Claim("data", "sub")})


@pytest.mark.parametrize(
    ("config", "own", "shared"),
    [
        ({}, None, None),
        ({}, OWN, "/paperclip"),
        ({"workspaceVolumeClaim": "data"}, OWN, "/paperclip"),
        ({"workspaceVolumeClaim": "other"}, OWN, None),
        ({"workspaceMountPath": "/other"}, OWN, None),
        ({"workspaceVolumeClaim": "data"}, None, "/paperclip"),
    ],
)
def test_the_volume_that_pod_and_caller_share(config: dict[str, Any], own: SelfPod | None, shared: str | None) -> None:
    assert shared_volume(AgentConfig.parse(config), own) == shared
