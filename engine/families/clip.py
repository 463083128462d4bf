"""CLIP as a text encoder: captions in windows of 77 tokens, and the hidden layer that clip skip selects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.families.common.clip import CLIP_L
from loratui.engine.words import count

CONTENT = CLIP_L.window - 2
"""Tokens of content in a window; the others mark its begin and end."""


def tokenize(tokenizer: Any, captions: Sequence[str], limit: int) -> Iterator[tuple[Tensor, int]]:
    """For each caption the windows that its first `limit` content tokens need, and how many tokens were cut off.

    Windows are (n, 77), n at least 1: begin, up to 75 tokens of content, end, and the end again as padding.
    """
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    for full in tokenizer(list(captions), add_special_tokens=False, verbose=False).input_ids:
        content = full[:limit]
        windows = [content[at : at + CONTENT] for at in range(0, max(1, len(content)), CONTENT)]
        rows = [[begin, *window, *[end] * (CONTENT - len(window) + 1)] for window in windows]
        yield torch.tensor(rows), len(full) - len(content)


def padded_with_zeros(ids: Tensor, end: int) -> Tensor:
    """`ids` with 0 after each row's first end, as for SDXL's second encoder; its tokenizer would turn every `!` into 0 too."""
    ended = (ids == end).cumsum(1)
    behind = ended - (ids == end).long()
    return ids.masked_fill(behind > 0, 0)


def first_end(ids: Tensor, end: int) -> Tensor:
    """(n,) position of the first end in each row, from which CLIP's pooled state is taken."""
    return (ids == end).int().argmax(1)


def at_first_end(states: Tensor, ids: Tensor, end: int) -> Tensor:
    """(width,) of the (n, 77, width) states, where the first window ends. The device finds the place: nobody waits for it."""
    return states[0].index_select(0, first_end(ids, end)[:1])[0]


def _check_clip_skip(encoder: Any, clip_skip: int) -> None:
    layers = encoder.config.num_hidden_layers
    if clip_skip > layers:
        raise UsageError(f"base.clip_skip {clip_skip}: the text encoder has only {count(layers, 'layer')}.")


def states_sd15(encoder: Any, ids: Tensor, clip_skip: int) -> Tensor:
    """(n, 77, width) fp32 states of the layer that `clip_skip` selects, after the final layer norm.

    Automatic1111 counts the last layer as clip skip 1. It is taken as the encoder returns it, since releases of transformers
    differ in whether the last hidden state has passed the norm. Raises `UsageError` if the encoder has too few layers.
    """
    _check_clip_skip(encoder, clip_skip)
    output = encoder(ids, output_hidden_states=True)
    if clip_skip == 1:
        last: Tensor = output.last_hidden_state
        return last.float()
    # CLIPTextModel before transformers 5.6, and CLIPTextModelWithProjection, have one more level.
    states: Tensor = getattr(encoder, "text_model", encoder).final_layer_norm(output.hidden_states[-clip_skip])
    return states.float()


def states_sdxl(encoder: Any, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
    """(n, 77, width) fp32 states of the last layer but one, without the final norm, and (n, 77, width) of the last after the norm.

    On SDXL clip skip 1 and 2 both mean the last layer but one, 3 the layer before it. Raises as `states_sd15`.
    """
    skipped = max(2, clip_skip)
    _check_clip_skip(encoder, skipped)
    output = encoder(ids, output_hidden_states=True)
    return output.hidden_states[-skipped].float(), output.last_hidden_state


def of_equal_length(states: Sequence[Tensor]) -> Tensor:
    """(B, tokens, width) from (tokens, width) each, shorter ones repeated: in attention, a weighted mean, that changes nothing."""
    length = math.lcm(*(len(one) for one in states))
    return torch.stack([one.repeat(length // len(one), 1) for one in states])
