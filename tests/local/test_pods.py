"""What a container's process finds: environment, volumes, directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.local.environment import expand, quantity, rewriter
from adapter.local.images import invalid_name

from .conftest import JOBS, Wire, job, sh

if TYPE_CHECKING:
    from adapter.local import LocalCluster

SECRETS = "/api/v1/namespaces/default/secrets"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def output(wire: Wire, script: str, container: dict[str, Any], pod: dict[str, Any] | None = None) -> str:
    body = job("a", *sh(script), container=container, pod=pod)
    if pod:
        body["spec"]["template"]["spec"]["containers"] = [
            {"name": "main", "image": "busybox", "command": list(sh(script))} | container
        ]
    await wire.create(JOBS, body)
    await wire.until("Complete")
    return (await wire.log(await wire.pod())).body.decode()


async def test_environment(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATORS_SECRET", "not for pods")
    await wire.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"key": "from secret", "OTHER": "o"}})
    await wire.create(CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"key": "from map"}})
    env = [
        {"name": "PLAIN", "value": "p"},
        {"name": "EXPANDED", "value": "<$(PLAIN)> $(MISSING) $$(PLAIN)"},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "key", "optional": True}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "JOB", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['job-name']"}}},
    ]
    container = {"env": env, "envFrom": [{"secretRef": {"name": "s"}, "prefix": "S_"}], "args": ["", "$(PLAIN)"]}
    names = ("EXPANDED", "SECRET", "MAP", "POD", "JOB", "S_OTHER", "1", "NONE-unset", "OPERATORS_SECRET-unset")
    script = "; ".join(f'echo "${{{name}}}"' for name in names)
    told = (await output(wire, script, container)).splitlines()
    pod = await wire.pod()
    assert told == ["<p> $(MISSING) $(PLAIN)", "from secret", "from map", pod, "a", "o", "p", "unset", "unset"]


async def test_missing_secret_holds_the_container_until_it_is_there(cluster: LocalCluster, wire: Wire) -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}}}]
    await wire.run(*sh('echo "$A"'), container={"env": env})
    pod = await wire.pod()
    waiting = await cluster.until(
        lambda _: (w := wire.state(pod).get("waiting", {})).get("reason") == "CreateContainerConfigError" and w
    )
    assert waiting["message"] == 'secret "late" not found'
    assert (await wire.log(pod)).message.endswith("is waiting to start: CreateContainerConfigError")
    await wire.create(SECRETS, {"metadata": {"name": "late"}, "stringData": {"k": "v"}})
    await wire.until("Complete")
    assert (await wire.log(pod)).body == b"v\n"


async def test_volumes(wire: Wire) -> None:
    await wire.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"prompt.txt": "do it", "no": "x"}})
    await wire.create(CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"a": "map"}})
    volumes = [
        {"name": "prompt", "secret": {"secretName": "s", "items": [{"key": "prompt.txt", "path": "p/prompt"}]}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}},
    ]
    mounts = [
        {"name": "prompt", "mountPath": "/run/prompt"},
        {"name": "scratch", "mountPath": "/workspace"},
        {"name": "all", "mountPath": "/workspace/all"},
    ]
    script = 'cat /run/prompt/p/prompt; echo; ls /workspace/all | tr "\\n" " "; pwd; echo "$DIR"; touch x; ls'
    container = {"volumeMounts": mounts[:2] + mounts[2:], "workingDir": "/workspace"}
    container |= {"env": [{"name": "DIR", "value": "/workspace:/workspaces"}]}
    told = await output(wire, script, container, {"restartPolicy": "Never", "volumes": volumes, "containers": []})
    first, second, third, *files = told.splitlines()
    assert first == "do it"
    listed, _, directory = second.rpartition(" ")
    assert listed == "a no prompt.txt"
    root = third.split(":")[0]
    assert directory in (root, directory)
    assert third == f"{root}:/workspaces"
    assert root.endswith("/main/root/workspace")
    assert files == ["all", "x"]


async def test_a_missing_volume_source_is_only_an_event(cluster: LocalCluster, wire: Wire) -> None:
    volumes = [{"name": "v", "secret": {"secretName": "late"}}, {"name": "unused", "secret": {"secretName": "never"}}]
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    await wire.create(JOBS, job("a", "true", pod={"volumes": volumes}, container=container))
    pod = await wire.pod()
    event = await cluster.until(lambda c: next((e for e in c.list("events") if e["reason"] == "FailedMount"), None))
    assert event["message"] == 'MountVolume.SetUp failed for volume "v" : secret "late" not found'
    assert wire.state(pod) == {"waiting": {"reason": "ContainerCreating"}}
    await wire.create(SECRETS, {"metadata": {"name": "late"}})
    await wire.until("Complete")


async def test_a_claim_outlives_its_pods(cluster: LocalCluster, wire: Wire) -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "work"}}]
    mounts = [{"name": "v", "mountPath": "/work"}]
    for name, script in (("one", "echo kept > /work/file"), ("two", "cat /work/file")):
        pod = {"volumes": volumes}
        await wire.create(JOBS, job(name, *sh(script), container={"volumeMounts": mounts}, pod=pod))
        await wire.until("Complete", name)
    assert (await wire.log(await wire.pod("two"))).body == b"kept\n"


@given(st.text(), st.dictionaries(st.text(alphabet="AB", min_size=1), st.text()))
def test_expansion_leaves_text_without_dollars_alone(text: str, env: dict[str, str]) -> None:
    plain = text.replace("$", "")
    assert expand(plain, env) == plain
    assert expand(plain.replace("$", "") + "$$", env) == plain + "$"


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("/work", "HERE"),
        ("/work/a b", "HERE/a b"),
        ("cat '/work/x'>/work", "cat 'HERE/x'>HERE"),
        ("/works /home/work a/work /work.d /work-2", "/works /home/work a/work /work.d /work-2"),
        ("PATH=/bin:/work/bin", "PATH=/bin:HERE/bin"),
        ("--dir=/work", "--dir=HERE"),
        ("/work/deep/x", "DEEP/x"),
    ],
)
def test_paths_are_rewritten_where_a_path_begins(text: str, there: str) -> None:
    assert rewriter({"/work": "HERE", "/work/deep": "DEEP"})(text) == there


@pytest.mark.parametrize(
    ("text", "amount"), [("1", 1), ("100m", 0.1), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("2e3", 2000), ("5M", 5e6)]
)
def test_quantities(text: str, amount: float) -> None:
    assert quantity(text) == pytest.approx(amount)


@pytest.mark.parametrize("image", ["busybox", "a/b:1", "localhost:5000/x/y@sha256:" + "0" * 64, "ghcr.io/O/x:v1"])
def test_good_image_names(image: str) -> None:
    assert (invalid_name(image) is None) is ("O" not in image)
