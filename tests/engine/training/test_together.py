"""Runs that two processes train together, on the CPU: the same steps as one process makes, and one end for both."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import MakeRun, events, every_step, losses, process, train, wait_for, weights
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from loratui.engine import durable
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.machine.accelerator import Accelerator
from loratui.engine.planning.world import World
from loratui.engine.runs import control, fence, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.state_file import read_state
from loratui.engine.training import together
from loratui.engine.training.setup import read_job
from loratui.engine.training.team import Team, joined

SMALL = ("adapter.targets=attention", "samples.steps=1", 'samples.prompts=["a {subject}"]', "training.batch_size=1")
TWO = (*SMALL, "memory.device=cpu", "training.processes=2")
ONE = (*SMALL, "training.accumulation=2")


def follower_of(trainer: int) -> int:
    """The process of rank 1 that a trainer has started."""
    for child in Path(f"/proc/{trainer}/task/{trainer}/children").read_text().split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError("it has no such child")


def assert_same_steps(found: RunDirectory, expected: RunDirectory) -> None:
    """All steps that were reported are those of the other run, and so is the LoRA, to rounding."""
    theirs = losses(expected)
    assert losses(found).keys() <= theirs.keys()
    for step, loss in losses(found).items():
        assert float.fromhex(loss) == pytest.approx(float.fromhex(theirs[step]), rel=1e-5)
    mine, other = weights(found), weights(expected)
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, other[name], rtol=2e-3, atol=2e-5)


def assert_same_held_out(found: RunDirectory, expected: RunDirectory) -> None:
    """The losses on held-out images, which the processes share among them, are those of the other run."""
    mine, other = ({event.fields["epoch"]: event.fields for event in events(run, "held_out")} for run in (found, expected))
    assert mine.keys() == other.keys() == {0, 1, 2, 3, 4}
    for epoch, fields in mine.items():
        assert [row["base_loss"] for row in fields["images"]] == [row["base_loss"] for row in other[epoch]["images"]]
        losses_of = [[row["loss"] for row in one["images"]] for one in (fields, other[epoch])]
        assert losses_of[0] == pytest.approx(losses_of[1], rel=1e-4)


def test_a_run_of_two_processes_survives_the_death_of_one_and_makes_the_steps_of_one_process(make_run: MakeRun) -> None:
    more = ("schedule.epochs=4", 'dataset.held_out=["0.png", "2.png", "6.png"]')
    whole, run = make_run(*ONE, *more), make_run(*TWO, *more)
    train(whole, every_step)
    launch(run)
    wait_for(run, "checkpoint_written")
    os.kill(follower_of(events(run, "trainer_started")[-1].fields["pid"]), signal.SIGKILL)
    wait_for(run, "run_finished")
    assert events(run, "trainer_ended")[0].fields["signal"] == signal.SIGKILL
    assert [event.fields["attempt"] for event in events(run, "trainer_started")] == [1, 2]
    assert events(run, "run_finished")[0].fields["status"] == "done"
    started = events(run, "run_started")
    assert [event.fields["processes"] for event in started] == [2, 2]
    assert started[1].fields["resumed_step"] > 0
    assert started[0].fields["optimizer_steps"] == events(whole, "run_started")[0].fields["optimizer_steps"]
    assert_same_steps(run, whole)
    assert_same_held_out(run, whole)
    assert len(events(run, "output_written")) == len(events(whole, "output_written"))  # one process writes
    assert (run.log / "trainer-1.log").is_file()


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(("memory.plan=swapped", "memory.quantise=int8", "training.ema_decay=0.9"), marks=pytest.mark.long),
        pytest.param(("memory.plan=checkpointing", "training.train_text_encoder=true"), marks=pytest.mark.long),
        pytest.param(("memory.quantise=fp8", "dataset.class_images=3"), marks=pytest.mark.long),
    ],
)
def test_two_processes_make_the_steps_of_one_on_any_memory_plan(make_run: MakeRun, plan: tuple[str, ...]) -> None:
    whole, run = make_run(*ONE, *plan, "training.precision=auto"), make_run(*TWO, *plan, "training.precision=auto")
    train(whole, every_step)
    assert process(run).wait(120) == ExitCode.DONE
    assert_same_steps(run, whole)


@pytest.mark.long
def test_a_stop_ends_both_at_one_step_and_one_process_can_go_on(make_run: MakeRun) -> None:
    whole, run = make_run(*ONE, "schedule.epochs=3"), make_run(*TWO, "schedule.epochs=3")
    train(whole, every_step)
    running = process(run)
    wait_for(run, "step")
    control.send(run, "stop")
    assert running.wait(60) == ExitCode.TERMINATED
    saved = events(run, "checkpoint_written")[-1].fields
    assert (saved["reason"], events(run, "command_acknowledged")[-1].fields["ok"]) == ("stopping", True)
    assert train(run, every_step) == ExitCode.DONE
    assert "processes 2 then and 1 now" in events(run, "warning")[-1].fields["message"]
    assert_same_steps(run, whole)


@pytest.mark.long
def test_sigterm_saves_first_and_a_kill_leaves_nobody_behind(make_run: MakeRun) -> None:
    run = make_run(*TWO, "schedule.epochs=50")
    running = process(run)
    wait_for(run, "step")
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == ExitCode.TERMINATED
    assert events(run, "checkpoint_written")[-1].fields["reason"] == "stopping"

    again = process(run)
    wait_for(run, "run_started", 2)
    follower = os.pidfd_open(follower_of(again.pid))
    again.kill()
    assert select.select([follower], [], [], 30)[0]  # it is dead
    os.close(follower)


def failure(rank: int, exitcode: int, said: str = "", at: int = 0) -> ProcessFailure:
    """As torch reports a process; `said` is what it left in its error file."""
    found = ProcessFailure(rank, 1, exitcode, "")
    found.timestamp = at
    if said:
        found.error_file_data = {"message": {"message": said, "extraInfo": {"timestamp": str(at), "remedy": "Wait."}}}
    return found


ALONE, ENDED = together.LEFT_ALONE, -signal.SIGTERM


@pytest.mark.parametrize(
    ("failures", "code", "said"),
    [
        ([], ExitCode.DONE, None),
        ([failure(0, ExitCode.PAUSED)], ExitCode.PAUSED, None),
        ([failure(0, ExitCode.DISK), failure(1, ENDED)], ExitCode.DISK, None),
        ([failure(0, ExitCode.NOT_FINITE), failure(1, ExitCode.NOT_FINITE, "The loss.")], ExitCode.NOT_FINITE, None),
        ([failure(0, ALONE), failure(1, ExitCode.OUT_OF_MEMORY, "No room.", at=9)], ExitCode.OUT_OF_MEMORY, "No room."),
        ([failure(0, -signal.SIGKILL, at=9), failure(1, ExitCode.DISK, "It is full.")], ExitCode.DISK, "It is full."),
        ([failure(1, ALONE), failure(0, ENDED, at=1)], ExitCode.CRASHED, "The processes of this run lost each other."),
    ],
)
def test_the_cause_of_an_end_is_told_from_its_consequences(
    make_run: MakeRun, failures: list[ProcessFailure], code: ExitCode, said: str | None
) -> None:
    run = make_run(*TWO)
    assert together._end_as(run, {one.local_rank: one for one in failures}) == code
    assert [(event.fields["exit_code"], event.fields["message"]) for event in events(run, "run_failed_with")] == (
        [(code, said)] if said else []
    )


def test_the_process_that_starts_the_others_writes_nothing_once_another_has_the_run(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(*TWO)
    mine = fence.take(run.path, "this-box")
    monkeypatch.setenv(fence.VARIABLE, fence.to_environment(mine)[fence.VARIABLE])
    mine.close()
    fence.take(run.path, "another-box").close()
    assert together._end_as(run, {1: failure(1, ExitCode.DISK, "It is full.")}) == ExitCode.DISK
    assert events(run, "run_failed_with") == []


def test_an_error_of_a_follower_is_left_where_torch_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    together.leave_words(ExitCode.DATASET, "An image is missing.", "Restore it.")
    found = ProcessFailure(1, 1, int(ExitCode.DATASET), str(tmp_path / "error.json"))
    assert together._words_of(found) == ("An image is missing.", "Restore it.")


@pytest.mark.parametrize("following", ["partial", ""])
def test_a_memory_plan_that_failed_in_a_follower_is_reported_for_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, following: str
) -> None:
    run = make_run(*TWO)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(run.path / "error.json"))
    told = {"way": "kept", "plan": "gpu-bf16-kept", "next": following, "message": "CUDA out of memory"}
    together.leave_words(ExitCode.OUT_OF_MEMORY, "No plan is left.", "Use another card.", told)
    failed = ProcessFailure(1, 1, int(ExitCode.OUT_OF_MEMORY), str(run.path / "error.json"))
    assert together._end_as(run, {0: failure(0, ALONE), 1: failed}) == ExitCode.OUT_OF_MEMORY
    state = read_state(run)
    assert (state.failed_plans, state.next_plan) == (("kept",), following)
    assert [warning.code for warning in state.warnings] == ["memory_plan_failed"] * bool(following)
    assert [event.get("message") for event in events(run, "run_failed_with")] == ["No plan is left."] * (not following)


def test_more_processes_than_batches_in_a_step_are_refused(make_run: MakeRun) -> None:
    run = make_run(*TWO)
    with pytest.raises(UsageError, match="has 2 batches, too few for 3 processes"):
        read_job(run, team=Team(World(0, 3)))


def test_processes_that_would_compute_in_different_formats_are_refused(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = make_run(*TWO), {"least": -1.0}
    read_job(run, team=Team(World(1, 2)))  # all alike
    monkeypatch.setattr(Team, "_exchange", lambda _self, value, how: min(value, other[how]) if how == "least" else value)
    with pytest.raises(UsageError, match="GPUs of this run are of different kinds: here the memory plan is cpu-fp32"):
        read_job(run, team=Team(World(1, 2)))


def test_a_run_on_gpus_is_shared_by_those_that_are_here(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, on_cpu = make_run(*TWO, "training.processes=3"), make_run(*TWO)
    run.effective.write_text(run.effective.read_text().replace('device = "cpu"', 'device = "auto"'))
    for cards, expected in ((("GPU-a", "GPU-b"), 2), (("GPU-a",), 1), ((), 1), (("GPU-a",) * 4, 3)):
        monkeypatch.setattr(together, "accelerator", lambda cards=cards: Accelerator(together=cards))
        assert together.processes_here(run) == expected
        assert together.processes_here(on_cpu) == 2


def test_each_process_sees_its_own_card_alone(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, on_cpu = make_run(*TWO), make_run(*TWO)
    run.effective.write_text(run.effective.read_text().replace('device = "cpu"', 'device = "auto"'))
    monkeypatch.setattr(together, "accelerator", lambda: Accelerator(together=("GPU-a", "GPU-b")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    together.see_own_card(on_cpu, World(1, 2, 1, 2))
    together.see_own_card(run, World(0, 2, 0, 1))  # on two machines
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    together.see_own_card(run, World(3, 4, 1, 2))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    with pytest.raises(UsageError, match="the machine has 2 GPUs"):
        together.see_own_card(run, World(2, 3, 2, 3))


def test_a_process_chooses_its_card_before_anything_can_ask_cuda() -> None:
    """CUDA reads CUDA_VISIBLE_DEVICES once, and bitsandbytes asks for cards while it is imported."""
    script = (
        "import contextlib, sys\n"
        "from types import SimpleNamespace as Any\n"
        "from loratui.engine.training import __main__ as trainer\n"
        "trainer.together.see_own_card = lambda *_: sys.exit(3 if 'torch' in sys.modules else 4)\n"
        "trainer._work(None, 'train', Any(phase=lambda *_: None), Any(at_once=contextlib.nullcontext), trainer.ALONE)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 4


def test_a_run_that_torchrun_trains_holds_its_lock(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(*TWO)
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "8",
    }.items():
        monkeypatch.setenv(name, value)
    assert together.own_world() == World(9, 16, 1, 8)
    control.send(run, "stop")
    held = together.hold(run, World(0, 16, 0, 8))
    assert held is not None
    assert lock.is_held(run.lock)
    owner = lock.read_owner(run.lock)
    assert owner is not None
    assert owner.trainer.pid == os.getpid()
    assert not control.pending(run)
    held.release()


@pytest.mark.parametrize(
    ("code", "tries", "returned", "status"),
    [
        (ExitCode.DONE, "0", 0, "done"),
        (ExitCode.PAUSED, "0", 0, "paused"),  # torchrun would start it again after 10
        (ExitCode.TERMINATED, "0", 0, "stopped"),
        (ExitCode.DISK, "0", 20, "failed"),
        (ExitCode.GPU_LOST, "0", 33, ""),
        (ExitCode.GPU_LOST, "3", 33, "failed"),
        (together.LEFT_ALONE, "2", 75, ""),
        (together.LEFT_ALONE, "3", 75, "failed"),
    ],
)
def test_a_run_that_torchrun_trains_has_a_last_word_and_what_was_chosen_follows(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, code: int, tries: str, returned: int, status: str
) -> None:
    run, begun = make_run(*TWO), list[str]()
    monkeypatch.setattr(together.when_finished, "start", lambda run, _: begun.append(read_state(run).ending.status))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", tries)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    held = together.hold(run, World(0, 16, 0, 8))
    assert held is not None
    with EventLog.open(run.events) as log:
        log.append("run_started", optimizer_steps=9)
        log.append("step", step=3, image_step=3, epoch=1, loss=0.1)
    assert together.finish(run, held, code) == returned
    state = read_state(run)
    assert (state.ending.status if state.ending else "") == status
    assert begun == ([status] if status else [])
    assert together.has_ended(run) == (returned == 0), "then the others end well too"
    held.release()


def test_processes_that_would_not_find_each_other_again_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the store that torchrun shares, torch 2.13 waits for the addresses of the processes before, for as long as it may."""
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(UsageError, match=r"TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        joined(World(1, 2))


def test_of_a_run_that_was_taken_over_the_older_writer_says_no_last_word(make_run: MakeRun) -> None:
    run = make_run(*TWO)
    held = together.hold(run, World(0, 16, 0, 8))
    assert held is not None
    fence.take(run.path, "another-box").close()
    assert held.fence is not None
    durable.guards[run.path] = held.fence.check  # in this process the newer one had taken its place
    assert together.finish(run, held, int(ExitCode.USAGE)) == 2
    assert read_state(run).ending is None
    held.release()
