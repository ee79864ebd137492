"""What an agent's pod is made of: files with modes, last words, a pipe between containers, native sidecars."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from adapter.local import LocalCluster, Timing, sidecars

from .conftest import JOBS, PODS, Wire, job, sh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRETS = "/api/v1/namespaces/default/secrets"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
LAST_WORDS = "/dev/termination-log"

Object = dict[str, Any]


async def ends(wire: Wire, container: Object, name: str = "a", **pod: Any) -> Object:
    """The last state of a Job's only container, once its pod is over."""
    await wire.create(JOBS, job(name, "true", container=container, pod=pod))
    found = await wire.pod(name)
    await wire.cluster.until(lambda _: wire.status(found).get("phase") in ("Succeeded", "Failed"))
    return dict(wire.state(found)["terminated"])


async def output(wire: Wire, script: str, mounts: dict[str, str], volumes: list[Object], **container: Any) -> str:
    mounted = [{"name": name, "mountPath": path} for name, path in mounts.items()]
    container |= {"command": list(sh(script)), "volumeMounts": mounted}
    await ends(wire, container, volumes=volumes)
    return (await wire.log(await wire.pod())).body.decode()


def sidecar(script: str, **more: Any) -> Object:
    return {"name": "side", "image": "x", "restartPolicy": "Always", "command": list(sh(script))} | more


# volumes


async def test_modes_of_files(wire: Wire) -> None:
    await wire.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "1", "b": "2"}})
    await wire.create(CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"run": "#!/bin/sh\necho ran", "plain": ""}})
    items = [{"key": "a", "path": "a", "mode": 0o400}, {"key": "b", "path": "deep/b"}]
    runs = [{"key": "run", "path": "run", "mode": 0o555}, {"key": "plain", "path": "plain"}]
    name = [{"path": "name", "mode": 0o440, "fieldRef": {"fieldPath": "metadata.name"}}]
    sources = [{"configMap": {"name": "c", "items": runs}}, {"secret": {"name": "s"}}, {"downwardAPI": {"items": name}}]
    volumes = [
        {"name": "secret", "secret": {"secretName": "s", "items": items, "defaultMode": 0o440}},
        {"name": "all", "projected": {"sources": sources, "defaultMode": 0o600}},
        {"name": "map", "configMap": {"name": "c"}},
    ]
    script = "cd /all && stat -L -c '%a %n' /secret/a /secret/deep/b run plain a name /map/plain && /all/run"
    mounts = {"secret": "/secret", "all": "/all", "map": "/map"}
    told = (await output(wire, script, mounts, volumes)).split()
    assert told[::2] == ["400", "440", "555", "600", "600", "440", "644", "ran"]


async def test_sources_that_may_be_missing(wire: Wire) -> None:
    await wire.create(CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"there": "x"}})
    some = [{"key": "there", "path": "there"}, {"key": "gone", "path": "gone"}]
    sources = [{"secret": {"name": "no", "optional": True}}, {"configMap": {"name": "no", "optional": True}}]
    volumes = [
        {"name": "secret", "secret": {"secretName": "no", "optional": True}},
        {"name": "items", "configMap": {"name": "c", "items": some, "optional": True}},
        {"name": "all", "projected": {"sources": sources}},
    ]
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}}]
    env_from = [{"secretRef": {"name": "no", "optional": True}}, {"configMapRef": {"name": "no", "optional": True}}]
    mounts = {"secret": "/secret", "items": "/items", "all": "/all"}
    script = 'ls /secret /items /all; echo "${A-unset}"'
    told = await output(wire, script, mounts, volumes, env=env, envFrom=env_from)
    assert [Path(line).name for line in told.split()] == ["all:", "items:", "there", "secret:", "unset"]


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("secret", "secretName", "references non-existent secret key"),
        ("configMap", "name", "configmap references non-existent config key"),
    ],
)
async def test_a_key_that_is_not_there(wire: Wire, kind: str, name: str, words: str) -> None:
    path = SECRETS if kind == "secret" else CONFIGMAPS
    await wire.create(path, {"metadata": {"name": "x"}, "data": {}})
    volume = {"name": "v", kind: {name: "x", "items": [{"key": "gone", "path": "p"}]}}
    mounts = [{"name": "v", "mountPath": "/v"}]
    await wire.create(JOBS, job("a", "true", container={"volumeMounts": mounts}, pod={"volumes": [volume]}))
    events = await wire.cluster.until(lambda c: [e for e in c.list("events") if e["reason"] == "FailedMount"])
    assert events[0]["message"] == f'MountVolume.SetUp failed for volume "v" : {words}: gone'


async def test_a_directory_shared_by_containers(wire: Wire) -> None:
    """A pipe between two of them: what one writes the other reads."""
    mounts = [{"name": "io", "mountPath": "/run/io"}]
    script = "[ -p /run/io/pipe ] || mkfifo /run/io/pipe; echo ready >/run/io/ready; cat /run/io/pipe"
    inits = [sidecar(script + "; trap 'exit 0' TERM; while :; do sleep 0.02; done", volumeMounts=mounts)]
    speak = "[ -p /run/io/pipe ] || mkfifo /run/io/pipe; exec 2<>/run/io/pipe; echo said >&2; sleep 0.2"
    container = {"command": list(sh(speak)), "volumeMounts": mounts}
    volumes = [{"name": "io", "emptyDir": {"sizeLimit": "8Mi"}}]
    assert (await ends(wire, container, initContainers=inits, volumes=volumes))["exitCode"] == 0
    pod = await wire.pod()
    assert (await wire.log(pod, container="side")).body == b"said\n"
    assert (await wire.log(pod, container="main")).body == b""


async def test_a_claim_is_shared_and_outlives_its_pods(wire: Wire) -> None:
    volumes = [{"name": "w", "persistentVolumeClaim": {"claimName": "work"}}]
    mounts = [{"name": "w", "mountPath": "/paperclip"}]
    env = [{"name": "HOME", "value": "/paperclip"}]
    for name, script in (("one", 'mkdir "$HOME/.claude"; echo kept >~/.claude/s'), ("two", "cat /paperclip/.claude/s")):
        container = {"command": list(sh(script)), "volumeMounts": mounts, "env": env}
        await ends(wire, container, name, volumes=volumes)
        await wire.delete(f"{PODS}/{await wire.pod('one')}") if name == "one" else None
    assert (await wire.log(await wire.pod("two"))).body == b"kept\n"


# last words


def speaks(script: str, **more: Any) -> Object:
    return {"command": list(sh(script))} | more


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (speaks("echo done >/dev/termination-log"), "done\n"),
        (speaks("echo why >/dev/termination-log; exit 3"), "why\n"),
        (speaks('echo mine >"$0"; exit 3', command=["sh", "-c", 'echo mine >"$0"', LAST_WORDS]), "mine\n"),
        (speaks('echo env >"$LOG"', env=[{"name": "LOG", "value": LAST_WORDS}]), "env\n"),
        (speaks("echo here >/tmp/last; echo no", terminationMessagePath="/tmp/last"), "here\n"),
        (speaks("seq 2000 >/dev/termination-log"), "\n".join(map(str, range(1, 2001)))[-4095:] + "\n"),
        (speaks("printf '\\377 \\342\\202' >/dev/termination-log"), "\ufffd \ufffd\ufffd"),
        (speaks("echo only the log; exit 3"), None),
        (speaks("rm /dev/termination-log; exit 3"), None),
        (speaks("rm /dev/termination-log; mkfifo /dev/termination-log"), None),
    ],
)
async def test_last_words(wire: Wire, container: Object, message: str | None) -> None:
    assert (await ends(wire, container)).get("message") == message
    assert _none_on_this_machine()


def _none_on_this_machine() -> bool:
    return not any(Path(path).exists() for path in (LAST_WORDS, "/tmp/last"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo the log; echo file >/dev/termination-log; exit 3", "file\n"),
        ("echo the log; exit 3", "the log\n"),
        ("echo the log; echo file >/dev/termination-log", "file\n"),
        ("echo the log", None),
    ],
)
async def test_last_words_come_before_the_log(wire: Wire, script: str, message: str | None) -> None:
    container = speaks(script, terminationMessagePolicy="FallbackToLogsOnError")
    assert (await ends(wire, container)).get("message") == message


async def test_each_instance_has_words_of_its_own(wire: Wire) -> None:
    script = f"cat {LAST_WORDS}; [ -e /work/again ] && exit 0; touch /work/again; echo first >{LAST_WORDS}; exit 1"
    container = speaks(script, volumeMounts=[{"name": "w", "mountPath": "/work"}])
    volumes = [{"name": "w", "emptyDir": {}}]
    end = await ends(wire, container, restartPolicy="OnFailure", volumes=volumes)
    status = wire.status(await wire.pod())["containerStatuses"][0]
    assert (end["exitCode"], end.get("message")) == (0, None)
    assert status["lastState"]["terminated"]["message"] == "first\n"


async def test_two_containers_do_not_share_their_last_words(wire: Wire) -> None:
    inits = [sidecar(f"trap 'echo side >{LAST_WORDS}; exit 0' TERM; echo up; while :; do sleep 0.02; done")]
    end = await ends(wire, speaks(f"echo main >{LAST_WORDS}"), initContainers=inits)
    assert end["message"] == "main\n"
    assert wire.state(await wire.pod(), "side")["terminated"]["message"] == "side\n"


# dry run


@pytest.mark.parametrize(
    ("path", "plural", "body"),
    [
        (JOBS, "jobs", job("a", "true")),
        (SECRETS, "secrets", {"metadata": {"name": "a"}, "stringData": {"k": "v"}}),
        (PODS, "pods", {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "x"}]}}),
    ],
)
async def test_dry_run_makes_nothing(cluster: LocalCluster, wire: Wire, path: str, plural: str, body: Object) -> None:
    before = len(cluster.history)
    made = await wire.create(path, body, dryRun="All")
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert (cluster.list(plural), len(cluster.history)) == ([], before)
    await wire.create(path, body)
    assert (await wire.ask("POST", path, body, params={"dryRun": "All"})).status == 409


async def test_dry_run_refuses_what_would_be_refused(wire: Wire) -> None:
    body = job("a", "true")
    body["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    answer = await wire.ask("POST", JOBS, body, params={"dryRun": "All"})
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")


# native sidecars


async def test_a_sidecar_is_there_before_the_main_container(cluster: LocalCluster, wire: Wire) -> None:
    await ends(wire, speaks("sleep 0.1"), initContainers=[sidecar("trap 'exit 0' TERM; sleep 30 & wait")])
    pod = await wire.pod()
    stories = [change.object["status"] for change in cluster.history if change.object["metadata"]["name"] == pod]
    told = [(_word(status, "initContainerStatuses"), _word(status, "containerStatuses")) for status in stories]
    first = told.index(("running", "running"))
    assert ("waiting", "running") not in told
    assert ("running", "terminated") in told[first:]
    assert told[-1] == ("terminated", "terminated")
    assert wire.state(pod, "side")["terminated"]["exitCode"] == 0
    assert wire.status(pod)["phase"] == "Succeeded"


def _word(status: Object, kind: str) -> str:
    return next((next(iter(one["state"])) for one in status.get(kind, ())), "")


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Wire]:
    """A cluster in which nothing counts as running before it has run for a while."""
    async with LocalCluster(tmp_path / "slow", timing=replace(Timing.fast(), running=0.3)) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            yield Wire(cluster, session)


@pytest.mark.parametrize("command", [["/no/such"], ["sh", "-c", "exit 1"]])
async def test_the_main_container_waits_for_a_sidecar_that_cannot_stay(slow: Wire, command: list[str]) -> None:
    broken = {"name": "side", "image": "x", "restartPolicy": "Always", "command": command}
    await slow.create(JOBS, job("a", "true", pod={"initContainers": [broken]}))
    pod = await slow.pod()
    await slow.cluster.until(lambda _: _restarts(slow, pod) > 2)
    assert slow.state(pod) == {"waiting": {"reason": "PodInitializing"}}
    assert slow.status(pod)["phase"] == "Pending"
    await slow.delete(f"{JOBS}/a", propagationPolicy="Background")
    await slow.cluster.until(lambda c: c.get("pods", pod) is None)


def _restarts(wire: Wire, pod: str) -> int:
    return sum(one["restartCount"] for one in wire.status(pod).get("initContainerStatuses", ()))


async def test_a_sidecar_that_ends_is_started_again(cluster: LocalCluster, wire: Wire) -> None:
    """Between two instances it is `terminated`, and its end holds nothing up."""
    shared = {"volumeMounts": [{"name": "w", "mountPath": "/work"}]}
    inits = [sidecar("echo again >>/work/starts; sleep 0.1", **shared)]
    wait = "while [ $(wc -l </work/starts) -lt 3 ]; do sleep 0.02; done"
    volumes = [{"name": "w", "emptyDir": {}}]
    end = await ends(wire, speaks(wait, **shared), initContainers=inits, volumes=volumes)
    assert end["exitCode"] == 0
    pod = await wire.pod()
    status = wire.status(pod)["initContainerStatuses"][0]
    assert status["restartCount"] >= 2
    assert status["lastState"]["terminated"]["exitCode"] == 0
    assert "terminated" in status["state"]
    told = [change.object["status"] for change in cluster.history if change.object["metadata"]["name"] == pod]
    words = [_word(one, "initContainerStatuses") for one in told]
    assert "waiting" not in words[words.index("running") :]


async def test_a_sidecar_that_is_not_there_when_the_main_one_ends(cluster: LocalCluster, wire: Wire) -> None:
    shared = {"volumeMounts": [{"name": "w", "mountPath": "/work"}]}
    inits = [sidecar("[ -e /work/ran ] && exit 1; touch /work/ran; sleep 0.1; exit 5", **shared)]
    main = "trap 'exit 3' TERM; echo up; sleep 30 & wait"
    pod_ = {"initContainers": inits, "volumes": [{"name": "w", "emptyDir": {}}]}
    await wire.create(JOBS, job("a", *sh(main), pod=pod_))
    pod = await wire.pod()
    await cluster.until(lambda _: _restarts(wire, pod) > 3 and "terminated" in wire.state(pod, "side"))
    cluster.node.kill(pod)
    await wire.until("Failed")
    assert wire.state(pod, "side")["terminated"]["exitCode"] == 1
    assert wire.status(pod)["phase"] == "Failed"


async def test_a_deaf_sidecar_is_killed_after_the_grace_period(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "LEAST_GRACE", 0.1)
    inits = [sidecar("trap '' TERM; echo up; while :; do sleep 0.02; done")]
    end = await ends(wire, speaks("exit 4"), initContainers=inits, terminationGracePeriodSeconds=1)
    assert end["exitCode"] == 4
    pod = await wire.pod()
    assert wire.state(pod, "side")["terminated"]["exitCode"] == 137
    assert wire.status(pod)["phase"] == "Failed"


async def test_one_grace_period_for_all_containers(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main ones are told first; a deaf sidecar is not given another whole period."""
    monkeypatch.setattr(sidecars, "LEAST_GRACE", 0.1)
    deaf = "trap '' TERM; echo up; while :; do sleep 0.02; done"
    await wire.create(JOBS, job("a", *sh(deaf), pod={"initContainers": [sidecar(deaf)]}))
    pod = await wire.running()
    await (await wire.follow(pod, container="main")).content.readline()
    began = asyncio.get_running_loop().time()
    await wire.delete(f"{PODS}/{pod}", gracePeriodSeconds=1)
    await wire.cluster.until(lambda c: c.get("pods", pod) is None)
    assert 1 < asyncio.get_running_loop().time() - began < 1.9


# the fake claude as a pod's process

FAKE = Path(__file__).parents[1] / "fake" / "claude"
PIPED = ("--print", "-", "--output-format", "stream-json", "--verbose")
START = 'exec "$@" </run/in/prompt.txt'


async def claude(wire: Wire, name: str, prompt: str, *arguments: str, memory: str = "1Gi") -> str:
    """A pod with the script from a ConfigMap, the prompt from a Secret, and a home that outlives it."""
    await wire.ask("POST", CONFIGMAPS, {"metadata": {"name": "fake"}, "data": {"claude": FAKE.read_text()}})
    await wire.create(SECRETS, {"metadata": {"name": name}, "stringData": {"prompt.txt": prompt}})
    volumes = [
        {"name": "in", "secret": {"secretName": name, "defaultMode": 0o440}},
        {"name": "bin", "configMap": {"name": "fake", "items": [{"key": "claude", "path": "claude", "mode": 0o555}]}},
        {"name": "home", "persistentVolumeClaim": {"claimName": "work"}},
    ]
    mounts = {"in": "/run/in", "bin": "/opt/fake", "home": "/paperclip"}
    container = {
        "command": [*sh(START), "claude", "/opt/fake/claude", *PIPED, *arguments],
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
        "env": [{"name": "HOME", "value": "/paperclip"}],
        "resources": {"limits": {"memory": memory}},
    }
    await wire.create(JOBS, job(name, "claude", container=container, pod={"volumes": volumes}))
    return await wire.running(name)


async def said(wire: Wire, pod: str) -> list[Object]:
    return [json.loads(line) for line in (await wire.log(pod)).body.splitlines()]


async def test_a_session_that_outlives_its_pod(wire: Wire) -> None:
    pod = await claude(wire, "one", "FAKE: session-file")
    await wire.until("Complete", "one")
    session = (await said(wire, pod))[-1]["session_id"]
    pod = await claude(wire, "two", "FAKE: session-file", "--resume", session)
    await wire.until("Complete", "two")
    assert (await said(wire, pod))[-1]["result"].endswith("I remember 1 earlier prompts.")


async def test_a_claude_that_eats_too_much(wire: Wire) -> None:
    pod = await claude(wire, "hog", "FAKE: oom", memory="60Mi")
    await wire.until("Failed", "hog")
    state = wire.state(pod)["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")
    assert (await said(wire, pod))[0]["subtype"] == "init"


async def test_a_claude_that_is_told_to_end(wire: Wire) -> None:
    pod = await claude(wire, "long", "FAKE: forever")
    following = await wire.follow(pod)
    await following.content.readline()
    await wire.delete(f"{PODS}/{pod}", gracePeriodSeconds=5)
    assert (await following.content.read()).endswith(b"got TERM\n")
