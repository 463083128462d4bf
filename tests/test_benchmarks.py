"""The benchmarks that need a GPU: their settings are settings, and their tiny forms run on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

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


def test_a_rung_that_nobody_knows_is_refused(rungs: ModuleType) -> None:
    for rung in ("kept+fast", "cap", "quick"):
        with pytest.raises(KeyError):
            rungs.settings_of(rung)


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
