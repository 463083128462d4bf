"""Real small runs: steps as planned, exact after every kind of interruption, and nothing else touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import DatasetError, ExitCode, NotFiniteError, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import control
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event, EventLog, read_events
from loratui.engine.runs.summary import StateWriter
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.requests import Requests
from loratui.engine.training.setup import read_job
from loratui.engine.training.trainer import Trainer

MakeRun = Callable[..., RunDirectory]


def train(run: RunDirectory, change: Callable[[Trainer], None] = lambda _: None) -> ExitCode:
    """Trains in this process; `change` may alter the trainer before it starts."""
    log = EventLog.open(run.events)
    report = Reporter(log, StateWriter(run))
    report._last_step = float("-inf")
    requests = Requests()
    requests.open(Inbox(run, log))
    trainer = Trainer(read_job(run), report, requests)
    change(trainer)
    try:
        return trainer.run()
    finally:
        report.close()
        log.close()


def events(run: RunDirectory, kind: str) -> list[Event]:
    return [e for e in read_events(run.events, max_bytes=1 << 24).events if e.type == kind]


def every_step(trainer: Trainer) -> None:
    """Writes every step into the log, however fast."""
    step = trainer.report.step
    trainer.report.step = lambda *, always, **fields: step(always=True, **fields)  # type: ignore[method-assign]


def losses(run: RunDirectory) -> dict[int, str]:
    """Loss of each step as it was last made, exact."""
    return {e.fields["step"]: float(e.fields["loss"]).hex() for e in events(run, "step")}


def weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(run.output / "qxz.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---- the plan is what happens


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_the_plan_counts_the_steps_that_are_made(make_run: MakeRun, batch: int, accumulation: int) -> None:
    from loratui.engine.planning.prepare import prepare

    run = make_run(f"training.batch_size={batch}", f"training.accumulation={accumulation}", "adapter.targets=attention")
    plan = prepare(read_recipe(run.recipe), run.path).plan
    assert train(run) == ExitCode.DONE
    finished = events(run, "epoch_finished")[-1]
    assert finished.fields["step"] == plan.optimizer_steps
    assert finished.fields["image_step"] == plan.image_steps
    started = events(run, "run_started")[0].fields
    assert (started["optimizer_steps"], started["image_steps"]) == (plan.optimizer_steps, plan.image_steps)
    assert (started["steps_per_epoch"], started["epochs"]) == (plan.steps_per_epoch, plan.epochs)


def test_a_whole_run_leaves_all_that_it_promises(make_run: MakeRun) -> None:
    run = make_run("samples.before_training=true")
    assert train(run) == ExitCode.DONE
    outputs = [e.fields for e in events(run, "output_written")]
    assert [o["path"] for o in outputs] == [
        "output/qxz-000007.safetensors",
        "output/qxz-000014.safetensors",
        "output/qxz.safetensors",
    ]
    assert [o["final"] for o in outputs] == [False, False, True]
    assert same(weights(run), load_file(run.output / "qxz-000014.safetensors"))
    assert not same(weights(run), load_file(run.output / "qxz-000007.safetensors"))
    samples = [e.fields["path"] for e in events(run, "sample_written")]
    assert sorted({Path(s).parent.name for s in samples}) == ["step-000000", "step-000007", "step-000014"]
    assert all((run.path / s).is_file() for s in samples)
    assert [path.name for path in sorted(run.checkpoints.iterdir())] == ["step-000007", "step-000014"]
    assert {p.stat().st_mode & 0o077 for p in run.path.rglob("*")} == {0}
    state = StateWriter(run).state
    assert (state.step, state.optimizer_steps, state.output) == (14, 14, "output/qxz.safetensors")


def test_frozen_weights_stay_as_they_are_and_the_loss_falls(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=6", "optimizer.learning_rate=0.01", "optimizer.scheduler=constant", "training.seed=3")
    seen: dict[str, object] = {}

    def spy(trainer: Trainer) -> None:
        load = trainer._load

        def loaded() -> None:
            load()
            own = {id(p) for p in trainer.parameters.values()}
            seen["frozen"] = {n: p.clone() for n, p in trainer.family.denoiser.named_parameters() if id(p) not in own}
            seen["model"] = trainer.family.denoiser

        trainer._load = loaded  # type: ignore[method-assign]

    assert train(run, spy) == ExitCode.DONE
    now = dict(seen["model"].named_parameters())  # type: ignore[attr-defined]
    assert all(torch.equal(value, now[name]) for name, value in seen["frozen"].items())  # type: ignore[attr-defined]
    means = [e.fields["loss"] for e in events(run, "epoch_finished")]
    assert sum(means[-2:]) < sum(means[:2])


def test_learning_rate_follows_the_plan(make_run: MakeRun) -> None:
    run = make_run("optimizer.warmup=0.285", "optimizer.scheduler=linear", "optimizer.learning_rate=0.1")
    train(run, every_step)
    rates = [e.fields["lr"] for e in events(run, "step")]
    assert len(rates) == 14
    assert rates[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert rates[4:] == pytest.approx([0.1 * (10 - k) / 10 for k in range(10)])
    assert min(rates) > 0


def test_a_total_cuts_the_last_epoch(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=1")
    text = run.effective.read_text()
    assert "image_steps = 0" in text
    run.effective.write_text(text.replace("image_steps = 0", "image_steps = 9"))
    train(run)
    assert events(run, "epoch_finished")[-1].fields["image_step"] == 9


def test_a_long_enough_run_is_remembered_for_the_next_estimate(make_run: MakeRun) -> None:
    from loratui.engine.planning.measured import read_all

    train(make_run("adapter.targets=attention"))
    assert read_all() == []
    train(make_run("adapter.targets=attention", "schedule.epochs=3"))
    (measured,) = read_all()
    assert (measured.gpu, measured.resolution, measured.batch_size) == ("cpu", 64, 2)
    assert 0 < measured.image_step_s < 10
    assert measured.peak_ram_gib is not None
    assert measured.peak_ram_gib > 0.1


# ---- what training must not depend on


def test_two_runs_are_equal_bit_for_bit_and_samples_change_nothing(make_run: MakeRun) -> None:
    first, second = make_run(), make_run("samples.every_image_steps=3", "samples.before_training=true")
    train(first, every_step)
    train(second, every_step)
    assert losses(first) == losses(second)
    assert len(losses(first)) == 14
    assert same(weights(first), weights(second))
    third = make_run("training.seed=43")
    train(third, every_step)
    assert losses(third) != losses(first)


def test_accumulation_has_the_exact_mean_even_in_a_short_window(make_run: MakeRun, pictures: Path) -> None:
    """One window of three batches of one picture is one batch of three pictures, the short last window included."""
    for name in ("5", "6"):  # the wide pictures, so that there is one bucket
        (pictures / f"{name}.png").unlink()
    one_window = make_run("training.batch_size=1", "training.accumulation=3", "schedule.repeats=1", "schedule.epochs=1")
    gradients: list[dict[str, torch.Tensor]] = []
    windows: list[tuple[tuple[int, ...], ...]] = []

    def spy(trainer: Trainer) -> None:
        step = trainer._step

        def stepped(window) -> None:  # type: ignore[no-untyped-def]
            expected = {}
            for micro, batch in enumerate(window.batches):
                (trainer._losses(batch, window.before.micro_step + micro).sum() / window.images).backward()
            expected = {n: p.grad.clone() for n, p in trainer.parameters.items()}
            trainer.optimizer.zero_grad()
            gradients.append(expected)
            windows.append(window.batches)
            step(window)

        trainer._step = stepped  # type: ignore[method-assign]

    assert train(one_window, spy) == ExitCode.DONE
    assert [len(w) for w in windows] == [3, 2]
    steps = events(one_window, "step")
    for event, gradient in zip(steps, gradients, strict=True):
        norm = torch.stack([g.norm() for g in gradient.values()]).norm().item()
        assert event.fields["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_regularisation_has_its_own_weight(make_run: MakeRun) -> None:
    values = {}
    for weight in ("1.0", "0.25"):

        def spy(trainer: Trainer, weight: str = weight) -> None:
            load = trainer._load

            def loaded() -> None:
                load()
                from dataclasses import replace

                trainer.entries = tuple(replace(e, regularisation=i == 1) for i, e in enumerate(trainer.entries))
                with torch.no_grad():
                    values[weight] = trainer._losses((0, 1), 0)

            trainer._load = loaded  # type: ignore[method-assign]

        train(make_run(f"training.prior_weight={weight}", "schedule.epochs=1"), spy)
    assert values["1.0"][0] == values["0.25"][0]
    assert values["0.25"][1] == pytest.approx(0.25 * values["1.0"][1].item())


def test_latents_are_drawn_anew_from_the_vaes_distribution(make_run: MakeRun) -> None:
    inputs: list[torch.Tensor] = []

    def spy(trainer: Trainer) -> None:
        load = trainer._load

        def loaded() -> None:
            load()
            add_noise = trainer.family.add_noise

            def seen(latents, noise, uniform):  # type: ignore[no-untyped-def]
                inputs.append(latents)
                return add_noise(latents, noise, uniform)

            trainer.family.add_noise = seen  # type: ignore[method-assign]
            with torch.no_grad():
                trainer._losses((0,), 0)
                trainer._losses((0,), 1)
                trainer._losses((0,), 0)

        trainer._load = loaded  # type: ignore[method-assign]

    train(make_run("schedule.epochs=1"), spy)
    assert not torch.equal(inputs[0], inputs[1])
    assert torch.equal(inputs[0], inputs[2])


def test_mirrored_pictures_are_encoded_anew(make_run: MakeRun) -> None:
    found: list[torch.Tensor] = []

    def spy(trainer: Trainer) -> None:
        load = trainer._load

        def loaded() -> None:
            load()
            entry = trainer.entries[0]
            found.extend([trainer.latents.get(entry, False).mean, trainer.latents.get(entry, True).mean])

        trainer._load = loaded  # type: ignore[method-assign]

    train(make_run("dataset.flip=true", "schedule.epochs=1"), spy)
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0].flip(-1), found[1]), "mirroring latents is not encoding the mirror image"


# ---- interruptions


def process(run: RunDirectory, **environment: str) -> subprocess.Popen[bytes]:
    """The real trainer process."""
    return subprocess.Popen(
        [sys.executable, "-m", "loratui.engine.training", str(run.path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(run: RunDirectory, kind: str, count: int = 1, limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while len(events(run, kind)) < count:
        assert time.monotonic() < end, f"no {kind}"
        time.sleep(0.01)


def test_a_killed_run_goes_on_bit_for_bit(make_run: MakeRun) -> None:
    """Killed between checkpoints, then within the writing of one, then left to finish."""
    sets = ("schedule.epochs=5", "adapter.dropout=0.2", "dataset.caption_dropout=0.3", "training.noise_offset=0.05")
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
    assert max(found) == max(expected) == 35
    assert same(weights(whole), weights(broken))
    assert [e.fields["loss"] for e in events(broken, "epoch_finished")][-1] == events(whole, "epoch_finished")[-1].fields[
        "loss"
    ]
    assert not [p for p in broken.checkpoints.iterdir() if p.name.startswith(".")]


def test_sigterm_saves_first_and_the_run_goes_on_bit_for_bit(make_run: MakeRun) -> None:
    sets = ("schedule.epochs=20", "adapter.targets=attention", "samples.steps=1")
    whole, broken = make_run(*sets), make_run(*sets)
    train(whole)
    running = process(broken)
    wait_for(broken, "step", 3)
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGHUP)
    assert running.wait(60) == ExitCode.TERMINATED
    assert time.monotonic() - asked < 20
    saved = events(broken, "checkpoint_written")[-1].fields
    assert saved["reason"] == "stopping"
    assert saved["step"] < 140
    assert train(broken) == ExitCode.DONE
    assert same(weights(whole), weights(broken))


def test_pause_ends_with_its_own_code_and_resume_goes_on(make_run: MakeRun) -> None:
    run, whole = make_run(), make_run()
    train(whole)

    def pause_at_step_3(trainer: Trainer) -> None:
        step = trainer._step

        def stepped(window) -> None:  # type: ignore[no-untyped-def]
            step(window)
            if window.after.step == 3:
                control.send(run, "pause")

        trainer._step = stepped  # type: ignore[method-assign]

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
        step = trainer._step

        def stepped(window) -> None:  # type: ignore[no-untyped-def]
            step(window)
            if window.after.step == 5:
                control.send(run, "sample")
                control.send(run, "checkpoint")

        trainer._step = stepped  # type: ignore[method-assign]

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
            if text == "samples" and done == 3:
                control.send(run, "stop")

        trainer.report.progress = seen  # type: ignore[method-assign]

    assert train(run, stop_in_sample) == ExitCode.TERMINATED
    assert not list(run.samples.rglob("*.png"))
    assert events(run, "checkpoint_written")[-1].fields["step"] == 7
    assert train(run) == ExitCode.DONE


# ---- trouble


def test_a_loss_that_is_not_finite_stops_before_the_step(make_run: MakeRun) -> None:
    run = make_run()

    def poison(trainer: Trainer) -> None:
        compute = trainer._losses

        def poisoned(batch: tuple[int, ...], micro_step: int) -> torch.Tensor:
            value = compute(batch, micro_step)
            return value * float("nan") if micro_step == 10 else value

        trainer._losses = poisoned  # type: ignore[method-assign]

    with pytest.raises(NotFiniteError, match=r"step 11 .* pictures: \d\.png"):
        train(run, poison)
    assert [e.fields["step"] for e in events(run, "checkpoint_written")] == [7]
    good = load_file(run.output / "qxz-000007.safetensors")
    assert all(torch.isfinite(value).all() for value in good.values())
    assert not (run.output / "qxz.safetensors").exists()


def test_a_gradient_that_is_not_finite_stops_before_the_step(make_run: MakeRun) -> None:
    run = make_run()

    def poison(trainer: Trainer) -> None:
        load = trainer._load

        def loaded() -> None:
            load()
            first = next(iter(trainer.parameters.values()))
            first.register_hook(lambda grad: grad * float("inf") if trainer.at.step == 4 else grad)

        trainer._load = loaded  # type: ignore[method-assign]

    with pytest.raises(NotFiniteError, match="gradient of step 5"):
        train(run, poison)


def test_a_sample_that_fails_does_not_end_the_training(make_run: MakeRun) -> None:
    run = make_run()

    def fail(trainer: Trainer) -> None:
        load = trainer._load

        def loaded() -> None:
            load()

            def sample(plan, on_step):  # type: ignore[no-untyped-def]
                raise torch.OutOfMemoryError("CUDA out of memory")

            trainer.family.sample = sample  # type: ignore[method-assign]

        trainer._load = loaded  # type: ignore[method-assign]

    assert train(run, fail) == ExitCode.DONE
    assert {e.fields["code"] for e in events(run, "warning")} == {"sample_failed"}


def test_a_changed_picture_is_named(make_run: MakeRun, pictures: Path) -> None:
    run = make_run()
    (pictures / "3.png").write_bytes((pictures / "4.png").read_bytes())
    with pytest.raises(DatasetError, match=r"3\.png: changed"):
        train(run)
    (pictures / "3.png").unlink()
    with pytest.raises(DatasetError, match=r"3\.png: No such file"):
        train(run)


def test_a_run_whose_rank_was_changed_does_not_go_on(make_run: MakeRun) -> None:
    run = make_run()
    train(run)
    run.effective.write_text(run.effective.read_text().replace("rank = 2", "rank = 3"))
    with pytest.raises(UsageError, match=r"adapter\.rank"):
        train(run)


def test_samples_may_be_changed_between_stop_and_resume(make_run: MakeRun) -> None:
    run = make_run()
    train(run)
    run.effective.write_text(run.effective.read_text().replace("steps = 2\n", "steps = 3\n"))
    assert train(run) == ExitCode.DONE


def test_the_cache_serves_a_second_start_and_notices_change(make_run: MakeRun) -> None:
    run = make_run()
    train(run)
    files = {p: p.stat().st_mtime_ns for p in run.cache.iterdir()}
    assert len([p for p in files if p.name.startswith("latents")]) == len(read_ledger(run.dataset).images)
    torn = next(p for p in files if p.name.startswith("latents"))
    torn.write_bytes(torn.read_bytes()[:100])
    train(run)
    changed = [p for p in run.cache.iterdir() if files.get(p) != p.stat().st_mtime_ns]
    assert changed == [torn]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), ExitCode.OUT_OF_MEMORY),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), ExitCode.GPU_LOST),
        (OSError(28, "No space left on device"), ExitCode.DISK),
        (NotFiniteError("x"), ExitCode.NOT_FINITE),
        (DatasetError("x"), ExitCode.DATASET),
        (RuntimeError("something else"), ExitCode.CRASHED),
    ],
)
def test_errors_end_with_their_code_and_words(error: Exception, code: ExitCode) -> None:
    from loratui.engine.training.__main__ import explain

    found, message, _ = explain(error)
    assert found == code
    assert message
