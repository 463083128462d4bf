"""CLIP as a text encoder: captions in windows of 77 tokens, and the hidden layer that clip skip names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.families.common.clip import CLIP_L
from loratui.engine.words import count

WINDOW = CLIP_L.window
"""Tokens that CLIP takes: begin, 75 of content, end."""

CONTENT = WINDOW - 2


@dataclass(frozen=True)
class Tokens:
    """A caption as CLIP reads it."""

    ids: Tensor
    """(n, 77), one row a window: begin, up to 75 of content, end, and the end again as padding."""
    cut: int
    """Content tokens that did not fit."""


def tokenize(tokenizer: Any, captions: Sequence[str], limit: int) -> list[Tokens]:
    """The windows of each caption, as many as it needs for its first `limit` content tokens, at least one."""
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    made = []
    for full in tokenizer(list(captions), add_special_tokens=False, verbose=False).input_ids:
        content = full[:limit]
        windows = [content[at : at + CONTENT] for at in range(0, max(1, len(content)), CONTENT)]
        rows = [[begin, *window, *[end] * (CONTENT - len(window) + 1)] for window in windows]
        made.append(Tokens(torch.tensor(rows), len(full) - len(content)))
    return made


def padded_with_zeros(ids: Tensor, end: int) -> Tensor:
    """`ids` with 0 behind the first end of each row, as SDXL's second encoder was trained.

    Asking its own tokenizer for that would be wrong: with `!` as its padding, `!` within a caption becomes 0 too.
    """
    ended = (ids == end).cumsum(1)
    behind = ended - (ids == end).long()
    return ids.masked_fill(behind > 0, 0)


def first_end(ids: Tensor, end: int) -> Tensor:
    """(n,) place of the first end in each row; what CLIP's pooled state is taken from."""
    return (ids == end).int().argmax(1)


def text_model(encoder: Any) -> Any:
    """Where the layers are; CLIPTextModel before transformers 5.6, and CLIPTextModelWithProjection, have one more level."""
    return getattr(encoder, "text_model", encoder)


def check_clip_skip(encoder: Any, clip_skip: int) -> None:
    """Raises `UsageError` if the encoder has fewer layers than clip skip says."""
    layers = encoder.config.num_hidden_layers
    if clip_skip > layers:
        raise UsageError(f"base.clip_skip {clip_skip}: the text encoder has only {count(layers, 'layer')}.")


def states_sd15(encoder: Any, ids: Tensor, clip_skip: int) -> Tensor:
    """(n, 77, width) fp32 states of the layer that `clip_skip` names, behind the final layer norm.

    A1111 counts the last layer as clip skip 1; that one is taken as the encoder gives it, since releases of transformers
    differ in whether the last hidden state is already behind the norm.
    """
    check_clip_skip(encoder, clip_skip)
    output = encoder(ids, output_hidden_states=True)
    if clip_skip == 1:
        last: Tensor = output.last_hidden_state
        return last.float()
    states: Tensor = text_model(encoder).final_layer_norm(output.hidden_states[-clip_skip])
    return states.float()


def states_sdxl(encoder: Any, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
    """(n, 77, width) fp32 states of the last layer but one, without the final norm, and (n, 77, width) behind the last and the norm.

    On SDXL clip skip 1 and 2 both mean the last layer but one, 3 the one before it.
    """
    skipped = max(2, clip_skip)
    check_clip_skip(encoder, skipped)
    output = encoder(ids, output_hidden_states=True)
    return output.hidden_states[-skipped].float(), output.last_hidden_state


def of_equal_length(states: Sequence[Tensor]) -> Tensor:
    """(B, tokens, width) from (tokens, width) each, the shorter ones repeated as a whole.

    Attention is a mean over tokens, weighted by what they are and not by where they stand, so a repetition changes nothing.
    """
    length = math.lcm(*(len(one) for one in states))
    return torch.stack([one.repeat(length // len(one), 1) for one in states])
