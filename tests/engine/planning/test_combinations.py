"""Settings that do nothing, or get into each other's way, are told to whom changed them, and to nobody else."""

from __future__ import annotations

import pytest

from loratui.engine.planning.combinations import CLASHES, IDLE
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets import list_presets
from loratui.presets.schema import KEYS


def words(preset: str, *sets: str) -> dict[str, str]:
    """The warnings of a plan by code; several of one code are joined."""
    found: dict[str, str] = {}
    for warning in plan_for_counts(build_recipe(preset, sets=sets), 18).warnings:
        found[warning.code] = f"{found.get(warning.code, '')}{warning.message} {warning.remedy} "
    return found


IDLE_CASES = [
    # key, value, other settings that leave it idle, settings that give it work
    ("optimizer.d_coef", "2", (), ("optimizer.name=prodigy",)),
    ("optimizer.d_coef", "2", ("optimizer.name=dadapt_adam",), ("optimizer.name=prodigy",)),
    ("optimizer.beta1", "0.8", ("optimizer.name=adafactor",), ("optimizer.name=lion",)),
    ("optimizer.beta2", "0.95", ("optimizer.name=adafactor",), ("optimizer.name=adamw_schedule_free",)),
    ("optimizer.cycles", "3", (), ("optimizer.scheduler=cosine_with_restarts",)),
    ("optimizer.text_encoder_learning_rate", "5e-5", (), ("training.train_text_encoder=true",)),
    ("training.huber_c", "0.2", (), ("training.loss=huber",)),
    ("training.huber_schedule", "snr", (), ("training.loss=huber",)),
    ("training.multires_noise_iterations", "1", (), ("training.multires_noise_iterations=2",)),
    ("training.multires_noise_discount", "0.4", (), ("training.multires_noise_iterations=6",)),
    ("training.scale_v_loss", "true", ("base.prediction=epsilon",), ("base.prediction=v",)),
    ("training.prior_weight", "0.5", (), ("dataset.class_images=20",)),
    ("adapter.conv_rank", "8", (), ("adapter.targets=sd-scripts+conv",)),
    ("adapter.conv_alpha", "8", (), ("adapter.targets=attention+conv",)),
    ("adapter.alpha_ratio", "0.5", ("adapter.alpha=8",), ("adapter.alpha=0",)),
    ("adapter.kind", "locon", (), ("adapter.targets=sd-scripts+conv",)),
    ("adapter.factor", "8", (), ("adapter.kind=lokr",)),
    ("adapter.decompose_both", "true", ("adapter.kind=loha",), ("adapter.kind=lokr",)),
    ("base.text_encoder_2", "/x.safetensors", (), ("base.family=sdxl",)),
    ("dataset.keep_tokens", "2", (), ("dataset.shuffle_captions=true",)),
    ("dataset.caption_variants", "3", (), ("dataset.shuffle_captions=true",)),
    ("dataset.mask_outside", "0.3", (), ("dataset.masks=folder",)),
    ("dataset.masks", "folder", ("dataset.mask_outside=1",), ("dataset.mask_outside=0.1",)),
    ("dataset.class_prompt", "a dog", (), ("dataset.class_images=20",)),
    ("dataset.bucket_min", "320", (), ("dataset.upscale=true",)),
    ("dataset.bucket_max", "1024", ("dataset.upscale=true", "dataset.buckets=false"), ("dataset.upscale=true",)),
    ("dataset.upscale", "true", ("dataset.buckets=false",), ("dataset.buckets=true",)),
    (
        "schedule.exposures",
        "120",
        ("schedule.rule=per_epoch", "schedule.epochs=6"),
        ("schedule.rule=per_epoch", "schedule.epochs=0"),
    ),
    ("schedule.exposures", "120", ("schedule.repeats=5", "schedule.epochs=5"), ("schedule.repeats=5",)),
    ("schedule.image_steps_per_epoch", "300", ("schedule.rule=exposures",), ("schedule.rule=per_epoch", "schedule.repeats=0")),
    (
        "schedule.image_steps_per_epoch",
        "300",
        ("schedule.rule=per_epoch", "schedule.repeats=5", "schedule.epochs=6"),
        ("schedule.rule=per_epoch", "schedule.repeats=0"),
    ),
    ("schedule.optimizer_steps_wanted", "900", (), ("schedule.rule=per_epoch_and_total",)),
    ("schedule.image_steps_extra", "50", (), ("schedule.rule=per_image_small_sets_more",)),
    ("schedule.small_below", "5", (), ("schedule.rule=per_image_small_sets_more",)),
    ("schedule.image_steps_below", "5000", (), ("schedule.rule=per_image_small_sets_more",)),
    ("schedule.halve_balanced", "true", (), ("schedule.rule=balanced_concepts",)),
]


@pytest.mark.parametrize(("key", "value", "beside", "working"), IDLE_CASES)
def test_a_setting_that_nothing_reads_is_told(key: str, value: str, beside: tuple[str, ...], working: tuple[str, ...]) -> None:
    said = words("demo", *beside, f"{key}={value}")["no_effect"]
    assert f"{key} " in said
    assert "no effect" in said
    assert f"{key} " not in words("demo", f"{key}={value}", *working).get("no_effect", "")


@pytest.mark.parametrize(
    ("key", "value", "beside", "working"), [case for case in IDLE_CASES if case[0].startswith("schedule.")]
)
def test_what_is_said_of_a_schedule_is_true(key: str, value: str, beside: tuple[str, ...], working: tuple[str, ...]) -> None:
    del working

    def amount(*sets: str) -> tuple[int, int, int]:
        plan = plan_for_counts(build_recipe("demo", sets=sets), 0, (18, 6))
        return plan.repeats, plan.epochs, plan.image_steps

    assert amount(*beside, f"{key}={value}") == amount(*beside)


def test_every_row_of_the_table_is_tried_and_is_about_settings_that_are() -> None:
    rows = {key for _, keys, _, fix in IDLE for key in keys}
    assert rows <= KEYS.keys()
    assert {key for _, keys, _, fix in CLASHES for key in (*keys, *fix)} <= KEYS.keys()
    assert rows - {key for key, *_ in IDLE_CASES} == {"base.clip_skip"}


def test_clip_skip_2_says_that_sdxl_has_it_in_any_case() -> None:
    assert "base.clip_skip 2 has no effect" in words("sdxl-person", "base.clip_skip=2")["no_effect"]
    assert "no_effect" not in words("sd15-portrait", "base.clip_skip=2")


def test_several_settings_of_one_row_share_a_word() -> None:
    said = words("demo", "optimizer.name=adafactor", "beta1=0.8", "beta2=0.95")["no_effect"]
    assert "optimizer.beta1 0.8 and optimizer.beta2 0.95 have no effect" in said


def test_what_a_preset_has_and_what_is_back_at_its_default_gets_no_word() -> None:
    for preset in (p.name for p in list_presets() if p.shipped):
        found = words(preset)
        assert not found.keys() & ({"no_effect"} | {code for code, *_ in CLASHES}), preset
    # The preset has a beta2 of its own; its default is no choice that could be lost.
    assert "no_effect" not in words("sd15-character", "optimizer.name=adafactor", "optimizer.beta2=0")


@pytest.mark.parametrize(
    ("code", "sets", "fix"),
    [
        ("two_averages", ("optimizer.name=adamw_schedule_free", "training.ema_decay=0.99"), "training.ema_decay=0"),
        ("schedule_for_schedule_free", ("optimizer.name=adamw_schedule_free",), "optimizer.scheduler=constant"),
        ("two_noises", ("training.noise_offset=0.05", "training.multires_noise_iterations=6"), "training.noise_offset=0"),
        (
            "two_loss_weights",
            ("training.min_snr_gamma=5", "training.debiased_estimation=true"),
            "training.debiased_estimation=false",
        ),
        ("captions_dropped", ("dataset.caption_dropout=1",), "dataset.caption_dropout=0.1"),
        ("captions_dropped", ("dataset.caption_dropout=0.8",), "dataset.caption_dropout=0.1"),
        ("clip_skip_unusual", ("base.family=sdxl", "base.clip_skip=3"), "base.clip_skip=2"),
    ],
)
def test_settings_that_get_into_each_others_way_are_told(code: str, sets: tuple[str, ...], fix: str) -> None:
    said = words("demo", *sets)[code]
    assert all(one.partition("=")[0] in said or one.partition("=")[2] in said for one in sets[-1:])
    assert code not in words("demo", *sets, fix)


def test_the_guides_own_pair_of_loss_weights_is_told_only_to_whom_changes_it() -> None:
    assert "two_loss_weights" not in words("sd15-character")
    assert "two_loss_weights" in words("sd15-character", "training.min_snr_gamma=1")
