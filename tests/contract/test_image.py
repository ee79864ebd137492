"""The image as it is shipped: a pod of the real cluster, under restricted Pod Security and the documented Role."""

from __future__ import annotations

import os

import anyio
import pytest

from adapter.cluster.connection import MERGE_PATCH
from tests.contract.accounts import NAME, documented
from tests.contract.conftest import Object, Place

IMAGE = os.environ.get("CLAUDE_K8S_TEST_IMAGE", "")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.parametrize("place", ["real"], indirect=True),
    pytest.mark.skipif(not IMAGE, reason="set CLAUDE_K8S_TEST_IMAGE to an image of the Dockerfile the nodes have"),
]


async def test_the_image_runs_in_a_pod(place: Place) -> None:
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await place.ask("PATCH", f"/api/v1/namespaces/{place.namespace}", restricted, content_type=MERGE_PATCH)
    await documented(place)
    command = ["run", "--", "sh", "-c", "echo hi; exit 3"]
    await place.ask("POST", f"{place.core}/pods", pod("adapter", *command))
    ended = await until_ended(place, "adapter")
    log = (await place.log("adapter")).decode()
    assert "hi" in log.splitlines()
    assert "claude: terminated (exit 3, Error)" in log
    assert "allowed" not in log
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert (await place.ask("GET", place.jobs))["items"] == [], "the run's Job is left"


async def test_the_image_says_what_it_is(place: Place) -> None:
    await place.ask("POST", f"{place.core}/pods", pod("version", "--version", account="default"))
    await until_ended(place, "version")
    assert (await place.log("version")).startswith(b"claude-k8s, version ")


def pod(name: str, *arguments: str, account: str = NAME) -> Object:
    """A pod of the image, as restricted Pod Security wants it, with nothing it could write to."""
    container = {
        "name": "adapter",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": list(arguments),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "serviceAccountName": account,
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def until_ended(place: Place, name: str) -> Object:
    """The pod, once its container has ended."""
    with anyio.fail_after(120):
        while True:
            found = await place.ask("GET", f"{place.core}/pods/{name}")
            if found["status"].get("phase") in ("Succeeded", "Failed"):
                return found
            await anyio.sleep(0.2)
