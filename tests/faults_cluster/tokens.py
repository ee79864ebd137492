"""A service account with the documented Role, and tokens of it that can be taken away at any moment.

A token lives for ten minutes at least. One that is bound to a Secret ends with that Secret, so that nobody has to wait.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import yaml

from adapter.cluster.connection import ApiError
from tests.contract.accounts import NAME, documented
from tests.contract.conftest import Object, Place
from tests.faults_cluster.polling import until

SHORTEST = 600
"""Seconds that a token lives at least."""


class Account:
    """The account of a place, and the kubeconfig that holds its token, in itself or in a file beside it."""

    def __init__(self, place: Place, directory: Path, *, token_file: bool = False) -> None:
        self._admin = place
        self._kubeconfig, self._token = anyio.Path(directory) / "kubeconfig", anyio.Path(directory) / "token"
        self._token_file = token_file
        self._current = ""
        self._made = 0

    @property
    def place(self) -> Place:
        """The place as the account sees it."""
        return replace(self._admin, kubeconfig=str(self._kubeconfig))

    async def begin(self) -> None:
        """Creates account and Role, and writes the kubeconfig with a first token."""
        await documented(self._admin)
        await self.rotate()

    async def rotate(self) -> None:
        """Writes a new token in the place of the old one."""
        self._made += 1
        await self._admin.ask("POST", f"{self._admin.core}/secrets", {"metadata": {"name": self._secret}})
        self._current = await self._new()
        await self._token.write_text(self._current)
        user = {"tokenFile": str(self._token)} if self._token_file else {"token": self._current}
        await self._kubeconfig.write_text(yaml.safe_dump(await self._config(user)))

    async def revoke(self) -> None:
        """Ends the token; returns when the API server refuses it."""
        await self._admin.ask("DELETE", f"{self._admin.core}/secrets/{self._secret}")
        await self.refused()

    async def refused(self, seconds: float = 60) -> None:
        """Waits until the API server refuses the token."""
        await until(self._is_refused, seconds)

    async def withdraw(self) -> Object:
        """Takes the account's Role away; the binding, to be given back."""
        binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self._admin.namespace}/rolebindings"
        taken = await self._admin.ask("GET", f"{binding}/{NAME}")
        await self._admin.ask("DELETE", f"{binding}/{NAME}")
        return {**taken, "metadata": {"name": NAME}}

    async def give_back(self, binding: Object) -> None:
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self._admin.namespace}/rolebindings"
        await self._admin.ask("POST", path, binding)

    @property
    def _secret(self) -> str:
        return f"token-{self._made}"

    async def _new(self) -> str:
        bound = {"kind": "Secret", "apiVersion": "v1", "name": self._secret}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": SHORTEST, "boundObjectRef": bound},
        }
        answer = await self._admin.ask("POST", f"{self._admin.core}/serviceaccounts/{NAME}/token", request)
        return str(answer["status"]["token"])

    async def _config(self, user: dict[str, Any]) -> Object:
        config: Object = yaml.safe_load(await anyio.Path(self._admin.kubeconfig).read_text())
        chosen = next(c for c in config["contexts"] if c["name"] == config["current-context"])
        chosen["context"]["user"] = NAME
        return {**config, "users": [{"name": NAME, "user": user}]}

    async def _is_refused(self) -> bool:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": self._current}}
        try:
            answer = await self._admin.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        except ApiError:
            return False
        return not answer["status"].get("authenticated", False)
