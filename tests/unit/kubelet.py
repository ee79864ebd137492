"""A container's log file, and how the kubelet serves it: pure, and as nasty as the real one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from hypothesis import strategies as st

from adapter.cluster.framing import Batch, Framer

PART = 12
"""Bytes of a part of a long line; 16 KiB in truth."""

EPOCH = dt.datetime(2026, 11, 22, 21, 15, 58, tzinfo=dt.UTC)
SECOND = 1_000_000_000


def stamp(nanoseconds: int, offset: str = "Z") -> bytes:
    """A moment, counted from the log's beginning, as the API writes it."""
    whole, rest = divmod(nanoseconds, SECOND)
    shift = dt.timedelta(hours=int(offset[:3])) if offset != "Z" else dt.timedelta()
    at = EPOCH + dt.timedelta(seconds=whole) + shift
    return at.strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09d" % rest + offset.encode()


@dataclass(frozen=True)
class Part:
    """An entry of the file: a whole line, or a part of one. The text of the last part of a line ends with `\\n`."""

    at: int
    text: bytes


@dataclass(frozen=True)
class File:
    """The file, and what of it the kubelet can serve."""

    parts: tuple[Part, ...]
    offset: str = "Z"

    @classmethod
    def of(cls, *lines: tuple[int, bytes], part: int = PART) -> File:
        """Each line with the time of its first part; the others follow within nanoseconds."""
        return cls(tuple(p for at, line in lines for p in parts_of(at, line, part)))

    def serve(self, since: str | None = None) -> bytes:
        """What the API answers: from the whole second on, by part; only a part that begins a line has its stamp."""
        floor = -1 if since is None else int((_instant(since) - EPOCH).total_seconds()) * SECOND
        answer, begins = [], True
        for part in self.parts:
            if part.at >= floor:
                answer += [stamp(part.at, self.offset), b" "] if begins else []
                answer.append(part.text)
            begins = part.text.endswith(b"\n")
        return b"".join(answer)

    @property
    def text(self) -> bytes:
        """The agent's bytes."""
        return b"".join(part.text for part in self.parts)

    def rotated(self, lines: int) -> File:
        """The file without its first lines."""
        ends = [n + 1 for n, part in enumerate(self.parts) if part.text.endswith(b"\n")]
        return File(self.parts[ends[lines - 1] if lines else 0 :], self.offset)

    @property
    def lines(self) -> int:
        return sum(part.text.endswith(b"\n") for part in self.parts)


def _instant(text: str) -> dt.datetime:
    assert text.endswith("Z")
    assert "." not in text
    return dt.datetime.fromisoformat(text)


def parts_of(at: int, line: bytes, part: int = PART) -> list[Part]:
    body = line.removesuffix(b"\n")
    cuts = [body[n : n + part] for n in range(0, len(body), part)] or [b""]
    cuts[-1] += line[len(body) :]
    return [Part(at + n, text) for n, text in enumerate(cuts) if text]


TEXTS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"", b"\r", b"\0", b"\xff\xfe", b"50%\r100%", b" ", "\u2028".encode(), stamp(5) + b" fake"]),
    st.integers(1, 6 * PART).map(lambda n: bytes(97 + i % 26 for i in range(n))),
).map(lambda text: text.replace(b"\n", b"."))

STEPS = st.sampled_from([0, 1, 700, 300_000, 5_000_000, 400_000_000, 999_999_999, SECOND, 3 * SECOND])


@st.composite
def files(draw: st.DrawFn, *, distinct: bool = False, least: int = 0, most: int = 25) -> File:
    """Two streams, each in order, merged as they arrive: one may lie behind the other by milliseconds."""
    count = draw(st.integers(least, most))
    steps = draw(st.lists(STEPS, min_size=count, max_size=count))
    texts = draw(st.lists(TEXTS, min_size=count, max_size=count))
    late = draw(st.sets(st.integers(0, max(0, count - 1)), max_size=count // 3))
    at = 0
    lines: list[tuple[int, bytes]] = []
    for step, text in zip(steps, texts, strict=True):
        equal = len(lines) > 1 and lines[-2][0] == at  # three at once, at most: two streams, nanoseconds
        at += max(step, 10 * PART if distinct else int(equal))
        lines.append((at, text + b"\n"))
    for n in sorted(late, reverse=True):
        reach = next((m for m in range(n + 1, len(lines)) if lines[m][0] - lines[n][0] > 900_000_000), len(lines))
        lines.insert(min(n + draw(st.integers(1, 4)), reach - 1), lines.pop(n))
    ended = draw(st.booleans())
    if lines and not ended:
        last_at, last = lines[-1]
        lines[-1] = (last_at, last[:-1] or b"unfinished")
    return File.of(*lines)


@dataclass
class Reader:
    """Reads a file through a framer, as the follower does, and keeps what came out of it."""

    framer: Framer
    batches: list[Batch]

    @classmethod
    def new(cls, cap: int) -> Reader:
        return cls(Framer(cap), [])

    def stream(self, file: File, upto: int | None = None, block: int = 0) -> None:
        """One stream, from where we are, cut off after `upto` bytes, in blocks of `block` bytes."""
        answer = file.serve(self.framer.resume())[:upto]
        self.batches += self.framer.feed(b"")
        for n in range(0, len(answer), block or max(1, len(answer))):
            self.batches += self.framer.feed(answer[n : n + (block or len(answer))])

    def finish(self) -> None:
        self.batches += self.framer.finish()

    @property
    def data(self) -> bytes:
        return b"".join(batch.data for batch in self.batches)

    @property
    def gaps(self) -> list[str]:
        return [batch.gap for batch in self.batches if batch.gap]
