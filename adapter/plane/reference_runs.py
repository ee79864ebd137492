"""What the reference plane knows of its runs, and says; and its reaper."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from adapter.plane import Stream
from adapter.plane.reference_models import STREAMS, Beat, LogEnd, LogView, Report, Run, Status, Sum
from adapter.plane.reference_web import Json
from adapter.plane.store import RUNNING, LogRow, Row, Store, StoreError, UnknownRun

log = structlog.get_logger(__name__)

REAPER = 300.0
"""Seconds without a sign of life after which a run is `process_lost`."""

TICK = 30.0
"""Seconds between two looks of the reaper, at most."""


class ReferencePlane:
    """What there is to say about runs, on a store. `interval` is what adapters are asked to beat at, in seconds."""

    def __init__(self, store: Store, *, reaper: float = REAPER, interval: float | None = None) -> None:
        self.store, self._reaper, self._interval = store, reaper, interval
        self._beats: dict[str, Beat] = {}

    async def row(self, run_id: str) -> Row:
        """The run. Raises `UnknownRun`."""
        if row := await self.store.row(run_id):
            return row
        raise UnknownRun(f"there is no run {run_id!r}: register it with PUT")

    async def logs(self, run_id: str) -> dict[Stream, LogRow]:
        """Both streams; of one that has not begun, an empty one."""
        return {stream: await self.store.log_row(run_id, stream) or LogRow(0, 0) for stream in STREAMS}

    async def missing(self, run_id: str, whole: Mapping[Stream, Sum]) -> str:
        """Which log is shorter than a result says; "" if none is."""
        logs = await self.logs(run_id)
        short = [stream for stream, it in whole.items() if logs[stream].offset < it.size]
        said = [f"the {one} ends at {logs[one].offset}, and should have {whole[one].size} bytes" for one in short]
        return "; ".join([*said, "send the rest first"]) if said else ""

    async def finish(self, run_id: str, report: Report) -> Row:
        """The run as it is once the result was offered to it: whoever came first has ended it."""
        logs = await self.logs(run_id)
        mismatch = [stream for stream, whole in report.log.items() if not _fits(logs[stream], whole)]
        if mismatch:
            log.warning("run.log_mismatch", run_id=run_id, streams=mismatch)
        told = {"result": report.result, "execution": report.execution, "logMismatch": bool(mismatch)}
        await self.store.finish(run_id, report.result["outcome"], told)
        return await self.row(run_id)

    async def heard(self, run_id: str, beat: Beat) -> None:
        """A sign of life; dropped when the run is over."""
        if (await self.row(run_id)).state == RUNNING:
            await self.store.touch(run_id)
            self._beats[run_id] = beat

    async def answer(self, run_id: str) -> Json:
        """The run's status."""
        return Json((await self._status(run_id)).model_dump(by_alias=True))

    async def refuse(self, run_id: str, code: str, message: str) -> Json:
        """What was asked does not fit: 409, with the run's status. Whoever asked is alive all the same."""
        await self.store.touch(run_id)
        status = (await self._status(run_id)).model_dump(by_alias=True)
        return Json(status | {"error": {"code": code, "message": message}}, 409)

    async def _status(self, run_id: str) -> Status:
        row = await self.row(run_id)
        ends = {stream: LogEnd(**_end(one)) for stream, one in (await self.logs(run_id)).items()}
        return Status(log=ends, **self._common(row))

    async def view(self, row: Row) -> Run:
        """All that is known of a run."""
        logs = (await self.logs(row.run_id)).items()
        views = {stream: LogView(crc32=one.crc, lost=one.lost, **_end(one)) for stream, one in logs}
        told = row.result or {}
        return Run(
            **self._common(row),
            log=views,
            created_at=row.created,
            updated_at=row.updated,
            finished_at=row.finished,
            beat=self._beats.get(row.run_id),
            result=told.get("result"),
            execution=told.get("execution"),
            log_mismatch=told.get("logMismatch", False),
        )

    def _common(self, row: Row) -> dict[str, Any]:
        names = {"run_id": row.run_id, "state": row.state, "terminal": row.state != RUNNING}
        return names | {"cancel": row.cancel, "interval": self._interval}

    async def reap(self) -> list[str]:
        """One look of the reaper: which runs are `process_lost` now."""
        lost = await self.store.reap(self._reaper)
        for run_id in lost:
            log.warning("run.process_lost", run_id=run_id, silent=f"{self._reaper:g} s")
        return lost

    async def reaping(self) -> None:
        """Reaps until it is cancelled, whatever happens to the store meanwhile."""
        while True:
            await asyncio.sleep(min(TICK, self._reaper / 10))
            try:
                await self.reap()
            except StoreError as error:
                log.error("reaper.failed", error=str(error))


def _end(log: LogRow) -> dict[str, Any]:
    return {"offset": log.offset, "cursor": log.cursor}


def _fits(log: LogRow, whole: Sum) -> bool:
    return log.offset == whole.size and whole.crc32 in (None, log.crc)


def same(row: Row, report: Report) -> bool:
    """Whether a run has ended with this very report."""
    told = row.result or {}
    return all(name in told and told[name] == getattr(report, name) for name in ("result", "execution"))
