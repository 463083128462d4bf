"""Which captioner is to propose captions, and what it should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine.captioning import endpoint, fetching, memory
from loratui.engine.captioning.captioners import CAPTIONERS, Captioner
from loratui.engine.captioning.wish import MOST_VARIANTS
from loratui.engine.errors import UsageError
from loratui.engine.machine import web
from loratui.tui import text
from loratui.tui.dataset.captioning import Order
from loratui.tui.screens.confirm import ConfirmScreen
from loratui.tui.services import services_of
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, joined, plain


class CaptionerScreen(ModalScreen[Order | None]):
    """A list of captioners and a few fields; asks before a download, and each time before images leave this machine."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel")]
    DEFAULT_CSS = """
    CaptionerScreen { align: center middle; background: $background 60%; }
    """

    def __init__(self, images: Sequence[str], last: Order | None, *, again: bool) -> None:
        """`again`: images that the captioner has answered are asked for again, as with another hint."""
        super().__init__()
        self._images, self._last, self._again = tuple(images), last, again

    def compose(self) -> ComposeResult:
        last, options = self._last, dict(self._last.options if self._last else {})
        with Vertical(classes="dialog"):
            yield Line(plain(f"Captions for {text.count(len(self._images), 'image')}", "bold"))
            yield OptionList(*[Option(self._row(row)) for row in CAPTIONERS.values()], markup=False)
            yield Line(id="captioner-about")
            yield Field("hint", "Hint", "", last.hint if last else "", quiet=True, placeholder="what it should know or name")
            yield Field("variants", "Captions each", "", str(last.variants if last else 1), quiet=True, numeric=True)
            yield Field("url", "Address", "", str(options.get("url", "")), quiet=True, placeholder="http://localhost:11434/v1")
            yield Field("model", "Model", "", str(options.get("model", "")), quiet=True, placeholder="as the server calls it")
            yield Line(
                joined(plain("enter", "bold $accent"), "  ask it      ", plain("esc", "bold $accent"), "  back"),
                classes="answers",
            )

    @cached_property
    def _here(self) -> Mapping[str, bool]:
        """Whether a captioner's files are on this machine."""
        home = services_of(self).home
        return {id: bool(row.repo) and fetching.find(row, home) is not None for id, row in CAPTIONERS.items()}

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        ids = list(CAPTIONERS)
        options.highlighted = ids.index(self._last.captioner.id) if self._last else 0
        options.focus()
        if self._last and self._again:
            next(iter(self.query(Field))).enter()

    def _row(self, row: Captioner) -> Content:
        there = "on this machine" if self._here[row.id] else f"{text.size(row.bytes)} to download" if row.bytes else ""
        there = there or ("your own or a hosted one" if row.leaves else "to download")
        return Content.assemble(plain(f"{row.title:<22}"), plain(f"{row.writes:<11}{there}", "$muted"))

    @property
    def _captioner(self) -> Captioner:
        return list(CAPTIONERS.values())[self.query_one(OptionList).highlighted or 0]

    def on_option_list_option_highlighted(self) -> None:
        row = self._captioner
        for field in self.query(Field):
            field.display = {"hint": row.instructed, "variants": row.writes == "sentences"}.get(field.key, row.leaves)
        self._say(plain(" ".join(_about(row)), "$muted"))

    def on_option_list_option_selected(self) -> None:
        self.action_next()

    def action_next(self) -> None:
        """To the next field that is shown; from the last one, asks."""
        fields = [field for field in self.query(Field) if field.display]
        entered = next((at for at, field in enumerate(fields) if field.entered), None)
        empty = [field for field in fields if field.key != "hint" and not field.text.strip()]
        if entered is not None and entered + 1 < len(fields):
            fields[entered + 1].enter()
        elif empty:
            empty[0].enter()
        else:
            self._ask()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def _say(self, words: Content) -> None:
        self.query_one("#captioner-about", Line).say(words)

    def _ask(self) -> None:
        row, typed = self._captioner, {field.key: field.text.strip() for field in self.query(Field)}
        options: dict[str, Any] = {key: typed[key] for key in ("url", "model")} if row.leaves else {}
        try:
            hint = typed["hint"] if row.instructed else ""
            order = Order(row, self._images, hint, options, _number(typed["variants"]), self._again)
            question = self._question(order)
        except UsageError as error:
            self._say(plain(error, "$error"))
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.dismiss(order)

        if question is None:
            self.dismiss(order)
        else:
            self.app.push_screen(ConfirmScreen(*question), answered)

    def _question(self, order: Order) -> tuple[str, str, str] | None:
        """What the person must agree to; None if there is nothing. Raises `UsageError` for an address that is none, and
        for a part of the install that is missing."""
        row = order.captioner
        if row.leaves:
            url = endpoint.checked_url(str(order.options["url"]))
            if web.is_here(url):
                return None
            said = endpoint.where(url)
            return f"Send {text.count(len(order.images), 'image')}?", f"{said[0].upper()}{said[1:]}.", "send them"
        row.require_extra()
        if self._here[row.id]:
            return None
        return f"Download {row.title}?", f"{fetching.offer(row)}\nIt comes from the Hugging Face hub, once.", "download it"


def _number(typed: str) -> int:
    if typed not in map(str, range(1, MOST_VARIANTS + 1)):
        raise UsageError(f"{typed}: an image has 1 to {MOST_VARIANTS} captions, of different lengths.", "Type 1, 2 or 3.")
    return int(typed)


def _about(row: Captioner) -> Iterator[str]:
    if row.leaves:
        yield f"A server with OpenAI's interface: Ollama, LM Studio, vLLM. A key is read from {endpoint.KEY} only."
        return
    yield f"{row.licence}." if row.commercial else f"{row.licence}: not for captions that are sold."
    if row.terms:
        yield f"{row.terms[0].upper()}{row.terms[1:]}."
    yield f"{memory.needs(row)}."
    if row.extra:
        yield f"Needs pip install 'loratui[{row.extra}]'."
    if not row.instructed:
        yield "It reads no hint."
