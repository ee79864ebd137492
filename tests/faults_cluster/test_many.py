"""Many runs at once, by one adapter. Two cores start about two pods a second."""

from __future__ import annotations

import os

import pytest

from tests.faults_cluster.ground import Ground
from tests.faults_cluster.judge import Judge
from tests.faults_cluster.scripts import talk

pytestmark = pytest.mark.cluster

RUNS = int(os.environ.get("CLAUDE_K8S_FAULTS_RUNS") or 100)


@pytest.mark.timeout(600)
async def test_many_at_once(ground: Ground, judge: Judge) -> None:
    runs = [ground.start(talk(50, pause=0.2)) for _ in range(RUNS)]
    await judge(*runs, within=500)
