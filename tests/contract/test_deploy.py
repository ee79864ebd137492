"""The manifests of docs/deploy, as files: safe, and nothing in them but what is there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import pytest

from adapter.agent.labels import own_labels
from adapter.cli import cli
from adapter.cluster import rbac
from adapter.run import RunRequest
from adapter.work import plain_work
from tests.contract.conftest import Object
from tests.contract.manifests import DEPLOY, Bundle, containers

VARIANTS = ("agents", "base", "sidecar")
AGENTS, BASE, SIDECAR = bundles = [Bundle.of(DEPLOY / name) for name in VARIANTS]
each = pytest.mark.parametrize("bundle", bundles, ids=VARIANTS)

DOCKERFILE = (DEPLOY.parents[1] / "Dockerfile").read_text()


def ours(bundle: Bundle) -> Object:
    """The container that is the adapter."""
    [found] = [one for pod in bundle.pods() for one in containers(pod) if one["name"] == "claude-k8s"]
    return found


def matches(selector: Object, labels: Object) -> bool:
    return bool(selector["matchLabels"].items() <= labels.items())


def test_no_file_is_left_out() -> None:
    assert {*AGENTS.files, *BASE.files, *SIDECAR.files} == set(DEPLOY.glob("*/*.yaml"))


def is_restricted(container: Object, pod: Object) -> bool:
    """Whether a container is within restricted Pod Security, and writes to no disk but its volumes."""
    context = {**pod.get("securityContext", {}), **container["securityContext"]}
    return (
        context["runAsNonRoot"] is True
        and context["seccompProfile"] == {"type": "RuntimeDefault"}
        and context["allowPrivilegeEscalation"] is False
        and context["capabilities"] == {"drop": ["ALL"]}
        and context["readOnlyRootFilesystem"] is True
        and context.get("runAsUser", 1) != 0
    )


@each
def test_every_pod_is_restricted(bundle: Bundle) -> None:
    for pod in bundle.pods():
        for container in containers(pod):
            patched_in = "securityContext" not in container  # the control plane's own, whose rest is elsewhere
            assert patched_in or is_restricted(container, pod), container["name"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for volume in pod.get("volumes", ()):
            assert volume.keys() - {"name"} <= {"emptyDir", "secret"}, "restricted Pod Security knows no host paths"
    for namespace in bundle.all("Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each
def test_nothing_may_be_done_but_what_the_table_says(bundle: Bundle) -> None:
    roles = {role["metadata"]["name"]: role["rules"] for role in bundle.all("Role")}
    own_pod = rbac.rules(right for right in rbac.TABLE if right.only == "pod")
    assert roles.pop("claude-k8s") == rbac.rules(), "run `make docs`"
    assert roles == ({"claude-k8s-own-pod": own_pod} if bundle is SIDECAR else {})
    assert not [document for document in bundle.documents if document["kind"].startswith("Cluster")]


@each
def test_every_name_is_one_that_is_there(bundle: Bundle) -> None:
    accounts = {one["metadata"]["name"] for one in bundle.all("ServiceAccount")}
    namespaces = {one["metadata"]["name"] for one in bundle.all("Namespace")}
    for document in bundle.documents:
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] in namespaces
    for binding in bundle.all("RoleBinding"):
        bundle.one("Role", binding["roleRef"]["name"])
        assert {subject["name"] for subject in binding["subjects"]} <= accounts
    for pod in bundle.pods():
        assert pod.get("serviceAccountName", "control-plane") in accounts
        volumes = [volume["name"] for volume in pod.get("volumes", ())]
        mounted = {mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", ())}
        assert sorted(volumes) == sorted(mounted)


def test_all_that_is_said_of_the_service_is_said_of_its_pods() -> None:
    deployment = BASE.one("Deployment", "claude-k8s")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    [spread] = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    budget, policy = BASE.one("PodDisruptionBudget", "claude-k8s"), BASE.one("NetworkPolicy", "claude-k8s")
    [service] = BASE.all("Service")
    assert deployment["spec"]["replicas"] >= 2, "one is no service while it is replaced"
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]
    assert service["spec"]["selector"] == labels
    selectors = (deployment["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"])
    assert all(matches(selector, labels) for selector in (*selectors, spread["labelSelector"]))


def test_every_port_is_the_one_that_is_served() -> None:
    container = ours(BASE)
    [port] = container["ports"]
    [service] = BASE.all("Service")
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    [allowed] = BASE.one("NetworkPolicy", "claude-k8s")["spec"]["ingress"]
    assert [probe["port"] for probe in probes] == [port["name"]] * 3
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    assert allowed["ports"] == [{"port": port["name"]}]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert port["containerPort"] == default("port")
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE


@pytest.mark.parametrize("bundle", [BASE, SIDECAR], ids=VARIANTS[1:])
def test_every_option_is_one_that_there_is(bundle: Bundle) -> None:
    command, *options = ours(bundle)["args"]
    names = {option.partition("=")[0] for option in options}
    assert command == "serve"
    assert names <= {name for option in options_of("serve") for name in option.opts}
    assert {"--host", "--token-file", "--instance"} <= names, "an instance that is the pod's own adopts nothing"


@pytest.mark.parametrize("bundle", [BASE, SIDECAR], ids=VARIANTS[1:])
def test_what_is_written_and_read_is_mounted(bundle: Bundle) -> None:
    container = ours(bundle)
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    token = Path(value(container, "token-file"))
    assert mounts[str(token.parent)]["readOnly"] is True
    assert {"/tmp", "/var/lib/claude-k8s"} <= mounts.keys()
    assert "HOME=/tmp " in DOCKERFILE
    assert "XDG_STATE_HOME=/var/lib\n" in DOCKERFILE


def test_the_sidecar_can_be_called_by_its_pod_alone() -> None:
    assert value(ours(SIDECAR), "host") == "127.0.0.1"
    assert ours(SIDECAR)["restartPolicy"] == "Always", "a native sidecar: it ends after the control plane"
    assert SIDECAR.all("Service") == []
    for pod in SIDECAR.pods():
        for container in containers(pod):
            assert "ports" not in container
            assert "httpGet" not in str(container), "the kubelet does not reach a pod's loopback"


def test_the_control_plane_is_told_where_the_sidecar_is() -> None:
    patched = SIDECAR.documents[-1]["spec"]["template"]["spec"]
    [control_plane] = patched["containers"]
    told = {one["name"]: one["value"] for one in control_plane["env"]}
    port, token = value(ours(SIDECAR), "port"), value(ours(SIDECAR), "token-file")
    assert told == {"CLAUDE_K8S_URL": f"http://127.0.0.1:{port}", "CLAUDE_K8S_TOKEN_FILE": token}
    assert patched["initContainers"][0]["command"][-1].endswith(f"> {token}")


@each
def test_nobody_calls_an_agent(bundle: Bundle) -> None:
    work = plain_work(RunRequest(run_id="run-1", image="any", command=("true",)), "any")
    policy = bundle.one("NetworkPolicy", "agents")["spec"]
    assert matches(policy["podSelector"], work.manifest["spec"]["template"]["metadata"]["labels"])
    assert (policy["policyTypes"], "ingress" in policy) == (["Ingress"], False)


def test_no_agent_calls_the_service() -> None:
    [allowed] = BASE.one("NetworkPolicy", "claude-k8s")["spec"]["ingress"]
    [client] = allowed["from"]
    assert own_labels(client["podSelector"]["matchLabels"]) == ({}, ("claude-k8s/client",)), "or an agent could set it"


def test_no_variable_of_a_service_is_taken_for_an_option() -> None:
    """`CLAUDE_K8S_PORT=tcp://10.0.0.1:8642` is what the kubelet says of a Service that is called claude-k8s."""
    [service] = BASE.all("Service")
    [port] = service["spec"]["ports"]
    name = service["metadata"]["name"].replace("-", "_").upper()
    words = ("SERVICE_HOST", "SERVICE_PORT", f"SERVICE_PORT_{port['name'].upper()}", "PORT")
    variables = {option.envvar for command in cli.list_commands(click.Context(cli)) for option in options_of(command)}
    assert variables.isdisjoint(f"{name}_{word}" for word in words)


def options_of(name: str) -> list[click.Option]:
    command = cli.get_command(click.Context(cli), name)
    assert command, f"there is no command {name}"
    return [one for one in command.params if isinstance(one, click.Option)]


def default(name: str) -> object:
    [option] = [option for option in options_of("serve") if f"--{name}" in option.opts]
    return option.default


def value(container: Object, option: str) -> str:
    """What an option of a container's command is set to."""
    values: Iterable[str] = (word.removeprefix(f"--{option}=") for word in container["args"])
    [found] = {*values} - {*container["args"]}
    return found
