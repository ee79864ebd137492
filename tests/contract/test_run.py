"""`claude-k8s run` as a user types it: what is on stdout, what the exit code is, what is left behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import pytest

from tests.contract.conftest import Place, ended, process_of

FOREVER = "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.1; done"


async def test_success(place: Place) -> None:
    ran = await place.run("--", "sh", "-c", "echo out; echo err >&2")
    assert ran.status == 0, ran.err
    assert sorted(ran.out.split()) == ["err", "out"]
    assert "claude: terminated (exit 0, Completed)" in ran.err
    await place.empty()


async def test_exit_3(place: Place) -> None:
    ran = await place.run("--", "sh", "-c", "echo a; echo b; echo c; exit 3")
    assert ran.status == 3, ran.err
    assert ran.out == "a\nb\nc\n"
    await place.empty()


async def test_out_of_memory(place: Place) -> None:
    eat = "echo eating; x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo $x | tail -c 1"
    ran = await place.run("--memory", "40Mi", "--json", "--", "sh", "-c", eat)
    assert ran.status == 137, ran.err
    assert ran.result["code"] == "oom_killed"
    await place.empty()


async def test_kill_9_of_the_pods_process(place: Place) -> None:
    token = f"token-{os.getpid()}-{id(place)}"
    process = await place.start("--json", "--", "sh", "-c", f"echo begun {token}; while :; do sleep 0.1; done")
    assert process.stdout
    while token not in (line := await process.stdout.readline()).decode() or b'"log"' not in line:
        assert line
    process_of(token).send_signal(signal.SIGKILL)
    ran = await ended(process)
    assert ran.status == 137, ran.err
    assert (ran.result["code"], ran.result["signal"]) == ("signalled", 9)
    await place.empty()


async def test_job_deleted_by_somebody(place: Place) -> None:
    process = await place.start("--json", "--", "sh", "-c", FOREVER)
    name = await _job_of(process)
    await place.ask("DELETE", f"{place.jobs}/{name}", {"propagationPolicy": "Background"})
    ran = await ended(process)
    assert ran.status == 125, ran.err
    assert (ran.result["outcome"], ran.result["code"], ran.result["exit_code"]) == ("deleted", "job_deleted", 0)
    await place.empty()


async def _job_of(process: object) -> str:
    """The Job's name, once its log has begun."""
    name = ""
    while True:
        line = json.loads(await process.stdout.readline())  # type: ignore[attr-defined]
        name = line.get("job", name)
        if line["type"] == "log":
            return str(name)


async def test_ctrl_c_cancels_the_run(place: Place) -> None:
    process = await place.start("--", "sh", "-c", FOREVER)
    assert process.stdout
    assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGINT)
    ran = await ended(process)
    assert ran.status == 130, ran.err
    assert ran.out == "ended\n", "the last words are followed"
    await place.empty()


async def test_a_second_ctrl_c_lets_go_and_says_how_to_come_back(place: Place) -> None:
    stubborn = "trap '' TERM INT; echo begun; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done"
    process = await place.start("--run-id", "again", "--grace", "60", "--", "sh", "-c", stubborn)
    assert process.stdout
    assert process.stderr
    assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGINT)
    while b"Ctrl-C again" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    ran = await ended(process)
    assert ran.status == 130
    assert "--run-id again" in ran.err


async def test_sigterm_lets_go_and_the_same_request_comes_back(place: Place) -> None:
    count = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; sleep 0.1; done"
    process = await place.start("--run-id", "back", "--", "sh", "-c", count)
    assert process.stdout
    assert await process.stdout.readline() == b"line 1\n"
    process.send_signal(signal.SIGTERM)
    let_go = await ended(process)
    assert "come back with" in let_go.err
    ran = await place.run("--run-id", "back", "--", "sh", "-c", count)
    assert ran.status == 0, ran.err
    assert ran.out == "".join(f"line {n}\n" for n in range(1, 31))
    await place.empty()


async def test_deadline(place: Place) -> None:
    ran = await place.run("--timeout", "2", "--grace", "5", "--", "sh", "-c", FOREVER)
    assert ran.status == 124, ran.err
    assert ran.out == "begun\nended\n"
    await place.empty()


async def test_keep_leaves_the_job_with_its_result_and_it_is_given_again(place: Place) -> None:
    first = await place.run("--keep", "--run-id", "kept", "--json", "--", "sh", "-c", "exit 4")
    again = await place.run("--keep", "--run-id", "kept", "--json", "--", "sh", "-c", "exit 4")
    assert (first.status, again.status) == (4, 4), again.err
    assert first.result == again.result


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kubeconfig", "/no/such/file", "--", "true"], "no kubeconfig at /no/such/file"),
        (["-n", "no-such-namespace", "--", "true"], 'namespaces "no-such-namespace" not found'),
        (["--kube-context", "nobody", "--", "true"], "nobody"),
        (["--"], "command is empty"),
        (["--memory", "lots", "--", "true"], "memory 'lots' is not a Kubernetes quantity"),
        (["--timeout", "soon", "--", "true"], "'soon' is no duration"),
        (["--image", "Not Valid", "-q", "--", "true"], "InvalidImageName"),
    ],
)
async def test_bad_input_is_one_clear_line_and_leaves_nothing(place: Place, arguments: list[str], words: str) -> None:
    ran = await place.run(*arguments)
    assert ran.status == 125
    assert ran.out == ""
    [line] = ran.err.splitlines()
    assert line.startswith("claude-k8s: ")
    assert words in line
    await place.empty()


@pytest.mark.parametrize(
    ("value", "words"),
    [("x" * 1024 * 1024, "env['BIG'] has 1048580 bytes"), (r"\u0000", "env['BIG'] contains a NUL character")],
    ids=["1 MiB", "NUL"],
)
async def test_a_variable_that_no_process_can_be_given(place: Place, tmp_path: Path, value: str, words: str) -> None:
    # No shell could pass these on a command line; a configuration file can.
    config = anyio.Path(tmp_path) / "config.toml"
    await config.write_text(f'env = ["BIG={value}"]')
    ran = await place.run("--", "true", environment={"CLAUDE_K8S_CONFIG": str(config)})
    assert ran.status == 125
    [line] = ran.err.splitlines()
    assert words in line
    await place.empty()


async def test_nobody_there(place: Place, tmp_path: Path) -> None:
    path = anyio.Path(tmp_path) / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {}}]
    config = {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"}
    await path.write_text(json.dumps(config))
    ran = await place.run("--kubeconfig", str(path), "--", "true")
    assert ran.status == 125
    [line] = ran.err.splitlines()
    assert "127.0.0.1:9" in line
