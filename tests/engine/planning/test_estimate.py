"""Estimates: ranges with their source, wider where less is known, and measured where something was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.planning import figures
from loratui.engine.planning.estimate import Cost, Machine, estimate, sample_count, vram_range
from loratui.engine.planning.lora_size import lora_size
from loratui.engine.planning.measured import Measurement, cache_file, read_all, recall, remember
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import plan_for_counts

H200 = "NVIDIA H200"


def cost(preset: str, images: int, machine: str = "", *sets: str, base: str = "", price: float | None = None) -> Cost:
    recipe = build_recipe(preset, base=base, sets=sets)
    return estimate(recipe, plan_for_counts(recipe, images), Machine(machine), price_per_hour=price).here


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("driver", "card"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX 3090"),
        ("NVIDIA RTX A5000", "RTX A5000"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce GTX 1060 6GB", None),
    ],
)
def test_cards_are_known_by_their_drivers_names(driver: str, card: str | None) -> None:
    found = figures.card(driver)
    assert (found.name if found else None) == card


@pytest.mark.parametrize(
    ("preset", "images", "machine", "hours"),
    [
        # Guide 000: about 2 000 steps in 4.5 h on an L4; about 1 800 in 2 to 3 h on an A100.
        ("flux-identity-18img", 20, "NVIDIA L4", 4.5),
        ("flux-identity-18img", 18, "NVIDIA A100-SXM4-40GB", 2.5),
        # Guide 002: 15 to 40 min for SD1.5 and about 1 h for SDXL on an A5000.
        ("sd15-character", 30, "NVIDIA RTX A5000", 0.45),
        ("sdxl-character", 20, "NVIDIA RTX A5000", 1.0),
    ],
)
def test_what_the_guides_took_lies_in_the_range(preset: str, images: int, machine: str, hours: float) -> None:
    low, high = cost(preset, images, machine).time_s
    assert low <= hours * 3600 <= high


@pytest.mark.parametrize(
    ("preset", "resolution", "seconds_a_step", "gib"),
    [
        # One H200, batch 2: fastest and slowest trainer that was measured, with their memory.
        ("sd15-portrait", 512, (0.031, 0.310), (2.2, 4.4)),
        ("sd15-portrait", 768, (0.067, 0.328), (2.8, 7.6)),
        ("sdxl-person", 1024, (0.129, 0.912), (7.0, 22.4)),
    ],
)
def test_what_was_measured_on_an_h200_lies_in_the_range(
    preset: str, resolution: int, seconds_a_step: tuple[float, float], gib: tuple[float, float]
) -> None:
    recipe = build_recipe(
        preset, sets=(f"resolution={resolution}", "rank=32", "every_image_steps=100000", "before_training=false")
    ).with_changes({"training.train_text_encoder": False})
    plan = plan_for_counts(recipe, 32)
    here = estimate(recipe, plan, Machine(H200)).here
    assert here.time_s[0] <= seconds_a_step[0] * plan.optimizer_steps + 120
    assert here.time_s[1] >= seconds_a_step[1] * plan.optimizer_steps
    assert here.vram_gib is not None
    assert here.vram_gib[0] <= gib[0] + 1.0
    assert here.vram_gib[1] >= gib[1]


def test_the_demo_on_two_cores() -> None:
    low, high = cost("demo", 18).time_s
    assert low <= 150 <= high <= 300


def test_ranges_are_ranges_and_a_known_card_narrows_them() -> None:
    for preset in ("demo", "flux-identity-18img", "sdxl-person", "sd15-portrait"):
        here = cost(preset, 18, H200)
        assert here.time_s[0] < here.time_s[1]
        unknown = cost(preset, 18, "NVIDIA Quadro P400")
        assert unknown.time_s[0] <= here.time_s[0]
        assert here.time_s[1] <= unknown.time_s[1]
        assert "table" in here.source


def test_memory_decides_what_fits() -> None:
    assert cost("flux-identity-18img", 18, H200).fits == "yes"
    assert cost("flux-identity-18img", 18, "NVIDIA GeForce RTX 4090").fits == "with savings"
    assert cost("flux-identity-18img", 18, "NVIDIA GeForce RTX 3060").fits == "no"
    assert cost("flux-identity-18img", 18, "NVIDIA GeForce RTX 3060", "batch_size=1").fits == "with savings"
    assert cost("demo", 18).fits == ""
    assert cost("demo", 18).vram_gib is None


def test_checkpointing_narrows_the_memory() -> None:
    size = lora_size("sdxl", build_recipe("sdxl-person").settings.adapter)
    known = figures.FAMILIES["sdxl"]
    ranges = {
        choice: vram_range(build_recipe("sdxl-person", sets=(f"gradient_checkpointing={choice}",)).settings, size, known)
        for choice in ("auto", "on", "off")
    }
    assert ranges["on"][1] < ranges["auto"][1] == ranges["off"][1]
    assert ranges["off"][0] > ranges["auto"][0] == ranges["on"][0]


def test_money_is_time_by_price() -> None:
    here = cost("flux-identity-18img", 18, H200, price=3.6)
    assert here.money == (round(here.time_s[0] / 1000, 2), round(here.time_s[1] / 1000, 2))
    assert cost("flux-identity-18img", 18, H200).money is None


def test_the_real_size_of_the_file_is_shown() -> None:
    """Guide 000 expects 30 MB at rank 16; every Linear of the blocks makes 164 MiB, attention alone 50."""
    for targets, mib in (("sd-scripts", 164), ("attention", 50)):
        recipe = build_recipe("flux-identity-18img", sets=(f"targets={targets}",))
        lora = estimate(recipe, plan_for_counts(recipe, 18)).lora
        assert round(lora.bytes / 2**20) == mib


def test_disk_counts_files_checkpoints_samples_and_download() -> None:
    recipe = build_recipe("flux-identity-18img")
    disk = estimate(recipe, plan_for_counts(recipe, 18)).disk
    lora = lora_size("flux", recipe.settings.adapter)
    assert disk.outputs == 11 * lora.bytes
    assert disk.checkpoints == 3 * 12 * lora.parameters
    assert disk.download > 30e9
    assert disk.run == disk.checkpoints + disk.outputs + disk.samples + disk.cache
    assert estimate(build_recipe("demo"), plan_for_counts(build_recipe("demo"), 18)).disk.download == 0


def test_samples_are_counted() -> None:
    recipe = build_recipe("demo")
    assert sample_count(recipe.settings, plan_for_counts(recipe, 18)) == 22  # before, and after each of 10 epochs: 2
    none_before = build_recipe("demo", sets=("before_training=false", "every_image_steps=0"))
    assert sample_count(none_before.settings, plan_for_counts(none_before, 5)) == 20
    rarely = build_recipe("demo", sets=("before_training=false", "every_image_steps=1000"))
    assert sample_count(rarely.settings, plan_for_counts(rarely, 18)) == 4  # at 1 000, and at the end


def test_a_measured_run_replaces_the_table() -> None:
    recipe = build_recipe("demo")
    plan = plan_for_counts(recipe, 18)
    remember(Measurement(gpu="cpu", model="embedded:sd15", resolution=128, batch_size=2, image_step_s=0.05, peak_ram_gib=1.2))
    here = estimate(recipe, plan, measurements=read_all()).here
    assert here.source == "measured: 1 earlier run on this machine"
    assert here.ram_gib == (1.2, 1.3)
    table = estimate(recipe, plan).here
    assert here.time_s[1] - here.time_s[0] < table.time_s[1] - table.time_s[0]
    larger = estimate(build_recipe("demo", sets=("batch_size=4",)), plan, measurements=read_all()).here
    assert "another size" in larger.source
    other = estimate(build_recipe("demo", base="/models/sd15"), plan, measurements=read_all()).here
    assert "table" in other.source


def test_a_cache_that_cannot_be_used_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_all() == []
    cache_file().parent.mkdir(parents=True)
    for content in ("", "[]", '{"format": 9}', '{"format": 1, "runs": [{"gpu": 1}]}', "\x00"):
        cache_file().write_text(content)
        assert read_all() == []
    monkeypatch.setenv("LORATUI_CACHE", "/proc/nowhere")
    remember(Measurement(gpu="cpu", model="m", resolution=1, batch_size=1, image_step_s=1.0))
    assert read_all() == []


def test_the_cache_is_private_and_keeps_the_newest() -> None:
    for at in range(205):
        remember(Measurement(gpu="cpu", model="m", resolution=512, batch_size=1, image_step_s=float(at + 1)))
    kept = read_all()
    assert (len(kept), kept[-1].image_step_s) == (200, 205.0)
    assert cache_file().stat().st_mode & 0o777 == 0o600
    assert [p.name for p in cache_file().parent.iterdir()] == ["measured.json"]


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=9), st.sampled_from([256, 512, 1024]))
def test_recalled_times_scale_with_the_area(times: list[float], resolution: int) -> None:
    runs = [Measurement(gpu="g", model="m", resolution=512, batch_size=2, image_step_s=t) for t in times]
    found = recall(runs, gpu="g", model="m", resolution=resolution, batch_size=2)
    assert found is not None
    low, high = found.image_step_s
    newest = [t * (resolution / 512) ** 2 for t in times[-5:]]
    assert low <= max(newest)
    assert high >= min(newest)
    assert found.same == (resolution == 512)
    assert recall(runs, gpu="other", model="m", resolution=512, batch_size=2) is None
