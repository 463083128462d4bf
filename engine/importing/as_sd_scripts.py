"""A recipe as sd-scripts' training and dataset configurations, and what of it these cannot say.

Sources: as `sd_scripts.py`, whose reading of what is written here gives the recipe again (a test compares them).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.formats.metadata import network_args, network_module
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe
from loratui.presets.schema import KEYS, LYCORIS, Settings, get

_OPTIMIZERS = {
    "auto": "AdamW8bit", "adamw": "AdamW", "adamw8bit": "AdamW8bit", "adafactor": "Adafactor", "prodigy": "Prodigy",
    "dadapt_adam": "DAdaptAdam", "lion": "Lion", "adamw_schedule_free": "AdamWScheduleFree",
}  # fmt: skip
_FIXED = {
    "adafactor": ("relative_step=False", "scale_parameter=False", "warmup_init=False"),
    "prodigy": ("decouple=True", "use_bias_correction=True"),
    "dadapt_adam": ("decouple=True",),
}
_PRECISION = {"auto": "bf16", "bf16": "bf16", "fp16": "fp16", "fp32": "no"}
_SAVED = {"fp32": "float", "fp16": "fp16", "bf16": "bf16"}
_LYCORIS_PRESETS = {"all+conv": "full", "all": "full-lin", "sd-scripts": "attn-mlp", "attention": "attn-only"}


@dataclass(frozen=True)
class Written:
    """The two files, as tables, and what they cannot say."""

    training: Mapping[str, Any]
    dataset: Mapping[str, Any]
    cannot: tuple[tuple[str, Any, str], ...]
    """Setting, value, and why."""


def as_sd_scripts(recipe: Recipe, plan: Plan) -> Written:
    """The recipe in sd-scripts' words, with the plan's repeats and epochs. Raises `UsageError` for several concepts, which need
    folders of their own in the dataset file."""
    settings = recipe.settings
    if len(plan.concepts) > 1:
        raise UsageError(
            "This folder has several concepts; sd-scripts reads its N_name folders itself.",
            "Give it the folder as train_data_dir.",
        )
    training = {key: value for key, value in _training(settings, plan) if value is not None}
    return Written(training, _dataset(settings, plan), tuple(_cannot(settings)))


def to_toml(table: Mapping[str, Any], heading: str) -> str:
    """One of the files."""
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment(heading))
    document.update(table)
    return tomlkit.dumps(document)


def _training(settings: Settings, plan: Plan) -> Iterator[tuple[str, Any]]:
    base, training, output = settings.base, settings.training, settings.output
    spec = families.family(base.family)
    flows = spec.objective == "flow"
    yield "pretrained_model_name_or_path", base.model
    if flows:
        yield "clip_l", base.text_encoder or None
        yield "t5xxl", base.text_encoder_2 or None
        yield "ae", base.vae or None
    else:
        yield "vae", base.vae or None
        yield "v_parameterization", base.prediction == "v" or None
        yield "zero_terminal_snr", base.zero_terminal_snr == "on" or None
        yield "clip_skip", base.clip_skip if spec.text.clip_skip == 1 and base.clip_skip > 1 else None
        yield "max_token_length", settings.dataset.caption_tokens if settings.dataset.caption_tokens > 75 else None
    yield from _network(settings)
    yield from _rates(settings)
    yield from _noise(settings, flows)
    yield from _steps(plan)
    yield "gradient_accumulation_steps", training.accumulation
    yield "seed", training.seed
    yield "mixed_precision", _PRECISION[training.precision]
    yield "max_grad_norm", training.max_grad_norm
    yield "prior_loss_weight", training.prior_weight
    yield "output_name", output.name or settings.dataset.trigger or "lora"
    yield "output_dir", "output"
    yield "save_model_as", "safetensors"
    yield "save_precision", _SAVED[output.precision]
    yield "save_every_n_epochs", output.save_every_epochs
    yield "gradient_checkpointing", True
    yield "sdpa", True
    yield "cache_latents", True


def _network(settings: Settings) -> Iterator[tuple[str, Any]]:
    adapter = settings.adapter
    yield "network_module", network_module(adapter, settings.base.family)
    yield "network_dim", adapter.rank
    scale = math.sqrt(adapter.rank) if adapter.rank_stabilised else 1.0
    yield "network_alpha", adapter.effective_alpha * scale
    args = {name: value for name, value in network_args(adapter).items() if name != "rs_lora"}
    if adapter.kind in LYCORIS:
        args["preset"] = _LYCORIS_PRESETS.get(adapter.targets, "attn-mlp")
    if "conv_dim" in args:
        args["conv_alpha"] = f"{adapter.conv_alpha or adapter.conv_rank or adapter.effective_alpha:g}"
    for name, share in (("rank_dropout", adapter.rank_dropout), ("module_dropout", adapter.module_dropout)):
        if share:
            args[name] = f"{share:g}"
    yield "network_args", [f"{name}={value}" for name, value in args.items()] or None
    yield "network_dropout", adapter.dropout or None
    yield "network_weights", adapter.start_from or None
    yield "network_train_unet_only", not settings.training.train_text_encoder or None


def _rates(settings: Settings) -> Iterator[tuple[str, Any]]:
    optimizer = settings.optimizer
    yield "optimizer_type", _OPTIMIZERS[optimizer.name]
    args = [*_FIXED.get(optimizer.name, ()), f"weight_decay={optimizer.weight_decay:g}"]
    if optimizer.name != "adafactor" and (optimizer.beta1, optimizer.beta2) != (0.9, 0.0):
        args.append(f"betas={optimizer.beta1:g},{optimizer.beta2 or (0.99 if optimizer.name == 'lion' else 0.999):g}")
    if optimizer.name == "prodigy":
        args += [f"d_coef={optimizer.d_coef:g}", *(["safeguard_warmup=True"] if optimizer.warmup else [])]
    yield "optimizer_args", args
    yield "learning_rate", optimizer.learning_rate
    yield "unet_lr", optimizer.learning_rate
    if settings.training.train_text_encoder:
        yield "text_encoder_lr", [optimizer.text_encoder_learning_rate or optimizer.learning_rate]
    constant = optimizer.scheduler == "constant" and optimizer.warmup
    yield "lr_scheduler", "constant_with_warmup" if constant else optimizer.scheduler
    yield "lr_scheduler_power", 2.0 if optimizer.scheduler == "polynomial" else None
    yield "lr_scheduler_num_cycles", optimizer.cycles if optimizer.scheduler == "cosine_with_restarts" else None
    yield "lr_warmup_steps", optimizer.warmup or None


def _noise(settings: Settings, flows: bool) -> Iterator[tuple[str, Any]]:
    training = settings.training
    yield "loss_type", "huber" if training.loss == "huber" else "l2"
    if training.loss == "huber":
        yield "huber_schedule", training.huber_schedule
        yield "huber_c", training.huber_c
    yield "ip_noise_gamma", training.input_perturbation or None
    if flows:
        sampling = "flux_shift" if training.timestep_sampling == "auto" else training.timestep_sampling
        yield "timestep_sampling", sampling
        yield "discrete_flow_shift", training.timestep_shift if sampling == "shift" else None
        yield "sigmoid_scale", training.timestep_scale if sampling != "uniform" else None
        yield "model_prediction_type", "raw"
        yield "guidance_scale", training.guidance
        return
    yield "min_snr_gamma", training.min_snr_gamma or None
    yield "noise_offset", training.noise_offset or None
    if training.multires_noise_iterations:
        yield "multires_noise_iterations", training.multires_noise_iterations
        yield "multires_noise_discount", training.multires_noise_discount
    yield "debiased_estimation_loss", training.debiased_estimation or None
    yield "scale_v_pred_loss_like_noise_pred", training.scale_v_loss or None


def _steps(plan: Plan) -> Iterator[tuple[str, Any]]:
    if plan.image_steps_cap:
        yield "max_train_steps", plan.optimizer_steps
    else:
        yield "max_train_epochs", plan.epochs


def _dataset(settings: Settings, plan: Plan) -> Mapping[str, Any]:
    data = settings.dataset
    buckets: dict[str, Any] = {"enable_bucket": data.buckets}
    if data.buckets:
        buckets |= {"bucket_no_upscale": not data.upscale, "bucket_reso_steps": data.bucket_step,
                    "min_bucket_reso": data.bucket_min, "max_bucket_reso": data.bucket_max}  # fmt: skip
    subset: dict[str, Any] = {"image_dir": data.path or "PUT THE FOLDER HERE", "num_repeats": plan.repeats}
    if words := " ".join(word for word in (data.trigger, data.class_word) if word):
        subset["class_tokens"] = words
    subset |= {"caption_extension": ".txt", "shuffle_caption": data.shuffle_captions, "keep_tokens": data.keep_tokens,
               "flip_aug": data.flip, "caption_dropout_rate": data.caption_dropout}  # fmt: skip
    if data.masks == "alpha":
        subset["alpha_mask"] = True
    if data.caption_choice == "line+wildcards":
        subset["enable_wildcard"] = True
    return {
        "datasets": [
            {"resolution": data.resolution, "batch_size": settings.training.batch_size, **buckets, "subsets": [subset]}
        ]
    }


_CANNOT: Mapping[str, str] = {
    "training.ema_decay": "sd-scripts has no moving average.",
    "training.high_noise_bias": "sd-scripts draws timesteps evenly.",
    "training.weighting": "sd-scripts weights only with timestep_sampling sigma, which draws otherwise.",
    "training.processes": "Start sd-scripts with accelerate launch --num_processes.",
    "dataset.held_out": "sd-scripts has validation_split, which chooses the images itself.",
    "dataset.masks": "sd-scripts keeps no weight outside of a mask, and makes the loss smaller with it; its masks are in a folder of their own (conditioning_data_dir).",
    "dataset.class_images": "Make the images first, and give their folder as a subset with is_reg.",
    "dataset.caption_choice": "sd-scripts reads the first line of a caption, or with enable_wildcard a random one.",
    "adapter.dora": "Only LyCORIS has DoRA there (dora_wd), in names of its own.",
    "adapter.targets": "sd-scripts has no such set of layers.",
}


def _cannot(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """What differs from the defaults and is not in the files; of what changes nothing that is learnt nothing is said."""
    lycoris = settings.adapter.kind in LYCORIS
    for key, why in _CANNOT.items():
        value = get(settings, key)
        if value == KEYS[key].default:
            continue
        if key == "adapter.targets" and (
            value.removesuffix("+conv") == "sd-scripts" or (lycoris and value in _LYCORIS_PRESETS)
        ):
            continue
        if key == "dataset.caption_choice" and value in ("line+wildcards", "first"):
            continue
        yield key, list(value) if isinstance(value, tuple) else value, why
