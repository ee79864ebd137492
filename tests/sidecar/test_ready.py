"""What `/readyz` says: each cause, found by the real book on a cluster where something is wrong."""

from __future__ import annotations

from pathlib import Path

from adapter.local import Fault, LocalCluster
from tests.sidecar.books import replica


async def test_an_api_server_that_cannot_be_watched(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.comes_true(lambda: one.book.ready() is None)
        await cluster.stop_api()
        await one.comes_true(lambda: "the API server cannot be watched: " in (one.book.ready() or ""))
        await cluster.start_api()
        await one.comes_true(lambda: one.book.ready() is None)


async def test_a_lease_that_cannot_be_renewed(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        await one.comes_true(lambda: one.book.ready() is None)
        fault = cluster.faults.add(Fault.respond(500, method="PATCH", path="*/leases/*"))
        again = cluster.faults.add(Fault.respond(500, method="PUT", path="*/leases/*"))
        await one.comes_true(lambda: one.book.ready() == "the replica's Lease could not be renewed")
        fault.remove()
        again.remove()
        await one.comes_true(lambda: one.book.ready() is None)


async def test_a_service_that_is_closing(cluster: LocalCluster, tmp_path: Path) -> None:
    async with replica(cluster, tmp_path) as one:
        one.book.keeper.closing = True
        assert one.book.ready() == "the service is closing"
