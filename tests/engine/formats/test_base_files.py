"""Base models told by their keys, shapes and number formats: what is recognised, and what is refused with which reason."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import made_models as made
import pytest

from loratui.engine.families import family
from loratui.engine.families.common.clip import CLIP_TOKENIZER
from loratui.engine.formats.base_files import identify, part_file
from loratui.engine.formats.base_parts import BaseFiles, BaseRefused
from loratui.presets import SHIPPED


def refusal(path: Path) -> BaseRefused:
    with pytest.raises(BaseRefused) as caught:
        identify(path)
    assert str(path) in caught.value.message or str(path.parent) in caught.value.message
    return caught.value


def prefixes(base: BaseFiles) -> dict[str, str]:
    return {name: part.prefix for name, part in base.parts.items() if part.files}


def test_the_embedded_base_is_a_whole_diffusers_folder() -> None:
    base = identify(SHIPPED / "bases" / "sd15")
    assert (base.family, base.layout, base.prediction, base.complete) == ("sd15", "diffusers", "epsilon", True)
    assert base.config == SHIPPED / "bases" / "sd15"
    assert base.parts["tokenizer"].path == base.config / "tokenizer"
    assert (base.denoiser.dtype, base.denoiser.in_folder) == ("fp16", True)


def test_an_sd15_checkpoint(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "anything.safetensors", made.sd15()))
    assert (base.family, base.layout, base.complete, base.prediction) == ("sd15", "single_file", True, "epsilon")
    assert prefixes(base) == {
        "unet": "model.diffusion_model.",
        "vae": "first_stage_model.",
        "text_encoder": "cond_stage_model.transformer.",
    }
    assert base.config == family("sd15").bundled
    assert base.title == "SD1.5 checkpoint, fp16"


def test_an_sdxl_checkpoint_whatever_its_name(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "sd15-lora.safetensors", made.sdxl()))
    assert (base.family, base.complete) == ("sdxl", True)
    assert prefixes(base)["text_encoder_2"] == "conditioner.embedders.1.model."
    assert base.parts["text_encoder_2"].names == "original"
    assert base.parts["tokenizer_2"].path == CLIP_TOKENIZER.bundled


def test_v_prediction_is_read_from_keys_and_metadata(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "a.safetensors", {**made.sdxl(), "v_pred": (0,), "ztsnr": (0,)}))
    assert (base.prediction, base.zero_terminal_snr) == ("v", True)
    said = identify(made.write(tmp_path / "b.safetensors", made.sd15(), metadata={"modelspec.prediction_type": "v"}))
    assert (said.prediction, said.zero_terminal_snr) == ("v", False)
    assert said.title.endswith("v-prediction")


def test_an_old_encoder_without_its_inner_level(tmp_path: Path) -> None:
    shapes = {k: v for k, v in made.sd15().items() if not k.startswith("cond_stage")}
    shapes |= made.prefixed("cond_stage_model.transformer.", made.clip(level=""))
    assert (
        identify(made.write(tmp_path / "a.safetensors", shapes)).parts["text_encoder"].prefix == "cond_stage_model.transformer."
    )


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_flux_transformer_names_what_it_needs(tmp_path: Path, prefix: str) -> None:
    base = identify(made.write(tmp_path / "x.safetensors", made.prefixed(prefix, made.flux()), "BF16"))
    assert (base.family, base.layout, base.prediction) == ("flux", "parts", None)
    assert base.denoiser.prefix == prefix
    assert [m.part for m in base.missing] == ["vae", "text_encoder", "text_encoder_2", "tokenizer_2"]
    with pytest.raises(BaseRefused, match=r"T5-XXL text encoder is missing: t5xxl_fp16.safetensors of .* 9.8 GB, Apache-2.0"):
        base.require_complete()


def test_a_flux_checkpoint_with_everything(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "x.safetensors", made.flux_all_in_one(), "F8_E4M3"))
    assert [m.part for m in base.missing] == ["tokenizer_2"]
    assert (base.denoiser.dtype, base.denoiser.fp8) == ("fp8_e4m3", "plain")
    assert prefixes(base)["text_encoder_2"] == "text_encoders.t5xxl.transformer."


def test_fewer_blocks_of_the_true_width_change_the_configuration(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "x.safetensors", made.flux(double=1, single=2)))
    assert dict(base.denoiser.config_changes) == {"num_layers": 1, "num_single_layers": 2}


@pytest.mark.parametrize("suffix", [".scale_weight", ".weight_scale"])
def test_scaled_fp8_is_told_from_plain(tmp_path: Path, suffix: str) -> None:
    weight = "double_blocks.0.img_attn.qkv"
    shapes = {**made.flux(), f"{weight}{suffix}": (1,)}
    base = identify(made.write(tmp_path / "x.safetensors", shapes, "F8_E4M3", dtypes={f"{weight}{suffix}": "F32"}))
    assert (base.denoiser.fp8, base.denoiser.scale_suffix) == ("scaled", suffix)
    assert "scaled fp8" in base.title


def test_the_mark_alone_makes_fp8_scaled(tmp_path: Path) -> None:
    base = identify(made.write(tmp_path / "x.safetensors", {**made.flux(), "scaled_fp8": (0,)}, "F8_E4M3"))
    assert (base.denoiser.fp8, base.denoiser.scale_suffix) == ("scaled", ".scale_weight")
    bf16 = identify(
        made.write(tmp_path / "y.safetensors", {**made.flux(), "scaled_fp8": (0,)}, "BF16", dtypes={"scaled_fp8": "F8_E4M3"})
    )
    assert bf16.denoiser.fp8 == ""


LORA = {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320)}
REFUSED = {
    "kohya LoRA": (LORA, "base_is_lora"),
    "PEFT LoRA": ({"unet.a.to_q.lora_A.weight": (4, 320)}, "base_is_lora"),
    "FLUX LoRA": ({"transformer.transformer_blocks.0.attn.to_q.lora_B.weight": (3072, 4)}, "base_is_lora"),
    "LoHa": ({"lora_unet_x.hada_w1_a": (4, 4)}, "base_is_lora"),
    "ControlNet": ({**made.ldm_unet(), "input_hint_block.0.weight": (16, 3, 3, 3)}, "base_is_controlnet"),
    "ControlNet in a checkpoint": (made.prefixed("control_model.", made.ldm_unet()), "base_is_controlnet"),
    "FLUX ControlNet": ({"controlnet_x_embedder.weight": (1, 1)}, "base_is_controlnet"),
    "IP adapter": ({"image_proj.proj.weight": (4, 4)}, "base_is_adapter"),
    "embedding": ({"emb_params": (8, 768)}, "base_is_embedding"),
    "SDXL embedding": ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "base_is_embedding"),
    "VAE": (made.ldm_vae(), "base_part_only"),
    "CLIP": (made.clip(), "base_part_only"),
    "T5": (made.t5(layers=2), "base_part_only"),
    "SD2": (made.sd15(context=1024), "base_other_family"),
    "inpainting": (made.sd15(inputs=9), "base_inpainting"),
    "SDXL inpainting": (made.sdxl(inputs=9), "base_inpainting"),
    "instruct-pix2pix": (made.sd15(inputs=8), "base_instruct"),
    "refiner": (made.sdxl(context=1280, first=384, blocks=44, added=2560), "base_refiner"),
    "distilled SDXL": (made.sdxl(blocks=30), "base_other_shape"),
    "LCM": ({**made.sd15(), "model.diffusion_model.time_embed.cond_proj.weight": (320, 256)}, "base_distilled"),
    "EDM": ({**made.sdxl(), "edm_mean": (1, 4, 1, 1)}, "base_other_schedule"),
    "SD3": ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}, "base_other_family"),
    "PixArt": ({"blocks.0.cross_attn.q_linear.weight": (8, 8)}, "base_other_family"),
    "Wan": ({"blocks.0.cross_attn.q.weight": (8, 8)}, "base_other_family"),
    "Qwen-Image": ({"transformer_blocks.0.img_mod.1.weight": (8, 8)}, "base_other_family"),
    "language model": ({"model.layers.0.self_attn.q_proj.weight": (8, 8)}, "base_other_family"),
    "schnell": (made.flux(guided=False), "base_schnell"),
    "FLUX Fill": (made.flux(inputs=384), "base_inpainting"),
    "FLUX Depth": (made.flux(inputs=128), "base_control"),
    "FLUX in another way": (made.flux(inputs=96), "base_control"),
    "Chroma": ({**made.flux(guided=False), "distilled_guidance_layer.in_proj.weight": (8, 8)}, "base_other_family"),
    "FLUX.2": ({**made.flux(), "double_stream_modulation_img.lin.weight": (8, 8)}, "base_other_family"),
    "half of FLUX": (made.flux(single=0), "base_damaged"),
    "narrow FLUX": (made.flux(width=256), "base_other_shape"),
    "nf4": ({**made.flux(), "img_in.weight.absmax": (8,)}, "base_quantised"),
    "nf4 state": ({**made.flux(), "img_in.weight.quant_state.bitsandbytes__nf4": (8,)}, "base_quantised"),
    "SVDQuant": ({"transformer_blocks.0.mlp.qweight": (8, 8)}, "base_quantised"),
    "scales in blocks": ({**made.flux(), "double_blocks.0.img_attn.qkv.weight_scale": (9216, 96)}, "base_quantised"),
    "nothing known": ({"a": (2,), "b": (2,)}, "base_unknown"),
    "no tensors": ({}, "base_unknown"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_base_is_refused_by_its_keys(tmp_path: Path, name: str) -> None:
    shapes, code = REFUSED[name]
    dtype = "F8_E4M3" if name == "scales in blocks" else "F16"
    error = refusal(made.write(tmp_path / "model.safetensors", shapes, dtype))
    assert error.code == code
    assert error.remedy
    assert error.message.endswith(".")


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    assert refusal(made.write(tmp_path / "a.safetensors", made.flux(), "I8")).code == "base_quantised"


def test_a_download_that_was_cut_off_says_how_much_is_missing(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.safetensors", made.sd15())
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole - 30_000_000)
    assert "30.0 MB of" in refusal(path).message
    with path.open("r+b") as file:
        file.truncate(1000)
    assert "cut off within its header" in refusal(path).message


def test_files_that_only_bear_the_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    cases = {
        b"": "empty",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n": "git lfs pull",
        b"<!DOCTYPE html><html><body>Log in</body></html>": "web page",
        b'{"error":"Repository is gated"}': "server's answer",
        b"GGUF" + bytes(100): "GGUF",
        pickle.dumps({"state_dict": list(range(100))}): "run code",
        b"short": "not a safetensors file",
    }
    for data, words in cases.items():
        path.write_bytes(data)
        assert words in str(refusal(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100))
    assert "run code" in str(refusal(path))
    path.write_bytes(struct.pack("<Q", 19280) + b'{"' + bytes(10))  # the length's bytes read PK
    assert "cut off" in str(refusal(path))
    assert refusal(tmp_path / "nowhere").code == "base_not_found"


def test_a_model_in_shards_is_read_by_its_index_or_any_of_them(tmp_path: Path) -> None:
    shapes = made.flux()
    names = list(shapes)
    half = {name: shapes[name] for name in names[:40]}, {name: shapes[name] for name in names[40:]}
    files = [made.write(tmp_path / f"m-0000{n}-of-00002.safetensors", part).name for n, part in enumerate(half, 1)]
    where = {name: files[name not in half[0]] for name in names}
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    for path in (index, tmp_path / files[0], tmp_path / files[1], tmp_path):
        base = identify(path)
        assert base.denoiser.path == index
        assert len(base.denoiser.files) == 2
    (tmp_path / files[1]).unlink()
    assert "1 of its 2 files is missing" in refusal(index).message
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    assert "names no files beside it" in refusal(index).message


def test_a_folder_of_one_model_and_its_parts(tmp_path: Path) -> None:
    made.write(tmp_path / "big.safetensors", made.flux())
    made.write(tmp_path / "ae.safetensors", made.ldm_vae(16))
    assert identify(tmp_path).family == "flux"
    made.write(tmp_path / "other.safetensors", made.sd15())
    assert refusal(tmp_path).code == "base_ambiguous"
    assert refusal(tmp_path / "..").code == "base_not_found"


def test_a_folder_of_the_transformer_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "FluxTransformer2DModel"}))
    shapes = {"x_embedder.weight": (3072, 64), "time_text_embed.guidance_embedder.linear_1.weight": (3072, 256)}
    for block in range(19):
        shapes[f"transformer_blocks.{block}.attn.to_q.weight"] = (3072, 3072)
    for block in range(38):
        shapes[f"single_transformer_blocks.{block}.proj_mlp.weight"] = (12288, 3072)
    made.write(tmp_path / "diffusion_pytorch_model.bf16.safetensors", shapes, "BF16")
    base = identify(tmp_path)
    assert (base.family, base.layout, base.denoiser.in_folder, base.denoiser.variant) == ("flux", "parts", True, "bf16")
    assert base.denoiser.path == tmp_path


def diffusers_folder(path: Path, name: str = "StableDiffusionPipeline", **scheduler: object) -> Path:
    path.mkdir(exist_ok=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    shapes = {"conv_in.weight": (320, 4, 3, 3), "down_blocks.0.resnets.0.time_emb_proj.weight": (320, 1280)}
    shapes |= {f"down_blocks.0.attentions.0.transformer_blocks.{n}.attn2.to_k.weight": (320, 768) for n in range(16)}
    made.write(path / "unet" / "diffusion_pytorch_model.fp16.safetensors", shapes)
    made.write(path / "text_encoder" / "model.safetensors", made.clip(level=""))
    vae = {"decoder.conv_in.weight": (8, 4, 3, 3), "encoder.conv_in.weight": (8, 3, 3, 3),
           "decoder.mid_block.resnets.0.conv1.weight": (8, 8, 3, 3)}  # fmt: skip
    made.write(path / "vae" / "diffusion_pytorch_model.safetensors", vae, "F32")
    for part in ("unet", "text_encoder", "vae"):
        (path / part / "config.json").write_text("{}")
    (path / "scheduler").mkdir(exist_ok=True)
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return path


def test_a_diffusers_folder_with_variants(tmp_path: Path) -> None:
    base = identify(diffusers_folder(tmp_path / "a", prediction_type="v_prediction", rescale_betas_zero_snr=True))
    assert (base.prediction, base.zero_terminal_snr) == ("v", True)
    assert (base.parts["unet"].variant, base.parts["vae"].variant, base.parts["vae"].dtype) == ("fp16", "", "fp32")
    assert base.parts["tokenizer"].path == CLIP_TOKENIZER.bundled  # it has none of its own


def test_diffusers_folders_of_other_kinds(tmp_path: Path) -> None:
    for name, code in (
        ("StableDiffusionInpaintPipeline", "base_inpainting"),
        ("FluxKontextPipeline", "base_instruct"),
        ("FluxFillPipeline", "base_inpainting"),
        ("StableDiffusion3Pipeline", "base_other_family"),
        ("LatentConsistencyModelPipeline", "base_distilled"),
    ):
        assert refusal(diffusers_folder(tmp_path / "a", name)).code == code
    assert refusal(diffusers_folder(tmp_path / "a", prediction_type="sample")).code == "base_other_schedule"
    folder = diffusers_folder(tmp_path / "b")
    (folder / "unet" / "config.json").write_text(json.dumps({"quantization_config": {"load_in_4bit": True}}))
    assert refusal(folder).code == "base_quantised"
    (folder / "unet" / "config.json").write_text("{")
    assert refusal(folder).code == "base_damaged"


def test_a_diffusers_folder_of_pickles_or_with_a_part_cut_off(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "a")
    weights = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size - 1_000_000)
    assert "1.0 MB of" in refusal(folder).message
    weights.rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert refusal(folder).code == "base_format"
    (folder / "unet" / "diffusion_pytorch_model.bin").unlink()
    assert refusal(folder).code == "base_incomplete"


def test_a_part_missing_from_a_diffusers_folder_is_named(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "a")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert [m.setting for m in identify(folder).missing] == ["base.vae"]


def test_settings_missing_from_a_diffusers_folder_are_named_before_a_start(tmp_path: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        folder = diffusers_folder(tmp_path / part)
        (folder / part / "config.json").unlink()
        assert refusal(folder).code == "base_incomplete"
        assert f"{part}: its config.json is missing" in refusal(folder).message
    with pytest.raises(BaseRefused, match=r"its config\.json is missing"):
        part_file(tmp_path / "vae" / "vae", "sd15", "vae", family("sd15").bundled)
    folder = diffusers_folder(tmp_path / "s")
    (folder / "scheduler" / "scheduler_config.json").unlink()
    assert "scheduler: its scheduler_config.json is missing" in refusal(folder).message
    (folder / "scheduler").rmdir()
    assert identify(folder).parts["scheduler"].path == family("sd15").bundled / "scheduler"


def test_links_of_a_cache_that_lead_nowhere(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "a")
    whole = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    link = folder / "unet" / "diffusion_pytorch_model.safetensors"
    link.symlink_to("../../blobs/gone")
    assert identify(folder).parts["unet"].variant == "fp16"  # it is whole, whatever else was begun
    whole.unlink()
    assert refusal(folder).code == "base_incomplete"
    assert "a link to a file that is gone" in refusal(folder).message


def test_a_checkpoint_beside_the_settings_of_a_folder_that_was_never_fetched(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    assert refusal(tmp_path).code == "base_incomplete"
    path = made.write(tmp_path / "sd_xl_base_1.0.safetensors", made.sdxl())
    assert (identify(tmp_path).path, identify(tmp_path).layout) == (path, "single_file")


def test_a_pointer_of_git_is_no_tokenizer(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "a")
    (folder / "tokenizer").mkdir()
    for content in ("version https://git-lfs.github.com/spec/v1\nsize 3\n", ""):
        (folder / "tokenizer" / "tokenizer.json").write_text(content)
        assert identify(folder).parts["tokenizer"].path == CLIP_TOKENIZER.bundled


def test_a_part_is_taken_by_what_it_holds(tmp_path: Path) -> None:
    config = family("flux").bundled
    ae = made.write(tmp_path / "t5xxl.safetensors", made.ldm_vae(16))
    assert part_file(ae, "flux", "vae", config).names == "original"
    with pytest.raises(BaseRefused, match=r"not the T5-XXL text encoder that FLUX\.1-dev needs: it holds a VAE of 16 channels"):
        part_file(ae, "flux", "text_encoder_2", config)
    with pytest.raises(BaseRefused, match="CLIP-L"):
        part_file(made.write(tmp_path / "g", made.clip(1280)), "flux", "text_encoder", config)
    with pytest.raises(BaseRefused, match="FLUX VAE"):
        part_file(made.write(tmp_path / "v", made.ldm_vae(16, encoder=False)), "flux", "vae", config)
