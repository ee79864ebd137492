"""Where a reader is: every byte once, or a word about it, whatever the journal's entries look like."""

from __future__ import annotations

import base64
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.plane.store import Entry
from adapter.sidecar.errors import BadCursor
from adapter.sidecar.place import PIECE, Place, cut, text_of

logs = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=12)), max_size=12)


def entries(chunks: Any) -> list[Entry]:
    made: list[Entry] = []
    ends = {"stdout": 0, "stderr": 0}
    for seq, (stream, body) in enumerate(chunks, 1):
        data = {"stamp": "", "continued": False}
        made.append(Entry(seq, "log", 0.0, data, stream, ends[stream], body))
        ends[stream] += len(body)
    return made


def body_of(line: dict[str, Any]) -> bytes:
    return base64.b64decode(line["base64"]) if "base64" in line else str(line["text"]).encode()


def test_a_cursor_is_read_back_as_it_was_given_out() -> None:
    place = Place("abc-1_Z", 7, {"stdout": 12, "stderr": 3})
    assert str(place) == "abc-1_Z.7.12.3"
    assert Place.parse(str(place)) == place


def test_a_cursor_of_an_earlier_version_says_nothing_of_how_the_log_began() -> None:
    assert str(Place.parse("abc.7.12.3.1f.-")) == "abc.7.12.3.1f.-"
    assert Place.parse("abc.7.12.3").at("other").doubts == {}


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a.1.2.3.4.",
        "a.1.2.3.g.-",
        "a.1.2.3.123456789.0",
        "a.1.2",
        "a.1.2.3.4",
        "a.-1.2.3",
        "a.1.2.3\n",
        ".1.2.3",
        "a.1.2.٣",
        "a b.1.2.3",
        "a." + "9" * 16 + ".0.0",
    ],
)
def test_a_garbled_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="after"):
        Place.parse(text)


@given(logs, st.data())
def test_whoever_goes_on_from_any_line_has_every_byte_once(chunks: Any, data: st.DataObject) -> None:
    """Law 3, for readers: in the same journal, and in another one that has cut the log elsewhere."""
    journal = entries(chunks)
    first = Place("one")
    told = [line for entry in journal for line in first.lines(entry)]
    seen = data.draw(st.integers(0, len(told)))
    after = Place.parse(told[seen - 1]["cursor"]) if seen else Place("one")
    whole = {"stdout": b"", "stderr": b""}
    for line in told[:seen]:
        whole[line["stream"]] += body_of(line)
    other = data.draw(st.booleans())
    again = entries([(s, bytes([b])) for s, body in chunks for b in body]) if other else journal
    place = after.at("two") if other else after
    for line in [line for entry in again if entry.seq > place.seq for line in place.lines(entry)]:
        assert line["type"] == "log"
        assert line["offset"] == len(whole[line["stream"]])
        whole[line["stream"]] += body_of(line)
    assert whole == {s: b"".join(body for stream, body in chunks if stream == s) for s in whole}


def read_on(journal: list[Entry], place: Place, breaks: list[int]) -> list[dict[str, Any]]:
    """All that a reader is given from a place on who is cut off after so many lines, each time, and comes back."""
    told: list[dict[str, Any]] = []
    for most in [*breaks, None]:
        given = (line for entry in journal if entry.seq > place.seq for line in place.lines(entry))
        told += islice(given, most)
        if most is not None:
            place = Place.parse(told[-1]["cursor"] if told else str(place))
    return told + list(place.over("stdout")) + list(place.over("stderr"))


@given(st.data(), st.integers(0, 60), st.integers(1, 2000), st.integers(1, 300), st.booleans())
def test_log_that_is_counted_from_another_place_is_told_anew_and_that_is_said(
    data: st.DataObject, gone: int, size: int, width: int, quiet: bool
) -> None:
    """A reader of one journal comes to another one, which was begun when the first `gone` lines were rotated away.

    There is a stderr as well, of which the other journal may never have anything.
    """
    log, err = [b"%d %s\n" % (n, b"x" * width) for n in range(60)], ("stderr", b"err\n")
    first, rest = Place("one"), b"".join(log[gone:])
    told = [line for entry in entries([err, *(("stdout", line) for line in log)]) for line in first.lines(entry)]
    read = data.draw(st.integers(1, 60))
    pieces = [("stdout", rest[at : at + size]) for at in range(0, len(rest), size)]
    journal = entries(pieces if quiet else [*pieces, err])
    breaks = data.draw(st.lists(st.integers(0, 4), max_size=6))
    again = read_on(journal, Place.parse(told[read]["cursor"]).at("two"), breaks)
    given = b"".join(body_of(line) for line in again if line["type"] == "log")
    missed = [line for line in again if line["type"] == "missed"]
    if gone == 0:
        assert (missed, given) == ([], b"".join(log[read:]))
    elif rest:
        assert (len(missed), given) == (1, rest)
        assert again[0] is missed[0]


def test_while_it_is_not_known_where_a_log_begins_the_cursor_says_so() -> None:
    read = Place("one")
    [line] = [line for entry in entries([("stdout", b"one\ntwo\n")]) for line in read.lines(entry)]
    half, rest = entries([("stdout", b"one\n"), ("stdout", b"two\nthree\n")])
    place = Place.parse(line["cursor"]).at("two")
    assert list(place.lines(half)) == []
    assert str(place) == "two.0.8.0.~{}.-".format(line["cursor"].split(".")[4])
    again = Place.parse(str(place))
    [told] = [told for entry in (half, rest) for told in again.lines(entry)]
    assert (told["text"], told["offset"], str(again)) == ("three\n", 8, told["cursor"])
    assert "~" not in told["cursor"]


def test_a_long_entry_comes_in_pieces_between_lines_and_characters() -> None:
    lines = b"x" * 1000 + b"\n"
    long = "\N{SNOWMAN}".encode() * PIECE
    for body in (lines * 200, long, b"\xff" * 3 * PIECE):
        (entry,) = entries([("stdout", body)])
        told = list(Place("one").lines(entry))
        assert b"".join(map(body_of, told)) == body
        assert all(len(body_of(line)) <= PIECE for line in told)
        assert [line["continued"] for line in told[:-1]] == [not body_of(line).endswith(b"\n") for line in told[:-1]]
        assert [line["cursor"].split(".")[1] for line in told] == ["0"] * (len(told) - 1) + ["1"]
    assert all("text" in line for line in Place("one").lines(entries([("stdout", long)])[0]))


def test_log_that_begins_beyond_what_the_reader_has_is_missed_with_a_number() -> None:
    entry = Entry(5, "log", 0.0, {"stamp": "", "continued": False}, "stderr", 100, b"late\n")
    missed, log = Place("one", 3, {"stdout": 9, "stderr": 40}).lines(entry)
    assert (missed["type"], missed["bytes"], missed["cursor"]) == ("missed", 60, "one.3.9.100")
    assert "60 bytes of stderr" in missed["message"]
    assert (log["offset"], log["cursor"]) == (100, "one.5.9.105")


def test_a_gap_is_told_once_and_only_to_whom_it_is_news() -> None:
    gap = Entry(2, "gap", 0.0, {"stream": "stdout", "offset": 30, "bytes": 20}, None, 0, b"")
    (missed,) = Place("one", 1, {"stdout": 10, "stderr": 0}).lines(gap)
    assert (missed["bytes"], missed["cursor"]) == (20, "one.1.30.0")
    knows = Place("one", 1, {"stdout": 30, "stderr": 0})
    assert list(knows.lines(gap)) == []
    assert knows.seq == 2


def test_bytes_that_are_no_text_stay_bytes() -> None:
    assert text_of("h\N{LATIN SMALL LETTER E WITH ACUTE}\n".encode()) == {
        "text": "h\N{LATIN SMALL LETTER E WITH ACUTE}\n"
    }
    assert text_of(b"\xff\0") == {"base64": "/wA="}
    assert cut(b"short", 2) == 5
