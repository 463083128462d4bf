"""The shape of presets and recipes: every key, its type, range and meaning, and the strict checking of values."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from loratui.presets.toml_text import parse_toml

FORMAT = 1
"""Version of the TOML format; a file with a higher `format` is refused."""


LONGEST = 1000
"""Letters of an error message."""


class SchemaError(ValueError):
    """A preset or recipe that cannot be used: the text names file, line and key, and says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")  # a name in it may come from a file


def key(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    pattern: str = "",
) -> Any:
    """A field of a section: its default, a line of help, and the range that a value must lie in.

    `low` and `high` are inclusive, `above` is exclusive. `pattern` is a regular expression that text must match in
    full; closed sets use `Literal`.
    """
    meta = {"help": help, "low": low, "high": high, "above": above, "pattern": pattern}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=meta)
    return field(default=default, metadata=meta)


Family = Literal["sd15", "sdxl", "flux"]
Rule = Literal[
    "repeats_epochs",
    "per_image",
    "per_image_small_sets_more",
    "per_epoch_and_total",
    "per_epoch",
    "exposures",
    "balanced_concepts",
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Scheduler = Literal["constant", "cosine", "cosine_with_restarts", "linear", "polynomial"]
Optimizer = Literal["auto", "adamw", "adamw8bit", "adafactor", "prodigy", "dadapt_adam", "lion", "adamw_schedule_free"]
Targets = Literal[
    "sd-scripts",
    "diffusers",
    "attention",
    "attention+ff",
    "all",
    "sd-scripts+conv",
    "diffusers+conv",
    "attention+conv",
    "attention+ff+conv",
    "all+conv",
]


@dataclass(frozen=True, kw_only=True)
class Base:
    """Which model the LoRA is trained on."""

    family: Family = key("sd15", "architecture of the base model")
    model: str = key(
        "", "a .safetensors file, a diffusers folder, embedded:NAME, or owner/name of a model downloaded from the hub"
    )
    text_encoder: str = key("", "file or folder of CLIP-L, if the model does not contain it; empty: loratui looks for it")
    text_encoder_2: str = key(
        "", "file or folder of the second text encoder (FLUX: T5-XXL, SDXL: CLIP-G); empty: loratui looks for it"
    )
    vae: str = key("", "file or folder of a VAE to use instead of the model's, or if it has none (FLUX: ae)")
    prediction: Literal["auto", "epsilon", "v"] = key("auto", "what the model predicts; auto reads it from the base")
    zero_terminal_snr: Literal["auto", "on", "off"] = key(
        "auto",
        "whether the base's schedule ends in pure noise, as in some v-prediction bases; auto reads it from the base",
    )
    check: Literal["on", "off"] = key(
        "on", "refuse a base whose answers make no sense, before the first step; off starts anyway"
    )
    changed: Literal["refuse", "accept"] = key(
        "refuse", "what a resume does if the files of the base have changed; accept goes on with them"
    )
    clip_skip: int = key(1, "text layer to use, counted as in Automatic1111: 1 is the last, 2 the last but one", low=1, high=12)

    @property
    def is_embedded(self) -> bool:
        """Whether the base is one of the included tiny ones, for which usual numbers do not hold."""
        return self.model.startswith("embedded:")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The images and how they are read."""

    path: str = key("", "folder of images")
    trigger: str = key("", "made-up word that stands for the subject, such as anafox")
    class_word: str = key("", "general noun that contains the subject, such as woman")
    resolution: int = key(512, "side of the square whose area every training image has, px", low=64, high=2048)
    buckets: bool = key(True, "group images by shape instead of cropping all of them square")
    bucket_step: int = key(64, "bucket sides are multiples of this, px", low=8, high=256)
    bucket_min: int = key(256, "shortest bucket side when upscaling is allowed, px", low=64, high=2048)
    bucket_max: int = key(2048, "longest bucket side when upscaling is allowed, px", low=64, high=8192)
    upscale: bool = key(False, "enlarge images that are smaller than the resolution")
    flip: bool = key(False, "also train on mirrored images; not for a face or anything asymmetric")
    caption_choice: Literal["whole", "line", "line+wildcards", "first"] = key(
        "whole",
        "how a caption file of several lines is used: whole, all lines as one text; line, one line "
        "each time, all equally often; line+wildcards, one line each time, with one part of each {red|blue}; first, the first line "
        "only. Captions in several files (a.txt, a.2.txt) are drawn in turn, except by first",
    )
    shuffle_captions: bool = key(False, "put the tags of a caption into random order")
    caption_variants: int = key(
        8,
        "texts made from each caption or line when tags are shuffled or wildcards drawn; each is encoded once",
        low=1,
        high=1000,
    )
    keep_tokens: int = key(0, "tags at the front of a caption that are not shuffled", low=0, high=50)
    caption_dropout: float = key(0.0, "share of steps that see an empty caption", low=0.0, high=1.0)
    caption_tokens: int = key(75, "content tokens that a caption may have: 75, 150 or 225 (CLIP)", low=75, high=225)
    class_images: int = key(
        0, "class images that the base makes before training, for regularisation; 0: none", low=0, high=10_000
    )
    class_prompt: str = key("a photo of a {class}", "prompt of these images")
    held_out: tuple[str, ...] = key(
        (),
        "images that are not trained on, so the loss on them shows what the LoRA learnt and when it overtrains: their paths within "
        "the folder, or auto, 1 of 10 from 12 images on; empty: none",
    )
    masks: Literal["off", "folder", "alpha", "person", "face"] = key(
        "off",
        "where the masks come from that weight the loss: off, none; folder, files of the same name in a folder masks, or "
        "NAME-masklabel.png and NAME_mask.png beside the image; alpha, the image's transparency; person and face, made by loratui masks",
    )
    mask_outside: float = key(
        0.1,
        "weight of what a mask leaves out, beside 1 for what it marks; 0: it adds nothing to the loss, 1: the mask changes nothing",
        low=0.0,
        high=1.0,
    )
    subject: Literal["person", "character", "style", "thing"] = key("person", "what the images teach")
    images_wanted: tuple[int, int] = key((10, 50), "fewest and most images that the recipe works with")
    images_ideal: int = key(0, "best number of images for the recipe; 0: not stated", low=0, high=100_000)
    image_bands: str = key(
        "",
        "what a number of images means, such as: 1-9 few; 10-20 good; 21- many",
        pattern=r"(\d+-\d* [^;]+(; *(?!$)|$))*",
    )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often each image is shown."""

    rule: Rule = key("per_image", "rule that turns the number of images into repeats and epochs")
    exposures: int = key(
        100,
        "total times that each image is shown (rules per_image, exposures, balanced_concepts; per_epoch derives its epochs from it)",
        low=1,
        high=100_000,
    )
    image_steps_per_epoch: int = key(
        400, "image-steps wanted in one epoch (rules per_epoch, per_epoch_and_total)", low=1, high=1_000_000
    )
    optimizer_steps_wanted: int = key(2500, "total optimizer steps wanted (rule per_epoch_and_total)", low=1, high=10_000_000)
    image_steps_extra: int = key(
        100, "image-steps added for a small dataset (rule per_image_small_sets_more)", low=0, high=1_000_000
    )
    small_below: int = key(
        10, "a dataset with fewer images than this is small (rule per_image_small_sets_more)", low=0, high=100_000
    )
    image_steps_below: int = key(
        0, "image-steps stay below this (rule per_image_small_sets_more); 0: no limit", low=0, high=1_000_000_000
    )
    repeats: int = key(0, "times that an epoch shows each image; 0: from the rule", low=0, high=100_000)
    epochs: int = key(0, "epochs; 0: from the rule", low=0, high=100_000)
    image_steps: int = key(
        0,
        "image-steps after which training ends, even within an epoch; 0: every epoch is completed",
        low=0,
        high=1_000_000_000,
    )
    halve_balanced: bool = key(False, "divide balanced repeats by their common divisor and multiply the epochs")
    folder_repeats: bool = key(True, "the N of an N_name folder sets its repeats")
    exposures_wanted: tuple[int, int] = key((100, 150), "fewest and most exposures per image that the recipe works with")
    image_steps_warn: int = key(0, "image-steps beyond which quality falls; 0: not stated", low=0, high=1_000_000_000)
    continue_run: str = key("", "folder of the run that this one continues, with its optimizer; empty: none (loratui continue)")
    continue_step: int = key(0, "optimizer step of that run's checkpoint", low=0, high=1_000_000_000)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training loop."""

    batch_size: int = key(1, "images per batch", low=1, high=256)
    accumulation: int = key(1, "batches whose gradients make one optimizer step, in each process", low=1, high=1024)
    processes: int = key(
        1,
        "processes that train together, each on its own GPU (--gpus); a step has batch_size × accumulation × processes images",
        low=1,
        high=1024,
    )
    seed: int = key(42, "seed of everything random", low=0, high=2**63 - 1)
    precision: Precision = key(
        "auto",
        "number format of the frozen base and the computation; auto is bf16 on a card that has it, else fp16 with a scaled loss, or fp32; the LoRA itself is always fp32",
    )
    loss: Literal["mse", "huber"] = key("mse", "distance between prediction and target")
    huber_c: float = key(0.1, "width of the quadratic part of the Huber loss", above=0.0, high=10.0)
    huber_schedule: Literal["constant", "exponential", "snr"] = key(
        "constant", "how that width changes with the noise; exponential and snr make it narrower at more noise"
    )
    min_snr_gamma: float = key(0.0, "min-SNR weighting; 5 is usual, 0 is off", low=0.0, high=100.0)
    debiased_estimation: bool = key(False, "weight by 1/sqrt(SNR); multiplies the learning rate by about 3")
    scale_v_loss: bool = key(False, "for a v-prediction base: weight by S/(S+1), as if it predicted noise")
    noise_offset: float = key(0.0, "offset noise; 0 is off", low=0.0, high=1.0)
    multires_noise_iterations: int = key(
        0, "layers of multi-resolution (pyramid) noise, 6 to 10 are usual; 0 is off", low=0, high=32
    )
    multires_noise_discount: float = key(0.3, "how much weaker each coarser layer of that noise is", above=0.0, high=1.0)
    input_perturbation: float = key(0.0, "more noise in the input than in the target, about 0.1; 0 is off", low=0.0, high=1.0)
    high_noise_bias: float = key(
        0.0,
        "more timesteps near pure noise, where hair, pose and colours are decided: t = T·u^(1/(1+b))",
        low=0.0,
        high=10.0,
    )
    timestep_sampling: Literal["auto", "uniform", "sigmoid", "shift", "flux_shift"] = key(
        "auto",
        "noise levels that are trained (FLUX): uniform; sigmoid, most in the middle; shift, sigmoid moved towards noise by "
        "timestep_shift; flux_shift, moved by the image's size; auto is flux_shift for FLUX",
    )
    timestep_shift: float = key(3.0, "shift of timestep_sampling shift; 1 is sigmoid", above=0.0, high=100.0)
    timestep_scale: float = key(
        1.0,
        "spread of timestep_sampling sigmoid, shift and flux_shift; smaller stays nearer to the middle",
        above=0.0,
        high=10.0,
    )
    weighting: Literal["none", "sigma_sqrt", "cosmap"] = key(
        "none", "weight of each noise level of FLUX: none, 1/sigma², or cosmap of Stable Diffusion 3"
    )
    guidance: float = key(
        1.0, "guidance given to FLUX in training; 1 is the plain flow. Samples use samples.guidance", low=0.0, high=30.0
    )
    train_text_encoder: bool = key(False, "also train the text encoder")
    end_stalled_after_s: float = key(
        300.0,
        "seconds that the trainer may be stalled before loratui ends it and goes on from the last checkpoint; 0 is never. Change it "
        "in the dashboard of a run, or in its effective.toml, also while it trains",
        low=0.0,
        high=86_400.0,
    )
    end_disk_wait_after_h: float = key(
        1.0,
        "hours that a run waits for a disk that is full or broken before it ends with exit code 20, and what is chosen for a failure "
        "follows; 0 is never. Change it as end_stalled_after_s",
        low=0.0,
        high=1000.0,
    )
    stop_at_plateau: bool = key(
        False,
        "end after the epoch in which the samples are seen to get no better; off: it is only said, with the key that ends",
    )
    prior_weight: float = key(1.0, "factor on the loss of regularisation images; lower is weaker", low=0.0, high=10.0)
    max_grad_norm: float = key(1.0, "gradients are scaled down to this norm; 0: never", low=0.0)
    ema_decay: float = key(
        0.0,
        "make samples and files from a moving average of the LoRA; 0.99 to 0.999 are usual, 0 is off",
        low=0.0,
        high=0.99999,
    )

    @property
    def window_batches(self) -> int:
        """Batches behind one optimizer step, those of all processes together."""
        return self.accumulation * self.processes


LYCORIS = ("loha", "lokr")
"""Kinds whose change of a weight is not a product of two small matrices."""

ALPHA_FOLLOWS: Mapping[str, float] = {"adapter.alpha": 0.0, "adapter.alpha_ratio": 1.0, "adapter.conv_alpha": 0.0}
"""Values with which alpha is the rank."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The LoRA."""

    kind: Literal["lora", "locon", "loha", "lokr"] = key(
        "lora",
        "adapter type; for loha and lokr alpha is the rank unless set, and the learning rate counts in full",
    )
    rank: int = key(16, "rank (also called dim)", low=1, high=1024)
    alpha: float = key(
        0.0,
        "alpha; effect and learning rate are scaled by alpha/rank. 0: it follows the rank (rank × alpha_ratio), so another "
        "rank learns as fast. Keep 0 for loha and lokr: some programs apply their alpha/rank twice",
        low=0.0,
        high=65504.0,
    )
    alpha_ratio: float = key(
        1.0, "alpha as a multiple of the rank, if alpha is 0; 1 is alpha = rank, 0.5 is half", above=0.0, high=64.0
    )
    conv_rank: int = key(0, "rank of 3×3 convolutions for +conv targets; 0: as rank", low=0, high=1024)
    conv_alpha: float = key(0.0, "alpha of 3×3 convolutions; 0: conv_rank if that is set, else alpha", low=0.0, high=65504.0)
    rank_wanted: tuple[int, int] = key((4, 128), "lowest and highest rank that the recipe works with")
    targets: Targets = key(
        "sd-scripts", "which layers get a LoRA: the set of that name in the other trainers; +conv adds convolutions"
    )
    dropout: float = key(0.0, "share of the LoRA's inputs that are dropped", low=0.0, high=0.99)
    rank_dropout: float = key(
        0.0, "share of ranks dropped for each image (lora, locon), or of output rows (loha, lokr)", low=0.0, high=0.5
    )
    module_dropout: float = key(0.0, "share of layers whose adapter is skipped for a batch", low=0.0, high=0.99)
    rank_stabilised: bool = key(False, "scale by alpha/sqrt(rank) instead of alpha/rank")
    dora: bool = key(False, "also train the length of every row of the weights (DoRA); the files work in diffusers only")
    factor: int = key(
        -1,
        "lokr: size of the smaller Kronecker factor; smaller numbers make larger files; -1: about the square root",
        low=-1,
        high=1024,
    )
    decompose_both: bool = key(False, "lokr: also split the smaller Kronecker factor into two of the rank")
    start_from: str = key("", "LoRA file to continue from: of loratui, kohya's scripts or diffusers; empty: a new LoRA")

    @property
    def effective_alpha(self) -> float:
        """Alpha; if it is 0 it follows the rank."""
        return self.alpha or self.followed_alpha

    @property
    def followed_alpha(self) -> float:
        """Alpha if it follows the rank."""
        return self.alpha_ratio * self.rank

    @property
    def drops(self) -> bool:
        """Whether any dropout is on, so that a step draws random numbers."""
        return bool(self.dropout or self.rank_dropout or self.module_dropout)


@dataclass(frozen=True, kw_only=True)
class OptimizerSection:
    """The optimizer and its learning-rate schedule."""

    name: Optimizer = key("auto", "optimizer; auto is AdamW8bit on a GPU and AdamW on a CPU")
    learning_rate: float = key(1e-4, "learning rate of the LoRA", above=0.0, high=10.0)
    text_encoder_learning_rate: float = key(
        0.0, "learning rate of the text encoder's LoRA; 0: as learning_rate", low=0.0, high=10.0
    )
    weight_decay: float = key(0.01, "weight decay", low=0.0, high=10.0)
    beta1: float = key(0.9, "first beta of Adam-like optimizers", low=0.0, high=0.999999)
    beta2: float = key(
        0.0,
        "second beta of Adam-like optimizers; 0: the usual value, 0.99 for lion, else 0.999",
        low=0.0,
        high=0.999999,
    )
    d_coef: float = key(1.0, "factor on the rate that Prodigy finds", above=0.0, high=100.0)
    scheduler: Scheduler = key("cosine", "learning-rate schedule")
    warmup: float = key(0.0, "share of the optimizer steps over which the learning rate rises from 0", low=0.0, high=0.9)
    continued: Literal["stretch", "restart"] = key(
        "stretch",
        "learning-rate schedule of a run that continues another: stretch spreads it over the steps of both, restart begins it again",
    )
    cycles: int = key(1, "number of cosine cycles (cosine_with_restarts)", low=1, high=100)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Where training happens, and time against memory."""

    device: Literal["auto", "cpu"] = key(
        "auto",
        "auto trains on the GPU if there is one, and refuses to start if torch cannot use it; cpu always trains on the CPU",
    )
    plan: Literal["auto", "kept", "partial", "checkpointing", "quantised", "swapped", "nf4"] = key(
        "auto",
        "how the base and its activations lie in GPU memory; auto takes the fastest way that fits: activations kept, some kept, none "
        "kept, then the base in 8 bits, in 8 bits with blocks swapped from main memory, in 4 bits",
    )
    quantise: Literal["auto", "off", "fp8", "int8"] = key(
        "auto",
        "number format of the base's large layers; auto quantises only where the base does not fit otherwise, off never; "
        "fp8 needs an RTX 40xx, L4, H100 or newer",
    )
    limit_gib: float = key(0.0, "GPU memory that the run may take, GiB; 0: all that is free", low=0.0, high=1024.0)
    gradient_checkpointing: Literal["auto", "on", "off"] = key("auto", "compute activations twice instead of keeping them")
    compile: Literal["auto", "on", "off"] = key(
        "auto", "compile the base's blocks for the GPU; auto does so if the run is long enough to gain from it"
    )
    cuda_graphs: Literal["auto", "off"] = key(
        "auto",
        "record a step on the GPU and replay it; auto does so, but not every step with dropout",
    )
    cache_latents: bool = key(True, "encode every image once and keep the latents on disk")
    threads: int = key(0, "CPU threads; 0: all that the machine or container allows", low=0, high=1024)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Images made while training, always with the same seeds."""

    every_image_steps: int = key(0, "image-steps between samples; 0: once an epoch", low=0)
    prompts: tuple[str, ...] = key(
        ("a photo of {subject}",), "prompts; {subject} is trigger and class word, {trigger} and {class} are each alone"
    )
    seed: int = key(1000, "seed of the first sample; each next sample adds 1", low=0)
    steps: int = key(20, "denoising steps", low=1, high=200)
    guidance: float = key(7.5, "guidance (CFG) scale", low=0.0, high=30.0)
    width: int = key(0, "width, px; 0: the resolution", low=0, high=4096)
    height: int = key(0, "height, px; 0: the resolution", low=0, high=4096)
    before_training: bool = key(True, "also make the samples before the first step")
    measure: bool = key(
        True, "measure likeness, copies of photos and variety of the samples, in a process of low priority beside the training"
    )


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation after training."""

    strengths: tuple[float, ...] = key((0.0, 0.5, 1.0, 1.5), "LoRA strengths of the grid")
    prompts: tuple[str, ...] = key(("a photo of {subject}",), "prompts of the grid")
    seeds: int = key(1, "seeds per prompt and strength", low=1, high=20)
    likely_strength: float = key(1.0, "strength at which the finished LoRA is meant to be used", above=0.0, high=4.0)


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is written."""

    name: str = key("", "name of the LoRA file; empty: the trigger")
    save_every_epochs: int = key(1, "epochs between LoRA files", low=1, high=100_000)
    checkpoint_every_s: float = key(60.0, "seconds between checkpoints", low=1.0, high=86_400.0)
    keep_checkpoints: int = key(2, "checkpoints kept for resuming; all LoRA files are kept", low=2, high=100)
    precision: Literal["fp16", "bf16", "fp32"] = key("fp16", "number format of the LoRA file")
    format: Literal["auto", "kohya", "peft"] = key(
        "auto", "names in the LoRA file; auto is kohya's, for FLUX and DoRA those of PEFT and diffusers"
    )
    trigger_in_metadata: bool = key(True, "write the trigger word into the LoRA file")
    planned_from: str = key("", "folder of the run whose validation advised this plan, for the lineage; empty: none")


@dataclass(frozen=True, kw_only=True)
class WhenFinished:
    """What is done when the run has ended; `loratui when-finished` and the app change it at any time."""

    copy_to: str = key(
        "",
        "where the LoRA files are copied to and compared by their hashes; empty: nowhere. "
        "Such as: rsync:HOST:FOLDER, rclone:REMOTE:FOLDER, hub:OWNER/NAME",
        pattern=r"(?:(?:rsync|rclone):(?!-)\S.*|hub:[\w.-]+/[\w.-]+)?",
    )
    command: tuple[str, ...] = key((), "command, as a list of its words; no shell reads it. Empty: none")
    notify: Literal["off", "webhook", "ntfy", "both"] = key(
        "off", "who is told: a webhook, an ntfy topic; the addresses are kept outside of the run"
    )
    pod: Literal["keep", "stop"] = key(
        "keep", "stop: the rented pod (RunPod, Vast.ai) is stopped once the LoRA files are verified; it is never terminated"
    )
    countdown_s: int = key(120, "seconds before the pod is stopped, in which anybody can cancel it", low=10, high=86_400)
    after_failure: bool = key(False, "do this after a failure too; the message is sent in any case")
    after_pause: bool = key(False, "do this after a pause or a stop too")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All values that a preset or recipe can hold, one attribute per TOML section."""

    base: Base = field(default_factory=Base)
    dataset: Dataset = field(default_factory=Dataset)
    schedule: Schedule = field(default_factory=Schedule)
    training: Training = field(default_factory=Training)
    adapter: Adapter = field(default_factory=Adapter)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    memory: Memory = field(default_factory=Memory)
    samples: Samples = field(default_factory=Samples)
    validation: Validation = field(default_factory=Validation)
    output: Output = field(default_factory=Output)
    when_finished: WhenFinished = field(default_factory=WhenFinished)


SECTIONS: dict[str, type] = {f.name: get_type_hints(Settings)[f.name] for f in dataclasses.fields(Settings)}


@dataclass(frozen=True)
class KeyInfo:
    """What the schema says about one key, for help texts, forms and checks."""

    name: str
    """Dotted, such as `adapter.rank`."""
    type: Any
    default: Any
    help: str
    low: float | None
    high: float | None
    above: float | None
    choices: tuple[str, ...]
    """Allowed values of a closed set, else empty."""
    pattern: str


def keys() -> Iterator[KeyInfo]:
    """Every key of the format, section by section, in the order in which files are written."""
    for section, cls in SECTIONS.items():
        hints = get_type_hints(cls)
        for f in dataclasses.fields(cls):
            default = getattr(cls(), f.name)
            choices = tuple(get_args(hints[f.name])) if get_origin(hints[f.name]) is Literal else ()
            yield KeyInfo(f"{section}.{f.name}", hints[f.name], default, choices=choices, **f.metadata)


KEYS: dict[str, KeyInfo] = {k.name: k for k in keys()}


def get(settings: Settings, dotted: str) -> Any:
    """The value of a dotted key."""
    section, name = dotted.split(".")
    return getattr(getattr(settings, section), name)


def replace(settings: Settings, changes: Mapping[str, Any], *, origin: str = "") -> Settings:
    """`settings` with dotted keys changed and checked. A change of kind to LoHa or LoKr also sets the alphas (`ALPHA_FOLLOWS`),
    unless they are among the changes.

    Raises `SchemaError` for an unknown key, a wrong type or a value out of range.
    """
    checked = {full: check(KEYS[full], value, origin) for full, value in _resolved(changes, origin)}
    if settings.adapter.kind not in LYCORIS and checked.get("adapter.kind") in LYCORIS:
        checked = {**ALPHA_FOLLOWS, **checked}
    by_section: dict[str, dict[str, Any]] = {}
    for full, value in checked.items():
        section, name = full.split(".")
        by_section.setdefault(section, {})[name] = value
    return dataclasses.replace(
        settings, **{s: dataclasses.replace(getattr(settings, s), **values) for s, values in by_section.items()}
    )


def _resolved(changes: Mapping[str, Any], origin: str) -> Iterator[tuple[str, Any]]:
    return ((resolve_key(dotted, origin), value) for dotted, value in changes.items())


def resolve_key(dotted: str, origin: str = "") -> str:
    """The full dotted key for what a person typed.

    `rank` and `training.rank` both mean `adapter.rank`, because only one section has a `rank`.
    """
    if dotted in KEYS:
        return dotted
    leaf = dotted.rsplit(".", 1)[-1]
    section = dotted.rsplit(".", 1)[0] if "." in dotted else ""
    owners = [k for k in KEYS if k.rsplit(".", 1)[1] == leaf]
    if section in ("", *SECTIONS):
        if len(owners) == 1:
            return owners[0]
        if owners:
            raise SchemaError(f"{origin}{dotted}: this could mean {' or '.join(owners)}; write the section too")
    by_leaf = {k.rsplit(".", 1)[1]: k for k in KEYS}
    alike = difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.6)
    hint = nearest(dotted, KEYS) or (f"; did you mean {by_leaf[alike[0]]}?" if alike else "")
    raise SchemaError(f"{origin}{dotted}: no such setting{hint}")


def check(info: KeyInfo, value: Any, origin: str = "") -> Any:
    """`value` in the type of the key; a fraction may be given as a whole number.

    Raises `SchemaError` that says what was expected.
    """
    where = f"{origin}{info.name}"
    kind = info.type
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if not isinstance(value, (list, tuple)):
            raise SchemaError(f"{where}: expected a list, got {shown(value)}")
        fixed = len(get_args(kind)) if Ellipsis not in get_args(kind) else None
        if fixed is not None and len(value) != fixed:
            raise SchemaError(f"{where}: expected {fixed} values, got {len(value)}")
        if not value and info.default:
            raise SchemaError(f"{where}: expected at least one value")
        values = tuple(_scalar(where, item, v, info) for v in value)
        if fixed == 2 and values[0] > values[1]:
            raise SchemaError(f"{where}: the least, {shown(values[0])}, is more than the most, {shown(values[1])}")
        return values
    return _scalar(where, kind, value, info)


PATHS = (
    "dataset.path",
    "base.model",
    "base.text_encoder",
    "base.text_encoder_2",
    "base.vae",
    "adapter.start_from",
    "schedule.continue_run",
    "output.planned_from",
)
"""Keys that name files, which may have any name."""


def _is_text(value: str) -> bool:
    """Whether `value` can be written as UTF-8: it has no surrogates that replace other bytes."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _scalar(where: str, kind: Any, value: Any, info: KeyInfo) -> Any:
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        if value not in allowed or not isinstance(value, str):
            listed = ", ".join(str(a) for a in allowed)
            raise SchemaError(f"{where}: {shown(value)} is not one of {listed}{nearest(str(value), allowed)}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise SchemaError(f"{where}: expected true or false, got {shown(value)}")
        return value
    if kind is str:
        if not isinstance(value, str):
            raise SchemaError(f"{where}: expected text in quotes, got {shown(value)}")
        if info.name not in PATHS and not _is_text(value):
            raise SchemaError(f"{where}: {shown(value)} has bytes that are not UTF-8; type it again")
        if info.pattern and not re.fullmatch(info.pattern, value):
            raise SchemaError(f"{where}: {shown(value)} does not look like {info.help.rpartition(': ')[2]}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SchemaError(f"{where}: expected a number, got {shown(value)}")
    if kind is int:
        if isinstance(value, float):
            raise SchemaError(f"{where}: expected a whole number, got {shown(value)}")
        number: float | int = value
    else:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise SchemaError(f"{where}: expected a finite number, got {shown(value)}")
    if info.low is not None and number < info.low:
        raise SchemaError(f"{where}: {shown(value)} is too small; the least is {info.low:.15g}")
    if info.high is not None and number > info.high:
        meant = f"; did you mean {1 / number:.3g}?" if info.name.endswith("learning_rate") and number >= 100 else ""
        raise SchemaError(f"{where}: {shown(value)} is too large; the most is {info.high:.15g}{meant}")
    if info.above is not None and number <= info.above:
        raise SchemaError(f"{where}: {shown(value)} is too small; it must be more than {info.above:g}")
    return number


def parse_value(dotted: str, text: str, origin: str = "") -> tuple[str, Any]:
    """A `key=value` typed by a person as (full key, checked value).

    The value is read as TOML; text need not be quoted.
    """
    full = resolve_key(dotted.strip(), origin)
    info = KEYS[full]
    text = text.strip()
    kind = info.type
    if kind is str or get_origin(kind) is Literal:
        bare = text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text
        return full, check(info, bare, origin)
    if get_origin(kind) is tuple and not text.startswith("["):
        text = f"[{text}]" if get_args(kind)[0] is not str else "[" + _quoted(text) + "]"
    try:
        value = parse_toml(f"v = {text}")["v"]
    except ValueError:
        raise SchemaError(f"{origin}{full}: cannot read {shown(text)}; {_expected(info)}") from None
    return full, check(info, value, origin)


def to_table(settings: Settings, only: frozenset[str] | None = None) -> dict[str, dict[str, Any]]:
    """Nested dictionaries for TOML, every key or those in `only`; empty sections are left out."""
    table: dict[str, dict[str, Any]] = {}
    for dotted in KEYS:
        if only is not None and dotted not in only:
            continue
        section, name = dotted.split(".")
        value = get(settings, dotted)
        table.setdefault(section, {})[name] = list(value) if isinstance(value, tuple) else value
    return table


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """`; did you mean X?` for the most similar known word, or nothing."""
    if len(word) > 100:  # not a typing error, and the search would be slow
        return ""
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _expected(info: KeyInfo) -> str:
    kind = info.type
    if get_origin(kind) is tuple:
        return f"expected a list such as {list(info.default)}"
    return {bool: "expected true or false", int: "expected a whole number", float: "expected a number"}.get(
        kind, "expected text"
    )


def shown(value: Any) -> str:
    """A value as it is written, cut to fit into a sentence."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python writes, or endless brackets
        return "a value too long to show"
    return text if len(text) <= 60 else text[:57] + "…"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
