"""Layers that the makers' code fuses: LoRAs of separate modules as one LoRA of the original Linear, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from loratui.engine.families.lora import Original
from loratui.engine.training.adapters.weight_delta import WeightDelta


def fuse(original: Original, members: Mapping[str, WeightDelta]) -> WeightDelta:
    """One LoRA with the effect of those of the members: A stacked (n·r, in), B block-diagonal (Σ out, n·r), the scale kept.

    A member without a LoRA becomes a block of zeros of the same rank, so that readers can split the whole again.
    All members have the same input; n is their number, present or not.
    """
    one = next(iter(members.values()))
    if len(original.members) == 1:
        return _swapped(one) if original.halves_swapped else one
    width = int(one.tensors["lora_A"].shape[1])
    rank = max(member.rank for member in members.values())
    downs, ups = [], []
    for path, height in zip(original.members, original.heights, strict=True):
        down, up = torch.zeros(rank, width), torch.zeros(height * width, rank)
        if path in members:
            member = members[path]
            own = member.rank
            down[:own] = member.tensors["lora_A"]
            up[:, :own] = member.tensors["lora_B"] * (member.scale / one.scale)
        downs.append(down)
        ups.append(up)
    block_diagonal = torch.block_diag(*ups)  # type: ignore[no-untyped-call]  # torch gives it no types
    return WeightDelta({"lora_A": torch.cat(downs), "lora_B": block_diagonal}, one.scale)


def unfuse(original: Original, fused: WeightDelta) -> dict[str, WeightDelta]:
    """The effect of a LoRA of the original Linear on each of its members; members without an effect are left out.

    B is split by rows. Ranks without effect on a member are left out of it, so `unfuse` returns what `fuse` was given, and
    copies of A for a dense LoRA. No two tensors share memory. Raises `ValueError` for another number of rows.
    """
    if len(original.members) == 1:
        return {original.members[0]: _swapped(fused) if original.halves_swapped else fused}
    down, up = fused.tensors["lora_A"], fused.tensors["lora_B"]
    rows, total = up.shape[0], sum(original.heights)
    if rows % total:
        raise ValueError(f"{rows} rows cannot be divided among {len(original.members)} modules")
    parts: dict[str, WeightDelta] = {}
    pieces = torch.split(up, [height * (rows // total) for height in original.heights])
    for path, piece in zip(original.members, pieces, strict=True):
        used = (piece != 0).any(dim=0)
        if bool(used.any()):
            parts[path] = WeightDelta({"lora_A": down[used].clone(), "lora_B": piece[:, used].clone()}, fused.scale)
    return parts


def _swapped(change: WeightDelta) -> WeightDelta:
    """Scale and shift of the last norm, in the other order."""
    first, second = change.tensors["lora_B"].chunk(2)
    return WeightDelta({**change.tensors, "lora_B": torch.cat([second, first])}, change.scale)
