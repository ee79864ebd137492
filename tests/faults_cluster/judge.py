"""Holds a run's result against what its pod said, what the API server said of it, and what was left open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapter import RunResult
from adapter.cluster.connection import ApiError, Unreachable
from tests.faults_cluster.ground import LIMITS, Ground, Run
from tests.faults_cluster.ledger import Tally
from tests.faults_cluster.matrix import Row
from tests.faults_cluster.streams import log_streams_left

SEEN = 5.0
"""Seconds that the witness may be later than the result. Some ends are never seen: a node that is lost."""


READ = timedelta(seconds=1)
"""How long before the result a log that goes on is read for the last time, at most."""


@dataclass(frozen=True)
class Expected:
    """What a run must come to; an outcome may be one `or` another.

    `losing`: the API itself may not have all lines any more, but that must be said then. `torn`: whoever writes the log
    may lose what it holds, so that there are lines which nobody has: only those count that the API server still serves.
    `goes_on`: the pod may outlive the result, and nobody counts what it says then.
    """

    outcome: str
    codes: tuple[str, ...]
    exit_code: int | None = None
    losing: bool = False
    torn: bool = False
    goes_on: bool = False


SUCCESS = Expected("succeeded", ("ok",), 0)


@dataclass
class Judged:
    """What a run has delivered, its result, and what the judge found. `heard`: its pod could still say its last word;
    else nobody knows what it said after the last line that came."""

    tally: Tally
    result: RunResult
    lost: list[int]
    right: bool
    heard: bool = True
    seconds: float | None = None
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, tally: Tally, result: RunResult, expected: Expected, said: int | None) -> Judged:
        """A run whose pod has said so many lines; None: it could not tell."""
        lost = tally.missing(tally.last if said is None else said)
        return cls(tally, result, lost, _fits(result, expected), heard=said is not None)

    @property
    def gap_said(self) -> bool:
        return not self.result.log.complete


class Judge:
    """Judges the runs of one test, whose line of the table is `fault`."""

    def __init__(self, ground: Ground, fault: str, rows: list[Row]) -> None:
        self._ground, self._witness = ground, ground.witness
        self._fault, self._rows = fault, rows

    async def __call__(
        self, *runs: Run, expected: Expected = SUCCESS, within: float = 120, note: Callable[[], str] = str
    ) -> None:
        """Waits for the results, writes the line, with a note, and fails where anything is wrong."""
        async with asyncio.timeout(within):
            results = [await run.task for run in runs]
        left = await log_streams_left(self._ground.place, self._ground.streams_before)
        judged = [await self._judge(run, result, expected) for run, result in zip(runs, results, strict=True)]
        silence = max(run.ledger.silence for run in runs)
        notes = [note(), f"no beat for {silence:.0f} s" if silence > 2 * LIMITS.beat else ""]
        self._rows.append(_row(self._fault, judged, left, notes))
        assert not (wrong := [fault for one in judged for fault in one.wrong]), "\n".join(wrong)
        assert not left, "a log stream outlived its run"

    async def _judge(self, run: Run, result: RunResult, expected: Expected) -> Judged:
        job = str(result.job)
        with suppress(TimeoutError):
            await self._witness.until(lambda: job in self._witness.ended_at, SEEN)
        said = None if expected.goes_on else self._witness.said(job)
        judged = Judged.of(run.ledger.tally, result, expected, said)
        if ended := self._witness.ended_at.get(job):
            judged.seconds = max(0.0, run.ledger.accepted_at - ended)
        judged.wrong += [*run.ledger.wrong, *faults(judged, expected), *self._contradictions(result)]
        if run.ledger.gaps and result.log.complete:
            judged.wrong.append(f"a gap was told, and the result says that there is none: {run.ledger.gaps}")
        if expected.losing:
            judged.wrong += await self._still_there(run, judged)
        return judged

    def _contradictions(self, result: RunResult) -> Iterator[str]:
        """Where the result is not what the API server says."""
        job, state = self._witness.jobs.get(str(result.job)), self._witness.terminated(str(result.job))
        if job and job["metadata"]["uid"] != result.job_uid:
            yield f"the Job's UID is {job['metadata']['uid']}, not {result.job_uid}"
        if state and result.exit_code is not None and state["exitCode"] != result.exit_code:
            yield f"the pod says {state}, not {result.exit_code}"

    async def _still_there(self, run: Run, judged: Judged) -> list[str]:
        """Lines that were not delivered, although the API server serves them, and did before the result."""
        try:
            text = await self._ground.place.log(str(judged.result.pod), timestamps="true")
        except (ApiError, Unreachable):
            return []
        served = set(lines_before(text, run.ledger.accepted_on - READ))
        there = served & set(run.ledger.tally.missing(max(served, default=0)))
        return [f"{len(there)} lines lost that the API server still serves"] if there else []


def faults(judged: Judged, expected: Expected) -> Iterator[str]:
    """What is wrong with a log and its result. A line that is lost without a word always is."""
    tally, lost = judged.tally, judged.lost
    said_gap = expected.losing and judged.gap_said
    if not expected.torn and not (said_gap and len(tally.strange) <= len(lost)):  # a gap may leave a line's end behind
        yield from (f"nobody said {line!r}" for line in tally.strange)
    if not judged.heard and not expected.losing:
        yield "nobody knows how many lines the pod has said"
    if not judged.right:
        yield f"expected {expected}, not {judged.result}"
    if [number for number in tally.odd if not (expected.torn and _is_piece(number, lost))]:
        yield f"{tally.twice} lines twice, {tally.backwards} out of order"
    if lost and not expected.torn and not said_gap:
        said = "" if judged.gap_said else " without a word"
        yield f"{len(lost)} lines lost{said} ({lost[0]} to {lost[-1]} of {tally.last})"
    if judged.gap_said and not lost and not expected.losing:
        yield f"a gap was said where there is none: {judged.result.log.notes}"


def _is_piece(number: int, lost: list[int]) -> bool:
    """Whether it may be what is left of a line that was torn within its number: `1234` or `56` of `123456`."""
    text = str(number)
    others = (str(one) for one in lost if one != number)
    return any(other.startswith(text) or other.endswith(text) for other in others)


def lines_before(text: bytes, moment: datetime) -> Iterator[int]:
    """The numbers of those lines of a log with stamps that were said before a moment. Node and judge share a clock."""
    last = moment.strftime("%Y-%m-%dT%H:%M:%S.%f").encode()
    for line in text.split(b"\n")[:-1]:
        stamp, _, said = line.partition(b" ")
        number = said.partition(b" ")[0]
        if stamp < last and number.isdigit():
            yield int(number)


def _fits(result: RunResult, expected: Expected) -> bool:
    fits = result.outcome.value in expected.outcome.split(" or ") and result.code.value in expected.codes
    return fits and (expected.exit_code is None or result.exit_code == expected.exit_code)


def _row(fault: str, judged: list[Judged], left: int, notes: list[str]) -> Row:
    said = sorted({text for one in judged for text in one.result.log.notes})
    return Row(
        fault=fault,
        runs=len(judged),
        lines=sum(one.tally.lines for one in judged),
        lost=sum(len(one.lost) for one in judged),
        heard=all(one.heard for one in judged),
        twice=sum(one.tally.twice for one in judged),
        outcome=", ".join(sorted({one.result.code.value for one in judged})),
        right=all(one.right for one in judged),
        gap_said=any(one.gap_said for one in judged),
        streams=left,
        seconds=max((one.seconds for one in judged if one.seconds is not None), default=None),
        note="; ".join(text for text in (*notes, *said) if text),
    )
