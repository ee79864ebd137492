"""What an agent's pod is made of: files with modes, last words, a pipe between containers, native sidecars."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import JOBS, PODS, Wire, job, sh

if TYPE_CHECKING:
    from adapter.local import LocalCluster

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
    script = "cd /all && stat -L -c '%a %n' /secret/a /secret/deep/b run plain a name /map/plain && ./run"
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
    ("kind", "name", "word"), [("secret", "secretName", "secret"), ("configMap", "name", "config")]
)
async def test_a_key_that_is_not_there(wire: Wire, kind: str, name: str, word: str) -> None:
    path = SECRETS if kind == "secret" else CONFIGMAPS
    await wire.create(path, {"metadata": {"name": "x"}, "data": {}})
    volume = {"name": "v", kind: {name: "x", "items": [{"key": "gone", "path": "p"}]}}
    mounts = [{"name": "v", "mountPath": "/v"}]
    await wire.create(JOBS, job("a", "true", container={"volumeMounts": mounts}, pod={"volumes": [volume]}))
    events = await wire.cluster.until(lambda c: [e for e in c.list("events") if e["reason"] == "FailedMount"])
    references = "references non-existent config key" if word == "config" else "references non-existent secret key"
    assert events[0]["message"].endswith(f" : {references}: gone")


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
        (speaks("printf '\\377 \\342\\202' >/dev/termination-log"), "\ufffd \ufffd"),
        (speaks("echo only the log; exit 3"), None),
        (speaks("rm /dev/termination-log; exit 3"), None),
        (speaks("rm /dev/termination-log; mkfifo /dev/termination-log"), None),
    ],
)
async def test_last_words(wire: Wire, container: Object, message: str | None) -> None:
    assert (await ends(wire, container)).get("message") == message
    assert not Path(LAST_WORDS).exists()
    assert not Path("/tmp/last").exists()


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


async def test_the_main_container_waits_for_a_sidecar_that_cannot_start(cluster: LocalCluster, wire: Wire) -> None:
    broken = {"name": "side", "image": "x", "restartPolicy": "Always", "command": ["/no/such"]}
    await wire.create(JOBS, job("a", "true", pod={"initContainers": [broken]}))
    pod = await wire.pod()
    await cluster.until(lambda _: wire.state(pod, "side").get("waiting", {}).get("reason") == "CrashLoopBackOff")
    assert wire.state(pod) == {"waiting": {"reason": "PodInitializing"}}
    assert wire.status(pod)["phase"] == "Pending"
    await wire.delete(f"{JOBS}/a", propagationPolicy="Background")
    await cluster.until(lambda c: c.get("pods", pod) is None)


async def test_a_sidecar_that_ends_is_started_again(cluster: LocalCluster, wire: Wire) -> None:
    shared = {"volumeMounts": [{"name": "w", "mountPath": "/work"}]}
    inits = [sidecar("echo once >>/work/starts; exit 0", **shared)]
    wait = "while [ $(wc -l </work/starts) -lt 3 ]; do sleep 0.02; done"
    volumes = [{"name": "w", "emptyDir": {}}]
    end = await ends(wire, speaks(wait, **shared), initContainers=inits, volumes=volumes)
    assert end["exitCode"] == 0
    status = wire.status(await wire.pod())["initContainerStatuses"][0]
    assert status["restartCount"] >= 2
    assert status["lastState"]["terminated"]["exitCode"] == 0
    assert "terminated" in status["state"]


async def test_a_sidecar_that_waits_for_its_next_start_does_not_hold_the_pod(cluster: LocalCluster, wire: Wire) -> None:
    inits = [sidecar("exit 1")]
    await wire.create(JOBS, job("a", *sh("trap 'exit 0' TERM; sleep 30 & wait"), pod={"initContainers": inits}))
    pod = await wire.pod()
    await cluster.until(lambda _: wire.state(pod, "side").get("waiting", {}).get("reason") == "CrashLoopBackOff")
    cluster.node.kill(pod)
    await wire.until("Failed")
    assert wire.state(pod, "side")["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_a_deaf_sidecar_is_killed_after_the_grace_period(cluster: LocalCluster, wire: Wire) -> None:
    inits = [sidecar("trap '' TERM; while :; do sleep 0.02; done")]
    end = await ends(wire, speaks("exit 4"), initContainers=inits, terminationGracePeriodSeconds=1)
    assert end["exitCode"] == 4
    pod = await wire.pod()
    assert wire.state(pod, "side")["terminated"]["exitCode"] == 137
    assert wire.status(pod)["phase"] == "Failed"


async def test_deleted_main_containers_end_first_and_all_share_one_grace_period(wire: Wire) -> None:
    deaf = "trap '' TERM; echo up; while :; do sleep 0.02; done"
    await wire.create(JOBS, job("a", *sh(deaf), pod={"initContainers": [sidecar(deaf)]}))
    pod = await wire.running()
    await (await wire.follow(pod, container="main")).content.readline()
    began = asyncio.get_running_loop().time()
    await wire.delete(f"{PODS}/{pod}", gracePeriodSeconds=3)
    await wire.cluster.until(lambda c: c.get("pods", pod) is None)
    assert asyncio.get_running_loop().time() - began < 5.9, "the sidecar was given a grace period of its own"
