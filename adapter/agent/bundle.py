"""The files that go into the pod with a run: the agent's skills and its instructions.

The one place of this package that reads files. It reads, blocking, what the control plane names: paths of its own host,
which this machine has only where the two share a volume. What is not there is told and left out; the run goes on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from errno import EACCES
from itertools import islice
from pathlib import Path
from posixpath import dirname

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.skills import Skill, offer, unavailable
from adapter.errors import InvalidRequest

SKILLS = ".claude/skills"
INSTRUCTIONS = "agent-instructions.md"

LIMIT = 700 * 1024
"""Bytes of a bundle. It travels in a Secret of at most 1 MiB, beside the prompt and the environment."""

LONGEST_NAME = 128
"""Bytes of a skill's name."""

MOST_FILES = 500
"""Files of a bundle. Each is a line of the pod's specification, and a source that is somebody's home must not be read
through to its end."""

_IGNORED = frozenset({".git", "__pycache__", ".DS_Store"})
_OURS = tuple(map(Path, ("/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets")))
"""Our own service account's token is here, and our environment: no agent's configuration may name them as a skill."""

_EXECUTABLE = 0o755
_PLAIN = 0o644


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files by their path below the bundle's mount point, with their modes; and what was left out, and why."""

    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    modes: Mapping[str, int] = field(default_factory=dict, repr=False)
    skills: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Which skills the agent is given, in a line for the operator."""
        count = len(self.skills)
        return f"Skills ({count}): {', '.join(self.skills)}" if count else "Skills bundled (0): none"


@dataclass(frozen=True, slots=True)
class _Found:
    """A file on this machine, and where in the bundle it is to be."""

    place: str
    path: Path
    size: int


class _Unreadable(Exception):
    """Something that cannot be bundled. The text says why."""


def read_bundle(context: RunContext, config: AgentConfig) -> Bundle:
    """The bundle of a run. Raises `InvalidRequest` for a skill's name that is no plain directory name, and for skills
    and instructions that are too many or too large together.
    """
    offered = offer(context.config, context.context.get("paperclipRuntimeSkills"))
    warnings = [*offered.warnings, *map(unavailable, offered.lacking())]
    parts: dict[str, list[_Found]] = {}
    for skill in offered.wanted():
        parts |= _surveyed(skill, parts, warnings)
    instructions = _instructions(context, config, warnings)
    _check(parts, len(instructions))
    return _read(parts, instructions, warnings)


def directory_name(name: str, where: str) -> str:
    """The name, if it can be a directory's and no way out of the one above it. Raises `InvalidRequest`."""
    plain = name.strip() and name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")
    if not plain or len(name.encode()) > LONGEST_NAME:
        raise InvalidRequest(
            f"{where} {name[:80]!a} cannot be a directory's name: use up to {LONGEST_NAME} bytes of printable"
            " characters, without slashes and backslashes, and not a dot at first"
        )
    return name


def _surveyed(skill: Skill, parts: Mapping[str, object], warnings: list[str]) -> dict[str, list[_Found]]:
    name = directory_name(skill.name, "paperclipRuntimeSkills: runtimeName")
    try:
        if name in parts:
            raise _Unreadable("another skill of that name is bundled already")
        return {name: _survey(skill, name, warnings)}
    except _Unreadable as reason:
        warnings.append(f"skill {name} is not bundled: {reason}")
        return {}


def _survey(skill: Skill, name: str, warnings: list[str]) -> list[_Found]:
    if skill.absent:
        raise _Unreadable(skill.absent)
    if not Path(skill.source).is_absolute():
        raise _Unreadable("its source is not an absolute path")
    source = _real(Path(skill.source))
    if stat.S_ISREG(_facts(source).st_mode):
        return [_found(source, source.parent, f"{SKILLS}/{name}/SKILL.md")]
    try:
        _found(source / "SKILL.md", source, name)
    except _Unreadable as reason:
        raise _Unreadable(f"the SKILL.md of {skill.source!a}: {reason}") from None
    return list(_files(source, name, warnings))


def _files(source: Path, name: str, warnings: list[str]) -> Iterator[_Found]:
    for seen, entry in enumerate(_walk(source), 1):
        if seen > MOST_FILES:
            raise InvalidRequest(f"skill {name} has more than {MOST_FILES} files and directories: give it fewer")
        place = Path(entry).relative_to(source).as_posix()
        try:
            if not entry.is_dir(follow_symlinks=False):
                yield _found(Path(entry), source, f"{SKILLS}/{name}/{place}")
        except _Unreadable as reason:
            warnings.append(f"skill {name}: {place!a} is left out: {reason}")


def _walk(source: Path) -> Iterator[os.DirEntry[str]]:
    """All that is below the directory, in the same order each time. Links are not walked through."""
    waiting = [source]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            yield entry


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            known = islice((entry for entry in entries if entry.name not in _IGNORED), MOST_FILES + 1)
            return sorted(known, key=lambda entry: entry.name)
    except OSError as error:
        raise _Unreadable(f"{str(directory)!a} cannot be read: {_why(error)}") from None


def _found(path: Path, root: Path, place: str) -> _Found:
    if not place.isprintable() or "\\" in place:
        raise _Unreadable("its name cannot be given to a pod")
    real = _real(path)
    if not real.is_relative_to(root):
        raise _Unreadable("it is a link that leads out of the skill")
    facts = _facts(real)
    if not stat.S_ISREG(facts.st_mode):
        raise _Unreadable("it is not a regular file")
    if not os.access(real, os.R_OK):
        raise _Unreadable(os.strerror(EACCES))
    return _Found(place, real, facts.st_size)


def _instructions(context: RunContext, config: AgentConfig, warnings: list[str]) -> bytes:
    """The agent's instructions, as the caller gave them or as they are on this machine; empty where there are none."""
    path = config.instructions_file_path.strip()
    try:
        given = context.instructions
        content = _file_at(path) if given is None else given.encode(errors="replace")
    except _Unreadable as reason:
        warnings.append(f"instructionsFilePath {path!a} is not bundled: {reason}")
        return b""
    if not content.strip():
        return b""
    if not path:
        return content
    # What the instructions refer to (`./SOUL.md`) is beside the original, not beside this copy.
    whence = (
        f"These instructions were read from {path}. Resolve relative file references in them from {dirname(path)}/."
    )
    return content.rstrip() + b"\n\n" + whence.encode() + b"\n"


def _file_at(path: str) -> bytes:
    if not path:
        return b""
    if not Path(path).is_absolute():
        raise _Unreadable("its path is not absolute")
    real = _real(Path(path))
    return _content(_found(real, real.parent, INSTRUCTIONS))[0]


def _check(parts: Mapping[str, list[_Found]], instructions: int) -> None:
    files = sum(map(len, parts.values()))
    if files > MOST_FILES:
        raise InvalidRequest(
            f"paperclipRuntimeSkills have {files} files together, more than the {MOST_FILES} that can be given to a"
            " pod: choose fewer skills"
        )
    sizes = {name: sum(file.size for file in part) for name, part in parts.items()}
    sizes |= {"the agent's instructions": instructions}
    total = sum(sizes.values())
    if total > LIMIT:
        raise InvalidRequest(
            f"paperclipRuntimeSkills and instructions have {_kib(total)} together, more than the {_kib(LIMIT)} that"
            f" can be given to a pod; the largest are {_largest(sizes)}: choose fewer or smaller skills"
        )


def _largest(sizes: Mapping[str, int]) -> str:
    largest = sorted(sizes.items(), key=lambda part: part[1], reverse=True)[:3]
    return ", ".join(f"{name} ({_kib(size)})" for name, size in largest if size)


def _kib(size: int) -> str:
    return f"{-(-size // 1024)} KiB"


def _read(parts: Mapping[str, list[_Found]], instructions: bytes, warnings: list[str]) -> Bundle:
    files: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    for file in (file for part in parts.values() for file in part):
        try:
            files[file.place], modes[file.place] = _content(file)
        except _Unreadable as reason:
            warnings.append(f"{file.place!a} is left out: {reason}")
    if instructions:
        files[INSTRUCTIONS], modes[INSTRUCTIONS] = instructions, _PLAIN
    return Bundle(files, modes, tuple(parts), tuple(warnings))


def _content(file: _Found) -> tuple[bytes, int]:
    """A file's content and mode. What was a file when it was found may be a pipe or a link now: neither is followed."""
    try:
        handle = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as opened:
            facts = os.fstat(handle)
            content = opened.read(min(file.size, LIMIT) + 1)
    except OSError as error:
        raise _Unreadable(_why(error)) from None
    if not stat.S_ISREG(facts.st_mode) or len(content) > file.size:
        raise _Unreadable("it was changed while it was read")
    return content, _EXECUTABLE if facts.st_mode & 0o111 else _PLAIN


def _real(path: Path) -> Path:
    try:
        real = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise _Unreadable(_why(error)) from None
    if any(real.is_relative_to(ours) for ours in _OURS):
        raise _Unreadable("it is one of the adapter's own files")
    return real


def _facts(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _Unreadable(_why(error)) from None


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
