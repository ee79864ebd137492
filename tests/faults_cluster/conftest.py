"""The cluster of $KUBECONFIG, the script that stops its parts, and the table at the end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import say
from tests.faults_cluster.control import BESIDE, SCRIPT, WITHOUT, Control
from tests.faults_cluster.ground import Ground, ground_of
from tests.faults_cluster.judge import Judge
from tests.faults_cluster.matrix import Row, table


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "disruptive: stops or kills parts of the cluster; runs last, and alone")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stops parts of the cluster comes after everything that needs them, and never beside it."""
    items.sort(key=_disrupts)
    why = WITHOUT if not SCRIPT else BESIDE if "PYTEST_XDIST_WORKER" in os.environ else ""
    for item in items:
        if why and _disrupts(item):
            item.add_marker(pytest.mark.skip(why))


def _disrupts(item: pytest.Item) -> bool:
    return item.get_closest_marker("disruptive") is not None


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """The table, which is told at the end of the session."""
    rows: list[Row] = []
    yield rows
    say(request.config, table(rows))


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    """An empty namespace of the cluster, and an adapter on it."""
    async with ground_of(os.environ.get("KUBECONFIG") or pytest.fail("set KUBECONFIG")) as ground:
        yield ground


@pytest.fixture
def judge(ground: Ground, rows: list[Row], request: pytest.FixtureRequest) -> Iterator[Judge]:
    """Whoever judges this test's runs. A test that does not come to a judgement has a line, too."""
    fault, before = _fault(request), len(rows)
    yield Judge(ground, fault, rows)
    if len(rows) == before:
        rows.append(Row(fault, note="no result"))
    _tell(request.config, rows[before:])


@pytest.fixture
async def control(ground: Ground) -> AsyncIterator[Control]:
    """The cluster's components. Whatever a test has stopped is running again afterwards."""
    control = Control(ground.place)
    yield control
    await control.mend()


def _fault(request: pytest.FixtureRequest) -> str:
    name, _, variant = str(request.node.name).removeprefix("test_").partition("[")
    return name.replace("_", " ") + (f" ({variant.rstrip(']')})" if variant else "")


def _tell(config: pytest.Config, rows: list[Row]) -> None:
    """A line at once, for whoever looks on."""
    reporter, capture = (config.pluginmanager.get_plugin(name) for name in ("terminalreporter", "capturemanager"))
    if reporter is None or capture is None:
        return  # a worker of pytest-xdist
    with capture.global_and_fixture_disabled():
        for row in rows:
            reporter.ensure_newline()
            reporter.write_line(str(row))
