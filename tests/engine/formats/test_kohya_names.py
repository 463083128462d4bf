"""The names that other programs look for, by family."""

from __future__ import annotations

import pytest

from loratui.engine.families.common import unet_names
from loratui.engine.families.flux.names import original
from loratui.engine.formats import kohya, peft_names
from loratui.engine.planning.lora_size import denoiser_layers, targeted

BLOCK = "attentions.0.transformer_blocks.0.attn1.to_out.0"


def test_a_module_of_sd15_has_the_names_of_kohyas_scripts() -> None:
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert kohya.stem("sd15", "denoiser", f"down_blocks.0.{BLOCK}") == stem
    assert (kohya.DOWN, kohya.UP, kohya.ALPHA) == ("lora_down.weight", "lora_up.weight", "alpha")


@pytest.mark.parametrize(
    ("module", "place"),
    [
        (f"down_blocks.1.{BLOCK}", "input_blocks_4_1_transformer_blocks_0_attn1_to_out_0"),
        ("down_blocks.2.attentions.1.proj_in", "input_blocks_8_1_proj_in"),
        ("down_blocks.0.resnets.0.conv1", "input_blocks_1_0_in_layers_2"),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks_4_0_skip_connection"),
        ("down_blocks.1.downsamplers.0.conv", "input_blocks_6_0_op"),
        ("mid_block.resnets.0.time_emb_proj", "middle_block_0_emb_layers_1"),
        ("mid_block.resnets.1.conv2", "middle_block_2_out_layers_3"),
        ("mid_block.attentions.0.proj_out", "middle_block_1_proj_out"),
        ("up_blocks.0.attentions.2.proj_in", "output_blocks_2_1_proj_in"),
        ("up_blocks.2.resnets.2.conv1", "output_blocks_8_0_in_layers_2"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks_5_2_conv"),
        ("add_embedding.linear_2", "label_emb_0_2"),
        ("time_embedding.linear_1", "time_embed_0"),
        ("conv_out", "out_2"),
    ],
)
def test_a_module_of_sdxl_has_its_sgm_name(module: str, place: str) -> None:
    assert kohya.stem("sdxl", "denoiser", module) == f"lora_unet_{place}"


def test_every_module_of_sdxl_has_a_name_of_its_own() -> None:
    modules = [layer.name for layer in denoiser_layers("sdxl")]
    renamed = {unet_names.sdxl(name) for name in modules}
    assert len(renamed) == len(modules) == 788 + 4
    assert not any(name.startswith(("down_blocks", "up_blocks", "mid_block")) for name in renamed)
    assert len({kohya.stem("sdxl", "denoiser", layer.name) for layer in targeted("sdxl", "sd-scripts+conv")}) == 788


def test_the_first_upsampler_of_sd15_stands_behind_a_resnet_alone() -> None:
    names = [unet_names.sd15(f"up_blocks.{block}.upsamplers.0.conv") for block in range(3)]
    assert names == ["output_blocks.2.1.conv", "output_blocks.5.2.conv", "output_blocks.8.2.conv"]


@pytest.mark.parametrize(
    ("module", "stem"),
    [
        ("transformer_blocks.3.attn.to_k", "double_blocks_3_img_attn_qkv"),
        ("transformer_blocks.3.attn.add_v_proj", "double_blocks_3_txt_attn_qkv"),
        ("transformer_blocks.3.attn.to_out.0", "double_blocks_3_img_attn_proj"),
        ("transformer_blocks.3.attn.to_add_out", "double_blocks_3_txt_attn_proj"),
        ("transformer_blocks.3.ff_context.net.2", "double_blocks_3_txt_mlp_2"),
        ("transformer_blocks.3.norm1_context.linear", "double_blocks_3_txt_mod_lin"),
        ("single_transformer_blocks.7.proj_mlp", "single_blocks_7_linear1"),
        ("single_transformer_blocks.7.proj_out", "single_blocks_7_linear2"),
        ("single_transformer_blocks.7.norm.linear", "single_blocks_7_modulation_lin"),
        ("time_text_embed.text_embedder.linear_1", "vector_in_in_layer"),
        ("proj_out", "final_layer_linear"),
        ("norm_out.linear", "final_layer_adaLN_modulation_1"),
    ],
)
def test_a_module_of_flux_has_its_original_name(module: str, stem: str) -> None:
    assert kohya.stem("flux", "denoiser", module) == f"lora_unet_{stem}"
    assert peft_names.stem("flux", "denoiser", module) == f"transformer.{module}"


def test_fluxs_modules_fall_into_the_304_fused_ones_of_its_blocks_and_ten_outside() -> None:
    fused = {original(layer.name).stem for layer in denoiser_layers("flux")}
    assert len(fused) == 304 + 10
    single = original("single_transformer_blocks.0.attn.to_v")
    assert single.members[3] == "single_transformer_blocks.0.proj_mlp"
    assert single.heights == (1, 1, 1, 4)
    assert original("norm_out.linear").halves_swapped
    with pytest.raises(ValueError, match="no such module"):
        original("transformer_blocks.0.attn.to_everything")


@pytest.mark.parametrize("module", ["encoder.layers.3.self_attn.q_proj", "text_model.encoder.layers.3.self_attn.q_proj"])
def test_row_4_text_encoder_names_always_have_the_level_that_new_libraries_left_out(module: str) -> None:
    end = "text_model_encoder_layers_3_self_attn_q_proj"
    assert kohya.stem("sd15", "text_encoder", module) == f"lora_te_{end}"
    assert kohya.stem("sdxl", "text_encoder", module) == f"lora_te1_{end}"
    assert kohya.stem("sdxl", "text_encoder_2", module) == f"lora_te2_{end}"
    assert kohya.stem("flux", "text_encoder", module) == f"lora_te1_{end}"
    dotted = "text_model.encoder.layers.3.self_attn.q_proj"
    assert peft_names.stem("flux", "text_encoder", module) == f"text_encoder.{dotted}"
    assert peft_names.stem("sdxl", "text_encoder_2", module) == f"text_encoder_2.{dotted}"
