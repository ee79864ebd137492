"""Where a reader is: every byte once, or a word about it, whatever the journal's entries look like."""

from __future__ import annotations

import base64
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


@pytest.mark.parametrize(
    "text",
    ["x", "a.1.2", "a.1.2.3.4", "a.-1.2.3", "a.1.2.3\n", ".1.2.3", "a.1.2.٣", "a b.1.2.3", "a." + "9" * 16 + ".0.0"],
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
