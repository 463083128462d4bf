"""The file that other programs open: written, checked, and read back."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import facts, settings_of, trained, write
from narrow_models import answer, clip, unet_sd15
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loratui.engine.errors import DiskError, NotFiniteError, UsageError
from loratui.engine.formats.metadata import ALLOWED, DORA_HINT, build_metadata
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.lora_file.init_from import read_lora_file
from loratui.engine.training.lora_file.layouts import file_tensors
from loratui.engine.training.lora_file.write import write_lora_file
from loratui.presets.schema import Adapter

LORA = Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv")
KINDS = {
    "lora": LORA,
    "rank-stabilised": Adapter(rank=4, alpha=3.0, rank_stabilised=True),
    "loha": Adapter(kind="loha", rank=4, alpha=2.0, targets="sd-scripts+conv"),
    "lokr": Adapter(kind="lokr", rank=2, alpha=4.0, targets="sd-scripts+conv"),
    "lokr-split": Adapter(kind="lokr", rank=1, alpha=2.0, targets="sd-scripts+conv", decompose_both=True, factor=4),
    "lokr-whole": Adapter(kind="lokr", rank=64, alpha=32.0, targets="sd-scripts+conv"),
    "dora": Adapter(rank=4, alpha=2.0, targets="sd-scripts+conv", dora=True),
}
each_kind = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())


def emptied(adapter: LoraAdapter) -> None:
    with torch.no_grad():
        for value in adapter.parameters.values():
            value.zero_()


@each_kind
def test_fp32_comes_back_exactly_and_changes_the_output_by_nothing(tmp_path: Path, settings: Adapter) -> None:
    model = unet_sd15()
    adapter = trained("sd15", {"denoiser": model}, settings)
    before, output = adapter.state(), answer(model)
    path = tmp_path / "lora.safetensors"
    write(path, "sd15", adapter, settings)
    emptied(adapter)
    read_lora_file(path, "sd15", adapter)
    after = adapter.state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(answer(model), output)


@each_kind
def test_fp16_keeps_the_effect_to_2e_3(tmp_path: Path, settings: Adapter) -> None:
    model = unet_sd15()
    base = answer(model)
    adapter = trained("sd15", {"denoiser": model}, settings)
    own = answer(model)
    path = tmp_path / "lora.safetensors"
    write(path, "sd15", adapter, settings, "fp16")
    tensors = read_header(path).tensors
    assert {info.dtype for name, info in tensors.items() if not name.endswith("alpha")} == {"F16"}
    assert {info.dtype for name, info in tensors.items() if name.endswith("alpha")} <= {"F32"}
    read_lora_file(path, "sd15", adapter)
    assert (answer(model) - own).norm() <= 2e-3 * (own - base).norm()


def test_row_2_an_independent_reader_of_the_kohya_names_sees_the_same_change(tmp_path: Path) -> None:
    """As ComfyUI does it: W += alpha / rank · up · down, the name made of the module's path."""
    model, plain = unet_sd15(), unet_sd15()
    adapter = trained("sd15", {"denoiser": model}, LORA)
    write(tmp_path / "lora.safetensors", "sd15", adapter, LORA)
    tensors = load_file(tmp_path / "lora.safetensors")
    used = set()
    with torch.no_grad():
        for name, module in plain.named_modules():
            stem = "lora_unet_" + name.replace(".", "_")
            if f"{stem}.lora_up.weight" in tensors:
                up, down = tensors[f"{stem}.lora_up.weight"], tensors[f"{stem}.lora_down.weight"]
                weight: Any = module.weight
                weight += (up.flatten(1) @ down.flatten(1)).view(weight.shape) * (tensors[f"{stem}.alpha"] / down.shape[0])
                used |= {f"{stem}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha")}
    assert used == set(tensors)
    assert torch.allclose(answer(plain), answer(model), atol=1e-5)


@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr-split", "lokr-whole"])
def test_an_independent_reader_of_lycoris_names_sees_the_same_change(tmp_path: Path, kind: str) -> None:
    """As LyCORIS and ComfyUI do it: alpha over the rank of a factor that has one, and 1 where none has."""
    settings = KINDS[kind]
    model, plain = unet_sd15(), unet_sd15()
    adapter = trained("sd15", {"denoiser": model}, settings)
    write(tmp_path / "lora.safetensors", "sd15", adapter, settings)
    tensors = load_file(tmp_path / "lora.safetensors")
    used: set[str] = set()

    def take(name: str) -> torch.Tensor | None:
        used.add(name)
        return tensors.get(name)

    with torch.no_grad():
        for path, module in plain.named_modules():
            stem = "lora_unet_" + path.replace(".", "_")
            alpha = take(f"{stem}.alpha")
            if alpha is None:
                continue
            weight: Any = module.weight
            if settings.kind == "loha":
                a, b, c, d = (tensors[f"{stem}.hada_w{n}_{end}"] for n in (1, 2) for end in "ab")
                used |= {f"{stem}.hada_w{n}_{end}" for n in (1, 2) for end in "ab"}
                weight += ((a @ b) * (c @ d)).reshape(weight.shape) * alpha / b.shape[0]
                continue
            rank = None
            factors = []
            for n in (1, 2):
                whole, left, right = (take(f"{stem}.lokr_w{n}{end}") for end in ("", "_a", "_b"))
                if whole is None:
                    assert left is not None
                    assert right is not None
                    rank = right.shape[0]
                factors.append(whole if whole is not None else left @ right)
            first, second = factors
            if second.dim() == 4:
                first = first[:, :, None, None]
            weight += torch.kron(first, second).reshape(weight.shape) * (float(alpha) / rank if rank else 1.0)
    assert set(tensors) <= used
    assert torch.allclose(answer(plain), answer(model), atol=1e-5)


def test_text_encoders_are_in_the_same_file_and_come_back(tmp_path: Path) -> None:
    unet, encoder = unet_sd15(), clip()
    settings = Adapter(rank=4, alpha=2.0)
    adapter = trained("sd15", {"denoiser": unet, "text_encoder": encoder}, settings)
    before = adapter.state()
    written = write(tmp_path / "lora.safetensors", "sd15", adapter, settings)
    assert written.norms.keys() == {"denoiser", "text_encoder"}
    assert min(written.norms.values()) > 0
    names = list(read_header(tmp_path / "lora.safetensors").tensors)
    grammar = r"lora_te_text_model_encoder_layers_\d_(self_attn_(q|k|v|out)_proj|mlp_fc[12])\.(lora_(up|down)\.weight|alpha)"
    texts = [name for name in names if name.startswith("lora_te")]
    assert len(texts) == 3 * 6 * 3
    assert all(re.fullmatch(grammar, name) for name in texts)
    emptied(adapter)
    read_lora_file(tmp_path / "lora.safetensors", "sd15", adapter)
    after = adapter.state()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_metadata_are_on_the_allow_list_and_tell_no_secrets(tmp_path: Path) -> None:
    plain = settings_of("sd15", LORA)
    settings = replace(plain, dataset=replace(plain.dataset, path="/home/me/secret-folder", trigger="qxz"))
    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    path = tmp_path / "lora.safetensors"
    write_lora_file(path, adapter.changes(adapter.state()), facts(settings), "fp16")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata.keys() <= ALLOWED
    assert not re.search(r"/home|secret|number \d", json.dumps(metadata))
    assert metadata["modelspec.trigger_phrase"] == "qxz"
    assert metadata["ss_network_dim"] == "4"
    assert metadata["ss_network_alpha"] == "2"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    hidden = replace(settings, output=replace(settings.output, trigger_in_metadata=False))
    assert "modelspec.trigger_phrase" not in build_metadata(facts(hidden))


def test_the_hash_is_that_of_the_tensors_whatever_the_metadata_say(tmp_path: Path) -> None:
    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    path = tmp_path / "lora.safetensors"
    write(path, "sd15", adapter, LORA, "fp16")
    data = path.read_bytes()
    digest = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    metadata = read_header(path).metadata
    assert metadata["sshs_model_hash"] == digest
    assert metadata["modelspec.hash_sha256"] == f"0x{digest}"
    assert re.fullmatch(r"[0-9a-f]{8}", metadata["sshs_legacy_hash"])


@pytest.mark.parametrize(
    ("family", "adapter", "module", "args", "architecture"),
    [
        ("sd15", LORA, "networks.lora", {"conv_dim": "4"}, "stable-diffusion-v1/lora"),
        ("sdxl", Adapter(rank=4), "networks.lora", {}, "stable-diffusion-xl-v1-base/lora"),
        ("flux", Adapter(rank=4, rank_stabilised=True), "networks.lora_flux", {"rs_lora": "True"}, "flux-1-dev/lora"),
        ("sdxl", Adapter(kind="loha"), "lycoris.kohya", {"algo": "loha"}, "stable-diffusion-xl-v1-base/lora"),
        (
            "flux",
            Adapter(kind="lokr", factor=8),
            "lycoris.kohya",
            {"algo": "lokr", "factor": "8", "decompose_both": "False"},
            "flux-1-dev/lora",
        ),
    ],
)
def test_metadata_name_the_base_and_the_network(
    family: Any, adapter: Adapter, module: str, args: dict[str, str], architecture: str
) -> None:
    table = build_metadata(facts(settings_of(family, adapter), prediction="flow" if family == "flux" else "epsilon"))
    assert table["ss_network_module"] == module
    assert json.loads(table["ss_network_args"]) == args
    assert table["modelspec.architecture"] == architecture
    assert table["ss_base_model_version"] == {"sd15": "sd_v1", "sdxl": "sdxl_base_v1-0", "flux": "flux1"}[family]
    assert ("modelspec.prediction_type" in table) == (family != "flux")


def test_a_dora_file_says_that_it_is_for_diffusers_and_has_no_kohya_names(tmp_path: Path) -> None:
    settings = KINDS["dora"]
    adapter = trained("sd15", {"denoiser": unet_sd15()}, settings)
    write(tmp_path / "dora.safetensors", "sd15", adapter, settings)
    header = read_header(tmp_path / "dora.safetensors")
    assert header.metadata["modelspec.usage_hint"] == DORA_HINT
    assert all(name.startswith("unet.") for name in header.tensors)
    with pytest.raises(UsageError, match="peft"):
        write(tmp_path / "kohya.safetensors", "sd15", adapter, settings, layout="kohya")
    assert not (tmp_path / "kohya.safetensors").exists()


def test_values_that_do_not_fit_are_never_written(tmp_path: Path) -> None:
    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    path = tmp_path / "lora.safetensors"
    large: Any = adapter.layers[0].parameters["lora_B"]
    with torch.no_grad():
        large[0] = 70000.0
    with pytest.raises(NotFiniteError, match=r"do not fit into fp16.*bf16 or fp32"):
        write(path, "sd15", adapter, LORA, "fp16")
    assert not path.exists()
    write(path, "sd15", adapter, LORA, "bf16")
    with torch.no_grad():
        large[0] = float("nan")
    with pytest.raises(NotFiniteError, match="not finite"):
        write(path, "sd15", adapter, LORA, "fp32")


def test_a_file_without_effect_is_told_of(tmp_path: Path) -> None:
    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    assert write(tmp_path / "a.safetensors", "sd15", adapter, LORA).has_effect
    for one in adapter.layers:
        with torch.no_grad():
            one.parameters["lora_B"].zero_()
    written = write(tmp_path / "a.safetensors", "sd15", adapter, LORA)
    assert not written.has_effect
    assert written.norms == {"denoiser": 0.0}


@each_kind
def test_the_norm_is_that_of_the_whole_change(settings: Adapter) -> None:
    adapter = trained("sd15", {"denoiser": unet_sd15()}, settings)
    for change in adapter.changes(adapter.state()).values():
        assert change.norm() == pytest.approx(float(change.matrix().double().norm()), rel=1e-4)


def test_a_file_that_came_out_wrong_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong scale is a file that opens everywhere and works half as strongly; the reader of the check must see it."""
    from loratui.engine.training.lora_file import layouts

    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    right = layouts._alpha
    monkeypatch.setattr(layouts, "_alpha", lambda value: right(value / 2))
    with pytest.raises(DiskError, match="strong"):
        write(tmp_path / "lora.safetensors", "sd15", adapter, LORA)


def test_a_file_of_other_layers_is_refused(tmp_path: Path) -> None:
    wide = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    write(tmp_path / "lora.safetensors", "sd15", wide, LORA)
    narrow = trained("sd15", {"denoiser": unet_sd15()}, Adapter(rank=4, alpha=2.0, targets="attention"))
    with pytest.raises(UsageError, match="did not train"):
        read_lora_file(tmp_path / "lora.safetensors", "sd15", narrow)
    write(tmp_path / "narrow.safetensors", "sd15", narrow, Adapter(rank=4, alpha=2.0, targets="attention"))
    with pytest.raises(UsageError, match="no LoRA for"):
        read_lora_file(tmp_path / "narrow.safetensors", "sd15", wide)
    other = trained("sd15", {"denoiser": unet_sd15()}, replace(LORA, rank=8))
    with pytest.raises(UsageError, match="another rank"):
        read_lora_file(tmp_path / "lora.safetensors", "sd15", other)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    path = tmp_path / "lora.safetensors"
    write(path, "sd15", adapter, LORA)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UsageError, match=r"cut|short"):
        read_lora_file(path, "sd15", adapter)


def test_another_alpha_is_respected(tmp_path: Path) -> None:
    model = unet_sd15()
    adapter = trained("sd15", {"denoiser": model}, LORA)
    path = tmp_path / "lora.safetensors"
    write(path, "sd15", adapter, LORA)
    with adapter.strength(2.0):
        twice = answer(model)
    save_file({k: (v * 2 if k.endswith("alpha") else v) for k, v in load_file(path).items()}, path)
    read_lora_file(path, "sd15", adapter)
    assert torch.allclose(answer(model), twice, atol=1e-6)


def test_no_two_tensors_of_a_file_share_memory() -> None:
    adapter = trained("sd15", {"denoiser": unet_sd15()}, LORA)
    tensors = file_tensors("sd15", adapter.changes(adapter.state()), "kohya", torch.float32)
    assert len({value.data_ptr() for value in tensors.values()}) == len(tensors)
