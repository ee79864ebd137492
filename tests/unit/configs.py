"""Configurations as control planes, forms and people write them: each of them is one that can be run."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from adapter.agent.plain import plain

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
PATHS = st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=3).map(lambda p: "/" + "/".join(p))
LABEL_KEYS = st.from_regex(r"([a-z]{1,4}\.[a-z]{1,3}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,5}[A-Za-z0-9])?", fullmatch=True)
LABEL_VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,5}[A-Za-z0-9])?)?", fullmatch=True)
ENV_NAMES = st.from_regex(r"[_a-zA-Z][-._a-zA-Z0-9]{0,6}", fullmatch=True)
SECONDS = st.integers(1, 2**31 - 1)
SWITCHES = st.booleans() | st.sampled_from(["true", "false"])
WORDS = st.from_regex(r"[a-z0-9][-a-z0-9.:/\[\]]{0,9}", fullmatch=True)
PATTERNS = st.from_regex(r"[A-Z_*?]{1,8}", fullmatch=True)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)


def numbers(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | str]:
    return values | values.map(str)


def lists(items: st.SearchStrategy[str]) -> st.SearchStrategy[list[str] | str]:
    """As a list, or one item a line."""
    return st.lists(items, max_size=3) | st.lists(items, max_size=3).map("\n".join)


def mappings(keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str] | str]:
    """As an object, or in lines."""
    objects = st.dictionaries(keys, values, max_size=3)
    return objects | objects.map(lambda made: "\n".join(f"{key}={value}" for key, value in made.items()))


def quantities(units: list[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.integers(1, 99), st.sampled_from(units)).map(lambda made: f"{made[0]}{made[1]}")


CPU = quantities(["", "m", "00m", ".5", "e1"])
MEMORY = quantities(["Mi", "Gi", "M", "e9", ".5Gi"])


def _toleration(made: tuple[str, str, str, int | None]) -> dict[str, Any]:
    key, value, effect, seconds = made
    timed = {"tolerationSeconds": seconds} if effect == "NoExecute" and seconds is not None else {}
    operator = {"operator": "Equal", "value": value} if value else {"operator": "Exists"}
    return {"key": key, "effect": effect} | operator | timed


EFFECTS = st.sampled_from(["", "NoSchedule", "PreferNoSchedule", "NoExecute"])
TOLERATIONS = st.tuples(LABEL_KEYS, LABEL_VALUES, EFFECTS, st.none() | st.integers(-5, 500)).map(_toleration)
TOLERATION_LINES = st.tuples(LABEL_KEYS, EFFECTS.filter(bool)).map(":".join) | LABEL_KEYS

VARIABLES = TEXT | st.integers(-9, 9) | st.booleans() | TEXT.map(lambda text: {"type": "plain", "value": text})
SERVERS = st.dictionaries(TEXT, JSON, max_size=2).map(lambda more: plain(more | {"command": "npx"}))

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": WORDS,
    "effort": st.sampled_from(["", "low", "high"]),
    "command": st.just("claude --x 'y z'") | st.lists(TEXT.filter(bool), min_size=1, max_size=2),
    "maxTurnsPerRun": numbers(st.integers(0, 5000)),
    "timeoutSec": numbers(SECONDS | st.just(0)),
    "graceSec": numbers(st.integers(0, 600)),
    "extraArgs": st.just("--add-dir /data") | st.lists(TEXT, max_size=3),
    "env": st.dictionaries(ENV_NAMES, VARIABLES, max_size=3) | mappings(ENV_NAMES, WORDS),
    "cwd": PATHS,
    "promptTemplate": TEXT,
    "bootstrapPromptTemplate": TEXT,
    "instructionsFilePath": PATHS,
    "dangerouslySkipPermissions": SWITCHES,
    "resumeLastSession": SWITCHES,
    "retryFreshSession": SWITCHES,
    "namespace": NAMES,
    "image": WORDS,
    "imagePullPolicy": st.sampled_from(["IfNotPresent", "Always", "Never"]),
    "imagePullSecrets": lists(NAMES),
    "kubeconfig": PATHS,
    "serviceAccountName": NAMES,
    "automountServiceAccountToken": SWITCHES,
    "ttlSecondsAfterFinished": numbers(st.integers(0, 10**6)),
    "retainJobs": SWITCHES,
    "reattachOrphanedJobs": SWITCHES,
    "resources.requests.cpu": CPU,
    "resources.limits.memory": MEMORY | st.integers(1, 2**40),
    "resources": st.fixed_dictionaries(
        {}, optional={"requests": st.fixed_dictionaries({}, optional={"memory": MEMORY})}
    ),
    "nodeSelector": mappings(LABEL_KEYS, LABEL_VALUES),
    "tolerations": st.lists(TOLERATIONS, max_size=2) | st.lists(TOLERATION_LINES, max_size=2).map("\n".join),
    "labels": mappings(LABEL_KEYS, LABEL_VALUES),
    "priorityClassName": NAMES,
    "runtimeClassName": NAMES,
    "inheritScheduling": SWITCHES,
    "inheritEnv": lists(PATTERNS),
    "inheritEnvDeny": lists(PATTERNS),
    "inheritEnvFrom": lists(NAMES),
    "inheritSecretVolumes": lists(NAMES),
    "workspaceVolumeClaim": NAMES,
    "workspaceMountPath": PATHS.map(lambda path: f"/w{path}"),
    "podScheduleTimeoutSec": numbers(SECONDS),
    "podStartTimeoutSec": numbers(SECONDS),
    "enableDocker": SWITCHES,
    "dockerImage": WORDS,
    "dockerCpuLimit": CPU,
    "dockerMemoryLimit": MEMORY,
    "mcpServers": st.dictionaries(NAMES, SERVERS, max_size=2),
    "secretRef": NAMES,
}
CONFIGS: st.SearchStrategy[dict[str, Any]] = (
    st.lists(st.sampled_from(sorted(FIELDS)), max_size=8, unique=True)
    # Both of these bound the memory, and one might ask for more than the other allows.
    .filter(lambda names: not {"resources", "resources.limits.memory"} <= set(names))
    .flatmap(lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names}))
)
"""A few fields at a time: with all of them, few examples would be small enough to read."""
