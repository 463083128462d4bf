"""ai-toolkit's YAML: the first training process of its `config`, with the defaults that it has where a key is missing.

Sources: ai-toolkit `toolkit/config_modules.py`, `toolkit/lora_special.py`, `toolkit/scheduler.py`, `toolkit/optimizer.py`,
`jobs/process/BaseSDTrainProcess.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.importing import files, tables
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word, family_of, spec_of, trains, words
from loratui.engine.importing.families import flows as objective_flows
from loratui.engine.importing.optimizers import optimizer, optimizer_args, scheduler
from loratui.engine.importing.reading import Reading
from loratui.engine.importing.sizes import sides
from loratui.engine.words import count

_OTHERS = ("is_v2", "is_pixart", "is_pixart_sigma", "is_auraflow", "is_v3", "is_lumina2", "is_ssd", "is_vega")
_FORMATS = {
    "float16": "fp16",
    "fp16": "fp16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "fp32": "fp32",
    "float": "fp32",
}
_OPTIMIZERS = {"adamw8": "adamw8bit", "adam8": "adam8bit", "prodigyopt": "prodigy", "dadaptation": "DAdaptation"}
FORMULA = "train.steps counts turns of the loop; an optimizer step is made in each, or in every gradient_accumulation_steps-th (ai-toolkit, BaseSDTrainProcess.py)"


def read(table: Mapping[str, Any], family: str = "") -> tuple[Reading, Amount]:
    """Says what becomes of every value; returns how it counts its steps."""
    config = table.get("config") if isinstance(table.get("config"), dict) else {}
    processes = config.get("process") if isinstance(config, dict) else None
    process = processes[0] if isinstance(processes, list) and processes and isinstance(processes[0], dict) else {}
    values = files.flatten(process, whole=("train.optimizer_params", "train.lr_scheduler_params", "sample.prompts", "sample.samples",
                                           "network.network_kwargs", "model.model_kwargs", "network.lorm"))  # fmt: skip
    if isinstance(config, dict):
        values |= {f"config.{name}": value for name, value in config.items() if name != "process"}
    values |= {str(name): value for name, value in table.items() if name != "config"}
    for at, other in enumerate(processes[1:] if isinstance(processes, list) else []):
        values[f"process[{at + 1}]"] = str(other)[:60]
    reading = Reading("ai-toolkit", values)
    for key in values:
        if key.startswith("process["):
            reading.changed(key, {}, "loratui reads the first process; the others are left out.")
        elif key.startswith(("meta.", "meta")):
            reading.nothing(key, "It describes the file, and changes nothing in it.")
    family = family or _family(reading)
    if not family:
        return reading, Amount()
    _network(reading, family)
    batch = _dataset(reading)
    _train(reading, family)
    _samples(reading)
    amount = _amount(reading, batch)
    _often(reading, amount)
    tables.apply(reading, "ai_toolkit")
    return reading, amount


def _family(reading: Reading) -> str:
    model = reading.text("model.name_or_path")
    arch = reading.text("model.arch").split(":")[0]
    kind = reading.text("type", "sd_trainer")
    if kind not in ("sd_trainer", "ui_trainer", "diffusion_trainer"):
        return trains(reading, "type", f"ai-toolkit's job {kind[:40]}", model)
    if arch and not by_word("ai-toolkit", arch):
        return trains(reading, "model.arch", arch[:60], model)
    for flag in _OTHERS:
        if reading.yes(f"model.{flag}"):
            return trains(reading, f"model.{flag}", flag.removeprefix("is_").upper(), model)
    flags = [word for word in words("ai-toolkit") if word.startswith("is_")]
    flag = next((flag for flag in flags if reading.yes(f"model.{flag}")), "")
    family = by_word("ai-toolkit", arch) or by_word("ai-toolkit", flag) or family_of(reading, model)
    for key in ("model.arch", *(f"model.{flag}" for flag in flags), *(f"model.{flag}" for flag in _OTHERS)):
        reading.nothing(key, "It says what kind of base it is.")
    reading.taken("model.name_or_path", {"base.model": model})
    reading.assumed("base", family, {"base.family": family}, "The kind of base, from the model's settings or name.")
    reading.nothing("type", "It is a training.")
    if reading.yes("model.is_v_pred"):
        reading.taken("model.is_v_pred", {"base.prediction": "v"})
    for key in ("model.use_text_encoder_1", "model.use_text_encoder_2"):
        if not reading.yes(key, True):
            reading.changed(key, {}, "loratui reads captions with both text encoders.")
    reading.nothing("model.is_v_pred", "loratui reads from the base what it predicts.")
    return family


def _network(reading: Reading, family: str) -> None:
    flows = objective_flows(family)
    kind = reading.text("network.type", "lora").lower()
    ours = {"lora": "lora", "locon": "locon", "lokr": "lokr", "dora": "lora"}.get(kind)
    sets: dict[str, Any] = {"adapter.kind": ours or "lora", "adapter.dora": kind == "dora"}
    (reading.taken if ours else reading.changed)(
        "network.type", sets, "" if ours else f"loratui has no {kind[:40]}; the recipe makes a LoRA."
    )
    rank = reading.whole("network.rank") or reading.whole("network.linear") or 4
    full = kind == "lokr" and reading.yes("network.lokr_full_rank", True)
    if full:
        for key in ("network.rank", "network.linear"):
            reading.nothing(key, "LoKr of full rank has no rank (network.lokr_full_rank).")
        reading.changed(
            "network.lokr_full_rank",
            {"adapter.rank": 1024},
            "loratui's LoKr has a rank; 1024, its highest, keeps most factors whole.",
        )
        reading.assumed(
            "network.lokr_full_rank",
            True,
            {"adapter.rank": 1024},
            "Not in the file; ai-toolkit's LoKr has full rank.",
            "changed",
        )
    else:
        reading.nothing("network.lokr_full_rank", "It belongs to LoKr, or is off.")
        for key in ("network.rank", "network.linear"):
            reading.taken(
                key,
                {"adapter.rank": rank},
                "network.rank counts." if reading.given("network.rank") and key == "network.linear" else "",
            )
        if not reading.given("network.rank"):
            reading.assumed("network.linear", 4, {"adapter.rank": rank})
    alpha = reading.number("network.linear_alpha", reading.number("network.alpha", 1.0))
    for key in ("network.linear_alpha", "network.alpha"):
        if flows or full:
            why = (
                "ai-toolkit ignores it for FLUX and LoKr of full rank: alpha is the rank."
                if reading.given(key) and alpha != rank
                else "Alpha is the rank."
            )
            (reading.changed if alpha != rank and reading.given(key) else reading.taken)(key, {"adapter.alpha": 0.0}, why)
        elif key == "network.alpha" and reading.given("network.linear_alpha"):
            reading.nothing(key, "network.linear_alpha counts.")
        else:
            reading.taken(key, {"adapter.alpha": alpha})
    if not flows and not full and not reading.given("network.alpha"):
        reading.assumed("network.linear_alpha", 1, {"adapter.alpha": alpha})
    conv = reading.whole("network.conv")
    targets = spec_of(family).elsewhere.usual_layers.get("ai-toolkit", "sd-scripts") + ("+conv" if conv and not flows else "")
    reading.assumed("network.targets", targets, {"adapter.targets": targets}, "The layers that ai-toolkit adapts.")
    if flows:
        for key in ("network.conv", "network.conv_alpha"):
            reading.nothing(key, "FLUX has no convolutions.")
    else:
        reading.taken("network.conv", {"adapter.conv_rank": conv, "adapter.targets": targets})
        reading.taken("network.conv_alpha", {"adapter.conv_alpha": reading.number("network.conv_alpha", conv)})
    only = reading.values.get("network.network_kwargs")
    if isinstance(only, dict) and any(only.get(name) for name in ("only_if_contains", "ignore_if_contains")):
        reading.changed("network.network_kwargs", {}, "loratui has sets of layers (adapter.targets) instead of filters.")
    elif only:
        reading.changed("network.network_kwargs", {}, "loratui has no such choices for its network.")
    reading.taken("network.lokr_factor", {"adapter.factor": reading.whole("network.lokr_factor", -1)} if kind == "lokr" else {})


def _dataset(reading: Reading) -> int:
    """Says what becomes of the folders; returns the repeats of the first."""
    for key in list(reading.values):
        if key.startswith("datasets["):
            first = "datasets." + key.partition("].")[2]
            if reading.values.get(first) == reading.values[key]:
                reading.taken(key, {}, "As in the first folder.")
            else:
                reading.changed(
                    key, {}, "loratui trains on one folder with one value for all; several subjects are N_name folders in it."
                )
    folder = reading.text("datasets.folder_path") or reading.text("datasets.dataset_path")
    for key in ("datasets.folder_path", "datasets.dataset_path"):
        reading.taken(key, {"dataset.path": folder})
    found = sides(reading.values.get("datasets.resolution")) if reading.given("datasets.resolution") else [512.0]
    if not found:
        reading.not_understood("datasets.resolution", "This is no size in pixels.")
    elif len(found) > 1:
        reading.changed(
            "datasets.resolution",
            {"dataset.resolution": int(max(found))},
            "ai-toolkit trains on a copy of each image in each size; loratui on one size, the largest of them.",
        )
    else:
        reading.taken("datasets.resolution", {"dataset.resolution": int(found[0])})
    ending = reading.text("datasets.caption_ext", "txt").removeprefix(".")
    if ending in ("txt", "caption"):
        reading.nothing("datasets.caption_ext", "loratui reads captions of both endings, .txt and .caption.")
    else:
        reading.changed("datasets.caption_ext", {}, "loratui reads captions from .txt and .caption; rename the files.")
    if reading.yes("datasets.shuffle_tokens"):
        reading.changed(
            "datasets.shuffle_tokens",
            {"dataset.shuffle_captions": True},
            "loratui draws from 8 orders of each caption (dataset.caption_variants).",
        )
    else:
        reading.taken("datasets.shuffle_tokens", {"dataset.shuffle_captions": False})
    repeats = max(1, reading.whole("datasets.num_repeats", 1))
    reading.taken("datasets.num_repeats", {"schedule.repeats": repeats, "schedule.folder_repeats": False})
    trigger = reading.text("trigger_word") or reading.text("datasets.trigger_word")
    said = "ai-toolkit puts it before captions that lack it; loratui's dataset check does that with one key."
    for key in ("trigger_word", "datasets.trigger_word"):
        reading.changed(key, {"dataset.trigger": trigger}, said)
    if reading.yes("datasets.is_reg"):
        reading.changed("datasets.is_reg", {}, "These are regularisation images; put them into the dataset's folder as reg.")
    reading.nothing("datasets.is_reg", "It is off.")
    return repeats


def _train(reading: Reading, family: str) -> None:
    theirs = reading.text("train.optimizer", "adamw").lower()
    if reading.given("train.optimizer"):
        reading.values["train.optimizer"] = _OPTIMIZERS.get(theirs, theirs)
    params = reading.values.get("train.optimizer_params")
    args = {str(k): str(v) for k, v in params.items()} if isinstance(params, dict) else {}
    ours = optimizer(reading, "train.optimizer", "adamw", args)
    if args:
        optimizer_args(reading, "train.optimizer_params", args, ours)
    rate = reading.number("train.lr", 1e-6)
    unet = reading.number("train.unet_lr", rate)
    reading.taken("train.lr", {"optimizer.learning_rate": unet}, "train.unet_lr counts for the base." if unet != rate else "")
    reading.taken("train.unet_lr", {"optimizer.learning_rate": unet})
    reading.assumed("train.lr", 1e-6, {"optimizer.learning_rate": unet})
    text = reading.yes("train.train_text_encoder")
    reading.taken("train.train_text_encoder", {"training.train_text_encoder": text})
    own = reading.number("train.text_encoder_lr", rate)
    reading.taken("train.text_encoder_lr", {"optimizer.text_encoder_learning_rate": own if text and own != unet else 0.0})
    scheduler(reading, "train.lr_scheduler", "constant")
    if reading.text("train.lr_scheduler", "constant") == "linear":
        reading.said.pop("train.lr_scheduler", None)
        reading.changed(
            "train.lr_scheduler",
            {"optimizer.scheduler": "constant"},
            "ai-toolkit's linear rises from a third to the whole rate; the recipe takes constant.",
        )
    precision = _FORMATS.get(reading.text("train.dtype", "fp32"))
    (reading.taken if precision else reading.changed)(
        "train.dtype",
        {"training.precision": precision or "auto"},
        "" if precision else "loratui computes in bf16, fp16 or fp32.",
    )
    reading.assumed("train.dtype", "fp32", {"training.precision": "fp32"})
    saved = _FORMATS.get(reading.text("save.dtype", "float16"))
    (reading.taken if saved else reading.changed)(
        "save.dtype", {"output.precision": saved} if saved else {}, "" if saved else "loratui writes fp16, bf16 or fp32."
    )
    gamma = reading.number("train.min_snr_gamma") or reading.number("train.snr_gamma")
    for key in ("train.min_snr_gamma", "train.snr_gamma"):
        if objective_flows(family):
            reading.nothing(key, "It has no meaning for FLUX.")
        else:
            reading.taken(key, {"training.min_snr_gamma": gamma})
    offset = reading.number("train.noise_offset")
    if objective_flows(family) and offset:
        reading.changed("train.noise_offset", {}, "loratui has no offset noise for FLUX.")
    else:
        reading.taken("train.noise_offset", {} if objective_flows(family) else {"training.noise_offset": offset})
    _levels(reading, family)
    kind = reading.text("train.loss_type", "mse")
    if kind == "mse":
        reading.taken("train.loss_type", {"training.loss": "mse"})
    else:
        reading.changed(
            "train.loss_type", {"training.loss": "mse"}, f"loratui has no loss {kind[:40]}; the recipe takes the squared error."
        )
    if reading.yes("train.ema_config.use_ema"):
        decay = reading.number("train.ema_config.ema_decay", 0.999)
        reading.taken("train.ema_config.use_ema", {"training.ema_decay": decay})
        reading.taken("train.ema_config.ema_decay", {"training.ema_decay": decay})
    else:
        for key in ("train.ema_config.use_ema", "train.ema_config.ema_decay"):
            reading.nothing(key, "The moving average is off.")
    if not reading.yes("train.train_unet", True):
        reading.changed("train.train_unet", {}, "loratui always trains the base's layers.")
    else:
        reading.nothing("train.train_unet", "loratui trains the base's layers too.")


def _levels(reading: Reading, family: str) -> None:
    kind = reading.text("train.timestep_type", "sigmoid")
    if not objective_flows(family):
        for key in ("train.timestep_type", "train.linear_timesteps", "train.linear_timesteps2"):
            reading.nothing(key, "It belongs to flow matching.")
        reading.nothing("train.cfg_scale", "It is an input of FLUX alone, or belongs to do_cfg.")
        _balance(reading)
        reading.nothing("train.noise_scheduler", "loratui trains with the base's own schedule.")
        return
    reading.nothing("train.noise_scheduler", "loratui trains FLUX by flow matching.")
    ours = {"sigmoid": "sigmoid", "linear": "uniform", "shift": "flux_shift"}.get(kind)
    if reading.yes("train.linear_timesteps") or reading.yes("train.linear_timesteps2"):
        for key in ("train.linear_timesteps", "train.linear_timesteps2"):
            reading.changed(
                key, {"training.timestep_sampling": "uniform"}, "loratui draws evenly, without weights of the levels."
            )
        reading.nothing("train.timestep_type", "train.linear_timesteps counts.")
    elif ours:
        reading.taken("train.timestep_type", {"training.timestep_sampling": ours})
        reading.assumed("train.timestep_type", "sigmoid", {"training.timestep_sampling": "sigmoid"})
    else:
        reading.changed(
            "train.timestep_type",
            {"training.timestep_sampling": "sigmoid"},
            f"loratui has no {kind[:40]}; the recipe takes sigmoid.",
        )
    for key in ("train.linear_timesteps", "train.linear_timesteps2"):
        reading.nothing(key, "It is off.")
    _balance(reading)
    reading.taken("train.cfg_scale", {"training.guidance": reading.number("train.cfg_scale", 1.0)})


def _balance(reading: Reading) -> None:
    balance = reading.text("train.content_or_style", "balanced")
    if balance == "balanced":
        reading.nothing("train.content_or_style", "All noise levels count as they are drawn.")
    else:
        reading.changed("train.content_or_style", {}, "loratui draws the noise levels as training.timestep_sampling says.")


def _samples(reading: Reading) -> None:
    prompts = reading.values.get("sample.prompts")
    items = reading.values.get("sample.samples")
    if isinstance(items, list):
        texts = [i["prompt"] for i in items if isinstance(i, dict) and isinstance(i.get("prompt"), str)]
        more = any(isinstance(i, dict) and len(i) > 1 for i in items)
        words = "The prompts are taken; loratui makes all with one size, seed, steps and guidance." if more else ""
        (reading.changed if more else reading.taken)(
            "sample.samples", {"samples.prompts": _prompts(texts)} if texts else {}, words
        )
    if isinstance(prompts, list) and all(isinstance(p, str) for p in prompts):
        if prompts:
            reading.taken("sample.prompts", {"samples.prompts": _prompts(prompts)})
    elif reading.given("sample.prompts"):
        reading.not_understood("sample.prompts", "These are no prompts.")


def _prompts(texts: list[str]) -> tuple[str, ...]:
    return tuple(text.replace("[trigger]", "{trigger}") for text in texts if text.strip())[:50] or ("a photo of {subject}",)


def _amount(reading: Reading, repeats: int) -> Amount:
    batch = max(1, reading.whole("train.batch_size", 1))
    reading.taken("train.batch_size", {"training.batch_size": batch})
    steps = max(0, reading.whole("train.steps", 1000))
    sets = {"schedule.rule": "repeats_epochs"}
    words = "The steps below say in how many image-steps that is."
    reading.taken("train.steps", sets, words)
    reading.assumed("train.steps", 1000, sets)
    turn = reading.whole("train.gradient_accumulation", 1)
    every = reading.whole("train.gradient_accumulation_steps", 1)
    if turn > 1:
        reading.taken("train.gradient_accumulation", {"training.accumulation": turn}, "A step there takes so many batches.")
        reading.nothing("train.gradient_accumulation_steps", "train.gradient_accumulation counts.")
        return Amount(batch, turn, 1, repeats, 0, steps, "bucketed", FORMULA, _warmup(reading), "train.lr_scheduler_params")
    reading.nothing("train.gradient_accumulation", "It is off.")
    if every > 1:
        reading.changed(
            "train.gradient_accumulation_steps",
            {"training.accumulation": every},
            f"{count(steps, 'turn')} of ai-toolkit's loop are {count(steps // every, 'optimizer step')}.",
        )
        steps //= every
    elif every == -1:
        reading.changed(
            "train.gradient_accumulation_steps", {}, "loratui makes no step of a whole epoch; set training.accumulation."
        )
    else:
        reading.taken("train.gradient_accumulation_steps", {"training.accumulation": 1})
    return Amount(
        batch, max(1, every), 1, repeats, 0, steps, "bucketed", FORMULA, _warmup(reading), "train.lr_scheduler_params"
    )


def _warmup(reading: Reading) -> float:
    """`constant_with_warmup` takes 1,000 steps where nothing is said."""
    params = reading.values.get("train.lr_scheduler_params")
    found = params.get("num_warmup_steps") if isinstance(params, dict) else None
    if reading.text("train.lr_scheduler", "constant") != "constant_with_warmup":
        if params:
            reading.changed(
                "train.lr_scheduler_params", {}, "loratui's schedules have no such choices; they end at 0 with the run."
            )
        return 0.0
    number = found if isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found < 1e9 else 1000
    return float(number)


def _often(reading: Reading, amount: Amount) -> None:
    window = amount.batch * amount.window
    every = reading.whole("sample.sample_every", 100)
    if reading.yes("train.disable_sampling"):
        reading.changed("train.disable_sampling", {}, "loratui makes samples once an epoch.")
        reading.nothing("sample.sample_every", "Samples are off there.")
    else:
        reading.nothing("train.disable_sampling", "It is off.")
        reading.taken(
            "sample.sample_every",
            {"samples.every_image_steps": max(0, every * window)},
            f"A step has {count(window, 'image-step')}." if window > 1 else "",
        )
    if reading.yes("train.skip_first_sample"):
        reading.taken("train.skip_first_sample", {"samples.before_training": False})
    else:
        reading.taken("train.skip_first_sample", {"samples.before_training": True})
    reading.changed("save.save_every", {}, "loratui writes LoRA files at the ends of epochs (output.save_every_epochs).")
