"""What libraries do with the weights below a LoRA: torchao, optimum-quanto, bitsandbytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Below = Callable[[nn.Module], None]
"""Replaces the weights of the Linears below the LoRA of a model."""


def _is_below(module: nn.Module, name: str) -> bool:
    """Whether a module is the base of a LoRA that gets a whole sequence: modulation has one row, which no 8-bit product takes."""
    return isinstance(module, nn.Linear) and name.endswith(".base_layer") and ".norm" not in name


def torchao(config: str, **options: Any) -> Below:
    def below(model: nn.Module) -> None:
        from torchao import quantization

        made = {key: value() if callable(value) else value for key, value in options.items()}
        quantization.quantize_(model, getattr(quantization, config)(**made), filter_fn=_is_below)

    return below


def by_row() -> Any:
    from torchao.quantization import PerRow

    return PerRow()


def float8_training(model: nn.Module) -> None:
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    convert_to_float8_training(
        model, config=Float8LinearConfig.from_recipe_name("rowwise"), module_filter_fn=lambda *one: _is_below(*one)
    )


def quanto(weights: str) -> Below:
    def below(model: nn.Module) -> None:
        from optimum import quanto as own

        own.quantize(model, weights=getattr(own, weights), include="*.base_layer", exclude="*.norm*")
        own.freeze(model)

    return below


def bitsandbytes(bits: int) -> Below:
    def below(model: nn.Module) -> None:
        for name, module in list(model.named_modules()):
            if _is_below(module, name):
                model.set_submodule(name, _in_bits(module, bits))

    return below


def _in_bits(linear: Any, bits: int) -> nn.Module:
    from bitsandbytes import nn as own

    sizes, device = (linear.in_features, linear.out_features, linear.bias is not None), linear.weight.device
    made: Any
    if bits == 8:
        made = own.Linear8bitLt(*sizes, has_fp16_weights=False, threshold=0.0)
    else:
        made = own.Linear4bit(*sizes, compute_dtype=linear.weight.dtype, quant_type="nf4")
    made.load_state_dict({name: value.cpu() for name, value in linear.state_dict().items()})
    quantised: nn.Module = made.to(device).requires_grad_(False)
    return quantised
