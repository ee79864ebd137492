"""Whatever is asked for: what the builder makes of it the API server takes, all fields of it, and the Secret too."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings

from adapter.agent.context import RunContext
from adapter.agents import prepare
from adapter.cluster.connection import ApiError
from adapter.errors import InvalidRequest
from tests.agent_strategies import ATTEMPTS, Attempt
from tests.contract.accounts import restricted
from tests.contract.conftest import Object, Place

EXAMPLES = int(os.environ.get("CLAUDE_K8S_EXAMPLES", "300"))
"""How many attempts the real API server is asked about."""

ELSEWHERE = ("serviceAccountName", "priorityClassName", "runtimeClassName")
"""What a pod can only have where it exists."""

THOROUGH = settings(
    deadline=None,
    # The place is one for all examples: a dry run leaves nothing in it.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
async def strict(place: Place) -> Place:
    """The place, where the real cluster lets nobody do more than restricted Pod Security allows."""
    if place.real:
        await restricted(place)
    return place


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ["real"], indirect=True)
@settings(THOROUGH, max_examples=EXAMPLES)
@given(attempt=ATTEMPTS)
async def test_the_real_api_server_refuses_none(strict: Place, attempt: Attempt) -> None:
    await everything_accepted(strict, attempt)


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
@settings(THOROUGH, max_examples=50)
@given(attempt=ATTEMPTS)
async def test_the_embedded_api_server_refuses_none(strict: Place, attempt: Attempt) -> None:
    await everything_accepted(strict, attempt)


async def everything_accepted(place: Place, attempt: Attempt) -> None:
    objects = (*await prepared(attempt), *built(attempt))
    await asyncio.gather(*(accepted(place, body) for body in objects))


async def prepared(attempt: Attempt) -> Iterator[Object]:
    """What a run of the context would create, from its reading to its marks; nothing where it is refused."""
    try:
        context = RunContext.parse({**attempt.context, "config": attempt.config})
        work = (await prepare(context, "somebody", attempt.self_pod)).work
    except InvalidRequest:
        event("refused by prepare()")
        return iter(())
    return of_a_run(work.manifest, work.secret)


def built(attempt: Attempt) -> Iterator[Object]:
    """The same with the bundle, the session and the prompt that were drawn beside it."""
    try:
        job = attempt.job()
    except InvalidRequest:
        return iter(())
    return of_a_run(job.manifest, job.secret)


def of_a_run(job: Mapping[str, Any], content: Mapping[str, bytes]) -> Iterator[Object]:
    """The Job, its Secret, and the pod that the Job's controller would make."""
    meta, template = {"name": job["metadata"]["name"]}, job["spec"]["template"]
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    yield dict(job)
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "immutable": True, "data": data}
    if all(container["name"] != "docker" for container in template["spec"]["initContainers"]):  # which is privileged
        labels = {**template["metadata"], **meta}
        spec = {name: value for name, value in template["spec"].items() if name not in ELSEWHERE}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": labels, "spec": spec}


async def accepted(place: Place, body: Object) -> None:
    """Asks the API server, by dry run."""
    paths = {"Job": place.jobs, "Secret": f"{place.core}/secrets", "Pod": f"{place.core}/pods"}
    query = [("dryRun", "All"), ("fieldValidation", "Strict")]
    try:
        await place.ask("POST", paths[body["kind"]], body, query=query)
    except ApiError as error:
        pytest.fail(f"{body['kind']} refused: {error}")
