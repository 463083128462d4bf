"""CLIP as a text encoder: tokens in a window of 77, and the hidden layer that clip skip names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

WINDOW = 77
"""Tokens that CLIP takes: begin, 75 of content, end."""


def token_ids(tokenizer: Any, captions: Sequence[str]) -> tuple[Tensor, list[int]]:
    """((B, 77) ids, content tokens of each caption that did not fit)."""
    full = [len(ids) for ids in tokenizer(list(captions)).input_ids]
    ids = tokenizer(list(captions), padding="max_length", max_length=WINDOW, truncation=True, return_tensors="pt").input_ids
    return ids, [max(0, length - WINDOW) for length in full]


def final_layer_norm(encoder: Any) -> Any:
    """The layer norm behind the last layer; CLIPTextModel before transformers 5.6, and CLIPTextModelWithProjection, have one more level."""
    return getattr(encoder, "text_model", encoder).final_layer_norm


def states_sd15(encoder: Any, ids: Tensor, clip_skip: int) -> Tensor:
    """(B, 77, width) states of the layer that `clip_skip` names, behind the final layer norm.

    hidden_states[-1] is the last layer before the norm; A1111 counts it as clip skip 1.
    """
    hidden = encoder(ids, output_hidden_states=True).hidden_states
    states: Tensor = final_layer_norm(encoder)(hidden[-clip_skip])
    return states.to(torch.float32)
