"""One verdict on a run from its lock, log, files and volume, with how sure it is; and no word that promises what is not there."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.machine import volume
from loratui.engine.runs import ages, lock
from loratui.engine.runs.checkpoint_files import CheckpointsFound
from loratui.engine.runs.directory import create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event
from loratui.engine.runs.lock import Owner, ProcessIdentity
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.verdict import Evidence, Verdict, gather, judge

STEP = CheckpointsFound(180)


def log(*types: str, **fields: Any) -> list[Event]:
    return [Event(type, i, 0.0, fields if i == len(types) else {}) for i, type in enumerate(types, 1)]


def adding_up_to(events: list[Event]) -> RunState:
    state = RunState()
    for seq, event in enumerate(events, 1):
        state.apply(dataclasses.replace(event, seq=seq))
    return state


def owner(boot: str = lock.boot_id(), host: str = lock.host_name()) -> Owner:
    return Owner(ProcessIdentity(1, "1", boot, host), ProcessIdentity(), "train", 0.0)


def verdict(events: list[Event], **known: Any) -> Verdict:
    given = {"held": False, "quiet_s": 1.0, "owner": owner(), "checkpoints": STEP, **known}
    return judge(Evidence(name="r", state=adding_up_to(events), **given))


@pytest.mark.parametrize(
    ("events", "held", "quiet_s", "status"),
    [
        ([], True, 1, "starting"),
        (log("trainer_started"), True, 100, "starting"),
        (log("trainer_started"), True, 200, "stalled"),
        (log("trainer_started", "run_started"), True, 1, "running"),
        (log("trainer_started", "run_started", "step"), True, 9, "running"),
        (log("trainer_started", "run_started", "step"), True, 11, "stalled"),
        (log("trainer_started", "phase_changed", phase="loading"), True, 100, "running"),
        (log("trainer_started", "heartbeat", phase="loading"), True, 200, "stalled"),
        (log("run_started", "heartbeat", phase="sampling"), True, 11, "stalled"),
        (log("step", "trainer_ended"), True, 1, "starting"),
        (log("run_finished", status="done", exit_code=0), True, 1, "starting"),
        (log("run_finished", status="done", exit_code=0), False, 1e6, "done"),
        (log("run_finished", status="paused", exit_code=10), False, 1, "paused"),
        (log("run_finished", status="stopped", exit_code=143), False, 1, "stopped"),
        (log("run_finished", status="failed", exit_code=34), False, 1, "failed"),
        (log("run_finished", status=["odd"], exit_code="x"), False, 1, "failed"),
        (log("trainer_started", "run_started", "step"), False, 1, "interrupted"),
        (log("run_started", "output_written", final=True), False, 1, "done"),
        (log("run_started", "output_written", final=False), False, 1, "interrupted"),
        (log("run_started", "output_written", final=True) + log("trainer_ended", exit_code=0), False, 1, "done"),
        (log("trainer_started", "output_written", final=True) + log("trainer_started", "step"), False, 1, "interrupted"),
        ([], False, 1, "interrupted"),
    ],
)
def test_the_status(events: list[Event], held: bool, quiet_s: float, status: str) -> None:
    found = verdict(events, held=held, quiet_s=quiet_s)
    assert (found.status, found.certainty) == (status, "sure")
    unexplained = status in ("starting", "running") or bool(events and events[-1].type == "run_finished")
    assert bool(found.reason) == (not unexplained)


@pytest.mark.parametrize(("quiet_s", "words"), [(11, "10 s"), (59.9, "50 s"), (119, "1 min"), (7199, "119 min"), (9000, "2 h")])
def test_a_silence_is_told_in_steps_so_that_it_need_not_be_told_each_second(quiet_s: float, words: str) -> None:
    assert verdict(log("run_started", "step"), held=True, quiet_s=quiet_s).reason == f"No word from the trainer for {words}."


def test_an_interruption_is_explained() -> None:
    events = log("trainer_started", "step")

    def why(of: Owner | None, seen: list[Event], **known: Any) -> str:
        return verdict(seen, quiet_s=700, owner=of, **known).reason

    assert "restarted while" in why(owner(boot="earlier"), events)
    assert "another machine, box7, and has been silent" in why(owner(boot="earlier", host="box7"), events)
    assert "another container or on another machine, box7, which has ended" in why(owner(host="box7"), events)
    assert "without a message: killed" in why(owner(), events)
    assert "Its volume is full." in why(owner(), events, volume="Its volume is full.")
    assert "memory" not in why(owner(), events, volume="Its volume is full.")
    waits = [*events, *log("disk_waiting", reason="The disk is full.", error="ENOSPC", deletable=[])]
    assert why(owner(), waits) == "Its processes ended while it waited for its disk: The disk is full."
    assert "never started" in why(None, [], checkpoints=CheckpointsFound())
    assert "event log is empty or damaged" in why(None, [])
    ended = [*events, *log("trainer_ended", reason="The trainer was killed (signal 9).", signal=9)]
    assert why(owner(), ended) == "The trainer was killed (signal 9). Its supervisor ended too."


def test_where_locks_do_not_reach_a_run_is_judged_by_the_age_of_its_last_event_and_can_be_taken_over_at_any_time() -> None:
    there = owner(boot="theirs", host="box7")
    found = [verdict(log("trainer_started", "step"), owner=there, locks_reach=False, quiet_s=s) for s in (5, 100, 700)]
    assert [one.status for one in found] == ["running", "stalled", "interrupted"]
    assert {one.certainty for one in found} == {"likely"}
    assert all(one.resumable for one in found)
    assert "takes it over and continues from step 180" in found[0].advice
    assert "box7" in found[0].reason


def test_row_28_after_a_reboot_and_in_a_new_container_a_free_lock_is_enough() -> None:
    for before in (owner(boot="earlier"), owner(host="box7"), owner(boot="earlier", host="box7")):
        found = verdict(log("trainer_started", "step"), owner=before, locks_reach=True, quiet_s=1)
        assert (found.status, found.certainty, found.goes_on) == ("interrupted", "sure", "continues from step 180")


def test_the_trainers_own_error_counts_where_the_supervisor_died_before_the_last_word() -> None:
    events = log("trainer_started", "step", "run_failed_with", exit_code=20, message="The disk is full.", remedy="Free some.")
    found = verdict(events)
    assert (found.status, found.exit_code, found.advice) == ("failed", 20, "Free some.")
    assert found.reason == "The disk is full. Its supervisor was gone before it could say so."
    odd = verdict(log("trainer_started", "run_failed_with", exit_code=0, message="What?"))
    assert (odd.status, odd.exit_code) == ("failed", 70)
    started_again = verdict([*events, *log("trainer_started", "run_started")])
    assert started_again.status == "interrupted"


@pytest.mark.parametrize(("command", "status", "code"), [("pause", "paused", 10), ("stop", "stopped", 143)])
def test_a_pause_that_was_saved_is_one_although_the_supervisor_died(command: str, status: str, code: int) -> None:
    saved = [*log("step", step=9), *log("checkpoint_written", step=9)]
    told = log("command_acknowledged", command=command, ok=True)
    assert (verdict([*saved, *told]).status, verdict([*saved, *told]).exit_code) == (status, code)
    assert verdict([*log("step", step=9), *told]).status == "interrupted"


def test_a_run_without_a_supervisor_is_said_to_have_nobody_who_restarts_it() -> None:
    found = verdict(log("trainer_started", "run_started", "step"), held=True, unsupervised=True)
    assert (found.status, found.active) == ("running", True)
    assert "nobody restarts it" in found.reason
    assert "loratui stop r, then: loratui resume r" in found.advice


DONE = [*log("run_started", "output_written", path="output/a.safetensors", final=True), *log("run_finished", status="done")]


def test_a_finished_run_whose_file_is_gone_is_not_done() -> None:
    found = verdict(DONE, output="gone")
    assert (found.status, found.output_gone) == ("interrupted", True)
    assert found.reason == "All steps are done, but output/a.safetensors is not there."
    assert found.advice == "loratui resume r continues from step 180 and writes it again."
    unsaid = verdict(DONE[:2], output="gone")
    assert (unsaid.status, unsaid.reason) == (found.status, found.reason)


def test_a_finished_run_whose_file_differs_says_so() -> None:
    found = verdict(DONE, output="differs")
    assert found.status == "done"
    assert "not as it was saved" in found.reason
    assert found.advice == "loratui export r --step 180"
    assert verdict(DONE, output="differs", checkpoints=CheckpointsFound()).advice == ""


PAUSED = [*log("checkpoint_written", step=180), *log("run_finished", status="paused", advice="loratui resume r goes on.")]
KILLED = "loratui resume r continues from the last checkpoint."


@pytest.mark.parametrize(
    ("there", "goes_on", "advice"),
    [
        (CheckpointsFound(180), "continues from step 180", ""),
        (CheckpointsFound(180, sure=False), "resumes it", ""),
        (CheckpointsFound(120), "continues from step 120: the checkpoint of step 180 is gone", "step 180 is gone"),
        (CheckpointsFound(120, (180,)), "continues from step 120: the checkpoint of step 180 is damaged", "is damaged"),
        (CheckpointsFound(), "starts it again: its checkpoints are gone", "its checkpoints are gone"),
        (CheckpointsFound(None, (180, 120)), "", "Every checkpoint is damaged"),
    ],
)
def test_no_sentence_promises_a_checkpoint_that_is_not_there(there: CheckpointsFound, goes_on: str, advice: str) -> None:
    paused = verdict(PAUSED, checkpoints=there)
    assert (paused.goes_on, paused.resumable) == (goes_on, bool(goes_on))
    assert (advice in paused.advice) if advice else paused.advice == "loratui resume r goes on."
    assert paused.advice.count("loratui resume r") <= 1
    stopped = verdict([PAUSED[0], *log("run_finished", status="stopped", advice=KILLED)], checkpoints=there)
    assert "last checkpoint" not in stopped.advice
    assert (goes_on or "Every checkpoint is damaged") in stopped.advice
    interrupted = verdict([PAUSED[0]], checkpoints=there)
    assert "last checkpoint" not in interrupted.advice
    assert (goes_on or "Every checkpoint is damaged") in interrupted.advice


def test_a_validation_that_ended_is_told_as_one() -> None:
    found = verdict(log("trainer_started", "step"), job="validate")
    assert found.advice == "loratui validate r makes the missing images."


def test_a_folder_that_is_gone_or_has_another_name_is_told() -> None:
    gone, moved = verdict([], gone=True), verdict([], gone=True, renamed="b")
    assert gone.gone
    assert "gone: deleted, moved" in gone.reason
    assert (moved.reason, moved.advice) == ("Its folder was renamed: it is b now.", "loratui attach b")


@pytest.mark.parametrize(
    ("kind", "local"), [("ext4", True), ("overlay", True), ("nfs4", False), ("fuse.juicefs", False), ("ceph", False)]
)
def test_a_volume_that_others_may_have_mounted_is_told_from_a_local_one(tmp_path: Path, kind: str, local: bool) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 {os.major(device)}:{os.minor(device)} / / rw - {kind} /dev/x rw\n36 22 0:99 / /y rw shared:1 - tmpfs t rw\n"
    )
    assert volume.is_local(tmp_path, mounts) == local
    assert not volume.is_local(tmp_path / "missing", mounts)


def test_what_a_run_said_before_it_was_resumed_makes_no_stall(tmp_path: Path) -> None:
    run = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={})
    with EventLog.open(run.events) as events:
        events.append("step", step=1)
    state = read_state(run)
    long_ago = dataclasses.replace(state, last_ts=state.last_ts - 3600, last_up=0.0)

    def status(started_before_s: float) -> str:
        ticks = int((ages.up_s() - started_before_s) * os.sysconf("SC_CLK_TCK"))
        supervisor = ProcessIdentity(os.getpid(), str(ticks), lock.boot_id(), lock.host_name())
        by = Owner(supervisor, ProcessIdentity(), "train", 0.0)
        return judge(gather(run, long_ago, "train", held=True, owner=by, closely=False)).status

    assert (status(1), status(60)) == ("running", "stalled")
