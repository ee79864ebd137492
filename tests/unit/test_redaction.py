"""Secrets are taken out, whatever stands around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.bounds import clip
from adapter.agent.redaction import MASK, SHORTEST, Redactor

LETTERS = st.text("abc", min_size=0, max_size=30)


@pytest.mark.parametrize(
    ("secrets", "text", "told"),
    [
        (["secret"], "a secret, a secret.", "a ***, a ***."),
        (["secret"], "secretsecret", "***"),
        (["abcdefgh", "efghijkl"], "<abcdefghijkl>", "<***>"),
        (["aaaaaa"], "aaaaaaaaa", "***"),
        (["short"], "short", "short"),
        (["", "  ", "\n"], "as it is", "as it is"),
        (["  padded-secret\n"], "padded-secret", "***"),
        (["-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----"], "it has MIIEvQIBADAN in it", "it has *** in it"),
        (['pass"word\\1'], 'in JSON: "pass\\"word\\\\1"', 'in JSON: "***"'),
        (["a.*+secret"], "a.*+secret axxxsecret", "*** axxxsecret"),
        (["0123456789"], "ends in 01234567…", "ends in ***…"),
        (["0123456789"], "…456789 begins", "…*** begins"),
        (["0123456789"], "ends in 01234…", "ends in 01234…"),
        (["0123456789"], "01234567 whole text", "01234567 whole text"),
    ],
)
def test_a_text_without_its_secrets(secrets: list[str], text: str, told: str) -> None:
    assert Redactor(secrets).text(text) == told


def test_plain_json_without_its_secrets() -> None:
    value = {"key-secret": ["secret", {"n": 1, "deep": "x secret"}], "none": None, "yes": True}

    assert Redactor(["secret"]).plain(value) == {
        f"key-{MASK}": [MASK, {"n": 1, "deep": f"x {MASK}"}],
        "none": None,
        "yes": True,
    }


def test_a_redactor_does_not_show_what_it_hides() -> None:
    assert "secret" not in repr(Redactor(["secret-of-mine"]))


@given(secrets=st.lists(LETTERS, max_size=4), text=LETTERS)
def test_no_secret_is_left(secrets: list[str], text: str) -> None:
    told = Redactor(secrets).text(text)

    assert not [one for one in secrets if len(one) >= SHORTEST and one in told]


@given(before=st.text("xyz", max_size=40), after=st.text("xyz", max_size=40), most=st.integers(20, 60))
def test_no_part_of_a_secret_is_left_at_a_cut(before: str, after: str, most: int) -> None:
    secret = "0123456789abcdefghij"
    told = Redactor([secret]).text(clip(before + secret + after, most))

    assert not [at for at in range(len(secret) - SHORTEST + 1) if secret[at : at + SHORTEST] in told]
