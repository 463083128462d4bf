"""The second step: the base model, chosen from those on this machine or typed as a path or hub name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine import families
from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.app_words import in_keys
from loratui.tui.paths import ENDINGS, path_text
from loratui.tui.widgets.field import Field, PathSuggester
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.steps import StepScreen

if TYPE_CHECKING:
    from loratui.engine.families.spec import Source
    from loratui.engine.formats.base_parts import BaseFiles
    from loratui.engine.planning.bases import FoundBase

_TYPING_PAUSE_S = 0.3
_HELP = "a .safetensors file, a diffusers folder, or owner/name on the hub"


class BaseModelScreen(StepScreen):
    """A field, facts about the base in it, and the bases found here."""

    CONTEXT = "base"

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Timer | None = None
        self._choices: tuple[FoundBase, ...] = ()
        self._fetchable = False

    def body(self) -> ComposeResult:
        with Vertical(id="base-form"):
            value = str(self.loratui.draft.value("base.model"))
            yield Field("base.model", "Base model", _HELP, value, suggester=PathSuggester(ENDINGS["base.model"]))
        with VerticalScroll(id="base-about", can_focus=False):
            yield Line(id="base-text")
        yield Line(id="base-download")
        yield Line(id="base-title")
        found = OptionList(id="base-found", markup=False)
        found.can_focus = False
        yield found

    def on_mount(self) -> None:
        self.query_one(Field).enter()
        self._say()
        self.line("base-title").wait("Looking for base models on this machine")
        self._search()
        now = self.loratui.downloading
        if now is not None:
            self.download_went(now.repo, now.words)

    @work(exclusive=True, group="bases", description="look for base models")
    async def _search(self) -> None:
        """Lists the bases of the preset's family; unusable ones come last, with the reason."""
        from loratui.engine.planning.bases import discover

        found, cut = await self.in_thread(discover)
        family = self.loratui.draft.value("base.family")
        demo = str(self.loratui.draft.preset_value("base.model")).startswith("embedded:")
        proposed = [base for base in found if demo or not base.toy]
        self._choices = tuple(base for base in proposed if base.family in (family, None))
        others = len(proposed) - len(self._choices)
        count = len(self._choices)
        words = f"Here: {text.count(count, 'base')} for this preset" if count else "Here: no base for this preset"
        words += f", {others} of other families" if others else ""
        words += ", search cut short" if cut else ""
        how = " · ↓ and enter choose one" if self._choices else ""
        self.line("base-title").say(plain(f"{words}{how}", "$muted"))
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(_option(base)) for base in self._choices])
        options.highlighted = 0 if self._choices else None
        options.can_focus = bool(self._choices)  # enter would do nothing there

    def on_field_edited(self, event: Field.Edited) -> None:
        event.stop()
        self.keep()
        self._forget_problem()
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(_TYPING_PAUSE_S, self._say)

    def _forget_problem(self) -> None:
        """Clears the hub's answer, which was about another base or is out of date."""
        if self.loratui.downloading is None:
            self.line("base-download").say("")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Puts the base into the field; a second time, goes to the next step."""
        event.stop()
        model = self._choices[event.option_index].model
        field = self.query_one(Field)
        if field.text.strip() == model:
            self.action_next()
            return
        field.set(model)
        self.keep()
        self._say()

    def keep(self) -> None:
        self.loratui.draft = self.loratui.draft.with_values({"base.model": path_text(self.query_one(Field).text)})

    def action_next(self) -> None:
        # Planning needs no base on this machine.
        self.keep()
        self.go_on()

    @work(exclusive=True, group="base", description="look at a base model")
    async def _say(self) -> None:
        """Shows what the chosen base is, or why it cannot be used."""
        from loratui.engine.planning.bases import find_base

        recipe = self.loratui.draft.recipe
        assert recipe is not None
        base = recipe.settings.base
        problem: tuple[str, str] | None = None
        try:
            found = await self.in_thread(find_base, base)
        except LoratuiError as error:
            problem = error.message, error.remedy
        except OSError as error:
            problem = f"{base.model}: {error.strerror}", ""
        if base.model != self.loratui.draft.value("base.model"):
            return
        self._fetchable = problem is not None and looks_like_hub_id(base.model)
        self.refresh_bindings()
        if problem is None:
            self._forget_problem()
            lines = describe_base(found, str(self.loratui.draft.value("base.family")))
        elif source := families.known_base(base.model):
            lines = describe_source(source)
        else:
            lines = _describe_unknown(*problem, self._fetchable)
        self.line("base-text").say(Content("\n").join(list(lines)))

    @property
    def can_download(self) -> bool:
        """Whether the hub may have the named base, or a download can be cancelled."""
        return self.loratui.downloading is not None or self._fetchable

    def download_went(self, repo: str, words: str) -> None:
        """Shows the progress; at the end reads the base again."""
        if words:
            self.line("base-download").say(plain(f"Downloading {repo}: {words}. f6 cancels.", "$accent"))
        else:
            self.line("base-download").say("")
            self._say()
            self._search()
        self.refresh_bindings()

    def action_download(self) -> None:
        """Asks the hub what a download would fetch, or cancels the download."""
        if self.loratui.downloading is not None:
            self.loratui.downloading.cancel()
            self.line("base-download").wait("Cancelling")
            return
        self.line("base-download").wait("Asking the hub for the files")
        self._ask_hub(self.query_one(Field).text.strip())

    @work(exclusive=True, group="hub", description="ask the hub what to fetch")
    async def _ask_hub(self, model: str) -> None:
        """Shows what would be downloaded and asks; nothing is downloaded without a yes."""
        from loratui.engine.machine import hub
        from loratui.tui.commands.download import plan_text
        from loratui.tui.screens.confirm import ConfirmScreen

        try:
            plan = await self.in_thread(hub.look_up, model)
        except (LoratuiError, OSError) as error:
            self.line("base-download").say(plain(f"✖ {in_keys(str(error))}", "$error"))
            return
        self.line("base-download").say("")
        details = "; ".join(line.strip() for line in plan_text(plan))
        question = f"Download {plan.repo}, {text.size(plan.fetch_bytes)}?"
        if await self.app.push_screen_wait(ConfirmScreen(question, details, "download it")):
            self.loratui.download(plan)
            self.refresh_bindings()

    @work(exclusive=True, group="token")
    async def action_token(self) -> None:
        from loratui.tui.wizard.token_screen import TokenScreen

        if await self.app.push_screen_wait(TokenScreen()) and self.can_download:
            self.action_download()

    def copyable(self) -> Sequence[tuple[str, str]]:
        model = self.query_one(Field).text.strip()
        return [("base model", model)] if model else ()


def looks_like_hub_id(model: str) -> bool:
    """Whether a text may be `owner/name` on the hub rather than a path."""
    from loratui.engine.machine.hub_cache import parse_id

    return parse_id(model) is not None and not model.startswith(("/", ".", "~"))


def describe_source(source: Source) -> Iterator[Content]:
    """A missing base of a preset: source, licence, size, and how to get it, a line each."""
    from loratui.engine.machine.hub import endpoint

    page = f"{endpoint()}/{source.repo}"
    yield plain(f"! {source.repo} is not on this machine yet.", "$warning")
    yield plain(f"  from      {page}")
    yield plain(f"  licence   {source.licence}")
    yield plain(f"  size      about {text.size(source.bytes)}")
    if source.gated:
        yield plain("  gate      accept its terms on that page, and sign in here with f7")
    yield plain("  f6 downloads it, after it shows the exact size and you say yes.", "$accent")


def _describe_unknown(problem: str, remedy: str, fetchable: bool) -> Iterator[Content]:
    yield plain(f"✖ {problem}", "$error")
    if fetchable:
        yield plain("  If it is on the hub, f6 downloads it, after it shows the size and you say yes.", "$accent")
    else:
        yield plain(f"  {in_keys(remedy)}")


def describe_base(found: BaseFiles, family: str) -> Iterator[Content]:
    """What a base is, a line each; `family` is the preset's."""
    if found.family != family:
        yield plain(f"✖ This base is of another family: {found.title}.", "$error")
        wanted = next((spec.title for spec in families.FAMILIES if spec.name == family), family)
        yield plain(f"  The preset is for {wanted}: choose another base, or go back and choose a preset for this one.")
        return
    size = f", {text.size(found.bytes)}" if found.bytes else ""
    if found.complete:
        yield plain(f"✔ {found.title}{size}", "$success")
    else:
        yield plain(f"! {found.title}{size}: incomplete", "$warning")
    for missing in found.missing:
        yield plain(f"  {missing}", "$warning")
    yield plain(f"  {found.path}", "$muted")
    elsewhere = [part for part in found.parts.values() if found.path not in (part.path, *part.path.parents)]
    for part in elsewhere[:4]:
        yield plain(f"  with {part.path}", "$muted")
    if found.prediction == "v":
        yield plain("  It predicts v; loratui detects this and trains accordingly.", "$muted")


def _option(base: FoundBase) -> Content:
    what = f"  {base.title}" + (f", {text.size(base.bytes)}" if base.bytes else "")
    if base.problem:
        return Content.assemble(plain(f"✖ {base.model}", "$muted"), plain(f"  {base.reason}", "$error"))
    if base.missing:
        return Content.assemble(
            plain(f"! {base.model}"), plain(f"{what}; missing: {', '.join(base.missing_titles)}", "$warning")
        )
    return Content.assemble(plain(f"✔ {base.model}"), plain(what, "$muted"))
