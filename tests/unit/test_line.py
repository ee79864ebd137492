"""Whose turn it is: never more at once than may be, one at a time for each agent, and nobody is forgotten."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from adapter.line import Line

AGENTS = st.sampled_from([None, "ann", "bob"])


def test_the_rest_waits_in_the_order_in_which_it_came() -> None:
    line = Line(1)
    assert line.join("a", None) is None
    assert line.join("b", None) == "as many runs are at work as may be at once: 1"
    assert line.join("c", None)
    line.leave("a")
    assert line.join("c", None)
    assert line.join("b", None) is None
    assert line.waiting == 1


def test_runs_of_one_agent_wait_for_each_other_and_let_others_pass() -> None:
    line = Line(2, agents=True)
    assert line.join("a", "ann") is None
    assert line.join("b", "ann") == "the agent is busy with run a"
    assert line.join("c", "bob") is None


def test_a_run_that_is_at_work_already_counts_whatever_the_cap_says() -> None:
    line = Line(1)
    line.enter("a", None)
    line.enter("b", None)
    line.leave("a")
    assert line.join("c", None)
    line.leave("b")
    assert line.join("c", None) is None


def test_who_gives_up_waiting_holds_nobody_up() -> None:
    line = Line(1, agents=True)
    line.join("a", "ann")
    line.join("b", "ann")
    line.join("c", "ann")
    line.leave("b")
    line.leave("a")
    assert line.join("c", "ann") is None


@given(st.integers(1, 4), st.lists(st.tuples(AGENTS, st.booleans()), max_size=30))
def test_law_never_too_many_and_in_the_end_everybody(most: int, runs: list[tuple[str | None, bool]]) -> None:
    line, at_work, waiting = Line(most, agents=True), dict[str, str | None](), dict[str, str | None]()
    order: list[str] = []

    def look() -> None:
        for run_id, agent in list(waiting.items()):
            if line.join(run_id, agent) is None:
                at_work[run_id] = waiting.pop(run_id)
                order.append(run_id)
        assert len(at_work) <= most
        assert max(Counter(agent for agent in at_work.values() if agent).values(), default=0) <= 1

    for number, (agent, ends) in enumerate(runs):
        waiting[str(number)] = agent
        look()
        if ends and at_work:
            gone = next(iter(at_work))
            del at_work[gone]
            line.leave(gone)
            look()
    while at_work:
        gone = next(iter(at_work))
        del at_work[gone]
        line.leave(gone)
        look()
    assert not waiting
    for whose in {agent for agent, _ in runs}:
        theirs = [int(run_id) for run_id in order if runs[int(run_id)][0] == whose]
        assert theirs == sorted(theirs)
