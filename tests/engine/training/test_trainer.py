"""Real small runs: steps as planned, equal bit for bit, and nothing else touched."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeRun, after_loading, events, every_step, losses, same, train, weights

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import DatasetError, ExitCode, NotFiniteError, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.checkpoint import Checkpoint
from loratui.engine.training.setup import read_job
from loratui.engine.training.trainer import Trainer
from loratui.presets.bases import demo_dataset

# ---- the plan is what happens


NO_SAMPLES = "samples.every_image_steps=100000"
"""For runs whose samples nobody looks at: they cost as much as the steps."""


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_the_plan_counts_the_steps_that_are_made(make_run: MakeRun, batch: int, accumulation: int) -> None:
    from loratui.engine.planning.prepare import prepare

    run = make_run(
        f"training.batch_size={batch}", f"training.accumulation={accumulation}", "adapter.targets=attention", NO_SAMPLES
    )
    plan = prepare(read_recipe(run.recipe), run.path).plan
    assert train(run) == ExitCode.DONE
    finished = events(run, "epoch_finished")[-1]
    assert finished.fields["step"] == plan.optimizer_steps
    assert finished.fields["image_step"] == plan.image_steps
    started = events(run, "run_started")[0].fields
    assert (started["optimizer_steps"], started["image_steps"]) == (plan.optimizer_steps, plan.image_steps)
    assert (started["steps_per_epoch"], started["epochs"]) == (plan.steps_per_epoch, plan.epochs)


def losses_of(trainer: Trainer, batch: tuple[int, ...], micro_step: int) -> torch.Tensor:
    """(B,) weighted losses of the images with these numbers, as batch number `micro_step` of the run."""
    loss = trainer.steps.diffusion_loss
    return loss.compute(loss.prepare(batch, micro_step, len(batch)))


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
    state = read_state(run)
    assert (state.step, state.optimizer_steps, state.output) == (14, 14, "output/qxz.safetensors")


def test_frozen_weights_stay_as_they_are_and_the_loss_falls(make_run: MakeRun) -> None:
    run = make_run(
        "schedule.epochs=6", "optimizer.learning_rate=0.01", "optimizer.scheduler=constant", "training.seed=3", NO_SAMPLES
    )
    seen: dict[str, object] = {}

    def spy(trainer: Trainer) -> None:
        load = trainer._load

        def loaded(stored: Checkpoint | None) -> None:
            load(stored)
            own = {id(p) for p in trainer.loaded.adapter.parameters.values()}
            seen["frozen"] = {n: p.clone() for n, p in trainer.loaded.model.denoiser.named_parameters() if id(p) not in own}
            seen["model"] = trainer.loaded.model.denoiser

        trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces

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


@pytest.mark.parametrize("accumulation", [1, 3])
def test_row_11_the_learning_rate_counts_optimizer_steps_and_not_batches(make_run: MakeRun, accumulation: int) -> None:
    course = ("optimizer.scheduler=cosine", "optimizer.learning_rate=0.01", "optimizer.warmup=0", "adapter.targets=attention")
    run = make_run(f"training.accumulation={accumulation}", "training.batch_size=1", *course)
    train(run, every_step)
    rates = [e.fields["lr"] for e in events(run, "step")]
    steps = 2 * math.ceil(14 / accumulation)
    assert rates == pytest.approx([0.005 * (1 + math.cos(math.pi * k / steps)) for k in range(steps)])


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
    first, second = make_run(NO_SAMPLES), make_run("samples.every_image_steps=3", "samples.before_training=true")
    train(first, every_step)
    train(second, every_step)
    assert losses(first) == losses(second)
    assert len(losses(first)) == 14
    assert same(weights(first), weights(second))
    third = make_run("training.seed=43", NO_SAMPLES)
    train(third, every_step)
    assert losses(third) != losses(first)


@pytest.mark.parametrize(("batch_size", "batches", "shortest"), [(1, [3, 3, 1], 1), (2, [3, 1], 1)])
def test_rows_9_and_10_the_mean_is_exact_even_in_short_windows_and_short_batches(
    make_run: MakeRun, batch_size: int, batches: list[int], shortest: int
) -> None:
    """One window of three batches is one batch of all their images; five images of a size make a short one of two."""
    small = ("training.accumulation=3", "schedule.repeats=1", "schedule.epochs=1")
    one_window = make_run(f"training.batch_size={batch_size}", *small)
    gradients: list[dict[str, torch.Tensor]] = []
    windows: list[tuple[tuple[int, ...], ...]] = []

    def spy(trainer: Trainer) -> None:
        make = trainer.steps.make

        def made(window, following=None) -> None:  # type: ignore[no-untyped-def]
            losses = [losses_of(trainer, batch, window.before.micro_step + micro) for micro, batch in enumerate(window.batches)]
            tensors = trainer.loaded.adapter.parameters
            found = torch.autograd.grad(torch.cat(losses).sum() / window.images, list(tensors.values()))
            gradients.append(dict(zip(tensors, found, strict=True)))
            windows.append(window.batches)
            make(window, following)

        trainer.steps.make = made  # type: ignore[method-assign]  # what this test replaces

    def look(trainer: Trainer) -> None:
        every_step(trainer)
        after_loading(trainer, lambda: spy(trainer))

    assert train(one_window, look) == ExitCode.DONE
    assert [len(w) for w in windows] == batches
    assert min(len(batch) for window in windows for batch in window) == shortest
    assert sum(len(batch) for window in windows for batch in window) == 7
    steps = events(one_window, "step")
    for event, gradient in zip(steps, gradients, strict=True):
        norm = torch.stack([g.norm() for g in gradient.values()]).norm().item()
        assert event.fields["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_regularisation_has_its_own_weight(make_run: MakeRun) -> None:
    values = {}
    for weight in ("1.0", "0.25"):

        def spy(trainer: Trainer, weight: str = weight) -> None:
            load = trainer._load

            def loaded(stored: Checkpoint | None) -> None:
                load(stored)
                entries = tuple(replace(e, regularisation=i == 1) for i, e in enumerate(trainer.entries))
                trainer.steps.diffusion_loss._entries = entries
                with torch.no_grad():
                    values[weight] = losses_of(trainer, (0, 1), 0)

            trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces

        train(make_run(f"training.prior_weight={weight}", "schedule.epochs=1"), spy)
    assert values["1.0"][0] == values["0.25"][0]
    assert values["0.25"][1] == pytest.approx(0.25 * values["1.0"][1].item())


def test_latents_are_drawn_anew_from_the_vaes_distribution(make_run: MakeRun) -> None:
    inputs: list[torch.Tensor] = []

    def spy(trainer: Trainer) -> None:
        load = trainer._load

        def loaded(stored: Checkpoint | None) -> None:
            load(stored)
            add_noise = trainer.loaded.model.add_noise

            def seen(latents, noise, uniform):  # type: ignore[no-untyped-def]
                inputs.append(latents)
                return add_noise(latents, noise, uniform)

            trainer.loaded.model.add_noise = seen  # type: ignore[method-assign]  # what this test replaces
            with torch.no_grad():
                losses_of(trainer, (0,), 0)
                losses_of(trainer, (0,), 1)
                losses_of(trainer, (0,), 0)

        trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces

    train(make_run("schedule.epochs=1"), spy)
    assert not torch.equal(inputs[0], inputs[1])
    assert torch.equal(inputs[0], inputs[2])


def test_mirrored_images_are_encoded_anew(make_run: MakeRun) -> None:
    found: list[torch.Tensor] = []

    def spy(trainer: Trainer) -> None:
        load = trainer._load

        def loaded(stored: Checkpoint | None) -> None:
            load(stored)
            entry = trainer.entries[0]
            found.extend([trainer.loaded.latents.get(entry, False).mean, trainer.loaded.latents.get(entry, True).mean])

        trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces

    train(make_run("dataset.flip=true", "schedule.epochs=1"), spy)
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0].flip(-1), found[1]), "mirroring latents is not encoding the mirror image"


# ---- trouble


def test_a_sample_that_fails_does_not_end_the_training(make_run: MakeRun) -> None:
    run = make_run()

    def fail(trainer: Trainer) -> None:
        load = trainer._load

        def loaded(stored: Checkpoint | None) -> None:
            load(stored)

            def sample(plan, on_step):  # type: ignore[no-untyped-def]
                raise torch.OutOfMemoryError("CUDA out of memory")

            trainer.loaded.model.sample = sample  # type: ignore[method-assign]  # what this test replaces

        trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces

    assert train(run, fail) == ExitCode.DONE
    assert {e.fields["code"] for e in events(run, "warning")} == {"sample_failed"}


def test_a_changed_image_is_named(make_run: MakeRun, images: Path) -> None:
    run = make_run()
    (images / "3.png").write_bytes((images / "4.png").read_bytes())
    with pytest.raises(DatasetError, match=r"3\.png: changed"):
        train(run)
    (images / "3.png").unlink()
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


# ---- settings that reach the step


@pytest.mark.parametrize(("limit", "clipped"), [("0", False), ("0.0001", True)])
def test_gradients_are_clipped_to_the_norm_or_not_at_all(make_run: MakeRun, limit: str, clipped: bool) -> None:
    run = make_run(f"training.max_grad_norm={limit}", "adapter.targets=attention", "schedule.epochs=1")
    used: list[float] = []

    def spy(trainer: Trainer) -> None:
        def measure(*_: object) -> None:
            used.append(
                torch.stack([p.grad.norm() for p in trainer.loaded.adapter.parameters.values() if p.grad is not None])
                .norm()
                .item()
            )

        after_loading(trainer, lambda: trainer.steps.optimizer.register_step_pre_hook(measure))
        every_step(trainer)

    train(run, spy)
    told = [e.fields["grad_norm"] for e in events(run, "step")]
    assert min(told) > 0.0001, "the norm before clipping is told"
    assert used == pytest.approx([0.0001] * len(told) if clipped else told, rel=1e-3)


@pytest.mark.parametrize(("chance", "empty"), [("0.0", 0), ("1.0", 7)])
def test_captions_belong_to_their_images_and_are_dropped_as_often_as_wished(make_run: MakeRun, chance: str, empty: int) -> None:
    seen: list[str] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            conditioning = trainer.loaded.model.text_conditioning
            caption_of = {id(states.tensors): caption for caption, states in trainer.loaded.texts._known.items()}

            def conditioned(text):  # type: ignore[no-untyped-def]
                seen.extend(caption_of[id(one)] for one in text)
                return conditioning(text)

            trainer.loaded.model.text_conditioning = conditioned  # type: ignore[method-assign]  # what this test replaces
            with torch.no_grad():
                for batch in ((0, 1, 2, 3, 4), (5, 6)):
                    losses_of(trainer, batch, 0)
            trainer.loaded.model.text_conditioning = conditioning  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    run = make_run(f"dataset.caption_dropout={chance}", "adapter.targets=attention", "schedule.epochs=1")
    train(run, spy)
    assert seen.count("") == empty
    if not empty:
        assert seen == [entry.caption for entry in read_ledger(run.dataset).images]
        assert len(set(seen)) == 7


def test_half_of_the_images_are_mirrored_and_which_is_drawn_anew(make_run: MakeRun) -> None:
    chosen: list[bool] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            get = trainer.loaded.latents.get
            trainer.loaded.latents.get = lambda entry, flip=False: chosen.append(flip) or get(entry, flip)  # type: ignore
            with torch.no_grad():
                for micro_step in range(40):
                    losses_of(trainer, (0, 1), micro_step)

        after_loading(trainer, look)

    train(make_run("dataset.flip=true", "adapter.targets=attention", "schedule.epochs=1", NO_SAMPLES), spy)
    drawn = chosen[:80]
    assert 25 < sum(drawn) < 55
    assert drawn[:40] != drawn[40:]


def test_fewer_kept_activations_change_no_bit(make_run: MakeRun) -> None:
    passes: dict[str, int] = {}
    files = []
    for setting in ("on", "off"):

        def spy(trainer: Trainer, setting: str = setting) -> None:
            def count() -> None:
                passes[setting] = 0

                def seen(*_: object) -> None:
                    passes[setting] += 1

                trainer.loaded.model.denoiser.get_submodule("up_blocks.0.resnets.0.conv1").register_forward_pre_hook(seen)

            after_loading(trainer, count)

        run = make_run(
            f"memory.gradient_checkpointing={setting}", "adapter.dropout=0.3", "samples.steps=1", "schedule.epochs=1"
        )
        train(run, spy)
        files.append(weights(run))
    assert passes["on"] > passes["off"] > 0
    assert same(*files)


def test_a_base_in_bf16_trains_on_a_cpu_too(make_run: MakeRun) -> None:
    formats = set()

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            own = {id(p) for p in trainer.loaded.adapter.parameters.values()}
            formats.update((p.dtype, id(p) in own) for p in trainer.loaded.model.denoiser.parameters())

        after_loading(trainer, look)

    run = make_run("training.precision=bf16", "adapter.targets=sd-scripts+conv", "schedule.epochs=1")
    assert train(run, spy) == ExitCode.DONE
    assert formats == {(torch.bfloat16, False), (torch.float32, True)}
    assert not events(run, "warning")
    assert all(value.abs().max() > 0 for name, value in weights(run).items() if name.endswith("lora_up.weight"))


def test_a_checkpoint_of_another_optimizer_is_refused_and_other_surroundings_are_told(make_run: MakeRun) -> None:
    from loratui.engine.training.identity import check_identity, identity_of, surroundings_differ

    run = make_run()
    own = identity_of(read_job(run))
    check_identity(own, own)
    assert surroundings_differ(own, own) == ""
    with pytest.raises(UsageError, match="adamw8bit, which optimizer"):
        check_identity({**own, "optimizer_used": "adamw8bit"}, own)
    with pytest.raises(UsageError, match=r"dataset\.json"):
        check_identity({**own, "images": "0"}, own)
    with pytest.raises(UsageError, match=r"adapter\.alpha .* then and 4 now, training\.seed 1 then and"):
        check_identity({**own, "adapter": {**own["adapter"], "alpha": 1}, "training": {**own["training"], "seed": 1}}, own)
    older = {key: value for key, value in own["adapter"].items() if key != "alpha_ratio"}
    check_identity({**own, "adapter": older}, {**own, "adapter": {**own["adapter"], "alpha_ratio": 0.5}})
    del (newer := dict(own["training"]))["ema_decay"]
    check_identity({**own, "training": newer}, own)  # a setting that the program of then did not have
    other = {**own, "made_with": {**own["made_with"], "torch": "1.0"}}
    assert surroundings_differ(other, own) == f"torch 1.0 then and {torch.__version__} now"


def test_a_resume_among_other_programs_is_told(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.training import identity

    run = make_run("adapter.targets=attention", "schedule.epochs=1")
    train(run)
    assert not events(run, "warning")
    monkeypatch.setattr(identity, "version", lambda _: "99")
    assert train(run) == ExitCode.DONE
    assert [e.fields["code"] for e in events(run, "warning")] == ["other_surroundings"]


def test_a_base_that_no_real_step_has_read_is_read_before_the_first(make_run: MakeRun) -> None:
    """`loratui train` makes no real step before the start."""
    mistaken = make_run("base.check=on")  # random weights
    with pytest.raises(UsageError, match=r"base\.check"):
        train(mistaken)
    assert not events(mistaken, "step")
    assert not mistaken.base_readings.exists()  # a resume reads it again
    mistaken.base_readings.write_text("{}")  # the person went on from the check in the app
    assert train(mistaken) == ExitCode.DONE


def test_a_base_that_is_right_is_read_once(make_run: MakeRun) -> None:
    small = ("base.check=on", "base.model=embedded:sd15", "dataset.resolution=128", "schedule.image_steps=2", "samples.steps=1")
    run = make_run(*small, folder=demo_dataset())
    assert train(run) == ExitCode.DONE
    kept = json.loads(run.base_readings.read_text())
    assert (kept["format"], kept["mistaken"]) == (1, "")
    assert kept["readings"]["of_linear"] < 0.12
    assert len(events(run, "base_read")) == 1
