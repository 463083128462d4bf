"""docs/performance.md has the tables that its measurements make, and the measurements are told with their machine."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import scripts

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`docs/make_performance.py`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return scripts.script("docs/make_performance.py")


def rung(ms: float, **more: Any) -> dict[str, Any]:
    """The figures of a rung."""
    figures = {
        "step_ms": [ms, ms - 1, ms + 1],
        "estimated_ms": [0.8 * ms, 1.2 * ms],
        "images_s": 1000 / ms,
        "allocated_gib": 9.5,
        "reserved_gib": 10.4,
        "share": 0.612,
        "compile_s": 12.0,
        "first_step_s": 21.4,
        "plan": "gpu-bf16-swapped-fp8-graphs-compile-on",
        "fit": "9 of 57 blocks stay on the card",
    }
    return {**figures, **more}


def report(date: str, **rungs: dict[str, Any]) -> dict[str, Any]:
    """A report of FLUX."""
    return {
        "format": 1,
        "benchmark": "true_size",
        "family": "flux",
        "tiny": False,
        "px": 1024,
        "batch": 1,
        "rank": 16,
        "date": date,
        "machine": {"gpu": "NVIDIA H200", "driver": "580.1", "cpu": "Xeon", "cpus": 16},
        "versions": {"torch": "2.11.0"},
        "source": {"commit": "abc1234", "digest": "0123"},
        "commands": ["python benchmarks/true_size.py flux"],
        "ceiling": {"bf16_tflops": 797.2, "fp8_tflops": 1578.0, "to_gpu_gb_s": 55.0, "from_gpu_gb_s": 54.0},
        "rungs": {name.replace("_", "-"): found for name, found in rungs.items()},
    }


OLD = report("2026-12-01 10:00", compiled=rung(392.0), kept=rung(520.0))
WHOLE = rung(388.0, killed_at_step=9, starts=[0, 6], checkpoint_s=[1.9, 2.3], lora_bytes=171_969_984)
NEW = report("2026-12-02 10:00", compiled=rung(343.0), cap11=rung(550.0), nf4={"failed": "out of memory"}, default=WHOLE)


def test_the_page_has_its_tables_as_they_are_made(script: ModuleType) -> None:
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.replaced(text, script.kept()) == text


def test_a_report_is_told_with_machine_versions_sources_and_command(script: ModuleType) -> None:
    told = "\n".join(script.steps([NEW]))
    for words in (
        "2026-12-02 10:00 on one NVIDIA H200",
        "driver 580.1",
        "16 × Xeon",
        "torch 2.11.0",
        "abc1234",
        "797 TFLOP/s",
        "55 GB/s",
    ):
        assert words in told
    assert "python benchmarks/true_size.py flux" in told
    assert (
        "| `cap11`: at most 11 GiB | **550** (549–551) | 440–660 | 1.82 | 9.5 / 10.4 | 61% | 12 | 21 | gpu-bf16-swapped-fp8-graphs-compile-on; 9 of 57 blocks stay on the card |"
        in told
    )
    assert "| `nf4`: base in NF4 | failed |" in told


def test_a_rung_with_a_slower_link_is_told(script: ModuleType) -> None:
    made = report("2026-12-02 13:00", **{"cap11+link25": rung(900.0)})
    assert "| `cap11+link25`: at most 11 GiB, link25 | **900** (899–901) | 720–1080 |" in "\n".join(script.steps([made]))


def test_number_formats_are_told_against_the_first(script: ModuleType) -> None:
    apart = {"first_loss_differs": 0.004, "losses_differ": [0.01, 0.05], "epoch_loss_differs": 0.02, "lora_differs": 0.25}
    found = {**apart, "steps": 900, "plan": "gpu-bf16-quantised-fp8", "likeness": 0.985}
    made = {**NEW, "benchmark": "precision", "family": "sd15", "against": "bf16", "rungs": {"bf16": found, "fp8": found}}
    bf16, fp8 = list(script.formats([NEW, made]))[2:]
    assert bf16.startswith("| SD1.5, 900 steps | bf16, gpu-bf16-quantised-fp8 |  |  |  |  | 0.98 |")
    told = "| fp8, gpu-bf16-quantised-fp8 | 4.0e-03 | 1.0e-02 (5.0e-02) | 2.0e-02 | 0.250 | 0.98 | NVIDIA H200 | 2026-12-02 10:00 |"
    assert told in fp8


def test_a_rung_stands_among_the_earlier_ones_once_it_was_measured_again(script: ModuleType) -> None:
    steps, earlier = ("\n".join(section([OLD, NEW])) for section in (script.steps, script.earlier))
    assert "**343**" in steps
    assert "**392**" not in steps
    assert "**520**" in steps, "only the older report has it"
    assert "**392**" in earlier
    assert "**520**" not in earlier


def test_a_whole_run_is_told_with_its_kill(script: ModuleType) -> None:
    assert "| FLUX.1-dev | **388** (387–389) | 21 | 9 | 6 | 1.9–2.3 | 172.0 |" in "\n".join(script.whole([OLD, NEW]))


def test_a_rehearsal_is_told_once_its_run_was_resumed(script: ModuleType) -> None:
    parts = {
        "train@11": {"ok": True, "killed_at_step": 12},
        "resume@11": {"ok": True, **rung(612.0, samples=6, starts=[0, 9])},
        "export@11": {"ok": True, "matched": 494},
        "train@7.2": {"ok": False},
        "resume@7.2": {"ok": False},
    }
    made = {"benchmark": "rehearsal", "name": "flux", "date": "2026-12-02 11:00", "parts": parts}
    (*_, line) = script.rehearsals([made])
    plan = "gpu-bf16-swapped-fp8-graphs-compile-on; 9 of 57 blocks stay on the card"
    assert line == f"| `flux` | 11 | {plan} | **612** (611–613) | 10.4 | 6 | 12, 9 | 494 | 2026-12-02 11:00 |"


def test_the_demo_is_told_and_has_its_goal(script: ModuleType) -> None:
    import goals

    phases = {"training": 140.2, "sampling": 20.4}
    figures = {"whole_s": 171.0, "phases_s": phases, "steps_s": 5.6, "processes": 2, "likeness": 0.985}
    made = {**report("2026-12-02 12:00"), "benchmark": "demo", "family": "sd15", "device": "cpu", "rungs": {"sd15": figures}}
    (*_, line) = script.demo([made])
    assert line == "| SD1.5 | 16 × Xeon | 171 | 140 | 20 | 5.6 | 2 | 0.985 | 2026-12-02 12:00 |"
    lines = [goal.line([NEW, made]) for goal in goals.GOALS if goal.family == "demo"]
    assert ["met" in line for line in lines] == [True, True]


def test_goals_are_met_or_missed_by_the_newest_report_that_has_the_rungs(script: ModuleType) -> None:
    import goals

    lines = [goal.line([OLD, NEW]) for goal in goals.GOALS]
    assert [line.split()[-3:] for line in lines if "flux" in line and "a step in bf16" in line] == [
        ["met", "2026-12-02", "10:00"]
    ]
    assert any("start to first step " in line and "MISSED" in line and "2026-12-01" in line for line in lines)
    assert any("a step within 11 GiB" in line and "met" in line for line in lines)
    assert any("a step in fp8" in line and "not measured" in line for line in lines)


def test_a_slowed_link_is_told_and_held_against_the_estimate(script: ModuleType) -> None:
    import goals

    made = report("2026-12-02 13:00", **{"cap11+link25": rung(900.0)})
    lines = [goal.line([made]) for goal in goals.GOALS]
    at = next(number for number, line in enumerate(lines) if "a step within 11 GiB, link of 25 GB/s" in line)
    told, least, most = (line.split() for line in lines[at : at + 3])
    assert told[-8:] == ["link", "of", "25", "GB/s", "ms", "900.00", "2026-12-02", "13:00"]
    assert least[-4:] == ["1.25", "met", "2026-12-02", "13:00"]
    assert most[-4:] == ["0.83", "met", "2026-12-02", "13:00"]


def test_a_trial_and_a_report_of_another_format_are_not_kept(script: ModuleType, tmp_path: Path) -> None:
    import json

    import kept_results

    for changes, words in (({"tiny": True}, "trial"), ({"format": 2}, "format 2")):
        file = tmp_path / "true_size-flux.json"
        file.write_text(json.dumps({**NEW, **changes}))
        with pytest.raises(ValueError, match=words):
            kept_results.keep([file])


def test_libraries_are_told_with_what_they_cannot_do(script: ModuleType) -> None:
    fine = {"gradients_differ": 0.039, "learns": True, "eager": "", "resting_gib": 2.5, **rung(35.2)}
    lost = {**fine, "learns": False, "gradients_differ": None, "eager": "Unsupported"}
    made = {"ours-fp8": fine, "group-offloading": lost, "torchao-float8": {"failed": "NotImplementedError: no backward\nmore"}}
    *_, ours, offloading, failed = script.libraries([{**NEW, "benchmark": "libraries", "rungs": made}])
    assert ours == "| `ours-fp8` | **35.2** (34.2–36.2) | 0.0390 | 9.5 / 2.5 |  |"
    assert offloading.endswith("|  | 9.5 / 2.5 | not compiled; the LoRA does not keep its steps |")
    assert failed == "| `torchao-float8` | failed | | | NotImplementedError: no backward |"


def test_a_report_is_kept_with_its_log(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    import kept_results

    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(kept_results, "FOLDER", folder)
    made = tmp_path / "rehearsal-pony.json"
    made.write_text(json.dumps({**NEW, "family": "", "benchmark": "rehearsal", "name": "pony"}))
    made.with_suffix(".log").write_text("$ loratui bases\n")
    (placed,) = kept_results.keep([made])
    assert placed.name == "2026-12-02T1000-rehearsal-pony.json"
    assert placed.with_suffix(".log").read_text() == "$ loratui bases\n"
