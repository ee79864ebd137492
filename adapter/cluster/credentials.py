"""Where the API server is and who we are there, kept fresh: service account tokens rotate, exec plugins' expire."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from adapter.errors import ConnectError

TOKEN_REREAD = 60.0
"""Seconds between two reads of a token file: the kubelet renews a projected token long before it expires."""

EXPIRY_SKEW = 60.0
"""An exec plugin's credential is renewed this many seconds before it expires."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Source:
    """Which cluster: a kubeconfig (its path and context), or, with neither, what kubectl would take.

    `$KUBECONFIG`, then `~/.kube/config`, then the pod's own service account.
    """

    kubeconfig: str | None = None
    context: str | None = None

    def path(self) -> str | None:
        """The kubeconfig to read; None means the pod's service account."""
        if self.kubeconfig:
            return self.kubeconfig
        if os.environ.get("KUBECONFIG"):
            return os.environ["KUBECONFIG"]
        default = Path(os.path.expanduser("~/.kube/config"))  # noqa: PTH111 - Path's raises without a home
        in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and not self.context
        return None if in_pod and not default.exists() else str(default)


class Credentials:
    """One Configuration for the connection's life, filled again when it may have gone stale."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._filling: asyncio.Task[None] | None = None
        self._fresh_until = float("inf")
        self.generation = 0
        self.namespace = "default"
        self.configuration: Any = None

    async def load(self) -> None:
        """Reads everything for the first time. Raises `ConnectError` with the cause.

        Without a deadline: an exec plugin may ask its user to log in.
        """
        # Importing the client library takes 0.5 to 1 s: never on the loop.
        client = await to_thread.run_sync(import_module, "kubernetes_asyncio.client")
        await to_thread.run_sync(import_module, "kubernetes_asyncio.config")
        self.configuration = client.Configuration()
        await self._fill()

    async def freshen(self) -> None:
        """Renews what is about to expire. Costs nothing when nothing is."""
        if anyio.current_time() >= self._fresh_until:
            await self.renew(self.generation)

    async def renew(self, generation: int) -> None:
        """Reads the credentials again, once for all who saw `generation` refused.

        In a task of its own: a call that gives up waiting must not start a slow exec plugin over and over.
        """
        if generation == self.generation:
            if self._filling is None or self._filling.done():
                self._filling = asyncio.create_task(self._fill())
                self._filling.add_done_callback(_retrieved)
            await asyncio.shield(self._filling)

    async def close(self) -> None:
        """Ends what is being read."""
        if self._filling and not self._filling.done():
            self._filling.cancel()
            await asyncio.wait([self._filling])

    async def _fill(self) -> None:
        path = self._source.path()
        try:
            await (self._from_pod() if path is None else self._from_kubeconfig(path))
        except ConnectError:
            raise
        except Exception as error:
            raise ConnectError(f"cannot use {path or 'the service account'}: {_plain(error)}") from error
        self.generation += 1

    async def _from_kubeconfig(self, path: str) -> None:
        from kubernetes_asyncio.config import kube_config

        if not await to_thread.run_sync(_any_file, path):
            raise ConnectError(f"no kubeconfig at {path}: name one with --kubeconfig or $KUBECONFIG")
        loader = await kube_config.load_kube_config(
            config_file=path,
            context=self._source.context,
            client_configuration=self.configuration,
            persist_config=False,
        )
        self.namespace = (loader.current_context or {}).get("context", {}).get("namespace") or "default"
        expiry = getattr(loader, "exec_plugin_expiry", None)
        self._fresh_until = float("inf") if expiry is None else anyio.current_time() + _seconds_until(expiry)

    async def _from_pod(self) -> None:
        from kubernetes_asyncio import config

        config.load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=self.configuration, try_refresh_token=False
        )
        # A token written with a final newline is no valid header; the library does not strip it.
        self.configuration.api_key["BearerToken"] = self.configuration.api_key["BearerToken"].strip()
        self.namespace = await to_thread.run_sync((SERVICE_ACCOUNT / "namespace").read_text)
        self.namespace = self.namespace.strip()
        self._fresh_until = anyio.current_time() + TOKEN_REREAD


def _retrieved(filling: asyncio.Task[None]) -> None:
    """Its error was told to whoever still waited."""
    if not filling.cancelled():
        filling.exception()


def _any_file(path: str) -> bool:
    return any(Path(os.path.expanduser(part)).is_file() for part in path.split(os.pathsep))  # noqa: PTH111 - as above


def _seconds_until(expiry: dt.datetime) -> float:
    """How long a credential that was issued just now is to be used.

    It has not expired already: where our clock says so, that clock is wrong or the issuer's, and it is only read again
    now and then. A clock that is wrong the other way keeps it until it is refused, which renews it.
    """
    left = (expiry - dt.datetime.now(dt.UTC)).total_seconds()
    return max(left - EXPIRY_SKEW, left / 2, 1.0) if left > 0 else TOKEN_REREAD


def _plain(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split())
