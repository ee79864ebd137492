"""What a call of `claude` becomes in a pod: its command line, the files that it names, and its environment."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapter.agent.bundle import LIMIT, MOST_FILES, Bundle
from adapter.agent.claude import AgentJob
from adapter.agent.config import AgentConfig
from adapter.agent.environment import KEY
from adapter.agent.layout import BUNDLE, IN
from adapter.agent.manifest import AGENT
from adapter.agent.selfpod import SelfPod, Variable
from adapter.agent.workspace import claim_of
from adapter.cli.dropin_words import Word, words
from adapter.errors import InvalidRequest

ARGV, SHIPPED = "argv", "files"
"""Below the bundle's mount: the command line, quoted for a shell, and what it names."""

INSIDE = "CLAUDE_K8S_INSIDE"
"""Set for the CLI in a pod. Where that is this command again, there would be no end of pods."""

SCRIPT = f'at={IN}/{BUNDLE}; export {INSIDE}=1; eval "exec \\"\\$@\\" $(cat $at/{ARGV})"'
"""Runs `"$@"` with the arguments of the file: they may hold a prompt or a token, and a pod's are for all to read."""

_IGNORED = frozenset({".git", "__pycache__"})
_EMPTY = ".empty"
"""A file in a directory that has none: a Secret has files only."""


@dataclass(slots=True)
class Cargo:
    """The arguments as they are in the pod, in a shell's words, and the files that go with them.

    `shared` is the volume that the caller and the pod both have: what is below it stays where it is. `here` says that
    the pod works in the caller's own directory.
    """

    shared: str | None = None
    here: bool = False
    arguments: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    modes: dict[str, int] = field(default_factory=dict)

    def bundle(self) -> Bundle:
        """All of it, as files of the pod. Raises `InvalidRequest` where that is too much."""
        line = " ".join(self.arguments).encode("utf-8", "surrogateescape")
        if len(line) > LIMIT:
            raise InvalidRequest(f"the command line has {len(line)} bytes, more than the {LIMIT} that can travel")
        return Bundle({ARGV: line, **self.files}, self.modes)

    def take(self, word: Word) -> None:
        """The next word of the command line."""
        option = shlex.quote(f"{word.option}=") if word.joined else ""
        self.arguments.append(option + (self._value(word.text) if word.option else shlex.quote(word.text)))

    def _value(self, text: str) -> str:
        """The value of an option that takes a file: as it is, or, where the pod has the file elsewhere, from there."""
        if text.lstrip().startswith(("{", "[")) or not os.path.exists(text):  # noqa: PTH110 - Path's raises for a prompt
            return shlex.quote(text)
        if kept := self._kept(text):
            return shlex.quote(kept)
        return f'"$at"{shlex.quote("/" + self._ship(Path(text)))}'

    def _kept(self, text: str) -> str | None:
        """The path of a file that the pod has as we do."""
        path, real = os.path.abspath(text), os.path.realpath(text)  # noqa: PTH100 - the path, links and all
        if not self.shared or not below(real, self.shared) or self._leads_out(Path(path)):
            return None
        if not below(path, self.shared):
            return real
        return text if self.here or os.path.isabs(text) else path  # noqa: PTH117 - of a text

    def _leads_out(self, path: Path) -> bool:
        """Whether it is a bundle of links to skills that the pod does not have, as a control plane makes one."""
        try:
            links = [each for each in (path / ".claude" / "skills").iterdir() if each.is_symlink()]
        except OSError:
            return False
        return any(not below(os.path.realpath(link), str(self.shared)) for link in links)

    def _ship(self, path: Path) -> str:
        """Takes a file or directory along; where it is below the bundle's mount."""
        place = f"{SHIPPED}/{len(self.files)}/{path.absolute().name or 'root'}"
        if not path.is_dir():
            self._add(place, path, path)
            return place
        for inner, file in _files(path):
            self._add(f"{place}/{inner}", file, path)
        if not any(name.startswith(f"{place}/") for name in self.files):
            self.files[f"{place}/{_EMPTY}"] = b""
        return place

    def _add(self, place: str, file: Path, named: Path) -> None:
        if not place.isprintable() or "\\" in place:
            raise InvalidRequest(f"{str(file)!a} has a name that cannot be given to a pod")
        self.files[place], self.modes[place] = _content(file)
        size = sum(map(len, self.files.values()))
        if size > LIMIT or len(self.files) > MOST_FILES:
            raise InvalidRequest(
                f"{str(named)!a} is too much to travel with a command line ({LIMIT // 1024} KiB, {MOST_FILES} files):"
                " put it on the volume that the pod mounts"
            )


def cargo(argv: Sequence[str], shared: str | None = None, *, here: bool = False) -> Cargo:
    """What has to go along with a command line. Reads files. Raises `InvalidRequest`."""
    made = Cargo(shared, here)
    for word in words(argv):
        made.take(word)
    return made


def shared_volume(config: AgentConfig, own: SelfPod | None) -> str | None:
    """The mount point of the volume that the pod has, if the caller has it too: out of a pod we believe the user."""
    claim, mount = claim_of(config, own), config.workspace_mount_path
    ours = claim is not None and (own is None or own.claim_at(mount) == claim)
    return mount if ours else None


def below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _files(directory: Path, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
    """The files below a directory, by their paths from there; through links too, but not round in a circle.

    What is no file, or is not for us, is none for the CLI either. Raises `InvalidRequest` if it cannot be read.
    """
    inside = (*inside, os.path.realpath(directory))
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise _unreadable(directory, error) from error
    for entry in entries:
        if entry.is_dir() and entry.name not in _IGNORED and os.path.realpath(entry) not in inside:
            yield from ((f"{entry.name}/{inner}", file) for inner, file in _files(entry, inside))
        elif entry.is_file() and os.access(entry, os.R_OK):
            yield entry.name, entry


def _content(path: Path) -> tuple[bytes, int]:
    """A file's content and mode. It may be a pipe that a shell has made, as `<(...)`; no more is read than can go."""
    try:
        with path.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            return opened.read(LIMIT + 1), 0o755 if stat.S_ISREG(mode) and mode & 0o111 else 0o644
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InvalidRequest:
    return InvalidRequest(f"{str(path)!a} cannot be read: {error.strerror}")


def surroundings(own: SelfPod | None, environ: Mapping[str, str], namespace: str) -> SelfPod:
    """What is inherited: the caller's environment, and, where we are in a pod, its image, volume and placement."""
    variables = tuple(Variable(name, value) for name, value in environ.items())
    if own is None:
        return SelfPod(name="none", namespace=namespace, image="", env=variables)
    return replace(own, env=variables)


def without_made_up(job: AgentJob, known: Collection[str]) -> AgentJob:
    """The Job without the variables that a control plane's run has and this caller, who knows none of it, does not."""
    extra = {key for key in job.secret if key.startswith(KEY) and key.removeprefix(KEY) not in known}
    manifest: Any = _copied(job.manifest)
    for container in manifest["spec"]["template"]["spec"]["containers"]:
        if container["name"] == AGENT:
            container["env"] = [entry for entry in container["env"] if KEY + entry["name"] not in extra]
    return replace(job, manifest=manifest, secret={key: job.secret[key] for key in job.secret if key not in extra})


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
