"""The Job of an agent's run: what the old adapter's had, what it lacked, and that nothing asked for breaks it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from adapter.agent.bundle import INSTRUCTIONS, Bundle
from adapter.agent.claude import NO_API_URL, AgentJob, claude_job
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.manifest import ABANDONED
from adapter.agent.prompt import Prompt
from adapter.agent.selfpod import SelfPod
from adapter.agent.workspace import NOT_PERSISTENT
from adapter.errors import InvalidRequest
from tests.agent_checks import faults
from tests.agent_strategies import ATTEMPTS, CANARY, Attempt

NAME = "ck-run-0123456789"
OWN: dict[str, Any] = {
    "metadata": {"name": "paperclip-0", "namespace": "agents"},
    "spec": {
        "containers": [
            {
                "name": "paperclip",
                "image": "paperclip:1",
                "env": [{"name": "ANTHROPIC_API_KEY", "value": "key"}],
                "envFrom": [{"secretRef": {"name": "provider-keys"}}, {"configMapRef": {"name": "settings"}}],
                "volumeMounts": [
                    {"name": "data", "mountPath": "/paperclip", "subPath": "inner"},
                    {"name": "certs", "mountPath": "/certs"},
                    {"name": "certs", "mountPath": "/more/certs", "subPath": "a"},
                    {"name": "certs", "mountPath": "/run/claude-k8s/in"},
                ],
            }
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}},
            {"name": "certs", "secret": {"secretName": "certificates", "defaultMode": 0o400}},
        ],
        "imagePullSecrets": [{"name": "registry"}],
        "dnsConfig": {"nameservers": ["10.0.0.10"]},
        "nodeSelector": {"pool": "agents"},
        "tolerations": [{"key": "agents", "operator": "Exists"}],
    },
}
CLAIMED = {"workspaceVolumeClaim": "work"}


def made(
    config: dict[str, Any] | None = None,
    *,
    own: dict[str, Any] | None = None,
    bundle: Bundle | None = None,
    session: str | None = None,
    prompt: str = "Do it.",
    **context: Any,
) -> AgentJob:
    given = {"runId": "run-1", "agent": {"id": "agent-1", "companyId": "co", "name": "Ada"}, "authToken": "token"}
    return claude_job(
        RunContext.parse(given | context),
        AgentConfig.parse({"image": "agent:1"} | (config or {})),
        prompt=Prompt(prompt, {"promptChars": len(prompt)}),
        bundle=bundle or Bundle(),
        name=NAME,
        labels={"app.kubernetes.io/managed-by": "claude-k8s-adapter", "claude-k8s/run": NAME},
        annotations={"claude-k8s/run-id": "run-1"},
        self_pod=SelfPod.of(own) if own else None,
        session=session,
        api_url="http://paperclip:3100",
    )


def pod_of(job: AgentJob) -> dict[str, Any]:
    pod: dict[str, Any] = job.manifest["spec"]["template"]["spec"]
    return pod


def agent_of(job: AgentJob) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    assert container["name"] == "claude"
    return dict(container)


def sidecars_of(job: AgentJob) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in pod_of(job)["initContainers"]}


def volumes_of(job: AgentJob) -> dict[str, dict[str, Any]]:
    return {volume["name"]: volume for volume in pod_of(job)["volumes"]}


def mounts_of(job: AgentJob) -> dict[str, dict[str, Any]]:
    return {mount["mountPath"]: mount for mount in agent_of(job)["volumeMounts"]}


def refusal(attempt: Attempt) -> str | None:
    try:
        attempt.job()
    except InvalidRequest as error:
        return str(error)
    return None


@settings(deadline=None, max_examples=400)
@given(attempt=ATTEMPTS)
def test_whatever_is_asked_for_is_a_sound_job_or_refused(attempt: Attempt) -> None:
    complaint = refusal(attempt)

    if complaint is None:
        assert faults(attempt.job()) == []
    else:
        assert CANARY not in complaint
        assert "\n" not in complaint


def test_the_jobs_own_fields() -> None:
    spec = made({"timeoutSec": 90, "graceSec": 7}).manifest["spec"]

    assert (spec["suspend"], spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (True, 0, 90)
    assert spec["ttlSecondsAfterFinished"] == 3600
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 7
    assert "podReplacementPolicy" not in spec


@pytest.mark.parametrize("timeout", [None, 0])
def test_no_timeout_is_no_deadline(timeout: int | None) -> None:
    assert "activeDeadlineSeconds" not in made({"timeoutSec": timeout}).manifest["spec"]


@pytest.mark.parametrize(("seconds", "ttl"), [(60, 60), (0, ABANDONED)])
def test_a_finished_job_never_stays_for_ever(seconds: int, ttl: int) -> None:
    assert made({"ttlSecondsAfterFinished": seconds}).manifest["spec"]["ttlSecondsAfterFinished"] == ttl


def test_labels_and_annotations_are_the_given_ones_and_the_old_adapters() -> None:
    metadata = made({"labels": {"team": "x"}}, context={"taskId": "T-1"}).manifest["metadata"]

    assert metadata["name"] == NAME
    assert metadata["labels"] == {
        "team": "x",
        "app.kubernetes.io/component": "agent-job",
        "app.kubernetes.io/managed-by": "claude-k8s-adapter",
        "claude-k8s/run": NAME,
        "paperclip.io/adapter-type": "claude_k8s",
        "paperclip.io/agent-id": "agent-1",
        "paperclip.io/company-id": "co",
        "paperclip.io/run-id": "run-1",
        "paperclip.io/task-id": "T-1",
    }
    assert metadata["annotations"] == {
        "claude-k8s/run-id": "run-1",
        "paperclip.io/adapter-type": "claude_k8s",
        "paperclip.io/agent-name": "Ada",
    }


def test_labels_that_are_not_set_are_said() -> None:
    job = made({"labels": {"job-name": "x", "paperclip.io/run-id": "y", "team": "z"}})

    assert "2 label(s) with a reserved name were skipped: job-name, paperclip.io/run-id" in job.notes
    assert job.manifest["metadata"]["labels"]["paperclip.io/run-id"] == "run-1"


def test_the_agent_is_run_by_a_shell_that_is_gone_by_then() -> None:
    job = made({"command": "npx claude", "extraArgs": ["$(HOME)"]})
    command = agent_of(job)["command"]

    assert command[:2] == ["sh", "-c"]
    assert 'exec "$$@"' in command[2]
    assert command[3:] == ["claude", "npx", "claude", *job.arguments[:-1], "$$(HOME)"]
    assert job.arguments[-1] == "$(HOME)"


def test_stdout_is_the_transcripts_alone() -> None:
    relay = sidecars_of(made())["stderr"]

    assert (relay["image"], relay["restartPolicy"]) == ("agent:1", "Always")
    assert [mount["mountPath"] for mount in relay["volumeMounts"]] == ["/run/claude-k8s/io"]
    assert "env" not in relay
    assert volumes_of(made())["io"] == {"name": "io", "emptyDir": {"sizeLimit": "8Mi"}}


def test_prompt_and_token_are_in_the_secret_and_nowhere_else() -> None:
    job = made(prompt="the prompt's text")

    assert job.secret["prompt.txt"] == b"the prompt's text"
    assert job.secret["env.PAPERCLIP_API_KEY"] == b"token"
    assert "the prompt's text" not in json.dumps(job.manifest)
    assert "token" not in json.dumps(agent_of(job)["env"])
    reference = {"secretKeyRef": {"name": NAME, "key": "env.PAPERCLIP_API_KEY"}}
    assert {"name": "PAPERCLIP_API_KEY", "valueFrom": reference} in agent_of(job)["env"]
    assert mounts_of(job)["/run/claude-k8s/in"] == {
        "name": "prompt",
        "mountPath": "/run/claude-k8s/in",
        "readOnly": True,
    }
    assert {"name": "HOME", "value": "/paperclip"} in agent_of(job)["env"]


@pytest.mark.parametrize("size", [1, 130_000, 262_145, 900_000])
def test_a_prompt_of_any_size_goes_the_same_way(size: int) -> None:
    """Over 128 KiB it was too much for a variable, and over 256 KiB it went another way than the tested one."""
    long = made(prompt="é" * (size // 2) + "x")

    assert long.secret["prompt.txt"].decode() == "é" * (size // 2) + "x"
    assert long.manifest == made(prompt="x").manifest


def test_the_bundle_is_in_the_secret_with_its_directories() -> None:
    files = {".claude/skills/a/SKILL.md": b"skill", ".claude/skills/a/run.sh": b"#!", INSTRUCTIONS: b"do"}
    job = made(bundle=Bundle(files, {".claude/skills/a/run.sh": 0o755}, ("a",), ("skill b is gone",)))
    items = volumes_of(job)["prompt"]["secret"]["items"]
    content = {item["path"]: (job.secret[item["key"]], oct(item["mode"])) for item in items}

    assert content["bundle/.claude/skills/a/run.sh"] == (b"#!", "0o555")
    assert content["bundle/.claude/skills/a/SKILL.md"] == (b"skill", "0o444")
    assert content["bundle/agent-instructions.md"] == (b"do", "0o444")
    assert "skill b is gone" in job.notes


def test_mcp_servers_of_run_and_agent_are_one_file() -> None:
    servers = [
        {"name": "git", "url": "http://gateway/1", "token": "t1", "connectionId": "0123456789"},
        {"name": "git", "url": "http://gateway/2", "token": "t2", "connectionId": "abcdefghij"},
        {"name": "own", "url": "http://gateway/3"},
    ]
    job = made({"mcpServers": {"own": {"command": "npx", "args": ["x"]}}}, runtimeMcp={"servers": servers})

    assert json.loads(job.secret["mcp.json"]) == {
        "mcpServers": {
            "git": {"type": "http", "url": "http://gateway/1", "headers": {"Authorization": "Bearer t1"}},
            "git-abcdefgh": {"type": "http", "url": "http://gateway/2", "headers": {"Authorization": "Bearer t2"}},
            "own": {"command": "npx", "args": ["x"]},
        }
    }
    assert "--strict-mcp-config" in job.arguments
    assert "gateway" not in json.dumps(job.manifest)


def test_three_connections_of_one_name_and_id_are_three_servers() -> None:
    server = {"name": "git", "url": "http://g", "connectionId": "0123456789"}
    job = made(runtimeMcp=[server, server, server])

    assert list(json.loads(job.secret["mcp.json"])["mcpServers"]) == ["git", "git-01234567", "git-01234567-2"]


def test_no_mcp_servers_are_no_file() -> None:
    job = made()

    assert "mcp.json" not in job.secret
    assert "--mcp-config" not in job.arguments


def test_without_a_claim_the_workspace_is_gone_with_the_pod() -> None:
    job = made()

    assert volumes_of(job)["workspace"] == {"name": "workspace", "emptyDir": {}}
    assert not job.persistent
    assert NOT_PERSISTENT in job.notes
    security = pod_of(job)["securityContext"]
    assert (security["fsGroup"], security["fsGroupChangePolicy"]) == (1000, "OnRootMismatch")


def test_a_shared_claim_is_not_chowned_before_each_run() -> None:
    job = made(CLAIMED | {"workspaceMountPath": "/work"})

    assert volumes_of(job)["workspace"]["persistentVolumeClaim"] == {"claimName": "work"}
    assert mounts_of(job)["/work"] == {"name": "workspace", "mountPath": "/work"}
    assert job.persistent
    assert job.notes == ()
    assert "fsGroup" not in pod_of(job)["securityContext"]


def test_the_own_pods_claim_is_mounted_as_it_is_there() -> None:
    job = made(own=OWN)

    assert volumes_of(job)["workspace"]["persistentVolumeClaim"] == {"claimName": "paperclip-data"}
    assert mounts_of(job)["/paperclip"] == {"name": "workspace", "mountPath": "/paperclip", "subPath": "inner"}


@pytest.mark.parametrize(("claim", "inner"), [("paperclip-data", "inner"), ("work", None)])
def test_the_own_pods_claim_is_the_same_when_it_is_named(claim: str, inner: str | None) -> None:
    job = made({"workspaceVolumeClaim": claim}, own=OWN)

    assert volumes_of(job)["workspace"]["persistentVolumeClaim"] == {"claimName": claim}
    assert mounts_of(job)["/paperclip"].get("subPath") == inner


@pytest.mark.parametrize("config", [{"workspaceMountPath": "/other"}, {"namespace": "elsewhere"}])
def test_a_claim_at_another_place_or_of_another_namespace_is_not(config: dict[str, Any]) -> None:
    assert not made(config, own=OWN).persistent


@pytest.mark.parametrize(
    ("config", "workspace", "cwd", "said"),
    [
        ({}, {}, "/paperclip", False),
        (CLAIMED, {"cwd": "/paperclip/tasks/1"}, "/paperclip/tasks/1", False),
        (CLAIMED | {"cwd": "/paperclip/b"}, {"cwd": "/paperclip/a/"}, "/paperclip/a", False),
        (CLAIMED | {"cwd": "/paperclip/b"}, {"cwd": "/paperclip/a", "source": "agent_home"}, "/paperclip/b", False),
        (CLAIMED, {"cwd": "/paperclip/a", "source": "agent_home"}, "/paperclip/a", False),
        (CLAIMED | {"cwd": "/srv"}, {"cwd": "/home/me/x"}, "/srv", True),
        (CLAIMED, {"cwd": "/paperclipper"}, "/paperclip", True),
        (CLAIMED, {"cwd": "/paperclip/../etc"}, "/paperclip", True),
        (CLAIMED, {"cwd": 7}, "/paperclip", False),
        ({"cwd": "/srv"}, {"cwd": "/paperclip/a"}, "/srv", True),
        ({"cwd": "/paperclip/b"}, {}, "/paperclip", True),
    ],
)
def test_the_working_directory_is_one_that_the_pod_has(
    config: dict[str, Any], workspace: dict[str, Any], cwd: str, said: bool
) -> None:
    job = made(config, context={"paperclipWorkspace": workspace})

    assert (job.cwd, agent_of(job)["workingDir"]) == (cwd, cwd)
    assert any("the working directory is" in note for note in job.notes) == said


def test_images_secrets_and_dns_are_the_own_pods_unless_said() -> None:
    inherited, own = made({"image": ""}, own=OWN), made({"imagePullSecrets": ["more", "registry"]}, own=OWN)

    assert agent_of(inherited)["image"] == sidecars_of(inherited)["stderr"]["image"] == "paperclip:1"
    assert agent_of(own)["image"] == "agent:1"
    assert pod_of(inherited)["imagePullSecrets"] == [{"name": "registry"}]
    assert pod_of(own)["imagePullSecrets"] == [{"name": "more"}, {"name": "registry"}]
    assert pod_of(own)["dnsConfig"] == {"nameservers": ["10.0.0.10"]}
    assert agent_of(own)["imagePullPolicy"] == "IfNotPresent"
    assert agent_of(made({"imagePullPolicy": "Never"}))["imagePullPolicy"] == "Never"


def test_pull_secrets_of_another_namespace_are_not_there() -> None:
    assert "imagePullSecrets" not in pod_of(made({"namespace": "elsewhere"}, own=OWN))


def test_an_image_that_nobody_names_is_asked_for() -> None:
    nameless = OWN | {"spec": {"containers": [{"name": "paperclip"}]}}
    for own in (None, nameless):
        with pytest.raises(InvalidRequest, match=r"config\.image is not set"):
            made({"image": ""}, own=own)
    assert agent_of(made(own=nameless))["image"] == "agent:1"


@pytest.mark.parametrize(
    ("config", "selector", "tolerations"),
    [
        ({}, {"pool": "agents"}, [{"key": "agents", "operator": "Exists"}]),
        ({"inheritScheduling": False}, None, None),
        ({"nodeSelector": {}, "tolerations": []}, None, None),
        ({"nodeSelector": "a=b", "tolerations": "k=v:NoSchedule"}, {"a": "b"}, [{"key": "k", "value": "v"}]),
    ],
)
def test_scheduling_is_the_own_pods_unless_said(
    config: dict[str, Any], selector: dict[str, str] | None, tolerations: list[dict[str, str]] | None
) -> None:
    pod = pod_of(made(config, own=OWN))

    assert pod.get("nodeSelector") == selector
    assert (tolerations is None) == ("tolerations" not in pod)
    assert all(
        want.items() <= got.items() for want, got in zip(tolerations or (), pod.get("tolerations", ()), strict=True)
    )


def test_what_is_not_set_is_not_in_the_pod() -> None:
    pod = pod_of(made())
    absent = {"serviceAccountName", "imagePullSecrets", "dnsConfig", "nodeSelector", "tolerations"}
    absent |= {"priorityClassName", "runtimeClassName"}

    assert absent.isdisjoint(pod)
    assert "envFrom" not in agent_of(made())
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)


def test_the_agent_is_nobody_special_on_its_node() -> None:
    security = pod_of(made())["securityContext"]

    assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (1000, 1000, True)


def test_who_the_pod_is_and_what_it_may_use() -> None:
    given = {"serviceAccountName": "agent", "automountServiceAccountToken": True, "priorityClassName": "high"}
    resources = {"resources.requests.cpu": "2", "resources.limits.memory": "16Gi"}
    job = made(given | resources | {"runtimeClassName": "gvisor"})
    pod = pod_of(job)

    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("agent", True)
    assert (pod["priorityClassName"], pod["runtimeClassName"]) == ("high", "gvisor")
    assert agent_of(job)["resources"] == {
        "requests": {"cpu": "2", "memory": "2Gi"},
        "limits": {"cpu": "4000m", "memory": "16Gi"},
    }
    assert agent_of(job)["securityContext"]["readOnlyRootFilesystem"] is False


def test_secret_volumes_are_passed_on_by_name_and_can_be_read() -> None:
    job = made({"inheritSecretVolumes": ["certificates"]}, own=OWN)
    volume = {"secretName": "certificates", "defaultMode": 0o444, "optional": True}

    assert volumes_of(job)["inherited-0"] == {"name": "inherited-0", "secret": volume}
    assert mounts_of(job)["/certs"] == {"name": "inherited-0", "mountPath": "/certs", "readOnly": True}
    assert mounts_of(job)["/more/certs"]["subPath"] == "a"
    assert any("not mounted at '/run/claude-k8s/in'" in note for note in job.notes)
    assert "inherited-0" not in volumes_of(made(own=OWN))


def test_env_from_is_passed_on_by_name() -> None:
    job = made({"inheritEnvFrom": ["provider-keys"]}, own=OWN)

    assert agent_of(job)["envFrom"] == [{"secretRef": {"name": "provider-keys"}}]
    assert "envFrom" not in agent_of(made(own=OWN))


def test_a_docker_daemon_listens_where_only_the_pod_can_speak_to_it() -> None:
    job = made({"enableDocker": True, "dockerCpuLimit": "4", "dockerMemoryLimit": "1Gi"} | CLAIMED)
    daemon = sidecars_of(job)["docker"]

    assert daemon["image"] == "docker:28-dind"
    assert daemon["args"] == ["dockerd", "--host=unix:///run/claude-k8s/docker/docker.sock", "--group=1000"]
    assert daemon["restartPolicy"] == "Always"
    assert daemon["resources"]["limits"] == {"cpu": "4", "memory": "1Gi"}
    assert daemon["securityContext"]["privileged"]
    assert {"name": "workspace", "mountPath": "/paperclip"} in daemon["volumeMounts"]
    assert {"name": "DOCKER_HOST", "value": "unix:///run/claude-k8s/docker/docker.sock"} in agent_of(job)["env"]
    assert "/run/claude-k8s/docker" in mounts_of(job)
    assert any("privileged" in note for note in job.notes)
    assert list(sidecars_of(made())) == ["stderr"]


def test_a_run_that_cannot_find_the_control_plane_is_told() -> None:
    def notes(**more: Any) -> tuple[str, ...]:
        context = RunContext.parse({"runId": "r", "agent": {"id": "a"}})
        return claude_job(
            context,
            AgentConfig.parse({"image": "i"} | more),
            prompt=Prompt("x", {}),
            bundle=Bundle(),
            name=NAME,
            labels={},
            annotations={},
        ).notes

    assert NO_API_URL in notes()
    assert NO_API_URL not in notes(env={"PAPERCLIP_API_URL": "http://x"})
    assert NO_API_URL not in made().notes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": "x" * 1024 * 1024}, "the prompt 10485"),
        ({"bundle": Bundle({"a": b"x" * 600_000, "b": b"x" * 600_000})}, "skills and instructions 1200004"),
        ({"config": {"mcpServers": {"a": {"command": "x" * 1024 * 1024}}}}, "mcpServers 10486"),
    ],
)
def test_what_the_secret_cannot_hold_is_named_with_its_size(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match="shorten the largest") as raised:
        made(**change)

    assert says in str(raised.value)


def test_a_job_the_cluster_cannot_hold_is_refused_before_it_is_asked() -> None:
    many = {f"{number}/{'x' * 200}": b"" for number in range(5000)}

    with pytest.raises(InvalidRequest, match=r"skills of fewer files \(they have 5000\)"):
        made(bundle=Bundle(many))


def test_the_same_run_gives_the_same_job() -> None:
    assert made(CLAIMED, own=OWN) == made(CLAIMED, own=OWN)
