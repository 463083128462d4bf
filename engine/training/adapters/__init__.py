"""What is trained: LoRA and its relatives on the layers of frozen models, by PEFT, in fp32."""

from __future__ import annotations

from loratui.engine.training.adapters.adapter import AdaptedLayer, LoraAdapter
from loratui.engine.training.adapters.build import Target, add_adapters, matching_modules
from loratui.engine.training.adapters.weight_delta import WeightDelta

__all__ = ["AdaptedLayer", "LoraAdapter", "Target", "WeightDelta", "add_adapters", "matching_modules"]
