"""What Kubernetes, Linux and the agent take: rules about single texts.

Each rule returns the text, or raises ValueError phrased to follow the name of the field: `is not a ...: what to do`.
The API server's own rules are those of Kubernetes 1.34 (apimachinery `util/validation`, core `validation`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from posixpath import normpath
from string import ascii_letters

from adapter.run import MAX_ENV_BYTES

OURS = "/run/claude-k8s"
"""Where the adapter mounts what the agent's container needs of it."""

LONGEST_PATH = 4095

LONGEST_ENV_NAME = 249
"""A variable's value is kept in a Secret under `env.NAME`, and a Secret's key has at most 253 characters."""

_ALNUM = "[A-Za-z0-9]"
_LABEL = re.compile(rf"(?:{_ALNUM}[-A-Za-z0-9_.]{{0,61}})?{_ALNUM}")
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_CPU = re.compile(_NUMBER + r"(m|k|M|[eE][+-]?\d{1,2})?", re.ASCII)
_MEMORY = re.compile(_NUMBER + r"(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d{1,2})?", re.ASCII)
_POWERS = {name: Fraction(1000) ** power for power, name in enumerate(("m", "", "k", "M", "G", "T", "P", "E"), -1)}
_POWERS |= {name: Fraction(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_MOST = 2**63 - 1


def text(value: str) -> str:
    """A text that a process can be given."""
    if "\0" in value:
        raise ValueError("contains a NUL character, which no process can be given")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode") from None
    return value


def argument(value: str) -> str:
    """One argument of a command line: Linux bounds its size as it does a variable's."""
    if len(text(value).encode()) >= MAX_ENV_BYTES:
        raise ValueError(f"has more than the {MAX_ENV_BYTES} bytes Linux can exec: put it into a file")
    return value


def identifier(value: str) -> str:
    """A name that somebody else gave something: one line, not empty, at most 512 characters."""
    name = text(value).strip()
    if not name:
        raise ValueError("is empty")
    if len(name) > 512:
        raise ValueError("is longer than 512 characters")
    if not name.isprintable():
        raise ValueError("contains a character that does not print")
    return name


def word(value: str) -> str:
    """A value for an option of the agent's command line."""
    if not value.isprintable() or " " in argument(value):
        raise ValueError("contains a space or a character that does not print")
    if value.startswith("-"):
        raise ValueError("starts with a dash, so it would be taken for an option")
    return value


def image(value: str) -> str:
    """A container image's reference. What else is wrong with one, the node says."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("contains a space or a character that no image reference has")
    return value


def label_value(value: str) -> str:
    """A label's value: empty, or at most 63 characters, a letter or digit at both ends."""
    if value and not _LABEL.fullmatch(value):
        raise ValueError(
            "is not a label value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
        )
    return value


def label_key(value: str) -> str:
    """A label's key: a name like a label's value, after an optional DNS name and a slash."""
    prefix, slash, name = value.rpartition("/")
    if not _LABEL.fullmatch(name) or (slash and not _is_subdomain(prefix)):
        raise ValueError("is not a label key: a name of at most 63 characters, after an optional DNS name and '/'")
    return value


def namespace(value: str) -> str:
    """A namespace's name."""
    if len(value) > 63 or not re.fullmatch(_DNS_LABEL, value):
        raise ValueError(
            "is not a namespace's name: at most 63 lower-case letters, digits and '-', none of them '-' at an end"
        )
    return value


def object_name(value: str) -> str:
    """The name of a ServiceAccount, Secret, PersistentVolumeClaim, PriorityClass or RuntimeClass."""
    if not _is_subdomain(value):
        raise ValueError("is not the name of an object: lower-case letters, digits, '-' and '.', at most 253")
    return value


def _is_subdomain(value: str) -> bool:
    return len(value) <= 253 and _DNS_SUBDOMAIN.fullmatch(value) is not None


def path(value: str) -> str:
    """An absolute path without `..`; a slash at its end is dropped."""
    if not text(value).startswith("/"):
        raise ValueError("is not an absolute path")
    clean = value.rstrip("/") or "/"
    if value.startswith("//") or normpath(clean) != clean or not clean.isprintable():
        raise ValueError("is not a clean path: leave out '.', '..', doubled slashes and what does not print")
    if len(clean.encode()) > LONGEST_PATH:
        raise ValueError(f"is longer than the {LONGEST_PATH} bytes Linux allows for a path")
    return clean


def mount_path(value: str) -> str:
    """Where a volume can be mounted: not where the adapter or the kernel has its own."""
    clean = path(value)
    if ":" in clean:
        raise ValueError("contains ':', which no mount path may")
    for taken in (OURS, "/proc", "/sys", "/dev"):
        if f"{clean}/".startswith(f"{taken}/") or f"{taken}/".startswith(clean.rstrip("/") + "/"):
            raise ValueError(f"overlaps {taken}, which is taken")
    return clean


def env_name(value: str) -> str:
    """The name of an environment variable, as every Kubernetes release takes it (1.34 itself takes more)."""
    if not _ENV_NAME.fullmatch(value) or value == "." or value.startswith(".."):
        raise ValueError("is not a valid environment variable name")
    if len(value) > LONGEST_ENV_NAME:
        raise ValueError(f"is longer than {LONGEST_ENV_NAME} characters")
    return value


def env_value(name: str, value: str) -> str:
    """The value of an environment variable. The value is in no error."""
    size = len(name.encode()) + 1 + len(text(value).encode())
    if size > MAX_ENV_BYTES:
        raise ValueError(f"has {size} bytes, more than the {MAX_ENV_BYTES} Linux can exec: put it into a file")
    return value


def pattern(value: str) -> str:
    """A pattern for names of environment variables, with `*`, `?` and `[...]` as in a shell."""
    if not value or not value.isprintable() or " " in value or "=" in value:
        raise ValueError("is not a pattern for a variable's name, such as ANTHROPIC_*")
    return value


def amount(quantity: str) -> Fraction:
    """How much a Kubernetes quantity is: cores or bytes. It must be one."""
    number = quantity.rstrip(ascii_letters)
    if number == quantity:
        return Fraction(number)
    return Fraction(number) * _POWERS[quantity.removeprefix(number)]


def cpu(value: str) -> str:
    """An amount of cores, such as 500m, 2, 1.5 or 1e3."""
    return _quantity(value, _CPU, "an amount of cores such as 500m, 2 or 1.5")


def memory(value: str) -> str:
    """An amount of bytes, such as 512Mi, 2Gi or 1e9. `128m` is an eighth of a byte, and is refused."""
    return _quantity(value, _MEMORY, "an amount of memory such as 512Mi, 2Gi or 1e9")


def _quantity(value: str, grammar: re.Pattern[str], meaning: str) -> str:
    if len(value) > 32 or not grammar.fullmatch(value):
        raise ValueError(f"is not {meaning}")
    if amount(value) > _MOST:
        raise ValueError("is more than Kubernetes can count")
    return value


def more_than_nothing(check: Callable[[str], str]) -> Callable[[str], str]:
    """The rule for limits: a limit of nothing lets nothing run."""

    def checked(value: str) -> str:
        if amount(check(value)) <= 0:
            raise ValueError("is zero, and nothing could run")
        return value

    return checked
