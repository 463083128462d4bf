"""Models of the families' classes with random weights, as narrow as their code allows, for tests of adapters and files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def unet_sd15(**options: Any) -> nn.Module:
    """SD1.5's UNet with a layer a block."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "sample_size": 8,
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
        "block_out_channels": (8, 16, 16, 16),
    }
    return UNet2DConditionModel(**{**small, **options}).eval()


def unet_sdxl(**options: Any) -> nn.Module:
    """SDXL's UNet with its own numbers of layers and blocks, but one or two transformer blocks where it has two and ten."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    small: dict[str, Any] = {
        "sample_size": 8,
        "layers_per_block": 2,
        "cross_attention_dim": 40,
        "attention_head_dim": (1, 2, 2),
        "norm_num_groups": 8,
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24 + 6 * 8,
    }
    return UNet2DConditionModel(**{**small, **options}).eval()


def flux(**options: Any) -> nn.Module:
    """FLUX's transformer with one double block and two single ones, 32 wide."""
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(2)
    small: dict[str, Any] = {
        "in_channels": 64,
        "num_layers": 1,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 16,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }
    return FluxTransformer2DModel(**{**small, **options}).eval()


def clip(width: int = 16, *, projected: bool = False, layers: int = 3) -> nn.Module:
    """A CLIP text encoder; `projected`: as SDXL's second one."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(3)
    config = CLIPTextConfig(
        vocab_size=200,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        projection_dim=width,
        bos_token_id=198,
        eos_token_id=199,
        pad_token_id=199,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


@torch.no_grad()
def answer(model: Any) -> Tensor:
    """What a model makes of one fixed input."""
    kind = type(model).__name__
    if kind.startswith("CLIP"):
        ids = torch.tensor([[198, *range(1, 9), 199]])
        output = model(ids, output_hidden_states=True)
        return torch.cat([output.hidden_states[-1], output.last_hidden_state if "last_hidden_state" in output else output.text_embeds[:, None]], 1)  # fmt: skip
    if kind == "FluxTransformer2DModel":
        config = model.config
        source = torch.Generator().manual_seed(4)
        ids = torch.zeros(16, 3)
        ids[:, 1], ids[:, 2] = torch.arange(16) // 4, torch.arange(16) % 4
        return model(
            hidden_states=torch.randn(1, 16, config.in_channels, generator=source),
            encoder_hidden_states=torch.randn(1, 5, config.joint_attention_dim, generator=source),
            pooled_projections=torch.randn(1, config.pooled_projection_dim, generator=source),
            timestep=torch.tensor([0.4]),
            guidance=torch.tensor([1.0]),
            img_ids=ids,
            txt_ids=torch.zeros(5, 3),
            return_dict=False,
        )[0]
    config = model.config
    added = None
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = {"text_embeds": torch.ones(1, pooled), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
    return model(
        torch.linspace(-1, 1, 256).view(1, 4, 8, 8),
        torch.tensor([300]),
        torch.linspace(-1, 1, 7 * config.cross_attention_dim).view(1, 7, -1),
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
