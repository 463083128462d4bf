"""The settings that the kohya_ss interface saves as JSON: its names for sd-scripts' arguments, and what it makes of them.

Source: kohya_ss v26, `kohya_gui/lora_gui.py` (`train_model`), `kohya_gui/common_gui.py`.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine.importing import files, lycoris, sd_scripts, sd_scripts_files
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word, flows, smallest, trains, words
from loratui.engine.importing.reading import Reading, as_number, is_off

_RENAMED = {"optimizer": "optimizer_type", "max_resolution": "resolution", "lora_network_weights": "network_weights"}
_OTHER_MODELS = {"sd3": "Stable Diffusion 3", "hunyuan_image": "HunyuanImage", "anima": "Anima", "lumina": "Lumina"}
_PREFIXES = ("sd3_", "hunyuan_", "anima_", "lumina_", "sdxl_", "flux1_")
_OF_OTHERS = ("clip_g", "clip_g_dropout_rate", "logit_mean", "logit_std", "mode_scale", "pos_emb_random_crop_rate", "save_clip",
              "save_t5xxl", "t5xxl_device", "t5xxl_dtype", "weighting_scheme")  # fmt: skip
_KINDS = {
    "Standard": "networks.lora", "Kohya LoCon": "networks.lora", "Flux1": "networks.lora_flux", "Kohya LoHa": "networks.loha",
    "Kohya LoKr": "networks.lokr", "LoRA-FA": "networks.lora_fa", "Kohya DyLoRA": "networks.dylora", "LoCon": "lycoris.kohya",
}  # fmt: skip
_ALGORITHMS = {"locon": "locon", "loha": "loha", "lokr": "lokr", "dylora": "dylora", "glora": "glora", "ia3": "ia3", "boft": "boft",
               "diag-oft": "diag-oft", "native fine-tuning": "full"}  # fmt: skip
_ARGS = {
    "lycoris": ("conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "factor", "decompose_both", "dora_wd", "use_tucker", "use_cp",
                "use_scalar", "bypass_mode", "rank_dropout_scale", "train_norm", "constrain", "rescaled", "train_on_input"),
    "networks.lora": ("rank_dropout", "module_dropout", "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold",
                      "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"),
    "networks.lora_flux": ("rank_dropout", "module_dropout", "img_attn_dim", "img_mlp_dim", "img_mod_dim", "single_dim", "txt_attn_dim",
                           "txt_mlp_dim", "txt_mod_dim", "single_mod_dim", "in_dims", "train_double_block_indices",
                           "train_single_block_indices", "train_blocks", "split_qkv", "train_t5xxl"),
}  # fmt: skip
_EVERY_ARG = tuple(dict.fromkeys((*(arg for args in _ARGS.values() for arg in args), "unit", "conv_alphas", "conv_dims", "enable_all_linear",
                                  "train_lora_ggpo", "ggpo_sigma", "ggpo_beta", "LyCORIS_preset")))  # fmt: skip
_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
FORMULA = "images × repeats / {batch} / {accumulation} × epochs, rounded up once (kohya_ss, lora_gui.py)"


def read(table: Mapping[str, Any], folder: Path, family: str = "") -> tuple[Reading, Amount]:
    """Says what becomes of every value; returns how it counts its steps."""
    reading = Reading.renamed("kohya_ss", table, lambda name: _RENAMED.get(name, name))
    reading.folder = folder
    _additional(reading)
    named = reading.given("dataset_config")
    sd_scripts_files.add_datasets(reading, folder)
    for word, title in _OTHER_MODELS.items():
        if reading.yes(f"{word}_checkbox"):
            trains(reading, f"{word}_checkbox", title, reading.text("pretrained_model_name_or_path"))
            return reading, Amount()
    checked = next((key for key in words("kohya_ss") if reading.yes(key)), "")
    family = family or by_word("kohya_ss", checked) or smallest()
    for key in words("kohya_ss"):
        reading.nothing(key, f"The base is of the kind {family}." if reading.yes(key) else "The base is of another kind.")
    for key in list(reading.values):
        if key in _OF_OTHERS or key.startswith(_PREFIXES):
            reading.nothing(
                key,
                "It belongs to another kind of base, or to caches."
                if reading.values[key] is not True
                else "loratui has caches and formats of its own.",
            )
    _kind(reading)
    _noise(reading)
    _rates(reading)
    _network(reading, flows=flows(family))
    for key in ("model_list", "save_as_bool", "mem_eff_save"):
        reading.nothing(key, "It belongs to the interface.")
    epochs, warmup = _amount(reading)
    amount = sd_scripts.read(reading, family, has_network=False)
    if epochs and named:
        reading.lost.append(
            "With a dataset file, and neither max_train_epochs nor max_train_steps, kohya_ss leaves sd-scripts its 1,600 steps."
        )
        amount = dataclasses.replace(amount, epochs=0, steps=1600)
    elif epochs:
        amount = dataclasses.replace(amount, epochs=epochs, steps=0, counts="joined", formula=FORMULA)
    return reading, dataclasses.replace(
        amount, warmup=warmup, warmup_key="lr_warmup_steps" if amount.warmup >= 1 else "lr_warmup"
    )


def _additional(reading: Reading) -> None:
    """The arguments in the field for more; they come last in the command, so they win over the other fields."""
    text = reading.values.get("additional_parameters")
    if not isinstance(text, str) or not text.strip():
        return
    try:
        words = files.command(shlex.split(text))
    except ValueError:
        return
    for name, value in words.items():
        if name in reading.values and not reading.given(name):
            reading.also(
                reading.name(name), reading.values[name], "does_nothing", "additional_parameters has a value, which counts."
            )
        elif reading.given(name):
            reading.also(
                reading.name(name), reading.values[name], "changed", "additional_parameters has another value, which counts."
            )
        reading.values[name] = value
        reading.from_place(name, f"additional_parameters --{name}")
    if words:
        del reading.values["additional_parameters"]


def _kind(reading: Reading) -> None:
    """Says it where the file is of another of the interface's tabs, which all save the same names."""
    if reading.given("token_string") or reading.given("init_word"):
        reading.lost.append("These are settings of an embedding (textual inversion); loratui makes a LoRA with them.")
    elif not reading.given("LoRA_type") and not reading.given("network_dim"):
        reading.lost.append(
            "These are settings for a whole model (DreamBooth or fine-tuning), whose rate is likely too low for a LoRA."
        )


def _noise(reading: Reading) -> None:
    """Of offset and multi-resolution noise the chosen kind counts."""
    kind = reading.text("noise_offset_type", "Original")
    reading.nothing("noise_offset_type", f"It says which noise counts: {kind[:40]}.")
    if kind == "Multires":
        for key in ("noise_offset", "adaptive_noise_scale", "noise_offset_random_strength"):
            reading.nothing(key, "The kind of noise is Multires (noise_offset_type).")
    else:
        for key in ("multires_noise_iterations", "multires_noise_discount"):
            reading.nothing(key, "The kind of noise is Original (noise_offset_type).")
            reading.values[key] = None


def _rates(reading: Reading) -> None:
    """A text encoder's rate of 0 beside one of the base means that the text encoder is not trained."""
    text, unet = reading.number("text_encoder_lr"), reading.number("unet_lr")
    if not text and unet:
        reading.taken(
            "text_encoder_lr",
            {"training.train_text_encoder": False},
            "A rate of 0 beside unet_lr: kohya_ss trains the base alone.",
        )
        reading.put("network_train_unet_only", True)
    elif not text:
        reading.taken(
            "text_encoder_lr",
            {"training.train_text_encoder": True},
            "0 beside no unet_lr: kohya_ss trains both at learning_rate.",
        )
        reading.values["text_encoder_lr"] = None
    elif not unet:
        reading.changed(
            "unet_lr",
            {},
            "0 beside a text encoder's rate: kohya_ss trains the text encoder alone. loratui trains the base too.",
        )
    if reading.number("t5xxl_lr"):
        reading.changed("t5xxl_lr", {}, "loratui does not train T5.")
    else:
        reading.nothing("t5xxl_lr", "It is off.")


def _network(reading: Reading, *, flows: bool) -> None:
    """LoRA_type and the fields that it passes on; the others have no effect."""
    kind = reading.text("LoRA_type", "Standard")
    lycoris_kind = kind.startswith("LyCORIS/") or kind == "LoCon"
    module = "lycoris.kohya" if lycoris_kind else _KINDS.get(kind, kind.lower() or "networks.lora")
    algorithm = _ALGORITHMS.get(kind.rpartition("/")[2].lower(), kind.rpartition("/")[2])
    start = {"preset": reading.text("LyCORIS_preset", "full"), "algo": algorithm} if lycoris_kind else {}
    used = _ARGS["lycoris"] if lycoris_kind else _ARGS.get(module, ("rank_dropout", "module_dropout"))
    if kind in ("Kohya LoCon", "Kohya LoHa", "Kohya LoKr", "Kohya DyLoRA"):
        used = (*used, "conv_dim", "conv_alpha", "factor")
    if "conv_dim" in used and (conv := as_number(reading.values.get("conv_dim"))) is not None:
        start["conv_dim"] = f"{conv:g}"
    sets, lost = lycoris.kind_of(module, algorithm, flows=flows)
    base, _ = lycoris.arguments(start, module, flows=flows)
    sets |= {"adapter.targets": base["adapter.targets"]}
    if lost:
        reading.changed("LoRA_type", sets, lost)
    else:
        reading.taken("LoRA_type", sets)
    reading.assumed("LoRA_type", kind, sets)
    if lycoris_kind:
        reading.taken("LyCORIS_preset", {"adapter.targets": base["adapter.targets"]})
    for key in _EVERY_ARG:
        if key in used:
            _arg(reading, key, start, base, module, flows=flows)
        else:
            reading.nothing(key, f"It belongs to another LoRA_type than {kind[:40]}.")
    for key in _PLUS:
        if is_off(reading.values.get(key)):
            reading.nothing(key, "It is off.")
        else:
            reading.changed(key, {}, "loratui has no LoRA+; both factors have the same rate.")


def _arg(reading: Reading, key: str, start: Mapping[str, str], base: Mapping[str, Any], module: str, *, flows: bool) -> None:
    value = reading.values.get(key)
    sets, lost = lycoris.arguments({**start, key: "" if value is None else str(value)}, module, flows=flows)
    own = "adapter.conv_rank" if key == "conv_dim" else ""
    more = {ours: new for ours, new in sets.items() if base.get(ours) != new or ours == own}
    if lost:
        reading.changed(key, more, " ".join(lost))
    elif more:
        reading.taken(key, more)
    else:
        reading.nothing(key, "It is off, or as loratui has it.")


def _amount(reading: Reading) -> tuple[int, float]:
    """Epochs where neither max_train_epochs nor max_train_steps are set, else 0; and the warm-up."""
    for key in ("max_train_epochs", "max_train_steps"):
        if reading.given(key) and not reading.number(key):
            reading.nothing(key, "It is off.")
            reading.values[key] = None
    counted = reading.given("max_train_epochs") or reading.given("max_train_steps")
    epochs = 0 if counted else max(1, reading.whole("epoch", 1))
    if counted:
        reading.nothing("epoch", "max_train_epochs or max_train_steps counts.")
    else:
        reading.taken("epoch", {"schedule.rule": "repeats_epochs", "schedule.epochs": epochs})
        reading.put("max_train_epochs", epochs)
    share, steps = reading.number("lr_warmup"), reading.number("lr_warmup_steps")
    if steps > 0:
        reading.nothing("lr_warmup", "lr_warmup_steps counts.")
        return epochs, steps
    reading.nothing("lr_warmup_steps", "lr_warmup counts.")
    return epochs, max(0.0, min(share, 99.0)) / 100
