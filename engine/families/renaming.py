"""Names of tensors in older and other files -> those of today's libraries."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of these layers in diffusers until 2023 -> now. `sd-vae-ft-mse` and others still use the old ones."""

_OPEN_CLIP = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_CLIP_LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""OpenCLIP's names -> those of transformers, below `text_model.`; attn.in_proj is also split into q, k and v."""


def renamed_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VAE's tensors under today's names; for folders the library does the same by itself."""
    named = {}
    for key, value in tensors.items():
        module, _, kind = key.rpartition(".")
        place, _, layer = module.rpartition(".")
        renamed = place.endswith(".attentions.0") and layer in _OLD_VAE_ATTENTION
        named[f"{place}.{_OLD_VAE_ATTENTION[layer]}.{kind}" if renamed else key] = value
    return named


def from_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's tensors under the names that transformers has for them."""
    named: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key in _OPEN_CLIP:
            named[_OPEN_CLIP[key]] = value
        elif key == "text_projection":
            named["text_projection.weight"] = value.T.contiguous()
        elif key.startswith("transformer.resblocks."):
            _, _, number, rest = key.split(".", 3)
            layer = f"encoder.layers.{number}"
            if rest.startswith("attn.in_proj_"):
                for which, third in zip("qkv", value.chunk(3), strict=True):
                    named[f"{layer}.self_attn.{which}_proj.{rest.removeprefix('attn.in_proj_')}"] = third
            else:
                module, _, tensor = rest.rpartition(".")
                named[f"{layer}.{_OPEN_CLIP_LAYER.get(module, module)}.{tensor}"] = value
    return named
