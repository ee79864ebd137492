"""Every duration and bound of a run, in one place, so that an embedder can change them and a test can shrink them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Durations in seconds, sizes in bytes. The defaults are for a real cluster."""

    call: float = 10.0
    """Deadline of one API call, and of one try to reach the plane."""
    plane: float = 60.0
    """The longest deadline of one try to reach a plane: it is doubled whenever no answer came within."""
    launch: float = 120.0
    """How long the API server may be unreachable before a run that was not started is given up."""
    busy: float | None = None
    """How long a run may wait until its agent is free. None: as long as it takes; it beats and can be cancelled."""
    busy_look: float = 2.0
    """Between two looks at whoever the agent is busy with, at most."""
    cancel_call: float = 2.0
    """Deadline of one try to write a cancel: the API server must have it within 2 s of the request."""

    beat: float = 30.0
    """Between two beats. The reaper's threshold is five minutes; a tenth of it survives nine misses."""
    stuck: float = 60.0
    """A supervisor whose watch has not finished an attempt for this long stops beating (law 4)."""

    silence: float = 70.0
    """A watch without any event for this long is dead: the API server sends a bookmark each minute."""
    safety: float = 30.0
    """Between two GETs of the Job and its pod while the watch is stale."""
    unreachable: float | None = None
    """When the cluster could not be observed for this long the run is detached. None: never."""

    grace: float = 30.0
    """How long image pulls, unschedulable pods, configuration errors and refused pods may recover."""
    no_pod: float = 5.0
    """How long a Job may be without a pod before its events are asked why, and between two such questions."""
    schedule: float = 120.0
    """Budget from letting the Job run to a pod with a node."""
    start: float = 600.0
    """Budget from a node to the agent's container started."""
    ending: float = 60.0
    """Beyond its grace period, how long an announced end may take before it is `end_never_came`."""

    headers: float = 15.0
    """How long a log request may go without an answer before it is tried again."""
    idle: float = 900.0
    """A follow without a byte for this long is opened anew; doubled each time, so that silence stays cheap."""
    news: float = 2.0
    """After a clean EOF the follower waits this long for the pod's news before it asks again."""
    line: int = 1024 * 1024
    """A longer line is delivered in pieces."""
    memory: int = 4 * 1024 * 1024
    """Log bytes held in memory for a slow sink; what is more goes to disk."""
    disk: int = 256 * 1024 * 1024
    """Log bytes held on disk for a slow sink; beyond that the stream is not read."""
    sink: float = 120.0
    """Deadline of one call of the log sink."""

    stall: float = 10.0
    """A drain without a new byte for this long, with the container terminated and the log answered, is over."""
    tail: float = 90.0
    """Drain and diagnosis together (law 4)."""
    report: float = 1800.0
    """How long the result is offered to the plane."""
    beat_in_flight: float = 2.0
    """How long a try to report waits for a beat in flight."""
    let_go: float = 5.0
    """What a step of the tail may still take once the adapter lets go."""

    retry_first: float = 0.2
    """The first delay of a backoff."""
    retry_most: float = 20.0
    """The longest delay of a backoff."""
