"""OneTrainer's configuration: its JSON, with the defaults that it has where a key is missing.

Sources: OneTrainer `modules/util/config/TrainConfig.py`, `modules/util/create.py`, `modules/util/optimizer_util.py`,
`modules/modelSetup/Base*Setup.py` (LAYER_PRESETS), mgds `AspectBatchSorting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.families import FAMILIES
from loratui.engine.importing import files, masks, onetrainer_data, onetrainer_noise, tables
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word, spec_of, trains
from loratui.engine.importing.families import flows as objective_flows
from loratui.engine.importing.optimizers import optimizer, optimizer_args, scheduler
from loratui.engine.importing.reading import Reading, is_off

_OPTIMIZERS = {
    "ADAMW_8BIT": "adamw8bit",
    "DADAPT_ADAM": "DAdaptAdam",
    "SCHEDULE_FREE_ADAMW": "AdamWScheduleFree",
    "ADAM_8BIT": "adam8bit",
}
_OLD = {
    "train_unet": "unet.train", "unet_learning_rate": "unet.learning_rate", "train_text_encoder": "text_encoder.train",
    "text_encoder_learning_rate": "text_encoder.learning_rate", "train_text_encoder_2": "text_encoder_2.train",
    "text_encoder_2_learning_rate": "text_encoder_2.learning_rate", "vae_model_name": "vae.model_name",
    "lora_layers": "layer_filter", "lora_layer_preset": "layer_filter_preset", "lora_layers_regex": "layer_filter_regex",
    "save_after": "save_every", "save_after_unit": "save_every_unit", "prior.train": "transformer.train",
    "prior.learning_rate": "transformer.learning_rate", "train_prior": "transformer.train",
    "optimizer_weight_decay": "optimizer.weight_decay", "optimizer_beta1": "optimizer.beta1", "optimizer_beta2": "optimizer.beta2",
}  # fmt: skip
"""Names of earlier versions -> today's (TrainConfig's migrations)."""
FORMULA = "each epoch drops the images that fill no batch of their bucket; a step for every {batches} over all epochs (OneTrainer, mgds)"


def read(table: Mapping[str, Any], family: str = "") -> tuple[Reading, Amount]:
    """Says what becomes of every value; returns how it counts its steps."""
    flat = files.flatten(
        table,
        whole=("optimizer_defaults", "cloud", "secrets", "scheduler_params", "additional_embeddings", "concepts", "samples"),
    )
    if isinstance(table.get("optimizer"), str):
        flat["optimizer.optimizer"] = flat.pop("optimizer")
    reading = Reading.renamed("OneTrainer", flat, lambda name: _OLD.get(name, name))
    kind = reading.text("model_type", "STABLE_DIFFUSION_15")
    known = by_word("onetrainer", kind)
    family = family or known
    if not known:
        trains(reading, "model_type", kind.replace("_", " ").title()[:60], reading.text("base_model_name"))
        return reading, Amount()
    method = reading.text("training_method", "FINE_TUNE")
    if method == "LORA":
        reading.nothing("training_method", "loratui trains LoRAs.")
    else:
        reading.changed(
            "training_method",
            {},
            "loratui trains LoRAs only; the recipe makes one with these values, whose rate is likely too low for a LoRA.",
        )
        reading.assumed(
            "training_method",
            method,
            {"adapter.kind": "lora"},
            "OneTrainer would train the whole model; loratui makes a LoRA.",
            "changed",
        )
    reading.taken("model_type", {"base.family": family})
    reading.taken("base_model_name", {"base.model": reading.text("base_model_name")})
    reading.assumed("base", family, {"base.family": family})
    flows = objective_flows(family)
    _adapter(reading)
    _layers(reading, family)
    _rates(reading, flows)
    masks.of_onetrainer(reading)
    onetrainer_noise.noise(reading, flows)
    onetrainer_noise.loss(reading, flows)
    onetrainer_data.dataset(reading)
    onetrainer_data.saving(reading)
    for part in ("unet", "transformer"):
        if reading.yes(f"{part}.train", True) or (part == "unet") == flows:
            reading.nothing(f"{part}.train", "loratui trains the base's layers too, or the base has no such part.")
        else:
            reading.changed(f"{part}.train", {}, "loratui always trains the base's layers.")
    amount = _amount(reading)
    tables.apply(reading, "onetrainer")
    other = next(spec.elsewhere.part for spec in FAMILIES if spec.elsewhere.part != spec_of(family).elsewhere.part)
    for key in [key for key in reading.values if key.startswith(f"{other}.")]:
        reading.nothing(key, "This kind of base has no such part.")
    return reading, amount


def _adapter(reading: Reading) -> None:
    kind = reading.text("peft_type", "LORA")
    ours = {"LORA": "lora", "LOHA": "loha", "LOKR": "lokr"}.get(kind)
    if ours:
        reading.taken("peft_type", {"adapter.kind": ours})
    else:
        reading.changed("peft_type", {"adapter.kind": "lora"}, f"loratui has no {kind[:40]}; the recipe makes a LoRA.")
        ours = "lora"
    of_lokr = ours == "lokr"
    for key, default in (("lora_rank", 16), ("lokr_dim", 16)):
        if of_lokr == key.startswith("lokr"):
            reading.taken(key, {"adapter.rank": reading.whole(key, default)})
            reading.assumed(key, default, {"adapter.rank": default})
        else:
            reading.nothing(key, f"It belongs to another peft_type than {kind[:20]}.")
    alpha = reading.number("lora_alpha", 1.0)
    if alpha == 0:
        reading.changed(
            "lora_alpha",
            {"adapter.alpha": 0.0},
            "In OneTrainer an alpha of 0 trains nothing; in loratui it means alpha = rank.",
        )
    else:
        reading.taken("lora_alpha", {"adapter.alpha": alpha})
        reading.assumed("lora_alpha", 1.0, {"adapter.alpha": 1.0})
    dora = "lokr_weight_decompose" if of_lokr else "lora_decompose"
    for key in ("lora_decompose", "lokr_weight_decompose"):
        if key == dora:
            reading.taken(key, {"adapter.dora": reading.yes(key)})
        else:
            reading.nothing(key, f"It belongs to another peft_type than {kind[:20]}.")
    for key, target in (("lokr_decompose_both", "adapter.decompose_both"), ("lokr_decompose_factor", "adapter.factor")):
        if of_lokr:
            value: Any = reading.yes(key) if key == "lokr_decompose_both" else reading.whole(key, -1)
            reading.taken(key, {target: value})
        else:
            reading.nothing(key, "It belongs to LoKr.")


def _layers(reading: Reading, family: str) -> None:
    preset = reading.text("layer_filter_preset", "full")
    elsewhere = spec_of(family).elsewhere
    same, near = elsewhere.layers.get("onetrainer", {}), elsewhere.near_layers.get("onetrainer", {})
    custom = preset not in same and preset not in near
    if preset in same:
        sets = {"adapter.targets": same[preset]}
        reading.taken("layer_filter_preset", sets)
        reading.assumed("layer_filter_preset", preset, sets)
    elif preset in near:
        sets = {"adapter.targets": near[preset][0]}
        reading.changed("layer_filter_preset", sets, near[preset][1])
        reading.assumed("layer_filter_preset", preset, sets, near[preset][1], "changed")
    else:
        why = "loratui has sets of layers instead of filters; the recipe takes sd-scripts'."
        reading.changed("layer_filter_preset", {"adapter.targets": "sd-scripts"}, why)
    if custom and reading.given("layer_filter"):
        reading.changed("layer_filter", {}, "loratui has sets of layers (adapter.targets) instead of filters.")
    else:
        reading.nothing("layer_filter", "layer_filter_preset names the layers.")
    reading.nothing("layer_filter_regex", "It belongs to layer_filter.")


def _rates(reading: Reading, flows: bool) -> None:
    theirs = reading.text("optimizer.optimizer", "ADAMW")
    reading.values["optimizer.optimizer"] = _OPTIMIZERS.get(theirs, theirs) if reading.given("optimizer.optimizer") else None
    args = {
        name: str(reading.values[f"optimizer.{name}"])
        for name in (
            "weight_decay",
            "d_coef",
            "d0",
            "use_bias_correction",
            "safeguard_warmup",
            "relative_step",
            "scale_parameter",
        )
        if reading.given(f"optimizer.{name}")
    }
    ours = optimizer(reading, "optimizer.optimizer", "ADAMW", args)
    for name, text in args.items():
        probe = Reading(reading.tool, {name: text})
        optimizer_args(probe, name, {name: text}, ours)
        said = probe.said[name]
        key = f"optimizer.{name}"
        belongs = name == "weight_decay" or ours in ("prodigy", "dadapt_adam", "adafactor")
        if said.kind == "changed" and belongs and not is_off(reading.values[key]):
            reading.changed(key, said.sets, said.why)
        elif said.sets:
            reading.taken(key, said.sets)
        else:
            reading.nothing(key, "It is off, belongs to another optimizer, or is as loratui has it.")
    for beta, target in (("optimizer.beta1", "optimizer.beta1"), ("optimizer.beta2", "optimizer.beta2")):
        if reading.given(beta):
            reading.taken(beta, {target: reading.number(beta)})
    rate = reading.number("learning_rate", 3e-6)
    part = "transformer" if flows else "unet"
    own = reading.number(f"{part}.learning_rate")
    reading.taken(f"{part}.learning_rate", {"optimizer.learning_rate": own or rate})
    scaler = reading.text("learning_rate_scaler", "NONE")
    batch, accumulation = reading.whole("batch_size", 1), reading.whole("gradient_accumulation_steps", 1)
    factor = {"BATCH": batch, "GLOBAL_BATCH": batch, "GRADIENT_ACCUMULATION": accumulation, "BOTH": batch * accumulation,
              "GLOBAL_BOTH": batch * accumulation}.get(scaler, 1) ** 0.5  # fmt: skip
    if scaler == "NONE" or factor == 1:
        reading.nothing("learning_rate_scaler", "It is off, or multiplies by 1.")
        if own and own != rate:
            reading.nothing("learning_rate", f"{part}.learning_rate counts for the base's layers.")
        reading.taken("learning_rate", {"optimizer.learning_rate": own or rate})
    else:
        scaled = float(f"{(own or rate) * factor:.6g}")
        reading.changed(
            "learning_rate",
            {"optimizer.learning_rate": scaled},
            f"OneTrainer multiplies it by {factor:.4g} (learning_rate_scaler).",
        )
        reading.nothing("learning_rate_scaler", "It is in the learning rate.")
    reading.assumed("learning_rate", 3e-6, {"optimizer.learning_rate": own or rate})
    _text_encoders(reading, flows, own or rate)
    chosen = scheduler(reading, "learning_rate_scheduler", "CONSTANT")
    cycles = reading.number("learning_rate_cycles", 1)
    if chosen == "cosine_with_restarts":
        reading.taken("learning_rate_cycles", {"optimizer.cycles": max(1, round(cycles))})
    else:
        reading.nothing("learning_rate_cycles", "Only schedules with restarts have cycles.")


def _text_encoders(reading: Reading, flows: bool, rate: float) -> None:
    """OneTrainer trains every text encoder of the base unless it is told not to, until epoch 30."""
    trained = reading.yes("text_encoder.train", True)
    second = reading.yes("text_encoder_2.train", True)
    why = "Not in the file; OneTrainer then trains the text encoder too."
    reading.taken("text_encoder.train", {"training.train_text_encoder": trained})
    reading.assumed("text_encoder.train", True, {"training.train_text_encoder": True}, why)
    if flows and second:
        reading.changed("text_encoder_2.train", {}, "loratui does not train T5.")
    elif second != trained:
        reading.changed(
            "text_encoder_2.train", {}, "loratui trains all text encoders of a base or none: text_encoder.train decides."
        )
    else:
        reading.nothing("text_encoder_2.train", "As text_encoder.train.")
    own = reading.number("text_encoder.learning_rate")
    reading.taken(
        "text_encoder.learning_rate", {"optimizer.text_encoder_learning_rate": own if trained and own != rate else 0.0}
    )
    if reading.given("text_encoder_2.learning_rate") and reading.number("text_encoder_2.learning_rate") != (own or rate):
        reading.changed("text_encoder_2.learning_rate", {}, "loratui has one rate for all text encoders.")
    else:
        reading.nothing("text_encoder_2.learning_rate", "As the first text encoder's.")
    unit = reading.text("text_encoder.stop_training_after_unit", "EPOCH")
    stop = reading.number("text_encoder.stop_training_after", 30)
    key = "text_encoder.stop_training_after"
    if trained and unit != "NEVER" and stop and stop < reading.number("epochs", 100):
        why = "loratui trains the text encoder to the end of the run."
        reading.changed(key, {}, why)
        reading.assumed(
            key,
            30,
            {"training.train_text_encoder": True},
            f"Not in the file; OneTrainer stops it after epoch 30. {why}",
            "changed",
        )
    else:
        reading.nothing(key, "The run ends before, or the text encoder is not trained.")
    reading.nothing("text_encoder.stop_training_after_unit", "It belongs to stop_training_after.")
    drop = reading.number("text_encoder.dropout_probability")
    reading.taken("text_encoder.dropout_probability", {"dataset.caption_dropout": drop})
    skip = reading.whole("text_encoder_layer_skip")
    reading.taken(
        "text_encoder_layer_skip", {} if flows else {"base.clip_skip": skip + 1}, "OneTrainer counts skipped layers from 0."
    )


def _amount(reading: Reading) -> Amount:
    batch, epochs = reading.whole("batch_size", 1), reading.whole("epochs", 100)
    reading.taken("batch_size", {"training.batch_size": batch})
    repeats, share, samples = onetrainer_data.balance(reading)
    sets = {
        "schedule.rule": "repeats_epochs",
        "schedule.repeats": repeats,
        "schedule.folder_repeats": False,
        "schedule.epochs": epochs,
    }
    reading.taken("epochs", sets)
    reading.assumed("epochs", 100, sets)
    accumulation = reading.whole("gradient_accumulation_steps", 1)
    reading.taken("gradient_accumulation_steps", {"training.accumulation": accumulation})
    warm = reading.number("learning_rate_warmup_steps", 200.0)
    # Above 1 it counts batches, and create_lr_scheduler divides by the accumulation.
    warm = float(int(warm / max(1, accumulation))) if warm > 1 else max(0.0, min(warm, 0.9))
    batch, accumulation, epochs = max(1, batch), max(1, accumulation), max(0, epochs)
    return Amount(
        batch=batch,
        accumulation=accumulation,
        repeats=repeats,
        epochs=epochs,
        steps=samples // batch * epochs // accumulation,
        counts="dropped",
        formula=FORMULA,
        share=share,
        warmup=warm,
        warmup_key="learning_rate_warmup_steps",
    )
