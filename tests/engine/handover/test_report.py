"""The report of a run: what it says, what it never says, and that a browser shows it whole."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import headless_chromium
import pytest
from fake_run import FINAL, make_run
from judged_run import PHOTOS, judged_run, judging
from PIL import Image

from loratui.engine.errors import UsageError
from loratui.engine.handover import sheets
from loratui.engine.handover.report import write_report
from loratui.engine.proof.notes import update
from loratui.engine.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    with judging(run := judged_run(tmp_path_factory.mktemp("home of anna"))):
        yield run


@pytest.fixture(scope="module")
def written(run: RunDirectory) -> tuple[str, str, list[Path]]:
    """Page, Markdown and sheets."""
    told = write_report(run)
    return Path(told["html"]).read_text(), Path(told["markdown"]).read_text(), [Path(path) for path in told["sheets"]]


def test_it_says_the_verdict_with_its_reasons_first(written: tuple[str, str, list[Path]]) -> None:
    page, markdown, _ = written
    for text in (page, markdown):
        order = [text.index(words) for words in ("It has memorised photos", "83% sure", "What to change", "Preset")]
        assert order == sorted(order)
        assert "Leave photo 2 out." in text
        assert "One image is photo 2 again." in text
        assert "anafox.safetensors at strength 0.5" in text
        assert "Nearest by layout 0.82 to photo 1" in text
        assert "validation.prompts" in text
        assert "step 90: ★★★★" in text
        assert "Quality against the base: soft hands" in text
    assert "likest &lt;that&gt; is no copy" in page
    assert r"likest \<that\> is no copy" in markdown
    assert page.count('class="best"') == 2, "one in each prompt"


def test_what_is_private_is_nowhere_in_it(run: RunDirectory, written: tuple[str, str, list[Path]]) -> None:
    page, markdown, sheets = written
    for text in (page, markdown):
        bare = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
        for secret in ("private folder", "home of anna", "secret caption", "Jane", "jane", str(Path.home()), str(run.path)):
            assert secret not in bare, secret
        assert "anafox_03" not in bare, "a name of a photo that is in no ledger any more"
    assert not any(b"tEXt" in path.read_bytes() or b"eXIf" in path.read_bytes() for path in sheets)


def test_photos_and_their_names_are_shown_where_that_is_asked_for(run: RunDirectory, tmp_path: Path) -> None:
    told = write_report(run, tmp_path, photos=True)
    page = Path(told["html"]).read_text()
    assert told["photos"] is True
    assert f"Nearest by layout: 0.82 to {PHOTOS[0]}" in page
    assert 'alt="photo"' in page
    assert "private folder" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)


def test_every_grid_has_a_sheet(run: RunDirectory, written: tuple[str, str, list[Path]]) -> None:
    _, markdown, sheets = written
    kinds = [path.name.removeprefix(f"{run.name}-") for path in sheets]
    assert kinds == ["strengths-1.png", "strengths-2.png", "checkpoints-1.png", "checkpoints-2.png", "samples-1.png"]
    assert all(f"]({path.name})" in markdown for path in sheets)
    with Image.open(sheets[0]) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 4 * 128
    assert {stat.S_IMODE(path.stat().st_mode) for path in sheets[0].parent.iterdir()} == {0o600}


def test_a_new_report_replaces_the_last_one_alone_and_tells_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "contact_sheet", lambda grid, images: b"a sheet")
    monkeypatch.setattr(sheets, "data_address", lambda image: "data:,")
    run = judged_run(tmp_path)
    write_report(run)
    (own := run.path / "report" / "mine.png").write_bytes(b"mine")
    (old := run.path / "report" / f"{run.name}-strengths-9.png").write_bytes(b"old")
    first = sorted(path.name for path in (run.path / "report").iterdir())
    gone, broken = sorted(run.validation.glob("*.png"))[:2]
    gone.unlink()
    broken.write_bytes(b"no image")
    assert "can no longer be read" in Path(write_report(run)["html"]).read_text()
    assert own.read_bytes() == b"mine"
    assert not old.exists()
    assert sorted(path.name for path in (run.path / "report").iterdir()) == [name for name in first if name != old.name]


def test_elsewhere_nothing_is_replaced(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / f"{run.name}.html").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        write_report(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{run.name}.html"]


def test_a_run_without_a_validation_or_a_step_has_a_report_too(tmp_path: Path) -> None:
    page = Path(write_report(make_run(tmp_path))["html"]).read_text()
    assert "Not judged yet" in page
    assert "<h2>Measures</h2>" not in page
    assert "<svg" not in page


def test_what_the_person_says_since_is_the_verdict(tmp_path: Path) -> None:
    run = judged_run(tmp_path)
    update(run.validation / "checklist.json", lambda kept: kept.rate(FINAL, 5))
    page = Path(write_report(run)["html"]).read_text()
    assert "Well trained" in page
    assert "You gave the file 5 of 5 stars." in page


@pytest.mark.long
@pytest.mark.skipif(headless_chromium.PROGRAM is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_every_image_and_complains_about_nothing(run: RunDirectory, tmp_path: Path) -> None:
    told = write_report(run, tmp_path / "to", photos=True)
    page = Path(told["html"])
    with headless_chromium.opened(page, tmp_path / "profile") as shown:
        assert shown.complaints == []
        assert shown.fetched == [page.as_uri()]
        images = shown.evaluate("[...document.images].map(one => [one.complete && one.naturalWidth, one.width])")
        assert len(images) >= told["images"]
        assert all(natural and natural >= width for natural, width in images)
        assert shown.evaluate("document.querySelectorAll('svg polyline').length") >= 4
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
