"""Every setting of the recipe with its value, meaning, range and the preset's reason; each can be changed and reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from loratui.presets.schema import KEYS, KeyInfo, SchemaError
from loratui.tui.paths import ENDINGS
from loratui.tui.services import Services, services_of
from loratui.tui.widgets.field import CompletingInput, PathSuggester
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.draft import Draft, range_words, setting_in_words, shown_value, value_in_words

_ELSEWHERE = ("dataset.path", "dataset.image_bands", "dataset.images_wanted", "dataset.images_ideal")
"""Settings with their own step, or that only describe the preset."""


class AdvancedScreen(ModalScreen[None]):
    """A list of settings; enter edits, r resets, / finds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", priority=True),
        Binding("r", "reset"),
        Binding("slash", "find"),
        Binding("q", "leave"),
    ]
    DEFAULT_CSS = """
    AdvancedScreen > Vertical { width: 100; max-width: 96%; height: 92%; padding: 1 2; border: round $accent; background: $surface; }
    AdvancedScreen OptionList, AdvancedScreen OptionList:focus { height: 1fr; border: none; padding: 0; background: $surface; }
    AdvancedScreen #about-setting { height: 6; margin-top: 1; }
    AdvancedScreen Input { height: 1; background: $panel; }
    AdvancedScreen #setting-value { display: none; }
    AdvancedScreen.-editing #setting-value { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._infos: list[KeyInfo] = []

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Input(placeholder="/ finds a setting, such as rank or noise", id="setting-find", compact=True)
            yield OptionList(id="settings-list", markup=False)
            yield Line(id="about-setting")
            yield CompletingInput(id="setting-value", compact=True)
            yield Line(plain("enter edits or switches · r resets · / finds · esc closes", "$muted"))

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
        self._show("")
        self._options.focus()

    @property
    def _app(self) -> Services:
        return services_of(self)

    @property
    def _options(self) -> OptionList:
        return self.query_one("#settings-list", OptionList)

    @property
    def _value(self) -> Input:
        return self.query_one("#setting-value", Input)

    @property
    def _chosen(self) -> KeyInfo | None:
        at = self._options.highlighted
        return self._infos[at] if at is not None and at < len(self._infos) else None

    def on_option_list_option_highlighted(self) -> None:
        self._explain()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Switches a setting with few values; opens the field for others."""
        event.stop()
        info = self._chosen
        if info is None:
            return
        now = self._app.draft.value(info.name)
        if info.type is bool:
            self._set(info, "false" if now else "true")
        elif info.choices:
            self._set(info, info.choices[(info.choices.index(now) + 1) % len(info.choices)])
        else:
            self.add_class("-editing")
            self._value.suggester = PathSuggester(ENDINGS[info.name]) if info.name in ENDINGS else None
            self._value.value = self._app.draft.typed.get(info.name, _editable(now))
            self._value.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input.id == "setting-find":
            self._show(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter sets the value, or goes from the search to the list."""
        event.stop()
        if event.input.id == "setting-find":
            self._options.focus()
        elif (info := self._chosen) is not None and self._set(info, event.value):
            self._stop_editing()

    def on_key(self, event: events.Key) -> None:
        """Down leaves the search for the list."""
        if event.key == "down" and self.focused is not None and self.focused.id == "setting-find":
            event.stop()
            self._options.focus()

    def action_find(self) -> None:
        self.query_one("#setting-find").focus()

    def action_reset(self) -> None:
        info = self._chosen
        if info is not None:
            self._app.draft = self._app.draft.reset(info.name)
            self._refresh()

    def action_leave(self) -> None:
        """Leaves the field, or closes."""
        if self.has_class("-editing"):
            self._stop_editing()
        else:
            self.dismiss()

    def _set(self, info: KeyInfo, text: str) -> bool:
        try:
            self._app.draft = self._app.draft.with_text(info.name, text)
        except SchemaError as error:
            self._explain(str(error))
            return False
        self._refresh()
        return True

    def _stop_editing(self) -> None:
        self.remove_class("-editing")
        self._options.focus()
        self._explain()

    def _show(self, wanted: str) -> None:
        words = wanted.lower().split()
        infos = [info for name, info in KEYS.items() if name not in _ELSEWHERE]
        found = [info for info in infos if all(w in f"{info.name} {info.help}".lower().replace("_", " ") for w in words)]
        # A match in the name comes before a match in the explanation.
        self._infos = sorted(found, key=lambda info: _unlike(info.name, words))
        self._options.clear_options()
        self._options.add_options([Option(_line(self._app.draft, info)) for info in self._infos])
        self._options.highlighted = 0 if self._infos else None
        self._explain()

    def _refresh(self) -> None:
        for at, info in enumerate(self._infos):
            self._options.replace_option_prompt_at_index(at, _line(self._app.draft, info))
        self._explain()

    def _explain(self, problem: str = "") -> None:
        info = self._chosen
        about = self.query_one("#about-setting", Line)
        if info is None:
            about.say(plain("No setting matches.", "$muted"))
            return
        draft = self._app.draft
        limits = range_words(info)
        lines = [plain(f"{info.name}: {info.help}.")]
        if problem:
            lines.append(plain(f"✖ {problem}", "$error"))
        lines.append(plain(f"Allowed: {limits}. " if limits else "", "$muted"))
        lines[-1] = Content.assemble(lines[-1], plain(f"Preset: {_before(draft, info.name)}.", "$muted"))
        why = draft.why(info.name)
        if why:
            lines.append(plain(f"Why: {why}"))
        about.say(Content("\n").join(lines))


def _unlike(name: str, words: Sequence[str]) -> int:
    """0 for the setting called `words`, 1 for a name that contains them, 2 for any other."""
    wanted, own = "_".join(words), name.rpartition(".")[2]
    return 0 if wanted in (own, name) else 1 if wanted in name else 2


def _line(draft: Draft, info: KeyInfo) -> Content:
    shown = setting_in_words(draft.recipe.settings, info.name) if draft.recipe is not None else ""
    changed = draft.recipe is not None and info.name in draft.recipe.changed
    mark = plain("◆ ", "$accent") if changed else plain("  ")
    return Content.assemble(mark, plain(info.name.ljust(36)), plain(shown[:60], "bold" if changed else ""))


def _before(draft: Draft, key: str) -> str:
    """The preset's value, in words where 0 has a meaning."""
    value = draft.preset_value(key)
    return value_in_words(key, value) if not isinstance(value, tuple) else _editable(value)


def _editable(value: object) -> str:
    """A value as typed; texts in a list are quoted, as they may hold commas."""
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return "[" + ", ".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in value) + "]"
    return shown_value(value)
