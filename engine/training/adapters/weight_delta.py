"""What an adapter adds to one layer, as plain tensors, whether trained, read from a file or written to one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Form = Literal["lora", "loha", "lokr"]

TENSORS: Mapping[Form, tuple[str, ...]] = {
    "lora": ("lora_A", "lora_B", "lora_magnitude_vector"),
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    "lokr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"),
}
"""Tensor names of each form; a layer has some of them."""


@dataclass(frozen=True)
class WeightDelta:
    """The change ΔW of one layer's weight.

    lora: scale · B·A, with A (rank, in) or (rank, in, k, k) and B (out, rank) or (out, rank, 1, 1).
    loha: scale · (w1_a·w1_b) ∘ (w2_a·w2_b), with a (out, rank) and b (rank, in·k·k).
    lokr: scale · w1 ⊗ w2, each either whole or a product of two.
    """

    tensors: Mapping[str, Tensor]
    """By their names in `TENSORS`."""
    scale: float

    @property
    def form(self) -> Form:
        if "lora_A" in self.tensors:
            return "lora"
        return "loha" if "hada_w1_a" in self.tensors else "lokr"

    @property
    def rank(self) -> int:
        """The rank by which alpha is divided; 1 for a LoKr of two whole factors, which has none."""
        downs = (self.tensors[name] for name in ("lora_A", "hada_w1_b", "lokr_w1_b", "lokr_w2_b") if name in self.tensors)
        return next((int(down.shape[0]) for down in downs), 1)

    @property
    def dora(self) -> bool:
        """Whether it also has magnitudes."""
        return "lora_magnitude_vector" in self.tensors

    def to(self, dtype: torch.dtype) -> WeightDelta:
        """The same in another number format."""
        return WeightDelta({name: value.to(dtype) for name, value in self.tensors.items()}, self.scale)

    def factors(self) -> tuple[Tensor, Tensor]:
        """The two factors of a LoKr, as matrices: w1 (a, b) and w2 (c, d·k·k)."""
        own = self.tensors
        w1 = own["lokr_w1"] if "lokr_w1" in own else own["lokr_w1_a"] @ own["lokr_w1_b"]
        w2 = own["lokr_w2"].flatten(1) if "lokr_w2" in own else own["lokr_w2_a"] @ own["lokr_w2_b"]
        return w1, w2

    def matrix(self) -> Tensor:
        """ΔW as (out, in·k·k), of the norm's direction alone where it is DoRA."""
        own = self.tensors
        if self.form == "lora":
            return self.scale * (own["lora_B"].flatten(1) @ own["lora_A"].flatten(1))
        if self.form == "loha":
            return self.scale * (own["hada_w1_a"] @ own["hada_w1_b"]) * (own["hada_w2_a"] @ own["hada_w2_b"])
        return self.scale * torch.kron(*self.factors())

    def norm(self) -> float:
        """The Frobenius norm of ΔW; 0 means no change. For a LoRA and a LoKr, ΔW itself is never made."""
        if self.form == "loha":
            return float(self.to(torch.float32).matrix().norm())
        if self.form == "lokr":
            w1, w2 = self.to(torch.float64).factors()
            return abs(self.scale) * float(w1.norm() * w2.norm())
        down, up = (self.tensors[name].flatten(1).double() for name in ("lora_A", "lora_B"))
        # ‖BA‖² = tr(AᵀBᵀBA) = Σ (BᵀB)∘(AAᵀ)
        return abs(self.scale) * math.sqrt(max(0.0, float(((up.T @ up) * (down @ down.T)).sum())))
