"""Asks for another trainer's settings file, and shows what becomes of it before it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from loratui.engine.errors import LoratuiError
from loratui.presets.schema import SchemaError
from loratui.tui.paths import path_from_text
from loratui.tui.terminal import clean
from loratui.tui.text import count, number
from loratui.tui.widgets.field import CompletingInput, PathSuggester
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.importing.result import Imported

_ENDINGS = (".json", ".toml", ".yaml", ".yml", ".sh", ".bat", ".safetensors")
_MOST_SHOWN = 4
"""Values that differ, so that the dialog fits into 24 lines."""
_LONGEST = 90


class ImportDialog(ModalScreen["Imported | None"]):
    """Gives what was read; None for nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", priority=True)]

    def __init__(self) -> None:
        super().__init__()
        self._found: tuple[str, Imported] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("Settings of another trainer", "bold $accent"))
            words = "A file or folder of kohya_ss, sd-scripts, FluxGym, OneTrainer, ai-toolkit, SimpleTuner or Civitai, or a LoRA file."
            yield Line(plain(words, "$muted"))
            yield CompletingInput(
                placeholder="path", id="import-path", compact=True, suggester=PathSuggester(_ENDINGS), max_length=4000
            )
            yield Line(id="import-said")
            yield Line(plain("enter reads it, and again takes it · esc closes", "$muted"))

    def on_mount(self) -> None:
        self.query_one("#import-path", Input).focus()

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_input_changed(self) -> None:
        """Another path: what was read is no longer offered."""
        self._found = None
        self.query_one("#import-said", Line).say(Content(""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        typed = event.value.strip()
        if self._found is not None and self._found[0] == typed and self._found[1].recipe is not None:
            self.dismiss(self._found[1])
        elif typed:
            self._read(typed)

    @work(exclusive=True, group="import", description="read another trainer's settings")
    async def _read(self, typed: str) -> None:
        """Shows what the file comes to, or what is wrong with it."""
        from loratui.engine.importing.result import import_settings

        said = self.query_one("#import-said", Line)
        path = path_from_text(typed)
        if path is None:
            return
        said.wait("Reading it")
        try:
            found = await asyncio.to_thread(import_settings, path)
        except (LoratuiError, SchemaError, OSError) as error:
            said.say(plain(clean(f"✖ {error}", 400), "$error"))
            return
        self._found = (typed, found)
        said.say(Content("\n").join(list(_about(found))))


def _about(found: Imported) -> Iterator[Content]:
    if found.recipe is None:
        yield plain(f"✖ {found.problem}", "$error")
        return
    changed, unknown = found.of("changed"), found.of("not_understood")
    yield plain(
        f"{found.tool}: {count(len(found.of('taken')), 'value')} taken, {len(changed)} with another meaning, {len(unknown)} not understood.",
        "bold",
    )
    steps = found.steps
    if steps.theirs is not None:
        yield plain(f"Steps: theirs {number(steps.theirs)}, loratui's {number(steps.ours or 0)}.")
    for one in (*unknown, *changed)[:_MOST_SHOWN]:
        yield Content.assemble(plain(f"! {one.key} ", "$warning"), plain(clean(one.why, _LONGEST)))
    if len(changed) + len(unknown) > _MOST_SHOWN:
        yield plain(f"All of them: loratui import {found.path.name}", "$muted")
