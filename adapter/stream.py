"""The log of one run: followed, spooled, delivered, and, when the run is over, read to its end."""

from __future__ import annotations

import anyio

from adapter.backoff import Backoff
from adapter.case import Case, EndKind
from adapter.cluster.beginning import Beginning
from adapter.cluster.connection import Connection
from adapter.cluster.cursor import Cursor
from adapter.cluster.following import Follower, Read
from adapter.cluster.framing import Batch
from adapter.cluster.pods import AGENT, STDERR, Pod
from adapter.limits import Limits
from adapter.mouth import Courier, Herald
from adapter.plane import Plane, Stream
from adapter.run import LogSummary
from adapter.spool import Spool
from adapter.watch import Watch

_MISSING = {
    Read.GONE: "log incomplete: the pod was gone before its log was read to the end",
    Read.NOT_YET: "log incomplete: the kubelet did not find the log",
    Read.FAILED: "log incomplete: the log could not be read to its end",
    Read.UNANSWERED: "log incomplete: the log could not be read to its end",
}


LAST_WORDS = 64 * 1024
"""Bytes that a pod which is removed may say and be believed to have been heard: what a pipe holds.

Of 100,000 lines that were said on SIGTERM the node had written 85,819 when it ended the log, cleanly, twice, with
nothing to tell it from a whole one.
"""

LAST_READ = 0.5
"""Seconds without a byte, or an answer, that the last read of a cancelled run's log may take whose pod was not seen to
end. Its follow has got all that its node would give, and its result is due.
"""

_CONTAINER: dict[Stream, str] = {"stdout": AGENT, "stderr": STDERR}


class LogStream:
    """One log of the run. `follow` and `deliver` are tasks of the run; `drain` is a step of its tail."""

    def __init__(
        self,
        plane: Plane,
        connection: Connection,
        namespace: str,
        watch: Watch,
        limits: Limits,
        herald: Herald,
        stream: Stream = "stdout",
    ) -> None:
        self._plane, self._connection, self._namespace = plane, connection, namespace
        self._watch, self._limits, self._herald = watch, limits, herald
        self.name, self._container = stream, _CONTAINER[stream]
        self._spool = Spool(limits.memory, limits.disk)
        self._cursor = Cursor()
        self._reader: Follower | None = None
        self._courier = Courier(plane, self._spool, 0, limits, herald, stream)
        self._drained = False
        self._last_words = 0

    @property
    def case(self) -> Case:
        """What was seen of the run whose log this is."""
        return self._watch.case

    async def resume(self) -> None:
        """For an adopted Job: asks the plane where its log ends, and goes on from there."""
        position = await self._herald.position(self.name)
        try:
            self._cursor = Cursor.parse(str(position.cursor)) if position else Cursor()
        except ValueError:
            position = None
        self._courier.offset = position.offset if position else 0
        if position is None:
            self._herald.tell(
                "log_restart",
                f"the plane does not say where its {self.name} ends: it is given from the beginning",
                stream=self.name,
            )

    async def follow(self) -> None:
        """Follows from the pod's start until cancelled."""
        reader = self._reader_of(await self._watch.started(self._container))
        await reader.follow(self._watch.news)
        if reader.refused:
            self._herald.tell("log", f"the log may not be followed: {reader.refused}")
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while reader.refused:
            await backoff.wait()  # rights that were withdrawn may be given back
            reader.refused, received = None, reader.progress.received
            await reader.follow(self._watch.news)
            if reader.progress.received > received:
                backoff.reset()

    async def deliver(self) -> None:
        """Delivers what was followed until the log is over and everything of it was taken."""
        await self._courier.run()

    async def drain(self, kind: EndKind) -> None:
        """Reads what the follow has not; once at once, and once more when a pod in its grace period has ended."""
        self._drained = True
        try:
            await self._read_on(self._watch.case, kind)
        finally:
            self._spool.close()

    async def _read_on(self, case: Case, kind: EndKind) -> None:
        stopped = case.suspended and not case.job.stopped
        over = case.job.over or stopped or (case.job_gone and case.let_run)
        if case.pod is None and over and case.rejected is None and self._container == AGENT:
            self._courier.note("log incomplete: no pod of the Job was seen")
        if case.pod and (kind is not EndKind.VERDICT or case.ever_ran):
            reader = self._reader_of(case.pod)
            overdue = kind is EndKind.NEVER and case.cancel is not None
            read = Read.FAILED  # the tail's time may be up before it was read
            try:
                rest = reader.rest(LAST_READ, headers=LAST_READ) if overdue else self._rest(reader, case)
                read = await rest
                if not case.ended(self._container) and kind is EndKind.OVER and (wait := self._patience(case)):
                    await self._watch.until(lambda: case.ended(self._container), wait)
                    read = Read.FAILED
                    read = await self._rest(reader, case)
            finally:
                self._say_missing(read, reader, case)
                reader.finish()

    def _patience(self, case: Case) -> float:
        """How long the container may take to end, so that its last words are read.

        The relay of a stderr has nothing left to say some milliseconds after the agent: it is waited for where the
        agent has failed, since the last words count then, and a success is not held up by it.
        """
        if self._container == AGENT:
            return case.grace + self._limits.stall
        agent = case.pod.agent if case.pod else None
        return 0.0 if agent and agent.exit_code == 0 else self._limits.news

    def summary(self) -> LogSummary:
        """What became of the log."""
        if not self._drained:
            self._courier.note("log incomplete: there was no time left to read it to its end")
        return self._courier.summary()

    def _put(self, batches: list[Batch]) -> None:
        if self.case.ending_at is not None:
            self._last_words += sum(len(batch.data) for batch in batches)
        self._spool.put(batches)

    def _say_missing(self, read: Read, reader: Follower, case: Case) -> None:
        if read is Read.REFUSED and reader.refused:
            self._courier.note(f"log incomplete: it may not be read: {reader.refused}")
        elif read is Read.WHOLE and not case.ended(AGENT):
            self._courier.note("log incomplete: the container had not ended when its log was read for the last time")
        elif read is Read.WHOLE and not case.by_itself and self._last_words > LAST_WORDS:
            self._courier.note(
                "log incomplete: the pod was removed while it had more to say than its node may have kept"
            )
        elif read in _MISSING and (case.began(self._container) or reader.progress.received):
            self._courier.note(_MISSING[read])
        elif read is Read.GONE and case.pod and case.pod.node and not case.pod.ended(self._container):
            self._courier.note(_MISSING[read])  # seen last before its start: it may have run, and spoken, unseen

    async def _rest(self, reader: Follower, case: Case) -> Read:
        """Reads on to what is there now; tries again while that makes progress, and for a moment without.

        A clean end proves nothing: a kubelet that is stopped ends a read like that. A second one, which brings nothing
        new, does. A try that began in time counts, however long the host then blocked the loop. No answer is no log
        that stands still: an API server whose etcd was away needs up to a minute, of which the tail has more.
        """
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        began = moved_at = anyio.current_time()
        while True:
            tried = anyio.current_time()
            read = await reader.rest(self._limits.stall)
            moved_at = anyio.current_time() if reader.moved else moved_at
            began = anyio.current_time() if read is Read.UNANSWERED else began
            last = moved_at if read is Read.WHOLE else max(began, reader.progress.at)
            if not self._worth_another(read, reader, case) or tried - last >= self._limits.stall:
                return read
            if not (read is Read.WHOLE and reader.moved):
                await backoff.wait()

    def _worth_another(self, read: Read, reader: Follower, case: Case) -> bool:
        if read is Read.NOT_YET:
            return case.began(self._container)
        return read in (Read.FAILED, Read.UNANSWERED) or (read is Read.WHOLE and (reader.moved or reader.short))

    def _reader_of(self, pod: Pod) -> Follower:
        if self._reader is None:
            self._reader = Follower(
                self._connection,
                self._namespace,
                pod.name,
                self._container,
                cursor=self._cursor,
                limits=self._limits,
                put=self._put,
                room=self._spool.room,
                beginning=None if self._cursor.marks else Beginning.of(pod, self._container, self.case.not_before),
            )
        return self._reader
