"""What is said of a LoRA to go on from, before anything is loaded: every layout that is read later is known by then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_models as made
import pytest

from loratui.engine.planning.adapter_rules import start_refusal
from loratui.presets.schema import Family, Settings

LAYOUTS: list[tuple[Family, str, tuple[int, int]]] = [
    ("flux", "double_blocks.0.processor.qkv_lora1.{down,up}.weight", (3072, 9216)),
    ("flux", "single_blocks.3.processor.proj_lora.{down,up}.weight", (15360, 3072)),
    ("flux", "double_blocks.0.img_attn.qkv.{lora_A,lora_B}.weight", (3072, 9216)),
    ("flux", "diffusion_model.single_blocks.0.linear1.{lora_down,lora_up}.weight", (3072, 21504)),
    ("flux", "base_model.model.transformer_blocks.0.attn.to_q.{lora_A,lora_B}.default_0.weight", (3072, 3072)),
    ("sdxl", "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.{lora_down,lora_up}.weight", (2048, 640)),
    ("sd15", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.{down,up}.weight", (768, 320)),
]


@pytest.mark.parametrize("ending", [".safetensors", ".sft", "", ".bin"])
@pytest.mark.parametrize(("family", "name", "sides"), LAYOUTS)
def test_a_known_layout_is_taken_whatever_its_file_is_called(
    tmp_path: Path, family: Family, name: str, sides: tuple[int, int], ending: str
) -> None:
    before, _, rest = name.partition("{")
    choices, _, after = rest.partition("}")
    down, up = choices.split(",")
    path = made.write(tmp_path / f"lora{ending}", {before + down + after: (4, sides[0]), before + up + after: (sides[1], 4)})
    plain = Settings()
    settings = replace(
        plain, base=replace(plain.base, family=family), adapter=replace(plain.adapter, start_from=str(path), targets="all")
    )
    assert not list(start_refusal(settings))
    other: Family = "flux" if family != "flux" else "sdxl"
    assert list(start_refusal(replace(settings, base=replace(plain.base, family=other))))
