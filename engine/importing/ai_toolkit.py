"""ai-toolkit's YAML: the first training process of its `config`, with the defaults that it has where a key is missing.

Sources: ai-toolkit `toolkit/config_modules.py`, `toolkit/lora_special.py`, `toolkit/scheduler.py`, `toolkit/optimizer.py`,
`jobs/process/BaseSDTrainProcess.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.importing import ai_toolkit_data, files, masks, tables
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word, family_of, spec_of, trains, words
from loratui.engine.importing.families import flows as objective_flows
from loratui.engine.importing.optimizers import optimizer, optimizer_args, scheduler
from loratui.engine.importing.reading import Reading
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
    values = files.flatten(_subject_first(process), whole=("train.optimizer_params", "train.lr_scheduler_params", "sample.prompts", "sample.samples",
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
    batch = ai_toolkit_data.dataset(reading)
    masks.of_ai_toolkit(reading)
    _train(reading, family)
    ai_toolkit_data.samples(reading)
    amount = _amount(reading, batch)
    ai_toolkit_data.often(reading, amount)
    tables.apply(reading, "ai_toolkit")
    return reading, amount


def _subject_first(process: Mapping[str, Any]) -> Mapping[str, Any]:
    """The process with its first folder of the subject before those of regularisation images."""
    folders = process.get("datasets")
    if not isinstance(folders, list) or not all(isinstance(item, dict) for item in folders):
        return process
    return {**process, "datasets": sorted(folders, key=lambda item: item.get("is_reg") is True)}


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
