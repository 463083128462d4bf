"""`check`, `plan`, `train` and the app say the same of one folder, and what `train` does about it."""

from __future__ import annotations

import argparse
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_images import clean_set, drawn

from loratui.engine.dataset.checks import CHECKS
from loratui.engine.dataset.inspect import inspect_scan
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.findings import Finding
from loratui.engine.planning.preflight import token_counter
from loratui.engine.planning.prepare import Prepared, prepare
from loratui.engine.planning.recipe import build_recipe
from loratui.tui import cli
from loratui.tui.commands import common, train
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.judging import judge

OF_IMAGES = {check.code for check in CHECKS}


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A double, a damaged image, a tiny one, a caption in other words, a watermark, and no trigger given."""
    folder = clean_set(tmp_path / "set")
    shutil.copy(folder / "03.png", folder / "04.png")
    whole = (folder / "05.png").read_bytes()
    (folder / "05.png").write_bytes(whole[: len(whole) // 2])
    drawn(6).resize((40, 40)).save(folder / "06.png")
    (folder / "07.txt").write_text("score_9, a photo of anafox woman, company logo")
    (folder / "notes.md").write_text("x")
    return folder


def of_images(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        ({**f, "files": list(f["files"])} for f in findings if f["id"] in OF_IMAGES), key=lambda f: (f["id"], f["message"])
    )


def as_rows(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    return of_images([finding.to_json() for finding in findings])


@pytest.mark.parametrize("preset", ["demo", "sd15-portrait"])
@pytest.mark.parametrize("trigger", ["", "anafox"])
def test_every_way_finds_the_same(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str, trigger: str
) -> None:
    words = (str(faulty), "--preset", preset, *(("--trigger", trigger) if trigger else ()), "--json")
    cli.main(["check", *words])
    checked = json.loads(capsys.readouterr().out)
    cli.main(["--home", str(tmp_path / "home"), "plan", *words])
    planned = json.loads(capsys.readouterr().out)
    recipe = build_recipe(preset, dataset=faulty, trigger=trigger)
    prepared = prepare(recipe, tmp_path / "home")
    judged = judge(DatasetEdits(str(faulty), scan(faulty)), recipe, token_counter(recipe.settings))

    found = of_images(checked["findings"])
    assert {f["id"] for f in found} >= {"copies", "left_out", "tiny", "score_tags", "watermark", "ignored"}
    assert ("trigger_absent" in {f["id"] for f in found}) == (not trigger)
    assert of_images(planned["findings"]) == found
    assert as_rows(prepared.findings) == found
    assert as_rows(judged.findings) == found
    assert checked["not_checked"] == planned["not_checked"]
    assert "near_duplicates" in {row["id"] for row in planned["not_checked"]}
    assert set(prepared.not_checked) == set(judged.not_checked)


def test_what_was_measured_is_judged_before_the_start_too(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    drawn(4).save(folder / "03.jpg", quality=95)
    (folder / "03.png").unlink()
    settings = build_recipe("demo", dataset=folder, trigger="anafox")
    found = scan(folder)
    from loratui.engine.dataset.measure import measure_image

    facts = {image.relative: measure_image(image.path, 128) for image in found.images}
    prepared = prepare(settings, tmp_path / "home", facts=facts)
    assert "near_duplicates" in {finding.code for finding in prepared.findings}
    assert "near_duplicates" not in dict(prepared.not_checked)
    assert "near_duplicates" in dict(prepare(settings, tmp_path / "home").not_checked)


def test_a_damaged_image_is_known_to_check_without_measuring(faulty: Path) -> None:
    inspected = inspect_scan(scan(faulty), build_recipe("demo").settings)
    assert "05.png" in {name for f in inspected.findings if f.code == "left_out" for name in f.files}
    assert "05.png" not in {image.relative for image in inspected.scan.images}


def args(**said: bool) -> argparse.Namespace:
    return argparse.Namespace(**{"yes": False, "wait": False, "json": False, **said})


WARNED = [Finding.of("copies"), Finding.of("blurred"), Finding.of("place")]


@pytest.mark.parametrize("said", [{"yes": True}, {"wait": True}, {"json": True}, {}])
def test_a_start_without_a_question_says_which_warnings_it_starts_over(
    said: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "can_ask", lambda: bool(said))
    monkeypatch.setattr(common, "ask", lambda *_, **__: pytest.fail("asked"))
    out = io.StringIO()
    train._start_over_warnings(WARNED, args(**said), out)
    assert out.getvalue().strip().endswith("Starting despite 2 warnings: copies, blurred.")
    train._start_over_warnings([WARNED[2]], args(**said), quiet := io.StringIO())
    assert quiet.getvalue() == ""


def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(common, "can_ask", lambda: True)
    monkeypatch.setattr(common, "ask", lambda question, **_: bool(asked.append(question)))
    with pytest.raises(UsageError, match="Not started"):
        train._start_over_warnings(WARNED, args(), io.StringIO())
    assert asked == ["Start despite 2 warnings: copies, blurred?"]


@pytest.mark.parametrize("words", [(), ("--yes",)])
def test_errors_of_the_images_refuse_with_3_and_all_are_said(
    faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    errors = (
        Finding.of("no_pictures"),
        Finding.of("base_format", problem="Another.", remedy="Mend it."),
    )
    real = prepare(build_recipe("demo", dataset=faulty, trigger="anafox"), tmp_path / "home")
    spoilt = Prepared(real.recipe, real.scan, real.plan, errors)
    monkeypatch.setattr("loratui.engine.planning.prepare.prepare", lambda *_, **__: spoilt)
    code = cli.main(["--home", str(tmp_path / "home"), "train", str(faulty), "--preset", "demo", *words])
    said = "".join(capsys.readouterr())
    assert code == DatasetError.exit_code == 3
    assert "Another." in said
    assert "There is no image to train on" in said
    assert not (tmp_path / "home" / "runs").exists()
