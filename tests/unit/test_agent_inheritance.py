"""What an agent's pod gets of the adapter's own: what is on the list, never what is on the other, and by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.config import AgentConfig
from adapter.agent.inheritance import inherited, is_host_only, why_denied
from adapter.agent.selfpod import Claim, SelfPod
from adapter.errors import InvalidRequest
from tests.agent_strategies import CANARY, SELF_PODS

KEY = {"secretKeyRef": {"name": "provider-keys", "key": "anthropic"}}
SETTING = {"configMapKeyRef": {"name": "settings", "key": "region"}}


def pod(*env: dict[str, Any], **spec: Any) -> SelfPod:
    container = {"name": "paperclip", "image": "paperclip:1", "env": list(env), **spec.pop("container", {})}
    return SelfPod.of({"metadata": {"name": "p-0", "namespace": "agents"}, "spec": {"containers": [container], **spec}})


def config(**given: Any) -> AgentConfig:
    return AgentConfig.parse(given)


PASSED = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
    "CLOUD_ML_REGION",
    "GOOGLE_CLOUD_PROJECT",
    "VERTEX_REGION_CLAUDE",
    "HTTPS_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "TZ",
    "LC_ALL",
    "PAPERCLIP_API_URL",
    "PAPERCLIP_PUBLIC_URL",
]
REFUSED = [
    "DATABASE_URL",
    "PAPERCLIP_DATABASE_URL",
    "READONLY_DATABASE_URL",
    "DATABASE_MIGRATION_URL",
    "PGPASSWORD",
    "POSTGRES_PASSWORD",
    "BETTER_AUTH_SECRET",
    "JWT_SECRET",
    "PAPERCLIP_AGENT_JWT_SECRET",
    "PAPERCLIP_AGENT_JWT_TTL_SECONDS",
    "PAPERCLIP_SECRETS_MASTER_KEY",
    "PAPERCLIP_SECRETS_MASTER_KEY_FILE",
    "PAPERCLIP_API_KEY",
    "PAPERCLIP_ADMIN_TOKEN",
    "PAPERCLIP_HOME",
    "PAPERCLIP_CONFIG",
    "PAPERCLIP_RUN_SCRATCH_DIR",
    "PAPERCLIP_SCRATCH_DIR",
    "PAPERCLIP_TMPDIR",
    "PAPERCLIP_GITHUB_HOST_HOME",
    "TMPDIR",
    "GH_CONFIG_DIR",
    "KUBERNETES_SERVICE_HOST",
    "CLAUDE_K8S_INSTANCE",
    "HOSTNAME",
    "PATH",
    "HOME",
    "PWD",
]
UNKNOWN = ["GITHUB_TOKEN", "AWS_ROLE_ARN", "NODE_ENV", "STRIPE_KEY", "anthropic_api_key"]


@pytest.mark.parametrize("name", PASSED)
def test_what_an_agent_needs_is_inherited(name: str) -> None:
    assert inherited(pod({"name": name, "value": "v"}), config()).literals == {name: "v"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_the_control_planes_own_is_not_whatever_is_allowed(name: str) -> None:
    found = inherited(pod({"name": name, "value": CANARY}), config(inheritEnv=["*"]))

    assert found.literals == {}
    assert found.refused[name].startswith("is never inherited (")


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_named_is_not(name: str) -> None:
    assert inherited(pod({"name": name, "value": "v"}), config()).refused[name].startswith("is on no list")


def test_the_list_can_be_replaced_and_what_is_denied_added_to() -> None:
    own = pod({"name": "GITHUB_TOKEN", "value": "g"}, {"name": "LANG", "value": "C"}, {"name": "X_KEY", "value": "k"})
    found = inherited(own, config(inheritEnv=["GITHUB_*", "X_*"], inheritEnvDeny=["*_KEY"]))

    assert found.literals == {"GITHUB_TOKEN": "g"}
    assert found.refused["X_KEY"] == "is excluded by inheritEnvDeny (*_KEY)"
    assert found.refused["LANG"].startswith("is on no list")


def test_an_empty_list_inherits_nothing() -> None:
    assert inherited(pod({"name": "LANG", "value": "C"}), config(inheritEnv=[])).literals == {}


def test_without_a_pod_of_our_own_nothing_is_inherited() -> None:
    found = inherited(None, config(inheritEnvFrom=["x"]))

    assert (found.literals, found.value_from, found.env_from, found.secret_volumes) == ({}, (), (), ())


def test_empty_variables_are_dropped_and_said() -> None:
    found = inherited(pod({"name": "HTTPS_PROXY", "value": ""}, {"name": "LANG"}), config())

    assert found.literals == {}
    assert found.refused == {"HTTPS_PROXY": "is empty", "LANG": "is empty"}


def test_references_pass_as_references_under_the_same_rules() -> None:
    entries = [("ANTHROPIC_API_KEY", KEY), ("AWS_REGION", SETTING), ("PAPERCLIP_AGENT_JWT_SECRET", KEY)]
    found = inherited(pod(*({"name": name, "valueFrom": source} for name, source in entries)), config())

    assert [(one.name, one.source) for one in found.value_from] == entries[:2]
    assert "PAPERCLIP_AGENT_JWT_SECRET" in found.refused


@pytest.mark.parametrize("kind", ["fieldRef", "resourceFieldRef"])
def test_what_a_pod_says_of_itself_is_not_passed_on(kind: str) -> None:
    found = inherited(pod({"name": "PAPERCLIP_POD", "valueFrom": {kind: {}}}), config())

    assert found.value_from == ()
    assert kind in found.refused["PAPERCLIP_POD"]


def test_secrets_of_one_namespace_are_not_there_in_another() -> None:
    own = pod(
        {"name": "ANTHROPIC_API_KEY", "valueFrom": KEY},
        {"name": "LANG", "value": "C"},
        container={"envFrom": [{"secretRef": {"name": "keys"}}]},
    )
    found = inherited(own, config(namespace="elsewhere", inheritEnvFrom=["keys"]))

    assert (found.literals, found.value_from, found.env_from) == ({"LANG": "C"}, (), ())
    assert "namespace agents" in found.refused["ANTHROPIC_API_KEY"]
    assert "namespace agents" in found.refused["keys"]
    assert inherited(own, config(namespace="agents")).value_from


def test_env_from_passes_only_by_name() -> None:
    entries = [{"secretRef": {"name": "keys"}, "prefix": "X_"}, {"configMapRef": {"name": "settings"}}]
    found = inherited(pod(container={"envFrom": entries}), config(inheritEnvFrom=["keys", "gone"]))

    assert [one.entry for one in found.env_from] == entries[:1]
    assert found.refused["settings"] == "is passed on only if inheritEnvFrom names it"
    assert found.refused["gone"] == "is named by inheritEnvFrom, but our own pod has no such thing"


def test_a_name_that_older_clusters_do_not_take_is_refused() -> None:
    assert inherited(pod({"name": "LC_é", "value": "x"}), config()).refused["LC_é"].startswith("is not a valid")


@given(own=SELF_PODS, everything=st.booleans())
def test_no_value_is_shown_and_what_is_denied_is_never_passed(own: SelfPod, everything: bool) -> None:
    chosen = config(inheritEnv=["*"]) if everything else config()
    found = inherited(own, chosen)
    passed = {*found.literals, *(one.name for one in found.value_from)}

    assert CANARY not in repr(found) + repr(own)
    assert all(why_denied(name, chosen) is None for name in passed)
    assert passed.isdisjoint(found.refused)
    assert {one.name for one in own.env} == passed | {
        name for name in found.refused if name in {v.name for v in own.env}
    }
    assert not any(is_host_only(name) for name in passed)


# The pod itself

SPEC: dict[str, Any] = {
    "containers": [
        {"name": "proxy", "image": "proxy:1"},
        {
            "name": "paperclip",
            "image": "paperclip:1",
            "volumeMounts": [
                {"name": "data", "mountPath": "/paperclip/"},
                {"name": "data", "mountPath": "/work", "subPath": "w"},
                {"name": "data", "mountPath": "/mine", "subPathExpr": "$(POD)"},
                {"name": "certs", "mountPath": "/certs"},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "gone", "mountPath": "/gone"},
            ],
        },
    ],
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}},
        {"name": "certs", "secret": {"secretName": "certificates"}},
        {"name": "scratch", "emptyDir": {}},
    ],
    "imagePullSecrets": [{"name": "registry"}, {}],
    "dnsConfig": {"nameservers": ["10.0.0.10"]},
}


def own_pod(container: str | None = None, spec: dict[str, Any] = SPEC) -> SelfPod:
    return SelfPod.of({"metadata": {"name": "p-0"}, "spec": spec}, container)


def test_the_own_pod_as_it_is_seen() -> None:
    seen = own_pod()

    assert (seen.name, seen.namespace, seen.image) == ("p-0", "default", "paperclip:1")
    assert seen.pull_secrets == ("registry",)
    assert seen.dns_config == {"nameservers": ["10.0.0.10"]}
    assert [(one.volume, one.name) for one in seen.secret_volumes] == [("certs", "certificates")]


@pytest.mark.parametrize(
    ("path", "claim"),
    [
        ("/paperclip", Claim("paperclip-data")),
        ("/work/", Claim("paperclip-data", "w")),
        ("/mine", None),
        ("/scratch", None),
        ("/paperclip/inner", None),
        ("/gone", None),
    ],
)
def test_a_claim_is_that_at_exactly_the_path(path: str, claim: Claim | None) -> None:
    assert own_pod().claim_at(path) == claim


def test_the_container_is_the_named_one_else_paperclips_else_the_first() -> None:
    first = {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}

    assert own_pod("proxy").image == "proxy:1"
    assert own_pod().image == "paperclip:1"
    assert own_pod(spec=first).image == "a:1"


@pytest.mark.parametrize(("raw", "container"), [({}, None), ({"spec": {}}, None), ({"spec": SPEC}, "nobody")])
def test_a_pod_without_our_container_is_not_ours(raw: dict[str, Any], container: str | None) -> None:
    with pytest.raises(InvalidRequest, match="container"):
        SelfPod.of(raw, container)
