"""What the arguments of kohya's sd-scripts mean here; kohya_ss, FluxGym, training sites and `ss_*` metadata come down to them too.

Sources: sd-scripts v0.10.1, `library/train_util.py`, `train_network.py`, `library/flux_train_utils.py`, `networks/lora*.py`.
"""

from __future__ import annotations

from typing import Any

from loratui.engine.importing import lycoris, masks, sd_scripts_data, sd_scripts_noise, tables
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_keys, by_word, family_of, trains
from loratui.engine.importing.families import flows as objective_flows
from loratui.engine.importing.optimizers import bare, optimizer, optimizer_args, scheduler
from loratui.engine.importing.prompts import samples
from loratui.engine.importing.reading import Reading, arguments, as_number

FORMULA = "an epoch has a step for every {batches}, those of each bucket rounded up (sd-scripts, train_network.py)"


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
    sd_scripts_noise.noise(reading, flows=flows)
    if flows:
        sd_scripts_noise.flow(reading)
    sd_scripts_noise.loss(reading, flows=flows)
    sd_scripts_data.dataset(reading)
    sd_scripts_data.precision(reading)
    sd_scripts_data.captions(reading, family)
    masks.of_sd_scripts(reading)
    sd_scripts_data.saving(reading)
    amount = steps(reading)
    samples(reading, amount, prompts="sample_prompts", every_steps="sample_every_n_steps", every_epochs="sample_every_n_epochs")
    sd_scripts_data.seed(reading, "seed")
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
        if reading.given("max_train_epochs"):
            reading.changed("max_train_epochs", {}, "This is no number of epochs to train for; max_train_steps counts here.")
        reading.nothing("max_train_epochs", "max_train_steps counts.")
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
