"""The names that other programs look for."""

from __future__ import annotations

import pytest

from loratui.engine.formats.kohya import text_encoder_names, unet_names


def test_a_unet_module_has_the_names_of_kohyas_scripts() -> None:
    names = unet_names("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0")
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert (names.down, names.up, names.alpha) == (f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha")


@pytest.mark.parametrize("module", ["encoder.layers.3.self_attn.q_proj", "text_model.encoder.layers.3.self_attn.q_proj"])
def test_a_text_encoder_module_always_has_the_level_that_new_libraries_left_out(module: str) -> None:
    assert text_encoder_names(module).stem == "lora_te_text_model_encoder_layers_3_self_attn_q_proj"
    assert text_encoder_names(module, "lora_te2_").stem == "lora_te2_text_model_encoder_layers_3_self_attn_q_proj"
