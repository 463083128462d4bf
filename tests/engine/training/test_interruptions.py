"""Runs that are killed, stopped, paused or out of disk at every point: nothing is lost and they go on bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import MakeRun, after_loading, after_step, events, every_step, losses, process, same, train, wait_for, weights

from loratui.engine.errors import DiskError, ExitCode, NotFiniteError
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training import checkpoint, sampler
from loratui.engine.training.__main__ import explain
from loratui.engine.training.control_queue import ControlQueue, Interrupted
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.lora_file import write as lora_file_write
from loratui.engine.training.trainer import Trainer

ONE_SAMPLE = ("samples.steps=1", 'samples.prompts=["a {subject}"]')
"""After each epoch."""


@pytest.mark.long  # `tests/faults/test_kills.py` kills runs in the default lane
def test_a_killed_run_goes_on_bit_for_bit(make_run: MakeRun) -> None:
    """Killed between checkpoints, then within the writing of one, then left to finish."""
    sets = (
        *ONE_SAMPLE,
        "schedule.epochs=3",
        "adapter.dropout=0.2",
        "dataset.caption_dropout=0.3",
        "training.noise_offset=0.05",
    )
    whole, broken = make_run(*sets), make_run(*sets)
    train(whole, every_step)

    first = process(broken)
    wait_for(broken, "checkpoint_written", 1)
    wait_for(broken, "step", 3)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    second = process(broken, LORATUI_FAILPOINT="checkpoint.manifest:2")
    assert second.wait(120) == -signal.SIGKILL
    assert [e.fields["resumed_step"] for e in events(broken, "run_started")][1] > 0

    assert train(broken, every_step) == ExitCode.DONE
    expected, found = losses(whole), losses(broken)
    assert found.items() <= expected.items()
    assert max(found) == max(expected) == 21
    assert same(weights(whole), weights(broken))
    assert [e.fields["loss"] for e in events(broken, "epoch_finished")][-1] == events(whole, "epoch_finished")[-1].fields[
        "loss"
    ]
    assert not [p for p in broken.checkpoints.iterdir() if p.name.startswith(".")]


@pytest.mark.long
def test_sigterm_saves_first_and_the_run_goes_on_bit_for_bit(make_run: MakeRun) -> None:
    sets = (*ONE_SAMPLE, "schedule.epochs=6", "adapter.targets=attention")
    whole, broken = make_run(*sets), make_run(*sets)
    train(whole)
    running = process(broken)
    wait_for(broken, "step")
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGHUP)
    assert running.wait(60) == ExitCode.TERMINATED
    assert time.monotonic() - asked < 20
    saved = events(broken, "checkpoint_written")[-1].fields
    assert saved["reason"] == "stopping"
    assert saved["step"] < 42
    assert train(broken) == ExitCode.DONE
    assert same(weights(whole), weights(broken))


def test_pause_ends_with_its_own_code_and_resume_goes_on(make_run: MakeRun) -> None:
    run, whole = make_run(), make_run()
    train(whole)

    def pause_at_step_3(trainer: Trainer) -> None:
        after_step(trainer, 3, lambda: control.send(run, "pause"))

    assert train(run, pause_at_step_3) == ExitCode.PAUSED
    answer = events(run, "command_acknowledged")[-1].fields
    assert (answer["command"], answer["ok"]) == ("pause", True)
    assert events(run, "checkpoint_written")[-1].fields["step"] == 3
    assert not list(run.control.iterdir())
    assert train(run) == ExitCode.DONE
    assert same(weights(whole), weights(run))


def test_commands_are_carried_out_and_acknowledged(make_run: MakeRun) -> None:
    run = make_run("samples.every_image_steps=100000")

    def ask(trainer: Trainer) -> None:
        after_step(trainer, 5, lambda: [control.send(run, command) for command in ("sample", "checkpoint")])

    train(run, ask)
    assert [(e.fields["command"], e.fields["ok"]) for e in events(run, "command_acknowledged")] == [
        ("sample", True),
        ("checkpoint", True),
    ]
    assert (run.samples / "step-000005" / "00.png").is_file()
    assert [e.fields["step"] for e in events(run, "checkpoint_written") if e.fields["reason"] == "asked"] == [5]


def test_stopping_within_a_sample_throws_the_sample_away(make_run: MakeRun) -> None:
    run = make_run("samples.steps=8")

    def stop_in_sample(trainer: Trainer) -> None:
        progress = trainer.report.progress

        def seen(done: int, total: int, text: str = "") -> None:
            progress(done, total, text)
            if text == "denoising steps" and done == 3:
                control.send(run, "stop")

        trainer.report.progress = seen  # type: ignore[method-assign]  # what this test replaces

    assert train(run, stop_in_sample) == ExitCode.TERMINATED
    assert not list(run.samples.rglob("*.png"))
    assert events(run, "checkpoint_written")[-1].fields["step"] == 7
    assert train(run) == ExitCode.DONE


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the trainer may catch it."""


SMALL = (*ONE_SAMPLE, "schedule.repeats=1", "adapter.targets=attention")
"""Two epochs of four steps, one sample each."""


@pytest.mark.parametrize(("product", "number"), [("lora", 1), ("samples", 1), ("lora", 2), ("samples", 2), ("lora", 3)])
@pytest.mark.parametrize("when", ["before it", "before it is told"])
def test_what_a_kill_prevented_after_the_checkpoint_is_made_by_the_resume(
    make_run: MakeRun, product: str, number: int, when: str
) -> None:
    """Killed at the LoRA file or samples of the first epoch, at those of the last step, or at the final file."""
    run = make_run(*SMALL)
    calls = []

    def kill_at(trainer: Trainer) -> None:
        set_up = trainer._set_up
        event = trainer.report.event

        def ready() -> None:
            set_up()
            method = {"lora": "_write_lora", "samples": "samples"}[product]
            make = getattr(trainer.artifacts, method)

            def made(*args: Any, **options: Any) -> Any:
                calls.append(1)
                if len(calls) == number and when == "before it":
                    raise Killed
                return make(*args, **options)

            setattr(trainer.artifacts, method, made)
            if product == "lora":  # the files of epochs are written beside the training
                trainer.artifacts.checkpoints.write_lora = made

        def told(type: str, **fields: Any) -> None:
            if type == {"lora": "output_written", "samples": "sample_written"}[product] and len(calls) == number:
                raise Killed
            event(type, **fields)

        trainer._set_up = ready  # type: ignore[method-assign]  # what this test replaces
        trainer.report.event = told  # type: ignore[method-assign]  # what this test replaces

    with pytest.raises(Killed):
        train(run, kill_at)
    assert train(run) == ExitCode.DONE
    outputs = [e.fields["path"] for e in events(run, "output_written")]
    assert outputs == [f"output/qxz{end}.safetensors" for end in ("-000004", "-000008", "")]
    assert all((run.path / path).is_file() for path in outputs)
    assert [e.fields["step"] for e in events(run, "sample_written")] == [4, 8]
    assert [e.fields["epoch"] for e in events(run, "output_written")] == [1, 2, 2]
    assert same(weights(run), load_file(run.output / "qxz-000008.safetensors"))


def test_a_run_that_is_done_makes_nothing_again(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    train(run)
    assert train(run) == ExitCode.DONE
    written = [e.fields["path"] for e in events(run, "output_written")]
    assert sorted(written) == sorted(set(written))
    assert [e.fields["step"] for e in events(run, "sample_written")] == [4, 8]
    state = events(run, "run_started")[-1].fields
    assert (state["resumed_step"], state["optimizer_steps"]) == (8, 8)
    file = run.samples / "step-000008" / "00.png"
    made = file.read_bytes()
    file.write_bytes(made[:-20] + b"x" + made[-19:])
    train(run)
    assert file.read_bytes() == made, "a damaged sample is not what was made"
    assert [e.fields["step"] for e in events(run, "sample_written")] == [4, 8, 8]


def send_in_sample(trainer: Trainer, run: RunDirectory, command: str, step: int) -> None:
    """Sends a command while the sample of a step is made."""
    progress = trainer.report.progress

    def seen(done: int, total: int, text: str = "") -> None:
        progress(done, total, text)
        if text == "denoising steps" and trainer.at.step == step:
            control.send(run, command)

    trainer.report.progress = seen  # type: ignore[method-assign]  # what this test replaces


def test_a_sample_that_a_stop_cut_off_is_made_by_the_resume(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    assert train(run, lambda trainer: send_in_sample(trainer, run, "stop", 4)) == ExitCode.TERMINATED
    with safe_open(run.output / "qxz-000004.safetensors", "pt") as file:
        assert file.metadata()["ss_epoch"] == "1"
    assert len(events(run, "output_written")) == 1
    assert train(run) == ExitCode.DONE
    assert [e.fields["step"] for e in events(run, "sample_written")] == [4, 8]


def test_a_stop_within_the_last_sample_still_finishes(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    assert train(run, lambda trainer: send_in_sample(trainer, run, "stop", 8)) == ExitCode.DONE
    assert (run.output / "qxz.safetensors").is_file()
    assert [(e.fields["ok"], e.fields["message"]) for e in events(run, "command_acknowledged")] == [(True, "The run is done.")]


def test_a_pause_that_comes_with_the_last_file_is_answered(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def pause_at_the_end(trainer: Trainer) -> None:
        phase = trainer.report.phase

        def seen(name: str, text: str) -> None:
            phase(name, text)
            if name == "finishing":
                control.send(run, "pause")
                control.send(run, "sample")

        trainer.report.phase = seen  # type: ignore[method-assign]  # what this test replaces

    assert train(run, pause_at_the_end) == ExitCode.DONE
    answers = {e.fields["command"]: e.fields["ok"] for e in events(run, "command_acknowledged")}
    assert answers == {"pause": True, "sample": False}
    assert not list(run.control.iterdir())


def test_a_sample_that_was_asked_for_and_then_stopped_is_refused_not_forgotten(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def ask(trainer: Trainer) -> None:
        after_step(trainer, 2, lambda: control.send(run, "sample"))
        send_in_sample(trainer, run, "pause", 2)

    assert train(run, ask) == ExitCode.PAUSED
    answers = {e.fields["command"]: e.fields["ok"] for e in events(run, "command_acknowledged")}
    assert answers == {"pause": True, "sample": False}
    assert not list(run.control.iterdir())


def test_a_stop_does_not_wait_for_the_end_of_a_long_window(make_run: MakeRun) -> None:
    sets = (*SMALL, "training.batch_size=1", "training.accumulation=3", "adapter.dropout=0.2")
    run, undisturbed = make_run(*sets), make_run(*sets)
    train(undisturbed)
    batches = []

    def stop_within(trainer: Trainer) -> None:
        def look() -> None:
            prepare = trainer.steps.diffusion_loss.prepare

            def prepared(batch: tuple[int, ...], micro_step: int, *other: Any) -> TrainingBatch:
                batches.append(micro_step)
                if micro_step == 4:  # the second batch of the second window
                    control.send(run, "stop")
                return prepare(batch, micro_step, *other)

            trainer.steps.diffusion_loss.prepare = prepared  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    assert train(run, stop_within) == ExitCode.TERMINATED
    assert batches == [0, 1, 2, 3, 4]
    assert events(run, "checkpoint_written")[-1].fields["step"] == 1
    assert train(run) == ExitCode.DONE
    assert same(weights(run), weights(undisturbed))
    means = [[e.fields["loss"] for e in events(r, "epoch_finished")] for r in (run, undisturbed)]
    assert means[0] == means[1]


def test_the_loss_of_an_epoch_is_the_mean_over_its_image_steps(make_run: MakeRun) -> None:
    run = make_run(*SMALL, "schedule.epochs=1")
    train(run, every_step)
    steps = [e.fields for e in events(run, "step")]
    images = [b["image_step"] - a for b, a in zip(steps, [0, *(s["image_step"] for s in steps)], strict=False)]
    assert set(images) == {1, 2}
    mean = sum(s["loss"] * n for s, n in zip(steps, images, strict=True)) / sum(images)
    assert events(run, "epoch_finished")[0].fields["loss"] == pytest.approx(mean, rel=1e-12)


# ---- before the first step


def test_a_pause_while_images_are_encoded_ends_there_and_keeps_what_is_encoded(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def pause(trainer: Trainer) -> None:
        progress = trainer.report.progress

        def seen(done: int, total: int, text: str = "") -> None:
            progress(done, total, text)
            if (text, done) == ("images", 3):
                control.send(run, "pause")

        trainer.report.progress = seen  # type: ignore[method-assign]  # what this test replaces

    with pytest.raises(Interrupted) as ended:
        train(run, pause)
    assert ended.value.exit_code == ExitCode.PAUSED
    encoded = {path: path.stat().st_mtime_ns for path in run.cache.glob("latents-*")}
    assert len(encoded) == 3
    assert not list(run.checkpoints.iterdir())
    control.clear(run)
    assert train(run) == ExitCode.DONE
    assert {path: path.stat().st_mtime_ns for path in encoded} == encoded


def test_sigterm_while_torch_is_imported_ends_at_once(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    running = process(run)
    wait_for(run, "phase_changed")
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == ExitCode.TERMINATED
    assert not events(run, "run_failed_with")
    assert not list(run.checkpoints.iterdir())


def test_sigterm_while_blocks_are_compiled_ends_there_and_saves_the_last_step(make_run: MakeRun) -> None:
    run = make_run(*SMALL)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]

    def end_while_compiling(trainer: Trainer) -> None:
        trainer.control.install()

        def compile_for_ever(*_: Any, **__: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("the compiling went on")

        def patch() -> None:
            compiling = trainer.steps.compiling
            compiling.is_due = lambda _: trainer.at.step == 3  # type: ignore[method-assign]  # what this test replaces
            compiling.compile = compile_for_ever  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, patch)

    try:
        assert train(run, end_while_compiling) == ExitCode.TERMINATED
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert run.checkpoint_steps() == [3]
    assert train(run) == ExitCode.DONE


@pytest.mark.parametrize("where", ["a step", pytest.param("a sample", marks=pytest.mark.long)])
def test_sigterm_within_what_takes_long_is_answered_within_seconds(make_run: MakeRun, where: str) -> None:
    """A step whose new shape is compiled, an image that the CPU decodes: neither asks whether the run must end."""
    sets = (*SMALL, "training.ema_decay=0.9")
    run, whole = make_run(*sets), make_run(*sets)
    train(whole)
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    asked = []

    def take_long(*_: Any, **__: Any) -> None:
        asked.append(time.monotonic())
        signal.raise_signal(signal.SIGTERM)
        while True:
            time.sleep(60)

    def patch(trainer: Trainer) -> None:
        trainer.control.install()
        if where == "a step":
            after_step(trainer, 3, lambda: setattr(trainer.steps.diffusion_loss, "compute", take_long))
        else:
            after_loading(trainer, lambda: setattr(trainer.loaded.model, "sample", take_long))

    try:
        assert train(run, patch) == ExitCode.TERMINATED
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert time.monotonic() - asked[0] < 4
    assert run.checkpoint_steps()[-1] == (3 if where == "a step" else 4)
    assert train(run) == ExitCode.DONE
    assert same(weights(run), weights(whole))


def as_safetensors_does() -> None:
    """SIGTERM strikes here, and becomes an error of the library."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException as error:
        raise ValueError("could not determine the shape of object type") from error


def test_what_a_library_makes_of_a_sigterm_is_no_error_of_the_run() -> None:
    """Safetensors said that the base could not be read."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    requests = ControlQueue()
    try:
        requests.install()
        with pytest.raises(ValueError, match="own"), requests.at_once():
            raise ValueError("an error of its own")
        with pytest.raises(Interrupted), requests.at_once():
            as_safetensors_does()
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def test_sigterm_strikes_at_once_only_where_nothing_is_lost() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    requests = ControlQueue()
    try:
        requests.install()
        with pytest.raises(Interrupted), requests.at_once():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        requests.acknowledge_ending("")
        assert requests.ending == ExitCode.TERMINATED
        later = ControlQueue()
        later.install()
        signal.raise_signal(signal.SIGTERM)
        assert later.ending == ExitCode.TERMINATED
        with pytest.raises(Interrupted), later.at_once():
            pytest.fail("what had been asked before the block must not wait for its end")
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def test_a_trainer_is_gone_once_all_is_saved_whatever_libraries_do_at_the_end(tmp_path: Path) -> None:
    """Python took 7 s to take compiled blocks apart."""
    code = "import atexit, runpy, threading; atexit.register(threading.Event().wait)\n"
    code += "runpy.run_module('loratui.engine.training', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, str(tmp_path / "gone")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == ExitCode.DISK
    assert "folder is gone" in ended.stderr


# ---- the disk


def test_a_log_that_cannot_be_opened_ends_with_the_code_for_disks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loratui.engine.training", str(tmp_path / "gone")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.DISK
    assert "Traceback" not in ended.stderr
    assert "folder is gone" in ended.stderr


def full_disk(path: Path, data: bytes, *, durable: bool = True) -> None:
    raise DiskError(f"Cannot write {path}: the disk is full.", "Free some space, then: loratui resume.")


@pytest.mark.parametrize("module", [checkpoint, lora_file_write])
def test_a_disk_that_is_full_at_a_checkpoint_or_file_ends_the_run_and_costs_nothing(
    make_run: MakeRun, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed)
    with pytest.raises(DiskError) as error, monkeypatch.context() as patched:
        train(run, lambda trainer: after_step(trainer, 8, lambda: patched.setattr(module, "write_file", full_disk)))
    code, message, remedy = explain(error.value)
    assert code == ExitCode.DISK
    assert "full" in message
    assert "resume" in remedy
    assert not [path for folder in (run.checkpoints, run.output) for path in folder.iterdir() if path.name.startswith(".")]
    assert train(run) == ExitCode.DONE
    assert same(weights(run), weights(undisturbed))
    assert [e.fields["path"] for e in events(run, "output_written")] == [
        f"output/qxz{end}.safetensors" for end in ("-000004", "-000008", "")
    ]


def test_a_disk_that_is_full_at_a_sample_costs_the_sample_alone(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(*SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(sampler, "write_file", full_disk)
        assert train(run) == ExitCode.DONE
    assert {e.fields["code"] for e in events(run, "warning")} == {"sample_failed"}
    assert "the disk is full" in events(run, "warning")[0].fields["message"]


def test_an_event_of_a_sample_that_the_disk_refuses_does_not_end_the_run(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def refuse(trainer: Trainer) -> None:
        append = trainer.report.log.append

        def appended(type: str, *, durable: bool = False, **fields: Any) -> int:
            if type == "sample_written" and durable:
                raise DiskError("Cannot write events.jsonl: the disk is full.")
            return append(type, durable=durable, **fields)

        trainer.report.log.append = appended  # type: ignore[method-assign]  # what this test replaces

    assert train(run, refuse) == ExitCode.DONE


@pytest.mark.parametrize("what", ["checkpoint", "file"])
def test_a_disk_that_gives_back_something_else_is_a_fault_of_the_disk(
    make_run: MakeRun, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(*SMALL)
    module = checkpoint if what == "checkpoint" else lora_file_write
    write = module.write_file

    def spoilt(path: Path, data: bytes, *, durable: bool = True) -> None:
        write(path, bytes(data[:-1]) + bytes([data[-1] ^ 1]), durable=durable)

    monkeypatch.setattr(module, "write_file", spoilt)
    with pytest.raises(DiskError, match="returned other data"):
        train(run)


# ---- numbers


def test_a_lora_that_is_not_finite_is_never_saved(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def poison(trainer: Trainer) -> None:
        def spoil() -> None:
            with torch.no_grad():
                list(trainer.loaded.adapter.parameters.values())[3].view(-1)[0] = float("nan")

        after_step(trainer, 8, spoil)

    with pytest.raises(NotFiniteError, match="step 8"):
        train(run, poison)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000004"]
    assert [path.name for path in run.output.iterdir()] == ["qxz-000004.safetensors"]


def test_a_gpu_that_is_lost_in_a_sample_is_not_taken_for_a_failed_sample(make_run: MakeRun) -> None:
    run = make_run(*SMALL)

    def lose(trainer: Trainer) -> None:
        def sample(*_: Any) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        after_loading(trainer, lambda: setattr(trainer.loaded.model, "sample", sample))

    with pytest.raises(RuntimeError, match="illegal memory access") as error:
        train(run, lose)
    assert explain(error.value)[0] == ExitCode.GPU_LOST


def test_windows_that_were_interrupted_leave_the_counts_alone(make_run: MakeRun) -> None:
    """The step after a resume has the learning rate and number that it would have had."""
    run, undisturbed = make_run(*SMALL), make_run(*SMALL)
    train(undisturbed, every_step)

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 3, lambda: control.send(run, "stop"))

    train(run, stop)
    train(run, every_step)
    told = [[(e.fields["step"], e.fields["lr"], e.fields["epoch"]) for e in events(r, "step")] for r in (run, undisturbed)]
    assert told[0] == told[1]
    assert losses(run) == losses(undisturbed)
