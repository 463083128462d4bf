"""Model files that cannot serve as a base, and the reason: adapters, quantised weights, other models, special versions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from loratui.engine import families
from loratui.engine.families.spec import FamilySpec
from loratui.engine.findings import Finding
from loratui.engine.formats.base_keys import DTYPES, FoundPart, Tensors
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.formats.base_shapes import family_of
from loratui.engine.formats.part_fit import misfit, title, wanted_sizes
from loratui.engine.formats.safetensors_file import shown
from loratui.engine.words import count

FULL_WEIGHTS = "Choose the same model with fp16, bf16 or fp8 weights in a .safetensors file."

ADAPTERS: tuple[tuple[str, str, str], ...] = (
    (
        (
            r"(^|\.)(lora_unet|lora_te\d?|lora_transformer|lycoris)_"
            r"|[._](lora_(up|down|mid|A|B|embedding_A)|lora[12]?\.(up|down)|lora_magnitude_vector)(\.|$)"
            r"|\.(hada_w[12]_[ab]|lokr_w[12](_[ab])?|dora_scale|oft_blocks|oft_diag)$"
        ),
        "base_is_lora",
        "a LoRA",
    ),
    (
        (
            r"(^|\.)(control_model|controlnet_cond_embedding|controlnet_x_embedder|controlnet_blocks|controlnet_down_blocks)\."
            r"|(^|\.)(input_hint_block|zero_convs)\.\d"
        ),
        "base_is_controlnet",
        "a ControlNet",
    ),
    (r"^(ip_adapter|image_proj|ip_adapter_proj_model)\.|^redux_(up|down)\.", "base_is_adapter", "an image adapter"),
    (r"(^|\.)motion_modules\.\d", "base_is_adapter", "a motion module for video"),
    (r"^(adapter\.)?body\.\d+\.(resnets|in_conv|block1)\.", "base_is_adapter", "a T2I adapter"),
    (r"^(emb_params|string_to_param.*|clip_[lg])$", "base_is_embedding", "a textual inversion embedding"),
    (r"(^|\.)(rdb1\.conv1|RDB1\.conv1)\.weight$|^conv_before_upsample\.", "base_is_upscaler", "an upscaler"),
)
"""Pattern of a key, id, what the file is."""

OTHER_MODELS: tuple[tuple[str, str], ...] = (
    (r"(^|\.)joint_blocks\.0\.", "a Stable Diffusion 3 model"),
    (r"(^|\.)blocks\.0\.cross_attn\.(q_linear|kv_linear)\.|(^|\.)caption_projection\.", "a PixArt model"),
    (r"(^|\.)blocks\.0\.cross_attn\.(q|norm_q)\.|(^|\.)condition_embedder\.text_embedder\.", "a Wan video model"),
    (r"(^|\.)transformer_blocks\.0\.img_mod\.", "a Qwen-Image model"),
    (r"(^|\.)double_layers\.0\.", "an AuraFlow model"),
    (r"(^|\.)double_stream_blocks\.0\.", "a HiDream model"),
    (r"(^|\.)(context_refiner|noise_refiner)\.0\.", "a Lumina or Z-Image model"),
    (r"(^|\.)(clip_txt_mapper|effnet_mapper)\.", "a Stable Cascade model"),
    (r"(^|\.)patchify_proj\.", "an LTX video model"),
    (r"(^|\.)transformer_blocks\.0\.(norm1_context|attn\.add_q_proj)\.", "a model of the Stable Diffusion 3 kind"),
)
"""Pattern of a key, what the model is, for files in which no denoiser of ours was found."""

LANGUAGE_MODEL = r"^(model\.)?layers\.0\.self_attn\.|^lm_head\.weight$"
"""Where no text encoder was found, which may have the same keys."""

QUANTISED = (
    r"\.(absmax|nested_absmax|quant_map|quant_state\.\w+|SCB|weight_format|qweight|qzeros|wscales|weight_scale_2"
    r"|weight_zero_point|comfy_quant)$"
)
"""Ends of keys that bitsandbytes, GPTQ, SVDQuant, nvfp4 and torchao files have."""


def refuse_adapters(tensors: Tensors) -> None:
    """Raises `BaseRefused` for a LoRA, ControlNet, embedding and their like."""
    text = "\n".join(tensors)
    for pattern, code, kind in ADAPTERS:
        found = _key(pattern, text)
        if found:
            remedy = "Choose the base model that it was made for."
            raise BaseRefused(code, f"this is {kind}, not a base model (it holds {shown(found)}).", remedy)


def refuse_quantised(tensors: Tensors) -> None:
    """Raises `BaseRefused` for weights in 4 or 8 bits other than fp8."""
    found = _key(QUANTISED, "\n".join(tensors))
    # ComfyUI marks every scaled fp8 weight so, too; those are dealt with as scaled.
    if found and not (found.endswith(".comfy_quant") and _all_eight(tensors)):
        message = f"its weights are quantised (it holds {shown(found)}), which is for generating only."
        raise BaseRefused("base_quantised", message, FULL_WEIGHTS)


def _all_eight(tensors: Tensors) -> bool:
    return not any(key.endswith(".weight_scale_2") or info.dtype in ("I8", "U8") for key, info in tensors.items()
                   if not key.endswith(".comfy_quant"))  # fmt: skip


def _other_base() -> str:
    return f"Choose a checkpoint of {families.choices()}."


def require_denoiser(tensors: Tensors, parts: Sequence[FoundPart]) -> tuple[FamilySpec, FoundPart]:
    """The denoiser in a file, and its family. Raises `BaseRefused` where there is none that can be trained."""
    refusals: list[Finding] = []
    for part in parts:
        if not any(part.network in spec.denoiser.networks for spec in families.FAMILIES):
            continue
        own = list(part.network.refusals(part.tensors, part.sizes))
        spec = family_of(part)
        if spec is not None and not own:
            return spec, part
        refusals += own or [
            Finding.of("base_other_shape", problem=f"this is {title(part)} of sizes that no family has.", remedy="")
        ]
    if refusals:
        raise BaseRefused(refusals[0].code, refusals[0].message, refusals[0].remedy or _other_base())
    raise _no_denoiser(tensors, parts)


def _no_denoiser(tensors: Tensors, parts: Sequence[FoundPart]) -> BaseRefused:
    """The reason why a file without a denoiser of ours is no base."""
    if not tensors:
        return BaseRefused("base_unknown", "it holds no tensors at all.", _other_base())
    text = "\n".join(tensors)
    for pattern, kind in OTHER_MODELS:
        if _key(pattern, text):
            return BaseRefused("base_other_family", f"this is {kind}, which cannot be trained here.", _other_base())
    if parts:
        held = " and ".join(dict.fromkeys(map(title, parts)))
        message = f"this is only {held}, without the UNet or transformer that a base model has."
        remedy = "Give the model itself; such a file goes into its own setting."
        if not any(map(_is_of_use, parts)):
            message = f"{message[:-1]}; no family that can be trained here has such a part."
            remedy = "Give the model itself."
        return BaseRefused("base_part_only", message, remedy)
    if _key(LANGUAGE_MODEL, text):
        return BaseRefused("base_other_family", "this is a language model, which cannot be trained here.", _other_base())
    some = ", ".join(shown(key) for key in list(tensors)[:3])
    message = f"its {count(len(tensors), 'tensor')} are those of no known model (the first are {some})."
    return BaseRefused("base_unknown", message, _other_base())


def _is_of_use(part: FoundPart) -> bool:
    """Whether a part can serve any of the families."""
    return any(
        not misfit(part, own, sizes.get(own.name, {}))
        for spec in families.FAMILIES
        for sizes in [wanted_sizes(spec.bundled, spec)]
        for own in spec.parts
    )


def refuse_schedule(tensors: Tensors) -> None:
    """Raises `BaseRefused` for SDXL-shaped models with an EDM schedule (Playground v2.5, CosXL)."""
    if "edm_mean" in tensors or "edm_vpred.sigma_max" in tensors:
        raise BaseRefused("base_other_schedule", "this model has an EDM schedule, which cannot be trained here.", _other_base())


def refuse_format(part: FoundPart) -> None:
    """Raises `BaseRefused` for integer weights, and for fp8 with a scale for each block; one for a tensor or a row is fine."""
    if part.dtype not in DTYPES.values():
        message = f"its weights are stored as {part.dtype}, a quantised format for generating only."
        raise BaseRefused("base_quantised", message, FULL_WEIGHTS)
    for key, info in part.tensors.items():
        if part.fp8 != "scaled" or not key.endswith(part.scale_suffix):
            continue
        weight = part.tensors.get(f"{key.removesuffix(part.scale_suffix)}.weight")
        if weight is not None and math.prod(info.shape) not in (1, weight.shape[0] if weight.shape else 1):
            message = f"its fp8 weights are scaled in blocks ({shown(key)}), which is for generating only."
            raise BaseRefused("base_quantised", message, FULL_WEIGHTS)


def _key(pattern: str, text: str) -> str:
    """The first key, of all keys one a line, in which `pattern` is found; one search over them all is ten times quicker."""
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        return ""
    return text[text.rfind("\n", 0, match.start()) + 1 :].split("\n", 1)[0]
