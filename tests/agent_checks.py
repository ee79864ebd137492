"""What the API server and the kubelet would say of an agent's Job, without either of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from adapter.agent.checks import amount
from adapter.agent.claude import AgentJob
from tests.agent_strategies import CANARY
from tests.unit.test_manifest import breaches

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

Raw = Mapping[str, Any]


def faults(job: AgentJob) -> list[str]:
    """Everything that is wrong with it."""
    spec = job.manifest["spec"]
    pod = spec["template"]["spec"]
    containers = [*pod["containers"], *pod["initContainers"]]
    found = [*_metadata(job.manifest["metadata"]), *_secret(job, pod), *_volumes(pod, containers)]
    found += [f"{container['name']}: {fault}" for container in containers for fault in _container(container, job)]
    confined = pod | {"initContainers": [one for one in pod["initContainers"] if one["name"] != "docker"]}
    found += breaches(confined)
    if spec["template"]["metadata"]["labels"] != job.manifest["metadata"]["labels"]:
        found.append("the pod has other labels")
    if not (spec["suspend"] and spec["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"):
        found.append("it could run before it may, or twice")
    shown = json.dumps(job.manifest)
    found += ["a secret is in the Job"] if CANARY in shown else []
    found += ["a secret is in a repr"] if CANARY in repr(job) else []
    found += ["a secret is in a note"] if CANARY in str(job.notes) else []
    return found + (["the Job is too large"] if len(shown) > 1024 * 1024 else [])


def _metadata(metadata: Raw) -> Iterator[str]:
    if not DNS_LABEL.fullmatch(metadata["name"]):
        yield "name"
    for key, value in metadata["labels"].items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            yield f"label {key}={value}"
    for key, value in metadata["annotations"].items():
        if not LABEL_KEY.fullmatch(key) or not isinstance(value, str) or len(value) > 10_000:
            yield f"annotation {key}"


def _secret(job: AgentJob, pod: Raw) -> Iterator[str]:
    yield from (f"Secret's key {key!r}" for key in job.secret if not SECRET_KEY.fullmatch(key))
    if sum(map(len, job.secret.values())) > 1024 * 1024:
        yield "the Secret is too large"
    source = next(volume["secret"] for volume in pod["volumes"] if volume["name"] == "prompt")
    if source["secretName"] != job.manifest["metadata"]["name"]:
        yield "the volume is of another Secret"
    paths = [item["path"] for item in source["items"]]
    if len(set(paths)) != len(paths) or "prompt.txt" not in paths:
        yield "two files at one place, or no prompt"
    for item in source["items"]:
        if item["key"] not in job.secret or not 0o444 <= item["mode"] <= 0o777:
            yield f"item {item}"
        if item["path"].startswith(("/", "..")) or ".." in item["path"].split("/"):
            yield f"item's path {item['path']!r}"


def _volumes(pod: Raw, containers: list[Raw]) -> Iterator[str]:
    names = [volume["name"] for volume in pod["volumes"]]
    if len(set(names)) != len(names) or not all(map(DNS_LABEL.fullmatch, names)):
        yield f"volumes {names}"
    for container in containers:
        mounts = container["volumeMounts"]
        places = [mount["mountPath"] for mount in mounts]
        if len(set(places)) != len(places) or not all(place.startswith("/") and ":" not in place for place in places):
            yield f"mounts {places}"
        if not {mount["name"] for mount in mounts} <= set(names):
            yield f"{container['name']} mounts what is not there"


def _container(container: Raw, job: AgentJob) -> Iterator[str]:
    names = [entry["name"] for entry in container.get("env", ())]
    if len(set(names)) != len(names):
        yield f"variables {names}"
    for entry in container.get("env", ()):
        yield from _variable(entry, job)
    for text in (*container.get("command", ()), *container.get("args", ()), container.get("workingDir", "/")):
        if "\0" in text or len(text.encode()) > 131_071:
            yield f"no process can be given {text[:50]!r}"
    if not container.get("workingDir", "/").startswith("/") or not container["image"].strip():
        yield "workingDir or image"
    asked, allowed = (container["resources"].get(kind, {}) for kind in ("requests", "limits"))
    if any(amount(asked[name]) > amount(allowed[name]) for name in asked):
        yield f"asks for more than it is allowed: {container['resources']}"


def _variable(entry: Raw, job: AgentJob) -> Iterator[str]:
    name = entry["name"]
    if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", name) or len({"value", "valueFrom"} & set(entry)) != 1:
        yield f"variable {name}"
    reference = entry.get("valueFrom", {}).get("secretKeyRef", {})
    if reference.get("name") == job.manifest["metadata"]["name"] and reference["key"] not in job.secret:
        yield f"variable {name} is not in the Secret"
