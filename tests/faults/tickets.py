"""The tickets of the adapter that did this before ours, as far as structure alone does not make them impossible."""

from __future__ import annotations

from tests.faults.names import Named

TICKETS = [
    # the log
    Named(
        "FAR-105",
        "the log came again and again, from where the stream had begun",
        "wire/test_faults.py::test_a_thousand_cuts_lose_nothing_and_repeat_nothing",
    ),
    Named(
        "FAR-123",
        "lines were told apart by their content, since several follows ran at once",
        "unit/test_framing.py::test_lines_that_are_the_same_are_no_repeats",
    ),
    Named(
        "FAR-52",
        "runs of minutes failed 30 s after their stream had ended",
        "wire/test_laws.py::test_2_a_clean_end_of_the_follow_is_no_end_of_the_run",
    ),
    Named(
        "FAR-122",
        "a Job that was gone, or a container that ended at once, gave a part of its log and a wrong error",
        "wire/test_far10.py::test_2_a_pod_that_failed_before_it_was_seen_running_has_its_log_delivered_then_fails",
    ),
    Named(
        "8bd5042",
        "the stream dropped every few seconds, until its 50 tries were used up",
        "faults/test_tickets.py::test_the_stream_dropped_until_its_tries_were_used_up",
    ),
    Named(
        "c7706d7",
        "what was given up on kept its connection",
        "wire/test_far10.py::test_1_a_follow_whose_headers_never_come_does_not_hold_the_run",
    ),
    Named(
        "1f79007",
        "a shared filesystem showed 304 bytes of log for ever",
        "contract/test_agent_log.py::test_fifty_megabytes",
    ),
    Named(
        "fcc209c",
        "the log's file never appeared where two programs had to agree on its path",
        "unit/test_agent_claude.py::test_stdout_is_the_transcripts_alone",
    ),
    Named(
        "8cc43fd",
        "a pipe behind the agent hid its exit code",
        "unit/test_agent_stderr.py::test_the_exit_code_is_the_agents",
    ),
    Named(
        "FAR-19",
        "characters were cut in two",
        "unit/test_framing.py::test_every_byte_is_delivered_once_however_the_stream_is_cut",
    ),
    Named("the last line", "a last line without its newline was lost", "wire/test_laws.py::test_3_bytes_stay_bytes"),
    Named(
        "BLO-10448a",
        "`exit 1`, and not a word why: stderr was not read",
        "unit/test_findings.py::test_stderr_says_why_where_stdout_does_not",
    ),
    # the end, and what it was
    Named(
        "FAR-107b",
        "a timer that ran out was taken for a Job that is gone",
        "wire/test_laws.py::test_2_a_failed_read_decides_nothing",
    ),
    Named(
        "FAR-107b pod",
        "a pod that could not be seen for a moment was called deleted",
        "wire/test_laws.py::test_2_a_pod_that_cannot_be_seen_is_not_deleted",
    ),
    Named(
        "FAR-107b silence",
        "half a minute of silence inside a tool call cut healthy runs",
        "wire/test_laws.py::test_2_silence_is_no_end",
    ),
    Named("BLO-2436", "no timeout meant a timeout of 0", "unit/test_agent_claude.py::test_no_timeout_is_no_deadline"),
    Named(
        "BLO-10448b",
        "one failed read was a timeout after 0 s, and work that had exited with 0 was thrown away",
        "wire/test_laws.py::test_2_a_failed_read_decides_nothing",
    ),
    Named(
        "BLO-22922",
        "the clock of the end began with the Job: runs timed out after 30 s of two hours",
        "faults/test_tickets.py::test_the_clock_of_the_end_began_with_the_job",
    ),
    Named(
        "FAR-105 state",
        "the run was called done while its Job ran",
        "wire/test_outcomes.py::test_node_lost_is_unknown_and_the_job_stays",
    ),
    Named(
        "FAR-31",
        "a deleted Job was told as exit code -1",
        "wire/test_outcomes.py::test_pod_deleted_by_force_never_shows_an_end",
    ),
    Named(
        "FAR-30",
        "an empty answer of the provider was a failure of no kind",
        "unit/test_transcript.py::test_an_empty_answer_of_the_provider",
    ),
    Named(
        "FAR-32",
        "raw JSON stood in the error message",
        "unit/test_transcript.py::test_json_whole_or_in_pieces_is_never_shown_as_text",
    ),
    Named("FAR-95", "out of memory was told as wrong credentials", "wire/test_outcomes.py::test_out_of_memory"),
    Named(
        "FAR-100",
        "an agent that only began and failed gave no reason",
        "unit/test_findings.py::test_what_is_no_success_always_has_a_message",
    ),
    Named(
        "PEN-906",
        "a tool that failed failed the run",
        "unit/test_transcript.py::test_a_tools_error_is_counted_and_no_failure",
    ),
    Named(
        "7415df5",
        "what may pass by itself was called permanent",
        "unit/test_errors.py::test_what_has_a_retry_of_the_control_planes_may_pass_by_itself",
    ),
    Named(
        "ce9b7b8",
        "one limit for node, pull and start: cold nodes failed",
        "unit/test_case.py::test_a_container_has_the_start_budget_from_its_node_on",
    ),
    Named(
        "a blip while waiting",
        "a list that failed once failed the run and deleted its Job",
        "faults/test_tickets.py::test_a_blip_while_waiting_for_the_pod_deleted_the_job",
    ),
    Named(
        "who deleted it",
        '"the pod is gone", after we had deleted it ourselves',
        "wire/test_laws.py::test_6_the_steps_come_in_their_order",
    ),
    # signs of life
    Named(
        "FAR-116",
        "a pid of -1 was sent, which nobody could find alive",
        "faults/test_tickets.py::test_a_pid_that_is_not_ours_was_told_to_the_control_plane",
    ),
    Named(
        "its own pid",
        "a cancel made the control plane kill itself, by the pid it was told",
        "faults/test_tickets.py::test_a_pid_that_is_not_ours_was_told_to_the_control_plane",
    ),
    Named(
        "5f5ae92", "an adapter that hung went on beating", "unit/test_mouth.py::test_a_stuck_supervisor_does_not_beat"
    ),
    Named(
        "#287",
        "others touched the row, and an orphan lived for hours",
        "faults/test_tickets.py::test_a_beat_says_since_when_the_job_was_not_seen",
    ),
    Named(
        "BLO-12996",
        "only output counted as life: healthy work was killed, and a zombie lived",
        "plane/test_http_adapter.py::test_a_run_without_output_beats",
    ),
    Named(
        "BLO-13176",
        "a run was reaped before its Job existed",
        "wire/test_far10.py::test_4_the_first_beat_does_not_wait_for_the_job",
    ),
    Named(
        "BLO-12564",
        "who could not see yet took every run for gone",
        "wire/test_faults.py::test_an_api_server_that_stays_away_ends_nothing_but_may_detach",
    ),
    Named(
        "BLO-17239",
        "a deleted Job kept its agent busy",
        "wire/test_admission.py::test_a_finished_holder_that_is_being_deleted_is_not_waited_for",
    ),
    Named(
        "#675", "`process_lost` said nothing of the cause", "unit/test_errors.py::test_every_failure_says_what_to_do"
    ),
    Named(
        "keepalive lines",
        "beats counted as output: a silent run was never noticed",
        "faults/test_tickets.py::test_beats_were_written_into_the_log",
    ),
    # cancel and shutdown
    Named("FAR-26", "a cancel left the Job running", "wire/test_outcomes.py::test_cancel_while_running"),
    Named(
        "FAR-107b status",
        "any status but `running` was taken for a cancel",
        "plane/test_http_standing.py::test_an_end_that_is_not_confirmed_is_none",
    ),
    Named(
        "FAR-107b deploy",
        "a rolling deployment deleted Jobs that ran",
        "wire/test_laws.py::test_7_cancelling_the_hosts_task_detaches_and_the_same_request_comes_back",
    ),
    Named(
        "FAR-60",
        "the cancel was never seen, since asking for it was refused without a word",
        "faults/test_tickets.py::test_a_plane_that_refuses_to_be_asked_for_a_cancel_was_silent",
    ),
    Named(
        "cancel, delete fails",
        "a cancel whose delete failed hung",
        "wire/test_incidents.py::test_a_delete_that_is_refused_for_ever_hid_the_end_of_the_run",
    ),
    Named(
        "cleanup cancelled",
        "cleaning up was cancelled with the run",
        "wire/test_laws.py::test_7_a_detach_in_the_tail_lets_the_step_end",
    ),
    # ownership
    Named(
        "FAR-124", "a restart killed Jobs that worked", "wire/test_laws.py::test_7_another_process_adopts_what_is_left"
    ),
    Named(
        "b91859c",
        "live Jobs were deleted where their labels did not match",
        "wire/test_admission.py::test_one_that_does_not_fit_is_waited_for",
    ),
    Named(
        "FAR-29",
        "two Jobs ran for one agent",
        "wire/test_admission.py::test_two_processes_that_launch_for_one_agent_at_once",
    ),
    Named(
        "FAR-34",
        "a Job on its way out blocked the agent, or let two write into one session",
        "wire/test_admission.py::test_a_deleted_jobs_pod_is_waited_for_through_its_grace",
    ),
    Named(
        "FAR-61",
        "of tasks that came together all but one were blocked for good",
        "wire/test_admission.py::test_a_second_run_of_the_agent_waits_visibly_and_then_runs",
    ),
    Named(
        "FAR-85",
        "a 404 was never recognised",
        "unit/test_belongings.py::test_what_the_api_server_does_not_have_is_absent",
    ),
    Named(
        "d74b6d3",
        "errors counted as absence: the guard was skipped",
        "wire/test_admission.py::test_what_cannot_be_checked_is_not_started",
    ),
    Named(
        "c3b8194",
        "the guard hung, and the run with it",
        "wire/test_admission.py::test_a_guard_that_is_never_answered_starts_nothing",
    ),
    Named(
        "BLO-15956",
        "control plane and adapter meant different Jobs",
        "wire/test_laws.py::test_8_the_job_is_told_to_the_plane_before_it_is_let_run",
    ),
    Named(
        "FAR-15",
        "thousands of prompts' Secrets were left",
        "unit/test_belongings.py::test_a_secret_and_a_lock_are_the_jobs_from_their_creation_on",
    ),
    Named(
        "c67330c",
        "a prompt in one variable of the environment could not be executed",
        "unit/test_agent_claude.py::test_a_prompt_of_any_size_goes_the_same_way",
    ),
    Named(
        "N1",
        "names led out of their directory, labels were overwritten, homes were shared",
        "unit/test_agent_bundle.py::test_no_path_escapes_and_nothing_from_outside_gets_in",
    ),
    Named(
        "ccrotate",
        "credentials were rotated by several at once",
        "unit/test_credentials.py::test_all_who_saw_a_token_refused_renew_it_once",
    ),
    Named(
        "FAR-11",
        "pods had no skills",
        "unit/test_agent_claude.py::test_the_bundle_is_in_the_secret_with_its_directories",
    ),
]
