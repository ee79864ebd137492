"""`python -m tests.faults`: plays the matrix and prints a line for each run and a table by mishap. Fails on any wrong.

A run is replayed by its seed and number: `--seed N --run K`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence

from rich.console import Console

from tests.bench.figures import quantile
from tests.bench.programs import quiet
from tests.faults.drawing import CATALOGUE, Plan, draw
from tests.faults.judging import Finding, names
from tests.faults.playing import play_all
from tests.faults.scene import Mishap

RUNS, AT_ONCE = 500, 6


def main() -> None:
    quiet()
    options = _arguments()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    numbers = options.run or range(options.runs)
    plans = [draw(options.seed, number, options.only) for number in numbers]
    console.print(f"seed {options.seed}, {len(plans)} runs, {options.at_once} at once")
    findings = asyncio.run(_played(plans, options.at_once, console))
    console.print(table(findings))
    console.print(total(findings, options.seed))
    sys.exit(any(finding.wrong for finding in findings))


async def _played(plans: Sequence[Plan], at_once: int, console: Console) -> list[Finding]:
    findings = []
    async for finding in play_all(plans, at_once):
        console.print(line(finding))
        findings.append(finding)
    return findings


def line(finding: Finding) -> str:
    """One run, in one line."""
    seconds = "-" if finding.seconds is None else f"{finding.seconds:.2f}"
    missed = [mishap.name for mishap in finding.plan.mishaps if mishap.name not in finding.struck]
    words = [
        f"run {finding.plan.number}",
        "WRONG" if finding.wrong else "ok",
        finding.outcome,
        f"lost {finding.lost}{' (said)' if finding.lost and finding.gap_said else ''}",
        f"twice {finding.twice}",
        f"streams {finding.streams}",
        f"{seconds} s",
        " + ".join(finding.struck) + (f" (too late: {', '.join(missed)})" if missed else ""),
        *finding.wrong,
        *(f"said: {gap}" for gap in sorted(set(finding.gaps)) if finding.wrong),
    ]
    return "  ".join(words)


HEAD = """\
| mishap | runs | lost | twice | outcome right | gap said | streams left | median s | worst s |
|---|---|---|---|---|---|---|---|---|"""


def table(findings: Sequence[Finding]) -> str:
    """The findings by mishap, as Markdown: so they stand in docs/reliability.md."""
    by_name = names(findings)
    rows = [
        " | ".join([f"| {mishap.group}: {mishap.name}", *row(mishap, found)]) + " |"
        for mishap in CATALOGUE
        if (found := by_name.get(mishap.name))
    ]
    return "\n".join([HEAD, *rows])


def row(mishap: Mishap, found: Sequence[Finding]) -> list[str]:
    """One mishap in figures. Lost lines are counted where they were taken; `gap said`: runs that say so, of those."""
    seconds = [one.seconds for one in found if one.seconds is not None]
    lossy = [one for one in found if one.lost and mishap in takers(one)]
    return [
        str(len(found)),
        str(sum(one.lost for one in lossy)),
        str(sum(one.twice for one in found)),
        f"{sum(one.right for one in found)}/{len(found)}",
        f"{sum(one.gap_said for one in lossy)}/{len(lossy)}" if lossy else "-",
        str(sum(one.streams for one in found)),
        f"{quantile(seconds, 0.5):.2f}" if seconds else "-",
        f"{max(seconds):.2f}" if seconds else "-",
    ]


def takers(finding: Finding) -> list[Mishap]:
    """Those mishaps of a run that may have taken its lines; all of them, where none of them may."""
    struck = [mishap for mishap in finding.plan.mishaps if mishap.name in finding.struck]
    return (
        [m for m in struck if m.silent]
        or [m for m in struck if m.losing]
        or [m for m in struck if m.outcomes]
        or struck
    )


def total(findings: Sequence[Finding], seed: int) -> str:
    """The last line, with what replays what went wrong."""
    wrong = sorted(finding.plan.number for finding in findings if finding.wrong)
    again = "".join(f" --run {number}" for number in wrong)
    words = f"{len(findings)} runs, {len(wrong)} wrong"
    if seconds := [finding.seconds for finding in findings if finding.seconds is not None]:
        middle, late = quantile(seconds, 0.5), quantile(seconds, 0.99)
        words += f"; from the end of the Job to the result: median {middle:.2f} s, p99 {late:.2f} s"
    return words + (f"; again: python -m tests.faults --seed {seed}{again}" if wrong else "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="drawn, if not given")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"how many runs (default {RUNS})")
    parser.add_argument("--only", metavar="NAME", help="one mishap alone, by the beginning of its name")
    parser.add_argument("--run", type=int, action="append", metavar="K", help="only the run of that number")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"side by side (default {AT_ONCE})")
    return parser.parse_args()


if __name__ == "__main__":
    main()
