"""The file that other programs open."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loratui.engine.errors import NotFiniteError, UsageError
from loratui.engine.formats.base_files import identify
from loratui.engine.formats.metadata import ALLOWED
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.training.adapters import LoraAdapter, add_lora
from loratui.engine.training.families.base import TextStates
from loratui.engine.training.families.sd15 import Sd15, load
from loratui.engine.training.lora_file import effect, facts_of, file_tensors, read_lora_file, write_lora_file
from loratui.presets.schema import Adapter, Settings

SETTINGS = replace(Settings(), adapter=Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv"))


def trained(family: Sd15, settings: Settings = SETTINGS) -> LoraAdapter:
    adapter = add_lora(family.denoiser, family.target_pattern(settings.adapter.targets), settings.adapter, seed=1)
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in adapter.modules:
            module.up.copy_(torch.randn(module.up.shape, generator=source) * 0.1)
    return adapter


def write(
    family: Sd15, adapter: LoraAdapter, path: Path, dtype: torch.dtype = torch.float32, settings: Settings = SETTINGS
) -> Path:
    facts = facts_of(
        settings, family, title="qxz", step=10, epoch=1, epochs=2, images=7, optimizer="adamw", precision="float32"
    )
    write_lora_file(path, file_tensors(family, adapter, adapter.state(), dtype), facts)
    return path


def output(unet: Any, family: Sd15) -> torch.Tensor:
    with torch.no_grad():
        text = TextStates({"states": torch.ones(1, 77, 16)[0]}, 0)
        return unet(
            torch.linspace(-1, 1, 256).view(1, 4, 8, 8), torch.tensor([300]), text.tensors["states"][None], return_dict=False
        )[0]


def pipeline(base_folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(
        _with_index(base_folder),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        local_files_only=True,
    )


def _with_index(folder: Path) -> Path:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    "adapter", [Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv"), Adapter(rank=4, alpha=3.0, rank_stabilised=True)]
)
def test_diffusers_loads_it_with_full_effect_whatever_alpha_is(
    family: Sd15, base_folder: Path, tmp_path: Path, adapter: Adapter, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(SETTINGS, adapter=adapter)
    base = output(family.denoiser, family)
    lora = trained(family, settings)
    own = output(family.denoiser, family)
    path = write(family, lora, tmp_path / "lora.safetensors", settings=settings)
    loaded = pipeline(base_folder)
    loaded.load_lora_weights(path)
    assert "unexpected keys" not in caplog.text
    theirs = output(loaded.unet, family)
    assert (theirs - own).norm() < 1e-5 * (own - base).norm()
    loaded.set_adapters(loaded.get_active_adapters(), 0.0)
    assert torch.equal(output(loaded.unet, family), base), "strength 0 must be the base, bit for bit"


def test_an_independent_reader_of_the_kohya_names_sees_the_same_change(family: Sd15, tmp_path: Path) -> None:
    """As ComfyUI does it: W += alpha / rank · up · down, the name made of the module's path."""
    adapter = trained(family)
    own = output(family.denoiser, family)
    tensors = load_file(write(family, adapter, tmp_path / "lora.safetensors"))
    plain = load(identify(family_folder(family)), Settings(), device=torch.device("cpu"), dtype=torch.float32).denoiser
    used = set()
    with torch.no_grad():
        for name, module in plain.named_modules():
            stem = "lora_unet_" + name.replace(".", "_")
            if f"{stem}.lora_up.weight" in tensors:
                up, down = tensors[f"{stem}.lora_up.weight"], tensors[f"{stem}.lora_down.weight"]
                change = (up.flatten(1) @ down.flatten(1)).view(module.weight.shape)  # type: ignore[operator]
                module.weight += change * (tensors[f"{stem}.alpha"] / down.shape[0])  # type: ignore[operator]
                used |= {f"{stem}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha")}
    assert used == set(tensors)
    assert torch.allclose(output(plain, family), own, atol=1e-5)


def family_folder(family: Sd15) -> Path:
    return family._files.path


def test_fp16_keeps_the_effect(family: Sd15, base_folder: Path, tmp_path: Path) -> None:
    base = output(family.denoiser, family)
    adapter = trained(family)
    own = output(family.denoiser, family)
    path = write(family, adapter, tmp_path / "lora.safetensors", torch.float16)
    assert {i.dtype for n, i in read_header(path).tensors.items() if not n.endswith("alpha")} == {"F16"}
    assert {i.dtype for n, i in read_header(path).tensors.items() if n.endswith("alpha")} == {"F32"}
    read_lora_file(path, family, adapter)
    assert (output(family.denoiser, family) - own).norm() <= 2e-3 * (own - base).norm()


def test_fp32_comes_back_exactly(family: Sd15, tmp_path: Path) -> None:
    adapter = trained(family)
    before = adapter.state()
    path = write(family, adapter, tmp_path / "lora.safetensors")
    with torch.no_grad():
        for value in adapter.parameters.values():
            value.zero_()
    read_lora_file(path, family, adapter)
    after = adapter.state()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_metadata_are_on_the_allow_list_and_tell_no_secrets(family: Sd15, tmp_path: Path) -> None:
    settings = replace(SETTINGS, dataset=replace(SETTINGS.dataset, path="/home/me/secret-folder", trigger="qxz"))
    path = write(family, trained(family, settings), tmp_path / "lora.safetensors", settings=settings)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata.keys() <= ALLOWED
    text = json.dumps(metadata)
    assert not re.search(r"/home|secret|number \d", text)
    assert metadata["modelspec.trigger_phrase"] == "qxz"
    assert metadata["ss_network_dim"] == "4"
    assert metadata["ss_network_alpha"] == "2"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    hidden = replace(settings, output=replace(settings.output, trigger_in_metadata=False))
    second = tmp_path / "second.safetensors"
    facts = facts_of(hidden, family, title="t", step=1, epoch=1, epochs=1, images=1, optimizer="adamw", precision="float32")
    write_lora_file(second, {"a": torch.zeros(1)}, facts)
    assert "modelspec.trigger_phrase" not in read_header(second).metadata


def test_values_that_do_not_fit_are_never_written(family: Sd15, tmp_path: Path) -> None:
    adapter = trained(family)
    with torch.no_grad():
        adapter.modules[0].up[0] = 70000.0
    with pytest.raises(NotFiniteError, match="fp16"):
        file_tensors(family, adapter, adapter.state(), torch.float16)
    with torch.no_grad():
        adapter.modules[0].up[0] = float("nan")
    with pytest.raises(NotFiniteError, match="not finite"):
        file_tensors(family, adapter, adapter.state(), torch.float32)


def test_the_effect_is_the_norm_of_the_change_and_0_for_a_new_lora(family: Sd15) -> None:
    adapter = add_lora(family.denoiser, family.target_pattern("attention"), Adapter(rank=4, alpha=2.0), seed=1)
    assert effect(adapter.modules, adapter.state()) == 0.0
    with torch.no_grad():
        for module in adapter.modules:
            module.up.normal_()
    direct = sum(float((m.scale * (m.up @ m.down)).detach().square().sum()) for m in adapter.modules) ** 0.5
    assert effect(adapter.modules, adapter.state()) == pytest.approx(direct, rel=1e-5)


def test_a_file_of_other_layers_is_refused(family: Sd15, base_folder: Path, tmp_path: Path) -> None:
    path = write(family, trained(family), tmp_path / "lora.safetensors")
    other = load(identify(base_folder), Settings(), device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(other, Sd15)
    narrow = trained(other, replace(SETTINGS, adapter=Adapter(rank=4, alpha=2.0, targets="attention")))
    with pytest.raises(UsageError, match="did not train"):
        read_lora_file(path, other, narrow)


def test_a_cut_file_is_refused(family: Sd15, tmp_path: Path) -> None:
    adapter = trained(family)
    path = write(family, adapter, tmp_path / "lora.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UsageError, match="too short"):
        read_lora_file(path, family, adapter)


def test_another_alpha_is_noticed(family: Sd15, tmp_path: Path) -> None:
    adapter = trained(family)
    path = write(family, adapter, tmp_path / "lora.safetensors")
    tensors = load_file(path)
    save_file({k: (v * 2 if k.endswith("alpha") else v) for k, v in tensors.items()}, path)
    with pytest.raises(UsageError, match="alpha"):
        read_lora_file(path, family, adapter)
