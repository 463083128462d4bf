"""Training the text encoders too: they learn at their own rate, samples see what they learnt, and a resume is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeRun, after_loading, after_step, events, every_step, losses, same, train, weights

from loratui.engine.errors import ExitCode
from loratui.engine.families.model import Model
from loratui.engine.runs import control
from loratui.engine.training.trainer import Trainer

FAMILIES = ("sd15", "sdxl", "flux")
FAMILY_SETS: dict[str, tuple[str, ...]] = {
    "sd15": (),
    "sdxl": ("base.family=sdxl", "base.clip_skip=2"),
    "flux": ("base.family=flux", "training.min_snr_gamma=0", "samples.guidance=3.5"),
}
TEXT_NAMES = {"sd15": {"te"}, "sdxl": {"te1", "te2"}, "flux": {"text"}}


@pytest.fixture(params=FAMILIES)
def make_text_run(
    request: pytest.FixtureRequest, make_run: MakeRun, base_folder: Path, sdxl_folder: Path, flux_folder: Path
) -> MakeRun:
    """Makes a run of either family that trains its text encoders."""
    folder = {"sd15": base_folder, "sdxl": sdxl_folder, "flux": flux_folder}[request.param]
    own = (*FAMILY_SETS[request.param], f"base.model={folder}", "training.train_text_encoder=true", "samples.steps=1")
    rates = ("optimizer.learning_rate=0.01", "optimizer.text_encoder_learning_rate=0.005")
    return lambda *more: make_run(*own, *rates, "adapter.targets=attention", *more)


def test_every_layer_of_the_text_encoders_learns_and_stands_in_the_file(make_text_run: MakeRun) -> None:
    kept: dict[str, Any] = {}

    def spy(trainer: Trainer) -> None:
        after_loading(trainer, lambda: kept.update(before=trainer.loaded.adapter.state(), trainer=trainer))

    run = make_text_run()
    assert train(run, spy) == ExitCode.DONE
    trainer: Trainer = kept["trainer"]
    after, before = trainer.loaded.adapter.state(), kept["before"]
    text = [name for name in after if name.startswith(("text_encoder.", "text_encoder_2."))]
    assert text
    assert all(not torch.equal(after[name], before[name]) for name in text)
    assert [group["base_lr"] for group in trainer.steps.optimizer.param_groups] == [0.01, 0.005]
    family = trainer.settings.base.family
    found = {key.split("_")[1] if key.startswith("lora_") else key.split("_")[0] for key in weights(run)}
    assert found >= TEXT_NAMES[family], sorted(found)


def test_samples_are_made_with_the_text_as_it_was_learnt(make_text_run: MakeRun) -> None:
    seen: list[torch.Tensor] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            family: Model = trainer.loaded.model
            sample = family.sample

            def sampled(plan: Any, on_step: Any) -> torch.Tensor:
                seen.append(
                    plan.prompt_embeds.tensors["pooled" if "pooled" in plan.prompt_embeds.tensors else "states"].clone()
                )
                assert not any(value.requires_grad for value in plan.prompt_embeds.tensors.values())
                return sample(plan, on_step)

            family.sample = sampled  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    train(make_text_run("samples.before_training=true", 'samples.prompts=["a {subject}"]'), spy)
    assert len(seen) == 3
    assert not torch.allclose(seen[0], seen[1])
    assert not torch.allclose(seen[1], seen[2])


def test_a_resume_is_exact(make_text_run: MakeRun) -> None:
    sets = (
        "dataset.shuffle_captions=true",
        "dataset.caption_dropout=0.3",
        "samples.steps=1",
        'samples.prompts=["a {subject}"]',
    )
    run, undisturbed = make_text_run(*sets), make_text_run(*sets)

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 4, lambda: control.send(run, "stop"))

    assert train(undisturbed, every_step) == ExitCode.DONE
    assert train(run, stop) == ExitCode.TERMINATED
    assert train(run, every_step) == ExitCode.DONE
    assert losses(run) == losses(undisturbed)
    assert same(weights(run), weights(undisturbed))


def test_without_it_no_text_encoder_is_touched(make_run: MakeRun) -> None:
    run = make_run("adapter.targets=attention", "samples.steps=1")
    train(run)
    assert not any("_te" in key for key in load_file(run.output / "qxz.safetensors"))


def test_new_prompts_leave_the_encoders_that_are_trained_as_they_are(make_text_run: MakeRun) -> None:
    sets = ("schedule.epochs=1", "training.precision=fp32")
    usual, changed = make_text_run(*sets), make_text_run(*sets)
    assert train(usual) == ExitCode.DONE
    assert (
        train(changed, lambda t: after_step(t, 2, lambda: control.send(changed, "set_samples", prompts=["new"])))
        == ExitCode.DONE
    )
    assert [event.get("ok") for event in events(changed, "command_acknowledged")] == [True]
    assert same(weights(usual), weights(changed))
