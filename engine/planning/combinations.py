"""Settings that do nothing beside certain others, and settings that get into each other's way, each as a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loratui.engine.dataset.caption_choice import makes_several
from loratui.engine.planning.plan import Plan
from loratui.presets.schema import KEYS, Settings, get


@dataclass(frozen=True)
class Idle:
    """Settings that nothing reads while something else is as it is."""

    keys: tuple[str, ...]
    when: Callable[[Settings, Plan], bool]
    why: str
    remedy: str
    source: str = "loratui"


@dataclass(frozen=True)
class Clash:
    """Settings that work, but not together as somebody would expect."""

    code: str
    keys: tuple[str, ...]
    when: Callable[[Settings], bool]
    message: Callable[[Settings], str]
    remedy: str
    source: str = "loratui"


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


_LEAVE = "Leave it out."

IDLE: tuple[Idle, ...] = (
    Idle(
        ("optimizer.d_coef",),
        lambda s, _: s.optimizer.name != "prodigy",
        "it scales the rate that Prodigy finds, and the optimizer is another",
        "Set optimizer.name=prodigy, or leave it out.",
    ),
    Idle(
        ("optimizer.beta1", "optimizer.beta2"),
        lambda s, _: s.optimizer.name == "adafactor",
        "Adafactor keeps no moments of that kind",
        "Leave it out, or choose another optimizer.",
    ),
    Idle(
        ("optimizer.cycles",),
        lambda s, _: s.optimizer.scheduler != "cosine_with_restarts",
        "only optimizer.scheduler cosine_with_restarts has cycles",
        "Set optimizer.scheduler=cosine_with_restarts, or leave it out.",
    ),
    Idle(
        ("optimizer.text_encoder_learning_rate",),
        lambda s, _: not s.training.train_text_encoder,
        "the text encoder is not trained",
        "Set training.train_text_encoder=true, or leave it out.",
    ),
    Idle(
        ("training.huber_c", "training.huber_schedule"),
        lambda s, _: s.training.loss != "huber",
        "it belongs to the Huber loss, and training.loss is another",
        "Set training.loss=huber, or leave it out.",
    ),
    Idle(
        ("training.multires_noise_iterations",),
        _has_no_multires_noise,
        "the first layer is as fine as the noise itself; only from 2 layers on is one coarser",
        "Set 6 to 10, or leave it out.",
    ),
    Idle(
        ("training.multires_noise_discount",),
        _has_no_multires_noise,
        "there are no coarser layers of noise for it to weaken",
        "Set training.multires_noise_iterations=6, or leave it out.",
    ),
    Idle(
        ("training.scale_v_loss",),
        lambda s, _: s.base.prediction == "epsilon",
        "it is for bases that predict v, and base.prediction is epsilon",
        _LEAVE,
    ),
    Idle(
        ("training.prior_weight",),
        _has_no_regularisation,
        "there are no regularisation images",
        "Add a reg folder, set dataset.class_images, or leave it out.",
    ),
    Idle(
        ("adapter.conv_rank", "adapter.conv_alpha"),
        _has_no_convolutions,
        "adapter.targets has no convolutions",
        "Choose targets that end in +conv, such as sd-scripts+conv, or leave it out.",
    ),
    Idle(
        ("adapter.alpha_ratio",),
        lambda s, _: s.adapter.alpha != 0,
        "adapter.alpha is set, and follows no rank",
        "Set adapter.alpha=0, or leave it out.",
    ),
    Idle(
        ("adapter.kind",),
        lambda s, plan: s.adapter.kind == "locon" and _has_no_convolutions(s, plan),
        "LoCon is LoRA on convolutions too, and adapter.targets has none: a plain LoRA is trained",
        "Set adapter.targets=sd-scripts+conv, or adapter.kind=lora.",
    ),
    Idle(
        ("adapter.factor", "adapter.decompose_both"),
        lambda s, _: s.adapter.kind != "lokr",
        "it belongs to lokr, and adapter.kind is another",
        "Set adapter.kind=lokr, or leave it out.",
    ),
    Idle(
        ("base.clip_skip",),
        lambda s, _: s.base.family == "sdxl" and s.base.clip_skip <= 2,
        "SDXL is always given the last text layer but one, which is clip skip 2; 1 means the same",
        _LEAVE,
    ),
    Idle(
        ("base.text_encoder_2",),
        lambda s, _: s.base.family == "sd15",
        "SD1.5 has one text encoder",
        _LEAVE,
    ),
    Idle(
        ("dataset.keep_tokens",),
        _does_not_shuffle,
        "it holds tags in place while captions are shuffled, which they are not",
        "Set dataset.shuffle_captions=true, or leave keep_tokens at 0.",
        "Valstrix",
    ),
    Idle(
        ("dataset.caption_variants",),
        _makes_one_text,
        "several texts are made of a caption only where its tags are shuffled or wildcards are drawn",
        "Set dataset.shuffle_captions=true or dataset.caption_choice=line+wildcards, or leave it out.",
    ),
    Idle(
        ("dataset.class_prompt",),
        lambda s, _: s.dataset.class_images == 0,
        "no images of the class are made",
        "Set dataset.class_images, or leave it out.",
    ),
    Idle(
        ("dataset.bucket_min", "dataset.bucket_max"),
        lambda s, _: not (s.dataset.buckets and s.dataset.upscale),
        "it bounds the buckets that images are enlarged to, and none is enlarged",
        "Set dataset.upscale=true with dataset.buckets=true, or leave it out.",
    ),
    Idle(
        ("dataset.upscale",),
        lambda s, _: not s.dataset.buckets,
        "without buckets every image is scaled to the one square in any case",
        "Set dataset.buckets=true, or leave it out.",
    ),
    Idle(
        ("schedule.exposures",),
        _ignores_exposures,
        "schedule.rule, repeats and epochs decide how often an image is shown",
        "Set schedule.rule=exposures and leave repeats and epochs to it, or leave this out.",
    ),
    Idle(
        ("schedule.image_steps_per_epoch",),
        _ignores_image_steps_per_epoch,
        "it makes the amount of the rules per_epoch and per_epoch_and_total, and another rule, or repeats and epochs, make it",
        _LEAVE,
    ),
    Idle(
        ("schedule.optimizer_steps_wanted",),
        lambda s, _: s.schedule.rule != "per_epoch_and_total" or s.schedule.epochs > 0,
        "it makes the epochs of the rule per_epoch_and_total, and another rule or schedule.epochs makes them",
        _LEAVE,
    ),
    Idle(
        ("schedule.image_steps_extra", "schedule.small_below", "schedule.image_steps_below"),
        lambda s, _: s.schedule.rule != "per_image_small_sets_more" or s.schedule.epochs > 0,
        "it makes the total of the rule per_image_small_sets_more, and another rule or schedule.epochs makes it",
        _LEAVE,
    ),
    Idle(
        ("schedule.halve_balanced",),
        _rule_is_not("balanced_concepts"),
        "it belongs to the rule balanced_concepts",
        "Set schedule.rule=balanced_concepts, or leave it out.",
    ),
)
"""A row for every way in which a setting that somebody changes is read by nothing."""

CLASHES: tuple[Clash, ...] = (
    Clash(
        "two_averages",
        ("training.ema_decay", "optimizer.name"),
        lambda s: s.training.ema_decay > 0 and _is_schedule_free(s),
        lambda s: (
            f"training.ema_decay {s.training.ema_decay:g} takes the place of the average that {s.optimizer.name} keeps itself, "
            "and which is the whole point of it: samples and files are made from the other one."
        ),
        "Set training.ema_decay=0.",
    ),
    Clash(
        "schedule_for_schedule_free",
        ("optimizer.name", "optimizer.scheduler"),
        lambda s: _is_schedule_free(s) and s.optimizer.scheduler != "constant",
        lambda s: (
            f"{s.optimizer.name} averages over all steps instead of lowering the rate; under {s.optimizer.scheduler} the rate "
            "falls as well, and the later steps hardly count."
        ),
        "Set optimizer.scheduler=constant; optimizer.warmup works with it.",
    ),
    Clash(
        "two_noises",
        ("training.noise_offset", "training.multires_noise_iterations"),
        lambda s: s.training.noise_offset > 0 and s.training.multires_noise_iterations > 1,
        lambda _: (
            "training.noise_offset and training.multires_noise_iterations both add coarse noise: "
            "together they shift light and dark twice."
        ),
        "Set one of them to 0.",
    ),
    Clash(
        "two_loss_weights",
        ("training.min_snr_gamma", "training.debiased_estimation"),
        lambda s: s.base.family != "flux" and s.training.min_snr_gamma > 0 and s.training.debiased_estimation,
        lambda _: (
            "training.min_snr_gamma and training.debiased_estimation are two answers to one question; "
            "their weights are multiplied, which neither was made for."
        ),
        "Set training.debiased_estimation=false, or training.min_snr_gamma=0.",
    ),
    Clash(
        "captions_dropped",
        ("dataset.caption_dropout",),
        lambda s: s.dataset.caption_dropout > 0.5,
        lambda s: (
            f"dataset.caption_dropout {s.dataset.caption_dropout:g}: "
            + ("no step sees a caption" if s.dataset.caption_dropout == 1 else "most steps see no caption")
            + ", so that the trigger word is hardly tied to the images."
        ),
        "Set dataset.caption_dropout=0.1 or less.",
    ),
    Clash(
        "clip_skip_unusual",
        ("base.clip_skip",),
        lambda s: s.base.family == "sdxl" and s.base.clip_skip > 2,
        lambda s: (
            f"base.clip_skip {s.base.clip_skip}: the text is taken from an earlier layer than the last but one, "
            "with which SDXL and its like were made. The LoRA is right only where images are made with the same setting, "
            "and many programs ignore it for SDXL."
        ),
        "Set base.clip_skip=2, or leave it out.",
    ),
)
"""A row for every pair, or value, that surprises, with the keys that make it up."""


@dataclass(frozen=True)
class Word:
    """What a row has to say about a recipe."""

    code: str
    message: str
    remedy: str
    source: str


def idle(settings: Settings, plan: Plan, changed: frozenset[str]) -> Iterator[Word]:
    """A word for each setting that the person changed and that does nothing; one that is back at its default needs none."""
    for row in IDLE:
        keys = [key for key in row.keys if key in changed and get(settings, key) != KEYS[key].default]
        if keys and row.when(settings, plan):
            verb = "has" if len(keys) == 1 else "have"
            named = " and ".join(f"{key} {_shown(get(settings, key))}" for key in keys)
            yield Word("no_effect", f"{named} {verb} no effect: {row.why}.", row.remedy, row.source)


def clashes(settings: Settings, changed: frozenset[str]) -> Iterator[Word]:
    """A word for each row that applies because of something that the person changed; what a preset combines is its own choice."""
    for row in CLASHES:
        if changed.intersection(row.keys) and row.when(settings):
            yield Word(row.code, row.message(settings), row.remedy, row.source)


def _is_schedule_free(settings: Settings) -> bool:
    return settings.optimizer.name == "adamw_schedule_free"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
