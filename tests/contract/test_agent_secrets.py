"""No secret of a run leaves its place: canaries are planted wherever one may be, the agent tells all it has, and then
everything that anybody could read is searched.

They may be in the Secret, in the bytes of the log, in the `meta` event, which is for the control plane, and in what
the kubelet keeps of the agent's own last words.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.contract.agents import FAKE, Agents, Ran
from tests.contract.conftest import Object, Place

TELL_ALL = 'env >&2; cat /run/claude-k8s/in/mcp.json >&2; echo >&2; exec "$0" "$@"'
"""Says its environment and its tool servers on stderr, then runs the agent."""

NAMES = ("PAPERCLIP_API_KEY", "GIVEN_TOKEN", "PLAIN_NAME", "ANTHROPIC_API_KEY")
"""Variables that the fake repeats in its answer."""

CANARIES = {
    name: f"canary-0{number}-{name}-c4fe"
    for number, name in enumerate(
        ("token", "given", "plain", "mcp", "header", "runtime", "prompt", "bootstrap", "instructions", "inherited")
    )
}

OWN: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "paperclip-0"},
    "status": {},
    "spec": {
        "nodeSelector": {"nowhere": "at-all"},
        "containers": [
            {
                "name": "paperclip",
                "image": "busybox:1.36",
                "command": ["true"],
                "env": [
                    {"name": "ANTHROPIC_API_KEY", "value": CANARIES["inherited"]},
                    {"name": "DATABASE_URL", "value": "postgres://never"},
                ],
            }
        ],
    },
}
"""The pod that the adapter is taken to run in."""


ENDS = {
    "": None,
    "exit=3": "exit_code",
    "is-error": "agent_error",
    "truncated": "claude_truncated",
    "forever": "cancelled",
}
"""What the fakes do, and what becomes of their runs. The last one is cancelled."""


def context(agents: Agents, faults: str) -> Object:
    """With a canary wherever a control plane can put a secret."""
    program = "claude" if agents.place.real else str(FAKE)
    config: dict[str, Any] = {
        "command": ["sh", "-c", TELL_ALL, program],
        "env": {"GIVEN_TOKEN": CANARIES["given"], "PLAIN_NAME": CANARIES["plain"]},
        "mcpServers": {
            "git": {"command": "git-mcp", "env": {"TOKEN": CANARIES["mcp"]}},
            "web": {"url": "https://web", "headers": {"Authorization": CANARIES["header"]}},
        },
        "promptTemplate": f"{CANARIES['prompt']}\nFAKE: {faults} {' '.join(f'echo-env={name}' for name in NAMES)}",
        "bootstrapPromptTemplate": CANARIES["bootstrap"],
        "retainJobs": True,
        "graceSec": 5,
        "inheritScheduling": False,
    }
    return agents.context(
        agent=faults or "success",
        config=config,
        authToken=CANARIES["token"],
        instructionsContent=CANARIES["instructions"],
        runtimeMcp={"servers": [{"name": "tools", "url": "https://tools", "token": CANARIES["runtime"]}]},
    )


@pytest.fixture
async def inside(place: Place) -> dict[str, str]:
    """What the environment of a command in that pod would be."""
    await place.ask("POST", f"{place.core}/pods", OWN)
    server = urlsplit(place.connection.server)
    return {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "POD_NAME": OWN["metadata"]["name"],
        "POD_NAMESPACE": place.namespace,
    }


@pytest.mark.timeout(180)
async def test_canaries(agents: Agents, inside: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        options = ("--json", "--verbose")
        begun = [agents.working(context(agents, faults), *options, environment=inside) for faults in ENDS]
        working = [await stack.enter_async_context(one) for one in begun]
        assert not leaks(await readable(agents.place))
        working[-1].process.send_signal(signal.SIGINT)
        ran = [await one.end() for one in working]
    assert [one.told["errorCode"] for one in ran] == list(ENDS.values())
    assert not leaks(await readable(agents.place))
    for faults, one in zip(ENDS, ran, strict=True):
        assert not leaks([one.err, json.dumps(one.told), *said(one)]), faults
        told_where_they_belong(one, faults)
    jobs = (await agents.place.ask("GET", agents.place.jobs))["items"]
    assert sum("claude-k8s/result" in job["metadata"]["annotations"] for job in jobs) == len(ENDS) - 1, (
        "one is cancelled"
    )


def told_where_they_belong(ran: Ran, faults: str) -> None:
    """The canaries were there: otherwise nothing was tried."""
    heard = [ran.log("stderr"), ran.log()]
    for name in ("token", "given", "plain", "mcp", "header", "runtime", "inherited"):
        assert CANARIES[name] in heard[0], name
    assert "postgres://never" not in heard[0]
    assert not {"prompt", "bootstrap"} - set(leaks([ran.event("meta")["prompt"]]))
    if faults in ("", "exit=3"):
        assert CANARIES["token"] in heard[1]
        assert "PAPERCLIP_API_KEY=***" in ran.told["summary"]


def said(ran: Ran) -> list[str]:
    """What was printed of the run but its log and its meta event."""
    return [json.dumps(line) for line in ran.lines if line["type"] != "log" and line.get("kind") != "meta"]


def leaks(texts: Iterable[str]) -> list[str]:
    """The names of the canaries in any of the texts."""
    whole = "\n".join(texts)
    return [name for name, canary in CANARIES.items() if canary in whole]


async def readable(place: Place) -> list[str]:
    """All that can be read of a run in the cluster by somebody who may not read Secrets and logs."""
    paths = [place.jobs, *(f"{place.core}/{kind}" for kind in ("pods", "events", "configmaps"))]
    items = [item for path in paths for item in (await place.ask("GET", path))["items"]]
    assert any(item["metadata"]["name"].startswith("ck-") for item in items)
    return [yaml.safe_dump(_wordless(item)) for item in items if item["metadata"]["name"] != OWN["metadata"]["name"]]


def _wordless(item: Object) -> Object:
    """The object without its containers' last words, which are the agent's own."""
    status = dict(item.get("status", {}))
    for kind in ("containerStatuses", "initContainerStatuses"):
        status[kind] = [{**one, "state": _without_message(one["state"])} for one in status.get(kind, ())]
    return {**item, "status": status}


def _without_message(state: Object) -> Object:
    return {
        kind: {name: value for name, value in detail.items() if name != "message"} for kind, detail in state.items()
    }


async def test_the_password_in_an_address(agents: Agents) -> None:
    address = "http://somebody:canary-in-an-address@proxy:3128"
    ran = await agents.run(agents.context("echo-env=HTTPS_PROXY", config={"env": {"HTTPS_PROXY": address}}))
    assert "canary-in-an-address" in ran.log()
    assert "canary-in-an-address" not in json.dumps(ran.told) + json.dumps(ran.result)
