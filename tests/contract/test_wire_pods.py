"""What a pod's containers go through, and what the log endpoint says meanwhile."""

from __future__ import annotations

from typing import Any

from tests.contract.conftest import Object, Stage, job, scene, sh

BUSYBOX = {"image": "busybox:1.36", "imagePullPolicy": "IfNotPresent"}
BORN = ["job: ADDED", "pod: ADDED, phase Pending"]


def container(name: str, script: str, **fields: Any) -> Object:
    return {"name": name, "command": list(sh(script)), **BUSYBOX, **fields}


def waiting(stage: Stage, name: str) -> Object:
    return dict(stage.main(name)["state"]["waiting"])


async def refusal(stage: Stage, name: str, **query: str) -> str:
    """What the log endpoint says, but for the pod's name."""
    pod = stage.pod(name)
    refused = await stage.no_log(pod, **query)
    assert (refused.status, refused.reason, refused.kind) == (400, "BadRequest", "")
    return refused.message.replace(pod, "POD")


@scene
async def test_init_container_fails(stage: Stage) -> None:
    inits = [container("init", "echo no; exit 7")]
    await stage.place.create("init", *sh("true"), pod={"initContainers": inits})
    story = await stage.until("init", "pod: phase Failed", "job: Failed")
    assert [step for step in story[2:] if step != "pod: init running"] == [
        "pod: scheduled True",
        "pod: init waiting PodInitializing, main waiting PodInitializing",
        "pod: init terminated 7 Error",
        "pod: phase Failed",
        "job: FailureTarget BackoffLimitExceeded",
        "job: Failed BackoffLimitExceeded",
    ]
    assert await refusal(stage, "init", container="main") == (
        'container "main" in pod "POD" is waiting to start: PodInitializing'
    )
    assert await refusal(stage, "init") == await refusal(stage, "init", container="main"), "the only one but for init"
    assert await refusal(stage, "init", container="nope") == "container nope is not valid for pod POD"
    assert await stage.place.log(stage.pod("init"), container="init") == b"no\n"


@scene
async def test_a_log_of_several_containers_must_be_named(stage: Stage) -> None:
    containers = [container("a", "echo a"), container("b", "echo b")]
    pod = {"initContainers": [container("init", "true")], "containers": containers}
    await stage.place.create("several", pod=pod)
    await stage.until("several", "job: Complete", "pod: phase Succeeded")
    assert await refusal(stage, "several") == (
        "a container name must be specified for pod POD, choose one of: [init a b]"
    )
    assert await stage.place.log(stage.pod("several"), container="b") == b"b\n"


@scene
async def test_native_sidecar(stage: Stage) -> None:
    script = "trap 'echo sidecar ended; exit 0' TERM; echo up; while :; do sleep 0.2; done"
    inits = [container("side", script, restartPolicy="Always")]
    await stage.place.create("sidecar", *sh("sleep 3"), pod={"initContainers": inits})
    story = await stage.until("sidecar", "pod: phase Succeeded", "job: Complete")
    assert story[2:4] == ["pod: scheduled True", "pod: side waiting PodInitializing, main waiting PodInitializing"]
    ran = [step for step in story[4:] if step != "pod: side running"]
    assert "main running" in ran[0]
    assert "phase Running" in " ".join(story[4:6])
    together = ran[1:-3]  # the two ends are told apart, or in one event
    assert ", ".join(step.removeprefix("pod: ") for step in together) in (
        "main terminated 0 Completed, side terminated 0 Completed",
        "side terminated 0 Completed, main terminated 0 Completed",
    )
    assert ran[-3:] == [
        "pod: phase Succeeded",
        "job: SuccessCriteriaMet CompletionsReached",
        "job: Complete CompletionsReached",
    ]
    assert await stage.place.log(stage.pod("sidecar"), container="side") == b"up\nsidecar ended\n"


@scene
async def test_missing_secret_in_the_environment_then_it_is_there(stage: Stage) -> None:
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "late", "key": "word"}}}]
    body = job("config", *sh('echo "$WORD"'))
    body["spec"]["template"]["spec"]["containers"][0]["env"] = env
    await stage.place.ask("POST", stage.place.jobs, body)
    await stage.until("config", "pod: main waiting CreateContainerConfigError")
    assert waiting(stage, "config") == {"reason": "CreateContainerConfigError", "message": 'secret "late" not found'}
    assert await refusal(stage, "config") == (
        'container "main" in pod "POD" is waiting to start: CreateContainerConfigError'
    )
    secret = {"metadata": {"name": "late"}, "stringData": {"word": "at last"}}
    await stage.place.ask("POST", f"{stage.place.core}/secrets", secret)
    await stage.until("config", "job: Complete")
    assert await stage.place.log(stage.pod("config")) == b"at last\n"


@scene
async def test_missing_secret_in_a_volume_is_only_an_event(stage: Stage) -> None:
    unused = {"name": "unused", "secret": {"secretName": "never"}}
    body = job("volume", "true", pod={"volumes": [{"name": "v", "secret": {"secretName": "later"}}, unused]})
    main = body["spec"]["template"]["spec"]["containers"][0]
    main["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    await stage.place.ask("POST", stage.place.jobs, body)
    message = await stage.warning("volume-", "FailedMount", "later")
    assert message == 'MountVolume.SetUp failed for volume "v" : secret "later" not found'
    await stage.until("volume", "pod: main waiting ContainerCreating")
    assert waiting(stage, "volume") == {"reason": "ContainerCreating"}
    for follow in ("false", "true"):
        assert await refusal(stage, "volume", follow=follow) == (
            'container "main" in pod "POD" is waiting to start: ContainerCreating'
        )
    await stage.place.ask("POST", f"{stage.place.core}/secrets", {"metadata": {"name": "later"}})
    await stage.until("volume", "job: Complete")


@scene
async def test_an_image_name_that_is_none(stage: Stage) -> None:
    body = job("image", "true")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "Not Valid"
    await stage.place.ask("POST", stage.place.jobs, body)
    await stage.until("image", "pod: main waiting InvalidImageName")
    message = waiting(stage, "image")["message"]
    assert message.startswith('Failed to apply default image tag "Not Valid": couldn\'t parse image name')
    assert await refusal(stage, "image") == 'container "main" in pod "POD" is waiting to start: InvalidImageName'
    await stage.delete("image", propagationPolicy="Background")
    story = await stage.until("image", "pod: DELETED")
    assert "pod: at once" in story


@scene
async def test_no_node_is_large_enough(stage: Stage) -> None:
    body = job("large", "true")
    resources = {"requests": {"cpu": "1000"}}
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    await stage.place.ask("POST", stage.place.jobs, body)
    await stage.until("large", "pod: scheduled False")
    pod = stage.last("Pod", "large")
    [condition] = [one for one in pod["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert condition["reason"] == "Unschedulable"
    assert "Insufficient cpu" in condition["message"]
    assert "containerStatuses" not in pod["status"]
    for query in ({}, {"previous": "true"}, {"follow": "true"}):
        assert (await stage.no_log(stage.pod("large"), **query)).status == 204
    await stage.delete("large", propagationPolicy="Background")
    story = await stage.until("large", "pod: DELETED", "job: DELETED")
    rest = [step for step in story[3:] if step != "pod: phase Failed"]  # told now and then, in passing
    assert rest == ["job: DELETED", "pod: deleting, at once", "pod: DELETED"]


@scene
async def test_a_command_that_cannot_start(stage: Stage) -> None:
    await stage.place.create("nowhere", "/no/such/command")
    story = await stage.until("nowhere", "pod: phase Failed", "job: Failed")
    assert story[4:6] == ["pod: main terminated 128 StartError", "pod: phase Failed"]
    end = stage.main("nowhere")["state"]["terminated"]
    assert end["startedAt"] == "1970-01-01T00:00:00Z"
    assert end["message"].endswith(
        'exec: "/no/such/command": stat /no/such/command: no such file or directory: unknown'
    )
    assert await stage.place.log(stage.pod("nowhere")) == b""


@scene
async def test_conditions_and_states_of_a_pod(stage: Stage) -> None:
    pod = await stage.play("states", *sh("sleep 3"))
    first = next(e["object"] for e in stage.events if e["object"]["metadata"]["name"] == pod)
    assert "containerStatuses" not in first["status"], "absent, not empty"
    labels = first["metadata"]["labels"]
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "states"
    assert labels["controller-uid"] == labels["batch.kubernetes.io/controller-uid"]
    assert first["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert pod.startswith("states-")
    assert len(pod) == len("states-") + 5
    main = stage.main("states")
    assert (main["ready"], main["started"], main["restartCount"], main["lastState"]) == (True, True, 0, {})
    await stage.until("states", "pod: main terminated")
    pods = [e["object"] for e in stage.events if e["object"]["metadata"]["name"] == pod]
    ended = next(
        p for p in pods if "terminated" in (p["status"].get("containerStatuses") or [{"state": ""}])[0]["state"]
    )
    [ready] = [one for one in ended["status"]["conditions"] if one["type"] == "Ready"]
    assert (ended["status"]["phase"], ready["status"], ready["reason"]) == ("Running", "False", "PodCompleted")
