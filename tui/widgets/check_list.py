"""The parts of the validation as a list with ticks, an explanation of one part, and the list of faults."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.widgets import OptionList

from loratui.engine.proof.notes import MOST_STARS, Checklist
from loratui.tui.terminal import clean
from loratui.tui.validation.checklist import POINTS, SEEN, Point
from loratui.tui.widgets.line import plain


class CheckList(OptionList):
    """One option a part: tick, title, and a mark for a note."""

    DEFAULT_CSS = "CheckList, CheckList:focus { height: auto; border: none; padding: 0; background: $background; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(*[_title(point, Checklist()) for point in POINTS], id=id, markup=False)

    def show(self, kept: Checklist) -> None:
        for at, point in enumerate(POINTS):
            self.replace_option_prompt_at_index(at, _title(point, kept))

    @property
    def point(self) -> Point:
        return POINTS[self.highlighted or 0]


class SeenList(OptionList):
    """What a person may see, each with the advice for it; seen ones are highlighted."""

    DEFAULT_CSS = "SeenList, SeenList:focus { height: auto; border: none; padding: 0; background: $background; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(*[_seen(seen.seen, seen.do, False) for seen in SEEN], id=id, markup=False)

    def show(self, kept: Checklist, advice: Mapping[str, str]) -> None:
        for at, seen in enumerate(SEEN):
            self.replace_option_prompt_at_index(at, _seen(seen.seen, advice.get(seen.id, seen.do), seen.id in kept.seen))

    @property
    def seen(self) -> str:
        """The id under the highlight."""
        return SEEN[self.highlighted or 0].id


def explain(point: Point, trigger: str, class_word: str, note: str = "") -> Content:
    """The purpose of a part, what to look at, what to look for, and the person's note."""
    look_at = point.look_at.replace("{trigger}", trigger or "the trigger").replace("{class}", class_word)
    lines = [plain(point.why, "$muted"), plain(look_at), plain(point.look_for, "bold")]
    if note:
        lines.append(Content.assemble(("note  ", "$accent"), Content(clean(" ".join(note.split()), 600))))
    return Content("\n\n").join(lines)


def stars(rating: int) -> str:
    """`★★★☆☆`; empty for an unrated file."""
    return "★" * rating + "☆" * (MOST_STARS - rating) if rating else ""


def _box(ticked: bool) -> Content:
    return plain("[✔] " if ticked else "[ ] ", "$success" if ticked else "$muted")


def _title(point: Point, kept: Checklist) -> Content:
    box = _box(point.id in kept.ticked)
    return Content.assemble(box, plain(point.title), plain("  note" if point.id in kept.notes else "", "$accent"))


def _seen(seen: str, do: str, marked: bool) -> Content:
    name, advice = plain(f"{seen}: ", "bold" if marked else ""), plain(do, "bold $accent" if marked else "$muted")
    return Content.assemble(_box(marked), name, advice)
