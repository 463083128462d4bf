"""The app's own settings: theme, bell, window title, and price of the machine."""

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


class PreferencesScreen(ModalScreen[None]):
    """A list of choices and a field for the price; each change applies and is saved at once."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f2", "dismiss", priority=True)]

    def compose(self) -> ComposeResult:
        app = services_of(self)
        with Vertical(classes="dialog"):
            yield Line(plain("Preferences", "bold $accent"))
            yield OptionList(*self._options(app.settings), id="preferences", markup=False)
            words = "Price of this machine per hour, in your currency (tab goes there; empty: unknown)"
            yield Line(plain(words), id="price-label")
            price = f"{app.settings.price_per_hour:g}" if app.settings.price_per_hour else ""
            yield Input(price, id="price", compact=True, restrict=r"[0-9]*[.,]?[0-9]*", max_length=12)
            yield Line(plain(f"Saved in {config_folder() / 'app.toml'}; your own keys: keys.toml beside it.", "$muted"))
            yield Line(plain("enter changes, esc closes", "$muted"))

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
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
        event.stop()
        self.dismiss()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        app = services_of(self)
        try:
            price = float(event.value.replace(",", ".") or 0)
        except ValueError:
            return
        if price != app.settings.price_per_hour and price < 1e6:
            app.change_settings(dataclasses.replace(app.settings, price_per_hour=price))

    def _options(self, now: AppSettings) -> list[Option]:
        names = [themes.short(theme.name) for theme in themes.THEMES]
        rows = [("(●)" if name == now.theme else "( )", f"theme: {name}", name) for name in names]
        rows.append(("[✔]" if now.bell else "[ ]", "ring the bell when a run ends, fails or runs out of disk space", "bell"))
        rows.append(("[✔]" if now.title else "[ ]", "show the progress in the window's title", "title"))
        return [Option(Content.assemble(plain(f"{mark} ", "$accent"), plain(words)), id=id) for mark, words, id in rows]
