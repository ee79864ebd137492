"""What a client asks of the service over its sockets, and asks again as long as the protocol says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote

import anyio
import httpx

AGAIN = 0.1
"""Seconds before a request is sent again."""

HASTE = 5.0
"""Seconds that a client waits for an answer: a replica that is paused gives none."""


class Client:
    """A client of a service of one replica or more: where one does not answer it asks another."""

    def __init__(self, urls: Sequence[str], haste: float = HASTE) -> None:
        self._urls, self._turn = urls, 0
        self._client = httpx.AsyncClient(timeout=haste, trust_env=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def post(self, document: dict[str, Any]) -> None:
        """Sends a run until it is durable: only then nobody but the service has to remember it."""
        answer = await self._insist("POST", "/v1/runs", (202, 503), json=document)
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["durable"]

    async def cancel(self, run_id: str) -> None:
        """Cancels a run: asks until the answer is that the API server has it."""
        answer = await self._insist("POST", f"/v1/runs/{quote(run_id, safe='')}/cancel")
        assert answer.status_code == 202, answer.text

    async def runs(self) -> dict[str, dict[str, Any]]:
        """What the service says of its runs."""
        answer = await self._insist("GET", "/v1/runs")
        return {run["runId"]: run for run in answer.raise_for_status().json()["runs"]}

    async def _insist(self, method: str, path: str, again: Collection[int] = (503,), **body: Any) -> httpx.Response:
        """The first answer that does not say that the request is to be sent again."""
        while True:
            url = self._urls[self._turn % len(self._urls)]
            try:
                answer = await self._client.request(method, f"{url}{path}", **body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code not in again:
                return answer
            self._turn += 1
            await anyio.sleep(AGAIN)
