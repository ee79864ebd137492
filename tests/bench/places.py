"""Where the benchmark runs: an embedded cluster in another process, or a namespace of its own on the real one."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapter import Adapter
from adapter.cluster.connection import ApiError, Connection
from adapter.cluster.credentials import Source
from tests.bench.programs import Program, program


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace to run in. `server` is the embedded cluster, if it is one."""

    name: str
    kubeconfig: str
    namespace: str
    server: Program | None = None

    @asynccontextmanager
    async def adapter(self) -> AsyncIterator[Adapter]:
        """An adapter for it, in this process."""
        async with Adapter.connect(kubeconfig=self.kubeconfig, namespace=self.namespace) as adapter:
            yield adapter


@asynccontextmanager
async def embedded(*faults: str) -> AsyncIterator[Place]:
    """An embedded cluster of its own process."""
    async with program("server", *faults) as server:
        yield Place("embedded", (await server.hear())["kubeconfig"], "default", server)


def real() -> str | None:
    """The kubeconfig of the real cluster, if there is one to use."""
    return os.environ.get("KUBECONFIG") or None


@asynccontextmanager
async def namespace(kubeconfig: str) -> AsyncIterator[Place]:
    """A new namespace on the real cluster; afterwards everything in it is deleted."""
    name = f"claude-k8s-bench-{secrets.token_hex(3)}"
    connection = await Connection.open(Source(kubeconfig), deadline=10)
    try:
        await connection.call("POST", "/api/v1/namespaces", body={"metadata": {"name": name}}, deadline=10)
        try:
            await _ready(connection, name)
            yield Place("cluster", kubeconfig, name)
        finally:
            await connection.call("DELETE", f"/api/v1/namespaces/{name}", deadline=10)
    finally:
        await connection.close()


async def _ready(connection: Connection, name: str) -> None:
    """Pods need the namespace's service account, which comes a moment later."""
    async with asyncio.timeout(30):
        while True:
            try:
                await connection.call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default", deadline=10)
            except ApiError as error:
                if error.status != 404:
                    raise
                await asyncio.sleep(0.1)
            else:
                return


@asynccontextmanager
async def best() -> AsyncIterator[Place]:
    """The real cluster if there is one, the embedded one otherwise."""
    kubeconfig = real()
    async with namespace(kubeconfig) if kubeconfig else embedded() as place:
        yield place
