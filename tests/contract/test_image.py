"""The image as it is shipped: a pod of the real cluster, under restricted Pod Security and the documented Role."""

from __future__ import annotations

import json
import os

import anyio
import pytest

from tests.contract.accounts import NAME, documented, restricted
from tests.contract.agents import FAKE, LITTLE
from tests.contract.conftest import Object, Place

IMAGE = os.environ.get("CLAUDE_K8S_TEST_IMAGE", "")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.parametrize("place", ["real"], indirect=True),
    pytest.mark.skipif(not IMAGE, reason="set CLAUDE_K8S_TEST_IMAGE to an image of the Dockerfile the nodes have"),
]


async def test_the_image_runs_in_a_pod(place: Place) -> None:
    await restricted(place)
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


async def test_an_agent_inherits_of_the_pod_that_the_adapter_is_in(place: Place) -> None:
    await restricted(place)
    await documented(place)
    await place.ask("POST", f"{place.core}/secrets", secret("context", {"context.json": json.dumps(context())}))
    await place.ask("POST", f"{place.core}/secrets", secret("provider", {"key": "referred-to"}))
    await place.ask("POST", f"{place.core}/pods", adapter())
    ended = await until_ended(place, "adapter")
    log = (await place.log("adapter")).decode()
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    result = next(line for line in lines if line["type"] == "result")
    transcript = "".join(line["text"] for line in lines if line["type"] == "log" and line["stream"] == "stdout")
    answer = json.loads(transcript.splitlines()[-1])["result"].splitlines()
    assert answer == [
        "ANTHROPIC_API_KEY=referred-to",
        "ANTHROPIC_BASE_URL=http://gateway",
        "DATABASE_URL is unset",
        "PAPERCLIP_AGENT_JWT_SECRET is unset",
        "EDITOR is unset",
        "PAPERCLIP_API_URL=http://paperclip:3100",
    ]
    assert result["agent"]["result"]["usage"]["output_tokens"] > 0
    [job] = (await place.ask("GET", place.jobs))["items"]
    pod = job["spec"]["template"]["spec"]
    assert {container["image"] for container in (*pod["containers"], *pod["initContainers"])} == {IMAGE}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["tolerations"][0]["key"] == "agents"
    assert "never-mind" not in json.dumps(job)
    assert "http://gateway" not in json.dumps(job["spec"])


def context() -> Object:
    """A run of the fake that needs nothing but a shell: it names no image."""
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "DATABASE_URL", "PAPERCLIP_AGENT_JWT_SECRET", "EDITOR")
    asked = " ".join(f"echo-env={name}" for name in (*names, "PAPERCLIP_API_URL"))
    config = {
        "command": ["sh", "-c", FAKE.read_text(), "claude"],
        "promptTemplate": f"Say what you have.\nFAKE: {asked}",
        "retainJobs": True,
        **LITTLE,
    }
    return {"runId": "inside", "agent": {"id": "ann"}, "config": config, "authToken": "a-token"}


def adapter() -> Object:
    """The adapter's own pod, with what is to be passed on and what is not."""
    made = pod("adapter", "execute", "--context", "/context/context.json", "--json")
    [container] = made["spec"]["containers"]
    container["env"] = [
        {"name": "ANTHROPIC_API_KEY", "valueFrom": {"secretKeyRef": {"name": "provider", "key": "key"}}},
        {"name": "ANTHROPIC_BASE_URL", "value": "http://gateway"},
        {"name": "PAPERCLIP_API_URL", "value": "http://paperclip:3100"},
        *({"name": name, "value": "never-mind"} for name in ("DATABASE_URL", "PAPERCLIP_AGENT_JWT_SECRET", "EDITOR")),
    ]
    container["volumeMounts"] = [{"name": "context", "mountPath": "/context", "readOnly": True}]
    made["spec"]["volumes"] = [{"name": "context", "secret": {"secretName": "context"}}]
    made["spec"]["imagePullSecrets"] = [{"name": "registry"}]
    made["spec"]["tolerations"] = [{"key": "agents", "operator": "Exists", "effect": "NoSchedule"}]
    return made


def secret(name: str, texts: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}


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
