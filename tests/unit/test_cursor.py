from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.cluster.cursor import KEPT, Alignment, Cursor, is_stamp, split
from tests.unit.kubelet import SECOND, stamp

STAMPS = st.integers(0, 5 * SECOND).map(stamp)


@settings(deadline=None, max_examples=60)
@given(stamps=st.lists(STAMPS, max_size=5), forgot=st.booleans(), inside=STAMPS, taken=st.integers(0, 10**9))
def test_a_cursor_survives_as_text(stamps: list[bytes], forgot: bool, inside: bytes, taken: int) -> None:
    for cursor in (Cursor(tuple(stamps), forgot), Cursor(tuple(stamps), forgot, inside, taken)):
        assert Cursor.parse(str(cursor)) == cursor


def packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no cursor",
        "AAAA",
        "é",
        packed("not json"),
        packed("7"),
        packed("[]"),
        packed("{}"),
        packed('[0, false, "", 7]'),
        packed('[0, false, "", "yesterday"]'),
        packed('[0, false, "2026-99-22T21:15:39.043408314Z"]'),
        packed('[0, false, "", "2026-11-22T21:15:39.043408314Z and more"]'),
        packed('[null, false, ""]'),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words are
        Cursor.parse(text)


def test_a_cursor_keeps_the_last_stamps_only() -> None:
    stamps = [stamp(n) for n in range(KEPT + 10)]
    cursor = Cursor().after(stamps[:7]).after(stamps[7:])

    assert cursor.stamps == tuple(stamps[-KEPT:])
    assert cursor.forgot


def test_one_block_may_hold_more_than_is_kept() -> None:
    assert Cursor().after([stamp(n) for n in range(KEPT + 1)]).forgot
    assert not Cursor().after([stamp(n) for n in range(KEPT)]).forgot


def test_a_log_is_asked_for_from_the_second_before_the_cursor() -> None:
    assert Cursor().since is None
    assert Cursor((stamp(2 * SECOND + 5),)).since == "2026-11-22T21:15:59Z"
    assert Cursor((stamp(0),)).within(stamp(3 * SECOND), 9).since == "2026-11-22T21:16:00Z"


def test_a_stamp_is_recognised_by_its_shape() -> None:
    assert is_stamp(stamp(0) + b" ")
    assert not is_stamp(stamp(0))
    assert not is_stamp(b"rpc error: code = NotFound desc = an error")


def test_a_stamp_of_another_zone_is_made_utc() -> None:
    assert split(stamp(7, "+08:00") + b" text") == (stamp(7), b"text")
    assert split(b"2026-11-22 text") is None


def replay(alignment: Alignment, *stamps: int) -> list[bool]:
    return [alignment.took(stamp(at)) for at in stamps]


def test_a_replay_is_taken_up_to_the_cursors_record() -> None:
    alignment = Alignment(Cursor((stamp(1), stamp(2))))

    assert replay(alignment, 1, 2, 3) == [True, True, False]
    assert alignment.found


def test_records_that_share_a_stamp_are_told_apart_by_their_order() -> None:
    alignment = Alignment(Cursor((stamp(1), stamp(2), stamp(2))))

    assert replay(alignment, 1, 2, 2, 2) == [True, True, True, False]


def test_a_rotated_file_may_begin_at_the_second_of_two_equal_stamps() -> None:
    alignment = Alignment(Cursor((stamp(1), stamp(2), stamp(2), stamp(3))))

    assert replay(alignment, 2, 3, 4) == [True, True, False]
    assert alignment.found


def test_forgotten_records_are_skipped_even_where_they_share_a_stamp() -> None:
    alignment = Alignment(Cursor((stamp(5), stamp(6), stamp(7)), forgot=True))

    assert replay(alignment, 4, 5, 5, 6, 5, 6, 7, 8) == [True] * 7 + [False]
    assert alignment.found


def test_a_replay_without_the_cursors_record_says_so() -> None:
    alignment = Alignment(Cursor((stamp(1), stamp(2))))

    assert replay(alignment, 3) == [False]
    assert alignment.done
    assert not alignment.found
