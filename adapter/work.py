"""What is to be run as one Job, made of a plain request or of an agent's context. The heart knows no more of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adapter.agent.manifest import job_manifest
from adapter.cluster.jobs import (
    INSTANCE_LABEL,
    MANAGED_BY,
    MANAGED_LABEL,
    REQUEST,
    RUN_ID,
    RUN_LABEL,
    SUPERVISOR,
    digest,
    job_name,
    slug,
)
from adapter.limits import Limits
from adapter.run import RunRequest

ACKNOWLEDGED = 3600
"""Seconds that a replica of the service keeps a finished Job at least, so that its result can be fetched."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a replica of the service knows of a run: its `document`, which any other could go on with.

    `seen` are the names of Jobs that the run has: one of them that is gone is not made again.
    """

    document: bytes = field(repr=False)
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One Job to be, with all that its launch needs.

    `request` is the hash that makes two requests under one run id the same; `retain` is how long the finished Job is
    kept, in seconds (0: it is deleted when its result is accepted). `secret` is the content of the Secret that the pod
    reads, named like the Job. `agent` is the key of the agent that this Job wants for itself alone. `lost` is the id
    of an earlier run that the control plane has lost: its Job is taken over, with `reattach` and where `task` and
    `session` (label values) fit. `stderr` says that a container of the pod relays the agent's stderr. `meta` is told
    to the plane alone, `notes` to everybody, when the Job is known. `replay` gives the log of a finished Job once more,
    and not its result alone. `supervisor` is the replica that looks after the Job, and `kept` what it knows of
    the run; both are None where the run is asked for by whoever wants it.
    """

    run_id: str
    manifest: Mapping[str, Any] = field(repr=False)
    request: str
    retain: int
    secret: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agent: str | None = None
    lost: str | None = None
    reattach: bool = True
    task: str | None = None
    session: str | None = None
    stderr: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    replay: bool = False
    supervisor: str | None = None
    kept: Kept | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name of its Job."""
        return str(self.manifest["metadata"]["name"])

    def budget(self, limits: Limits) -> float:
        """How long the API server may be away before a run that was not started is given up, in seconds.

        What a service has accepted is never given up: it beats, and can be cancelled.
        """
        return limits.launch if self.kept is None else float("inf")

    @property
    def must_exist(self) -> bool:
        """Whether its Job was there: then it is adopted or gone, and never made a second time."""
        seen = self.kept.seen if self.kept else frozenset()
        return self.name in seen or (bool(seen) and self.lost is not None)

    def under(self, supervisor: str, kept: Kept | None) -> Work:
        """The same work as a replica of the service does it: marked as its own, and kept until it is acknowledged."""
        meta, spec = self.manifest["metadata"], self.manifest["spec"]
        meta = {**meta, "annotations": {**meta["annotations"], SUPERVISOR: supervisor}}
        spec = {**spec, "ttlSecondsAfterFinished": max(spec["ttlSecondsAfterFinished"], ACKNOWLEDGED)}
        return replace(
            self,
            manifest={**self.manifest, "metadata": meta, "spec": spec},
            retain=max(self.retain, ACKNOWLEDGED),
            supervisor=supervisor,
            kept=kept,
        )


def marks(instance: str, run_id: str, request: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Name, labels and annotations that every Job of ours bears."""
    name = job_name(instance, run_id)
    labels = {MANAGED_LABEL: MANAGED_BY, INSTANCE_LABEL: instance, RUN_LABEL: name}
    return name, labels, {RUN_ID: run_id, REQUEST: request}


def plain_work(request: RunRequest, instance: str) -> Work:
    """A command to run, as it is."""
    name, labels, notes = marks(instance, request.run_id, hash_of(request))
    manifest = job_manifest(request, name=name, labels=labels, annotations=notes)
    return Work(run_id=request.run_id, manifest=manifest, request=notes[REQUEST], retain=request.retain)


def hash_of(request: RunRequest) -> str:
    """What makes two requests under one id the same: everything but how long the Job is kept."""
    return digest({name: value for name, value in request.to_json().items() if name != "retain"})


def instance_name(text: str) -> str:
    """The text as the name of an instance: a label value, never empty."""
    return slug(text, 63) or "default"
