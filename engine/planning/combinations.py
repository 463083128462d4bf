"""Settings that do nothing beside certain others, and settings that get into each other's way, each as a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loratui.engine import families
from loratui.engine.dataset.caption_choice import makes_several
from loratui.engine.families.spec import FamilySpec
from loratui.engine.findings import Finding
from loratui.engine.planning.case import Case
from loratui.engine.planning.plan import Plan
from loratui.engine.words import typed
from loratui.presets.schema import KEYS, Settings, get


def _spec(settings: Settings) -> FamilySpec:
    return families.family(settings.base.family)


def _rule_is_not(*rules: str) -> Callable[[Settings, Plan], bool]:
    return lambda settings, _: settings.schedule.rule not in rules


def _has_no_convolutions(settings: Settings, _: Plan) -> bool:
    return not settings.adapter.targets.endswith("+conv")


def _does_not_shuffle(settings: Settings, _: Plan) -> bool:
    return not settings.dataset.shuffle_captions


def _makes_one_text(settings: Settings, _: Plan) -> bool:
    return not makes_several(settings.dataset)


def _has_no_multires_noise(settings: Settings, _: Plan) -> bool:
    return settings.training.multires_noise_iterations < 2


def _has_no_regularisation(settings: Settings, plan: Plan) -> bool:
    return not (plan.regularisation_images or settings.dataset.class_images)


def _ignores_exposures(settings: Settings, _: Plan) -> bool:
    schedule = settings.schedule
    if schedule.rule in ("per_image", "exposures"):
        return bool(schedule.epochs and schedule.repeats)
    return schedule.rule not in ("per_image_small_sets_more", "balanced_concepts", "per_epoch") or schedule.epochs > 0


def _ignores_image_steps_per_epoch(settings: Settings, _: Plan) -> bool:
    schedule = settings.schedule
    if schedule.rule == "per_epoch":
        return bool(schedule.epochs and schedule.repeats)
    return schedule.rule != "per_epoch_and_total" or schedule.repeats > 0


IDLE: tuple[tuple[str, tuple[str, ...], Callable[[Settings, Plan], bool], Mapping[str, Any]], ...] = (
    ("d_coef", ("optimizer.d_coef",), lambda s, _: s.optimizer.name != "prodigy", {"optimizer.name": "prodigy"}),
    ("betas", ("optimizer.beta1", "optimizer.beta2"), lambda s, _: s.optimizer.name == "adafactor", {}),
    (
        "cycles",
        ("optimizer.cycles",),
        lambda s, _: s.optimizer.scheduler != "cosine_with_restarts",
        {"optimizer.scheduler": "cosine_with_restarts"},
    ),
    (
        "text_rate",
        ("optimizer.text_encoder_learning_rate",),
        lambda s, _: not s.training.train_text_encoder,
        {"training.train_text_encoder": True},
    ),
    (
        "huber",
        ("training.huber_c", "training.huber_schedule"),
        lambda s, _: s.training.loss != "huber",
        {"training.loss": "huber"},
    ),
    ("multires", ("training.multires_noise_iterations",), _has_no_multires_noise, {"training.multires_noise_iterations": 6}),
    (
        "multires_discount",
        ("training.multires_noise_discount",),
        _has_no_multires_noise,
        {"training.multires_noise_iterations": 6},
    ),
    ("scale_v_loss", ("training.scale_v_loss",), lambda s, _: s.base.prediction == "epsilon", {}),
    ("prior_weight", ("training.prior_weight",), _has_no_regularisation, {}),
    ("convolutions", ("adapter.conv_rank", "adapter.conv_alpha"), _has_no_convolutions, {}),
    ("alpha_ratio", ("adapter.alpha_ratio",), lambda s, _: s.adapter.alpha != 0, {"adapter.alpha": 0.0}),
    (
        "locon",
        ("adapter.kind",),
        lambda s, plan: s.adapter.kind == "locon" and _has_no_convolutions(s, plan),
        {"adapter.kind": "lora"},
    ),
    ("lokr", ("adapter.factor", "adapter.decompose_both"), lambda s, _: s.adapter.kind != "lokr", {"adapter.kind": "lokr"}),
    ("clip_skip", ("base.clip_skip",), lambda s, _: s.base.clip_skip <= _spec(s).text.clip_skip, {}),
    ("text_encoder_2", ("base.text_encoder_2",), lambda s, _: not _spec(s).has("text_encoder_2"), {}),
    ("keep_tokens", ("dataset.keep_tokens",), _does_not_shuffle, {"dataset.shuffle_captions": True}),
    ("caption_variants", ("dataset.caption_variants",), _makes_one_text, {"dataset.shuffle_captions": True}),
    ("mask_outside", ("dataset.mask_outside",), lambda s, _: s.dataset.masks == "off", {"dataset.masks": "folder"}),
    (
        "masks",
        ("dataset.masks",),
        lambda s, _: s.dataset.masks != "off" and s.dataset.mask_outside == 1,
        {"dataset.mask_outside": 0.1},
    ),
    ("class_prompt", ("dataset.class_prompt",), lambda s, _: s.dataset.class_images == 0, {}),
    (
        "bucket_limits",
        ("dataset.bucket_min", "dataset.bucket_max"),
        lambda s, _: not (s.dataset.buckets and s.dataset.upscale),
        {"dataset.buckets": True, "dataset.upscale": True},
    ),
    ("upscale", ("dataset.upscale",), lambda s, _: not s.dataset.buckets, {"dataset.buckets": True}),
    (
        "exposures",
        ("schedule.exposures",),
        _ignores_exposures,
        {"schedule.rule": "exposures", "schedule.repeats": 0, "schedule.epochs": 0},
    ),
    ("image_steps_per_epoch", ("schedule.image_steps_per_epoch",), _ignores_image_steps_per_epoch, {}),
    (
        "optimizer_steps_wanted",
        ("schedule.optimizer_steps_wanted",),
        lambda s, _: s.schedule.rule != "per_epoch_and_total" or s.schedule.epochs > 0,
        {},
    ),
    (
        "small_sets",
        ("schedule.image_steps_extra", "schedule.small_below", "schedule.image_steps_below"),
        lambda s, _: s.schedule.rule != "per_image_small_sets_more" or s.schedule.epochs > 0,
        {},
    ),
    ("halve_balanced", ("schedule.halve_balanced",), _rule_is_not("balanced_concepts"), {"schedule.rule": "balanced_concepts"}),
)
"""A row for every way in which a setting that somebody changes is read by nothing: finding, settings, when, and what gives them work."""


def _is_schedule_free(settings: Settings) -> bool:
    return settings.optimizer.name == "adamw_schedule_free"


CLASHES: tuple[tuple[str, tuple[str, ...], Callable[[Settings], bool], Mapping[str, Any]], ...] = (
    (
        "two_averages",
        ("training.ema_decay", "optimizer.name"),
        lambda s: s.training.ema_decay > 0 and _is_schedule_free(s),
        {"training.ema_decay": 0.0},
    ),
    (
        "schedule_for_schedule_free",
        ("optimizer.name", "optimizer.scheduler"),
        lambda s: _is_schedule_free(s) and s.optimizer.scheduler != "constant",
        {"optimizer.scheduler": "constant"},
    ),
    (
        "two_noises",
        ("training.noise_offset", "training.multires_noise_iterations"),
        lambda s: s.training.noise_offset > 0 and s.training.multires_noise_iterations > 1,
        {"training.noise_offset": 0.0},
    ),
    (
        "two_loss_weights",
        ("training.min_snr_gamma", "training.debiased_estimation"),
        lambda s: _spec(s).objective == "diffusion" and s.training.min_snr_gamma > 0 and s.training.debiased_estimation,
        {"training.debiased_estimation": False},
    ),
    (
        "captions_dropped",
        ("dataset.caption_dropout",),
        lambda s: s.dataset.caption_dropout > 0.5,
        {"dataset.caption_dropout": 0.1},
    ),
    (
        "clip_skip_unusual",
        ("base.clip_skip",),
        lambda s: s.base.clip_skip > _spec(s).text.clip_skip > 1,
        {"base.clip_skip": 2},
    ),
)
"""A row for every pair, or value, that surprises: finding, the settings that make it up, when, and what fixes it."""


def idle(case: Case) -> Iterator[Finding]:
    """Each setting that the person changed and that does nothing; one that is back at its default needs no word."""
    settings, changed = case.settings, case.changed
    for row, settable, when, fix in IDLE:
        keys = [one for one in settable if one in changed and get(settings, one) != KEYS[one].default]
        if keys and when(settings, case.plan):
            named = " and ".join(f"{one} {typed(get(settings, one))}" for one in keys)
            yield Finding.of(
                f"no_effect.{row}",
                settings=fix,
                title=_spec(settings).title,
                idle=f"{named} {'has' if len(keys) == 1 else 'have'}",
            )


def clashes(case: Case) -> Iterator[Finding]:
    """Each row that applies because of something that the person changed; what a preset combines is its own choice."""
    settings = case.settings
    for code, keys, when, fix in CLASHES:
        if case.changed.intersection(keys) and when(settings):
            yield Finding.of(code, settings=fix, title=_spec(settings).title, **{key: get(settings, key) for key in keys})
