"""What we may do in a namespace, as far as the API server knows it: asked before a run, but not before each."""

from __future__ import annotations

import anyio

from adapter.cluster.connection import Connection
from adapter.cluster.rbac import Right, missing

FRESH = 60.0
"""Seconds that a review which lacks nothing is believed. A right that was withdrawn is missed by its call anyway."""


class Rights:
    """The rights of our account in one namespace."""

    def __init__(self, connection: Connection, namespace: str, *, call: float) -> None:
        self._connection, self._call, self.namespace = connection, call, namespace
        self._enough: dict[bool, float] = {}

    async def lacking(self, *, agent: bool) -> list[Right]:
        """The rights that a run would lack; `agent`: those of an agent's run too. Raises as any call does."""
        if anyio.current_time() < self._enough.get(agent, 0.0):
            return []
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self.namespace},
        }
        lacking = missing(await self._connection.call("POST", path, body=review, deadline=self._call), agent=agent)
        if not lacking:
            self._enough[agent] = anyio.current_time() + FRESH
        return lacking
