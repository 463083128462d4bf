"""Which settings mean something for which family and can be trained at all, so that others are refused before a start and not in silence
or in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loratui.engine.findings import Finding
from loratui.engine.formats.base_parts import FAMILY_TITLES
from loratui.presets.schema import KEYS, Family, Settings, get

HIGHEST_FLUX_GUIDANCE = 6.0
"""Samples of FLUX.1-dev get worse above about 5; SD's usual 7 would be a slip."""


SIDES_PX: Mapping[Family, int] = {"sd15": 8, "sdxl": 8, "flux": 16}
"""What a side of an image must be a multiple of: the VAE makes 8 px one latent, and FLUX packs 2 × 2 of these into a token."""

ONE_RATE = ("prodigy", "dadapt_adam")
"""Optimizers that find one learning rate for all that is trained."""

_DIFFUSION: tuple[Family, ...] = ("sd15", "sdxl")
_FLOW: tuple[Family, ...] = ("flux",)
RULES: tuple[tuple[str, tuple[Family, ...], str], ...] = (
    ("base.prediction", _DIFFUSION, "prediction"),
    ("base.zero_terminal_snr", _DIFFUSION, "schedule"),
    ("base.clip_skip", _DIFFUSION, "clip_skip"),
    ("dataset.caption_tokens", _DIFFUSION, "caption_tokens"),
    ("training.min_snr_gamma", _DIFFUSION, "snr"),
    ("training.debiased_estimation", _DIFFUSION, "snr"),
    ("training.scale_v_loss", _DIFFUSION, "snr"),
    ("training.noise_offset", _DIFFUSION, "offset"),
    ("training.multires_noise_iterations", _DIFFUSION, "offset"),
    ("training.timestep_sampling", _FLOW, "flow_sampling"),
    ("training.timestep_shift", _FLOW, "flow"),
    ("training.timestep_scale", _FLOW, "flow"),
    ("training.weighting", _FLOW, "flow_weighting"),
    ("training.guidance", _FLOW, "guidance"),
)
"""Key, the families for which it means something, and which finding says why it means nothing to the others."""


def misfits(settings: Settings) -> Iterator[Finding]:
    """What must be changed before this family can be trained with these settings."""
    family, training = settings.base.family, settings.training
    for key, families, why in RULES:
        if family not in families and get(settings, key) != KEYS[key].default:
            yield _misfit(settings, key, why)
    if family == "flux" and training.loss == "huber" and training.huber_schedule == "snr":
        yield _misfit(settings, "training.huber_schedule", "snr")
    if (
        family == "flux"
        and training.timestep_sampling != "shift"
        and training.timestep_shift != KEYS["training.timestep_shift"].default
    ):
        yield _misfit(settings, "training.timestep_shift", "shift")
    if family == "flux" and training.timestep_sampling == "uniform" and training.timestep_scale != 1.0:
        yield _misfit(settings, "training.timestep_scale", "scale")
    if settings.base.zero_terminal_snr == "on" and settings.base.prediction == "epsilon":
        yield Finding.of("setting_misfit.zero_snr")
    yield from _sizes(settings)
    yield from _untrainable(settings)


def _sizes(settings: Settings) -> Iterator[Finding]:
    """Sizes in px that do not come out even in latents or tokens."""
    dataset, family = settings.dataset, settings.base.family
    keys = ["dataset.resolution", "dataset.bucket_step", "samples.width", "samples.height"]
    if dataset.buckets and dataset.upscale:  # else no bucket begins or ends there
        keys += ["dataset.bucket_min", "dataset.bucket_max"]
    step = SIDES_PX[family]
    for key in keys:
        value = get(settings, key)
        if value % step:
            nearest = {key: max(step, round(value / step) * step)}
            yield Finding.of(
                "setting_misfit.size", key=key, value=value, step=step, title=FAMILY_TITLES[family], settings=nearest
            )


def _untrainable(settings: Settings) -> Iterator[Finding]:
    """What no machine could train here."""
    optimizer, training, family = settings.optimizer, settings.training, settings.base.family
    if training.precision == "fp16" and family == "flux":
        yield Finding.of("setting_misfit.fp16", title=FAMILY_TITLES[family], settings={"training.precision": "auto"})
    rate, text_rate = optimizer.learning_rate, optimizer.text_encoder_learning_rate
    if optimizer.name in ONE_RATE and training.train_text_encoder and text_rate not in (0, rate):
        same = {"optimizer.text_encoder_learning_rate": 0.0}
        yield Finding.of("setting_misfit.one_rate", text_rate=text_rate, optimizer=optimizer.name, rate=rate, settings=same)


def guidance(settings: Settings) -> Iterator[Finding]:
    """Whether samples have a guidance that this family was not made for."""
    if settings.base.family == "flux" and settings.samples.guidance > HIGHEST_FLUX_GUIDANCE:
        title = FAMILY_TITLES[settings.base.family]
        yield Finding.of("guidance_high", guidance=settings.samples.guidance, title=title, settings={"samples.guidance": 3.5})


def _misfit(settings: Settings, key: str, why: str) -> Finding:
    default = KEYS[key].default
    return Finding.of(
        f"setting_misfit.{why}",
        key=key,
        value=get(settings, key),
        title=FAMILY_TITLES[settings.base.family],
        default=default,
        settings={key: default},
    )
