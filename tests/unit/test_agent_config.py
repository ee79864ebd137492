"""The agent's configuration: what a control plane and its form send, what is refused, what is never said."""

from __future__ import annotations

import copy
import json
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.agent.checks import amount
from adapter.agent.config import PROMPT, AgentConfig, Toleration
from adapter.agent.context import RunContext
from adapter.errors import InvalidRequest
from adapter.run import MAX_ENV_BYTES
from tests.unit.configs import CONFIGS, FIELDS

CANARY = "hunter2-canary"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("\ud83d\0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KUBERNETES = {"kind": "remote", "transport": "k8s", "remoteCwd": "/paperclip"}


def parse(target: Any = None, **given: Any) -> AgentConfig:
    return AgentConfig.parse(given, target=target)


def refusal(given: Any, target: Any = None) -> InvalidRequest | None:
    try:
        AgentConfig.parse(given, target=target)
    except InvalidRequest as error:
        return error
    return None


def complaint(given: Any, target: Any = None) -> str:
    error = refusal(given, target)
    assert error is not None
    # What was handled when it was raised would hold the input, secrets included.
    assert error.__context__ is None
    assert "\n" not in str(error)
    return str(error)


def test_the_defaults() -> None:
    config = AgentConfig.parse({})

    assert config == AgentConfig()
    assert (config.command, config.prompt_template, config.max_turns_per_run) == (("claude",), PROMPT, 1000)
    assert (config.timeout_sec, config.grace_sec, config.ttl_seconds_after_finished) == (None, 60, 3600)
    assert (config.image_pull_policy, config.workspace_mount_path) == ("IfNotPresent", "/paperclip")
    assert (config.node_selector, config.tolerations, config.inherit_env) == (None, None, None)
    assert config.dangerously_skip_permissions
    assert config.reattach_orphaned_jobs
    assert not config.automount_service_account_token
    assert config.resources.model_dump() == {
        "requests": {"cpu": "1000m", "memory": "2Gi"},
        "limits": {"cpu": "4000m", "memory": "8Gi"},
    }


@pytest.mark.parametrize("nothing", [None, "", "  \n"])
def test_what_a_form_left_blank_is_not_set(nothing: object) -> None:
    assert AgentConfig.parse(dict.fromkeys(FIELDS, nothing)) == AgentConfig()


@pytest.mark.parametrize(
    "text", ["disktype=ssd\nzone=a", "# where\n\n disktype = ssd\nzone=a\n", '{"disktype": "ssd", "zone": "a"}']
)
def test_node_selector_and_labels_as_lines_or_json(text: str) -> None:
    config = parse(nodeSelector=text, labels=text)

    assert config.node_selector == config.labels == {"disktype": "ssd", "zone": "a"}


def test_tolerations_as_lines_and_as_json_are_the_same() -> None:
    lines = "dedicated=agents:NoSchedule\ngpu:NoExecute\nspot"
    found = (
        Toleration(key="dedicated", operator="Equal", value="agents", effect="NoSchedule"),
        Toleration(key="gpu", operator="Exists", effect="NoExecute"),
        Toleration(key="spot", operator="Exists"),
    )
    dumped = json.dumps([one.manifest() for one in found])

    assert parse(tolerations=lines).tolerations == parse(tolerations=dumped).tolerations == found


def test_a_toleration_in_the_manifest_has_what_was_said_alone() -> None:
    (one,) = (
        parse(tolerations=[{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]).tolerations or ()
    )

    assert one.manifest() == {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}


@pytest.mark.parametrize(("given", "read"), [({}, {}), ("{}", {}), ("# gpu=true", None), (None, None)])
def test_an_explicit_empty_scheduling_is_not_an_unset_one(given: Any, read: Any) -> None:
    assert parse(nodeSelector=given).node_selector == read


@pytest.mark.parametrize(("given", "read"), [([], ()), ("[]", ()), ("", None)])
def test_so_with_tolerations_and_inherited_variables(given: Any, read: Any) -> None:
    config = parse(tolerations=given, inheritEnv=given)

    assert (config.tolerations, config.inherit_env) == (read, read)


@pytest.mark.parametrize(
    "resources",
    [
        {"resources.requests.cpu": "2", "resources.limits.memory": "9Gi"},
        {"resources": {"requests": {"cpu": 2}, "limits": {"memory": "9Gi"}}},
        {"resources": '{"requests": {"cpu": "2"}, "limits": {"memory": "9Gi"}}'},
        {"resources": {"requests": {"cpu": "3"}}, "resources.requests.cpu": "2", "resources.limits": {"memory": "9Gi"}},
        {"resources": {"requests": {"cpu": "2", "memory": ""}, "limits": {"memory": "9Gi", "cpu": None}}},
    ],
)
def test_resources_nested_and_dotted(resources: dict[str, Any]) -> None:
    bounds = AgentConfig.parse(resources).resources

    assert (bounds.requests.cpu, bounds.requests.memory) == ("2", "2Gi")
    assert (bounds.limits.cpu, bounds.limits.memory) == ("4000m", "9Gi")


@pytest.mark.parametrize(
    ("given", "cpu"),
    [
        ({"resources.limits.cpu": "500m"}, ("500m", "500m")),
        ({"resources.requests.cpu": "6"}, ("6", "6")),
        ({"resources.requests.cpu": "2", "resources.limits.cpu": "2000m"}, ("2", "2000m")),
    ],
)
def test_a_default_bends_to_what_was_set_beside_it(given: dict[str, str], cpu: tuple[str, str]) -> None:
    bounds = AgentConfig.parse(given).resources

    assert (bounds.requests.cpu, bounds.limits.cpu) == cpu


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (
            {"A": "x ", "B": {"type": "plain", "value": "y"}, "C": 8080, "D": True},
            {"A": "x ", "B": "y", "C": "8080", "D": "true"},
        ),
        ("# mine\nA=x=y\n", {"A": "x=y"}),
        ('{"A": "x"}', {"A": "x"}),
    ],
)
def test_the_environment(given: Any, read: dict[str, str]) -> None:
    assert parse(env=given).env == read


@pytest.mark.parametrize(
    "given", [{"x": {"command": "npx"}}, '{"x": {"command": "npx"}}', {"mcpServers": {"x": {"command": "npx"}}}]
)
def test_mcp_servers_also_as_a_whole_file_of_them(given: Any) -> None:
    assert parse(mcpServers=given).mcp_servers == {"x": {"command": "npx"}}


def test_the_command_is_split_as_a_shell_would() -> None:
    assert parse(command="ccrotate run -- claude --x 'y z'").command == (
        "ccrotate",
        "run",
        "--",
        "claude",
        "--x",
        "y z",
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"resources.limits.cpu": "0"}, "config.resources.limits.cpu is zero, and nothing could run"),
        ({"resources.limits.memory": "128m"}, "config.resources.limits.memory is not an amount of memory such as"),
        ({"resources": {"limits": 3}}, "config.resources.limits is not an object"),
        ({"resources.limits": 3, "resources.limits.cpu": "2"}, "config.resources.limits is not an object"),
        ({"resources": "much"}, "config.resources is not an object"),
        ({"resources": {"limits": {"cpu": {"max": 3}}}}, "config.resources.limits.cpu is not text"),
        (
            {"resources.requests.memory": "2Gi", "resources.limits.memory": "1Gi"},
            "config.resources.requests.memory '2Gi' is more than resources.limits.memory '1Gi'",
        ),
        (
            {"dockerCpuLimit": "0", "dockerMemoryLimit": "x"},
            "config.dockerCpuLimit is zero, and nothing could run; config.dock",
        ),
        ({"labels": {"a b": "c"}}, "config.labels['a b'] is not a label key"),
        ({"labels": "a=b c"}, "config.labels.a is not a label value"),
        ({"labels": "a"}, "config.labels is not key=value in line 1"),
        ({"nodeSelector": {"a.b/c": "-"}}, "config.nodeSelector['a.b/c'] is not a label value"),
        ({"nodeSelector": []}, "config.nodeSelector is not an object"),
        ({"tolerations": "a=b:Never"}, "config.tolerations[0].effect is not one of '', 'NoSchedule'"),
        ({"tolerations": {"key": "a"}}, "config.tolerations is not a list"),
        (
            {"tolerations": [{"key": "a"}, {"effcet": "NoSchedule", "key": "b"}]},
            "config.tolerations[1].effcet is not known",
        ),
        ({"tolerations": [{"operator": "Exists", "key": "a", "value": "b"}]}, "config.tolerations[0] has a value"),
        ({"tolerations": [{"effect": "NoSchedule"}]}, "config.tolerations[0] has no key"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "config.tolerations[0] has tolerationSeconds"),
        ({"namespace": "My_NS"}, "config.namespace is not a namespace's name"),
        ({"serviceAccountName": "A"}, "config.serviceAccountName is not the name of an object"),
        ({"imagePullSecrets": "good\nBad"}, "config.imagePullSecrets[1] is not the name of an object"),
        ({"workspaceVolumeClaim": "a/b"}, "config.workspaceVolumeClaim is not the name of an object"),
        ({"workspaceMountPath": "paperclip"}, "config.workspaceMountPath is not an absolute path"),
        ({"workspaceMountPath": "/run/claude-k8s/in"}, "config.workspaceMountPath overlaps /run/claude-k8s"),
        ({"workspaceMountPath": "/a:b"}, "config.workspaceMountPath contains ':'"),
        ({"cwd": "/a/../b"}, "config.cwd is not a clean path"),
        ({"kubeconfig": "~/.kube/config"}, "config.kubeconfig is not an absolute path"),
        ({"image": "busybox 1.36"}, "config.image contains a space"),
        ({"imagePullPolicy": "Sometimes"}, "config.imagePullPolicy is not one of 'IfNotPresent', 'Always' or 'Never'"),
        ({"model": "--resume"}, "config.model starts with a dash"),
        ({"command": []}, "config.command is empty: name a program to run"),
        ({"command": ["", "x"]}, "config.command is empty: name a program to run"),
        ({"command": "claude 'x"}, "config.command cannot be split as a shell would: no closing quotation"),
        ({"extraArgs": ["a", "b\0"]}, "config.extraArgs[1] contains a NUL character"),
        ({"extraArgs": [3]}, "config.extraArgs[0] is not text"),
        ({"timeoutSec": -1}, "config.timeoutSec is less than 0"),
        ({"timeoutSec": 2**31}, "config.timeoutSec is more than 2147483647"),
        ({"graceSec": "soon"}, "config.graceSec is not a whole number"),
        ({"maxTurnsPerRun": True}, "config.maxTurnsPerRun is not a whole number"),
        ({"podScheduleTimeoutSec": 0}, "config.podScheduleTimeoutSec is less than 1"),
        ({"retainJobs": "maybe"}, "config.retainJobs is neither true nor false"),
        ({"promptTemplate": 7}, "config.promptTemplate is not text"),
        ({"promptTemplate": "\ud83d"}, "config.promptTemplate is not "),
        ({"inheritEnv": ["A B"]}, "config.inheritEnv[0] is not a pattern"),
        ({"env": {"A=B": "x"}}, "config.env['A=B'] is not a valid environment variable name"),
        ({"env": {"A": "x\0"}}, "config.env.A contains a NUL character"),
        ({"env": {"A": None}}, "config.env.A is not text"),
        ({"env": {"A": "x" * MAX_ENV_BYTES}}, f"config.env['A'] has {MAX_ENV_BYTES + 2} bytes, more than"),
        ({"env": {"A": {"type": "secret_ref", "secretId": "s"}}}, "config.env.A is a reference that nobody resolved"),
        ({"env": "A=b\nc d"}, "config.env is not key=value in line 2"),
        ({"env": "A=b\nc d=e"}, "config.env does not begin with the name of a variable in line 2"),
        ({"mcpServers": {"x": {"args": []}}}, "config.mcpServers.x has neither a command nor a url"),
        ({"mcpServers": {"x": 3}}, "config.mcpServers.x is not an object"),
        ({"mcpServers": {"x": {"url": "u", "a": float("nan")}}}, "config.mcpServers.x contains something that JSON"),
        ({"mcpServers": "x=y"}, "config.mcpServers is not JSON: expecting value in line 1, column 1"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], says: str) -> None:
    assert complaint(given).startswith(says)


@pytest.mark.parametrize("given", [None, [], "x", {1: 2}])
def test_what_is_no_configuration(given: Any) -> None:
    assert complaint(given) == "config is not an object"


def test_all_problems_are_said_at_once_but_not_without_end() -> None:
    assert complaint({"namespace": "A", "timeoutSec": -1}).count("; ") == 1
    assert complaint({"labels": {f"k{n}": " x y" for n in range(100)}}).endswith("; and 80 more")


def test_unknown_fields_are_reported_by_name() -> None:
    config = parse(
        namesapce="x",
        max_turns_per_run=3,
        resources={"limits": {"nvidia.com/gpu": 1}, "claims": []},
        **{"resources.request.cpu": "2", "a\nb": 1},
    )

    assert config.unknown == (
        "'a\\nb'",
        "max_turns_per_run",
        "namesapce",
        "resources.claims",
        "resources.limits.nvidia.com/gpu",
        "resources.request.cpu",
    )
    assert config.max_turns_per_run == 1000


def test_fields_without_effect_are_reported_with_the_reason() -> None:
    found = parse(enableRtk=True, rtkMaxOutputBytes=5, providers={}, secretsNamespace="x", promptCacheRoot="/x").unknown

    assert [text.partition(" (no effect: ")[0] for text in found] == [
        "enableRtk",
        "promptCacheRoot",
        "providers",
        "rtkMaxOutputBytes",
        "secretsNamespace",
    ]


def test_what_the_control_plane_adds_for_itself_is_not_unknown() -> None:
    added = {
        "paperclipRuntimeSkills": [],
        "paperclipSkillSync": {},
        "instructionsRootPath": "/x",
        "workspaceStrategy": {},
    }

    assert AgentConfig.parse(added).unknown == ()


# An environment's target.


def target(**config: Any) -> dict[str, Any]:
    return KUBERNETES | {"config": config}


def test_the_environment_wins_for_fields_set_on_both_sides() -> None:
    config = parse(
        target(namespace="paperclip", workspaceVolumeClaim="data", workspaceMountPath="/workspace"),
        namespace="mine",
        image="busybox",
    )

    assert (config.namespace, config.image) == ("paperclip", "busybox")
    assert (config.workspace_volume_claim, config.workspace_mount_path) == ("data", "/workspace")


def test_objects_are_not_merged() -> None:
    config = parse(
        target(nodeSelector={"workload": "agents"}, resources={"limits": {"cpu": "2"}}),
        nodeSelector={"workload": "paperclip", "arch": "amd64"},
        resources={"limits": {"memory": "1Gi"}},
        **{"resources.limits.cpu": "3"},
    )

    assert config.node_selector == {"workload": "agents"}
    assert (config.resources.limits.cpu, config.resources.limits.memory) == ("2", "8Gi")


def test_a_dotted_resource_of_the_environment_takes_its_place_alone() -> None:
    bounds = parse(
        target(**{"resources.limits.cpu": "2"}), resources={"limits": {"cpu": "3", "memory": "3Gi"}}
    ).resources

    assert (bounds.limits.cpu, bounds.limits.memory) == ("2", "3Gi")


def test_what_the_environment_does_not_set_is_the_agents() -> None:
    unset: dict[str, Any] = {
        "namespace": None,
        "kubeconfig": "",
        "resources": None,
        "labels": {},
        "imagePullPolicy": None,
    }

    config = parse(target(**unset), namespace="mine", labels={"a": "b"}, **{"resources.limits.cpu": "3"})
    assert (config.namespace, config.labels, config.resources.limits.cpu) == ("mine", {}, "3")


def test_an_environment_without_tolerations_opts_out_of_them() -> None:
    assert parse(target(tolerations=[]), tolerations="gpu").tolerations == ()


@pytest.mark.parametrize(
    "other",
    [
        None,
        {},
        {"kind": "local", "environmentId": None, "config": {"namespace": "theirs"}},
        {"kind": "remote", "transport": "ssh", "config": {"namespace": "theirs"}},
        {"kind": "remote", "transport": "ssh", "spec": {"host": "example.com"}},
        {"kind": "kubernetes"},
        {"kind": "kubernetes", "config": None},
    ],
)
def test_other_targets_change_nothing(other: dict[str, Any] | None) -> None:
    assert parse(other, namespace="mine").namespace == "mine"


@pytest.mark.parametrize(
    "kind", [{"kind": "kubernetes"}, {"kind": "K8s"}, {"kind": "remote", "transport": "kubernetes"}]
)
def test_targets_of_kubernetes(kind: dict[str, str]) -> None:
    assert parse(kind | {"config": {"namespace": "theirs"}}, namespace="mine").namespace == "theirs"


def test_what_is_wrong_in_the_environment_is_named_there() -> None:
    assert complaint({"namespace": "mine", "image": "a b"}, target(namespace="A")) == (
        "executionTarget.config.namespace is not a namespace's name: at most 63 lower-case letters, digits and '-', "
        "none of them '-' at an end; config.image contains a space or a character that no image reference has"
    )
    assert complaint({}, KUBERNETES | {"config": 3}) == "executionTarget.config is not an object"


def test_the_target_of_a_context_goes_with_its_configuration() -> None:
    context = RunContext.parse(
        {"runId": "r", "agent": {"id": "a"}, "config": {"image": "i"}, "executionTarget": target(namespace="n")}
    )

    config = AgentConfig.parse(context.config, target=context.execution_target)
    assert (config.image, config.namespace) == ("i", "n")


def test_what_is_given_is_not_changed() -> None:
    given = {"resources": {"limits": {"cpu": "3"}}, "env": {"A": {"type": "plain", "value": "x"}}, "labels": {"a": "b"}}
    over = target(**{"resources.limits.cpu": "2", "env": {"B": "y"}, "namespace": None})
    before = copy.deepcopy((given, over))
    AgentConfig.parse(given, target=over)

    assert (given, over) == before


# Laws.


@settings(deadline=None)
@given(raw=CONFIGS)
def test_a_configuration_comes_back_from_its_wire_form(raw: dict[str, Any]) -> None:
    config = AgentConfig.parse(raw)
    again = AgentConfig.parse(json.loads(json.dumps(config.to_json(), allow_nan=False)))

    assert again == config
    assert again.to_json() == config.to_json()


@settings(deadline=None)
@given(raw=CONFIGS, over=CONFIGS)
def test_a_target_that_can_be_run_gives_what_can_be_run_or_says_why_not(
    raw: dict[str, Any], over: dict[str, Any]
) -> None:
    error = refusal(raw, target(**over))
    assert error is None or "is more than resources.limits" in str(error)


@settings(deadline=None)
@given(raw=CONFIGS)
def test_no_request_is_over_its_limit(raw: dict[str, Any]) -> None:
    bounds = AgentConfig.parse(raw).resources

    assert amount(bounds.requests.cpu) <= amount(bounds.limits.cpu)
    assert amount(bounds.requests.memory) <= amount(bounds.limits.memory)


@settings(deadline=None, max_examples=300)
@given(raw=st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(max_size=5), ANYTHING, max_size=6), over=ANYTHING)
def test_whatever_is_given_is_read_or_refused(raw: dict[str, Any], over: Any) -> None:
    error = refusal(raw, KUBERNETES | {"config": over})

    if error is None:
        config = AgentConfig.parse(raw, target=KUBERNETES | {"config": over})
        "".join((json.dumps(config.to_json(), allow_nan=False), *config.unknown, repr(config))).encode()
    else:
        assert str(error).startswith(("config", "executionTarget.config"))


SECRETS: list[Any] = [
    CANARY,
    CANARY + "\0",
    CANARY + "\ud83d",
    CANARY * 20_000,
    [CANARY],
    {"type": "secret_ref", "secretId": CANARY},
    {"type": "plain", "value": [CANARY]},
    {"type": "plain", "value": CANARY + "\0"},
    {"url": CANARY, "headers": {"Authorization": [CANARY, float("nan")]}},
    {"command": [CANARY]},
]
WHOLE: list[Any] = [
    CANARY,
    [CANARY],
    f"TOKEN={CANARY}\n{CANARY}",
    f"TOKEN=a\n{CANARY} b={CANARY}",
    f"TOKEN={CANARY}\nTOKEN={CANARY}",
    f'{{"TOKEN": "{CANARY}"',
    f'{{"TOKEN": {CANARY}}}',
    f'{{"TOKEN": "{CANARY}\\u0000", "x": {{"headers": "{CANARY}"}}}}',
    *({"TOKEN": secret} for secret in SECRETS),
    *({"1 bad": secret} for secret in SECRETS),
]


@given(field=st.sampled_from(["env", "mcpServers"]), value=st.sampled_from(WHOLE), targeted=st.booleans(), rest=CONFIGS)
@settings(deadline=None)
def test_no_secret_is_shown(field: str, value: Any, targeted: bool, rest: dict[str, Any]) -> None:
    raw, over = (rest, target(**{field: value})) if targeted else (rest | {field: value}, None)
    error = refusal(raw, over)

    if error is None:
        config = AgentConfig.parse(raw, target=over)
        assert CANARY not in repr(config) + str(config) + str(config.unknown)
        assert CANARY in str(config.to_json())
    else:
        assert CANARY not in "".join(traceback.format_exception(error)) + repr(error.args)
        assert error.__context__ is None
