"""The two lines of shell, really run: the agent's streams, signals and exit code, and the relay of its stderr."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import psutil
import pytest

from adapter.agent import stderr
from adapter.agent.checks import OURS

SHELLS = [
    ("sh",),
    *([("bash",)] if shutil.which("bash") else []),
    *([("busybox", "sh")] if shutil.which("busybox") else []),
]
PATIENCE = 20.0

Process = subprocess.Popen[bytes]


class Pod:
    """The volumes of a pod, and its two containers as processes that have them at another place."""

    def __init__(self, root: Path, shell: tuple[str, ...], stack: ExitStack) -> None:
        self._root, self._shell, self._stack = root, shell, stack
        self.words, self.fifo = root / "termination-log", root / "io" / "stderr"
        self.words.touch()
        for name in ("in", "io"):
            (root / name).mkdir()
        (root / "in" / "prompt.txt").write_text("the prompt")

    def relay(self) -> Process:
        return self._start(stderr.RELAY, "relay")

    def agent(self, *command: str) -> Process:
        return self._start(stderr.RUN, "agent", *command)

    def out(self, of: str) -> bytes:
        return (self._root / f"{of}.out").read_bytes()

    def err(self, of: str) -> bytes:
        return (self._root / f"{of}.err").read_bytes()

    def here(self, script: str) -> str:
        return script.replace(OURS, str(self._root)).replace(stderr.LAST_WORDS, str(self.words))

    def _start(self, script: str, name: str, *command: str) -> Process:
        argv = [*self._shell, "-c", self.here(script), name, *command]
        process = subprocess.Popen(
            argv, stdout=self._file(name, "out"), stderr=self._file(name, "err"), process_group=0
        )
        self._stack.callback(_bury, process)
        return process

    def _file(self, name: str, stream: str) -> IO[bytes]:
        return self._stack.enter_context((self._root / f"{name}.{stream}").open("wb"))


def _bury(process: Process) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(params=SHELLS, ids=" ".join)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pod]:
    with ExitStack() as stack:
        yield Pod(tmp_path, request.param, stack)


def until(holds: Callable[[], object]) -> None:
    """Looks again and again: a process tells nobody that it has come so far."""
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up
        os.sched_yield()


def ended(process: Process) -> int:
    return process.wait(PATIENCE)


def started(pod: Pod) -> Process:
    """A relay that listens."""
    relay = pod.relay()
    until(pod.fifo.exists)
    return relay


def told_to_end(relay: Process) -> float:
    """Sends TERM to the container's first process, as the kubelet does; answers how long it took to end, in seconds."""
    before = time.monotonic()
    relay.terminate()
    assert ended(relay) == 0
    return time.monotonic() - before


def test_stdin_is_the_prompt_and_stdout_is_the_agents_alone(pod: Pod) -> None:
    relay = started(pod)
    agent = pod.agent("sh", "-c", "cat; echo to stderr >&2")

    assert ended(agent) == 0
    told_to_end(relay)
    assert (pod.out("agent"), pod.err("agent")) == (b"the prompt", b"")
    assert pod.out("relay") == b"to stderr\n"
    assert pod.err("relay") == b""


@pytest.mark.parametrize("arguments", [("a b", "", "$HOME", "'\"\\", "*", "-n"), ("two\nlines", "é")])
def test_arguments_reach_the_agent_as_they_are(pod: Pod, arguments: tuple[str, ...]) -> None:
    started(pod)

    assert ended(pod.agent("printf", "%s|", *arguments)) == 0
    assert pod.out("agent") == "".join(f"{one}|" for one in arguments).encode()


@pytest.mark.parametrize("code", [0, 3, 137])
def test_the_exit_code_is_the_agents(pod: Pod, code: int) -> None:
    started(pod)

    assert ended(pod.agent("sh", "-c", f"exit {code}")) == code


def test_an_agent_that_does_not_exist_is_said_where_stderr_is(pod: Pod) -> None:
    relay = started(pod)

    assert ended(pod.agent("no-such-program")) == 127
    told_to_end(relay)
    assert b"no-such-program" in pod.out("relay")


def test_signals_reach_the_agent(pod: Pod) -> None:
    started(pod)
    agent = pod.agent("sh", "-c", "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.01; done")
    until(lambda: pod.out("agent") == b"up\n")
    agent.terminate()

    assert ended(agent) == 9
    assert pod.out("agent") == b"up\nbye\n"


def test_no_shell_is_left_between(pod: Pod) -> None:
    started(pod)
    agent = pod.agent("sh", "-c", "echo $$; kill -KILL $$")

    assert ended(agent) == -signal.SIGKILL
    assert int(pod.out("agent")) == agent.pid


def test_the_agent_waits_for_its_relay_so_that_no_word_is_lost(pod: Pod) -> None:
    agent = pod.agent("sh", "-c", "echo early >&2")
    relay = started(pod)

    assert ended(agent) == 0
    told_to_end(relay)
    assert pod.out("relay") == b"early\n"


def test_without_a_relay_the_agent_runs_all_the_same(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stderr, "RUN", stderr.RUN.replace(f"-ge {stderr.TRIES}", "-ge 1"))

    assert ended(pod.agent("sh", "-c", "cat; echo shown >&2; exit 5")) == 5
    assert pod.out("agent") == b"the prompt"
    assert pod.err("agent") == b"claude-k8s: nobody relays stderr\nshown\n"


def test_an_unterminated_last_line_is_shown(pod: Pod) -> None:
    relay = started(pod)
    ended(pod.agent("sh", "-c", "printf last >&2"))
    told_to_end(relay)

    assert pod.out("relay") == b"last"
    assert pod.words.read_bytes() == b"last"


def test_its_stdout_ends_with_the_agent_so_that_such_a_line_is_read_at_once(pod: Pod) -> None:
    relay = started(pod)
    ended(pod.agent("sh", "-c", "printf last >&2"))

    until(lambda: not Path(f"/proc/{relay.pid}/fd/1").exists())
    holders = [child for child in psutil.Process(relay.pid).children() if Path(f"/proc/{child.pid}/fd/1").exists()]
    assert (relay.poll(), holders) == (None, []), "it stays, and nobody holds its stdout"
    assert pod.out("relay") == b"last"


def test_200_kib_of_stderr_hold_nobody_up_and_the_last_words_are_kept(pod: Pod) -> None:
    relay = started(pod)
    agent = pod.agent("sh", "-c", "yes 0123456789abcde | head -c 204800 >&2; echo end >&2; exit 4")

    assert ended(agent) == 4
    told_to_end(relay)
    assert pod.out("relay") == b"0123456789abcde\n" * 12_800 + b"end\n"
    assert pod.words.read_bytes() == pod.out("relay")[-stderr.TAIL :]


def test_a_long_line_of_stdout_is_not_broken_by_stderr(pod: Pod) -> None:
    relay = started(pod)
    line = "head -c 307200 /dev/zero | tr '\\0' x; echo"
    agent = pod.agent("sh", "-c", f"(while :; do echo noise; done >&2) & {line}; kill $!")

    assert ended(agent) == 0
    told_to_end(relay)
    assert pod.out("agent") == b"x" * 307_200 + b"\n"
    assert set(pod.out("relay").splitlines()[:-1]) <= {b"noise"}


def test_a_relay_whose_agent_never_started_ends_at_once(pod: Pod) -> None:
    relay = started(pod)

    assert told_to_end(relay) < 1.0
    assert (pod.out("relay"), pod.words.read_bytes()) == (b"", b"")


def parrot(pod: Pod) -> tuple[Process, IO[bytes]]:
    """An agent that repeats what is written into the file: on stderr, then on stdout."""
    told = pod.fifo.with_name("told")
    os.mkfifo(told)
    repeat = 'while read -r word; do echo "$word" >&2; echo "$word"; done <"$0"'
    return pod.agent("sh", "-c", repeat, str(told)), told.open("wb", buffering=0)


def test_a_relay_that_is_told_to_end_reads_to_the_agents_end(pod: Pod) -> None:
    relay = started(pod)
    agent, told = parrot(pod)
    with told:
        relay.terminate()
        told.write(b"late\n")

    assert (ended(agent), ended(relay)) == (0, 0)
    assert pod.out("relay") == b"late\n"


def test_a_relay_that_is_started_anew_goes_on_where_it_was(pod: Pod) -> None:
    relay = started(pod)
    agent, told = parrot(pod)
    with told:
        told.write(b"before\n")
        until(lambda: (pod.out("relay"), pod.out("agent")) == (b"before\n", b"before\n"))
        children = psutil.Process(relay.pid).children()
        os.killpg(relay.pid, signal.SIGKILL)
        relay.wait()
        psutil.wait_procs(children)  # one that is dying can still read
        told.write(b"meanwhile\n")
        until(lambda: pod.out("agent") == b"before\nmeanwhile\n")
        again = pod.relay()
        until(lambda: pod.out("relay") == b"meanwhile\n")
        told.write(b"after\n")

    assert ended(agent) == 0
    told_to_end(again)
    assert pod.out("relay") == b"meanwhile\nafter\n"


def test_where_nothing_can_keep_last_words_the_relay_goes_on(pod: Pod) -> None:
    pod.words.unlink()
    relay = started(pod)
    ended(pod.agent("sh", "-c", "echo shown >&2"))
    told_to_end(relay)

    assert pod.out("relay") == b"shown\n"


def test_a_fifo_that_cannot_be_made_ends_the_relay(pod: Pod) -> None:
    pod.fifo.parent.rmdir()
    relay = pod.relay()

    assert ended(relay) == 125
    assert b"mkfifo" in pod.err("relay")


def test_a_relay_that_fails_is_not_taken_for_one_that_is_over(pod: Pod) -> None:
    relay = started(pod)
    agent, told = parrot(pod)
    with told:
        told.write(b"begun\n")
        until(lambda: pod.out("relay") == b"begun\n" and children_of(relay))
        for child in children_of(relay):
            os.kill(child, signal.SIGKILL)

        assert ended(relay) == 1
    assert ended(agent) == 0


def children_of(process: Process) -> list[int]:
    """`tail` and `tee`, once they are what their process runs."""
    children = psutil.Process(process.pid).children()
    return [child.pid for child in children] if {child.name() for child in children} >= {"tail", "tee"} else []
