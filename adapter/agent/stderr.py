"""How the agent's stderr gets a log of its own: two lines of shell, one for each container. Pure.

The kubelet keeps one state for both streams of a container: what a process writes to stderr while a line of its stdout
is longer than 16 KiB lands inside that line. A long `result` of the agent must survive that. So its stderr is a FIFO,
which a sidecar reads and says as its own output.
"""

from __future__ import annotations

from typing import Any

from adapter.agent.layout import IN, IO, PROMPT
from adapter.agent.manifest import confined, literal

NAME = "stderr"
LAST_WORDS = "/dev/termination-log"
"""Where the kubelet makes a file, and keeps what is in it beyond the pod's end."""
TAIL = 4000
"""Bytes of last words: the kubelet takes 4096 of a container, and 12 KiB of a pod."""

MOUNT: dict[str, Any] = {"name": "io", "mountPath": IO}
"""The mount of the volume with the FIFO, in both containers."""

_FIFO = f"{IO}/stderr"
_NEW = f"{IO}/stderr.new"
_COPY = f"{IO}/tail"
_OPEN = f"{IO}/open"

TRIES = 100
"""How often the agent looks for its relay, ten times a second. It is started later, and so finds it at once."""

RUN = "; ".join(
    (
        f"n=0; until [ -p {_FIFO} ] || [ $n -ge {TRIES} ]",
        "do sleep 0.1 2>/dev/null || sleep 1; n=$((n + 1)); done",
        # Opened for reading too: so opening waits for nobody, and a relay that restarts in between is no broken pipe.
        # Without a relay the agent runs all the same: its stderr is then where that of a container usually is.
        f"if [ -p {_FIFO} ]; then exec 2<>{_FIFO}; : >{_OPEN}; else echo 'claude-k8s: nobody relays stderr' >&2; fi",
        # From here on there is no shell: exit code and signals are the agent's own.
        f'exec "$@" <{IN}/{PROMPT}',
    )
)
"""Runs `"$@"` with the prompt as its stdin, and the FIFO as its stderr."""

RELAY = "; ".join(
    (
        # Told to end: our own end of the FIFO is closed. When the agent's is closed too, the readers have read it all.
        "over=; trap 'over=1; trap \"\" TERM; exec 3>&-' TERM",
        # The FIFO is there for the agent only when we have it open: what is in one that nobody has open is lost.
        f"fifo={_FIFO}; [ -p $fifo ] || {{ fifo={_NEW}; rm -f $fifo && mkfifo $fifo; }} || exit 125",
        # Both ends at once: a reader that comes when the writer is closed already would wait for ever.
        f"exec 3<>$fifo 4<$fifo; rm -f {_COPY}; mkfifo {_COPY} || exit 125",
        f"[ $fifo = {_FIFO} ] || mv $fifo {_FIFO}",
        f"words={LAST_WORDS}; [ -w $words ] || words=/dev/null",
        f"(trap '' TERM; exec tail -c {TAIL} <{_COPY} >$words 3>&- 4<&-) & tail=$!",
        f"(trap '' TERM; exec tee {_COPY} <&4 3>&-) & tee=$!",
        # Once the agent has its end open ours is closed: the end of the agent is the end of the file for the readers.
        f'until [ -n "$over" ] || [ -e {_OPEN} ]; do sleep 0.1 2>/dev/null || sleep 1; done; exec 3>&-',
        # One that ends otherwise has failed: we fail with it, and are started anew. What the FIFO holds is kept.
        'wait $tee; code=$?; [ -z "$over" ] || { wait $tee 2>/dev/null; code=0; }; [ $code = 0 ] || exit 1',
        # And now nobody has our stdout open: a last line without its newline is a line for the runtime, at once.
        "wait $tail 2>/dev/null; exec >&- 4<&-",
        # Here until told to end: the kubelet would start us anew, and serve the log of that one.
        'while [ -z "$over" ]; do sleep 1 & wait $!; done; exit 0',
    )
)
"""Says what comes out of the FIFO until the agent has ended, keeps the last words, and stays until told to end."""


def sidecar(image: str, pull_policy: str) -> dict[str, Any]:
    """The native sidecar that relays. It has the agent's image, which the node has to have anyway."""
    return {
        "name": NAME,
        "image": image,
        "imagePullPolicy": pull_policy,
        "restartPolicy": "Always",
        "command": ["sh", "-c", literal(RELAY), NAME],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        "terminationMessagePath": LAST_WORDS,
        "volumeMounts": [{**MOUNT}],
        "securityContext": confined(),
    }
