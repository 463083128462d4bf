"""The checks with the way to where they are fixed, and one real step before the start."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeTrainer, make_run
from screen_text import hides, screen_text, shows

from loratui.engine import sealed
from loratui.engine.errors import OutOfMemoryError
from loratui.engine.planning.estimate import Cost
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.probe import BaseRead, Probed
from loratui.tui.app import LoratuiApp
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.preflight_rows import base_row, probed_row

MEASURED = Probed(device="cpu", step_s=0.5, image_step_s=0.25, peak_vram_gib=None, peak_ram_gib=0.6, load_s=3.0)


def _probe_that(monkeypatch: pytest.MonkeyPatch, does: Callable[..., Any]) -> None:
    monkeypatch.setattr("loratui.engine.runs.probe.probe", does)


async def test_m_goes_to_where_a_finding_is_fixed(home: Path) -> None:
    draft = demo_draft().with_values({"base.model": "/gone.safetensors"})
    async with LoratuiApp(home, "preflight", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "✖ /gone.safetensors", "m fix")
        await pilot.press("m")
        await shows(pilot, "[2 base]")


async def test_what_is_in_order_has_nothing_to_mend(home: Path) -> None:
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "Ready", "The real step has not run yet")
        assert "m fix" not in text


async def test_one_real_step_corrects_the_estimate_and_asks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()

    def probe(prepared: object, at: Path, *, tell: Callable[[str], None], cancelled: Callable[[], bool]) -> Probed:
        tell("Loading the base")
        told.wait(5)
        return MEASURED

    _probe_that(monkeypatch, probe)
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "enter runs one real step")
        await pilot.press("enter")
        text = await shows(pilot, "One real step: loading the base … · p cancels")
        assert "enter start training" not in text
        told.set()
        await shows(pilot, "✔ One real step took 0.50 s and 0.6 GiB of main memory.", "The whole run takes")
        await shows(
            pilot,
            "Start the training? ",
            ", measured, price not set (f2); no warnings.",
            "enter starts it",
            "enter start training",
            "p measure again",
        )


async def test_what_decides_is_in_sight_on_a_small_screen_however_much_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _probe_that(monkeypatch, lambda prepared, at, *, tell, cancelled: MEASURED)
    draft = demo_draft().with_values({"optimizer.learning_rate": 0.05, "adapter.rank": 128, "dataset.trigger": ""})
    app = LoratuiApp(home, "preflight", draft=draft)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        app.change_settings(dataclasses.replace(app.settings, price_per_hour=2.0))
        await shows(pilot, "Ready: ")
        await pilot.press("enter")
        text = await shows(pilot, "Start the training? ", "measured, costs 0.", "; 2 warnings.")
        assert len(text.splitlines()) == 24


async def test_the_plan_tells_warnings_and_time_in_its_first_line(home: Path) -> None:
    draft = demo_draft().with_values({"optimizer.learning_rate": 0.05, "adapter.rank": 128, "dataset.trigger": ""})
    async with LoratuiApp(home, "plan", draft=draft).run_test(notifications=True, size=(80, 24)) as pilot:
        text = await shows(pilot, "warnings below", "on this machine")
        first = next(line for line in text.splitlines() if "below" in line)
        assert " on this machine" in first


V = BaseRead(
    readings={"of_linear": 0.06},
    mistaken="prediction",
    message="The base should predict epsilon, but its answers fit v.",
    remedy="Set base.prediction to v.",
)


def _started(monkeypatch: pytest.MonkeyPatch) -> list[RunDirectory]:
    """The runs that are started, which are not carried out."""
    runs: list[RunDirectory] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", runs.append)
    return runs


async def test_a_base_that_is_not_what_it_was_taken_for_starts_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = _started(monkeypatch)
    _probe_that(monkeypatch, lambda *_, **__: dataclasses.replace(MEASURED, base=V))
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "enter runs one real step")
        await pilot.press("enter")
        text = await shows(pilot, "✖ The base should predict epsilon", "Set base.prediction to v.", "not what it was taken for")
        assert "enter start training" not in text
        await pilot.press("enter", "s")
        await shows(pilot, "not what it was taken for", "m fix")
        assert runs == []
        await pilot.press("m")
        await shows(pilot, "[4 plan]")


def test_a_mistaken_base_is_fixed_where_it_is_chosen_and_its_prediction_in_the_settings() -> None:
    rows = {what: base_row(dataclasses.replace(V, mistaken=what), "on") for what in ("vae", "prediction", "")}
    assert {what: row.step if row else None for what, row in rows.items()} == {"vae": "base", "prediction": "plan", "": None}


async def test_it_starts_where_the_check_is_off_and_keeps_what_was_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = _started(monkeypatch)
    _probe_that(monkeypatch, lambda *_, **__: dataclasses.replace(MEASURED, base=V))
    draft = demo_draft().with_values({"base.check": "off"})
    async with LoratuiApp(home, "preflight", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "enter runs one real step")
        await pilot.press("enter")
        await shows(pilot, "! The base should predict epsilon", "enter start training")
        await pilot.press("enter")
        await shows(pilot, "It was never started.")
    kept = sealed.read(runs[0].base_readings, runs[0].path)
    assert kept == {"format": 1, **dataclasses.asdict(V)}
    assert runs[0].base_readings.stat().st_mode & 0o777 == 0o600


async def test_a_real_step_can_be_cancelled(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(prepared: object, at: Path, *, tell: object, cancelled: Callable[[], bool]) -> None:
        end = threading.Event()
        while not cancelled():
            end.wait(0.02)

    _probe_that(monkeypatch, probe)
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "enter runs one real step")
        await pilot.press("enter")
        await shows(pilot, "p cancels")
        await pilot.press("p")
        await hides(pilot, "p cancels")
        await shows(pilot, "The real step has not run yet", "Ready")


async def test_a_real_step_that_fails_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(*_: object, **__: object) -> None:
        raise OutOfMemoryError("There is too little memory for these settings.", "Try a batch size of 1.")

    _probe_that(monkeypatch, probe)
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "enter runs one real step")
        await pilot.press("enter")
        await shows(pilot, "✖ One real step failed: There is too little memory", "Try a batch size of 1.", "m fix")
        await pilot.press("m")
        await shows(pilot, "[4 plan]")


async def test_leaving_ends_the_step_that_is_measured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def probe(prepared: object, at: Path, *, tell: object, cancelled: Callable[[], bool]) -> None:
        while not cancelled():
            threading.Event().wait(0.02)
        ended.set()

    _probe_that(monkeypatch, probe)
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "enter runs one real step")
        await pilot.press("enter")
        await shows(pilot, "p cancels")
        await pilot.press("escape")
        await shows(pilot, "[5 samples]")
        assert ended.wait(3)
        assert "p cancels" not in screen_text(pilot.app)


def _cost(low: float, high: float) -> Cost:
    return Cost("card", (low, high), None, (1.0, 2.0), "", "", None, "", "", "")


def test_where_the_time_was_not_known_nothing_is_corrected() -> None:
    """A card that is not in the table: there was no estimate before the step."""
    row = probed_row(MEASURED, dataclasses.replace(_cost(1, 2), time_s=None), _cost(3600, 4800), None)
    assert "The whole run takes 60–80 min." in row.remedy
    assert "estimate" not in row.remedy


def test_a_step_that_hardly_fits_is_a_warning() -> None:

    tight = dataclasses.replace(MEASURED, peak_vram_gib=23.5)
    row = probed_row(tight, _cost(60, 600), _cost(300, 400), 24.0)
    assert row.mark == "warning"
    assert "23.5 of 24 GiB" in row.message
    assert "the estimate was" in row.remedy
    assert probed_row(dataclasses.replace(tight, peak_vram_gib=12.0), _cost(1, 2), _cost(1, 2), 24.0).mark == "ok"


async def test_time_cost_and_other_runs_are_told_before_the_start(home: Path) -> None:
    run = make_run(home, "other")
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(3)
        app = LoratuiApp(home, "home")
        app.settings = dataclasses.replace(app.settings, price_per_hour=2.5)
        async with app.run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, run.name, "● running")
            app.plan_new(demo_draft(), "preflight")
            await shows(
                pilot, "[6 preflight]", f"! {run.name} is running on this machine.", "Ready: ", ", costs ", "; 1 warning."
            )
