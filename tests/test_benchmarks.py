"""The benchmarks that need a GPU: their settings are settings, and their tiny forms run on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import scripts

from loratui.presets.schema import Settings, parse_value, replace

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def rungs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The rungs of `true_size.py`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import true_size_rungs

    return true_size_rungs


@pytest.mark.parametrize("family", ["flux", "sdxl", "sd15"])
def test_every_rung_has_settings_that_loratui_takes(rungs: ModuleType, family: str) -> None:
    changed = [*(f"compiled+{change}" for change in rungs.CHANGES), *rungs.usual(family)]
    for rung in changed:
        if rung not in rungs.BY_HAND:
            settings = rungs.settings_of(rung)
            made = replace(Settings(), dict(parse_value(key, value) for key, value in settings.items()))
            assert made.memory.limit_gib == (rungs.cap_of(rung) or 0.0), rung


def test_a_rung_that_repeats_one_with_what_it_compiled_has_its_folder(rungs: ModuleType) -> None:
    assert rungs.place_of("compiled+warm") == rungs.place_of("compiled") != rungs.place_of("compiled+adamw")
    assert rungs.settings_of("compiled+warm") == rungs.settings_of("compiled")


def test_a_rung_names_the_rate_of_its_link(rungs: ModuleType) -> None:
    assert [rungs.link_of(rung) for rung in ("cap7.2+link12", "swapped-fp8+adamw+link25", "cap7.2", "compiled")] == [
        *(12.0, 25.0),
        *(None, None),
    ]
    assert rungs.settings_of("cap7.2+link12") == rungs.settings_of("cap7.2")
    assert {"cap11+link25", "cap11+link12", "cap7.2+link25", "cap7.2+link12"} < set(rungs.usual("flux"))


def test_a_slower_link_is_estimated_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import estimated

    settings = {"memory.limit_gib": "7.2", "memory.compile": "on", "training.batch_size": "1"}
    fast, slow, slowest = (
        estimated.step_ms("flux-identity-18img", settings, "NVIDIA H200", link) for link in (55.0, 25.0, 12.0)
    )
    assert fast[0] < slow[0] < slowest[0]
    assert fast[1] < slow[1] < slowest[1]
    assert estimated.step_ms("flux-identity-18img", settings, "none", None) is None


def inside() -> ModuleType:
    """`benchmarks/inside/sitecustomize.py`."""
    return scripts.script("benchmarks/inside/sitecustomize.py")


def test_a_slowed_link_copies_each_block_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that are copied are those of the blocks times the factor, and the blocks are the same."""
    import torch
    from torch import nn

    from loratui.engine.training.frozen import swap
    from loratui.engine.training.frozen.linear import FrozenLinear

    monkeypatch.setattr(swap.BlockSwap, "_load", swap.BlockSwap._load)
    copied, copy = [], torch.Tensor.copy_

    def counted(there: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        copied.append(source.nbytes)
        return copy(there, source, non_blocking)

    monkeypatch.setattr(torch.Tensor, "copy_", counted)
    inside().slow_down(swap, "2.5")
    blocks = [nn.Sequential(FrozenLinear(torch.full((16, 32), float(n)), None, None, torch.float32)) for n in range(5)]
    swapped = swap.BlockSwap(torch.device("cpu"))
    for block in blocks:
        swapped.add(block)
    copied.clear()
    for number, block in enumerate(blocks):
        swapped.bring(number)
        assert bool((block[0].codes == number).all())
    assert sum(copied) == 2.5 * sum(swapped.sizes)


def test_what_measuring_costs_is_read_from_the_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples between two epochs are no part of a step."""
    from loratui.engine.runs.events import Event

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import live_measures

    steps = [Event("step", step, 0.0, {"step": step, "step_s": step / 1000}, 100.0 + step) for step in range(1, 21)]
    later = [Event("step", step, 0.0, {"step": step, "step_s": 0.001}, 300.0 + step) for step in range(21, 31)]
    between = [
        Event("phase_changed", 0, 0.0, {"phase": "sampling"}, 121.0),
        Event("samples_measured", 0, 0.0, {"seconds": 2}, 122.0),
    ]
    found = live_measures.measured([*steps, *between, *later])
    assert found["step_ms"] == pytest.approx(1000.0)
    assert found["worst_ms"] == 20
    assert (found["measured"], found["measuring_s"], found["likely_best"]) == (1, [2.0], None)


def test_a_run_tells_every_step_of_a_benchmark_that_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import product_run

    command = "from loratui.engine.training import reporting; print(reporting.STEPS_A_SECOND)"
    for environ, told in ((product_run.inside(EVERY_STEP="1"), "inf"), (product_run.inside(), "10.0")):
        paths = os.pathsep.join([environ["PYTHONPATH"], str(BENCHMARKS.parent / ".namespace")])
        words = [sys.executable, "-c", command]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env={**environ, "PYTHONPATH": paths})
        assert done.stdout.strip() == told


def test_a_rung_that_nobody_knows_is_refused(rungs: ModuleType) -> None:
    for rung in ("kept+fast", "cap", "quick", "cap7.2+link"):
        with pytest.raises(KeyError):
            rungs.settings_of(rung)


@pytest.mark.long
def test_masks_are_timed_and_white_ones_change_no_step(tmp_path: Path) -> None:
    words = ["--tiny", "--images", "1", "--steps", "8", "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    subprocess.run([sys.executable, str(BENCHMARKS / "masks.py"), *words], check=True, capture_output=True)
    report = json.loads((tmp_path / "masks.json").read_text())
    assert report["segmenter"]["images_s"] > 0
    assert report["training"]["steps_equal"]
    assert report["training"]["half"]["exit_code"] == 0


@pytest.mark.long
def test_captioners_are_timed_each_in_its_ways(tmp_path: Path) -> None:
    words = ["--tiny", "--captioners", "blip,wd14", "--images", "3", "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    for _ in range(2):  # the second call has nothing left to do
        subprocess.run([sys.executable, str(BENCHMARKS / "captioners.py"), *words], check=True, capture_output=True)
        report = json.loads((tmp_path / "captioners.json").read_text())
        assert {name: set(found) - {"made_s"} for name, found in report["captioners"].items()} == {
            "blip": {"cpu"},
            "wd14": {"onnx"},
        }
        assert all(found[way]["images_s"] > 0 for found in report["captioners"].values() for way in set(found) - {"made_s"})
        assert len(report["commands"]) == 1


@pytest.mark.long
def test_the_captioners_table_has_the_weights_of_their_true_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import captioners
    import made_captioners
    import torch
    import transformers
    from torch import nn

    from loratui.engine.captioning.captioners import CAPTIONERS
    from loratui.engine.words import GIB

    for name, parts in captioners.SIZES.items():
        row = CAPTIONERS[name]
        if row.writes == "tags":
            continue
        config, kind = (getattr(transformers, kind) for kind in made_captioners._KINDS[row.module])
        with torch.device("meta"):
            model = kind(config(**parts))
        of_text = [m for n, m in model.named_modules() if n.startswith("model.language_model") and isinstance(m, nn.Linear)]
        assert 2 * sum(one.numel() for one in model.parameters()) / GIB == pytest.approx(row.gib, abs=0.02), name
        if row.linear_gib:
            assert 2 * sum(one.weight.numel() for one in of_text) / GIB == pytest.approx(row.linear_gib, abs=0.02), name


def played(name: str, work: Path, parts: str = "") -> dict[str, dict[str, object]]:
    """What the tiny form of a rehearsal reports of each part."""
    command = [
        sys.executable,
        str(BENCHMARKS / "rehearsal.py"),
        name,
        "--tiny",
        "--work",
        str(work),
        "--out",
        str(work / "out"),
    ]
    done = subprocess.run([*command, *(["--part", parts] if parts else [])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, dict[str, object]] = json.loads((work / "out" / f"rehearsal-{name}.json").read_text())["parts"]
    return found


def test_the_guide_s_files_are_found_in_the_folders_of_fluxgym_and_comfyui(tmp_path: Path) -> None:
    homes = played("flux", tmp_path, "make,find")["find"]["homes"]
    assert isinstance(homes, dict)
    for home, models in (("fluxgym-home", "fluxgym-Colab/models"), ("comfyui-home", "ComfyUI/models")):
        parts = homes[home]["parts"]
        found = {part: Path(place) for part, (place, _) in parts.items()}
        assert all(found[part].is_relative_to(models) for part in ("transformer", "text_encoder", "text_encoder_2", "vae"))
        assert parts["transformer"][1] == "fp8_e4m3"


@pytest.mark.long
@pytest.mark.parametrize("name", ["flux", "pony", "sd15"])
def test_a_run_is_killed_resumed_validated_exported_and_opened(tmp_path: Path, name: str) -> None:
    assert all(part["ok"] for part in played(name, tmp_path).values())


@pytest.mark.long
def test_the_tiny_form_reports_a_plan_and_a_script_by_hand(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "true_size.py"), "sd15", "--tiny", "--steps", "16", "--rungs", "kept,hand-kept"]
    done = subprocess.run(
        [*command, "--work", str(tmp_path), "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "out" / "true_size-sd15.json").read_text())
    assert report["tiny"]
    assert [("failed" in found, found["images_s"] > 0) for found in report["rungs"].values()] == [(False, True)] * 2
    assert report["rungs"]["kept"]["plan"] == "cpu-fp32-kept"


@pytest.mark.long
def test_the_tiny_form_compares_ways_of_holding_a_base(tmp_path: Path) -> None:
    ways = {"hand-bf16": 0.0, "ours-int8": 0.01, "ours-swapped": 0.0}
    command = [sys.executable, str(BENCHMARKS / "libraries.py"), "--tiny", "--ways", ",".join(ways), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "libraries-flux.json").read_text())["rungs"]
    for way, most in ways.items():
        assert found[way]["learns"]
        assert found[way]["gradients_differ"] <= most


@pytest.mark.long
def test_recorded_steps_are_compared_with_launched_ones(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(BENCHMARKS / "recordings.py"),
        "--ways",
        "text-dropout",
        "--image-steps",
        "36",
        "--at-once",
        "2",
    ]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "recordings-sd15.json").read_text())["ways"]["text-dropout"]
    assert found["again"]["lora_differs"] == found["recorded"]["lora_differs"] == 0 < found["seed"]["lora_differs"]


@pytest.mark.long
def test_number_formats_are_compared_at_equal_seeds(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "precision.py"), "--families", "sd15", "--formats", "bf16,int8,seed"]
    done = subprocess.run(
        [*command, "--image-steps", "72", "--at-once", "2", "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "precision-sd15.json").read_text())["rungs"]
    assert [len(one["losses"]) for one in found.values()] == [36] * 3
    assert found["bf16"]["lora_differs"] == 0 < found["int8"]["lora_differs"] < found["seed"]["lora_differs"]
    assert found["int8"]["losses_differ"][0] < 0.05


@pytest.mark.long
def test_runs_of_a_known_verdict_are_trained_validated_and_judged(tmp_path: Path) -> None:
    kinds = {"tenth": "undertrained", "one_image": "memorised", "wrong_trigger": "wrong_data", "two_people": "wrong_data"}
    where = ["--families", "flux", "--seeds", "1", "--device", "cpu", "--at-once", "2", "--share", "0.3", "--exhaustive", "2"]
    command = [sys.executable, str(BENCHMARKS / "verdicts.py"), *where, "--out", str(tmp_path / "found.jsonl")]
    done = subprocess.run([*command, "--kinds", *kinds], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert {line["kind"]: line["measures"]["verdict"]["kind"] for line in lines} == kinds
    (tenth,) = [line for line in lines if line["kind"] == "tenth"]
    assert {cell["strength"] for cell in tenth["exhaustive"]["cells"]} == {0.5, 0.8, 1.0, 1.25, 1.5}
    again = subprocess.run([*command, "--kinds", *kinds], capture_output=True, text=True, check=True)
    assert again.stdout.startswith("0 runs to make, 4 there")
