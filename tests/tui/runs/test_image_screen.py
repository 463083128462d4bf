"""An image alone on the screen: moving, words that can be copied, the page that goes off again, and no pixels to be had."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fake_run import PROMPTS, FakeTrainer, make_run
from screen_text import shows, waits

from loratui.tui.app import LoratuiApp
from loratui.tui.runs.image_screen import ImageScreen
from loratui.tui.widgets.thumbnail import ThumbnailView


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> LoratuiApp:
    """A run with samples of two prompts at three steps."""
    monkeypatch.setenv("SSH_CONNECTION", "198.51.100.7 50000 203.0.113.5 22022")
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        for _ in range(3):
            trainer.steps(90)
            for index, prompt in enumerate(PROMPTS):
                trainer.sample(prompt, index)
    return LoratuiApp(home, "training", run)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_it_shows_the_sample_its_path_and_the_way_to_fetch_it(app: LoratuiApp, size: tuple[int, int]) -> None:
    async with app.run_test(notifications=True, size=size) as pilot:
        await shows(pilot, "step 270")
        await pilot.press("o")
        text = await shows(pilot, "step 270", "red clothing", "seed 1000", "scp -P 22022")
        assert "@203.0.113.5:" in text.replace("\n", "")
        # However long the path is, the whole line can be read.
        assert "step-000270/00.png." in "".join(text.partition("scp -P")[2].split())
        view = pilot.app.screen.query_one(ThumbnailView)
        await waits(pilot, lambda: view._image is not None)
        await pilot.press("left")
        await shows(pilot, "step 180")
        await pilot.press("down")
        await shows(pilot, "step 180", "green clothing")
        await pilot.press("down", "right", "right")
        await shows(pilot, "step 270", "green clothing")
        await pilot.press("escape")
        await shows(pilot, "270 of 900 optimizer steps")


async def test_the_page_is_off_until_asked_for_and_off_again_when_left(app: LoratuiApp) -> None:
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "step 270  newest")
        await pilot.press("o")
        await shows(pilot, "b browser")
        screen = pilot.app.screen
        assert isinstance(screen, ImageScreen)
        assert screen._page is None
        await pilot.press("b")
        await shows(pilot, "Page open", "ssh -N -L", "-p 22022", "http://127.0.0.1:")
        assert screen._page is not None
        url = screen._page.url
        names = [name for name, _ in screen.copyable()]
        assert names == ["path", "scp line", "ssh line for the page", "address of the page"]
        assert urllib.request.urlopen(f"{url}p/0", timeout=5).read().startswith(b"\x89PNG")
        await pilot.press("escape")
        await shows(pilot, "270 of 900 optimizer steps")
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=2)


async def test_what_is_told_does_not_cover_the_lines_to_copy(app: LoratuiApp) -> None:
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "step 270")
        await pilot.press("o")
        await shows(pilot, "f real pixels")
        await pilot.press("f")
        text = await shows(pilot, "No real pixels", "scp -P 22022")
        lines = text.splitlines()
        assert "No real pixels" in "".join(lines[:6])
        assert not any("No real pixels" in line for line in lines[12:])


async def test_the_only_prompt_has_no_number_to_choose_by(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        trainer.sample()
        app = LoratuiApp(home, "training", run)
        async with app.run_test(notifications=True, size=(120, 40)) as pilot:
            text = await shows(pilot, "step 90  newest", "▀")
            assert "▸" not in text


async def test_where_the_app_cannot_step_aside_it_says_what_else_there_is(app: LoratuiApp) -> None:
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "step 270")
        await pilot.press("o")
        await shows(pilot, "f real pixels")
        await pilot.press("f")
        await shows(pilot, "No real pixels", "scp")


async def test_an_image_that_is_gone_or_damaged_is_told(app: LoratuiApp, home: Path) -> None:
    for path in home.glob("runs/*/samples/*/00.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "step 270")
        await pilot.press("o")
        await shows(pilot, "00.png", "cannot be read as an image")
