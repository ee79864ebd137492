"""What became of a run, by the word of those who had no part in it: the agent's own record, the server, the plane."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from adapter.errors import Code
from adapter.local import LocalCluster
from tests.faults.agent import line
from tests.faults.drawing import Plan
from tests.faults.scene import Mishap, Scene


@dataclass(frozen=True)
class Finding:
    """One run, judged. `wrong` says in words what must not be; empty: nothing."""

    plan: Plan
    struck: tuple[str, ...] = ()
    lost: int = 0
    twice: int = 0
    outcome: str = ""
    right: bool = True
    gap_said: bool = False
    streams: int = 0
    seconds: float | None = None
    gaps: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


OWN = (Code.OK, Code.EXIT_CODE)
"""Codes of an end that was the container's own."""


def struck_in(plan: Plan, scene: Scene) -> list[Mishap]:
    """Those of the plan's mishaps that have happened."""
    return [mishap for mishap in plan.mishaps if mishap.name in scene.happened]


def judge(plan: Plan, scene: Scene, streams: int) -> Finding:
    """Everything that can be known of a run that is over."""
    result, struck = scene.ledger.accepted, struck_in(plan, scene)
    said, got = scene.said, bytes(scene.ledger.data)
    lost, twice = _compared(plan, said, got, ended=scene.ended is not None)
    outcome = result.outcome.value if result else "none"
    right = outcome in _expected(plan, scene) and _exit_code_is_right(scene) and _code_is_right(plan, scene)
    gap_said = bool(scene.ledger.gaps) or bool(result and not result.log.complete)
    losing = _may_lose(struck)
    silent, doubt = any(m.silent for m in struck), losing or any(m.doubtful for m in struck) or _much(plan, struck)
    code = f" ({result.code.value}: {result.message})" if result else ""
    wrong = list(scene.ledger.wrong)
    wrong += ["no result was accepted"] if result is None else []
    wrong += [f"lines were lost, though nothing took them: {lost}"] if lost and not losing else []
    wrong += [f"lines were lost without a word: {lost}{code}"] if lost and not gap_said and not silent else []
    wrong += [f"lines came twice, or were nobody's: {twice}"] if twice else []
    wrong += ["lines came in another order than they were said"] if not twice and not _in_order(said, got) else []
    wrong += [f"a gap was said where there is none{code}"] if gap_said and not lost and not doubt else []
    wrong += [f"outcome {outcome}{code}, not one of {sorted(_expected(plan, scene))}"] if not right else []
    wrong += [f"streams left: {streams}"] if streams else []
    return Finding(
        plan=plan,
        struck=tuple(scene.happened),
        lost=lost,
        twice=twice,
        outcome=outcome,
        right=right,
        gap_said=gap_said,
        streams=streams,
        seconds=_seconds(scene),
        gaps=(*scene.ledger.gaps, *(result.log.notes if result else ())),
        wrong=tuple(wrong),
    )


def _compared(plan: Plan, said: bytes, got: bytes, *, ended: bool) -> tuple[int, int]:
    """Lines that are missing, and lines too many (twice, changed, or nobody's), of what the agent has on record.

    An agent that was killed may have said a line, or a part of it, that is not on its record yet.
    """
    number = said.count(b"\n") + 1
    more = b"" if ended else line(number, plan.part.kind, plan.part.seed)
    if got.startswith(said) and (said + more).startswith(got):
        return 0, 0
    spoken, delivered = Counter(_lines(said)), Counter(_lines(got))
    delivered.subtract([more] if delivered[more] > spoken[more] else [])
    missing, strange = spoken - delivered, delivered - spoken
    part = got.rpartition(b"\n")[2]
    cut = part in strange and any(
        whole.startswith(part) for whole in (*missing, more)
    )  # the pod went in the middle of a line
    return missing.total(), strange.total() - cut


def _in_order(said: bytes, got: bytes) -> bool:
    """Whether what came of the lines that are on record came as they were said."""
    record, rest = Counter(_lines(said)), iter(_lines(said))
    return all(any(one == other for other in rest) for one in _lines(got) if one in record)


def _may_lose(struck: list[Mishap]) -> bool:
    """Whether the API may not have had some lines: by itself, or since the pod went while something else was wrong."""
    return any(m.losing for m in struck) or (len(struck) > 1 and any(m.outcomes for m in struck))


def _much(plan: Plan, struck: list[Mishap]) -> bool:
    """Whether a pod that was removed may have said so much at its end that nobody knows whether that was all."""
    return plan.part.kind == "long" and any(m.outcomes for m in struck)


def _lines(text: bytes) -> list[bytes]:
    """Whole lines, and what is behind the last one."""
    return [part for part in re.split(rb"(?<=\n)", text) if part]


def _expected(plan: Plan, scene: Scene) -> set[str]:
    """What may have become of it: what the agent says of its end, unless something ended it before."""
    ended = scene.ended
    struck = struck_in(plan, scene)
    ends = {outcome for m in struck for outcome in (*m.outcomes, *(m.unseen if len(struck) > 1 else ()))}
    if ended is None or ended["told"]:
        return ends
    return ends | {"failed" if ended["code"] else "succeeded"}


def _exit_code_is_right(scene: Scene) -> bool:
    """An exit code is the agent's own, and is told where the end was its own; one that was killed has none to tell."""
    result, ended = scene.ledger.accepted, scene.ended
    if result is None or ended is None:
        return True
    if result.code in OWN:
        return bool(result.exit_code == ended["code"])
    return result.exit_code in (None, ended["code"], 137)


def _code_is_right(plan: Plan, scene: Scene) -> bool:
    """A mishap that came alone is called by its name, unless the agent had ended before it."""
    result, struck = scene.ledger.accepted, struck_in(plan, scene)
    if result is None or len(struck) != 1 or result.code in OWN:
        return True
    return result.code.value in struck[0].codes


def _seconds(scene: Scene) -> float | None:
    """From the end, as the server's own history has it, to the result; None if there was no such end."""
    ends = [change.at for change in scene.cluster.history if _is_end(change.type, change.kind, change.object)]
    return max(0.0, scene.ledger.accepted_at - min(ends)) if ends and scene.ledger.accepted else None


def _is_end(type_: str, kind: str, raw: dict[str, Any]) -> bool:
    status = raw.get("status") or {}
    if kind == "Pod":
        return any("terminated" in one.get("state", {}) for one in status.get("containerStatuses", ()))
    if kind != "Job":
        return False
    over = (c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions") or ())
    return type_ == "DELETED" or any(over)


def open_logs(cluster: LocalCluster) -> int:
    """Log streams that the server has open."""
    return sum(stream.kind == "log" for stream in cluster.open_streams())


def names(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings by mishap: a run with three of them counts for each that has struck."""
    by_name: dict[str, list[Finding]] = {}
    for finding in findings:
        for name in finding.struck:
            by_name.setdefault(name, []).append(finding)
    return by_name
