"""The processes of one instance among themselves: each renews a Lease of its own, and looks at the others'.

No two clocks are compared. Our Lease is good for a while from the moment at which the last renewal that succeeded was
sent; another's is dead when it has not changed for a longer while, as seen by us. Since the first while is the shorter
one, whoever cannot renew gives up before anybody takes over from it.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable

import anyio
import structlog

from adapter.backoff import Backoff
from adapter.cluster.connection import ApiError, Connection, Unreachable
from adapter.cluster.leases import Lease, Leases, lease_name
from adapter.errors import AdapterError
from adapter.rollcall import RollCall
from adapter.tenure import Tenure, clock

__all__ = ["Membership", "MembershipError", "Tenure", "Usurped"]

log = structlog.get_logger(__name__)


class MembershipError(AdapterError):
    """We cannot be a member, and trying again would not change it."""


class Usurped(MembershipError):
    """Another process holds our Lease: it bears the same name, so that one of the two must stop."""


class Membership:
    """Our membership of an instance: `join`, then `run` in a task of its own, `leave` at the end.

    `regained` is awaited after a lapse, while the Lease is being renewed again, before `valid` becomes True: others may
    have taken over meanwhile, so that all must be looked at afresh. `problem` is why we cannot renew or look at the
    moment. `clock` is the clock of `alive`.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        instance: str,
        name: str,
        *,
        tenure: Tenure | None = None,
        clock: Callable[[], float] = clock,
    ) -> None:
        self.name, self.clock = name, clock
        self.regained: Callable[[], Awaitable[None]] | None = None
        self._instance, self._namespace = instance, namespace
        self._tenure = tenure = tenure or Tenure()
        self._leases = Leases(connection, namespace, instance, call=tenure.call)
        self._lease_name = lease_name(instance, name)
        self._holder = f"{name}_{secrets.token_hex(4)}"  # another one for each life, so that two are told apart
        self._lease: Lease | None = None
        self._until = float("-inf")
        self._lapses = self._settled = 0
        self._lapsed = False
        self._roll = RollCall(tenure.lease, tenure.blind)
        self._problems: dict[str, str] = {}
        self._over: MembershipError | None = None
        self._running = anyio.CancelScope()
        self._news, self._changed = anyio.Event(), anyio.Event()

    # what others ask

    @property
    def valid(self) -> bool:
        """Whether nobody can have taken over from us: we have renewed lately, and what came of a lapse is settled."""
        return self._over is None and self._settled == self._lapses and self.clock() < self._until

    @property
    def problem(self) -> str | None:
        return next((text for what, text in self._problems.items() if what != "tidy"), None)

    async def until_valid(self) -> None:
        """Waits until `valid`. Raises `MembershipError` where it never will be again."""
        while not self.valid:
            if self._over:
                raise self._over
            await self._news.wait()

    def alive(self, name: str, *, since: float | None = None) -> bool:
        """Whether a replica may be alive. False only on evidence that is newer than the wish to know.

        That is, a look at the Leases that was sent after `since`, by our `clock`: give the time before you read the
        Job whose supervisor it is, and take the Job over only at the version that you read. Without it, the first of
        your questions counts, if they come without a pause. While the API server does not answer, everybody may be
        alive.
        """
        return name == self.name or not self._roll.dead(lease_name(self._instance, name), self.clock(), since)

    async def changed(self) -> None:
        """Returns when somebody may have died or come. For one listener: what it missed is told at once."""
        await self._changed.wait()
        self._changed = anyio.Event()

    # its life

    async def join(self) -> None:
        """Takes our Lease, from an earlier life of ours as well, and looks at the others once.

        Waits for an API server that does not answer. Uses each right but that of deletion, so that one that is lacking
        is said here. Raises `MembershipError`.
        """
        backoff = Backoff(self._tenure.renew / 10, self._tenure.renew)
        while True:
            try:
                await self._take()
                await self._look()
                return self._succeeded("join")
            except (ApiError, Unreachable) as error:
                self._raise_if_final(error)
                self._failed("join", error)
                await backoff.wait(getattr(error, "retry_after", 0.0))

    async def run(self) -> None:
        """Renews and looks, until it is cancelled or we `leave`. Raises `Usurped`."""
        async with anyio.create_task_group() as group:
            self._running = group.cancel_scope
            for task in (self._look_on, self._regain):
                group.start_soon(task)
            await self._renew_on()
            group.cancel_scope.cancel()  # it only returns when our membership is over
        if isinstance(self._over, Usurped):
            raise self._over

    async def leave(self) -> None:
        """Ends `run`, and deletes our Lease, so that nobody has to wait. If that fails they wait: nothing is raised."""
        self._end(self._over or MembershipError(f"replica {self.name!r} has left"))
        self._running.cancel()
        try:
            found = await self._leases.get(self._lease_name)
            if found and found.holder == self._holder:
                await self._leases.delete(found)
        except (ApiError, Unreachable) as error:
            log.warning("membership.not_left", lease=self._lease_name, error=str(error))

    def _raise_if_final(self, error: ApiError | Unreachable) -> None:
        if isinstance(error, Unreachable) or error.transient or error.status == 409:
            return
        hint = " (grant the Role in docs/rbac.md)" if error.status == 403 and " cannot " in error.message else ""
        raise MembershipError(f"the Leases of namespace {self._namespace} cannot be used: {error}{hint}") from error

    # our own Lease

    async def _take(self) -> None:
        asked = self.clock()
        found = await self._leases.get(self._lease_name)
        found = found or await self._leases.create(self._lease_name, self._holder, self._duration)
        self._lease = await self._leases.renew(found, self._holder)
        self._until = asked + self._tenure.give_up
        self._tell()

    @property
    def _duration(self) -> int:
        return max(1, round(self._tenure.lease))

    async def _renew_on(self) -> None:
        """Renews until another process holds our Lease."""
        while self._over is None:
            try:
                await self._renew()
                self._succeeded("renew")
            except Usurped as usurped:
                log.error("membership.usurped", lease=self._lease_name, error=str(usurped))
                self._end(usurped)
                return
            except (ApiError, Unreachable) as error:
                self._failed("renew", error)
                self._note_lapse()
            await anyio.sleep(self._pause())

    async def _renew(self) -> None:
        """One renewal. What the API server has of an earlier one, whose answer was lost, is found out first."""
        asked = self.clock()
        try:
            lease = await self._leases.renew(self._known, self._holder)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            lease = await self._leases.renew(await self._ours(), self._holder)
        self._lease = lease
        self._renewed(asked)

    @property
    def _known(self) -> Lease:
        if self._lease is None:
            raise RuntimeError("join before you run")
        return self._lease

    async def _ours(self) -> Lease:
        """Our Lease as it is; made anew if others, who thought us dead, have deleted it. Raises `Usurped`."""
        found = await self._leases.get(self._lease_name)
        if found is None:
            self._until = float("-inf")
            return await self._leases.create(self._lease_name, self._holder, self._duration)
        if found.holder != self._holder:
            raise Usurped(
                f"Lease {found.name} of replica {self.name!r} is held by another process ({found.holder}):"
                " two of them have the same state directory, or a copy of it; give each its own"
            )
        return found

    def _renewed(self, asked: float) -> None:
        """Our Lease is good again, from when we asked on: the others count from a later moment."""
        self._note_lapse()
        if self._lapsed:
            self._roll.forget()  # where nobody could write, the others could not renew either
        self._lapsed, self._until = False, asked + self._tenure.give_up
        self._tell()

    def _note_lapse(self) -> None:
        """Counts a lapse once: when a renewal fails and the time is up, or, at the latest, when the next succeeds."""
        if self.clock() >= self._until and not self._lapsed:
            self._lapsed, self._lapses = True, self._lapses + 1
            log.warning("membership.lapsed", lease=self._lease_name, hint="what is ours may be taken over by others")

    async def _regain(self) -> None:
        """After each lapse, lets the owner look at everything afresh. A lapse meanwhile is another one."""
        backoff = Backoff(self._tenure.renew / 10, self._tenure.renew)
        while True:
            while self._settled == self._lapses or self._lapsed:
                await self._news.wait()
            lapses = self._lapses
            try:
                if self.regained:
                    await self.regained()
            except Exception as error:  # noqa: BLE001 - it is the owner's, and may not end our membership
                log.error("membership.not_regained", error=repr(error))
                await backoff.wait()
                continue
            self._settled = lapses
            self._tell()
            backoff.reset()

    def _end(self, why: MembershipError) -> None:
        self._over = why
        self._tell()

    # the others

    async def _look_on(self) -> None:
        while True:
            await anyio.sleep(self._pause())
            try:
                await self._look()
                self._succeeded("look")
            except (ApiError, Unreachable) as error:
                self._failed("look", error)
            else:
                await self._tidy()

    async def _look(self) -> None:
        asked = self.clock()
        leases = await self._leases.all()
        # Whoever the list lacks may have but another label: only a 404 for the exact name says that it is gone.
        for name in self._roll.missing(leases):
            if found := await self._leases.get(name):
                leases.append(found)
        if self._roll.look(asked, self.clock(), leases):
            self._changed.set()

    async def _tidy(self) -> None:
        """Deletes what has been dead for long. Its holder, if it comes back, makes it anew."""
        try:
            for lease in self._roll.unchanged(self._tenure.tidy):
                if lease.name != self._lease_name:
                    await self._leases.delete(lease)
                    log.info("membership.tidied", lease=lease.name, holder=lease.holder)
            self._succeeded("tidy")
        except (ApiError, Unreachable) as error:
            self._failed("tidy", error)

    # how it goes

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _pause(self) -> float:
        return self._tenure.renew * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret

    def _failed(self, what: str, error: Exception) -> None:
        if what not in self._problems:
            log.warning("membership.failed", what=what, lease=self._lease_name, error=str(error))
        self._problems[what] = f"the Leases cannot be used ({what}): {error}"

    def _succeeded(self, what: str) -> None:
        self._problems.pop(what, None)
