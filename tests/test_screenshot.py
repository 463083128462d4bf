"""The README's images are drawn as a terminal draws them: reversed cells and eighths of blocks, of which scroll bars end."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that draws them."""
    monkeypatch.setenv("TEXTUAL_COLOR_SYSTEM", "truecolor")
    spec = importlib.util.spec_from_file_location("make_screenshot", Path(__file__).parents[1] / "docs" / "make_screenshot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not Path(module.FONT).exists():
        pytest.skip("the font of the images is not installed")
    return module


@pytest.mark.parametrize(
    ("character", "reverse", "upper", "lower"),
    [("▂", False, BLUE, RED), ("▆", True, RED, BLUE), ("▀", False, RED, BLUE), (" ", True, RED, RED), (" ", False, BLUE, BLUE)],
)
def test_a_cell_is_drawn_as_a_terminal_draws_it(
    drawing: Any, character: str, reverse: bool, upper: object, lower: object
) -> None:
    cell = Segment(character, Style(color="#ff0000", bgcolor="#0000ff", reverse=reverse))
    image = drawing.draw([Strip([cell])], drawing.FONT)
    left, bottom = drawing.MARGIN + 2, image.height - drawing.MARGIN - 2
    assert image.getpixel((left, drawing.MARGIN + 1)) == upper
    assert image.getpixel((left, bottom)) == lower
