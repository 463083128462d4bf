"""Trains the embedded base of FLUX's shape: autoencoder of 16 channels, then transformer with T5 and CLIP, then its guidance."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loratui.presets.bases.make.gpu import count_parameters, log, mixed
from loratui.presets.bases.make.loop import BatchSchedule, train
from loratui.presets.bases.make.t5_vocabulary import TOKENS as T5_TOKENS
from loratui.presets.bases.make.vocabulary import TOKENS, forget_padding

SHIFT, SCALING = 0.1159, 0.3611
"""FLUX's shift and factor between the autoencoder's latents z and the transformer's: (z - shift) * factor."""

TIME_SHIFT = 1.6
"""Shift of the noise levels that FLUX's scheduler uses for 64 image tokens, e^0.4675."""

_CAPTION_DROPOUT = 0.1
_UNIFORM_TIMES = 0.3
_GUIDANCE = (1.0, 5.0)
_CLIP_WIDTH, _T5_WIDTH = 48, 96


def new_flux_vae(folder: Path) -> Any:
    """An `AutoencoderKL` as FLUX's: 128 px to 16 × 16 × 16, no convolutions between the halves.

    It starts from the autoencoder in `folder`, which halves the sides once less: one more level goes in at the narrow end.
    """
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=16,
        sample_size=128,
        block_out_channels=(32, 48, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=SCALING,
        shift_factor=SHIFT,
    )
    own = vae.state_dict()
    for name, value in AutoencoderKL.from_pretrained(folder, local_files_only=True).state_dict().items():
        for level in (2, 1, 0):
            name = name.replace(f"decoder.up_blocks.{level}.", f"decoder.up_blocks.{level + 1}.")
        if name in own and own[name].shape == value.shape:
            own[name] = value
    vae.load_state_dict(own)
    return vae


def new_text_encoders(clip_tokenizer: Any, t5_tokenizer: Any) -> tuple[Any, Any]:
    """`CLIPTextModel`, of which only the pooled state is used, and `T5EncoderModel`."""
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    clip = CLIPTextConfig(
        vocab_size=len(clip_tokenizer),
        hidden_size=_CLIP_WIDTH,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="quick_gelu",
        projection_dim=_CLIP_WIDTH,
        bos_token_id=clip_tokenizer.bos_token_id,
        eos_token_id=clip_tokenizer.eos_token_id,
        pad_token_id=clip_tokenizer.pad_token_id,
    )
    t5 = T5Config(
        vocab_size=len(t5_tokenizer),
        d_model=_T5_WIDTH,
        d_kv=24,
        num_heads=4,
        d_ff=192,
        num_layers=3,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return CLIPTextModel(clip), T5EncoderModel(t5)


def new_transformer() -> Any:
    """A `FluxTransformer2DModel` of two double and five single blocks, whose blocks do nothing at first (as in DiT)."""
    from diffusers import FluxTransformer2DModel
    from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=2,
        num_single_layers=5,
        attention_head_dim=32,
        num_attention_heads=5,
        joint_attention_dim=_T5_WIDTH,
        pooled_projection_dim=_CLIP_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 14, 14),
    )
    for module in transformer.modules():
        if isinstance(module, AdaLayerNormZero | AdaLayerNormZeroSingle | AdaLayerNormContinuous):
            torch.nn.init.zeros_(module.linear.weight)
            torch.nn.init.zeros_(module.linear.bias)
    torch.nn.init.zeros_(transformer.proj_out.weight)
    torch.nn.init.zeros_(transformer.proj_out.bias)
    return transformer


def pack(latents: Tensor) -> Tensor:
    """Latents (n, c, h, w) as tokens (n, h/2 · w/2, 4c): rows of 2 × 2 squares; within a token channel, row, column."""
    n, c, h, w = latents.shape
    return latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, 4 * c)


def image_ids(rows: int, columns: int, device: torch.device) -> Tensor:
    """Positions (0, row, column) of the tokens, shape (rows · columns, 3)."""
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([torch.zeros_like(y), y, x], -1).reshape(-1, 3).float()


def draw_times(count: int, device: torch.device) -> Tensor:
    """Noise levels 0 to 1: sigmoids of normal numbers, shifted as the scheduler does for this size; three in ten are even."""
    s = torch.randn(count, device=device).sigmoid()
    shifted = TIME_SHIFT * s / (1 + (TIME_SHIFT - 1) * s)
    even = torch.rand(count, device=device)
    return torch.where(torch.rand(count, device=device) < _UNIFORM_TIMES, even, shifted)


@dataclasses.dataclass(frozen=True)
class Lessons:
    """Latents as tokens (n, 64, 64), and the tokens of n · `captions` captions and last the empty one for CLIP and T5."""

    latents: Tensor
    captions: int
    clip: Tensor
    t5: Tensor

    @classmethod
    def empty(cls, images: int, captions: int, device: torch.device) -> Lessons:
        """Tensors of the right shapes, to be filled."""
        tokens = [torch.zeros(images * captions + 1, n, dtype=torch.int64, device=device) for n in (TOKENS, T5_TOKENS)]
        return cls(torch.zeros(images, 64, 64, device=device), captions, tokens[0], tokens[1])


class Flux:
    """The transformer and its text encoders, called as the pipeline calls them."""

    def __init__(self, transformer: Any, clip: Any, t5: Any, *, compiled: bool) -> None:
        self.transformer, self.clip, self.t5 = transformer, clip, t5
        device = next(transformer.parameters()).device
        if compiled:
            transformer.compile_repeated_blocks()
        self._places = image_ids(8, 8, device)
        self._text_places = torch.zeros(T5_TOKENS, 3, device=device)

    def texts(self, clip_tokens: Tensor, t5_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's pooled state (n, 48) and T5's states (n, 64, 96), padding included."""
        return self.clip(clip_tokens).pooler_output, self.t5(t5_tokens).last_hidden_state

    def velocity(self, noisy: Tensor, times: Tensor, guidance: Tensor, texts: tuple[Tensor, Tensor]) -> Tensor:
        """What the transformer predicts, noise minus image."""
        guess: Tensor = self.transformer(
            hidden_states=noisy,
            timestep=times,
            guidance=guidance,
            pooled_projections=texts[0],
            encoder_hidden_states=texts[1],
            txt_ids=self._text_places,
            img_ids=self._places,
            return_dict=False,
        )[0]
        return guess.float()


def train_flow(model: Flux, lessons: Lessons, course: BatchSchedule, batch: int, ready: Callable[[], None]) -> None:
    """Flow matching at guidance 1 with a tenth of the captions dropped; trains all three parts of `model` in place.

    `ready` fills `lessons` once the first step is compiled.
    """
    device = lessons.latents.device
    one = torch.ones(batch, device=device)

    def loss() -> Tensor:
        clean, clip_tokens, t5_tokens = _draw(lessons, batch, _CAPTION_DROPOUT)
        times, noise = draw_times(batch, device), torch.randn_like(clean)
        noisy = torch.lerp(clean, noise, times.view(-1, 1, 1))
        with mixed(device):
            guess = model.velocity(noisy, times, one, model.texts(clip_tokens, t5_tokens))
        return (guess - (noise - clean)).pow(2).mean()

    parts = (model.transformer, model.clip, model.t5)
    log("transformer, CLIP, T5:", *(count_parameters(m) for m in parts))
    train(dataclasses.replace(course, name="flow"), [p for m in parts for p in m.parameters()], loss, ready)


def distil_guidance(model: Flux, lessons: Lessons, course: BatchSchedule, batch: int) -> None:
    """Teach the transformer to do in one call what classifier-free guidance does in two, at the guidance value it is told.

    Half of each batch stays at guidance 1 with the plain target. For the other half the target is u + g (c - u), with c and u the
    frozen transformer's predictions with the caption and with the empty one (Meng et al. 2023). The text encoders stay as they are.
    """
    device = lessons.latents.device
    teacher = Flux(
        copy.deepcopy(model.transformer).requires_grad_(False),
        model.clip,
        model.t5,
        compiled=device.type == "cuda" and course.graph,
    )
    for part in (model.clip, model.t5):
        part.requires_grad_(False)
    half = batch // 2
    empty = model.texts(lessons.clip[-1:], lessons.t5[-1:])
    nothing = empty[0].detach().expand(half, -1).clone(), empty[1].detach().expand(half, -1, -1).clone()

    def loss() -> Tensor:
        clean, clip_tokens, t5_tokens = _draw(lessons, batch, _CAPTION_DROPOUT / 2)
        times, noise = draw_times(batch, device), torch.randn_like(clean)
        noisy = torch.lerp(clean, noise, times.view(-1, 1, 1))
        guidance = torch.ones(batch, device=device)
        guidance[half:].uniform_(*_GUIDANCE)
        with mixed(device):
            with torch.no_grad():
                texts = model.texts(clip_tokens, t5_tokens)
                guided = tuple(t[half:] for t in texts)
                both = tuple(torch.cat([a, b.to(a.dtype)]) for a, b in zip(guided, nothing, strict=True))
                one = torch.ones(2 * half, device=device)
                taught = teacher.velocity(noisy[half:].repeat(2, 1, 1), times[half:].repeat(2), one, (both[0], both[1]))
            guess = model.velocity(noisy, times, guidance, texts)
        said, unsaid = taught.chunk(2)
        target = torch.cat([(noise - clean)[:half], torch.lerp(unsaid, said, guidance[half:].view(-1, 1, 1))])
        return (guess - target).pow(2).mean()

    train(dataclasses.replace(course, name="guidance", warmup_steps=100), list(model.transformer.parameters()), loss)


def _draw(lessons: Lessons, batch: int, dropout: float) -> tuple[Tensor, Tensor, Tensor]:
    device, count = lessons.latents.device, len(lessons.latents)
    rows = torch.randint(count, (batch,), device=device)
    texts = rows * lessons.captions + torch.randint(lessons.captions, (batch,), device=device)
    texts = torch.where(torch.rand(batch, device=device) < dropout, count * lessons.captions, texts)
    return lessons.latents[rows], lessons.clip[texts], lessons.t5[texts]


def save_flux(base: Path, vae: Any, model: Flux, clip_tokenizer: Any, t5_tokenizer: Any) -> None:
    """Write the diffusers folder as fp16, with the scheduler of FLUX.1-dev."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    scheduler = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )
    halves = [copy.deepcopy(m).half().eval() for m in (vae, model.clip, model.t5, model.transformer)]
    FluxPipeline(
        vae=halves[0],
        text_encoder=halves[1],
        text_encoder_2=halves[2],
        transformer=halves[3],
        tokenizer=clip_tokenizer,
        tokenizer_2=t5_tokenizer,
        scheduler=scheduler,
    ).save_pretrained(base)
    for name in ("tokenizer", "tokenizer_2"):
        forget_padding(base / name)
