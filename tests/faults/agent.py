"""An agent that keeps a record of its own: what it has said, word for word, and how it ended.

It runs as a program, in a container of the embedded cluster; the judge asks `line` what each line must have been.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

LAST_WORDS = 3
"""Lines that an agent still says after SIGTERM, if it hears it."""


def line(number: int, kind: str, seed: int) -> bytes:
    """The agent's line of that number: no two are the same, but for the empty ones."""
    odd = (seed * 2_654_435_761 + number * 40_503) % 97
    if kind == "plain" or odd > 40:
        return b"%d the quick brown fox of %d\n" % (number, seed)
    if odd < 8:
        return b"\n"
    if odd < 14 and kind == "long":
        return b"%d %s end of %d\n" % (number, b"x" * (17_000 + odd * 3000), number)
    if odd < 24:
        return b"%d \xff\xfe\0\r progress \xe2\x80\xa8 \x1b[31m\n" % number
    return b"%d 2026-11-24T10:00:00.000000000Z stdout F a line of %d that looks like a log's\n" % (number, odd)


def main(record: str, seed: int, lines: int, pause: float, code: int, kind: str, deaf: bool) -> None:
    record = f"{record}-{time.time_ns()}"  # an operator may delete the Job while nobody looks: then it is run anew
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: None if deaf else told.append(1))
    with open(record, "ab", buffering=0) as said:  # noqa: PTH123 - quick to start
        number = 0
        while number < lines and not told:
            number += 1
            _say(line(number, kind, seed), said.fileno())
            time.sleep(pause)
        for _ in range(LAST_WORDS if told else 0):
            number += 1
            _say(line(number, kind, seed), said.fileno())
    with open(record + ".end", "w") as end:  # noqa: PTH123 - quick to start
        json.dump({"told": bool(told), "code": code}, end)
    os._exit(code)


def _say(text: bytes, record: int) -> None:
    """First to everybody, then for the record: what is on record was certainly said."""
    rest = text
    while rest:
        rest = rest[os.write(1, rest) :]
    os.write(record, text)


if __name__ == "__main__":
    main(sys.argv[1], *json.loads(sys.argv[2]))
