"""What happened to others who watch Jobs, follow logs and send beats. Each test is named for it (names.py)."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import anyio
import pytest

from adapter import Limits, Outcome
from adapter.local import Fault
from tests.faults.wire import WATCHES
from tests.wire.conftest import Site
from tests.wire.test_laws import COUNT, COUNTED
from tests.wire.test_outcomes import FOREVER

REAPER = 300
"""Seconds without a sign of life after which a control plane fails a run."""


async def test_a_follow_hung_after_a_rotation_although_the_pod_had_ended(site: Site) -> None:
    site.cluster.faults.add(Fault.hang_log_after_end())
    run = await site.running(*COUNT, said="line 3")
    site.cluster.node.rotate_log(site.pod(run))
    site.cluster.faults.add(Fault.silent_log())
    assert (await run.result()).ok


async def test_a_read_that_hung_after_the_end_held_the_result_up_for_minutes(site: Site) -> None:
    """A pod's node can have gone silent: its log cannot be read, and its result is told all the same."""
    run = await site.running(*COUNT, said="line 3")
    site.cluster.faults.add(Fault.silent_log())
    site.cluster.faults.add(Fault.no_headers(path="*/log"))
    result = await run.result()
    assert result.ok
    assert not result.log.complete


async def test_the_pod_was_deleted_and_the_read_of_its_log_blocked_for_ever(site: Site) -> None:
    site.cluster.faults.add(Fault.hang_log_after_end())
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.node.delete_pod(site.pod(run), grace=0)
    assert (await run.result()).outcome is Outcome.DELETED


async def test_a_hundred_open_streams_starved_every_other_call(site: Site) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(101):
            stream = site.adapter.connection.stream("/api/v1/pods", query=[("watch", "1")], headers=10)
            await stack.enter_async_context(stream)
        assert await site.adapter.connection.call("GET", "/api/v1/namespaces/default/pods", deadline=3)


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_the_api_servers_error_was_delivered_as_a_line_of_the_log(site: Site, status: int) -> None:
    words = 'container "claude" in pod "x" is waiting to start: PodInitializing'
    site.cluster.faults.add(Fault.respond(status, words, path="*/log", count=3))
    run = site.start(*COUNT)
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_the_first_lines_were_missing(site: Site) -> None:
    run = site.start("seq", "500")
    assert (await run.result()).ok
    assert run.plane.data == b"".join(b"%d\n" % n for n in range(1, 501))
    first = next(stream for stream in site.cluster.streams if stream.kind == "log")
    assert not {"tailLines", "sinceSeconds", "sinceTime", "limitBytes"} & set(first.query)


async def test_the_follower_gave_up_before_the_pod_existed(site: Site) -> None:
    switch = site.cluster.node.unschedulable()
    run = site.start(*COUNT)
    await run.plane.until(lambda: any("unschedulable" in words for words in run.plane.words("pod")))
    switch.remove()
    assert (await run.result()).ok
    assert run.plane.data == COUNTED


async def test_a_log_that_had_ended_was_read_again_from_its_beginning(site: Site) -> None:
    site.cluster.faults.add(Fault.withhold(_ended, events=None))
    run = site.start("echo", "once")
    assert (await run.result()).ok
    assert run.plane.data == b"once\n"
    assert all("sinceTime" in stream.query for stream in site.follows()[1:])


def _ended(_: str, raw: dict[str, Any]) -> bool:
    statuses = raw.get("status", {}).get("containerStatuses", ())
    return any("terminated" in status.get("state", {}) for status in statuses)


def test_the_interval_of_the_beats_was_that_of_the_reaper() -> None:
    limits = Limits()
    assert limits.beat * 5 <= REAPER
    assert limits.stuck + limits.beat + limits.call < REAPER


async def test_after_a_410_the_same_version_was_asked_for_again(site: Site) -> None:
    run = await site.running(*COUNT, said="line 3")
    site.cluster.faults.add(Fault.gone_event(count=4))
    assert (await run.result()).ok
    for kind in ("jobs", "pods"):
        told = [r for r in site.cluster.requests if r.path.endswith(f"/{kind}") and r.method == "GET"]
        watched = [n for n, r in enumerate(told) if "watch" in r.query]
        assert len(watched) > 1
        between = [told[a + 1 : b] for a, b in itertools.pairwise(watched)]
        assert any(any("watch" not in r.query for r in some) for some in between), "a list came between two watches"


async def test_the_end_in_the_gap_before_the_new_list_was_never_seen(site: Site) -> None:
    run = await site.running(*COUNT, said="line 30")
    handle = site.cluster.faults.add(Fault.no_headers(**WATCHES))
    site.cluster.faults.add(Fault.cut(how="rst", count=2, **WATCHES))
    await site.cluster.until(lambda c: any(_ended("", pod) for pod in c.list("pods")))
    site.cluster.compact()
    handle.remove()
    result = await run.result()
    assert result.ok
    assert run.plane.data == COUNTED


async def test_a_watch_that_ended_at_once_was_opened_again_without_a_pause(site: Site) -> None:
    run = await site.running(*FOREVER, said="begun", grace=1)
    site.cluster.faults.add(Fault.end_watch())
    before, began = len(site.cluster.streams), anyio.current_time()
    await run.plane.until(lambda: anyio.current_time() > began + 1)
    opened = len(site.cluster.streams) - before
    run.plane.cancel()
    await run.result()
    longest_pauses = 1 / site.adapter.limits.retry_most
    assert opened < 2 * (longest_pauses * 4 + 8), "two watches, each at its backoff"
