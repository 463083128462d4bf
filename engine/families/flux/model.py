"""FLUX.1-dev: CLIP's pooled text, T5's states, and a transformer over packed latents, distilled to take the guidance as an input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.families import clip, flow, loading
from loratui.engine.families.diffusers_model import DiffusersModel
from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.model import (
    Joiner,
    ModelLoader,
    NoisyInput,
    Prediction,
    PromptEmbeds,
    PromptTokens,
    SamplePlan,
)
from loratui.engine.families.parts import on_device


class Flux(DiffusersModel):
    """A FLUX.1-dev base, or one of its shape."""

    spec = FLUX
    prediction: Prediction = "flow"

    def _read_configs(self) -> None:
        self._schedule = loading.scheduler_config(self._files)

    def _check_denoiser(self, denoiser: Any) -> None:
        if not denoiser.config.guidance_embeds or denoiser.config.in_channels != 4 * self.spec.vae.channels:
            raise UsageError("This transformer is not FLUX.1-dev's.", "Choose FLUX.1-dev; its LoRAs work on schnell too.")
        keep_gradients_dense(denoiser)
        let_first_blocks_look_like_others(denoiser)

    def tokenize(self, captions: Sequence[str], known: Sequence[PromptEmbeds] | None = None) -> list[PromptTokens]:
        """For each caption CLIP's (1, 77) `ids`, and T5's (512, 4096) `states`, padding included: T5 is never trained."""
        read = clip.tokenize(self._tokenizers["tokenizer"], captions, clip.CONTENT)
        return [
            PromptTokens({"ids": ids, "states": one.tensors["states"]}, one.tokens_cut)
            for (ids, _), one in zip(read, known or self._read_by_t5(captions), strict=True)
        ]

    def encode(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """T5's `states`, and CLIP's (768,) `pooled`, without a projection: its last layer after the final norm, at the first end."""
        ids = tokens["ids"].to(self.device)
        last = self._parts["text_encoder"](ids).last_hidden_state
        pooled = clip.at_first_end(last, ids, self._tokenizers["tokenizer"].eos_token_id)
        return {"states": tokens["states"], "pooled": pooled.float()}

    def _read_by_t5(self, captions: Sequence[str]) -> list[PromptEmbeds]:
        tokenizer, t5 = self._tokenizers["tokenizer_2"], self._parts["text_encoder_2"]
        assert not t5.training, "T5 drops values at random in training mode"
        window = self._window
        made = []
        for first in range(0, len(captions), self.captions_at_once):
            some = list(captions[first : first + self.captions_at_once])
            ids = tokenizer(some, padding="max_length", max_length=window, truncation=True, return_tensors="pt").input_ids
            for caption, states in zip(some, t5(ids.to(self.device)).last_hidden_state, strict=True):
                read = len(tokenizer(caption, verbose=False).input_ids)
                # A clone, for a slice would keep those of all captions.
                made.append(PromptEmbeds({"states": states.clone()}, max(0, read - window)))
        return made

    @property
    def _window(self) -> int:
        """Tokens that T5 reads."""
        longest: int = self._tokenizers["tokenizer_2"].model_max_length
        return min(longest, self.spec.caption_tokens)

    def empty_texts(self) -> PromptEmbeds:
        config: Any = self.denoiser.config
        states = torch.zeros(self._window, config.joint_attention_dim)
        return PromptEmbeds({"states": states, "pooled": torch.zeros(config.pooled_projection_dim)}, 0)

    @staticmethod
    def join_projections(block: nn.Module, joiner: Joiner) -> None:
        """q, k and v of each stream, which a single block's MLP also reads with; the MLP's own layers with their LoRA."""
        of: Any = block
        attention = of.attn
        own = [attention.to_q, attention.to_k, attention.to_v]
        if attention.added_kv_proj_dim is not None:
            made = joiner.joined(own, [attention.add_q_proj, attention.add_k_proj, attention.add_v_proj], appended=True)
            if made:
                attention.to_qkv, attention.to_added_qkv = made
            for mlp in (of.ff, of.ff_context):
                joiner.append(mlp.net[0].proj, mlp.net[2])
        else:
            made = joiner.in_turn([of.proj_mlp], own)
            if made:
                of.proj_mlp, attention.to_qkv = made
            else:  # where the MLP is not trained
                made = joiner.joined(own, appended=True)
                for qkv in made:
                    attention.to_qkv = qkv
            joiner.append(of.proj_out)
        attention.fused_projections = bool(made)

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> NoisyInput:
        """Continuous σ, shifted for this size of image; see `flow`."""
        height, width = latents.shape[-2:]
        shift = flow.shift_of(height * width // 4, self._schedule)
        return flow.add_noise(latents, noise, flow.trained_sigmas(uniform, self._settings.training, shift))

    def text_conditioning(self, embeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """`states` (B, 512, 4096) and `pooled` (B, 768)."""
        return {name: on_device(torch.stack([one[name] for one in embeds]), self.device) for name in ("states", "pooled")}

    def predict(self, noisy_model_input: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        return self._velocity(noisy_model_input, timesteps, conditioning, self._settings.training.guidance)

    def _velocity(
        self, noisy_model_input: Tensor, sigmas: Tensor, conditioning: Mapping[str, Tensor], guidance: float
    ) -> Tensor:
        transformer = self.denoiser
        dtype = next(transformer.parameters()).dtype
        states, pooled = (conditioning[name].to(dtype) for name in ("states", "pooled"))
        height, width = noisy_model_input.shape[-2:]
        output = transformer(
            hidden_states=pack(noisy_model_input).to(dtype),
            timestep=sigmas.float(),  # 0 to 1; the transformer multiplies by 1000 itself, and the guidance too
            guidance=torch.full_like(sigmas, guidance, dtype=torch.float32),
            pooled_projections=pooled,
            encoder_hidden_states=states,
            txt_ids=torch.zeros(states.shape[1], 3, device=self.device),
            img_ids=image_ids(height // 2, width // 2, self.device),
            return_dict=False,
        )[0]
        return unpack(output, height, width)

    @torch.no_grad()
    def sample_together(self, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]:
        """One pass per step: the guidance is an input of the transformer, and there is no negative prompt."""
        one = plans[0]
        shape = self._latent_shape(one.width, one.height)
        conditioning = self.conditioning([plan.prompt_embeds for plan in plans], [])

        def denoise(latent_model_input: Tensor, sigmas: Tensor) -> Tensor:
            with self._sampling():
                return self._velocity(latent_model_input, sigmas, conditioning, one.guidance)

        latents = flow.sample(plans, shape, self._schedule, shape[-2] * shape[-1] // 4, self.device, denoise, on_step)
        return [self.decode_image(each) for each in latents]


def pack(latents: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h/2 · w/2, 4C): squares of 2 × 2 row by row; channel c at (dy, dx) becomes number 4c + 2dy + dx."""
    batch, channels, height, width = latents.shape
    squares = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, C, height, width) from what `pack` makes."""
    batch, _, channels = tokens.shape
    squares = tokens.view(batch, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(batch, channels // 4, height, width)


def image_ids(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """(rows · columns, 3): 0, row, column of each token, in fp32, since bf16 cannot hold every whole number above 256."""
    ids = torch.zeros(rows, columns, 3, device=device)
    ids[..., 1] += torch.arange(rows, device=device)[:, None]
    ids[..., 2] += torch.arange(columns, device=device)[None]
    return ids.view(-1, 3)


class _DenseGradient(torch.autograd.Function):
    """The identity, with a gradient that is contiguous in memory.

    A single block's attention gets its gradient as a slice, a double block's as a whole. cuDNN's attention on Hopper
    (torch 2.11) plans for the first layout it meets and fails on the other: a crash, or silently wrong gradients.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return gradient.contiguous()


def keep_gradients_dense(transformer: Any) -> None:
    """Gives the attention of every single block contiguous gradients; see `_DenseGradient`."""
    for block in transformer.single_transformer_blocks:
        block.attn.register_forward_hook(_with_dense_gradient)


def _with_dense_gradient(module: nn.Module, inputs: object, output: Tensor) -> Tensor:  # noqa: ARG001 - a hook's signature
    # Torch gives apply no types.
    dense: Tensor = _DenseGradient.apply(output)  # type: ignore[no-untyped-call]
    return dense


def let_first_blocks_look_like_others(transformer: Any) -> None:
    """Gives the first block of each kind inputs like those of the others, so that one compiled block serves all of its kind.

    Else torch compiles a block with inputs that need no gradients, and another with states that are no slices of one tensor. Neither
    changes a value; the gradients of the first inputs are half a millisecond on an H200.
    """
    for embedder in (transformer.x_embedder, transformer.context_embedder):
        embedder.register_forward_hook(_with_gradient)
    for block in transformer.single_transformer_blocks[:1]:
        block.register_forward_pre_hook(_as_slices, with_kwargs=True)


def _with_gradient(module: nn.Module, inputs: object, output: Tensor) -> None:  # noqa: ARG001 - a hook's signature
    if torch.is_grad_enabled() and not output.requires_grad:
        output.requires_grad_()


def _as_slices(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ARG001 - a hook's signature
    text, image = named["encoder_hidden_states"], named["hidden_states"]
    both = torch.cat([text, image], dim=1)
    length = text.shape[1]
    return inputs, {**named, "encoder_hidden_states": both[:, :length], "hidden_states": both[:, length:]}


load: ModelLoader = Flux
