"""The parts of the check as a list with ticks, what the chosen one is for, and the list of what can be seen."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.tui.terminal import clean
from loratui.tui.validation.checklist import MOST_STARS, POINTS, SEEN, Checklist, Point
from loratui.tui.widgets.line import plain


class CheckList(OptionList):
    """One option a part: tick, title, and a mark where there is a note."""

    DEFAULT_CSS = """
    CheckList, CheckList:focus { height: auto; border: none; padding: 0; background: $background; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(*[Option(_title(point, Checklist())) for point in POINTS], id=id, markup=False)

    def show(self, kept: Checklist) -> None:
        """Shows ticks and notes."""
        for at, point in enumerate(POINTS):
            self.replace_option_prompt_at_index(at, _title(point, kept))

    @property
    def point(self) -> Point:
        """The part under the highlight."""
        return POINTS[self.highlighted or 0]


class SeenList(OptionList):
    """What a check can show; each with what to do about it, which stands out where it was seen."""

    DEFAULT_CSS = """
    SeenList, SeenList:focus { height: auto; border: none; padding: 0; background: $background; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(*[Option(_seen(seen.seen, seen.do, False)) for seen in SEEN], id=id, markup=False)

    def show(self, kept: Checklist, advice: Mapping[str, str]) -> None:
        """Shows what was seen; `advice` says by id what to do."""
        for at, seen in enumerate(SEEN):
            self.replace_option_prompt_at_index(at, _seen(seen.seen, advice.get(seen.id, seen.do), seen.id in kept.seen))

    @property
    def seen(self) -> str:
        """Id of what is under the highlight."""
        return SEEN[self.highlighted or 0].id


def explain(point: Point, trigger: str, class_word: str, note: str = "") -> Content:
    """What a part is for, what to look at, what to look for, and what the person noted."""
    look_at = point.look_at.replace("{trigger}", trigger or "the trigger").replace("{class}", class_word)
    lines = [plain(point.why, "$muted"), plain(look_at), plain(point.look_for, "bold")]
    if note:
        lines.append(Content.assemble(("note  ", "$accent"), Content(clean(" ".join(note.split()), 600))))
    return Content("\n\n").join(lines)


def stars(rating: int) -> str:
    """`★★★☆☆`; nothing for a file that is not rated."""
    return "★" * rating + "☆" * (MOST_STARS - rating) if rating else ""


def _title(point: Point, kept: Checklist) -> Content:
    ticked = point.id in kept.ticked
    box = plain("[✔] " if ticked else "[ ] ", "$success" if ticked else "$muted")
    return Content.assemble(box, plain(point.title), plain("  note" if point.id in kept.notes else "", "$accent"))


def _seen(seen: str, do: str, marked: bool) -> Content:
    box = plain("[✔] " if marked else "[ ] ", "$success" if marked else "$muted")
    return Content.assemble(
        box, plain(f"{seen}: ", "bold" if marked else ""), plain(do, "bold $accent" if marked else "$muted")
    )
