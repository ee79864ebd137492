"""The service against its own OpenAPI document, and the document against the one that is published."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from adapter.sidecar.app import openapi, openapi_json
from adapter.sidecar.auth import FixedToken
from adapter.sidecar.models import RUN_ID
from tests.sidecar.serving import served

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "service-openapi.json"
TOKEN = "t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_the_published_document_is_that_of_the_app() -> None:
    assert DOCUMENT.read_text() == openapi_json(), "run make docs"


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in openapi()["paths"].items():
        yield from ((f"{method.upper()} {path}", operation) for method, operation in methods.items())


def test_every_answer_is_documented_and_every_error_in_one_shape() -> None:
    for name, operation in operations():
        answers = operation["responses"]
        good = [answer for status, answer in answers.items() if status.startswith("2")]
        assert good, name
        assert all(answer["content"] for answer in good), name
        open_to_all = name in ("GET /healthz", "GET /readyz")
        assert (("401" in answers), bool(operation.get("security"))) == (not open_to_all,) * 2, name
        if "requestBody" in operation:
            assert {"413", "422"} <= set(answers), name
        for status, answer in answers.items():
            if not status.startswith("2"):
                (content,) = answer["content"].values()
                assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}, (name, status)
    assert "HTTPValidationError" not in openapi()["components"]["schemas"], "FastAPI's own shape of an error"


@contextmanager
def made_up(state: Path) -> Iterator[str]:
    """Runs that are over as soon as they are posted, and no cluster; in a thread, since the tests are no coroutines."""
    ready, over = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with served(state, token=FixedToken(TOKEN)) as service:
            await service.book.add(RUN_ID)
            await service.book.finish(RUN_ID)
            found.append(service.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        over.set()
        thread.join(20)


@contextmanager
def real(state: Path) -> Iterator[str]:
    """The service itself."""
    command = [sys.executable, "-m", "tests.sidecar.real", str(state), TOKEN]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture(scope="module", params=[made_up, real])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it is spoken to."""
    with request.param(tmp_path_factory.mktemp("service")) as url:
        yield url


schema = schemathesis.openapi.from_dict(openapi())


def beyond_schemas(case: Case[Any]) -> list[Any]:
    """A run's document has rules that no schema says, and takes its numbers as text, too."""
    return [positive_data_acceptance, negative_data_rejection] if case.operation.label == "POST /v1/runs" else []


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_is_answered_as_documented(case: Case[Any], url: str) -> None:
    """No 5xx, no status, shape or type of an answer that the document does not have."""
    answer: Response = case.call_and_validate(base_url=url, headers=BEARER, excluded_checks=beyond_schemas(case))
    if answer.status_code >= 400:
        assert set(json.loads(answer.content)) == {"error"}
