"""Could an agent be run here? What its configuration says, and what the cluster says of the very Job that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapter.agent.bundle import Bundle
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.docker import NOTE as DOCKER_NOTE
from adapter.agent.inheritance import Inherited, inherited
from adapter.agent.prompt import assemble
from adapter.agent.selfpod import SelfPod
from adapter.agent.workspace import NOT_PERSISTENT
from adapter.agents import Attempt, prepare
from adapter.cluster.checks import Check, Inheritance, Subject, error, info, warn
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.introspection import OwnPod, own_pod, where_am_i
from adapter.cluster.preflight import Report, preflight
from adapter.errors import InvalidRequest
from adapter.run import RunRequest
from adapter.work import plain_work

if TYPE_CHECKING:
    from adapter.service import Adapter

NOBODY: Mapping[str, Any] = {"runId": "doctor", "agent": {"id": "doctor", "name": "doctor"}}
"""Stands for the run and its agent where only a configuration is given."""

TEMPLATES = ("promptTemplate", "bootstrapPromptTemplate")
STAND_IN = RunRequest(run_id="doctor", command=("true",))
"""Its Job and image are checked where the configuration makes none."""

_TOLD = frozenset({DOCKER_NOTE, NOT_PERSISTENT, Bundle().note})
"""Notes on a Job that say what a check says already, or nothing."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The agent that is looked at: `whole` says that a whole run context is known, not only a configuration."""

    context: RunContext
    whole: bool
    named: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Patient:
        """From a run context, from a document with a `config` in it, or from a configuration; None: the defaults.

        Raises `InvalidRequest`.
        """
        document = given or {}
        if isinstance(document.get("config"), Mapping):
            return cls(RunContext.parse({**NOBODY, **document}), whole="runId" in document)
        return cls(RunContext.parse({**NOBODY, "config": document}), whole=False, named=given is not None)

    @property
    def asks_for_secret(self) -> bool:
        """Whether somebody wrote down the Secret that is only looked for."""
        target = self.context.execution_target or {}
        return "secretRef" in self.context.config or "secretRef" in (target.get("config") or {})

    def without_templates(self) -> RunContext:
        """What a template may use is known with a run, and only then."""
        kept = {name: value for name, value in self.context.config.items() if name not in TEMPLATES}
        return self.context if self.whole else self.context.model_copy(update={"config": kept})

    def with_image(self, image: str) -> Patient:
        """The same with an image."""
        config = {**self.context.config, "image": image}
        return Patient(self.context.model_copy(update={"config": config}), self.whole, self.named)


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of the configuration: the Job, or none, and what is to be said of it."""

    attempt: Attempt | None
    checks: tuple[Check, ...] = field(default=())


async def examine(adapter: Adapter, given: Mapping[str, Any] | None = None) -> Report:
    """Checks everything that a run of the agent would need. Never raises, and changes nothing.

    `given` is a run context, a document with an agent's configuration as `config`, or such a configuration alone;
    without one the defaults are checked. An API server that cannot be reached is a finding, too.
    """
    own = await _own(adapter)
    try:
        self_pod = SelfPod.of(own.raw) if own.raw is not None else None
        patient = Patient.of(given)
    except InvalidRequest as problem:
        self_pod, made = None, _Made(None, (_invalid(problem),))
        patient = Patient.of(None)
    else:
        made = await _made(adapter, patient, self_pod)
    subject = _subject(adapter, patient, made, own, self_pod)
    return Report.of([*made.checks, *await preflight(adapter.connection, subject, call=adapter.limits.call)])


async def _own(adapter: Adapter) -> OwnPod:
    try:
        return await own_pod(adapter.connection, call=adapter.limits.call)
    except (ApiError, Unreachable) as problem:
        return OwnPod(reason=f"our own pod could not be read: {problem}", place=where_am_i())


async def _made(adapter: Adapter, patient: Patient, self_pod: SelfPod | None) -> _Made:
    checks: list[Check] = []
    if not patient.named and not (self_pod and self_pod.image):
        patient = patient.with_image(STAND_IN.image)
        words = f"no configuration is given: the defaults are checked, with {STAND_IN.image} for the agent's image"
        checks.append(info("k8s_config_default", words))
    try:
        attempt = await prepare(patient.without_templates(), adapter.instance, self_pod, namespace=adapter.namespace)
    except InvalidRequest as problem:
        return _Made(None, (*checks, _invalid(problem)))
    return _Made(attempt, (*checks, *_findings(patient, attempt)))


def _findings(patient: Patient, attempt: Attempt) -> Iterator[Check]:
    """What is to be said of a configuration that makes a Job."""
    unknown = [f"config.{name}" for name in attempt.config.unknown]
    unknown += [f"context.{name}" for name in patient.context.unknown()] if patient.whole else []
    for name in unknown:
        yield warn("k8s_config_unknown", f"{name} is not known here, so it has no effect")
    for note in attempt.job.notes:
        if note not in _TOLD:
            yield info("k8s_config_note", note)
    if not patient.whole:
        yield from _template(patient)


def _template(patient: Patient) -> Iterator[Check]:
    """Templates without a run to fill them."""
    config = AgentConfig.parse(patient.context.config, target=patient.context.execution_target)
    try:
        assemble(patient.context, config, resuming=False)
    except InvalidRequest as problem:
        yield warn("k8s_config_template", f"in a run without a task: {problem}")


def _invalid(problem: InvalidRequest) -> Check:
    hint = "Correct the field that is named. The cluster was checked for a plain command in its place."
    return error("k8s_config_invalid", str(problem), hint=hint)


def _subject(adapter: Adapter, patient: Patient, made: _Made, own: OwnPod, self_pod: SelfPod | None) -> Subject:
    if made.attempt is None:
        job = plain_work(STAND_IN, adapter.instance).manifest
        return Subject(namespace=adapter.namespace, job=job, own=own)
    config = made.attempt.config
    return Subject(
        namespace=config.namespace or adapter.namespace,
        job=made.attempt.work.manifest,
        own=own,
        inheritance=_inheritance(inherited(self_pod, config)),
        secret_ref=config.secret_ref,
        asked_for=patient.asks_for_secret,
    )


def _inheritance(given: Inherited) -> Inheritance:
    """The names of what is inherited."""
    names = (
        *given.literals,
        *(f"{one.name} (by reference)" for one in given.value_from),
        *(f"all of {one.name}" for one in given.env_from),
        *(f"the volume of Secret {one.name}" for one in given.secret_volumes),
    )
    return Inheritance(names, dict(given.refused))
