"""LoRA sizes against counts that other trainers' network builders give, and against the embedded base's own file."""

from __future__ import annotations

import pytest

from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.lora_size import denoiser_config, denoiser_layers, lora_size, targeted, text_encoders_of
from loratui.presets.schema import Adapter


@pytest.mark.parametrize(
    ("family", "targets", "modules", "parameters"),
    [
        ("sd15", "attention", 128, 3_188_736),
        ("sd15", "attention+ff", 160, 5_984_256),
        ("sd15", "sd-scripts", 192, 6_782_976),
        ("sd15", "all", 184, 6_823_936),
        ("sd15", "sd-scripts+conv", 278, 16_813_056),
        ("sdxl", "attention", 560, 23_224_320),
        ("sdxl", "attention+ff", 700, 41_861_120),
        ("sdxl", "sd-scripts", 722, 42_557_440),
        ("sdxl", "all", 743, 43_298_816),
        ("sdxl", "sd-scripts+conv", 788, 49_187_840),
        ("flux", "attention", 266, 26_148_864),
        ("flux", "attention+ff", 418, 65_372_160),
        ("flux", "sd-scripts", 494, 85_917_696),
        ("flux", "all", 504, 86_743_040),
    ],
)
def test_known_counts_at_rank_16(family: str, targets: str, modules: int, parameters: int) -> None:
    size = lora_size(family, Adapter(rank=16, targets=targets))
    assert (size.modules, size.parameters) == (modules, parameters)


@pytest.mark.parametrize(
    ("family", "targets", "modules", "per_rank"),
    [
        # With the text encoders, as sd-scripts trains by default: parameters for each rank.
        ("sd15", "sd-scripts", 264, 589_824),
        ("sd15", "sd-scripts+conv", 350, 1_216_704),
        # SDXL never reads CLIP-L's last layer: six modules of sd-scripts' 986 would get no gradient.
        ("sdxl", "sd-scripts", 980, 3_549_184),
        ("sdxl", "sd-scripts+conv", 1046, 3_963_584),
    ],
)
def test_known_counts_with_text_encoders(family: str, targets: str, modules: int, per_rank: int) -> None:
    size = lora_size(family, Adapter(rank=8, targets=targets), text_encoders=text_encoders_of(family, None))
    assert (size.modules, size.parameters) == (modules, 8 * per_rank)


def test_size_is_two_bytes_a_parameter_and_a_header_of_some_150_bytes_a_tensor() -> None:
    size = lora_size("sd15", Adapter(rank=16))
    header = size.bytes - 2 * size.parameters - 4 * size.modules
    assert 100 <= header / (3 * size.modules) <= 180
    wide = lora_size("sd15", Adapter(rank=16), precision="fp32")
    assert abs(wide.bytes - size.bytes - 2 * size.parameters) < 8 * 3 * size.modules


def test_convolutions_have_their_own_rank() -> None:
    layers = targeted("sd15", "sd-scripts+conv")
    large = [layer for layer in layers if layer.kernel > 1]
    both = lora_size("sd15", Adapter(rank=32, targets="sd-scripts+conv")).parameters
    less = lora_size("sd15", Adapter(rank=32, conv_rank=16, targets="sd-scripts+conv")).parameters
    assert both - less == sum(16 * (9 * layer.inputs + layer.outputs) for layer in large)


def test_the_embedded_bases_layers_are_enumerated_by_name_and_shape() -> None:
    base = base_path("embedded:sd15")
    assert base is not None
    config = denoiser_config("sd15", base)
    assert config is not None
    (weights,) = (base / "unet").glob("*.safetensors")
    tensors = {
        name.removesuffix(".weight"): info.shape
        for name, info in read_header(weights).tensors.items()
        if name.endswith(".weight") and len(info.shape) > 1
    }
    ours = {
        layer.name: (layer.outputs, layer.inputs, *[layer.kernel] * 2) if layer.kernel else (layer.outputs, layer.inputs)
        for layer in denoiser_layers("sd15", config)
    }
    assert ours == {name: shape for name, shape in tensors.items() if name not in ("conv_in", "conv_out")}
