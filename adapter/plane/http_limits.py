"""Every duration and bound of the client of a control plane, so that a test can shrink them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneLimits:
    """Durations in seconds, sizes in bytes."""

    call: float = 8.0
    """Deadline of a beat, of a result and of a question. Less than the adapter's own `call`: ours says what failed."""
    slow: float = 48.0
    """The longest of these deadlines: it is doubled whenever no answer came within. Less than the adapter's `plane`."""
    append: float = 60.0
    """Deadline of an append to the log, and of a batch of events."""
    answer: int = 1024 * 1024
    """What is read of an answer, at most."""

    interval: float = 30.0
    """Between two signs of life, unless the control plane says otherwise."""
    interval_least: float = 1.0
    """A control plane that wants more of them than that is not heard."""
    interval_most: float = 60.0
    """A fifth of the reaper's five minutes, whatever the control plane says."""

    most: int = 256 * 1024
    """Bytes of log in one append, at most: the event loop is held while one is made, and beats wait for it."""
    least: int = 16 * 1024
    """An append that is too large for somebody on the way (413) is cut in two, down to this."""
    gather: float = 0.25
    """Between two requests of a run, unless there is a whole append to send: lines that come meanwhile go together."""
    memory: int = 1024 * 1024
    """Log of a run held in memory; what is more goes to disk."""
    disk: int = 256 * 1024 * 1024
    """Log of a run held on disk; beyond that whoever brings it waits."""
    events: int = 1000
    """Events kept while they cannot be sent; the oldest go first, and it is said how many."""
    event_bytes: int = 4 * 1024 * 1024
    """Bytes of such events, at most, but for the last one."""
    batch: int = 100
    """Events in one request, at most."""

    flush: float = 5.0
    """How long one try to report waits for the rest of the log."""
    patience: float = 60.0
    """How long a result is held back for events that cannot be sent: it is worth more than they are."""
    farewell: float = 1.0
    """How long a run that is over waits for its last events."""

    confirm: float = 30.0
    """Between the three questions that a 404 must survive to be believed."""
    grace: float = 120.0
    """How long a run goes on that the control plane has ended, but not cancelled: it may think better of it."""

    retry_first: float = 0.5
    """The first delay of a backoff."""
    retry_most: float = 20.0
    """The longest delay of a backoff."""
