"""A recipe written for sd-scripts and read again is the same recipe, with the same steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.importing.as_sd_scripts import as_sd_scripts, to_toml
from loratui.engine.importing.result import import_settings
from loratui.engine.planning.recipe import Recipe, build_recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets import list_presets
from loratui.presets.schema import KEYS, get

PRESETS = [p.name for preset in list_presets() for p in (preset, *preset.variants.values())]
SAID_OTHERWISE = {
    "adapter.alpha", "adapter.alpha_ratio", "adapter.conv_alpha", "schedule.rule", "schedule.repeats", "schedule.epochs", "schedule.image_steps",
    "schedule.exposures", "schedule.folder_repeats", "optimizer.name", "optimizer.beta2", "training.precision", "output.name",
    "training.timestep_sampling", "base.clip_skip", "optimizer.text_encoder_learning_rate", "adapter.conv_rank", "dataset.caption_choice",
}  # fmt: skip
"""The same in other settings: alpha as a number, the rule as repeats and epochs, auto as what it stands for."""
IRRELEVANT = ("validation.", "when_finished.", "memory.", "samples.", "training.end_", "schedule.", "dataset.image", "dataset.subject",
              "adapter.rank_wanted", "output.", "training.stop", "base.check", "base.model")  # fmt: skip


def back_and_forth(recipe: Recipe, folder: Path, images: int = 20) -> tuple[Recipe, int, int, set[str]]:
    plan = plan_for_counts(recipe, images)
    written = as_sd_scripts(recipe, plan)
    (folder / "x.toml").write_text(to_toml({**written.training, "dataset_config": "x-dataset.toml"}, "x"))
    (folder / "x-dataset.toml").write_text(to_toml(written.dataset, "x"))
    found = import_settings(folder / "x.toml", images=images, family=recipe.settings.base.family)
    assert found.recipe is not None
    assert found.of("not_understood") == ()
    assert found.steps.theirs is not None
    return found.recipe, plan.optimizer_steps, found.steps.theirs, {key for key, _, _ in written.cannot}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back(name: str, tmp_path: Path) -> None:
    before = build_recipe(name, dataset=tmp_path, trigger="anafox", class_word="woman", base="/models/base.safetensors")
    after, ours, theirs, cannot = back_and_forth(before, tmp_path)
    assert theirs == ours
    assert after.settings.adapter.effective_alpha == pytest.approx(before.settings.adapter.effective_alpha)
    idle = {"dataset.bucket_min", "dataset.bucket_max"} if not before.settings.dataset.upscale else set()
    idle |= {"optimizer.cycles"} if before.settings.optimizer.scheduler != "cosine_with_restarts" else set()
    idle |= {"adapter.kind"} if before.settings.adapter.kind == "locon" else set()  # a LoRA whose targets have convolutions
    differing = {key for key in KEYS if get(after.settings, key) != get(before.settings, key)}
    assert {key for key in differing - SAID_OTHERWISE - cannot - idle if not key.startswith(IRRELEVANT)} == set()


def test_what_cannot_be_said_is_named(tmp_path: Path) -> None:
    changes = {"training.ema_decay": 0.99, "adapter.targets": "all", "training.high_noise_bias": 0.5, "adapter.dora": True}
    recipe = build_recipe("sdxl-person", dataset=tmp_path, trigger="anafox").with_changes(changes)
    assert back_and_forth(recipe, tmp_path)[3] == set(changes)


def test_a_rank_stabilised_alpha_is_said_as_a_larger_one(tmp_path: Path) -> None:
    recipe = build_recipe("sdxl-person", dataset=tmp_path, trigger="anafox")
    recipe = recipe.with_changes({"adapter.rank_stabilised": True, "adapter.rank": 16, "adapter.alpha": 8.0})
    assert back_and_forth(recipe, tmp_path)[0].settings.adapter.alpha == 32.0
