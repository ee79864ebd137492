"""Which test keeps each failure that others met, from becoming ours: one line for each, in our own words.

docs/reliability.md holds both tables, and test_names.py sees that they are these and that every test exists.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent.parent


class Named(NamedTuple):
    """A failure, what happened, and the test that is named for it: file, function and parameter, below tests/."""

    id: str
    happened: str
    test: str


PEERS = [
    # the follow of a log hangs, or outlives its Job
    Named(
        "a1",
        "a follow hung for ever after the log was rotated; the pod had ended",
        "faults/test_peers.py::test_a_follow_hung_after_a_rotation_although_the_pod_had_ended",
    ),
    Named(
        "a2",
        "a read hung for minutes after the end, and the result with it",
        "faults/test_peers.py::test_a_read_that_hung_after_the_end_held_the_result_up_for_minutes",
    ),
    Named(
        "a3",
        "a follow stayed open for half an hour after a success",
        "wire/test_far10.py::test_1_a_follow_that_never_ends_does_not_outlive_its_job",
    ),
    Named(
        "a4",
        "the pod was deleted, and the read of its log blocked for ever",
        "faults/test_peers.py::test_the_pod_was_deleted_and_the_read_of_its_log_blocked_for_ever",
    ),
    Named(
        "a5",
        "the deadline was looked at only when a line came: a silent Job had none",
        "wire/test_outcomes.py::test_deadline",
    ),
    Named(
        "a6",
        "waiting for a container's log began before the clock of its start: a pending pod hung for ever",
        "unit/test_case.py::test_a_container_has_the_start_budget_from_its_node_on",
    ),
    Named(
        "a7",
        "the reader of a finished run never returned",
        "wire/test_laws.py::test_1_no_task_of_a_run_is_left_when_its_result_is_there",
    ),
    Named(
        "a8",
        "streams of clients that had gone piled up",
        "wire/test_laws.py::test_1_closing_the_adapter_closes_every_stream",
    ),
    Named(
        "a9",
        "the task was cancelled, its connection stayed open",
        "wire/test_embedding.py::test_in_anyios_move_on_after",
    ),
    Named(
        "a10",
        "open streams took the whole pool: other calls hung without a word, and health was green",
        "faults/test_peers.py::test_a_hundred_open_streams_starved_every_other_call",
    ),
    Named(
        "a11",
        "a new node answered logs with errors for a minute",
        "wire/test_faults.py::test_a_fault_of_the_wire_loses_nothing[a11-log-answered-with-errors]",
    ),
    # lines are lost, or come twice
    Named(
        "b1",
        "the whole log came again after an interruption",
        "wire/test_faults.py::test_a_thousand_cuts_lose_nothing_and_repeat_nothing",
    ),
    Named(
        "b2",
        "a second of log came twice, or two were skipped, at each resume",
        "unit/test_framing.py::test_every_byte_is_delivered_once_however_the_stream_is_cut",
    ),
    Named(
        "b3",
        "of two lines with one stamp the second was lost, and a last line without its newline",
        "unit/test_cursor.py::test_records_that_share_a_stamp_are_told_apart_by_their_order",
    ),
    Named(
        "b4",
        "a stamp was found inside a long line",
        "unit/test_framing.py::test_stderr_between_the_parts_of_a_line_is_delivered_as_the_log_has_it",
    ),
    Named(
        "b5",
        "the rest of a long line came without a stamp after a resume",
        "unit/test_framing.py::test_an_unstamped_rest_within_a_replay_is_not_reported",
    ),
    Named("b6", "empty lines lost their stamp, and so their place", "wire/test_laws.py::test_3_bytes_stay_bytes"),
    Named(
        "b7",
        "the log was rotated while nobody was connected: lines missing, nothing said",
        "wire/test_laws.py::test_3_a_rotation_while_the_follow_is_cut_is_a_gap_that_is_said",
    ),
    Named(
        "b8",
        "idle streams were cut by whatever is in between",
        "wire/test_faults.py::test_a_fault_of_the_wire_loses_nothing[b8-follow-cut]",
    ),
    Named(
        "b9",
        "bytes that had arrived went with the broken connection",
        "wire/test_faults.py::test_the_end_comes_while_the_follow_has_bytes_it_has_not_read",
    ),
    Named(
        "b10",
        "the API server's error was delivered as a line of the log",
        "faults/test_peers.py::test_the_api_servers_error_was_delivered_as_a_line_of_the_log",
    ),
    Named("b11", "one byte that is no UTF-8 killed the stream", "wire/test_laws.py::test_3_bytes_stay_bytes"),
    Named(
        "b12",
        "a line of more than 4 MiB killed the stream",
        "wire/test_laws.py::test_3_a_line_over_the_cap_comes_in_pieces",
    ),
    Named(
        "b13",
        "the first lines were missing: only the newest were asked for",
        "faults/test_peers.py::test_the_first_lines_were_missing",
    ),
    Named(
        "b14",
        "the pod was gone before its log was read, and that failed the run",
        "wire/test_gone.py::test_a_log_that_went_with_its_pod_while_nobody_looked_is_not_called_complete",
    ),
    Named(
        "b15",
        "the follower gave up before the pod existed, and the Job ran unread",
        "faults/test_peers.py::test_the_follower_gave_up_before_the_pod_existed",
    ),
    Named(
        "b16",
        "containers were followed one after another: the second one's lines came late or never",
        "wire/test_agents.py::test_stderr_is_a_log_of_its_own_and_lands_in_no_line",
    ),
    Named(
        "b17",
        "a pod that took another's place was never followed",
        "unit/test_manifest.py::test_a_job_is_created_suspended_and_never_retries",
    ),
    Named(
        "b18",
        "a log that had ended was read again and again from its beginning",
        "faults/test_peers.py::test_a_log_that_had_ended_was_read_again_from_its_beginning",
    ),
    Named(
        "b19",
        "what was over a limit was dropped without a word",
        "unit/test_spool.py::test_the_reader_waits_only_when_the_disk_is_full",
    ),
    Named(
        "b20",
        "progress bars and separators of Unicode split lines",
        "unit/test_framing.py::test_every_byte_is_delivered_once_however_the_stream_is_cut",
    ),
    # a run that lives is called dead
    Named(
        "c1",
        "the event loop was blocked, the beats late, the run called crashed",
        "faults/test_load.py::test_a_host_that_blocks_the_loop_for_long_is_late_by_no_more_than_that",
    ),
    Named(
        "c2",
        "a beat after the result brought a finished run back to the zombies",
        "wire/test_far10.py::test_4_no_beat_follows_an_accepted_result",
    ),
    Named(
        "c3",
        "the interval of the beats was that of the reaper",
        "faults/test_peers.py::test_the_interval_of_the_beats_was_that_of_the_reaper",
    ),
    Named(
        "c4",
        "the retry of a beat held up the log and the end",
        "wire/test_laws.py::test_4_a_beat_that_hangs_holds_up_no_result",
    ),
    Named(
        "c5",
        "one 404 or 409 of the control plane killed healthy work",
        "plane/test_http_standing.py::test_one_404_or_409_is_none",
    ),
    Named(
        "c6",
        "the control plane was restarted as the Job ended: the result was lost",
        "wire/test_far10.py::test_4_beats_go_on_after_the_end_until_the_result_is_accepted",
    ),
    Named("c7", "a Job that was silent for long was called crashed", "wire/test_laws.py::test_2_silence_is_no_end"),
    Named(
        "c8",
        "a failure that was only announced counted as the end",
        "unit/test_case.py::test_an_announced_end_is_not_the_end",
    ),
    Named(
        "c9",
        "a fault killed the watcher, and nobody noticed",
        "wire/test_incidents.py::test_a_feed_that_died_was_not_noticed_by_its_runs",
    ),
    Named(
        "c10",
        "the run was failed, its Job ran on",
        "wire/test_laws.py::test_6_a_verdict_is_told_only_when_nothing_runs_any_more",
    ),
    Named(
        "c11",
        "stopping the worker deleted healthy Jobs",
        "wire/test_laws.py::test_7_another_process_adopts_what_is_left",
    ),
    # the watch falls silent
    Named(
        "d1",
        "a watch never said anything again, without an error",
        "wire/test_faults.py::test_a_watch_that_fell_silent_is_opened_again_and_tells_the_end",
    ),
    Named(
        "d2",
        "something in between dropped the connection, and the client took it for alive",
        "wire/test_faults.py::test_a_fault_of_the_wire_loses_nothing[d2-watch-silent]",
    ),
    Named(
        "d3",
        "after a 410 the same version was asked for again",
        "faults/test_peers.py::test_after_a_410_the_same_version_was_asked_for_again",
    ),
    Named(
        "d4",
        "what happened before the new list was never seen",
        "faults/test_peers.py::test_the_end_in_the_gap_before_the_new_list_was_never_seen",
    ),
    Named(
        "d5",
        "a watch that ended at once was opened 1,500 times a second",
        "faults/test_peers.py::test_a_watch_that_ended_at_once_was_opened_again_without_a_pause",
    ),
    Named(
        "d6",
        "a parameter switched reconnecting off by being there",
        "wire/test_faults.py::test_a_fault_of_the_wire_loses_nothing[d6-watch-cut]",
    ),
    Named(
        "d7",
        "a watch ended after a minute, though ten were asked for",
        "wire/test_faults.py::test_a_fault_of_the_wire_loses_nothing[d7-watch-ends]",
    ),
    Named("d8", "the session was closed under a watcher", "wire/test_embedding.py::test_aclose_from_another_task"),
    Named(
        "d9",
        "the token expired, and every call failed from then on",
        "wire/test_faults.py::test_a_token_that_expired_is_read_again",
    ),
    Named(
        "d10",
        "the Job's completion was told minutes late under load",
        "wire/test_faults.py::test_the_end_is_noticed_although_its_events_are_withheld",
    ),
]


def found(entry: Named, root: Path = TESTS) -> bool:
    """Whether the entry's test is there."""
    file, _, called = entry.test.partition("::")
    name, _, parameter = called.rstrip("]").partition("[")
    if not (path := root / file).is_file():
        return False
    source = path.read_text()
    return name in _functions(source) and (not parameter or f'id="{parameter}"' in source)


def _functions(source: str) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def markdown(entries: Sequence[Named]) -> str:
    """The entries as a table."""
    rows = [f"| {one.id} | {one.happened} | `{one.test.replace('::', '`<br>`')}` |" for one in entries]
    return "\n".join(["| | what happened | the test that is named for it |", "|---|---|---|", *rows])
