"""The checklist: the chosen point is explained, a key ticks it."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.tui.checklist import NEXT_STEPS, POINTS, Point
from loratui.tui.widgets.line import plain


class CheckList(OptionList):
    """One option a point: tick and title."""

    DEFAULT_CSS = """
    CheckList, CheckList:focus { height: auto; border: none; padding: 0; background: $background; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(*[Option(_title(point, False)) for point in POINTS], id=id, markup=False)

    def show(self, ticks: Mapping[str, float]) -> None:
        """Shows the ticks."""
        for at, point in enumerate(POINTS):
            self.replace_option_prompt_at_index(at, _title(point, point.id in ticks))

    @property
    def point(self) -> Point:
        """The point under the highlight."""
        return POINTS[self.highlighted or 0]


def explain(point: Point, trigger: str, class_word: str) -> Content:
    """What to look at and what to look for; under the last point, what to do about what was seen."""
    look_at = point.look_at.replace("{trigger}", trigger or "the trigger").replace("{class}", class_word)
    lines = [plain(look_at), plain(point.look_for, "bold")]
    if point.id == "next":
        lines += [Content.assemble(plain(f"{seen}: ", "$muted"), plain(do)) for seen, do in NEXT_STEPS]
    return Content("\n").join(lines)


def _title(point: Point, ticked: bool) -> Content:
    return Content.assemble(plain("[✔] " if ticked else "[ ] ", "$success" if ticked else "$muted"), plain(point.title))
