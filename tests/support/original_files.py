"""Models of diffusers written into the files of other programs: LDM checkpoints of SD1.5 and SDXL, FLUX's parts, fp8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loratui.engine.families.common import unet_names

_RESNET = {"norm1": "in_layers.0", "norm2": "out_layers.0"}
_VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_CLIP_TO_OPEN = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def weights_of(folder: Path) -> dict[str, Tensor]:
    """All tensors of a part's folder."""
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def unet(tensors: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """A UNet in LDM's or sgm's names."""
    path = unet_names.sdxl if family == "sdxl" else unet_names.sd15
    made = {}
    for key, value in tensors.items():
        module, _, kind = key.rpartition(".")
        module = module.replace("conv_norm_out", "out.0")
        if found := re.fullmatch(r"(.*resnets\.\d+)\.(norm[12])", module):
            resnet = path(f"{found[1]}.conv1").removesuffix(".in_layers.2")
            made[f"{resnet}.{_RESNET[found[2]]}.{kind}"] = value
        else:
            made[f"{path(module)}.{kind}"] = value
    return made


def vae(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder in LDM's names, its attention as 1×1 convolutions."""
    levels = len({key.split(".")[2] for key in tensors if key.startswith("encoder.down_blocks.")})
    made = {}
    for key, value in tensors.items():
        name = key.replace("conv_norm_out", "norm_out")
        if found := re.fullmatch(
            r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)", key
        ):
            side, way, at, kind, number, rest = found.groups()
            level = int(at) if way == "down" else levels - 1 - int(at)
            place = f"block.{number}.{rest}" if kind == "resnets" else f"{kind.removesuffix('rs')}.{rest}"
            name = f"{side}.{way}.{level}.{place.replace('conv_shortcut', 'nin_shortcut')}"
        elif found := re.fullmatch(r"(encoder|decoder)\.mid_block\.resnets\.(\d)\.(.+)", key):
            name = f"{found[1]}.mid.block_{int(found[2]) + 1}.{found[3]}"
        elif found := re.fullmatch(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", key):
            name = f"{found[1]}.mid.attn_1.{_VAE_ATTENTION[found[2]]}.{found[3]}"
            value = value[:, :, None, None] if value.dim() == 2 else value
        made[name] = value
    return made


def clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIP-L as other programs have it: below `text_model.`, with the table of places that old files carry."""
    made = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in tensors.items()}
    places = len(made["text_model.embeddings.position_embedding.weight"])
    return made | {"text_model.embeddings.position_ids": torch.arange(places)[None]}


def open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIP-G in OpenCLIP's names: queries, keys and values in one, the projection the other way round."""
    bare = {key.removeprefix("text_model."): value for key, value in tensors.items()}
    made = {
        "positional_embedding": bare["embeddings.position_embedding.weight"],
        "token_embedding.weight": bare["embeddings.token_embedding.weight"],
        "ln_final.weight": bare["final_layer_norm.weight"],
        "ln_final.bias": bare["final_layer_norm.bias"],
        "text_projection": bare["text_projection.weight"].T.contiguous(),
        "logit_scale": torch.tensor(4.6),
    }
    layers = 1 + max(int(key.split(".")[2]) for key in bare if key.startswith("encoder.layers."))
    for layer in range(layers):
        old, new = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            made[f"{new}.attn.in_proj_{kind}"] = torch.cat([bare[f"{old}.self_attn.{which}_proj.{kind}"] for which in "qkv"])
            for theirs, ours in _CLIP_TO_OPEN.items():
                made[f"{new}.{ours}.{kind}"] = bare[f"{old}.{theirs}.{kind}"]
    return made


def checkpoint(folder: Path, family: str, path: Path, dtype: torch.dtype = torch.float16) -> Path:
    """One LDM file of a diffusers folder."""
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    tensors = one_file({part: weights_of(folder / part) for part in parts if (folder / part).is_dir()}, family)
    save_file({key: to(value, dtype) for key, value in tensors.items()}, path)
    return path


def one_file(weights: Mapping[str, Mapping[str, Tensor]], family: str) -> dict[str, Tensor]:
    """The parts of a base as one LDM checkpoint, as Civitai has them: with copies and numbers that nobody needs."""
    encoders = {"cond_stage_model.transformer.": clip(weights["text_encoder"])}
    if family == "sdxl":
        encoders = {
            "conditioner.embedders.0.transformer.": encoders["cond_stage_model.transformer."],
            "conditioner.embedders.1.model.": open_clip(weights["text_encoder_2"]),
        }
    parts = {
        "model.diffusion_model.": unet(weights["unet"], family),
        "first_stage_model.": vae(weights["vae"]),
        **encoders,
    }
    tensors = {prefix + key: value for prefix, part in parts.items() for key, value in part.items()}
    return tensors | {
        "alphas_cumprod": torch.zeros(1000),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(1),
    }


def to(value: Tensor, dtype: torch.dtype) -> Tensor:
    """`value` in `dtype`, dense and with memory of its own; whole numbers stay as they are."""
    return (value.to(dtype) if value.is_floating_point() else value).contiguous().clone()


def flux(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """FLUX's transformer in the names of its makers, fused as they have it."""
    made: dict[str, Tensor] = {}

    def take(new: str, *old: str) -> None:
        for kind in ("weight", "bias"):
            if f"{old[0]}.{kind}" in tensors:
                made[f"{new}.{kind}"] = torch.cat([tensors[f"{one}.{kind}"] for one in old])

    for ours, theirs in (("x_embedder", "img_in"), ("context_embedder", "txt_in"), ("proj_out", "final_layer.linear")):
        take(theirs, ours)
    for ours, theirs in (("timestep", "time_in"), ("text", "vector_in"), ("guidance", "guidance_in")):
        for number, layer in ((1, "in_layer"), (2, "out_layer")):
            take(f"{theirs}.{layer}", f"time_text_embed.{ours}_embedder.linear_{number}")
    for kind in ("weight", "bias"):  # diffusers has the scale first, the makers the shift
        scale, shift = tensors[f"norm_out.linear.{kind}"].chunk(2)
        made[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
    doubles = {int(key.split(".")[1]) for key in tensors if key.startswith("transformer_blocks.")}
    singles = {int(key.split(".")[1]) for key in tensors if key.startswith("single_transformer_blocks.")}
    for at in doubles:
        old, new = f"transformer_blocks.{at}", f"double_blocks.{at}"
        for side, q, out, mlp, norm, norms in (
            ("img", ("to_q", "to_k", "to_v"), "to_out.0", "ff", "norm1", ("norm_q", "norm_k")),
            (
                "txt",
                ("add_q_proj", "add_k_proj", "add_v_proj"),
                "to_add_out",
                "ff_context",
                "norm1_context",
                ("norm_added_q", "norm_added_k"),
            ),
        ):
            take(f"{new}.{side}_attn.qkv", *(f"{old}.attn.{one}" for one in q))
            take(f"{new}.{side}_attn.proj", f"{old}.attn.{out}")
            take(f"{new}.{side}_mlp.0", f"{old}.{mlp}.net.0.proj")
            take(f"{new}.{side}_mlp.2", f"{old}.{mlp}.net.2")
            take(f"{new}.{side}_mod.lin", f"{old}.{norm}.linear")
            for kind, name in zip(("query_norm", "key_norm"), norms, strict=True):
                made[f"{new}.{side}_attn.norm.{kind}.scale"] = tensors[f"{old}.attn.{name}.weight"]
    for at in singles:
        old, new = f"single_transformer_blocks.{at}", f"single_blocks.{at}"
        take(f"{new}.linear1", f"{old}.attn.to_q", f"{old}.attn.to_k", f"{old}.attn.to_v", f"{old}.proj_mlp")
        take(f"{new}.linear2", f"{old}.proj_out")
        take(f"{new}.modulation.lin", f"{old}.norm.linear")
        made[f"{new}.norm.query_norm.scale"] = tensors[f"{old}.attn.norm_q.weight"]
        made[f"{new}.norm.key_norm.scale"] = tensors[f"{old}.attn.norm_k.weight"]
    return made


def scaled_fp8(tensors: Mapping[str, Tensor], suffix: str = ".scale_weight") -> dict[str, Tensor]:
    """Linear weights in e4m3, each with the scale that it must be multiplied by, and the mark that such files carry."""
    made: dict[str, Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for key, value in tensors.items():
        if key.endswith(".weight") and value.dim() == 2:
            scale = value.float().abs().max() / 448.0
            made[key] = (value.float() / scale).to(torch.float8_e4m3fn)
            made[key.removesuffix(".weight") + suffix] = scale.reshape(1)
        else:
            made[key] = value
    return made
