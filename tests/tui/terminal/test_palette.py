"""Images in 256 colours: no chequered patterns, colours that stay, and the numbers that are really sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import finished_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.color import Color, ColorSystem
from rich.style import Style
from screen_text import waits
from seen_colours import difference

from loratui.presets.bases import demo_dataset
from loratui.tui.app import LoratuiApp
from loratui.tui.terminal import diff_renderer, palette
from loratui.tui.widgets.thumbnail import ThumbnailView

IMAGES = sorted(demo_dataset().glob("*.png"))[::4]


def drawn(image: Image.Image) -> Image.Image:
    return Image.frombytes("RGB", image.size, palette.drawn(image.tobytes(), image.width))


def floyd_steinberg(image: Image.Image) -> Image.Image:
    few = Image.new("P", (1, 1))
    few.putpalette([channel for colour in palette.COLOURS for channel in colour])
    return image.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")


def nearest(image: Image.Image) -> Image.Image:
    """What Rich makes of an image in true colour."""
    numbers = [Color.from_rgb(*pixel).downgrade(ColorSystem.EIGHT_BIT).number for pixel in image.get_flattened_data()]
    return Image.frombytes("RGB", image.size, b"".join(bytes(palette.COLOURS[(number or 16) - 16]) for number in numbers))


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
@pytest.mark.parametrize("side", [20, 40])
def test_a_thumbnail_looks_more_like_the_original_than_by_ordinary_dithering_and_by_none(path: Path, side: int) -> None:
    small = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    ours, ordinary, none = (difference(small, way(small)) for way in (drawn, floyd_steinberg, nearest))
    assert ours.grain < 0.6 * ordinary.grain
    assert ours.seen < 0.85 * ordinary.seen
    assert ours.seen < none.seen


@pytest.mark.parametrize("colour", palette.COLOURS[::7])
def test_a_surface_in_a_colour_of_the_palette_stays_plain(colour: tuple[int, int, int]) -> None:
    rgb = bytes(colour) * 48
    assert palette.drawn(rgb, 8) == rgb


@given(st.integers(1, 9), st.data())
def test_only_colours_of_the_palette_come_out(width: int, data: st.DataObject) -> None:
    height = data.draw(st.integers(0, 5))
    rgb = data.draw(st.binary(min_size=3 * width * height, max_size=3 * width * height))
    out = palette.drawn(rgb, width)
    assert len(out) == len(rgb)
    assert {tuple(out[at : at + 3]) for at in range(0, len(out), 3)} <= set(palette.COLOURS)


@pytest.mark.parametrize(
    ("number", "colour"), [(16, (0, 0, 0)), (102, (135, 135, 135)), (103, (135, 135, 175)), (255, (238,) * 3)]
)
def test_a_colour_of_the_palette_is_sent_by_its_own_number(number: int, colour: tuple[int, int, int]) -> None:
    """Rich takes the grey 246 for 103."""
    assert palette.NUMBERS[colour] == number
    style = Style(color=Color.from_rgb(*colour), bgcolor=Color.from_rgb(*colour))
    pen, _ = diff_renderer._pens(style, ColorSystem.EIGHT_BIT)
    assert (pen.colour, pen.ground) == (f"38;5;{number}", f"48;5;{number}")


async def test_the_way_to_all_colours_is_told_once(home: Path) -> None:
    run = finished_run(home)
    told = []
    for _ in range(2):
        app = LoratuiApp(home, "training", run)
        app.console._color_system = ColorSystem.EIGHT_BIT
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            view = app.screen.query(ThumbnailView)
            await waits(pilot, lambda view=view: any(one._image is not None for one in view))
            await pilot.pause()
            told.append("export COLORTERM=truecolor" in " ".join(note.message for note in app._notifications))
    assert told == [True, False]
