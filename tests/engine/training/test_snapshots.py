"""Checkpoints beside the training: it goes on while they are written, and nothing is told or lost too early."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from small_runs import MakeRun, after_step, events, every_step, losses, process, same, train, weights

from loratui.engine.errors import DiskError, ExitCode
from loratui.engine.machine.hardware import Ram
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training import checkpoint, checkpoints, snapshot
from loratui.engine.training.__main__ import explain
from loratui.engine.training.background import Background
from loratui.engine.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from loratui.engine.training.checkpoints import interval_s
from loratui.engine.training.snapshot import Buffer, Buffers, Packed, bytes_of, hardware, how_many
from loratui.engine.training.trainer import Trainer

SMALL = (
    "schedule.repeats=1",
    "adapter.targets=attention",
    "adapter.rank=2",
    "samples.steps=1",
    'samples.prompts=["a {subject}"]',
    "schedule.epochs=2",
)
LONG_S = 60.0


# ---- the copy


def tensors() -> dict[str, torch.Tensor]:
    return {
        "b": torch.arange(6, dtype=torch.uint8),
        "long name.lora_A": torch.randn(3, 5),
        "turned": torch.randn(4, 3).t(),
        "half": torch.randn(7).to(torch.bfloat16),
        "step": torch.tensor(3.0),
        "whole": torch.arange(5),
        "none": torch.empty(0, 4),
        "is": torch.tensor([True, False]),
    }


def test_a_snapshot_is_the_file_that_the_library_reads() -> None:
    meant = tensors()
    buffer = Buffer(torch.zeros(bytes_of(meant, meant), dtype=torch.uint8))
    packed = [Packed(meant, buffer.take), Packed(meant, buffer.take)]
    for one in (*packed, Packed(meant)):
        assert same(load(bytes(one.data)), meant)
        assert same(dict(one), meant)


def test_the_files_of_a_snapshot_lie_side_by_side() -> None:
    buffer = Buffer(torch.zeros(1000, dtype=torch.uint8))
    first, second = Packed({"a": torch.ones(9)}, buffer.take), Packed({"b": torch.zeros(9)}, buffer.take)
    assert same(load(bytes(first.data)), {"a": torch.ones(9)})
    assert same(load(bytes(second.data)), {"b": torch.zeros(9)})


def test_a_snapshot_does_not_change_with_what_it_was_taken_of() -> None:
    living = tensors()
    before = {name: value.clone() for name, value in living.items()}
    packed = Packed(living)
    for value in living.values():
        value.fill_(1)
    assert same(load(bytes(packed.data)), before)


def test_a_buffer_that_is_too_small_still_holds_everything() -> None:
    meant = tensors()
    buffer = Buffer(torch.zeros(600, dtype=torch.uint8))
    first, second = Packed({"a": torch.ones(9)}, buffer.take), Packed(meant, buffer.take)
    assert same(load(bytes(first.data)), {"a": torch.ones(9)})
    assert same(load(bytes(second.data)), meant)


@pytest.mark.parametrize(("free", "count"), [(0.0, 2), (4e9, 2), (3.9e9, 1), (2e9, 1), (1.9e9, 0)])
def test_the_buffers_leave_half_of_the_free_memory(free: float, count: int) -> None:
    assert how_many(10**9, free) == count


def test_a_buffer_comes_back_before_a_third_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "ram", lambda: Ram(8.0, 8.0, False))
    buffers = Buffers(1000, pinned=False)
    first, second = buffers.next(nullcontext()), buffers.next(nullcontext())
    assert first is not second
    threading.Timer(0.01, buffers.give_back, [first]).start()
    assert buffers.next(nullcontext()) is first


def test_who_waits_for_a_buffer_for_long_says_so_and_is_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "ram", lambda: Ram(8.0, 8.0, False))
    monkeypatch.setattr(snapshot, "_SOON_S", 0.01)
    buffers = Buffers(1000, pinned=False)
    first, _ = buffers.next(nullcontext()), buffers.next(nullcontext())
    said: list[str] = []

    @contextmanager
    def waiting() -> Iterator[None]:
        said.append("saving")
        buffers.give_back(first)
        yield
        said.append("training")

    assert buffers.next(waiting()) is first
    assert said == ["saving", "training"]


# ---- the thread


def test_each_error_beside_the_training_is_raised_once() -> None:
    background = Background("test")
    done: list[int] = []

    def fail() -> None:
        raise DiskError("full")

    background.start(fail)
    background.start(lambda: done.append(1))
    with pytest.raises(DiskError, match="full"):
        background.wait()
    assert done == [1]
    background.look()
    background.wait()
    background.start(fail)
    background.end()
    background.look()


@pytest.mark.parametrize(
    ("chosen", "stalled", "written", "due"),
    [
        (60, 0.0, 0.0, 60),
        (60, 0.04, 2.0, 58),
        (60, 0.04, 300.0, 30),
        (60, 2.0, 2.0, 200),
        (5, 2.0, 2.0, 5),
        (600, 0.0, 2.0, 600),
    ],
)
def test_the_interval_follows_from_the_cost_unless_a_person_chose_it(
    chosen: float, stalled: float, written: float, due: float
) -> None:
    assert interval_s(chosen, stalled, written) == pytest.approx(due)


# ---- in a run


class Held:
    """Holds every checkpoint of a run back until it may be written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may = threading.Event()
        self.began = threading.Event()
        monkeypatch.setattr(checkpoints, "save_checkpoint", self._save)

    def _save(self, run: RunDirectory, snapshot: Checkpoint) -> tuple[Path, int]:
        self.began.set()
        assert self.may.wait(LONG_S)
        return save_checkpoint(run, snapshot)


def test_steps_are_made_while_a_checkpoint_is_written_and_the_end_waits_for_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed, every_step)
    held, seen = Held(monkeypatch), []

    def look(trainer: Trainer) -> None:
        every_step(trainer)

        def look_and_let_go() -> None:
            assert held.began.wait(LONG_S)
            seen.append((run.checkpoint_steps(), events(run, "checkpoint_written"), list(run.output.iterdir())))
            held.may.set()

        after_step(trainer, 6, look_and_let_go)

    assert train(run, look) == ExitCode.DONE
    assert seen == [([], [], [])], "nothing is told or seen of it before it is on the disk"
    written = [(e.get("step"), e.get("reason")) for e in events(run, "checkpoint_written")]
    assert written == [(e.get("step"), e.get("reason")) for e in events(undisturbed, "checkpoint_written")]
    assert losses(run) == losses(undisturbed)
    assert same(weights(run), weights(undisturbed))
    for step in run.checkpoint_steps():
        mine, other = (load_checkpoint(each.checkpoint(step)) for each in (run, undisturbed))
        assert same(dict(mine.adapter), dict(other.adapter))
        assert same(dict(mine.optimizer), dict(other.optimizer))
        assert mine.position == other.position
    files = [{path.name: path.read_bytes() for path in each.output.iterdir()} for each in (run, undisturbed)]
    assert files[0].keys() == files[1].keys()
    saved = events(run, "checkpoint_written")[0]
    assert saved.get("stalled_s") <= saved.get("seconds")


def test_a_stop_waits_for_the_checkpoint_on_its_way_and_writes_its_own(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed)
    held = Held(monkeypatch)

    def stop(trainer: Trainer) -> None:
        def asked() -> None:
            control.send(run, "stop")
            threading.Timer(0.05, held.may.set).start()

        after_step(trainer, 6, asked)

    assert train(run, stop) == ExitCode.TERMINATED
    assert [(e.get("step"), e.get("reason")) for e in events(run, "checkpoint_written")] == [(4, "epoch"), (6, "stopping")]
    assert train(run) == ExitCode.DONE
    assert same(weights(run), weights(undisturbed))


def full_disk(*_: Any, **__: Any) -> None:
    raise DiskError("Cannot write: the disk is full.")


def test_an_error_of_the_writing_ends_the_run_before_its_next_step(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(*SMALL)
    monkeypatch.setattr(checkpoint, "write_file", full_disk)

    def look(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 5, lambda: [job.exception() for job in trainer.artifacts.checkpoints.background._jobs])

    with pytest.raises(DiskError, match="disk is full"):
        train(run, look)
    assert max(losses(run)) in (4, 5)
    assert not run.checkpoint_steps()
    assert not events(run, "checkpoint_written")
    assert not events(run, "output_written")


def test_on_a_lost_gpu_the_newest_snapshot_is_written_before_the_end(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed)
    held = Held(monkeypatch)

    def lose(trainer: Trainer) -> None:
        def lost() -> None:
            threading.Timer(0.05, held.may.set).start()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        after_step(trainer, 5, lost)

    with pytest.raises(RuntimeError, match="illegal memory access") as error:
        train(run, lose)
    assert explain(error.value)[0] == ExitCode.GPU_LOST
    assert run.checkpoint_steps() == [4]
    assert [e.get("step") for e in events(run, "checkpoint_written")] == [4]
    assert train(run) == ExitCode.DONE
    assert same(weights(run), weights(undisturbed))


def test_where_main_memory_is_short_the_training_waits(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed)
    monkeypatch.setattr(hardware, "ram", lambda: Ram(1e-6, 1e-6, False))
    saved: list[list[int]] = []
    assert train(run, lambda trainer: after_step(trainer, 5, lambda: saved.append(run.checkpoint_steps()))) == ExitCode.DONE
    assert saved == [[4]]
    assert [e.get("stalled_s") == e.get("seconds") for e in events(run, "checkpoint_written")] == [True, True]
    assert same(weights(run), weights(undisturbed))


POINTS = (
    *(
        "checkpoint.adapter.safetensors:2",
        "checkpoint.state.json:3",
        "publish.start:2",
        "publish.synced:3",
        "publish.renamed:2",
    ),
    *("publish.done:3", "remove.renamed:1", "remove.done:2"),
)
"""Where the thread is killed: each is hit by the checkpoint of a later epoch."""


@pytest.mark.long
def test_a_kill_while_a_checkpoint_is_written_loses_nothing_that_was_told(make_run: MakeRun) -> None:
    sets = (*SMALL, "schedule.epochs=5")
    whole = make_run(*sets)
    train(whole, every_step)
    for point in POINTS:
        run = make_run(*sets)
        assert process(run, LORATUI_FAILPOINT=point).wait(LONG_S) == -signal.SIGKILL, point
        told = max(e.get("step") for e in events(run, "checkpoint_written"))
        assert run.last_checkpoint_step() >= told, point
        assert train(run, every_step) == ExitCode.DONE
        assert events(run, "run_started")[1].get("resumed_step") >= told, point
        assert losses(run).items() <= losses(whole).items(), point
        assert same(weights(run), weights(whole)), point
        assert not [path for path in run.checkpoints.iterdir() if path.name.startswith(".")], point
