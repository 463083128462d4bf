"""Every kind of adapter through the trainer itself: the same bits each time, and after a stop."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from small_runs import MakeRun, after_step, events, every_step, losses, same, train, weights

from loratui.engine.errors import ExitCode
from loratui.engine.formats.metadata import DORA_HINT
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.planning.preflight import check_settings
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.runs import control
from loratui.engine.training.trainer import Trainer

SMALL = ("adapter.targets=attention", "adapter.rank=2", "schedule.epochs=1")


@pytest.mark.parametrize(
    "sets",
    [
        pytest.param(("adapter.dropout=0.2", "adapter.rank_dropout=0.3", "adapter.module_dropout=0.3"), id="lora"),
        pytest.param(
            ("adapter.kind=loha", "adapter.rank_dropout=0.2", "adapter.module_dropout=0.3"), id="loha", marks=pytest.mark.long
        ),
        pytest.param(
            ("adapter.kind=lokr", "adapter.factor=4", "adapter.rank_dropout=0.2", "adapter.module_dropout=0.3"), id="lokr"
        ),
        pytest.param(("adapter.dora=true", "adapter.dropout=0.2"), id="dora", marks=pytest.mark.long),
    ],
)
def test_every_kind_trains_to_the_same_bits_and_goes_on_exactly_after_a_stop(make_run: MakeRun, sets: tuple[str, ...]) -> None:
    run, undisturbed = make_run(*SMALL, *sets), make_run(*SMALL, *sets)

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 3, lambda: control.send(run, "stop"))

    assert train(undisturbed, every_step) == ExitCode.DONE
    assert train(run, stop) == ExitCode.TERMINATED
    assert train(run, every_step) == ExitCode.DONE
    assert losses(run) == losses(undisturbed)
    assert same(weights(run), weights(undisturbed))
    written = events(run, "output_written")[-1].fields
    assert written["norms"]["denoiser"] > 0
    hint = read_header(run.output / "qxz.safetensors").metadata.get("modelspec.usage_hint")
    assert hint == (DORA_HINT if "adapter.dora=true" in sets else None)


def test_a_run_goes_on_from_the_file_of_another_and_tells_what_it_took(make_run: MakeRun) -> None:
    first = make_run(*SMALL)
    assert train(first, every_step) == ExitCode.DONE
    old = first.output / "qxz.safetensors"
    second = make_run(*SMALL, f"adapter.start_from={old}")
    assert train(second, every_step) == ExitCode.DONE
    (told,) = (e.fields for e in events(second, "warning") if e.fields["code"] == "started_from")
    assert "layers taken over from it" in told["message"]
    begun, anew = next(iter(losses(second).values())), next(iter(losses(first).values()))
    assert begun != anew, "the first step already has the old LoRA"


def test_the_old_file_is_needed_at_the_start_only(make_run: MakeRun) -> None:
    first = make_run(*SMALL)
    assert train(first) == ExitCode.DONE
    old = first.output / "qxz.safetensors"
    run = make_run(*SMALL, f"adapter.start_from={old}")

    def stop(trainer: Trainer) -> None:
        after_step(trainer, 2, lambda: control.send(run, "stop"))

    assert train(run, stop) == ExitCode.TERMINATED
    old.unlink()
    assert train(run) == ExitCode.DONE


def test_what_cannot_be_gone_on_from_is_told_before_the_start(tmp_path: Path) -> None:
    def findings(value: str) -> list[str]:
        recipe = build_recipe("demo", trigger="qxz", sets=(f"adapter.start_from={value}",))
        return [f"{one.message} {one.remedy}" for one in check_settings(recipe) if one.code == "start_from"]

    (relative,) = findings("some/lora.safetensors")
    assert "full path" in relative
    (missing,) = findings(str(tmp_path / "none.safetensors"))
    assert "no such file" in missing
    other = tmp_path / "other.safetensors"
    header = b'{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'
    other.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    (unknown,) = findings(str(other))
    assert "not a LoRA" in unknown
    header = b'{"transformer.proj_out.lora_A.weight":{"dtype":"F16","shape":[1,1],"data_offsets":[0,2]}}'
    other.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    (foreign,) = findings(str(other))
    assert "another base" in foreign


def header_only(path: Path, shapes: dict[str, list[int]]) -> Path:
    """A LoRA file of zeros."""
    table, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(table).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(at))
    return path


def start_findings(path: Path, *sets: str) -> list[str]:
    recipe = build_recipe("demo", trigger="qxz", sets=(f"adapter.start_from={path}", *sets))
    return [f"{one.message} {one.remedy}" for one in check_settings(recipe) if one.code == "start_from"]


LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
SGM_LAYER = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"


def test_a_lora_of_another_kind_is_refused_before_the_base_is_loaded(tmp_path: Path) -> None:
    shapes = {f"{LAYER}.hada_w{n}_{end}": [4, 768] if end == "b" else [640, 4] for n in (1, 2) for end in "ab"}
    path = header_only(tmp_path / "loha.safetensors", {**shapes, f"{LAYER}.alpha": []})
    assert start_findings(path, "adapter.kind=loha") == []
    (refused,) = start_findings(path)
    assert "a loha" in refused
    assert "adapter.kind=loha" in refused
    lora = {f"{LAYER}.lora_down.weight": [4, 768], f"{LAYER}.lora_up.weight": [640, 4]}
    path = header_only(tmp_path / "dora.safetensors", {**lora, f"{LAYER}.dora_scale": [640, 1]})
    (refused,) = start_findings(path, "adapter.kind=locon")
    assert "adapter.dora=true" in refused
    for kind in ("lora", "locon"):
        assert start_findings(header_only(tmp_path / "lora.safetensors", lora), f"adapter.kind={kind}") == []


@pytest.mark.parametrize(
    ("family", "width", "made_for"),
    [("sd15", 2048, "SDXL"), ("sd15", 1024, "SD2"), ("sdxl", 768, "SD1.5"), ("sdxl", 1024, "SD2")],
)
def test_a_lora_of_another_base_whose_names_and_shapes_partly_agree_is_refused(
    tmp_path: Path, family: str, width: int, made_for: str
) -> None:
    """Both UNets have layers of one name and size, and some of an SDXL LoRA would go into SD1.5."""
    stem = SGM_LAYER if width == 2048 else LAYER
    path = header_only(
        tmp_path / "lora.safetensors", {f"{stem}.lora_down.weight": [4, width], f"{stem}.lora_up.weight": [640, 4]}
    )
    (refused,) = start_findings(path, f"base.family={family}")
    assert made_for in refused


def test_text_layers_alone_are_gone_on_from_only_where_text_encoders_are_trained(tmp_path: Path) -> None:
    stem = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    path = header_only(tmp_path / "te.safetensors", {f"{stem}.lora_down.weight": [4, 768], f"{stem}.lora_up.weight": [768, 4]})
    assert start_findings(path, "training.train_text_encoder=true") == []
    (refused,) = start_findings(path)
    assert "this run trains none of its 1 layer" in refused


def test_a_trained_text_encoder_is_in_the_file_with_an_effect_of_its_own(make_run: MakeRun) -> None:
    run = make_run(*SMALL, "training.train_text_encoder=true", "base.clip_skip=2")
    assert train(run) == ExitCode.DONE
    norms = events(run, "output_written")[-1].fields["norms"]
    assert norms.keys() == {"denoiser", "text_encoder"}
    assert min(norms.values()) > 0
    layers = {name.split("_self_attn")[0] for name in weights(run) if name.startswith("lora_te_")}
    assert layers == {f"lora_te_text_model_encoder_layers_{at}" for at in (0, 1)}, "clip skip passes over the third"
