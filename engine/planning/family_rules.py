"""Which settings mean something for which family and can be trained at all, so that others are refused before a start and not in silence
or in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loratui.engine.formats.base_parts import FAMILY_TITLES
from loratui.presets.schema import KEYS, Family, Settings, get

HIGHEST_FLUX_GUIDANCE = 6.0
"""Samples of FLUX.1-dev get worse above about 5; SD's usual 7 would be a slip."""


@dataclass(frozen=True)
class Misfit:
    """A setting that the family, or another setting, makes meaningless or impossible."""

    key: str
    message: str
    remedy: str


SIDES_PX: Mapping[Family, int] = {"sd15": 8, "sdxl": 8, "flux": 16}
"""What a side of an image must be a multiple of: the VAE makes 8 px one latent, and FLUX packs 2 × 2 of these into a token."""

ONE_RATE = ("prodigy", "dadapt_adam")
"""Optimizers that find one learning rate for all that is trained."""

_DIFFUSION: tuple[Family, ...] = ("sd15", "sdxl")
_FLOW: tuple[Family, ...] = ("flux",)
_NO_SNR = "it weighs by the signal-to-noise ratio of a diffusion schedule, and FLUX learns a flow, which has none"
_NO_OFFSET = "it mends a weakness of the diffusion schedule that FLUX does not have"
_NOT_TOLD = "it belongs to flow matching, and this family has a diffusion schedule"

RULES: tuple[tuple[str, tuple[Family, ...], str], ...] = (
    ("base.prediction", _DIFFUSION, "FLUX always predicts the flow"),
    ("base.zero_terminal_snr", _DIFFUSION, "FLUX has no diffusion schedule"),
    ("base.clip_skip", _DIFFUSION, "FLUX takes no layer of CLIP but the pooled last one"),
    ("dataset.caption_tokens", _DIFFUSION, "FLUX reads a caption with T5, up to 512 tokens in any case"),
    ("training.min_snr_gamma", _DIFFUSION, _NO_SNR),
    ("training.debiased_estimation", _DIFFUSION, _NO_SNR),
    ("training.scale_v_loss", _DIFFUSION, _NO_SNR),
    ("training.noise_offset", _DIFFUSION, _NO_OFFSET),
    ("training.multires_noise_iterations", _DIFFUSION, _NO_OFFSET),
    ("training.timestep_sampling", _FLOW, _NOT_TOLD + "; training.high_noise_bias works with it"),
    ("training.timestep_shift", _FLOW, _NOT_TOLD),
    ("training.timestep_scale", _FLOW, _NOT_TOLD),
    ("training.weighting", _FLOW, _NOT_TOLD + "; training.min_snr_gamma works with it"),
    ("training.guidance", _FLOW, "only FLUX is told the guidance; samples have samples.guidance"),
)
"""Key, the families for which it means something, and why it means nothing to the others."""


def misfits(settings: Settings) -> Iterator[Misfit]:
    """What must be changed before this family can be trained with these settings."""
    family, training = settings.base.family, settings.training
    for key, families, why in RULES:
        if family not in families and get(settings, key) != KEYS[key].default:
            yield _misfit(settings, key, f"has no effect on {FAMILY_TITLES[family]}: {why}.")
    if family == "flux" and training.loss == "huber" and training.huber_schedule == "snr":
        yield _misfit(settings, "training.huber_schedule", f"has no effect on {FAMILY_TITLES[family]}: {_NO_SNR}.")
    if (
        family == "flux"
        and training.timestep_sampling != "shift"
        and training.timestep_shift != _default("training.timestep_shift")
    ):
        yield _misfit(settings, "training.timestep_shift", "is used by training.timestep_sampling shift alone.")
    if family == "flux" and training.timestep_sampling == "uniform" and training.timestep_scale != 1.0:
        yield _misfit(settings, "training.timestep_scale", "has no effect on training.timestep_sampling uniform.")
    if settings.base.zero_terminal_snr == "on" and settings.base.prediction == "epsilon":
        message = "base.zero_terminal_snr on: noise cannot be predicted from pure noise."
        yield Misfit(
            "base.zero_terminal_snr", message, "Set base.prediction to v, if it is a v-prediction model; else leave both out."
        )
    yield from _sizes(settings)
    yield from _untrainable(settings)


def _sizes(settings: Settings) -> Iterator[Misfit]:
    """Sizes in px that do not come out even in latents or tokens."""
    dataset, family = settings.dataset, settings.base.family
    keys = ["dataset.resolution", "dataset.bucket_step", "samples.width", "samples.height"]
    if dataset.buckets and dataset.upscale:  # else no bucket begins or ends there
        keys += ["dataset.bucket_min", "dataset.bucket_max"]
    step = SIDES_PX[family]
    for key in keys:
        value = get(settings, key)
        if value % step:
            message = f"{key} {value}: sides of images must be multiples of {step} px for {FAMILY_TITLES[family]}."
            yield Misfit(key, message, f"Set it to {max(step, round(value / step) * step)}.")


def _untrainable(settings: Settings) -> Iterator[Misfit]:
    """What no machine could train here."""
    optimizer, training = settings.optimizer, settings.training
    if training.precision == "fp16" and settings.base.family == "flux":
        message = "training.precision fp16: the activations of FLUX go beyond its range (65 504)."
        yield Misfit("training.precision", message, "Set it to auto, which is bf16 where the card has it.")
    rate, text_rate = optimizer.learning_rate, optimizer.text_encoder_learning_rate
    if optimizer.name in ONE_RATE and training.train_text_encoder and text_rate not in (0, rate):
        message = (
            f"optimizer.text_encoder_learning_rate {text_rate:g}: {optimizer.name} finds one rate for all parts, and the "
            f"text encoder is given another than the rest ({rate:g})."
        )
        yield Misfit(
            "optimizer.text_encoder_learning_rate",
            message,
            "Set it to 0, which is the same rate, or set optimizer.name to adamw.",
        )


def guidance_advice(settings: Settings) -> str:
    """What to say of a guidance for samples that this family was not made for; empty if nothing."""
    guidance = settings.samples.guidance
    if settings.base.family != "flux" or guidance <= HIGHEST_FLUX_GUIDANCE:
        return ""
    return f"samples.guidance {guidance:g}: FLUX.1-dev makes its best images near 3.5, and spoiled ones far above 5."


def _default(key: str) -> object:
    return KEYS[key].default


def _misfit(settings: Settings, key: str, why: str) -> Misfit:
    value = get(settings, key)
    shown = f"{value:g}" if isinstance(value, float) else str(value).lower()
    default = _default(key)
    usual = f"{default:g}" if isinstance(default, float) else str(default).lower()
    return Misfit(key, f"{key} {shown} {why}", f"Leave it out, or set it to {usual}.")
