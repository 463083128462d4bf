"""The kinds of adapters of sd-scripts and LyCORIS: which module, algorithm, preset and arguments are which LoRA here.

Sources: sd-scripts `networks/lora.py`, `lora_flux.py`, `loha.py`, `lokr.py`; LyCORIS `lycoris/config.py`, `docs/Network-Args.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.importing.reading import Reading, as_number, is_off

_KINDS = {"lora": "lora", "locon": "locon", "loha": "loha", "lokr": "lokr"}
_MODULES = {
    "networks.lora": "lora",
    "networks.lora_flux": "lora",
    "networks.loha": "loha",
    "networks.lokr": "lokr",
    "locon.locon_kohya": "locon",
}
_NOT_HERE = {
    "dylora": "DyLoRA",
    "lora_fa": "LoRA-FA",
    "oft": "OFT",
    "ia3": "iA3",
    "glora": "GLoRA",
    "full": "full matrices",
    "boft": "BOFT",
}
_PRESETS = {"full": "all+conv", "full-lin": "all", "attn-mlp": "sd-scripts", "attn-only": "attention", "unet-only": "all+conv",
            "unet-transformer-only": "sd-scripts"}  # fmt: skip
_NUMBERS = {"rank_dropout": "adapter.rank_dropout", "module_dropout": "adapter.module_dropout", "dropout": "adapter.dropout"}
_FLAGS = {"decompose_both": "adapter.decompose_both", "dora_wd": "adapter.dora", "rs_lora": "adapter.rank_stabilised"}
_SILENT = {"use_tucker", "use_cp", "use_scalar", "bypass_mode", "rank_dropout_scale", "train_norm", "rescaled", "constraint",
           "train_on_input", "block_size", "unit", "wd_on_output", "wd_on_out", "full_matrix"}  # fmt: skip
_MEMORY = ("split_qkv", "verbose", "train_t5xxl")


def adapter(reading: Reading, module: str, args: Mapping[str, str], *, flows: bool) -> None:
    """Says what `network_module` and `network_args` come to."""
    sets, lost = kind_of(module, args.get("algo", "lora"), flows=flows)
    args_sets, args_lost = arguments(args, module, flows=flows)
    if lost:
        reading.changed("network_module", sets, lost)
    else:
        reading.taken("network_module", sets)
    reading.assumed("network_module", module, {**args_sets, **sets})
    if args_lost:
        reading.changed("network_args", args_sets, " ".join(args_lost))
    else:
        reading.taken("network_args", args_sets)
    if not reading.given("network_args"):
        reading.assumed("network_args", "", args_sets)


def kind_of(module: str, algorithm: str, *, flows: bool) -> tuple[dict[str, Any], str]:
    """What a network's module and algorithm set, and what is lost, in a sentence."""
    word = algorithm if module.startswith("lycoris") else _MODULES.get(module, "")
    kind = _KINDS.get(word, "")
    if kind == "locon" or (kind == "lora" and module.startswith("lycoris")):
        kind = "lora" if flows else "locon"
    if kind:
        return {"adapter.kind": kind}, ""
    word = word or module.rpartition(".")[2]
    title = next((title for name, title in _NOT_HERE.items() if name in word), word[:60])
    return {"adapter.kind": "lora"}, f"loratui has no {title}; the recipe makes a LoRA of this rank."


def arguments(args: Mapping[str, str], module: str, *, flows: bool) -> tuple[dict[str, Any], list[str]]:
    """What a network's words set, and what is lost of them, in sentences."""
    lycoris = module not in ("networks.lora", "networks.lora_flux", "networks.lora_fa", "networks.dylora")
    kind = str(kind_of(module, args.get("algo", "lora"), flows=flows)[0]["adapter.kind"])
    preset = args.get("preset", "full" if lycoris else "")
    targets = _PRESETS.get(preset, "sd-scripts") if lycoris else "sd-scripts"
    if flows or not lycoris:
        targets = "attention" if targets == "attention" else "sd-scripts"
    conv = as_number(args.get("conv_dim", ""))
    if conv and not flows and not lycoris:
        targets = "sd-scripts+conv"
    if conv is not None and conv <= 0 and lycoris:
        targets = targets.removesuffix("+conv")
    sets: dict[str, Any] = {"adapter.targets": targets}
    lost: list[str] = []
    if lycoris and preset not in _PRESETS:
        lost.append(f"preset={preset[:40]}: loratui has no such set of layers; the recipe takes {targets}.")
    for name, text in args.items():
        number, word = as_number(text), text.strip().lower()
        if name in ("algo", "preset"):
            continue
        if name in ("conv_dim", "conv_alpha"):
            if not targets.endswith("+conv") or number is None:
                if flows or not is_off(text):
                    lost += (
                        [] if flows and number in (None, 0, 1) else [f"{name}={text[:20]}: there are no convolutions to adapt."]
                    )
                continue
            ours = "adapter.conv_rank" if name == "conv_dim" else "adapter.conv_alpha"
            sets[ours] = min(1024, int(number)) if name == "conv_dim" else number
            if number > 1024 and name == "conv_dim":
                lost.append("conv_dim: loratui takes 1024 at most.")
        elif name in _NUMBERS and (number is not None or is_off(text)):
            sets[_NUMBERS[name]] = number or 0.0
        elif name in _FLAGS and word in ("true", "false", "1", "0"):
            sets[_FLAGS[name]] = word in ("true", "1")
        elif name == "factor" and number is not None:
            if kind == "lokr":
                sets["adapter.factor"] = int(number)
        elif (
            (name in _MEMORY and not (name == "train_t5xxl" and not is_off(text)))
            or is_off(text)
            or (name == "train_blocks" and word == "all")
        ):
            continue
        elif name in _SILENT:
            lost.append(f"{name}={text[:20]}: loratui's {kind} does without it.")
        else:
            lost.append(
                f"{name[:40]}={text[:40]}: loratui has no such choice; every layer of adapter.targets is trained alike."
            )
    return sets, lost
