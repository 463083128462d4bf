"""Numbers that JSON and TOML take and nothing can hold: what stands beside them is used, and nothing falls over."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.proof.notes import read_checklist, update
from loratui.engine.runs import lock
from loratui.engine.runs.events import decode, encode
from loratui.engine.runs.series import Series
from loratui.engine.runs.smoothing import SmoothedLoss
from loratui.engine.runs.state_file import read_state
from loratui.engine.untrusted import finite
from loratui.presets import list_presets
from loratui.presets.schema import SchemaError, parse_value
from loratui.tui import settings
from loratui.tui.cli import main
from loratui.tui.validation.checklist import POINTS
from loratui.tui.validation.grid_images import read_listed
from loratui.tui.widgets import braille
from loratui.tui.wizard.drafts import list_drafts

DIGITS = "9" * 400
NUMBERS = (DIGITS, "-" + DIGITS, "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000)


@pytest.mark.parametrize("number", NUMBERS)
def test_in_a_run(home: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    run.marker.write_text(f'{{"format": 1, "created": {number}}}')
    run.state.write_text(f'{{"v": 1, "preset": "demo", "step": {number}, "loss_smoothed": {number}, "seconds": {number}}}')
    run.lock.write_text(run.lock.read_text().replace('"since": ', f'"since": {number}, "x": '))
    assert run.created() == 0
    assert read_state(run).seconds == 0
    assert lock.read_owner(run.lock) is None or math.isfinite(lock.read_owner(run.lock).since)  # type: ignore[union-attr]
    for command in (
        ["runs"],
        ["runs", "--json"],
        ["status", run.name],
        ["status", run.name, "--json"],
        ["attach", run.name, "--json"],
    ):
        assert main(command) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", NUMBERS)
def test_in_the_files_of_the_check(tmp_path: Path, number: str) -> None:
    cell = {"grid": "strengths", "prompt": "p", "seed": 1, "file": "f", "path": "a.png", "strength": 1}
    listed = json.dumps({"images": [cell, {**cell, "strength": "X"}]}).replace('"X"', number)
    (tmp_path / "grid.json").write_text(listed)
    assert read_listed(tmp_path / "grid.json") == []
    kept = tmp_path / "checklist.json"
    kept.write_text(f'{{"format": 2, "ticked": {{"{POINTS[0].id}": {number}}}}}')
    assert read_checklist(kept).ticked == {}
    update(kept, lambda before: before.choose("output/a.safetensors"))
    assert read_checklist(kept).chosen == "output/a.safetensors"


@pytest.mark.parametrize("number", NUMBERS)
def test_in_a_draft(tmp_path: Path, number: str) -> None:
    (tmp_path / "drafts").mkdir()
    draft = f'{{"format": 1, "saved": {number}, "step": "plan", "preset": "demo", "changes": {{}}}}'
    (tmp_path / "drafts" / "x.json").write_text(draft)
    assert all(draft.saved == 0 for draft in list_drafts(tmp_path))


def test_a_folder_with_a_nul_in_its_name_is_not_there() -> None:
    for name in ("\0", "a\ud800"):
        with pytest.raises(DatasetError):
            scan(Path(name))


@pytest.mark.parametrize("value", [DIGITS, "9" * 5000, "0x" + "f" * 5000, "nan", "inf", "[" * 5000])
def test_in_toml(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.toml").write_text(f"price_per_hour = {value}\n")
    (tmp_path / "keys.toml").write_text(f"help = {value}\n")
    found = settings.load(tmp_path)
    assert found.settings == settings.AppSettings()
    assert len(found.problems) == 2
    settings.save(found.settings, tmp_path)
    assert settings.load(tmp_path).settings == settings.AppSettings()
    for key in ("schedule.epochs", "output.checkpoint_every_s"):
        section, name = key.split(".")
        (tmp_path / "recipe.toml").write_text(f"[{section}]\n{name} = {value}\n")
        with pytest.raises(SchemaError):
            read_recipe(tmp_path / "recipe.toml")
        with pytest.raises(SchemaError):
            parse_value(key, value)
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    (tmp_path / "presets").mkdir()
    (tmp_path / "recipe.toml").rename(tmp_path / "presets" / "mine.toml")
    list_presets()


@pytest.mark.parametrize("ts", ["-1e999", "NaN", "1e300", DIGITS])
def test_an_event_of_no_time_is_left_out(ts: str) -> None:
    import zlib

    checked = encode("warning", 1, 1.0, {}).rpartition(b',"crc"')[0].replace(b'"ts":1.0', f'"ts":{ts}'.encode())
    assert ts.encode() in checked
    assert decode(b'%s,"crc":"%08x"}' % (checked, zlib.crc32(checked))) is None


def test_hostile_steps_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        for step in range(1, 40):
            loss = 1.7e308 if step % 2 else -1.7e308
            trainer.log.append("step", step=step, image_step=step, epoch=1, loss=loss, lr=1e308, grad_norm=-1e308, step_s=1e308)
        assert main(["status", run.name]) == 0
        assert main(["status", run.name, "--json"]) == 0
    assert "step 39" in capsys.readouterr().out


LOSSES = st.lists(st.one_of(st.floats(), st.sampled_from([1.7e308, -1.7e308, -1e100, 5e-324, 0.0])), min_size=1, max_size=60)


@given(LOSSES, st.booleans(), st.integers(2, 30))
def test_any_losses_can_be_drawn(losses: list[float], log_scale: bool, rows: int) -> None:
    history, smoothed = Series(), SmoothedLoss()
    for step, loss in enumerate(losses, 1):
        smoothed.add(step, loss, 1000)
        history.add(step, loss, smoothed.value)
    shown = braille.columns(history, 40, len(losses))
    if log_scale:
        shown = braille.logged(shown)
    limits = (braille.log_range if log_scale else braille.y_range)(shown, None)
    if limits is not None:
        braille.draw(shown, rows, limits)
        (braille.log_ticks if log_scale else braille.ticks)(rows, limits)


@given(LOSSES)
def test_the_smoothed_loss_is_finite(losses: list[float]) -> None:
    smoothed = SmoothedLoss()
    for step, loss in enumerate(losses, 1):
        smoothed.add(step, loss, 1000)
    assert smoothed.value is None or math.isfinite(smoothed.value)


@given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers(-(10**500), 10**500)))
def test_finite_gives_a_finite_float_or_nothing(value: object) -> None:
    number = finite(value)
    assert number is None or math.isfinite(number)
