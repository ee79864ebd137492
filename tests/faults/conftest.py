"""The embedded cluster of the wire's tests, and an adapter; how soon its follows are closed is not measured here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapter import Adapter
from adapter.local import LocalCluster
from tests.wire.conftest import FAST, Site, cluster

__all__ = ["cluster"]


@pytest.fixture
async def site(cluster: LocalCluster) -> AsyncIterator[Site]:
    """Every log stream must be closed by the end of its run, and every stream in the end."""
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        site = Site(cluster, adapter)
        yield site
        if all(task.done() for task in site.tasks):  # a test that failed may have left a run to be let go of
            assert not any(s.kind == "log" for s in cluster.open_streams()), "a log stream outlived its run"
    await cluster.until(lambda c: not c.open_streams())
