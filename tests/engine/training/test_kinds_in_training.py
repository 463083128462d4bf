"""Every kind of adapter through the trainer itself: the same bits each time, and after a stop."""

from __future__ import annotations

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
    assert "layers go on from it" in told["message"]
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
        return [f"{one.message} {one.remedy}" for one in check_settings(recipe) if one.id == "start_from"]

    (relative,) = findings("some/lora.safetensors")
    assert "whole path" in relative
    (missing,) = findings(str(tmp_path / "none.safetensors"))
    assert "no such file" in missing
    other = tmp_path / "other.safetensors"
    header = b'{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'
    other.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    (unknown,) = findings(str(other))
    assert "no LoRA" in unknown
    header = b'{"transformer.proj_out.lora_A.weight":{"dtype":"F16","shape":[1,1],"data_offsets":[0,2]}}'
    other.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    (foreign,) = findings(str(other))
    assert "another base" in foreign


def test_a_trained_text_encoder_is_in_the_file_with_an_effect_of_its_own(make_run: MakeRun) -> None:
    run = make_run(*SMALL, "training.train_text_encoder=true", "base.clip_skip=2")
    assert train(run) == ExitCode.DONE
    norms = events(run, "output_written")[-1].fields["norms"]
    assert norms.keys() == {"denoiser", "text_encoder"}
    assert min(norms.values()) > 0
    layers = {name.split("_self_attn")[0] for name in weights(run) if name.startswith("lora_te_")}
    assert layers == {f"lora_te_text_model_encoder_layers_{at}" for at in (0, 1)}, "clip skip passes over the third"
