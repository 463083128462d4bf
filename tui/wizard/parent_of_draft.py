"""The run that a draft goes back to, and what the draft changes of it, for the plan step and plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from loratui.engine.words import listed
from loratui.tui.widgets.line import joined, plain
from loratui.tui.wizard.draft import value_in_words

if TYPE_CHECKING:
    from loratui.engine.runs.parents import Parent
    from loratui.presets.schema import Settings
    from loratui.tui.wizard.draft import Draft


class ParentOfDraft:
    """Reads the run once for as long as the draft names the same one."""

    def __init__(self) -> None:
        self._named: tuple[object, ...] | None = None
        self._parent: Parent | None = None

    def of(self, draft: Draft) -> Parent | None:
        """The run; None if the draft goes back to none, or if it cannot be read."""
        from loratui.engine.runs.parents import LEADING_BACK, parent_of

        if draft.recipe is None:
            return None
        named = tuple(draft.value(key) for key in LEADING_BACK)
        if named != self._named:
            self._named, self._parent = named, parent_of(draft.recipe.settings)
        return self._parent


def changes_of_parent(parent: Parent | None, settings: Settings) -> Iterator[Content]:
    """A line for the run, and one for each setting that it had otherwise."""
    if parent is None:
        return
    words = parent.lineage.words
    yield plain(f"  {words[0].upper()}{words[1:]}.", "bold")
    for one in parent.changed_by(settings):
        now, was = value_in_words(one.key, one.value), value_in_words(one.key, one.before)
        if one.key == "dataset.path" and (left := _left_out(str(one.value))):
            yield joined(plain("  ◆ ", "$accent"), plain(f"left out: {left}", "bold"))
            continue
        yield joined(plain("  ◆ ", "$accent"), plain(f"{one.key} {now}", "bold"), plain(f"  ({parent.run}: {was})", "$muted"))


def _left_out(folder: str) -> str:
    """The images that a prepared copy lacks by choice; empty for a folder that is none."""
    from loratui.engine.dataset.prepared_copy import read_history

    history = read_history(Path(folder))
    names = [remedy.relative for remedy in history.remedies if remedy.kind == "leave_out"] if history else []
    return listed(names, 3)
