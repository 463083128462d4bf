"""The app's own settings: theme, bell, window title, and the price of the machine."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from loratui.tui import themes
from loratui.tui.services import services_of
from loratui.tui.settings import AppSettings, config_folder
from loratui.tui.widgets.line import Line, plain

_BELL, _TITLE = "bell", "title"


class PreferencesScreen(ModalScreen[None]):
    """A list of choices and a field for the price; each change is applied and saved at once."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f2", "dismiss", priority=True)]

    def compose(self) -> ComposeResult:
        """Themes, switches, price, and where it is kept."""
        app = services_of(self)
        with Vertical(classes="dialog"):
            yield Line(plain("Preferences", "bold $accent"))
            yield OptionList(*self._options(app.settings), id="preferences", markup=False)
            yield Line(
                plain("Price of this machine per hour, in your currency (tab goes there; empty: unknown)"), id="price-label"
            )
            price = f"{app.settings.price_per_hour:g}" if app.settings.price_per_hour else ""
            yield Input(price, id="price", compact=True, restrict=r"[0-9]*[.,]?[0-9]*", max_length=12)
            yield Line(plain(f"Kept in {config_folder() / 'app.toml'}; other keys: keys.toml beside it.", "$muted"))
            yield Line(plain("enter changes, esc closes", "$muted"))

    def on_mount(self) -> None:
        """The list first."""
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Takes what was chosen into use."""
        event.stop()
        app = services_of(self)
        before = app.settings
        match event.option_id:
            case "bell":
                changed = dataclasses.replace(before, bell=not before.bell)
            case "title":
                changed = dataclasses.replace(before, title=not before.title)
            case theme:
                changed = dataclasses.replace(before, theme=str(theme))
        app.change_settings(changed)
        for at, option in enumerate(self._options(app.settings)):
            self.query_one(OptionList).replace_option_prompt_at_index(at, option.prompt)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the price keeps it and closes."""
        event.stop()
        self.dismiss()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A price that is a number counts at once."""
        event.stop()
        app = services_of(self)
        try:
            price = float(event.value.replace(",", ".") or 0)
        except ValueError:
            return
        if price != app.settings.price_per_hour and price < 1e6:
            app.change_settings(dataclasses.replace(app.settings, price_per_hour=price))

    def _options(self, now: AppSettings) -> list[Option]:
        rows = [Option(_row("(●)" if name == now.theme else "( )", f"theme: {name}"), id=name) for name in _theme_names()]
        rows.append(
            Option(
                _row("[✔]" if now.bell else "[ ]", "ring the bell when a run ends, fails or runs out of disk space"), id=_BELL
            )
        )
        rows.append(Option(_row("[✔]" if now.title else "[ ]", "show the progress in the window's title"), id=_TITLE))
        return rows


def _theme_names() -> list[str]:
    return [themes.short(theme.name) for theme in themes.THEMES]


def _row(mark: str, words: str) -> Content:
    return Content.assemble(plain(f"{mark} ", "$accent"), plain(words))
