"""What a command line of `claude` says, word by word, as the CLI itself takes it. Pure.

The words and their rules are those of Claude Code 2.1.327: of its `--help`, and of commander, which parses for it. What
is not known here is passed on all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

FILES = {
    "--mcp-config": True,
    "--add-dir": True,
    "--settings": False,
    "--agents": False,
    "--system-prompt-file": False,
    "--append-system-prompt-file": False,
    "--append-subagent-system-prompt-file": False,
    "--plugin-dir": False,
    "--plugin-dir-no-mcp": False,
}
"""Options whose values name files or directories that the CLI reads (some take JSON as well), and whether one of them
takes several. Not those that name what it writes, such as `--debug-file`."""

COMMANDS = frozenset(
    {
        *("agents", "attach", "auth", "auto-mode", "config", "doctor", "gateway", "import", "install", "logs", "mcp"),
        *("plugin", "plugins", "purge", "remote-control", "respawn", "rm", "setup-token", "stop", "kill"),
        *("ultrareview", "update", "upgrade"),
    }
)
"""First words that are no prompt."""

_PRINTS = frozenset({"-p", "--print"})
_TELLS = frozenset({"-v", "--version", "-h", "--help"})
_FROM_STDIN = frozenset({"-", "--values-stdin"})
_RESUMES = re.compile(r"--resume|--continue|-p?[rc](?!-).*", re.DOTALL)
"""`-c`, `-r ID`, and the same joined with what commander allows: `-pc`, `-rID`."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a command line, or the value in one of the form `--option=value`.

    `option` is the option of `FILES` whose value it is; `joined` says that the two are one word.
    """

    text: str
    option: str = ""
    joined: bool = False


def words(argv: Sequence[str]) -> Iterator[Word]:
    """The words, with those known that name a file."""
    option, first = "", False
    rest = iter(argv)
    for text in rest:
        name, equals, value = text.partition("=")
        if option and (first or not _is_option(text)):
            yield Word(text, option)
            option, first = option if FILES[option] else "", False
        elif text == "--":
            yield Word(text)
            yield from map(Word, rest)
        elif equals and name in FILES:
            yield Word(value, name, joined=True)
            option = ""
        else:
            yield Word(text)
            option, first = (text, True) if text in FILES else ("", False)


class Line:
    """One command line of `claude`."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        before = takewhile(lambda word: word.option or word.text != "--", words(argv))
        self._plain = [word.text for word in before if not word.option]
        self.options = frozenset(text.partition("=")[0] for text in self._plain if _is_option(text))

    @property
    def is_command(self) -> bool:
        """Whether it is `claude mcp ...` or the like, and no prompt."""
        return self.argv[:1] != () and self.argv[0] in COMMANDS

    @property
    def only_tells(self) -> bool:
        """Whether it asks for the version or for help."""
        return bool(self.options & _TELLS)

    @property
    def wants_terminal(self) -> bool:
        """Whether the CLI would begin a conversation, given a terminal."""
        words = frozenset(self._plain)
        return not (words & (_PRINTS | COMMANDS) or self.only_tells)

    @property
    def reads_stdin(self) -> bool:
        """Whether the CLI reads stdin, other than as a terminal."""
        return bool(_FROM_STDIN & set(self.argv)) if self.is_command else not self.only_tells

    @property
    def reads_messages(self) -> bool:
        """Whether stdin is a stream of messages, and no text."""
        return self.value_of("--input-format") == "stream-json"

    @property
    def resumes(self) -> str | None:
        """The word that asks for an earlier session, if one does."""
        if self.is_command:
            return None
        return next((text for text in self._plain if _RESUMES.fullmatch(text.partition("=")[0])), None)

    def value_of(self, option: str) -> str | None:
        """The value that the option has last."""
        found: str | None = None
        for text, following in zip(self._plain, [*self._plain[1:], None], strict=True):
            name, joined, value = text.partition("=")
            if name == option:
                found = value if joined else following
        return found


def _is_option(text: str) -> bool:
    return len(text) > 1 and text.startswith("-")
