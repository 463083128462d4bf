"""Every layout gives the tensors of the diffusers folder that it was made from, without the network."""

from __future__ import annotations

import dataclasses
import shutil
import socket
from pathlib import Path
from typing import Any

import narrow_models
import original_files
import pytest
import torch
from part_files import lies_in_a_file, with_files
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.families import loading
from loratui.engine.families.flux import model as flux
from loratui.engine.families.loading import load_part
from loratui.engine.families.model import LoadOptions, SizeConditioning, load_model
from loratui.engine.families.spec import PartName
from loratui.engine.families.stored import block_weights, weight_on
from loratui.engine.formats.base_files import identify
from loratui.engine.formats.base_parts import BaseFiles
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.engine.training.frozen.linear import FrozenLinear
from loratui.presets import SHIPPED
from loratui.presets.schema import Adapter, Base, Settings

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def row_51_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def tensors_of(files: BaseFiles, name: PartName, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    model = load_part(files, name, device=CPU, dtype=dtype)
    assert all(p.dtype == dtype for p in model.parameters())
    return dict(model.state_dict())


def same_as_folder(folder: Path, files: BaseFiles, name: PartName, stored: torch.dtype) -> None:
    """Whether a part is that of the folder, but for having been stored in another format."""
    reference, own = tensors_of(identify(folder), name), tensors_of(files, name)
    assert own.keys() == reference.keys()
    for key, value in reference.items():
        assert torch.equal(own[key], value.to(stored).to(value.dtype)), key


@pytest.fixture(scope="module")
def sd15_folder(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random SD1.5 base with two layers a block, as LDM files have it."""
    folder = tmp_path_factory.mktemp("sd15") / "base"
    shutil.copytree(base_folder, folder)
    narrow_models.unet_sd15(layers_per_block=2).save_pretrained(folder / "unet")  # type: ignore[operator]
    return folder


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_one_file_in_the_makers_names_holds_the_same_model(
    family: str, sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    folder = sd15_folder if family == "sd15" else sdxl_folder
    files = with_files(folder, original_files.checkpoint(folder, family, tmp_path / "model.safetensors"))
    names: tuple[PartName, ...] = ("unet", "vae", "text_encoder", "text_encoder_2")
    for name in names[: 3 if family == "sd15" else 4]:
        assert not files.parts[name].in_folder
        same_as_folder(folder, files, name, torch.float16)


def test_a_base_in_one_file_predicts_as_its_folder_does(sdxl_folder: Path, tmp_path: Path) -> None:
    path = original_files.checkpoint(sdxl_folder, "sdxl", tmp_path / "model.safetensors", torch.float32)
    settings = Settings(base=Base(family="sdxl"))
    made = []
    for files in (with_files(sdxl_folder, path), identify(sdxl_folder)):
        family = load_model(files, settings, LoadOptions(CPU, torch.float32))
        text = family.encode_prompts(["a fox"])
        with torch.no_grad():
            torch.manual_seed(0)
            made.append(
                family.predict(
                    torch.randn(1, 4, 8, 8), torch.tensor([300]), family.conditioning(text, [SizeConditioning.whole(64, 64)])
                )
            )
    assert torch.equal(*made)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float8_e4m3fn])
def test_a_transformer_file_in_diffusers_names(flux_folder: Path, tmp_path: Path, prefix: str, stored: torch.dtype) -> None:
    tensors = original_files.weights_of(flux_folder / "transformer")
    path = tmp_path / "flux.safetensors"
    save_file({prefix + key: original_files.to(value, stored) for key, value in tensors.items()}, path)
    same_as_folder(flux_folder, with_files(flux_folder, path), "transformer", stored)


@pytest.mark.parametrize("suffix", [".scale_weight", ".weight_scale"])
@pytest.mark.parametrize("per_row", [False, True])
def test_row_41_scaled_fp8_is_multiplied_by_its_scale(flux_folder: Path, tmp_path: Path, suffix: str, per_row: bool) -> None:
    tensors = original_files.weights_of(flux_folder / "transformer")
    stored = original_files.scaled_fp8(tensors, suffix)
    if per_row:
        for key in [key for key in stored if key.endswith(suffix)]:
            rows = len(stored[key.removesuffix(suffix) + ".weight"])
            stored[key] = stored[key].expand(rows, 1).clone()
    path = tmp_path / "flux.safetensors"
    save_file(stored, path)
    files = with_files(flux_folder, path)
    assert files.parts["transformer"].fp8 == "scaled"
    own = tensors_of(files, "transformer")
    for key, value in tensors.items():
        scale = stored.get(key.removesuffix(".weight") + suffix)
        exact = value if scale is None else stored[key].float() * scale.reshape(-1, 1)
        assert torch.equal(own[key], exact), key
        assert torch.allclose(own[key], value, atol=float(value.abs().max()) / 10)


def whole(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a part that was loaded `as_stored`, as they are on the card."""
    return {key: weight_on(value, CPU, dtype) for key, value in model.named_parameters()}


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "scaled", "scaled by rows", "bfloat16", "float16", "float32"])
def test_a_denoiser_waits_in_host_memory_as_it_is_stored(flux_folder: Path, tmp_path: Path, kind: str) -> None:
    tensors = original_files.weights_of(flux_folder / "transformer")
    if kind.startswith("scaled"):
        stored = original_files.scaled_fp8(tensors)
        for key in [key for key in stored if key.endswith(".scale_weight") and kind.endswith("rows")]:
            rows = len(stored[key.removesuffix(".scale_weight") + ".weight"])
            stored[key] = stored[key] * torch.linspace(0.5, 1.5, rows)[:, None]
    else:
        stored = {key: value.to(getattr(torch, kind)) for key, value in tensors.items()}
    path = tmp_path / "flux.safetensors"
    save_file(stored, path)
    files = with_files(flux_folder, path)
    waiting = load_part(files, "transformer", device=CPU, dtype=torch.bfloat16, as_stored=True)
    usual, own = tensors_of(files, "transformer", torch.bfloat16), whole(waiting, torch.bfloat16)
    assert own.keys() == usual.keys()
    assert all(torch.equal(own[key], value) for key, value in usual.items())
    layer = "transformer_blocks.0.attn.to_q"
    linear = waiting.get_submodule(layer)
    assert isinstance(linear, nn.Linear)
    assert torch.equal(FrozenLinear.of(linear, "full", CPU, torch.bfloat16).codes, usual[f"{layer}.weight"])
    kept = {key for key, value in waiting.named_parameters() if lies_in_a_file(value, path)}
    blocks = set(block_weights(waiting))
    assert {key.split(".")[0] for key in blocks} == {"transformer_blocks", "single_transformer_blocks"}
    assert kept >= blocks
    assert all(value.dtype == torch.bfloat16 for key, value in waiting.named_parameters() if key not in blocks)


@pytest.mark.parametrize("part", ["transformer", "text_encoder_2"])
@pytest.mark.parametrize("shards", [False, True])
def test_a_part_in_a_folder_waits_in_its_files_too(flux_folder: Path, tmp_path: Path, part: Any, shards: bool) -> None:
    folder = tmp_path / "base"
    shutil.copytree(flux_folder, folder)
    if shards:
        model = load_part(identify(folder), part, device=CPU, dtype=torch.float32)
        shutil.rmtree(folder / part)
        model.save_pretrained(folder / part, max_shard_size="20KB")  # type: ignore[operator]  # the library's own
    files = identify(folder)
    assert (len(files.parts[part].files) > 1) is shards
    waiting = load_part(files, part, device=CPU, dtype=torch.bfloat16, as_stored=True)
    usual, own = tensors_of(files, part, torch.bfloat16), whole(waiting, torch.bfloat16)
    assert own.keys() == usual.keys()
    assert all(torch.equal(own[key], value) for key, value in usual.items())
    kept = [key for key in own if any(lies_in_a_file(waiting.get_parameter(key), file) for file in files.parts[part].files)]
    blocks = set(block_weights(waiting)) or {key for key in own if key.startswith("encoder.block.")}
    assert blocks
    assert blocks <= set(kept)
    assert all(waiting.get_parameter(key).dtype == torch.bfloat16 for key in own.keys() - blocks)


def test_weights_beyond_fp16_are_found_while_they_wait(flux_folder: Path, tmp_path: Path) -> None:
    tensors = original_files.weights_of(flux_folder / "transformer")
    tensors["transformer_blocks.0.attn.to_q.weight"][0, 0] = 1e5
    path = tmp_path / "flux.safetensors"
    save_file(tensors, path)
    options = LoadOptions(CPU, torch.float16, denoiser_on_host=True)
    model = flux.load(with_files(flux_folder, path), Settings(base=Base(family="flux")), options)
    with pytest.raises(UsageError, match="exceed the range of fp16"):
        _ = model.denoiser


@pytest.mark.parametrize("stored", [torch.float8_e4m3fn, torch.float16, torch.float32])
def test_a_lora_begins_alike_on_a_base_in_another_format(flux_folder: Path, tmp_path: Path, stored: torch.dtype) -> None:
    tensors = original_files.weights_of(flux_folder / "transformer")
    path = tmp_path / "flux.safetensors"
    save_file({key: value.to(stored) for key, value in tensors.items()}, path)
    begun = []
    for as_stored in (False, True):
        model = load_part(with_files(flux_folder, path), "transformer", device=CPU, dtype=torch.bfloat16, as_stored=as_stored)
        target = Target(model, denoiser_patterns("flux", "attention"), Adapter(rank=4, alpha=2.0))
        begun.append(add_adapters({"denoiser": target}, seed=1).state())
        assert any(value.dtype == stored for value in model.parameters() if not value.requires_grad) is as_stored
    assert begun[0].keys() == begun[1].keys()
    assert all(torch.equal(begun[0][key], begun[1][key]) for key in begun[0])


@pytest.mark.parametrize("table", ["shared.weight", "encoder.embed_tokens.weight", "both"])
@pytest.mark.parametrize("prefix", ["", "text_encoders.t5xxl.transformer."])
@pytest.mark.parametrize("stored", [torch.float16, torch.float8_e4m3fn])
def test_t5_as_a_file_of_its_own(flux_folder: Path, tmp_path: Path, table: str, prefix: str, stored: torch.dtype) -> None:
    tensors = original_files.weights_of(flux_folder / "text_encoder_2")
    tensors.setdefault("encoder.embed_tokens.weight", tensors["shared.weight"])
    if table != "both":
        tensors = {k: v for k, v in tensors.items() if k == table or k not in ("shared.weight", "encoder.embed_tokens.weight")}
    path = tmp_path / "t5.safetensors"
    save_file({prefix + key: original_files.to(value, stored) for key, value in tensors.items()}, path)
    files = with_files(flux_folder, path)
    same_as_folder(flux_folder, files, "text_encoder_2", stored)
    t5: Any = load_part(files, "text_encoder_2", device=CPU, dtype=torch.float32)
    with torch.no_grad():
        assert torch.isfinite(t5(torch.tensor([[5, 6, 1, 0]])).last_hidden_state).all()
    assert t5.shared.weight.data_ptr() == t5.encoder.embed_tokens.weight.data_ptr()


@pytest.mark.parametrize("prefix", ["", "text_encoders.clip_l.transformer."])
def test_clip_and_vae_as_files_of_their_own(flux_folder: Path, tmp_path: Path, prefix: str) -> None:
    clip, ae = tmp_path / "clip_l.safetensors", tmp_path / "ae.safetensors"
    own = original_files.clip(original_files.weights_of(flux_folder / "text_encoder"))
    own |= {"logit_scale": torch.tensor(1.0), "text_projection.weight": torch.eye(16)}
    save_file({prefix + key: original_files.to(value, torch.float16) for key, value in own.items()}, clip)
    save_file(
        {
            k: original_files.to(v, torch.float32)
            for k, v in original_files.vae(original_files.weights_of(flux_folder / "vae")).items()
        },
        ae,
    )
    files = with_files(flux_folder, clip, ae)
    same_as_folder(flux_folder, files, "text_encoder", torch.float16)
    same_as_folder(flux_folder, files, "vae", torch.float32)


def test_flux_in_parts_predicts_as_its_folder_does(flux_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t5.safetensors"
    save_file(original_files.weights_of(flux_folder / "text_encoder_2"), path)
    states = []
    for files in (with_files(flux_folder, path), identify(flux_folder)):
        family = flux.load(files, Settings(base=Base(family="flux")), LoadOptions(CPU, torch.float32))
        states.append(family.encode_prompts(["a fox"])[0].tensors["states"])
    assert torch.equal(*states)


def test_a_file_that_misses_a_tensor_is_named(flux_folder: Path, tmp_path: Path) -> None:
    tensors = original_files.weights_of(flux_folder / "text_encoder_2")
    del tensors["encoder.final_layer_norm.weight"]
    path = tmp_path / "t5.safetensors"
    save_file(tensors, path)
    with pytest.raises(UsageError, match=r"t5\.safetensors: the text_encoder_2 is incomplete; encoder\.final_layer_norm"):
        load_part(with_files(flux_folder, path), "text_encoder_2", device=CPU, dtype=torch.float32)


def test_a_transformer_that_misses_a_tensor_is_named(flux_folder: Path, tmp_path: Path) -> None:
    tensors = original_files.weights_of(flux_folder / "transformer")
    del tensors["x_embedder.weight"]
    path = tmp_path / "flux.safetensors"
    save_file(tensors, path)
    with pytest.raises(UsageError, match=r"flux\.safetensors: the transformer is incomplete; x_embedder\.weight"):
        load_part(with_files(flux_folder, path), "transformer", device=CPU, dtype=torch.float32)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["plain", "scaled", "float8_e4m3fn", "float8_e5m2"])
def test_flux_in_its_makers_names_at_its_true_width(flux_folder: Path, tmp_path: Path, kind: str) -> None:
    """The library's converter knows no other width; one block of each kind make 480 million parameters."""
    from diffusers import FluxTransformer2DModel

    torch.set_default_dtype(torch.bfloat16)
    try:
        torch.manual_seed(0)
        model = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
    finally:
        torch.set_default_dtype(torch.float32)
    reference = model.state_dict()
    stored = original_files.flux(reference)
    stored = original_files.scaled_fp8(stored) if kind == "scaled" else stored
    if kind.startswith("float8"):
        stored = {key: value.to(getattr(torch, kind)) for key, value in stored.items()}
    path, config = tmp_path / "flux.safetensors", tmp_path / "config"
    save_file({f"model.diffusion_model.{key}": original_files.to(value, value.dtype) for key, value in stored.items()}, path)
    model.save_config(config / "transformer")
    files = dataclasses.replace(with_files(flux_folder, path), config=config)
    assert files.parts["transformer"].names == "original"
    own = tensors_of(files, "transformer", torch.bfloat16)
    assert own.keys() == reference.keys()
    for key, value in reference.items():
        if kind != "scaled":
            kept = value if kind == "plain" else value.to(getattr(torch, kind)).to(value.dtype)
            assert torch.equal(own[key], kept), key
        else:
            assert (own[key].float() - value.float()).norm() <= 0.05 * value.float().norm(), key
    waiting = load_part(files, "transformer", device=CPU, dtype=torch.bfloat16, as_stored=True)
    assert all(torch.equal(value, own[key]) for key, value in whole(waiting, torch.bfloat16).items())
    assert all(lies_in_a_file(waiting.get_parameter(key), path) for key in block_weights(waiting))


OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""What diffusers called the layers of a VAE's attention until 2023; sd-vae-ft-mse and most SD1.5 folders have them so."""


def with_old_attention(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    made = {}
    for key, value in tensors.items():
        name = key
        for new, old in OLD_ATTENTION.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        made[name] = value
    assert made.keys() != tensors.keys()
    return made


def test_a_vae_file_with_the_older_names_of_diffusers(sd15_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "vae-ft-mse.safetensors"
    save_file(with_old_attention(original_files.weights_of(sd15_folder / "vae")), path)
    same_as_folder(sd15_folder, with_files(sd15_folder, path), "vae", torch.float32)


def test_a_folder_whose_vae_has_the_older_names(sd15_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15_folder, tmp_path / "old")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(with_old_attention(load_file(file)), file, metadata={"format": "pt"})
    same_as_folder(sd15_folder, identify(folder), "vae", torch.float32)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("stored", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16])
def test_checkpoints_in_other_formats(
    family: str, stored: torch.dtype, sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    folder = sd15_folder if family == "sd15" else sdxl_folder
    files = with_files(folder, original_files.checkpoint(folder, family, tmp_path / "model.safetensors", stored))
    for name in ("unet", "vae", "text_encoder", *(["text_encoder_2"] if family == "sdxl" else [])):
        same_as_folder(folder, files, name, stored)  # type: ignore[arg-type]


def test_a_checkpoint_of_mixed_formats_with_extra_keys(sdxl_folder: Path, tmp_path: Path) -> None:
    path = original_files.checkpoint(sdxl_folder, "sdxl", tmp_path / "model.safetensors", torch.float16)
    tensors = load_file(path)
    for key, value in original_files.vae(original_files.weights_of(sdxl_folder / "vae")).items():
        tensors["first_stage_model." + key] = original_files.to(value, torch.float32)
    tensors |= {
        "denoiser.sigmas": torch.zeros(1000),
        "model_ema.diffusion_modelinput_blocks00weight": torch.ones(3),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "v_pred": torch.zeros(0),
        "ztsnr": torch.zeros(0),
        "first_stage_model.model_ema.decay": torch.tensor(0.5),
    }
    save_file(tensors, path)
    files = with_files(sdxl_folder, path)
    for name, stored in (("unet", torch.float16), ("vae", torch.float32), ("text_encoder", torch.float16)):
        same_as_folder(sdxl_folder, files, name, stored)  # type: ignore[arg-type]


def test_ema_weights_are_not_taken_for_the_model(sd15_folder: Path, tmp_path: Path) -> None:
    path = original_files.checkpoint(sd15_folder, "sd15", tmp_path / "model.safetensors", torch.float32)
    tensors = load_file(path)
    start = "model.diffusion_model."
    copy = {f"model_ema.diffusion_model.{k.removeprefix(start)}": v + 1 for k, v in tensors.items() if k.startswith(start)}
    save_file(copy | tensors, path)
    same_as_folder(sd15_folder, with_files(sd15_folder, path), "unet", torch.float32)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("prefix", ["", "text_encoders.t5xxl.transformer."])
def test_a_scaled_t5(flux_folder: Path, tmp_path: Path, shape: tuple[int, ...], prefix: str) -> None:
    tensors = original_files.weights_of(flux_folder / "text_encoder_2")
    stored = original_files.scaled_fp8(tensors)
    stored = {k: v.reshape(shape) if k.endswith(".scale_weight") else v for k, v in stored.items()}
    stored["spiece_model"] = torch.zeros(100, dtype=torch.uint8)
    path = tmp_path / "t5.safetensors"
    save_file({prefix + key: value.clone() for key, value in stored.items()}, path)
    files = with_files(flux_folder, path)
    assert files.parts["text_encoder_2"].fp8 == "scaled"
    own = tensors_of(files, "text_encoder_2")
    for key, value in tensors.items():
        scale = stored.get(key.removesuffix(".weight") + ".scale_weight")
        exact = value if scale is None else stored[key].float() * scale.float().reshape(())
        assert torch.equal(own[key], exact), key


def test_a_reason_of_several_lines_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of a loader's reason is a heading; what is wrong stands below it."""
    files = identify(SHIPPED / "bases" / "sd15")

    def fails(*_: object) -> None:
        raise RuntimeError(
            "Error(s) in loading state_dict for CLIPTextModel:\n\tsize mismatch for position_embedding: 248, 77."
        )

    monkeypatch.setattr(loading, "_from_folder", fails)
    with pytest.raises(UsageError, match=r"for CLIPTextModel: size mismatch for position_embedding: 248, 77\."):
        load_part(files, "text_encoder", device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{}", '{"model": {"type": "BPE"}}', "9" * 100_000, '{"model": NaN}'])
def test_a_hostile_tokenizer_or_configuration_is_one_error(tmp_path: Path, text: str) -> None:
    folder = Path(shutil.copytree(SHIPPED / "bases" / "sd15", tmp_path / "base"))
    files = identify(folder)
    (folder / "tokenizer" / "tokenizer.json").write_text(text)
    (folder / "text_encoder" / "config.json").write_text(text)
    with pytest.raises(UsageError):
        loading.load_tokenizer(files, "tokenizer")
    if text != "{}":  # of this the library makes a model with its own sizes
        with pytest.raises(UsageError):
            load_part(files, "text_encoder", device=CPU, dtype=torch.float32)
