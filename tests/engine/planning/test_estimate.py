"""Estimates: ranges with their source, wider where less is known, and measured where something was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import drawn

from loratui.engine import families
from loratui.engine.dataset.scan import scan
from loratui.engine.machine.accelerator import Accelerator, Card
from loratui.engine.planning import figures
from loratui.engine.planning.estimate import Cost, estimate, sample_count
from loratui.engine.planning.lora_size import lora_size
from loratui.engine.planning.measured import Measurement, cache_file, read_all, recall, remember, work_of
from loratui.engine.planning.memory_choices import rungs
from loratui.engine.planning.memory_need import Facts, need
from loratui.engine.planning.memory_plan import Fits, MemoryPlan, decide, memory_range
from loratui.engine.planning.recipe import Recipe, build_recipe
from loratui.engine.planning.rungs import LADDER, SWAPPED, host_gib
from loratui.engine.planning.schedule import make_plan, plan_for_counts
from loratui.presets import Preset, list_presets
from loratui.presets.schema import Settings

H200 = "NVIDIA H200"


def card_of(gib: float, name: str = "some card") -> Card:
    return Card(name, gib, (8, 6))


def machine_with(name: str = "") -> Accelerator:
    """A machine with a card of this name; one that is not in the table has room for all."""
    listed = figures.card(name)
    card = Card(name, listed.memory_gib, listed.capability) if listed else Card(name, 200.0, (8, 6))
    return Accelerator(card if name else None)


def fits(settings: Settings, memory_gib: float) -> Fits:
    found = decide(Facts.of(settings, card_of(memory_gib)))
    assert isinstance(found, MemoryPlan)
    return found.fits


def cost(preset: str, images: int, machine: str = "", *sets: str, base: str = "", price: float | None = None) -> Cost:
    recipe = build_recipe(preset, base=base, sets=sets)
    return estimate(recipe, plan_for_counts(recipe, images), machine_with(machine), price_per_hour=price).here


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
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("NVIDIA RTX 6000 Ada Generation", None),
        # Other cards under a known name, and parts of one.
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3080 with Max-Q Design", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4080 SUPER", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
        ("GRID A10-24Q", None),
        ("NVIDIA A10-24Q", None),
    ],
)
def test_cards_are_known_by_their_drivers_names(driver: str, card: str | None) -> None:
    found = figures.card(driver)
    assert (found.name if found else None) == card


PRESETS = {"sd15": ("sd15-portrait", 512), "sdxl": ("sdxl-person", 1024), "flux": ("flux-identity-18img", 1024)}


def at_true_size(family: str, batch: int, *sets: str) -> Settings:
    """The recipe of benchmarks/true_size.py, with AdamW."""
    preset, side = PRESETS[family]
    own = (f"training.batch_size={batch}", f"dataset.resolution={side}", "optimizer.name=adamw", "samples.width=0")
    rank = f"adapter.rank={16 if family == 'flux' else 32}"
    more = ("samples.height=0", "training.train_text_encoder=false", rank)
    return build_recipe(preset, sets=(*own, *more, *sets)).settings


@pytest.mark.parametrize(
    ("family", "batch", "way", "training_gib", "sampling_gib"),
    [
        # Each a run of `loratui train` on one H200 with AdamW: most memory held in a step (with the VAE's decoder, once
        # samples were made), and most that was allocated while one sample was decoded.
        ("sd15", 2, "checkpointing", 2.78, 3.38),
        ("sd15", 2, "kept", 4.83, 3.44),
        ("sdxl", 1, "checkpointing", 7.50, 11.23),
        ("sdxl", 2, "checkpointing", 8.55, 11.24),
        ("sdxl", 2, "kept", 23.11, 11.30),
        ("flux", 1, "checkpointing", 26.78, 28.61),
        ("flux", 1, "kept", 62.5, 28.6),
    ],
)
def test_no_way_is_promised_with_less_memory_than_it_took(
    family: str, batch: int, way: str, training_gib: float, sampling_gib: float
) -> None:
    """And none is told to need much more."""
    settings = at_true_size(family, batch)
    rung = next(one for one in LADDER if one.name == way)
    found = need(Facts.of(settings, None), rung, "bf16")
    assert training_gib <= found.training <= 1.15 * training_gib
    assert sampling_gib <= found.sampling <= 1.15 * sampling_gib


CHANGES = (
    ("training.train_text_encoder=true",),
    ("training.ema_decay=0.99",),
    ("optimizer.name=prodigy",),
    ("adapter.rank=128",),
    ("training.precision=fp32",),
    ("training.batch_size=4",),
    ("memory.compile=on", "memory.cuda_graphs=off"),
)


@given(
    st.sampled_from(sorted(PRESETS)),
    st.sampled_from([card.memory_gib for card in figures.CARDS]),
    st.sampled_from(["auto", "on", "off"]),
    st.lists(st.sampled_from(CHANGES), max_size=3),
)
def test_what_is_said_to_fit_is_what_the_trainer_would_do_there(
    family: str, memory_gib: float, checkpointing: str, changes: list[tuple[str, ...]]
) -> None:
    """What the trainer carries out on a card must fit where the table says so, and nothing smaller exists."""
    sets = [one for change in changes for one in change]
    settings = at_true_size(family, 1, f"memory.gradient_checkpointing={checkpointing}", *sets)
    facts = Facts.of(settings, card_of(memory_gib))
    found = decide(facts)
    assert isinstance(found, MemoryPlan)
    taken, said, room = need(facts, found.rung, found.precision, split=found.split), found.fits, facts.room_gib
    assert taken == found.need
    whole = {rung: need(facts, rung, found.precision).training for rung in rungs(settings)}
    smallest = min(need(facts, rung, found.precision, split=split).training for rung in whole for split in (False, True))
    assert (said == "no") == (taken.training > room)
    assert said != "no" or min(whole.values()) > room
    assert taken.training <= room or said == "no"
    assert taken.most <= room or said in ("no", "without samples")
    low, high = memory_range(facts)
    assert low >= smallest
    assert high >= low


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_no_card_is_told_to_hold_more_than_it_has(preset: Preset, batch: int) -> None:
    """What is shown beside `yes` and `with savings` is within what programs can have of that card."""
    for sets in ((), ("adapter.rank=128",), ("dataset.resolution=512",)):
        recipe = build_recipe(preset.name, sets=(f"training.batch_size={batch}", *sets))
        memory = {card.name: card.memory_gib for card in figures.CARDS}
        for row in estimate(recipe, plan_for_counts(recipe, 20)).elsewhere:
            if row.fits in ("yes", "with savings"):
                assert row.vram_gib is not None
                assert row.vram_gib[1] <= memory[row.machine] * figures.USABLE, (row.machine, sets)


def test_flux_fits_on_cards_from_8_gib_by_what_each_can_do() -> None:
    for memory_gib, capability, rung in ((8.0, (8, 6), "swapped"), (12.0, (8, 6), "swapped"), (24.0, (8, 9), "quantised")):
        found = decide(Facts.of(at_true_size("flux", 1, "optimizer.name=adamw8bit"), Card("card", memory_gib, capability)))
        assert isinstance(found, MemoryPlan)
        assert (found.rung.name, found.fits) == (rung, "with savings")
    assert fits(at_true_size("flux", 1, "memory.plan=checkpointing"), 24.0) == "no"


@pytest.mark.parametrize(
    ("family", "batch", "sets", "step_s"),
    [
        ("sd15", 2, ("memory.compile=off",), 0.048),
        ("sdxl", 2, ("memory.compile=off",), 0.185),
        ("sdxl", 2, ("memory.compile=on",), 0.120),
        ("sd15", 2, ("memory.compile=on",), 0.030),
        ("flux", 1, ("memory.compile=off",), 0.530),
        ("flux", 1, ("memory.compile=on",), 0.355),
        ("flux", 1, ("memory.compile=on", "memory.quantise=fp8"), 0.294),
        ("flux", 1, ("memory.compile=on", "memory.limit_gib=7.2"), 0.473),
        ("flux", 1, ("memory.compile=on", "memory.limit_gib=7.2"), 0.528),
    ],
)
def test_what_was_measured_on_an_h200_lies_in_the_range(family: str, batch: int, sets: tuple[str, ...], step_s: float) -> None:
    """Medians of docs/performance.md, over a run long enough that loading does not count."""
    settings = at_true_size(family, batch, *sets, "samples.every_image_steps=1000000", "samples.before_training=false")
    recipe = Recipe(settings).with_changes({"schedule.epochs": 100, "schedule.repeats": 100})
    plan = plan_for_counts(recipe, 20)
    here = estimate(recipe, plan, machine_with(H200)).here
    assert here.time_s is not None
    assert here.time_s[0] <= step_s * plan.optimizer_steps <= here.time_s[1]
    assert here.time_source == "time measured on an H200"
    assert here.memory_source == "memory measured on an H200"


def test_a_slower_link_makes_a_longer_step_of_swapped_blocks_alone() -> None:
    """The copies of a pass take their time or that of the computation, whichever is longer: FLUX's blocks in fp8 are 11.8 GB."""
    lengths: dict[str, list[tuple[float, float]]] = {}
    for sets in (("memory.limit_gib=7.2",), ("memory.limit_gib=7.2", "memory.quantise=off"), ("memory.plan=kept",)):
        for link in (None, 55.0, 25.0, 12.0):
            settings = at_true_size("flux", 1, "memory.compile=on", "samples.every_image_steps=1000000", *sets)
            recipe = Recipe(settings).with_changes({"schedule.epochs": 100, "schedule.repeats": 100})
            plan = plan_for_counts(recipe, 20)
            card = figures.MEASURED_ON
            here = Accelerator(Card(card.name, card.memory_gib, card.capability, link_gb_s=link))
            cost = estimate(recipe, plan, here).here
            assert cost.time_s is not None
            lengths.setdefault(sets[-1], []).append(
                (cost.time_s[0] / plan.optimizer_steps, cost.time_s[1] / plan.optimizer_steps)
            )
    assumed, fast, slow, slowest = lengths["memory.limit_gib=7.2"]
    assert assumed == fast
    for copied_gb, rate, (low, high) in ((8.8, 25, slow), (8.8, 12, slowest)):  # 14 of 57 blocks stayed on the card
        assert low < 2 * copied_gb / rate < high
    assert fast[1] < slow[1] < slowest[1]
    assert lengths["memory.quantise=off"][3][0] > 1.9 * slowest[0], "twice the bytes"
    assert len(set(lengths["memory.plan=kept"])) == 1


def test_one_h100_agrees_with_the_scaling() -> None:
    """FLUX on one H100 of 80 GB, launched: 0.60 s a step kept, 0.43 compiled (docs/performance.md)."""
    for compile, step_s in (("off", 0.60), ("on", 0.43)):
        settings = at_true_size("flux", 1, f"memory.compile={compile}", "samples.every_image_steps=1000000")
        recipe = Recipe(settings).with_changes({"schedule.epochs": 100, "schedule.repeats": 100})
        plan = plan_for_counts(recipe, 20)
        here = estimate(recipe, plan, machine_with("NVIDIA H100 80GB HBM3")).here
        assert here.time_s is not None
        assert here.time_s[0] <= step_s * plan.optimizer_steps <= here.time_s[1]
        assert "scaled" in here.time_source


@given(
    st.sampled_from(figures.CARDS),
    st.sampled_from([p for p in list_presets() if p.name != "demo"]),
    st.integers(5, 60),
)
def test_a_time_prices_the_run_or_is_not_told(card: figures.Card, preset: Preset, images: int) -> None:
    recipe = build_recipe(preset.name)
    here = estimate(recipe, plan_for_counts(recipe, images), machine_with(card.name), price_per_hour=1.0).here
    if here.time_s is None:
        assert here.money is None
        assert here.fits == "no" or "unknown" in here.time_source
    else:
        low, high = here.time_s
        assert high <= 1.7 * low or high <= 300


def test_the_demo_on_two_cores() -> None:
    found = cost("demo", 18).time_s
    assert found is not None
    assert found[0] <= 150 <= found[1] <= 300


def test_a_card_that_is_not_known_has_no_time() -> None:
    for preset in ("flux-identity-18img", "sdxl-person", "sd15-portrait"):
        unknown = cost(preset, 18, "NVIDIA Quadro P400")
        assert (unknown.time_s, unknown.money) == (None, None)
        assert "time unknown until the preflight has run one real step" in unknown.source
    assert cost("sd15-portrait", 18).time_s is None  # a CPU
    without_bf16 = cost("sd15-portrait", 18, "Tesla T4")  # in which all times were measured
    assert (without_bf16.time_s, without_bf16.fits, without_bf16.memory_plan) == (
        None,
        "yes",
        "gpu-fp16-kept-graphs-compile-auto",
    )


def test_memory_decides_what_fits() -> None:
    assert cost("flux-identity-18img", 18, H200).fits == "yes"
    assert cost("flux-identity-18img", 18, "NVIDIA A100-SXM4-40GB").fits == "with savings"
    assert cost("flux-identity-18img", 18, "NVIDIA GeForce RTX 4090").fits == "with savings"
    assert cost("flux-identity-18img", 18, "NVIDIA GeForce RTX 4090", "memory.plan=partial").fits == "no"
    assert cost("sdxl-person", 18, "NVIDIA GeForce RTX 4090").fits == "with savings"
    assert cost("sdxl-person", 18, "NVIDIA GeForce RTX 4090", "gradient_checkpointing=on").fits == "yes"
    assert cost("sdxl-person", 18, "NVIDIA GeForce RTX 4090", "gradient_checkpointing=off").fits == "no"
    assert cost("demo", 18).fits == ""
    assert cost("demo", 18).vram_gib is None


def test_checkpointing_narrows_the_memory() -> None:
    ranges = {
        choice: memory_range(Facts.of(build_recipe("sdxl-person", sets=(f"gradient_checkpointing={choice}",)).settings, None))
        for choice in ("auto", "on", "off")
    }
    assert ranges["auto"] == (ranges["on"][0], ranges["off"][1])
    assert ranges["on"][1] < ranges["off"][1]


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("total_gib", [6.0, 8.0, 12.0, 16.0])
def test_no_preset_asks_for_more_memory_than_a_card_on_which_it_fits(preset: Preset, total_gib: float) -> None:
    settings = build_recipe(preset.name).settings
    found = decide(Facts.of(settings, Card("small", total_gib, (8, 9))))
    assert isinstance(found, MemoryPlan)
    if found.fits in ("yes", "with savings"):
        assert memory_range(Facts.of(settings, None))[0] <= total_gib


def test_money_is_time_by_price() -> None:
    here = cost("flux-identity-18img", 18, H200, price=3.6)
    assert here.time_s is not None
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
    averaged = recipe.with_changes({"training.ema_decay": 0.99})
    assert estimate(averaged, plan_for_counts(averaged, 18)).disk.checkpoints == 3 * 16 * lora.parameters
    assert disk.download > 30e9
    assert disk.run == disk.checkpoints + disk.outputs + disk.samples + disk.cache
    assert estimate(build_recipe("demo"), plan_for_counts(build_recipe("demo"), 18)).disk.download == 0


@pytest.mark.parametrize("several", ["dataset.shuffle_captions=true", "dataset.caption_choice=line+wildcards"])
def test_disk_counts_every_text_that_is_encoded(several: str) -> None:
    def cache(*sets: str) -> int:
        recipe = build_recipe("flux-identity-18img", sets=sets)
        return estimate(recipe, plan_for_counts(recipe, 18)).disk.cache

    one, eight = cache(), cache(several)
    assert cache(several, "dataset.caption_variants=1") == one
    assert eight - one == pytest.approx(18 * 7 * 512 * 4096 * 2, abs=100)


def test_disk_counts_captions_that_are_drawn_in_turn(tmp_path: Path) -> None:
    drawn(1, (96, 64)).save(tmp_path / "a.png")
    for name in ("a.txt", "a.2.txt", "a.3.txt"):
        (tmp_path / name).write_text(f"anafox, {name}")

    def of(choice: str) -> tuple[int, int]:
        recipe = build_recipe("flux-identity-18img", sets=(f"dataset.caption_choice={choice}",))
        plan = make_plan(recipe, scan(tmp_path))
        return plan.captions, estimate(recipe, plan).disk.cache

    (first, one), (all_of_them, three) = of("first"), of("whole")
    assert (first, all_of_them) == (1, 3)
    assert three - one == pytest.approx(2 * 512 * 4096 * 2, abs=100)


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
    work = work_of(recipe.settings, "cpu-fp32-kept")
    figures_of_a_run = {"gpu": "cpu", "model": "embedded:sd15", "resolution": 128, "batch_size": 2, "work": work}
    remember(Measurement(**figures_of_a_run, image_step_s=0.05, peak_ram_gib=1.2))  # type: ignore[arg-type]  # as named
    here = estimate(recipe, plan, measurements=read_all()).here
    assert here.source == "time measured in 1 earlier run on this machine"
    assert here.ram_gib == (1.2, 1.3)
    table = estimate(recipe, plan).here
    assert here.time_s is not None
    assert table.time_s is not None
    assert here.time_s[1] - here.time_s[0] < table.time_s[1] - table.time_s[0]
    larger = estimate(build_recipe("demo", sets=("batch_size=4",)), plan, measurements=read_all()).here
    assert "scaled from other settings" in larger.source
    changed = estimate(build_recipe("demo", sets=("rank=64",)), plan, measurements=read_all()).here
    assert "scaled from other settings" in changed.source
    other = estimate(build_recipe("demo", base="/models/sd15"), plan, measurements=read_all()).here
    assert other.time_s is None


def test_a_step_that_was_not_compiled_tells_what_a_compiled_one_takes() -> None:
    """The probe makes too few steps to compile; a long run does."""
    settings = at_true_size("flux", 1)
    recipe = Recipe(settings).with_changes({"schedule.epochs": 10, "schedule.repeats": 10})
    plan = plan_for_counts(recipe, 20)
    alike = {
        "gpu": H200,
        "model": settings.base.model,
        "resolution": 1024,
        "batch_size": 1,
        "work": work_of(settings, "gpu-bf16-kept-graphs-compile-auto"),
    }
    times = {}
    for compiled, image_step_s in ((False, 0.53), (True, 0.39)):
        run = Measurement(**alike, image_step_s=image_step_s, compiled=compiled)  # type: ignore[arg-type]  # as named
        here = estimate(recipe, plan, machine_with(H200), measurements=[run]).here
        assert here.time_s is not None
        times[compiled] = sum(here.time_s) / 2
    assert times[False] == pytest.approx(times[True], rel=0.12)


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


def test_a_run_says_nothing_of_another_memory_plan() -> None:
    """Nor of another limit, by which other numbers of blocks stay on the card."""
    settings = at_true_size("flux", 1)
    swapped = work_of(settings, "gpu-bf16-swapped-graphs-compile-auto")
    alike = {"gpu": H200, "model": settings.base.model, "resolution": 1024, "batch_size": 1}
    slow = Measurement(**alike, image_step_s=2.0, work=swapped, peak_vram_gib=8.0)  # type: ignore[arg-type]  # as named
    recipe = Recipe(settings).with_changes({"schedule.epochs": 10, "schedule.repeats": 10})
    plan = plan_for_counts(recipe, 20)
    assert estimate(recipe, plan, machine_with(H200), measurements=[slow]) == estimate(recipe, plan, machine_with(H200))
    forced = recipe.with_changes({"memory.plan": "swapped", "memory.quantise": "off"})
    here = estimate(forced, plan, machine_with(H200), measurements=[slow]).here
    assert "1 earlier run" in here.time_source
    assert here.vram_gib == (8.8, 9.7)
    limited = forced.with_changes({"memory.limit_gib": 12.0})
    assert "earlier run" not in estimate(limited, plan, machine_with(H200), measurements=[slow]).here.time_source


@pytest.mark.parametrize(
    ("words", "preset", "memory_gb", "sets"),
    [
        ("at least {} GB for FLUX.1-dev", "flux-identity-18img", 8, ()),
        ("keeps its own precision from {} GB on", "flux-identity-18img", 32, ("quantise=off",)),
        (
            "at least {} GB for FLUX.1-dev (with 16 GB of free main memory) and SDXL",
            "sdxl-person",
            8,
            ("train_text_encoder=false",),
        ),
        ("{} GB for SDXL with text encoders", "sdxl-person", 12, ("train_text_encoder=true",)),
        ("{} GB for SD1.5", "sd15-portrait", 6, ()),
    ],
)
def test_the_readme_promises_what_fits(words: str, preset: str, memory_gb: int, sets: tuple[str, ...]) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert words.format(memory_gb) in readme
    # A card of 32 GB tells 31.8.
    said = fits(build_recipe(preset, sets=sets).settings, memory_gb - 0.2)
    assert said in ("yes", "with savings")
    assert host_gib(families.family("flux").figures, SWAPPED, "fp8") <= 16 * figures.PINNED


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
def test_a_presets_summary_promises_what_fits(preset: Preset) -> None:
    promised = re.search(r"[Tt]rains on (\d+) GB", preset.summary)
    assert "GB" not in preset.summary or promised
    if promised:
        assert fits(build_recipe(preset.name).settings, float(promised[1]) - 0.2) in ("yes", "with savings")
