"""`claude-k8s doctor`: what a configuration makes of the checks, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.cluster.preflight import Report
from adapter.cluster.rbac import TABLE
from adapter.doctor import examine
from adapter.local import Fault
from tests.wire.conftest import Site

CANARY = "hunter2-hunter2"
AGENT = {"image": "agent:1", "workspaceVolumeClaim": "data"}
NAMES = ("KUBERNETES_SERVICE_HOST", "PAPERCLIP_NAMESPACE", "POD_NAMESPACE", "POD_NAME", "PAPERCLIP_API_URL")


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def messages(report: Report, code: str) -> list[str]:
    return [f"{check.level}: {check.message}" for check in report.checks if check.code == code]


def bad(report: Report) -> set[str]:
    return {check.code for check in report.checks if check.level != "info"}


async def create(site: Site, plural: str, name: str, **more: Any) -> None:
    path = f"/api/v1/namespaces/default/{plural}"
    await site.adapter.connection.call("POST", path, body={"metadata": {"name": name}, **more}, deadline=3)


async def in_pod(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process in the pod `adapter-0` of the cluster."""
    host, _, port = site.cluster.url.removeprefix("http://").partition(":")
    for name, value in {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POD_NAME", "adapter-0")
    monkeypatch.setenv("POD_NAMESPACE", "default")
    env: list[dict[str, Any]] = [{"name": name, "value": CANARY} for name in ("ANTHROPIC_API_KEY", "DATABASE_URL")]
    env.append({"name": "ANTHROPIC_MODEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "model"}}})
    mounts = [{"name": "data", "mountPath": "/paperclip"}]
    container = {"name": "paperclip", "image": "control-plane:7", "env": env, "volumeMounts": mounts}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    await create(site, "pods", "adapter-0", spec={"containers": [container], "volumes": volumes})


async def test_without_a_configuration_the_defaults_are_checked(site: Site) -> None:
    report = await examine(site.adapter)
    assert (report.status, bad(report)) == ("pass", set())
    assert messages(report, "k8s_image") == [
        "info: image busybox:1.36 (stderr, claude) is a valid name, pull policy IfNotPresent"
    ]
    assert messages(report, "k8s_secret_missing") == [
        "info: there is no Secret paperclip-secrets (secretRef); it is not needed"
    ]


async def test_an_agents_own_job_is_what_is_checked(site: Site) -> None:
    report = await examine(site.adapter, {**AGENT, "imagePullSecrets": "registry", "secretRef": "keys"})
    assert (report.status, bad(report)) == ("fail", {"k8s_pvc_missing", "k8s_secret_missing"})
    await create(site, "persistentvolumeclaims", "data", spec={"accessModes": ["ReadWriteMany"]})
    for name in ("registry", "keys"):
        await create(site, "secrets", name)
    report = await examine(site.adapter, {**AGENT, "imagePullSecrets": "registry", "secretRef": "keys"})
    assert (report.status, bad(report)) == ("pass", set())
    assert messages(report, "k8s_secret_exists") == [
        "info: Secret registry is there (to pull images)",
        "info: Secret keys is there (secretRef)",
    ]
    assert not any(request.method == "GET" and "/secrets" in request.path for request in site.cluster.requests)


async def test_a_configuration_that_is_wrong_hides_nothing_of_the_cluster(site: Site) -> None:
    report = await examine(site.adapter, {"image": "a b", "timeoutSec": "soon"})
    [message] = messages(report, "k8s_config_invalid")
    assert "config.image" in message
    assert "config.timeoutSec" in message
    assert bad(report) == {"k8s_config_invalid"}
    assert messages(report, "k8s_job_accepted")


async def test_an_agent_without_an_image_outside_of_a_cluster(site: Site) -> None:
    report = await examine(site.adapter, {})
    assert "config.image is not set" in messages(report, "k8s_config_invalid")[0]


async def test_what_has_no_effect_is_a_warning(site: Site) -> None:
    report = await examine(site.adapter, {"image": "agent:1", "colour": "blue"})
    assert messages(report, "k8s_config_unknown") == ["warn: config.colour is not known here, so it has no effect"]
    assert report.status == "warn"


async def test_a_template_can_only_be_judged_with_a_run(site: Site) -> None:
    config = {"image": "agent:1", "promptTemplate": "{{context.mood}}"}
    report = await examine(site.adapter, config)
    assert messages(report, "k8s_config_template")[0].startswith("warn: in a run without a task: promptTemplate uses")
    run = {"runId": "r", "agent": {"id": "a"}, "config": config}
    assert bad(await examine(site.adapter, run)) == {"k8s_config_invalid"}
    assert bad(await examine(site.adapter, {**run, "context": {"mood": "good"}})) == set()


async def test_a_context_that_is_none(site: Site) -> None:
    report = await examine(site.adapter, {"runId": "", "agent": 7, "config": {}})
    assert "context.agent" in messages(report, "k8s_config_invalid")[0]


@pytest.mark.parametrize(
    "target",
    [{}, {"executionTarget": {"kind": "remote", "transport": "kubernetes", "config": {"namespace": "elsewhere"}}}],
)
async def test_the_namespace_is_the_agents_own(target: Mapping[str, Any], site: Site) -> None:
    config = {"image": "agent:1"} | ({} if target else {"namespace": "elsewhere"})
    report = await examine(site.adapter, {"config": config, **target})
    assert messages(report, "k8s_namespace_missing") == ["error: there is no namespace elsewhere"]


async def test_a_privileged_sidecar_where_the_namespace_allows_none(site: Site) -> None:
    body = {"metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await site.adapter.connection.call("POST", "/api/v1/namespaces", body=body, deadline=3)
    config = {"image": "agent:1", "namespace": "strict"}
    assert bad(await examine(site.adapter, config)) == set()
    report = await examine(site.adapter, {**config, "enableDocker": True})
    assert messages(report, "k8s_pod_security") == [
        "error: the namespace's Pod Security level restricted refuses the privileged container docker"
    ]


async def test_what_would_be_inherited_and_what_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await in_pod(site, monkeypatch)
    await create(site, "persistentvolumeclaims", "data", spec={"accessModes": ["ReadWriteOnce"]})
    report = await examine(site.adapter)
    assert messages(report, "k8s_inherited") == [
        "info: inherited from our own pod default/adapter-0: ANTHROPIC_API_KEY, ANTHROPIC_MODEL (by reference)"
    ]
    assert messages(report, "k8s_not_inherited") == ["info: not inherited: DATABASE_URL"]
    assert "control-plane:7 (stderr, claude)" in messages(report, "k8s_image")[0]
    assert bad(report) == {"k8s_pvc_not_rwx", "k8s_configmap_missing"}
    assert CANARY not in json.dumps(report.to_json())


async def test_our_own_pod_that_cannot_be_read_now(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await in_pod(site, monkeypatch)
    site.cluster.faults.add(Fault.respond(500, path="*/pods/adapter-0"))
    report = await examine(site.adapter, {"image": "agent:1"})
    assert bad(report) == {"k8s_self_pod_unread"}


async def test_no_value_is_ever_shown(site: Site) -> None:
    secret = {"env": {"ANTHROPIC_API_KEY": CANARY}, "mcpServers": {"x": {"command": "x", "env": {"K": CANARY}}}}
    for config in ({**AGENT, **secret}, {**secret, "image": 7}):
        report = await examine(site.adapter, {"config": config, "authToken": CANARY})
        assert CANARY not in json.dumps(report.to_json())
    assert not any(CANARY in json.dumps(change.object) for change in site.cluster.history)


# -- the command -------------------------------------------------------------------------------------------------------


async def command(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapter.cli", "doctor", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    out, err = await asyncio.wait_for(process.communicate(given.encode() if given else None), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_table_for_people(site: Site) -> None:
    status, out, err = await command("--kubeconfig", str(site.cluster.kubeconfig))
    assert (status, err) == (0, "")
    *lines, last = out.splitlines()
    assert last == f"pass: {len([line for line in lines if 'k8s_' in line])} checks"
    assert any(f"all {len(TABLE)} rights are there" in line and line.rstrip().endswith("k8s_rbac") for line in lines)


async def test_json_for_the_control_plane(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump({"config": {**AGENT, "kubeconfig": str(site.cluster.kubeconfig)}}))
    status, out, err = await command("--json", "--agent", str(path))
    report = json.loads(out)
    assert (status, err, report["adapterType"], report["status"]) == (1, "", "claude_k8s", "fail")
    assert set(report) == {"adapterType", "status", "checks", "testedAt"}
    assert all(set(check) == {"code", "level", "message", "detail", "hint"} for check in report["checks"])


async def test_a_cluster_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    status, out, err = await command("--kubeconfig", str(tmp_path / "none"), "--json")
    [check] = json.loads(out)["checks"]
    assert (status, err, check["code"], check["level"]) == (1, "", "k8s_api_unreachable", "error")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("just text", "not a configuration"),
        ("{", "neither JSON nor YAML"),
        (f"a: {CANARY}: b", "neither JSON nor YAML"),
    ],
)
async def test_what_is_no_configuration_is_a_usage_error(given: str, word: str) -> None:
    status, out, err = await command("--agent", "-", "--kubeconfig", "/nowhere", given=given)
    assert (status, out) == (125, "")
    assert word in err
    assert CANARY not in err
