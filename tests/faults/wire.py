"""Mishaps of the API server and of the log: the requests fail, the streams break, what comes is late or wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from adapter.local import Fault
from adapter.local.logfile import Clock
from tests.faults.scene import Mishap, Scene

WATCHES: dict[str, Any] = {"query": {"watch": "1"}}
FOLLOWS: dict[str, Any] = {"path": "*/log", "query": {"follow": "true"}}
LISTS: dict[str, Any] = {"method": "GET", "path": "*s"}
CREATE: dict[str, Any] = {"method": "POST", "path": "*/jobs"}
CHANGE: dict[str, Any] = {"method": "PATCH", "path": "*/jobs/*"}

Make = Callable[[random.Random], Fault]


def _wire(name: str, make: Make, group: str = "API server", times: int = 1) -> Mishap:
    async def strike(scene: Scene, dice: random.Random) -> None:
        for number in range(times):
            turn = {"skip": number, "count": 1} if times > 1 else {}
            scene.armed.setdefault(name, []).append(scene.cluster.faults.add(make(dice), **turn))

    return Mishap(name, group, strike, early=True)


def _few(dice: random.Random, most: int = 4) -> int:
    return dice.randrange(1, most + 1)


def _how(dice: random.Random) -> Any:
    return dice.choice(["rst", "eof", "fin"])


async def _stopped(scene: Scene, dice: random.Random) -> None:
    """Killed, and back after a while, whatever phase the run is in."""
    await scene.moment(dice.random() * 0.6)
    await scene.cluster.stop_api()
    await asyncio.sleep(dice.random() * 0.5)
    await scene.cluster.start_api()


async def _compacted(scene: Scene, dice: random.Random) -> None:
    await scene.speaking(dice)
    scene.cluster.compact()
    scene.cluster.faults.add(Fault.cut(how=_how(dice), **WATCHES, count=2))


async def _stale(scene: Scene, dice: random.Random) -> None:
    """A few lists are answered from an old state, as by an API server that lags behind; watches go on from there."""
    api = scene.cluster._server._api
    kept: dict[Any, Any] = {}
    fresh, left = api._list, 2 + _few(dice)

    def stale(target: Any, query: Mapping[str, str], *, as_table: bool) -> Any:
        nonlocal left
        key = (target.resource.kind, query.get("labelSelector"))
        answer = kept.setdefault(key, fresh(target, query, as_table=as_table))
        left -= 1
        return answer if left > 0 else fresh(target, query, as_table=as_table)

    api._list = stale  # type: ignore[method-assign]  # the embedded cluster has no such fault of its own
    scene.cluster.faults.add(Fault.gone_event(count=_few(dice)))


async def _token(scene: Scene, dice: random.Random) -> None:
    await scene.speaking(dice)
    scene.cluster.expire_token()
    scene.cluster.faults.add(Fault.cut(how="rst", count=2, **WATCHES))


API = [
    _wire("watches answered with 500", lambda d: Fault.respond(500, count=_few(d), **WATCHES)),
    _wire("lists answered with 503", lambda d: Fault.respond(503, count=_few(d), **LISTS)),
    _wire("lists throttled (429)", lambda d: Fault.respond(429, count=_few(d, 2), **LISTS)),
    _wire("creation throttled (429)", lambda d: Fault.respond(429, count=_few(d, 2), **CREATE)),
    _wire("creation answered with 500", lambda d: Fault.respond(500, count=_few(d), **CREATE)),
    _wire("answer to creation lost", lambda d: Fault.lose_answer(_how(d), **CREATE)),
    _wire("answer to a change lost", lambda d: Fault.lose_answer(_how(d), **CHANGE)),
    _wire("change conflicts (409)", lambda d: Fault.respond(409, count=1, **CHANGE)),
    _wire("requests hang", lambda d: Fault.no_headers(count=_few(d, 2), skip=d.randrange(6))),
    _wire("answers are slow", lambda d: Fault.delay(0.05 + d.random() * 0.15)),
    _wire("a token is refused once (401)", lambda d: Fault.unauthorized(skip=d.randrange(8))),
    _wire("watch without headers", lambda d: Fault.no_headers(count=_few(d, 2), **WATCHES)),
    _wire("watch cut", lambda d: Fault.cut(after_bytes=d.randrange(4000), how=_how(d), count=_few(d), **WATCHES)),
    _wire("watch ends at once", lambda d: Fault.end_watch(count=_few(d, 6))),
    _wire("watch falls silent", lambda d: Fault.silent_watch(count=_few(d))),
    _wire("watch slow", lambda d: Fault.slow(15_000, **WATCHES)),
    _wire("watch too old (410 as an event)", lambda d: Fault.gone_event(count=_few(d))),
    _wire("watch too old (410 as an answer)", lambda d: Fault.respond(410, count=_few(d), **WATCHES)),
    _wire("the end withheld from all watches", lambda _: Fault.withhold(_is_end, events=None)),
    Mishap("history compacted", "API server", _compacted),
    Mishap("lists from an old state", "API server", _stale, early=True),
    Mishap("API server killed and back", "API server", _stopped),
    Mishap("token expired and rotated", "API server", _token),
]


def _is_end(_: str, raw: dict[str, Any]) -> bool:
    statuses = raw.get("status", {}).get("containerStatuses", ())
    over = any(c["type"] in ("Complete", "Failed") for c in raw.get("status", {}).get("conditions") or ())
    return over or any("terminated" in status.get("state", {}) for status in statuses)


# -- the log ---------------------------------------------------------------------------------------------------------


async def _rotated(scene: Scene, dice: random.Random) -> None:
    """While the follow is cut and cannot come back: what is in the old file is never served again."""
    pod = await scene.speaking(dice)
    await scene.delivered()
    fault = scene.cluster.faults.add(Fault.respond(500, path="*/log"))
    scene.cluster.faults.add(Fault.cut(how="rst", **FOLLOWS, count=1))
    await asyncio.sleep(0.1)
    scene.cluster.node.rotate_log(pod)
    await asyncio.sleep(0.05)
    fault.remove()


async def _rotated_under_a_follow(scene: Scene, dice: random.Random) -> None:
    pod = await scene.speaking(dice)
    await scene.delivered()
    scene.cluster.node.rotate_log(pod)


async def _rotated_unread(scene: Scene, dice: random.Random) -> None:
    """Before the first byte was read: nothing in the log tells that it once began earlier."""
    fault = scene.cluster.faults.add(Fault.respond(500, path="*/log"))
    pod = await scene.speaking(dice)
    scene.cluster.node.rotate_log(pod)
    fault.remove()


async def _garbage(scene: Scene, dice: random.Random) -> None:
    """Lines in the log that no container runtime wrote: they are nobody's, and not delivered."""
    entry = b"rpc error: code = Unknown desc = what F is, without a stamp\n"
    scene.cluster.node.append_log(await scene.speaking(dice), entry)


class SkewedClock(Clock):
    """A node whose clock is `offset` seconds off, and, where `coarse`, gives two lines the same stamp."""

    def __init__(self, offset: float, *, coarse: bool = False) -> None:
        super().__init__()
        self._offset, self._coarse = int(offset * 1e9), coarse

    def beside(self, other: Clock) -> SkewedClock:
        """This clock, in the place of another."""
        ahead = other._offset if self._coarse and isinstance(other, SkewedClock) else self._offset
        return SkewedClock(ahead / 1e9, coarse=self._coarse)

    def stamp(self) -> bytes:
        import datetime as dt
        import time

        now = time.time_ns() + self._offset
        if self._coarse:
            now -= now % 200_000_000
        second, rest = divmod(now, 1_000_000_000)
        return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09dZ" % rest


def set_clock(scene_cluster: Any, pod: str, clock: Clock) -> None:
    """The clock that stamps a pod's log: the embedded cluster's node has one of its own, and no verb for it.

    One that is coarse is not put back by it: it stays as far ahead as it was.
    """
    worker = scene_cluster._node.worker(pod, "default")
    if worker is not None and worker.containers[0].logs:
        log = worker.containers[0].logs[-1]
        log._clock = clock.beside(log._clock) if isinstance(clock, SkewedClock) else clock


def _clock(
    name: str,
    offset: Callable[[random.Random], float],
    *,
    coarse: bool = False,
    losing: bool = False,
    silent: bool = False,
) -> Mishap:
    async def strike(scene: Scene, dice: random.Random) -> None:
        pod = await scene.speaking(dice)
        set_clock(scene.cluster, pod, SkewedClock(offset(dice), coarse=coarse))
        scene.cluster.faults.add(Fault.cut(how=_how(dice), **FOLLOWS, count=1))

    return Mishap(name, "log", strike, losing=losing, silent=silent)


LOG = [
    _wire("follow without headers", lambda d: Fault.no_headers(count=_few(d, 2), **FOLLOWS), "log"),
    _wire("log answered with 500", lambda d: Fault.respond(500, count=_few(d), path="*/log"), "log"),
    _wire("log not found yet (404)", lambda d: Fault.respond(404, count=_few(d, 2), path="*/log"), "log"),
    _wire("follow cut", lambda d: Fault.cut(after_bytes=d.randrange(1500), how=_how(d), **FOLLOWS), "log", times=5),
    _wire(
        "follow ends early, cleanly",
        lambda d: Fault.cut(after_bytes=d.randrange(90), how="eof", count=3, **FOLLOWS),
        "log",
    ),
    _wire("follow slow", lambda d: Fault.slow(4000 + d.randrange(9000), **FOLLOWS), "log"),
    _wire("follow silent", lambda d: Fault.silent_log(count=_few(d, 2)), "log"),
    _wire("follow hangs after the end", lambda _: Fault.hang_log_after_end(), "log"),
    _wire(
        "every read of the log cut once",
        lambda d: Fault.cut(after_bytes=d.randrange(900), how=_how(d), path="*/log"),
        "log",
        times=4,
    ),
    Mishap("rotated while nobody could read", "log", _rotated, losing=True, plain=True),
    Mishap("rotated under a follow", "log", _rotated_under_a_follow, losing=True, plain=True),
    Mishap("rotated before it was first read", "log", _rotated_unread, losing=True, silent=True, plain=True),
    Mishap("garbage in the log", "log", _garbage, doubtful=True, plain=True),
    _clock("node's clock 5 minutes ahead", lambda _: 300.0),
    _clock("node's clock put back 5 minutes", lambda _: -300.0, losing=True, silent=True),
    _clock("stamps are equal", lambda _: 0.0, coarse=True),
]
