"""SimpleTuner's config.json, with the datasets file that it names, and the defaults that it has where a key is missing.

Sources: SimpleTuner `simpletuner_sdk/server/services/field_registry/sections`, `helpers/training/trainer.py`,
`helpers/models/flux/model.py`, `documentation/DATALOADER.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine.dataset.folder_lists.simpletuner import REGULARISATION
from loratui.engine.errors import LoratuiError
from loratui.engine.importing import files, simpletuner_data, simpletuner_noise, tables
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word, spec_of, trains
from loratui.engine.importing.optimizers import optimizer, optimizer_args, scheduler
from loratui.engine.importing.reading import Reading, arguments, is_off
from loratui.engine.untrusted import Unreadable, parse_json

_FORMATS = {"bf16": "bf16", "fp16": "fp16", "no": "fp32", "fp32": "fp32"}
_RENAMED = {"max_grad_norm": "max_grad_norm", "lora_initialisation_style": "lora_init_type", "checkpointing_steps": "checkpoint_step_interval",
            "validation_steps": "validation_step_interval", "flux_schedule_shift": "flow_schedule_shift", "flux_guidance_value": "flux_guidance_value",
            "flux_use_uniform_schedule": "flow_use_uniform_schedule", "flux_schedule_auto_shift": "flow_schedule_auto_shift",
            "pretrained_vae_name_or_path": "pretrained_vae_model_name_or_path"}  # fmt: skip
FORMULA = "an epoch has a step for every {batches}, those of each bucket rounded up (SimpleTuner, trainer.py)"


def read(table: Mapping[str, Any], folder: Path, family: str = "") -> tuple[Reading, Amount]:
    """Says what becomes of every value; returns how it counts its steps."""
    reading = Reading.renamed("SimpleTuner", table, _key)
    reading.folder = folder
    backend = _backend(reading.values.get("data_backend_config"), folder)
    for key, value in files.flatten(backend).items() if backend else ():
        reading.values[f"backend.{key}"] = value
        reading.from_place(f"backend.{key}", f"data_backend_config {key}")
    kind = reading.text("model_family", "")
    known = by_word("simpletuner", kind)
    if not known:
        trains(reading, "model_family", kind[:60] or "an unnamed family", reading.text("pretrained_model_name_or_path"))
        return reading, Amount()
    family = family or known
    if reading.text("model_type", "full") == "lora":
        reading.nothing("model_type", "loratui trains LoRAs.")
    else:
        why = "loratui trains LoRAs only; the recipe makes one with these values, whose rate is likely too low for a LoRA."
        reading.changed("model_type", {}, why)
        reading.assumed(
            "model_type",
            "full",
            {"adapter.kind": "lora"},
            f"Not in the file; SimpleTuner then trains the whole model. {why}",
            "changed",
        )
    reading.taken("model_family", {"base.family": family})
    reading.taken("pretrained_model_name_or_path", {"base.model": reading.text("pretrained_model_name_or_path")})
    _flavour(reading, family)
    _network(reading, family)
    _rates(reading)
    simpletuner_noise.noise(reading, family)
    amount = _amount(reading)
    simpletuner_data.dataset(reading, bool(backend))
    simpletuner_data.samples(reading, amount)
    tables.apply(reading, "simpletuner")
    return reading, amount


def _key(name: str) -> str:
    bare = name.lstrip("-").replace("-", "_")
    return _RENAMED.get(bare, bare)


def _backend(name: Any, folder: Path) -> dict[str, Any]:
    """The first set of images in the datasets file that is named, if it is here."""
    if not isinstance(name, str) or not name.endswith(".json"):
        return {}
    for path in (Path(name), folder / Path(name).name):
        try:
            if path.is_file():
                found = files.read(path)
                images = (
                    [item for item in found if isinstance(item, dict) and item.get("dataset_type", "image") == "image"]
                    if isinstance(found, list)
                    else []
                )
                images.sort(key=lambda item: any(item.get(name) is True for name in REGULARISATION))  # the subject's own first
                more = {"others": len(images) - 1} if len(images) > 1 else {}
                return {**images[0], **more} if images else {}
        except (LoratuiError, OSError, ValueError):
            continue
    return {}


def _flavour(reading: Reading, family: str) -> None:
    names = spec_of(family).elsewhere.flavours
    flavour = reading.text("model_flavour")
    if not flavour or reading.given("pretrained_model_name_or_path"):
        reading.nothing("model_flavour", "pretrained_model_name_or_path names the base.")
    elif flavour in names:
        reading.taken("model_flavour", {"base.model": names[flavour]})
    else:
        reading.changed("model_flavour", {}, "loratui does not know this name; set base.model.")


def _network(reading: Reading, family: str) -> None:
    standard = reading.text("lora_type", "standard") == "standard"
    if standard:
        reading.taken("lora_type", {"adapter.kind": "lora", "adapter.dora": reading.yes("use_dora")})
        reading.taken("use_dora", {"adapter.dora": reading.yes("use_dora")})
    else:
        _lycoris(reading)
        reading.changed(
            "lora_type",
            {"adapter.kind": "lokr"},
            "LyCORIS's own file (lycoris_config) says the rest; loratui takes LoKr, its usual algorithm there.",
        )
        reading.changed(
            "lycoris_config",
            {},
            "Its algorithm, rank and factor are not read; set adapter.kind, adapter.rank and adapter.factor.",
        )
    reading.nothing("lycoris_config", "It belongs to LyCORIS.")
    rank = reading.whole("lora_rank", 16)
    reading.taken("lora_rank", {"adapter.rank": rank})
    alpha = reading.number("lora_alpha", 0.0)
    reading.taken("lora_alpha", {"adapter.alpha": alpha})
    dropout = reading.number("lora_dropout", 0.1)
    reading.taken("lora_dropout", {"adapter.dropout": dropout})
    reading.assumed("lora_dropout", 0.1, {"adapter.dropout": 0.1})
    target = reading.text("flux_lora_target", "all")
    sets = spec_of(family).elsewhere.layers.get("simpletuner", {})
    if not sets:
        reading.nothing("flux_lora_target", "It belongs to FLUX.")
        reading.assumed(
            "targets", "to_q to_k to_v to_out.0", {"adapter.targets": "attention"}, "The layers that SimpleTuner adapts."
        )
    elif target in sets:
        reading.taken("flux_lora_target", {"adapter.targets": sets[target]})
        reading.assumed("flux_lora_target", "all", {"adapter.targets": "attention"})
    else:
        reading.changed(
            "flux_lora_target",
            {"adapter.targets": "attention"},
            f"loratui has no set {target[:40]}; the recipe takes the attention of all blocks.",
        )
    if not is_off(reading.values.get("peft_lora_target_modules")):
        reading.changed(
            "peft_lora_target_modules", {}, "loratui has sets of layers (adapter.targets) instead of lists of names."
        )
    reading.taken("init_lora", {"adapter.start_from": reading.text("init_lora")})


def _lycoris(reading: Reading) -> None:
    """LyCORIS's own file, if it is here: algorithm, rank, alpha and factor, in their usual places there."""
    text = reading.beside(reading.text("lycoris_config", "config/lycoris_config.json"))
    try:
        table = parse_json(text) if text is not None else None
    except Unreadable:
        table = None
    if not isinstance(table, dict):
        return
    inner = Reading(reading.tool, {str(key): value for key, value in table.items()})
    kind = inner.text("algo", "lora")
    rank, alpha = inner.whole("linear_dim", 16), inner.number("linear_alpha", 1.0)
    sets: dict[str, Any] = {"adapter.kind": kind if kind in ("loha", "lokr", "lora") else "lora", "adapter.rank": max(1, min(rank, 1024)),
                            "adapter.alpha": max(0.0, alpha), "adapter.factor": max(-1, inner.whole("factor", -1))}  # fmt: skip
    usual = {"algo", "linear_dim", "linear_alpha", "factor", "multiplier", "bypass_mode"}
    more = [key for key in inner.values if key not in usual]
    words = (
        f"loratui takes algorithm, rank, alpha and factor of it, and leaves out {', '.join(more)[:120]}."
        if more
        else "All of it is taken."
    )
    for key in ("lora_rank", "lora_alpha"):
        reading.nothing(key, "It belongs to standard LoRAs; lycoris_config counts.")
    reading.changed("lycoris_config", sets, f"{words} The layers are those of the attention.")
    reading.changed("lora_type", sets, "LyCORIS's own file (lycoris_config) says the rest.")


def _rates(reading: Reading) -> None:
    args = arguments(str(reading.values.get("optimizer_config") or "").replace(",", " ")) or {}
    if reading.given("adam_weight_decay") and "weight_decay" not in args:
        args["weight_decay"] = reading.text("adam_weight_decay")
    ours = optimizer(reading, "optimizer", "adamw_bf16", args)
    reading.assumed("optimizer", "adamw_bf16", {"optimizer.name": "adamw"})
    if reading.given("optimizer_config"):
        optimizer_args(reading, "optimizer_config", args, ours)
    reading.taken("adam_weight_decay", {"optimizer.weight_decay": reading.number("adam_weight_decay", 0.01)})
    for key, other, target, default in (
        ("adam_beta1", "optimizer_beta1", "optimizer.beta1", 0.9),
        ("adam_beta2", "optimizer_beta2", "optimizer.beta2", 0.999),
    ):
        beta = reading.number(other) or reading.number(key, default)
        for name in (key, other):
            reading.taken(name, {target: beta})
    rate = reading.number("learning_rate", 4e-7)
    reading.taken("learning_rate", {"optimizer.learning_rate": rate})
    reading.assumed("learning_rate", 4e-7, {"optimizer.learning_rate": rate})
    text = reading.yes("train_text_encoder")
    reading.taken("train_text_encoder", {"training.train_text_encoder": text})
    reading.taken(
        "text_encoder_lr", {"optimizer.text_encoder_learning_rate": reading.number("text_encoder_lr") if text else 0.0}
    )
    chosen = scheduler(reading, "lr_scheduler", "constant_with_warmup", power=reading.number("lr_power", 0.8))
    reading.nothing("lr_power", "Only polynomial has a power.")
    cycles = reading.whole("lr_num_cycles", 1)
    (
        reading.taken("lr_num_cycles", {"optimizer.cycles": cycles})
        if chosen == "cosine_with_restarts"
        else reading.nothing("lr_num_cycles", "Only cosine_with_restarts has cycles.")
    )
    end = reading.number("lr_end", 4e-7)
    if chosen == "constant" or end <= rate * 0.01:
        reading.nothing("lr_end", "The schedule does not end, or ends near 0 as loratui's.")
    else:
        reading.changed("lr_end", {}, "loratui's schedules end at 0.")
    norm, method = reading.number("max_grad_norm", 2.0), reading.text("grad_clip_method", "value")
    if method == "norm":
        reading.taken("max_grad_norm", {"training.max_grad_norm": norm})
        reading.taken("grad_clip_method", {"training.max_grad_norm": norm})
    else:
        why = f"SimpleTuner cuts single values of gradients at {norm:g}, which rarely happens; loratui bounds their norm, by 1."
        reading.changed("max_grad_norm", {"training.max_grad_norm": 1.0}, why)
        reading.changed("grad_clip_method", {"training.max_grad_norm": 1.0}, why)
        reading.lost.append(why)
    precision = _FORMATS.get(reading.text("mixed_precision", "bf16"))
    (reading.taken if precision else reading.changed)(
        "mixed_precision",
        {"training.precision": precision or "auto"},
        "" if precision else "loratui computes in bf16, fp16 or fp32.",
    )
    reading.assumed("mixed_precision", "bf16", {"training.precision": "bf16"})
    if reading.yes("use_ema"):
        decay = reading.number("ema_decay", 0.995)
        reading.taken("use_ema", {"training.ema_decay": decay})
        reading.taken("ema_decay", {"training.ema_decay": decay})
    else:
        for key in ("use_ema", "ema_decay"):
            reading.nothing(key, "The moving average is off.")


def _amount(reading: Reading) -> Amount:
    batch = max(1, reading.whole("train_batch_size", 4))
    reading.taken("train_batch_size", {"training.batch_size": batch})
    reading.assumed("train_batch_size", 4, {"training.batch_size": 4})
    accumulation = max(1, reading.whole("gradient_accumulation_steps", 1))
    reading.taken("gradient_accumulation_steps", {"training.accumulation": accumulation})
    processes = max(1, reading.whole("num_processes", 1))
    reading.taken("num_processes", {"training.processes": processes})
    repeats = max(0, reading.whole("backend.repeats")) + 1
    reading.taken(
        "backend.repeats",
        {"schedule.repeats": repeats, "schedule.folder_repeats": False},
        "0 there means once, so it is one more here.",
    )
    steps, epochs = max(0, reading.whole("max_train_steps")), max(0, reading.whole("num_train_epochs", 1))
    sets = {"schedule.rule": "repeats_epochs", "schedule.repeats": repeats, "schedule.folder_repeats": False}
    if steps:
        reading.taken("max_train_steps", sets, "The steps below say in how many image-steps that is.")
        reading.nothing("num_train_epochs", "max_train_steps counts.")
    else:
        reading.nothing("max_train_steps", "num_train_epochs counts.")
        reading.taken("num_train_epochs", {**sets, "schedule.epochs": epochs})
        reading.assumed("num_train_epochs", 1, {**sets, "schedule.epochs": epochs})
    return Amount(
        batch,
        accumulation,
        processes,
        repeats,
        0 if steps else epochs,
        steps,
        "bucketed",
        FORMULA,
        reading.number("lr_warmup_steps"),
        "lr_warmup_steps",
    )
