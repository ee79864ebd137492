"""What the pods run. Each line begins with its number; the last number said is the container's own last word.

That word goes by the API server (`/dev/termination-log`), not by the log: so a judge knows what the log must hold.
"""

from __future__ import annotations

LAST_WORDS = 3
"""Lines that a pod still says when it is told to end."""

_NOTE = "/dev/termination-log"


def talk(lines: int = 20, pause: float = 0.1, code: int = 0, then: str = "") -> str:
    """So many lines, one by one; when told to end, a few more at once. `then` is done before it exits."""
    return (
        f"say() {{ i=$((i+1)); echo $i the quick brown fox; echo $i >{_NOTE}; }}; "
        f"i=0; told=; trap 'told=1' TERM; "
        f'while [ $i -lt {lines} ] && [ -z "$told" ]; do say; sleep {pause}; done; '
        f'if [ -n "$told" ]; then for n in $(seq {LAST_WORDS}); do say; done; fi; {then or ":"}; exit {code}'
    )


def eat(lines: int) -> str:
    """A talk that ends by asking for more memory than it may have."""
    return talk(lines, then="x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo $x | tail -c 1")


def burst(lines: int, width: int) -> str:
    """So many lines of so many bytes, as fast as it goes."""
    return f"{_pour(1, lines, width)}; echo {lines} >{_NOTE}"


def stream(seconds: int, rate: int, width: int) -> str:
    """About `rate` lines a second, of so many bytes each."""
    portion = rate // 10
    return f"{_pour(1, seconds * rate, width, portion)}; echo {seconds * rate} >{_NOTE}"


def hoard(lines: int) -> str:
    """One line; and when it is told to end, all the others at once."""
    last_words = f"seq 2 {lines}; echo {lines} >{_NOTE}; exit 0"
    return f"trap '{last_words}' TERM; echo 1 >{_NOTE}; echo 1; while :; do sleep 0.1; done"


def _pour(first: int, last: int, width: int, portion: int = 0) -> str:
    pad = "x" * (width - 9)
    pause = f'if (i % {portion} == 0) {{ fflush(); system("usleep 90000") }}' if portion else ""
    return f"awk 'BEGIN {{ for (i = {first}; i <= {last}; i++) {{ printf \"%d {pad}\\n\", i; {pause} }} }}'"
