"""Which settings mean something for which family and can be trained at all, so that others are refused before a start and not in silence
or in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loratui.engine import families
from loratui.engine.families.spec import FamilySpec
from loratui.engine.findings import Finding
from loratui.presets.schema import KEYS, Settings, get

ONE_RATE = ("prodigy", "dadapt_adam")
"""Optimizers that find one learning rate for all that is trained."""


def _diffuses(spec: FamilySpec) -> bool:
    return spec.objective == "diffusion"


def _flows(spec: FamilySpec) -> bool:
    return spec.objective == "flow"


RULES: tuple[tuple[str, Callable[[FamilySpec], bool], str], ...] = (
    ("base.prediction", _diffuses, "prediction"),
    ("base.zero_terminal_snr", _diffuses, "schedule"),
    ("base.clip_skip", lambda spec: spec.text.clip_skip > 0, "clip_skip"),
    ("dataset.caption_tokens", lambda spec: spec.caption_tokens == 0, "caption_tokens"),
    ("training.min_snr_gamma", _diffuses, "snr"),
    ("training.debiased_estimation", _diffuses, "snr"),
    ("training.scale_v_loss", _diffuses, "snr"),
    ("training.noise_offset", _diffuses, "offset"),
    ("training.multires_noise_iterations", _diffuses, "offset"),
    ("training.timestep_sampling", _flows, "flow_sampling"),
    ("training.timestep_shift", _flows, "flow"),
    ("training.timestep_scale", _flows, "flow"),
    ("training.weighting", _flows, "flow_weighting"),
    ("training.guidance", lambda spec: spec.embedded_guidance, "guidance"),
)
"""Key, whether it means something to a family, and which finding says why it means nothing to the others."""


def misfits(settings: Settings) -> Iterator[Finding]:
    """What must be changed before this family can be trained with these settings."""
    spec, training = families.family(settings.base.family), settings.training
    for key, means_something, why in RULES:
        if not means_something(spec) and get(settings, key) != KEYS[key].default:
            yield _misfit(settings, key, why)
    if _flows(spec) and training.loss == "huber" and training.huber_schedule == "snr":
        yield _misfit(settings, "training.huber_schedule", "snr")
    if (
        _flows(spec)
        and training.timestep_sampling != "shift"
        and training.timestep_shift != KEYS["training.timestep_shift"].default
    ):
        yield _misfit(settings, "training.timestep_shift", "shift")
    if _flows(spec) and training.timestep_sampling == "uniform" and training.timestep_scale != 1.0:
        yield _misfit(settings, "training.timestep_scale", "scale")
    if settings.base.zero_terminal_snr == "on" and settings.base.prediction == "epsilon":
        yield Finding.of("setting_misfit.zero_snr")
    yield from _sizes(settings)
    yield from _untrainable(settings)


def _sizes(settings: Settings) -> Iterator[Finding]:
    """Sizes in px that do not come out even in latents or tokens."""
    dataset, spec = settings.dataset, families.family(settings.base.family)
    keys = ["dataset.resolution", "dataset.bucket_step", "samples.width", "samples.height"]
    if dataset.buckets and dataset.upscale:  # else no bucket begins or ends there
        keys += ["dataset.bucket_min", "dataset.bucket_max"]
    step = spec.side_px
    for key in keys:
        value = get(settings, key)
        if value % step:
            nearest = {key: max(step, round(value / step) * step)}
            yield Finding.of("setting_misfit.size", key=key, value=value, step=step, title=spec.title, settings=nearest)


def _untrainable(settings: Settings) -> Iterator[Finding]:
    """What no machine could train here."""
    optimizer, training, spec = settings.optimizer, settings.training, families.family(settings.base.family)
    if training.precision == "fp16" and not spec.fp16:
        yield Finding.of("setting_misfit.fp16", title=spec.title, settings={"training.precision": "auto"})
    rate, text_rate = optimizer.learning_rate, optimizer.text_encoder_learning_rate
    if optimizer.name in ONE_RATE and training.train_text_encoder and text_rate not in (0, rate):
        same = {"optimizer.text_encoder_learning_rate": 0.0}
        yield Finding.of("setting_misfit.one_rate", text_rate=text_rate, optimizer=optimizer.name, rate=rate, settings=same)


def guidance(settings: Settings) -> Iterator[Finding]:
    """Whether samples have a guidance that this family was not made for."""
    spec = families.family(settings.base.family)
    if 0 < spec.highest_guidance < settings.samples.guidance:
        yield Finding.of(
            "guidance_high", guidance=settings.samples.guidance, title=spec.title, settings={"samples.guidance": 3.5}
        )


def _misfit(settings: Settings, key: str, why: str) -> Finding:
    default, spec = KEYS[key].default, families.family(settings.base.family)
    return Finding.of(
        f"setting_misfit.{why}",
        key=key,
        value=get(settings, key),
        title=spec.title,
        tokens=spec.caption_tokens,
        default=default,
        settings={key: default},
    )
