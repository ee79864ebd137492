"""What is read for a run: the skills it is to have and its instructions, and nothing from beside them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.agent import bundle
from adapter.agent.bundle import INSTRUCTIONS, LIMIT, MOST_FILES, Bundle, directory_name, read_bundle
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.errors import InvalidRequest

TRAVERSALS = ["..", "../x", "a/b", "a\\b", "a\0b", "", "   ", ".", "/etc", ".hidden", "a\nb", "x" * 129, "\ud800"]
PARTS = st.sampled_from(["SKILL.md", "a", "b", "..", "...", ".x", "c d", "\\", "e\nf", "ü"])


def skill_at(root: Path, name: str, files: dict[str, str] | None = None) -> dict[str, Any]:
    source = root / name
    for place, text in ({"SKILL.md": f"# {name}"} | (files or {})).items():
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        (source / place).write_text(text)
    return {"key": f"company/{name}", "runtimeName": name, "source": str(source), "required": True}


def read(
    *skills: dict[str, Any], config: dict[str, Any] | None = None, context: dict[str, Any] | None = None, **run: Any
) -> Bundle:
    given = {"paperclipRuntimeSkills": list(skills)} | (config or {})
    made = RunContext.parse(
        {"runId": "r", "agent": {"id": "a"}, "config": given, "context": context or {}} | run,
    )
    known = {name: value for name, value in given.items() if not name.startswith("paperclip")}
    return read_bundle(made, AgentConfig.parse(known))


def test_a_skill_is_read_with_all_its_files_and_their_executable_bits(tmp_path: Path) -> None:
    skill = skill_at(tmp_path, "review", {"scripts/run.sh": "true", "docs/deep/a.md": "", ".git/config": "x"})
    (tmp_path / "review/scripts/run.sh").chmod(0o700)
    (tmp_path / "review/SKILL.md").chmod(0o600)
    made = read(skill)
    here = ".claude/skills/review"
    assert made.files == {
        f"{here}/SKILL.md": b"# review",
        f"{here}/scripts/run.sh": b"true",
        f"{here}/docs/deep/a.md": b"",
    }
    assert made.modes == {name: 0o755 if name.endswith(".sh") else 0o644 for name in made.files}
    assert (made.skills, made.warnings) == (("review",), ())


def test_a_skill_may_be_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# notes")
    made = read({"key": "company/notes", "source": str(tmp_path / "notes.md"), "required": True})
    assert made.files == {".claude/skills/notes/SKILL.md": b"# notes"}


def test_a_source_may_be_a_link_to_a_directory(tmp_path: Path) -> None:
    skill = skill_at(tmp_path, "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list(read(skill | {"source": str(tmp_path / "link")}).files) == [".claude/skills/real/SKILL.md"]


def test_only_desired_and_required_skills_are_read(tmp_path: Path) -> None:
    skills = [skill_at(tmp_path, name) | {"required": name == "core"} for name in ("wanted", "other", "core")]
    assert read(*skills).skills == ("core",)
    sync = {"paperclipSkillSync": {"desiredSkills": ["company/wanted", "company/gone"]}}
    made = read(*skills, config=sync)
    assert made.skills == ("wanted", "core")
    assert made.warnings == ("desired skill 'company/gone' is not among those the control plane offers",)
    assert made.note == "Skills (2): wanted, core"


def test_without_skills_the_note_says_so() -> None:
    assert read() == Bundle()
    assert read().note == Bundle().note == "Skills bundled (0): none"


def test_the_wakes_skills_are_read_where_the_configuration_has_none(tmp_path: Path) -> None:
    run = RunContext.parse(
        {"runId": "r", "agent": {"id": "a"}, "context": {"paperclipRuntimeSkills": [skill_at(tmp_path, "wake")]}}
    )
    assert read_bundle(run, AgentConfig()).skills == ("wake",)


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^runtimeName '.*' cannot be a directory's name: use "):
        directory_name(name, "runtimeName")


@pytest.mark.parametrize("name", ["acme-co", "a..b", "Ünïcode", "with space", "x" * 128])
def test_a_plain_name_is_taken(name: str) -> None:
    assert directory_name(name, "runtimeName") == name


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\\b", "a\0b"])
def test_a_skill_of_such_a_name_fails_the_request_if_it_is_to_be_bundled(name: str, tmp_path: Path) -> None:
    skill = skill_at(tmp_path, "ok") | {"runtimeName": name}
    with pytest.raises(InvalidRequest, match="paperclipRuntimeSkills: runtimeName"):
        read(skill)
    assert read(skill | {"required": False}) == Bundle()


def test_a_key_is_no_way_out_either(tmp_path: Path) -> None:
    skill = skill_at(tmp_path, "ok")
    with pytest.raises(InvalidRequest, match=r"runtimeName '\.\.' cannot"):
        read({"key": "company/..", "source": skill["source"], "required": True})


def test_links_that_leave_the_skill_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("s3cret")
    skill = skill_at(tmp_path, "mixed", {"real.md": "real"})
    source = tmp_path / "mixed"
    (source / "inside").symlink_to("real.md")
    (source / "absolute").symlink_to(tmp_path / "secret")
    (source / "relative").symlink_to("../secret")
    (source / "directory").symlink_to(tmp_path / "outside")
    (source / "twice").symlink_to("relative")
    (source / "dangling").symlink_to("nowhere")
    (source / "loop").symlink_to("loop")
    (source / "self").symlink_to(".")
    os.mkfifo(source / "pipe")
    made = read(skill)
    here = ".claude/skills/mixed"
    assert made.files == {f"{here}/SKILL.md": b"# mixed", f"{here}/real.md": b"real", f"{here}/inside": b"real"}
    words = {warning.split("'")[1]: warning.partition("is left out: ")[2] for warning in made.warnings}
    leads_out = "it is a link that leads out of the skill"
    assert words.pop("loop")
    assert words == {
        "absolute": leads_out,
        "relative": leads_out,
        "directory": leads_out,
        "twice": leads_out,
        "dangling": "No such file or directory",
        "self": "it is not a regular file",
        "pipe": "it is not a regular file",
    }


def test_a_skill_whose_very_skill_file_leads_out_is_not_bundled(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    skill = skill_at(tmp_path, "bad")
    (tmp_path / "bad/SKILL.md").unlink()
    (tmp_path / "bad/SKILL.md").symlink_to("../secret")
    made = read(skill)
    assert (made.files, made.skills) == ({}, ())
    assert "the SKILL.md of" in made.warnings[0]
    assert "leads out of the skill" in made.warnings[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "/nowhere/at/all"}, "No such file or directory"),
        ({"source": ""}, "its source is not an absolute path"),
        ({"source": "relative/path"}, "its source is not an absolute path"),
        ({"source": "/a\0b"}, "null byte"),
        ({"source": "/proc/self"}, "it is one of the adapter's own files"),
        ({"sourceStatus": "missing", "missingDetail": "the version was deleted"}, "the version was deleted"),
    ],
)
def test_a_skill_that_cannot_be_read_here_is_a_warning(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    made = read(skill_at(tmp_path, "gone") | changes, skill_at(tmp_path, "there"))
    assert made.skills == ("there",)
    (warning,) = made.warnings
    assert warning.startswith("skill gone is not bundled: ")
    assert words in warning


def test_a_directory_without_a_skill_file_is_no_skill(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made = read({"key": "empty", "source": str(tmp_path / "empty"), "required": True})
    assert made == Bundle(
        warnings=(f"skill empty is not bundled: the SKILL.md of '{tmp_path}/empty': No such file or directory",)
    )


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skill = skill_at(tmp_path, "locked", {"private.md": ""})
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("private.md"))
    made = read(skill)
    assert list(made.files) == [".claude/skills/locked/SKILL.md"]
    assert made.warnings == ("skill locked: 'private.md' is left out: Permission denied",)


def test_a_directory_that_may_not_be_read_leaves_no_half_of_a_skill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: Path) -> Any:
        if path.name == "private":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    listed = os.scandir
    skill = skill_at(tmp_path, "locked", {"private/a.md": ""})
    monkeypatch.setattr(os, "scandir", scandir)
    made = read(skill)
    assert not made.files
    assert made.warnings == (
        f"skill locked is not bundled: '{tmp_path}/locked/private' cannot be read: Permission denied",
    )


def test_a_file_that_changes_while_it_is_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skill = skill_at(tmp_path, "busy", {"grows.md": "1", "goes.md": "1"})

    def check(_parts: object, _instructions: int) -> None:
        (tmp_path / "busy/grows.md").write_text("12")
        (tmp_path / "busy/goes.md").unlink()

    monkeypatch.setattr(bundle, "_check", check)
    made = read(skill)
    assert list(made.files) == [".claude/skills/busy/SKILL.md"]
    assert made.warnings == (
        "'.claude/skills/busy/goes.md' is left out: No such file or directory",
        "'.claude/skills/busy/grows.md' is left out: it was changed while it was read",
    )


def test_two_skills_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    one, two = skill_at(tmp_path, "one", {"only-one": ""}), skill_at(tmp_path, "two") | {"runtimeName": "one"}
    made = read(one, two)
    assert sorted(made.files) == [".claude/skills/one/SKILL.md", ".claude/skills/one/only-one"]
    assert made.warnings == ("skill one is not bundled: another skill of that name is bundled already",)


def test_what_is_too_large_together_is_refused_with_the_largest(tmp_path: Path) -> None:
    sizes = {"huge": 500, "big": 150, "small": 1, "middle": 50}
    skills = [skill_at(tmp_path, name, {"data": "x" * size * 1024}) for name, size in sizes.items()]
    with pytest.raises(InvalidRequest) as raised:
        read(*skills)
    assert str(raised.value) == (
        "paperclipRuntimeSkills and instructions have 702 KiB together, more than the 700 KiB that can be given to a"
        " pod; the largest are huge (501 KiB), big (151 KiB), middle (51 KiB): choose fewer or smaller skills"
    )
    assert len(read(*skills[1:]).skills) == 3


def test_the_limit_itself_can_be_given_and_instructions_count(tmp_path: Path) -> None:
    skill = skill_at(tmp_path, "full", {"SKILL.md": "x" * LIMIT})
    assert len(read(skill).files[".claude/skills/full/SKILL.md"]) == LIMIT
    with pytest.raises(InvalidRequest, match=r"the largest are full \(700 KiB\), the agent's instructions \(1 KiB\)"):
        read(skill, instructionsContent="x")
    (tmp_path / "huge.md").write_text("y" * 5 * LIMIT)
    with pytest.raises(InvalidRequest, match="the largest are the agent's instructions"):
        read(config={"instructionsFilePath": str(tmp_path / "huge.md")})


def test_a_source_that_is_half_a_disk_is_not_read_to_its_end(tmp_path: Path) -> None:
    skill = skill_at(tmp_path, "home", {f"{number}/x": "" for number in range(MOST_FILES)})
    with pytest.raises(InvalidRequest, match=f"skill home has more than {MOST_FILES} files and directories"):
        read(skill)
    half = {str(number): "" for number in range(MOST_FILES // 2)}
    with pytest.raises(InvalidRequest, match=f"have {MOST_FILES + 2} files together, more than the {MOST_FILES}"):
        read(skill_at(tmp_path, "one", half), skill_at(tmp_path, "two", half))
    (tmp_path / "home/SKILL.md").unlink()
    assert "SKILL.md" in read(skill).warnings[0]


def test_instructions_are_read_and_say_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "AGENTS.md"
    path.write_text("Be kind. See ./SOUL.md\n\n")
    made = read(config={"instructionsFilePath": f" {path} "})
    assert made.files == {
        INSTRUCTIONS: (
            f"Be kind. See ./SOUL.md\n\nThese instructions were read from {path}."
            f" Resolve relative file references in them from {tmp_path}/.\n"
        ).encode()
    }
    assert made.modes == {INSTRUCTIONS: 0o644}
    assert made.skills == ()


def test_instructions_that_the_caller_read_come_before_the_file() -> None:
    made = read(config={"instructionsFilePath": "/host/agents/a/AGENTS.md"}, instructionsContent="Be kind.\n")
    assert made.files[INSTRUCTIONS].startswith(
        b"Be kind.\n\nThese instructions were read from /host/agents/a/AGENTS.md"
    )
    assert made.files[INSTRUCTIONS].endswith(b"in them from /host/agents/a/.\n")
    assert made.warnings == ()
    assert read(instructionsContent="Be kind.\n").files == {INSTRUCTIONS: b"Be kind.\n"}


@pytest.mark.parametrize("content", ["", " \n"])
def test_blank_instructions_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text(content)
    assert read(config={"instructionsFilePath": str(tmp_path / "AGENTS.md")}) == Bundle()
    assert read(config={"instructionsFilePath": "/x"}, instructionsContent=content) == Bundle()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere/AGENTS.md", "No such file or directory"),
        ("AGENTS.md", "its path is not absolute"),
        ("/usr", "it is not a regular file"),
        ("/proc/self/environ", "it is one of the adapter's own files"),
        ("/dev/null", "it is one of the adapter's own files"),
    ],
)
def test_instructions_that_cannot_be_read_are_a_warning(path: str, words: str) -> None:
    assert read(config={"instructionsFilePath": path}) == Bundle(
        warnings=(f"instructionsFilePath {path!r} is not bundled: {words}",)
    )


def test_no_repr_shows_what_was_read(tmp_path: Path) -> None:
    assert "s3cret" not in repr(read(skill_at(tmp_path, "a", {"b": "s3cret"}), instructionsContent="s3cret"))


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(st.text(max_size=4) | st.sampled_from(TRAVERSALS) | PARTS, max_size=3),
    places=st.lists(st.lists(PARTS.filter(lambda part: part != ".."), min_size=1, max_size=3), max_size=4),
    targets=st.lists(st.lists(PARTS, min_size=1, max_size=4), max_size=4),
)
def test_no_path_escapes_and_nothing_from_outside_gets_in(
    names: list[str], places: list[list[str]], targets: list[list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        skill = skill_at(root, "s")
        for number, place in enumerate(places):
            write(root / "s" / Path(*place), "inside")
            write(root / f"a{number}", "OUTSIDE")
        write(root / "a", "OUTSIDE")
        for number, target in enumerate(targets):
            (root / "s" / f"link{number}").symlink_to(Path(*target))
        made: list[Bundle] = []
        for name in ["s", *names]:
            try:
                made.append(read(skill | {"runtimeName": name}))
            except InvalidRequest:
                assert name != "s"
    assert any(one.skills == ("s",) for one in made)
    for one in made:
        assert all(b"OUTSIDE" not in content for content in one.files.values())
        for bundled in one.files:
            path = PurePosixPath(bundled)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert path.parts[:2] == (".claude", "skills")
            assert len(path.parts) >= 4
            assert "\\" not in bundled
            assert bundled.isprintable()


def write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return
