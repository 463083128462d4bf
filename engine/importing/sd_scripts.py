"""What the arguments of kohya's sd-scripts mean here; kohya_ss, FluxGym, training sites and `ss_*` metadata come down to them too.

Sources: sd-scripts v0.10.1, `library/train_util.py`, `train_network.py`, `library/flux_train_utils.py`, `networks/lora*.py`.
"""

from __future__ import annotations

from typing import Any

from loratui.engine.importing import lycoris, tables
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_keys, by_word, family_of, spec_of, trains
from loratui.engine.importing.families import flows as objective_flows
from loratui.engine.importing.optimizers import bare, optimizer, optimizer_args, scheduler
from loratui.engine.importing.prompts import samples
from loratui.engine.importing.reading import Reading, arguments, as_number
from loratui.engine.importing.sizes import resolution

FORMULA = "an epoch has a step for each {window} batches, those of each bucket rounded up (sd-scripts, train_network.py)"
_NO_NOISE = "sd-scripts ignores it for FLUX, and so does loratui."
_PRECISIONS = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
_SAVED = {"float": "fp32", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}


def read(reading: Reading, family: str = "", *, has_network: bool = True) -> Amount:
    """Says what becomes of every value; returns how the tool counts its steps."""
    family = base(reading, family)
    if not family:
        return Amount()
    flows = objective_flows(family)
    rank_and_alpha(reading)
    if has_network:
        network(reading, flows=flows)
    rates(reading)
    noise(reading, flows=flows)
    if flows:
        flow(reading)
    loss(reading, flows=flows)
    dataset(reading)
    precision(reading)
    captions(reading, family)
    saving(reading)
    amount = steps(reading)
    samples(reading, amount, prompts="sample_prompts", every_steps="sample_every_n_steps", every_epochs="sample_every_n_epochs")
    seed(reading, "seed")
    tables.apply(reading, "sd_scripts")
    return amount


def base(reading: Reading, family: str) -> str:
    """The family of the base, and its files; empty, and told, for one that is not trained here."""
    model = reading.text("pretrained_model_name_or_path")
    network_module = reading.text("network_module")
    if reading.yes("v2"):
        return trains(reading, "v2", "Stable Diffusion 2", model)
    for word, title in (("sd3", "Stable Diffusion 3"), ("lumina", "Lumina"), ("anima", "Anima"), ("hunyuan", "HunyuanImage")):
        if word in network_module:
            return trains(reading, "network_module", title, model)
    if reading.given("model_type") and not by_word("model_type", reading.text("model_type")):
        return trains(reading, "model_type", "Chroma", model)
    if not family:
        family = by_word("sd-scripts", network_module) or by_keys(reading)
        family = family or family_of(reading, model, str(reading.values.get("resolution") or ""))
    reading.taken("pretrained_model_name_or_path", {"base.model": model})
    reading.nothing("v2", "The base is no Stable Diffusion 2.")
    reading.nothing("model_type", "The base is FLUX.1.")
    reading.assumed(
        "base", family, {"base.family": family}, "The kind of base, from the settings that only it has, or its name."
    )
    if reading.yes("v_parameterization"):
        reading.taken("v_parameterization", {"base.prediction": "v"})
    else:
        reading.nothing("v_parameterization", "loratui reads from the base what it predicts.")
    if objective_flows(family):
        reading.taken("ae", {"base.vae": reading.text("ae")})
    if reading.yes("zero_terminal_snr"):
        reading.taken("zero_terminal_snr", {"base.zero_terminal_snr": "on"})
    else:
        reading.nothing("zero_terminal_snr", "loratui reads the schedule from the base.")
    return family


def rank_and_alpha(reading: Reading) -> None:
    """The rank, and alpha, which is 1 where nothing is said."""
    rank = reading.whole("network_dim", 4)
    ours = min(rank, 1024)
    if rank > 1024:
        reading.changed(
            "network_dim", {"adapter.rank": 1024}, "So high a rank stands for whole factors; loratui takes 1024 at most."
        )
    else:
        reading.taken("network_dim", {"adapter.rank": rank})
        reading.assumed("network_dim", 4, {"adapter.rank": 4})
    alpha = reading.number("network_alpha", 1.0)
    why = "0 means that alpha is the rank, there and here." if alpha == 0 else ""
    reading.taken("network_alpha", {"adapter.alpha": alpha, "adapter.alpha_ratio": 1.0}, why)
    reading.assumed(
        "network_alpha", 1, {"adapter.alpha": 1.0}, f"Not in the file; sd-scripts takes alpha 1, so the effect is 1/{ours}."
    )


def network(reading: Reading, *, flows: bool) -> None:
    """Kind and layers of the adapter."""
    module = reading.text("network_module", "networks.lora_flux" if flows else "networks.lora")
    lycoris.adapter(reading, module, _args(reading, "network_args"), flows=flows)


def _args(reading: Reading, key: str) -> dict[str, str]:
    found = arguments(reading.values.get(key)) if reading.given(key) else {}
    if found is None:
        reading.not_understood(key, "These are no words of the form name=value.")
        return {}
    return found


def rates(reading: Reading) -> None:
    """Optimizer, learning rates, schedule; the warm-up belongs to the steps."""
    given = (
        "use_8bit_adam" if reading.yes("use_8bit_adam") else "use_lion_optimizer" if reading.yes("use_lion_optimizer") else ""
    )
    default = {"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"}.get(given, "AdamW")
    args = _args(reading, "optimizer_args")
    ours = optimizer(reading, "optimizer_type", default, args)
    for old in ("use_8bit_adam", "use_lion_optimizer"):
        reading.nothing(
            old,
            "An older name of optimizer_type; that one counts."
            if reading.given("optimizer_type")
            else "It names the optimizer.",
        )
    optimizer_args(reading, "optimizer_args", args, ours)
    if ours == "adafactor" and args.get("relative_step", "True").lower() != "false":
        reading.lost.append(
            "Adafactor there finds the rate by itself; loratui's keeps to optimizer.learning_rate. Set one, such as 1e-4."
        )

    rate = reading.number("learning_rate", 2e-6)
    unet = reading.number("unet_lr") or rate
    if reading.given("unet_lr") and unet != rate:
        reading.taken("unet_lr", {"optimizer.learning_rate": unet})
        reading.nothing("learning_rate", "unet_lr counts for the base, text_encoder_lr for the text encoders.")
    else:
        reading.taken("learning_rate", {"optimizer.learning_rate": rate})
        reading.taken("unet_lr", {"optimizer.learning_rate": unet})
        reading.assumed("learning_rate", rate, {"optimizer.learning_rate": unet})
    _text_encoder(reading, rate, unet)

    power = reading.number("lr_scheduler_power", 1.0)
    if reading.given("lr_scheduler_type"):
        reading.changed("lr_scheduler_type", {}, "loratui has no such class; lr_scheduler counts.")
    chosen = scheduler(reading, "lr_scheduler", "constant", power=power)
    cycles = reading.whole("lr_scheduler_num_cycles", 1)
    if chosen == "cosine_with_restarts":
        reading.taken("lr_scheduler_num_cycles", {"optimizer.cycles": cycles})
    else:
        reading.nothing("lr_scheduler_num_cycles", "Only cosine_with_restarts has cycles.")
    reading.nothing("lr_scheduler_power", "Only polynomial has a power; the schedule above says what it comes to.")


def _text_encoder(reading: Reading, rate: float, unet: float) -> None:
    """Whether the text encoder is trained, and how fast; SDXL's two have one rate here."""
    key = "text_encoder_lr"
    values = reading.values.get(key)
    found = (
        [as_number(v) for v in (values if isinstance(values, list) else str(values).split())] if reading.given(key) else [rate]
    )
    if None in found or not found:
        reading.not_understood(key, "This is not a number.")
        found = [rate]
    text = found[0] or 0.0
    if reading.yes("network_train_text_encoder_only"):
        reading.changed(
            "network_train_text_encoder_only", {"training.train_text_encoder": True}, "loratui always trains the base too."
        )
    else:
        reading.nothing("network_train_text_encoder_only", "It is off.")
    if reading.yes("network_train_unet_only"):
        reading.taken("network_train_unet_only", {"training.train_text_encoder": False})
        reading.nothing(key, "The text encoder is not trained (network_train_unet_only).")
    elif reading.given(key) and text == 0:
        reading.nothing("network_train_unet_only", "The rate of the text encoder decides.")
        reading.taken(key, {"training.train_text_encoder": False}, "A rate of 0 trains nothing.")
    else:
        trained = {"training.train_text_encoder": True}
        rates = {} if text == unet else {"optimizer.text_encoder_learning_rate": text}
        reading.taken("network_train_unet_only", trained)
        if len(set(found)) > 1:
            reading.changed(key, {**trained, **rates}, "loratui has one rate for all text encoders: the first.")
        else:
            reading.taken(key, {**trained, **rates})
        why = "Not in the file; sd-scripts then trains the text encoder too."
        reading.assumed("network_train_unet_only", False, {**trained, **({} if reading.given(key) else rates)}, why)


def noise(reading: Reading, *, flows: bool) -> None:
    """What the noise and the weights of the loss are for diffusion models; sd-scripts' FLUX has none of it."""
    for key, ours in (
        ("min_snr_gamma", "training.min_snr_gamma"),
        ("noise_offset", "training.noise_offset"),
        ("multires_noise_iterations", "training.multires_noise_iterations"),
        ("multires_noise_discount", "training.multires_noise_discount"),
    ):
        if flows:
            reading.nothing(key, _NO_NOISE)
        elif key == "multires_noise_discount" and not reading.number("multires_noise_iterations"):
            reading.nothing(key, "It belongs to multires_noise_iterations, which is off.")
        elif ours == "training.multires_noise_iterations":
            reading.taken(key, {ours: reading.whole(key)})
        else:
            reading.taken(key, {ours: reading.number(key)})
    for key, ours in (
        ("debiased_estimation_loss", "training.debiased_estimation"),
        ("scale_v_pred_loss_like_noise_pred", "training.scale_v_loss"),
    ):
        if flows:
            reading.nothing(key, _NO_NOISE)
        else:
            reading.taken(key, {ours: reading.yes(key)})
    reading.taken("ip_noise_gamma", {"training.input_perturbation": reading.number("ip_noise_gamma")})
    if not flows:
        reading.nothing("guidance_scale", "It is an input of FLUX alone.")
        for key in ("discrete_flow_shift", "timestep_sampling", "sigmoid_scale", "model_prediction_type", "logit_mean", "logit_std",
                    "mode_scale", "weighting_scheme", "t5xxl_max_token_length", "t5xxl", "clip_l", "ae"):  # fmt: skip
            reading.nothing(key, "It belongs to FLUX alone.")


def flow(reading: Reading) -> None:
    """Noise levels, guidance and target of FLUX."""
    sampling = reading.text("timestep_sampling", "sigma")
    shift = reading.number("discrete_flow_shift", 3.0)
    if sampling in ("uniform", "sigmoid", "shift", "flux_shift"):
        reading.taken("timestep_sampling", {"training.timestep_sampling": sampling})
    else:
        sets = {"training.timestep_sampling": "shift", "training.timestep_shift": shift}
        why = f"It draws evenly and shifts by {shift:g}; loratui has the nearest to it, shift, which has fewer of the lowest and highest levels."
        reading.changed("timestep_sampling", sets, why)
        reading.assumed("timestep_sampling", "sigma", sets, f"Not in the file; sd-scripts takes sigma. {why}", "changed")
    if sampling == "shift":
        reading.taken("discrete_flow_shift", {"training.timestep_shift": shift})
    else:
        used = sampling not in ("uniform", "sigmoid", "flux_shift")
        reading.nothing(
            "discrete_flow_shift", "timestep_sampling says what becomes of it." if used else f"{sampling} takes no shift."
        )
    if sampling in ("sigmoid", "shift", "flux_shift"):
        reading.taken("sigmoid_scale", {"training.timestep_scale": reading.number("sigmoid_scale", 1.0)})
    else:
        reading.nothing("sigmoid_scale", f"{sampling} has no scale.")
    kind = reading.text("model_prediction_type", "sigma_scaled")
    if kind == "raw":
        reading.nothing("model_prediction_type", "loratui compares the model's answer itself with the flow, too.")
    else:
        why = "loratui compares the model's answer itself with the flow (raw), as FLUX was trained; sd-scripts' manual recommends that too."
        reading.changed("model_prediction_type", {}, why)
        reading.assumed("model_prediction_type", kind, {}, why, "changed")
    guidance = reading.number("guidance_scale", 3.5)
    reading.taken("guidance_scale", {"training.guidance": guidance})
    reading.assumed("guidance_scale", 3.5, {"training.guidance": 3.5})
    weighting = reading.text("weighting_scheme", "uniform")
    if sampling != "sigma" or weighting in ("uniform", "none"):
        reading.nothing("weighting_scheme", "It weights nothing here.")
    else:
        ours = weighting if weighting in ("sigma_sqrt", "cosmap") else "none"
        sets = {"training.weighting": ours}
        (reading.taken if ours != "none" else lambda k, s: reading.changed(k, s, "loratui draws no levels in this way."))(
            "weighting_scheme", sets
        )
    for key in ("logit_mean", "logit_std", "mode_scale"):
        reading.nothing(key, "It belongs to a weighting_scheme that is not used.")
    tokens = reading.whole("t5xxl_max_token_length", 512)
    if tokens == 512:
        reading.nothing("t5xxl_max_token_length", "loratui reads 512 tokens too.")
    else:
        reading.changed("t5xxl_max_token_length", {}, "loratui always reads 512 tokens.")


def loss(reading: Reading, *, flows: bool) -> None:
    """The distance that is trained."""
    kind = reading.text("loss_type", "l2")
    if kind in ("l2", "mse"):
        reading.taken("loss_type", {"training.loss": "mse"})
        for key in ("huber_schedule", "huber_c", "huber_scale"):
            reading.nothing(key, "It belongs to the Huber loss, which is not used.")
        return
    if kind not in ("huber", "smooth_l1"):
        reading.changed(
            "loss_type", {"training.loss": "mse"}, f"loratui has no loss {kind[:40]}; the recipe takes the squared error."
        )
        return
    if kind == "huber":
        reading.taken("loss_type", {"training.loss": "huber"})
    else:
        reading.changed(
            "loss_type", {"training.loss": "huber"}, "loratui's Huber loss has the same shape, but not the same size."
        )
    schedule = reading.text("huber_schedule", "snr")
    if flows and schedule == "snr":
        reading.changed(
            "huber_schedule",
            {"training.huber_schedule": "constant"},
            "snr cannot be computed for FLUX, there neither; constant instead.",
        )
    else:
        reading.taken("huber_schedule", {"training.huber_schedule": schedule})
        reading.assumed("huber_schedule", "snr", {"training.huber_schedule": "constant" if flows else "snr"})
    reading.taken("huber_c", {"training.huber_c": reading.number("huber_c", 0.1)})


def dataset(reading: Reading) -> None:
    """Folder, sizes and buckets."""
    if reading.given("train_data_dir"):
        reading.taken("train_data_dir", {"dataset.path": reading.text("train_data_dir")})
    if reading.given("reg_data_dir"):
        folder = "Put these images into the dataset's folder, as reg or reg_NAME; loratui then shows them as often as sd-scripts does."
        reading.changed("reg_data_dir", {}, folder)
    resolution(reading, "resolution", 512)
    buckets = reading.yes("enable_bucket")
    reading.taken("enable_bucket", {"dataset.buckets": buckets})
    why = "Not in the file; sd-scripts then crops every image to a square."
    reading.assumed("enable_bucket", False, {"dataset.buckets": False}, why)
    free = not reading.yes("bucket_no_upscale")
    if not buckets:
        for key in ("bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps"):
            reading.nothing(key, "There are no buckets (enable_bucket).")
        return
    reading.taken("bucket_no_upscale", {"dataset.upscale": free})
    reading.assumed("bucket_no_upscale", False, {"dataset.upscale": free})
    reading.taken("bucket_reso_steps", {"dataset.bucket_step": reading.whole("bucket_reso_steps", 64)})
    for key, ours, default in (("min_bucket_reso", "dataset.bucket_min", 256), ("max_bucket_reso", "dataset.bucket_max", 1024)):
        if free:
            reading.taken(key, {ours: reading.whole(key, default)})
            reading.assumed(key, default, {ours: default})
        else:
            reading.nothing(key, "Without upscaling nothing bounds a bucket's side, there and here.")


def captions(reading: Reading, family: str) -> None:
    """How captions are read and varied."""
    ending = reading.text("caption_extension") or reading.text("caption_extention") or ".caption"
    for key in ("caption_extension", "caption_extention"):
        if ending in (".txt", ".caption"):
            reading.nothing(key, "loratui reads captions of both endings, .txt and .caption.")
        else:
            reading.changed(key, {}, "loratui reads captions from .txt and .caption; rename the files.")
    if reading.text("caption_separator", ",") == ",":
        reading.nothing("caption_separator", "Tags are separated by commas here too.")
    else:
        reading.changed("caption_separator", {}, "loratui separates tags by commas.")
    if reading.yes("shuffle_caption"):
        reading.changed(
            "shuffle_caption",
            {"dataset.shuffle_captions": True},
            "loratui draws from 8 orders of each caption (dataset.caption_variants); sd-scripts makes a new one each time.",
        )
    else:
        reading.taken("shuffle_caption", {"dataset.shuffle_captions": False})
    if reading.yes("enable_wildcard"):
        reading.taken("enable_wildcard", {"dataset.caption_choice": "line+wildcards"})
    else:
        reading.nothing("enable_wildcard", "It is off; sd-scripts reads the first line of a caption file, loratui all of it.")
    skip = reading.whole("clip_skip", 1)
    if spec_of(family).text.clip_skip == 1:
        reading.taken("clip_skip", {"base.clip_skip": max(1, skip)})
    else:
        reading.nothing("clip_skip", "It changes nothing for this kind of base, there and here.")
    tokens = reading.whole("max_token_length", 75)
    if not spec_of(family).text.several_windows:
        reading.nothing("max_token_length", "It belongs to CLIP; FLUX reads captions with T5.")
    else:
        reading.taken("max_token_length", {"dataset.caption_tokens": tokens})


def precision(reading: Reading) -> None:
    """Number formats, of which the LoRA's own is always 32 bits here."""
    word = reading.text("mixed_precision", "no")
    if word in _PRECISIONS:
        reading.taken("mixed_precision", {"training.precision": _PRECISIONS[word]})
        reading.assumed("mixed_precision", "no", {"training.precision": "fp32"})
    else:
        reading.changed(
            "mixed_precision",
            {"training.precision": "auto"},
            "loratui computes in bf16, fp16 or fp32, and keeps the base in 8 bits where that is needed.",
        )
    for key in ("full_fp16", "full_bf16"):
        if reading.yes(key):
            reading.changed(key, {}, "loratui keeps the LoRA in 32 bits, which trains better and costs little.")
        else:
            reading.nothing(key, "The LoRA is in 32 bits here too.")
    for key in ("fp8_base", "fp8_base_unet"):
        if reading.yes(key):
            reading.changed(key, {}, "loratui keeps the base in 8 bits only where it does not fit otherwise (memory.quantise).")
        else:
            reading.nothing(key, "loratui decides by the card's memory (memory.quantise).")


def saving(reading: Reading) -> None:
    """The finished file."""
    word = reading.text("save_precision", "float")
    if word in _SAVED:
        reading.taken("save_precision", {"output.precision": _SAVED[word]})
        reading.assumed("save_precision", "float", {"output.precision": "fp32"})
    else:
        reading.changed("save_precision", {}, "loratui writes fp16, bf16 or fp32.")
    if reading.text("save_model_as", "safetensors") == "safetensors":
        reading.nothing("save_model_as", "loratui writes safetensors.")
    else:
        reading.changed("save_model_as", {}, "loratui writes safetensors only; other formats can hold programs.")
    if reading.number("save_every_n_steps"):
        reading.changed("save_every_n_steps", {}, "loratui writes LoRA files at the ends of epochs (output.save_every_epochs).")
    else:
        reading.nothing("save_every_n_steps", "It is off.")
    if reading.given("save_every_n_epochs") and not reading.number("save_every_n_epochs"):
        reading.nothing("save_every_n_epochs", "It is off; loratui writes a file after each epoch.")


def seed(reading: Reading, key: str) -> None:
    """The seed; none there means a random one."""
    value = reading.whole(key, 0)
    if not reading.given(key) or (value <= 0 and reading.tool != "sd-scripts"):
        reading.nothing(key, "Without a seed each run there is another; loratui's is 42.")
    else:
        reading.taken(key, {"training.seed": value})


def steps(reading: Reading) -> Amount:
    """How many optimizer steps the tool makes."""
    batch = reading.whole("train_batch_size", 1)
    reading.taken("train_batch_size", {"training.batch_size": batch})
    epochs = reading.whole("max_train_epochs")
    most = reading.whole("max_train_steps", 1600)
    given = reading.given("max_train_steps")
    if epochs > 0:
        reading.taken("max_train_epochs", {"schedule.rule": "repeats_epochs", "schedule.epochs": epochs})
        reading.nothing("max_train_steps", "max_train_epochs counts.")
        most = 0
    else:
        reading.taken(
            "max_train_steps", {"schedule.rule": "repeats_epochs"}, "The steps below say in how many image-steps that is."
        )
        if not given:
            reading.assumed(
                "max_train_steps",
                1600,
                {"schedule.rule": "repeats_epochs"},
                "Neither epochs nor steps are in the file; sd-scripts makes 1,600 steps.",
            )
    repeats = reading.whole("num_repeats") if reading.given("num_repeats") else reading.whole("dataset_repeats")
    if repeats > 0:
        # Named by the settings, so that the numbers in folder names do not count, as in sd-scripts' dataset files.
        sets: dict[str, Any] = {"schedule.repeats": repeats, "schedule.folder_repeats": False}
        reading.taken("num_repeats", sets)
        reading.taken("dataset_repeats", sets)
    warm = reading.values.get("lr_warmup_steps")
    warmup = _warmup(reading, warm)
    return Amount(
        batch=max(1, batch),
        accumulation=max(1, reading.whole("gradient_accumulation_steps", 1)),
        processes=max(1, reading.whole("num_processes", 1)),
        repeats=repeats if repeats > 0 else 0,
        epochs=epochs if epochs > 0 else 0,
        steps=max(0, most),
        counts="bucketed",
        formula=FORMULA,
        warmup=warmup,
        warmup_key="lr_warmup_steps",
    )


def _warmup(reading: Reading, value: Any) -> float:
    """Steps, or a share below 1. sd-scripts takes a number, a share such as 0.1, and "10%"."""
    key = "lr_warmup_steps"
    if not reading.given(key):
        return 0.0
    if isinstance(value, str) and value.endswith("%"):
        found = as_number(value[:-1])
        return found / 100 if found is not None and 0 <= found < 100 else _no_warmup(reading, key)
    found = as_number(value)
    return found if found is not None and found >= 0 else _no_warmup(reading, key)


def _no_warmup(reading: Reading, key: str) -> float:
    reading.not_understood(key, "This is no number of steps.")
    return 0.0


def of_optimizer(name: str) -> str:
    """A name of an optimizer as metadata writes it, `module.Class(args)`, by its class alone."""
    return name.split("(", 1)[0].rsplit(".", 1)[-1] if bare(name) else name
