"""Service accounts that may do only what a Role says, and kubeconfigs with a token of theirs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import anyio
import yaml

from adapter.cluster.connection import MERGE_PATCH
from adapter.cluster.rbac import Right, rules
from tests.contract.conftest import Object, Place

ROLE = Path(__file__).parents[2] / "docs" / "deploy" / "agents" / "role.yaml"
NAME = "claude-k8s"
PLURALS = {"ServiceAccount": "serviceaccounts", "Role": "roles", "RoleBinding": "rolebindings"}


async def documented(place: Place) -> None:
    """Creates what docs/deploy/agents/role.yaml says, in the place's namespace."""
    await _create(place, ROLE.read_text())


async def restricted(place: Place) -> None:
    """Enforces restricted Pod Security in the place's namespace."""
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await place.ask("PATCH", f"/api/v1/namespaces/{place.namespace}", labels, content_type=MERGE_PATCH)


async def granted(place: Place, rights: Iterable[Right]) -> None:
    """The same with another Role: these rights and no others."""
    account, role, binding = yaml.safe_load_all(ROLE.read_text())
    await _create(place, yaml.safe_dump_all([account, {**role, "rules": rules(rights)}, binding]))


async def with_token(place: Place, directory: Path) -> Place:
    """The place as the account sees it."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    answer = await place.ask("POST", f"{place.core}/serviceaccounts/{NAME}/token", request)
    config = yaml.safe_load(await anyio.Path(place.kubeconfig).read_text())
    chosen = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    chosen["context"]["user"] = NAME
    config["users"] = [{"name": NAME, "user": {"token": answer["status"]["token"]}}]
    path = anyio.Path(directory) / "kubeconfig"
    await path.write_text(yaml.safe_dump(config))
    return replace(place, kubeconfig=str(path))


async def _create(place: Place, text: str) -> None:
    """Creates the objects, and waits until the Role works: the API server learns of it from a watch."""
    items = list(yaml.safe_load_all(text.replace("namespace: agents", f"namespace: {place.namespace}")))
    for item in items:
        path = "/api/v1" if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
        await place.ask("POST", f"{path}/namespaces/{place.namespace}/{PLURALS[item['kind']]}", item)
    with anyio.fail_after(30):
        while not await _works(place, items[1]["rules"][-1]):
            await anyio.sleep(0.05)


async def _works(place: Place, rule: Object) -> bool:
    resource, _, part = rule["resources"][0].partition("/")
    asked = {
        "namespace": place.namespace,
        "group": rule["apiGroups"][0],
        "resource": resource,
        "subresource": part,
        "verb": rule["verbs"][0],
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{place.namespace}:{NAME}", "resourceAttributes": asked},
    }
    answer = await place.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])
