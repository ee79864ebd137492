"""Clocks that are wrong, and that jump: nothing is decided by a comparison of two machines' clocks."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

import adapter
import adapter.local.logfile
from adapter.local import Fault
from tests.faults.wire import FOLLOWS, SkewedClock, set_clock
from tests.wire.conftest import Site
from tests.wire.test_laws import COUNT, COUNTED

MINUTES, HOUR = 300.0, 3600.0

READS = {
    "cli/remote.py": "how old a thing is, in words, where the answer has no date of its own",
    "cluster/checks_api.py": "how far our clock is from the API server's: `doctor` says it",
    "cluster/credentials.py": "when a plugin's token is asked for anew; a refused one is, whatever the clock says",
    "cluster/leases.py": "written for people: who is dead is found by a Lease that does not change",
    "cluster/listing.py": "how old a thing is, in words, where the answer has no date of its own",
    "cluster/preflight.py": "told",
    "plane/http_events.py": "told",
    "plane/store.py": "told; silence is measured by another clock",
    "sidecar/journal.py": "told",
    "sidecar/routes_agent.py": "told",
    "sidecar/tracing.py": "told",
}
"""All that reads a wall clock, and what for. Whatever decides goes by the loop's clock, which nobody sets."""


def test_nothing_that_decides_reads_a_wall_clock() -> None:
    root = Path(adapter.__file__).parent
    reads = re.compile(r"\btime\.time(_ns)?\b|datetime\.(now|utcnow|today)\b")
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if reads.search(path.read_text())}
    assert {path for path in found if not path.startswith("local/")} == {*READS}


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_the_adapters_wall_clock_jumps_by_an_hour(
    site: Site, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    run = await site.running(*COUNT, said="line 3")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    site.cluster.faults.add(Fault.cut(how="rst", count=2))
    seen = len(run.plane.beats)
    await run.plane.until(lambda: len(run.plane.beats) > seen + 2)
    result = await run.result()
    assert result.ok
    assert result.log.complete
    assert run.plane.data == COUNTED


@pytest.mark.parametrize("off", [MINUTES, -MINUTES])
async def test_the_nodes_clock_is_five_minutes_off(site: Site, monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    monkeypatch.setattr(adapter.local.logfile, "Clock", lambda: SkewedClock(off))
    for number in range(6):
        site.cluster.faults.add(Fault.cut(after_bytes=100 * number, how="fin", skip=number, count=1, **FOLLOWS))
    run = site.start(*COUNT)
    result = await run.result()
    assert result.ok
    assert result.log.complete
    assert run.plane.data == COUNTED


async def test_the_nodes_clock_is_put_forward_while_the_agent_speaks(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    set_clock(site.cluster, site.pod(run), SkewedClock(MINUTES))
    site.cluster.faults.add(Fault.cut(how="rst", count=1, **FOLLOWS))
    assert (await run.result()).log.complete
    assert run.plane.data == COUNTED


async def test_the_nodes_clock_is_put_back_while_the_agent_speaks(site: Site) -> None:
    """Under an open follow all of it is delivered; that something may have been repeated or lost is said."""
    run = await site.running(*COUNT, said="line 3")
    set_clock(site.cluster, site.pod(run), SkewedClock(-MINUTES))
    result = await run.result()
    assert result.ok
    assert run.plane.data == COUNTED
    assert not result.log.complete


async def test_two_lines_of_one_stamp_either_side_of_a_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter.local.logfile, "Clock", lambda: SkewedClock(0, coarse=True))
    for number in range(12):
        site.cluster.faults.add(Fault.cut(after_bytes=45 * number, how="rst", skip=number, count=1, **FOLLOWS))
    run = site.start(*COUNT)
    assert (await run.result()).log.complete
    assert run.plane.data == COUNTED
