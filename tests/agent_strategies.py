"""Runs of agents as control planes and people could ask for them, sensible and not; and jobs made of them.

Whatever is secret bears `CANARY`: where it turns up, a secret has got out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from adapter.agent.bundle import INSTRUCTIONS, SKILLS, Bundle
from adapter.agent.claude import AgentJob, claude_job
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.prompt import Prompt
from adapter.agent.selfpod import SelfPod
from adapter.errors import InvalidRequest
from tests.unit import configs

CANARY = "CANARY"

Raw = dict[str, Any]
Strategy = st.SearchStrategy


def mostly(usual: Strategy[Any], odd: Strategy[Any], one_in: int = 20) -> Strategy[Any]:
    """The usual, but for one in so many. (`one_of` takes each of its strategies once, however often it is given.)"""
    return st.sampled_from([*[False] * (one_in - 1), True]).flatmap(lambda is_odd: odd if is_odd else usual)


ODD = st.sampled_from(
    ["", " ", "$(HOME)", "$$", "a b", "../..", "é\u202e😀", "two\nlines", "\0", "-", "@@@", "=", "{{x}}"]
)
TEXT = configs.TEXT | ODD
HUGE = st.sampled_from([100, 5_000, 140_000, 600_000]).map(lambda size: "x" * size)
SECRET = mostly(configs.TEXT, ODD | HUGE, 40).map(lambda text: CANARY + text)
IDS = st.one_of(st.uuids().map(str), st.from_regex(r"[A-Za-z0-9@._-][A-Za-z0-9@ ._-]{0,80}", fullmatch=True))
ODD_IDS = mostly(IDS, ODD)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-1, 10), TEXT)
ENV_NAMES = configs.ENV_NAMES | st.sampled_from(
    ["HOME", "PATH", "TMPDIR", "PAPERCLIP_API_KEY", "PAPERCLIP_API_URL", "PAPERCLIP_RUN_ID", "DOCKER_HOST", "N" * 249]
)
PATHS = st.sampled_from(
    ["", "/paperclip", "/paperclip/work/é", "/work", "/work/a b", "/paperclip/../etc", "relative", "/", "/a\nb"]
)
RESERVED = st.sampled_from(["team/x", "paperclip.io/agent-id", "app.kubernetes.io/name", "job-name", "x" * 63])
SERVER = st.fixed_dictionaries({"command": SECRET}, optional={"url": SECRET, "env": st.dictionaries(TEXT, SECRET)})

FIELDS: dict[str, Strategy[Any]] = configs.FIELDS | {
    "image": configs.FIELDS["image"] | st.just("registry:5000/a@sha256:" + "0" * 64),
    "env": st.dictionaries(ENV_NAMES, SECRET, max_size=4),
    "mcpServers": st.dictionaries(configs.NAMES, SERVER, max_size=2),
    "labels": st.dictionaries(configs.LABEL_KEYS | RESERVED, configs.LABEL_VALUES, max_size=3),
    "cwd": st.sampled_from(["", "/paperclip", "/paperclip/x", "/work", "/srv/é"]),
    "workspaceMountPath": st.sampled_from(["/paperclip", "/work", "/w/$HOME"]),
    "inheritEnv": st.sampled_from([None, [], ["*"], ["ANTHROPIC_*"]]),
    "inheritEnvDeny": st.sampled_from([[], ["*KEY*"], "LC_*"]),
    "inheritEnvFrom": st.sampled_from([["provider-keys"], ["missing"]]),
    "inheritSecretVolumes": st.sampled_from([["certificates", "login"], ["missing"]]),
    "namespace": st.sampled_from(["", "agents", "elsewhere"]),
}
WILD: dict[str, Strategy[Any]] = {
    "command": st.sampled_from([[], 'quo"ted', ["a\0"]]),
    "extraArgs": st.lists(TEXT | HUGE, max_size=4),
    "env": st.dictionaries(TEXT | st.just("N" * 300), SECRET, max_size=2),
    "model": st.sampled_from(["-x", "a b", "m" * 300]),
    "image": st.just("a b"),
    "cwd": PATHS,
    "workspaceMountPath": PATHS,
    "timeoutSec": st.sampled_from([2**31, -5, "x"]),
    "labels": st.dictionaries(TEXT, TEXT, max_size=2),
    "mcpServers": st.dictionaries(TEXT, SERVER | st.just({}), max_size=2),
    "resources.limits.cpu": st.sampled_from(["0", "lots", "1"]),
    "unknownField": SCALARS,
}


@st.composite
def configurations(draw: st.DrawFn) -> Raw:
    """Configurations as plain JSON: a few fields each, most of them sensible. What is secret has a canary."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=8, unique=True))
    made = {name: draw(FIELDS[name]) for name in names}
    wild = draw(mostly(st.none(), st.sampled_from(sorted(WILD)), 8))
    made |= {wild: draw(WILD[wild])} if wild else {}
    base: Raw = draw(mostly(st.just({"image": "busybox:1.36"}), st.just({}), 8))
    return base | made


def _document(most: int = 3) -> Strategy[Any]:
    return st.recursive(
        st.one_of(SCALARS, SECRET), lambda inner: st.one_of(st.lists(inner, max_size=2), _dicts(inner)), max_leaves=most
    )


def _dicts(values: Strategy[Any]) -> Strategy[Raw]:
    return st.dictionaries(TEXT, values, max_size=2)


WORKSPACE = st.fixed_dictionaries(
    {},
    optional={
        "cwd": st.one_of(PATHS, SCALARS),
        "source": st.sampled_from(["task", "agent_home", 3]),
        "agentHome": PATHS,
        "worktreePath": PATHS,
        **dict.fromkeys(("strategy", "workspaceId", "repoUrl", "repoRef", "branchName"), st.one_of(SECRET, SCALARS)),
    },
)
WAKE = st.fixed_dictionaries(
    {},
    optional={
        "taskId": ODD_IDS,
        "issueId": st.one_of(ODD_IDS, SCALARS),
        **dict.fromkeys(("wakeReason", "commentId", "wakeCommentId", "approvalId", "approvalStatus"), SECRET),
        "issueIds": st.one_of(st.lists(st.one_of(SECRET, SCALARS), max_size=3), SCALARS),
        "paperclipWorkspace": st.one_of(WORKSPACE, SCALARS),
        "paperclipWorkspaces": st.one_of(st.lists(st.one_of(WORKSPACE, SCALARS), max_size=2), SCALARS),
        "paperclipIssue": st.one_of(_dicts(SECRET), SCALARS),
        "paperclipWake": _document(),
        "paperclipRuntimeServices": _document(),
        "paperclipRuntimeServiceIntents": _document(),
        "paperclipRuntimePrimaryUrl": SECRET,
    },
)
RUNTIME = st.fixed_dictionaries(
    {}, optional={"sessionId": st.one_of(st.none(), ODD_IDS), "sessionParams": st.one_of(st.none(), _dicts(IDS))}
)
MCP_SERVER = st.fixed_dictionaries({"name": st.sampled_from(["tools", "git"]), "url": SECRET, "token": SECRET})

CONTEXTS: Strategy[Raw] = st.fixed_dictionaries(
    {
        "runId": ODD_IDS,
        "agent": st.fixed_dictionaries({"id": ODD_IDS, "companyId": ODD_IDS, "name": mostly(configs.TEXT, ODD | HUGE)}),
        "context": WAKE,
        "authToken": st.one_of(st.none(), SECRET),
    },
    optional={"runtime": RUNTIME, "runtimeMcp": st.lists(MCP_SERVER, max_size=3), "instructionsContent": SECRET},
)
"""Contexts as plain JSON."""

INHERITED_NAMES = st.sampled_from(
    [
        "ANTHROPIC_API_KEY",
        "HTTPS_PROXY",
        "LANG",
        "PAPERCLIP_API_URL",
        "DATABASE_URL",
        "PAPERCLIP_AGENT_JWT_SECRET",
        "é=",
    ]
)
REFERENCES = st.sampled_from(
    [
        {"secretKeyRef": {"name": "provider-keys", "key": "anthropic"}},
        {"configMapKeyRef": {"name": "settings", "key": "region", "optional": True}},
        {"fieldRef": {"fieldPath": "metadata.name"}},
    ]
)
VARIABLES = st.one_of(
    st.fixed_dictionaries({"name": INHERITED_NAMES, "value": st.one_of(st.just(""), SECRET)}),
    st.fixed_dictionaries({"name": INHERITED_NAMES, "valueFrom": REFERENCES}),
)
VOLUMES: tuple[Raw, ...] = (
    {"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}},
    {"name": "certs", "secret": {"secretName": "certificates", "defaultMode": 0o400}},
    {"name": "login", "secret": {"secretName": "login", "items": [{"key": "a", "path": "a/b", "mode": 0o600}]}},
)
MOUNTS = st.sampled_from(
    [
        {"name": "data", "mountPath": "/paperclip"},
        {"name": "data", "mountPath": "/work/", "subPath": "inner"},
        {"name": "certs", "mountPath": "/certs", "readOnly": True},
        {"name": "certs", "mountPath": "/paperclip"},
        {"name": "login", "mountPath": "/login/", "subPath": "a"},
        {"name": "login", "mountPath": "/run/claude-k8s/in"},
    ]
)


def _raw_pod(env: list[Raw], mounts: list[Raw], image: str, extra: Raw) -> Raw:
    container = {"name": "paperclip", "image": image, "env": env, "volumeMounts": mounts}
    container["envFrom"] = [{"secretRef": {"name": "provider-keys"}}, {"prefix": "X_", "configMapRef": {"name": "c"}}]
    spec = {"containers": [{"name": "proxy", "image": "p"}, container], "volumes": list(VOLUMES), **extra}
    return {"metadata": {"name": "paperclip-0", "namespace": "agents"}, "spec": spec}


SELF_PODS: Strategy[SelfPod] = st.builds(
    _raw_pod,
    st.lists(VARIABLES, max_size=4, unique_by=lambda one: one["name"]),
    st.lists(MOUNTS, max_size=4, unique_by=lambda one: one["mountPath"]),
    st.sampled_from(["paperclip:1", "paperclip:1", ""]),
    st.fixed_dictionaries(
        {},
        optional={
            "imagePullSecrets": st.just([{"name": "registry"}]),
            "dnsConfig": st.just({"nameservers": ["10.0.0.10"]}),
            "nodeSelector": st.just({"kubernetes.io/os": "linux"}),
            "tolerations": st.just([{"key": "agents", "operator": "Exists", "effect": "NoSchedule"}]),
        },
    ),
).map(SelfPod.of)

_PLACES = st.sampled_from([INSTRUCTIONS, f"{SKILLS}/a/SKILL.md", f"{SKILLS}/a/run é.sh", f"{SKILLS}/b/deep/er/x"])


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    """Bundles as `read_bundle` makes them."""
    files = draw(st.dictionaries(_PLACES, SECRET.map(str.encode), max_size=4))
    skills = sorted({place.split("/")[2] for place in files if place.startswith(SKILLS)})
    modes = {place: draw(st.sampled_from([0o644, 0o755])) for place in files}
    return Bundle(files, modes, tuple(skills), draw(st.sampled_from([(), ("a skill is not bundled",)])))


@dataclass(frozen=True)
class Attempt:
    """One run, before anything of it was looked at."""

    context: Raw = field(repr=False)
    config: Raw = field(repr=False)
    self_pod: SelfPod | None
    bundle: Bundle
    prompt: str = field(repr=False)
    session: str | None
    api_url: str

    def job(self, name: str = "ck-run-0123456789", **labels: str) -> AgentJob:
        """The Job of it. Raises `InvalidRequest`."""
        return claude_job(
            RunContext.parse(self.context),
            AgentConfig.parse(self.config),
            prompt=Prompt(self.prompt, {}),
            bundle=self.bundle,
            name=name,
            labels={"app.kubernetes.io/managed-by": "claude-k8s-adapter", **labels},
            annotations={"claude-k8s/run-id": "given"},
            self_pod=self.self_pod,
            session=self.session,
            api_url=self.api_url,
        )


ATTEMPTS: Strategy[Attempt] = st.builds(
    Attempt,
    context=CONTEXTS,
    config=configurations(),
    self_pod=st.one_of(st.none(), SELF_PODS),
    bundle=bundles(),
    prompt=SECRET,
    session=mostly(st.none() | st.uuids().map(str), ODD),
    api_url=st.sampled_from(["", "http://paperclip:3100"]),
)


@st.composite
def agent_jobs(draw: st.DrawFn, name: str = "ck-run-0123456789") -> AgentJob:
    """Jobs of those attempts that are accepted."""
    attempt = draw(ATTEMPTS)
    try:
        return attempt.job(name)
    except InvalidRequest:
        assume(False)
        raise
