"""The rules about single texts, and that what they let through is what Kubernetes lets through."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent import checks
from adapter.run import MAX_ENV_BYTES

Rule = Callable[[str], str]


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (checks.cpu, ["500m", "2", "1.5", ".5", "2.", "1e3", "1E3", "1e-1", "1k", "0"]),
        (checks.memory, ["2Gi", "512Mi", "1e9", "128974848", "129M", "1.5Gi", "1E", "1E3", "7Ei", "1Ki", "0"]),
        (checks.more_than_nothing(checks.cpu), ["1m", "4000m"]),
        (checks.label_value, ["", "a", "A.b_c-d", "1", "a" * 63]),
        (checks.label_key, ["a", "disktype", "node.kubernetes.io/instance-type", "a.b/" + "c" * 63, "X_y"]),
        (checks.namespace, ["default", "a", "1-2", "a" * 63]),
        (checks.object_name, ["paperclip-data", "a.b-c.d", "a" * 253]),
        (checks.path, ["/", "/paperclip", "/a b/é", "/..a/.b", "/a:b"]),
        (checks.mount_path, ["/paperclip", "/run/claude", "/run/claude-k8s-not", "/device", "/home/agent"]),
        (checks.env_name, ["A", "_", "a.b-c", ".hidden", "-x", "A" * 249]),
        (checks.image, ["busybox", "ghcr.io:443/a/b:1.2@sha256:0f"]),
        (checks.word, ["sonnet[1m]", "arn:aws:bedrock:eu-west-1::x/y"]),
        (checks.pattern, ["ANTHROPIC_*", "A?B", "[AB]_C"]),
        (checks.identifier, ["run 1", "agent@host", "x" * 512]),
        (checks.argument, ["", "a b\n", "é" * (MAX_ENV_BYTES // 2)]),
    ],
)
def test_what_is_taken(rule: Rule, good: list[str]) -> None:
    assert [rule(text) for text in good] == good


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (checks.cpu, ["", "x", "-1", "+1", "1 ", "1.2.3", ".", "2Gi", "1e", "1e999", "1u", "٣", "9" * 33, "9e30"]),
        (checks.memory, ["", "128m", "2 Gi", "2gi", "-1Gi", "1i", "9e30", "16Ei"]),
        (checks.more_than_nothing(checks.cpu), ["0", "0.0", "0e9", "-1"]),
        (checks.more_than_nothing(checks.memory), ["0", "0Gi"]),
        (checks.label_value, ["a b", "-a", "a-", "a" * 64, "a/b", "é", "a\n"]),
        (checks.label_key, ["", "a b", "a/", "/a", "A.b/c", "a/b/c", "a" * 64, ("a" * 254) + "/b", "a\n"]),
        (checks.namespace, ["A", "a.b", "-a", "a_b", "a" * 64, "a\n"]),
        (checks.object_name, ["A", "a..b", ".a", "a_b", "a" * 254, "a/b"]),
        (checks.path, ["", "a", "./a", "/a/../b", "/..", "/a/./b", "/a//b", "//a", "/a\nb", "/" + "a" * 5000, "/\0"]),
        (checks.mount_path, ["/", "/a:b", "/run", "/run/claude-k8s", "/run/claude-k8s/in", "/proc", "/dev/shm", "x"]),
        (checks.env_name, ["", "1A", "A B", "A=B", "A\n", ".", "..", "..A", "É", "A" * 250]),
        (checks.image, ["a b", "a\n", "é"]),
        (checks.word, ["-x", "a b", "a\nb", "a\0"]),
        (checks.pattern, ["", "A B", "A=*", "A\n"]),
        (checks.identifier, ["", "  ", "x" * 513, "a\nb", "a\0b"]),
        (checks.argument, ["a\0", "\ud800", "é" * (MAX_ENV_BYTES // 2 + 1)]),
    ],
)
def test_what_is_refused(rule: Rule, bad: list[str]) -> None:
    for text in bad:
        with pytest.raises(ValueError, match=r"^(is|has|contains|overlaps|starts)\b"):
            rule(text)


def test_a_slash_at_the_end_is_dropped() -> None:
    assert (checks.path("/a/"), checks.mount_path("/a//")) == ("/a", "/a")


@pytest.mark.parametrize(
    ("less", "more"),
    [("500m", "1"), ("1", "1.5"), ("1Gi", "1.1G"), ("1Mi", "1e7"), ("1M", "1Mi"), ("1P", "1E"), (".5", "1")],
)
def test_amounts_compare(less: str, more: str) -> None:
    assert checks.amount(less) < checks.amount(more)


@given(number=st.integers(0, 10**6), suffix=st.sampled_from(["", "k", "M", "Ki", "Mi", "Gi", "e3", "E2"]))
def test_an_amount_is_the_number_times_its_suffix(number: int, suffix: str) -> None:
    assert checks.amount(f"{number}{suffix}") == number * checks.amount(f"1{suffix}")
    assert checks.amount(f"{number}m") == Fraction(number, 1000)


QUANTITY = re.compile(r"[+-]?(\d+|\d+\.\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
"""apimachinery's grammar, in api/resource/quantity.go."""


@given(text=st.from_regex(r"[0-9.]{0,4}[-+]?[a-zA-Z]{0,2}[-+]?[0-9]{0,3}", fullmatch=True))
def test_no_quantity_is_taken_that_kubernetes_would_not_take(text: str) -> None:
    for rule in (checks.cpu, checks.memory):
        try:
            rule(text)
        except ValueError:
            continue
        assert QUANTITY.fullmatch(text)


def test_a_variable_counts_with_its_name_and_its_value_is_in_no_error() -> None:
    fits = "x" * (MAX_ENV_BYTES - len("NAME="))

    assert checks.env_value("NAME", fits) == fits
    with pytest.raises(ValueError, match=f"^has {MAX_ENV_BYTES + 1} bytes") as caught:
        checks.env_value("NAME", fits + "x")
    assert "xx" not in str(caught.value)
