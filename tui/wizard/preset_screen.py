"""The first step: the preset to begin with, and the reasons for its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine import families
from loratui.engine.planning.bases import base_path
from loratui.presets import Found, Preset, find_presets
from loratui.tui import text
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.draft import setting_in_words
from loratui.tui.wizard.steps import StepScreen

if TYPE_CHECKING:
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.measured import Measurement
    from loratui.presets.schema import Settings

_IMPORTED = Content.assemble(plain("Your own settings", "bold"), "\n", plain("  without a preset", "$muted"))
_TONE = {True: "$success", False: "$warning"}
_KEYS_FIRST = (
    "schedule.rule",
    "schedule.exposures",
    "schedule.steps_per_epoch",
    "schedule.total_steps",
    "schedule.repeats",
    "schedule.epochs",
    "training.batch_size",
    "adapter.rank",
    "adapter.alpha",
    "adapter.alpha_ratio",
    "optimizer.name",
    "optimizer.learning_rate",
)
"""Shown first, as people ask about these first."""


class PresetScreen(StepScreen):
    """Presets at the left, the selected one explained at the right."""

    CONTEXT = "preset"
    PANE = "preset-about"

    def __init__(self) -> None:
        super().__init__()
        self._found: Found = find_presets()
        self._machine: Accelerator | None = None
        self._imported = False
        """Whether the draft has, or had, settings of its own without a preset; they are first in the list."""

    def body(self) -> ComposeResult:
        recipe = self.loratui.draft.recipe
        self._imported = recipe is not None and (not recipe.preset or "" in self.loratui.draft.others)
        options = [Option(_option(preset)) for preset in self._found.presets]
        if self._imported:
            options.insert(0, Option(_IMPORTED))
        with Horizontal(id="preset-body"):
            yield OptionList(*options, id="presets", markup=False)
            with VerticalScroll(id="preset-about", can_focus=False):
                yield Line(id="preset-text")
        if self._found.problems:
            yield Line(plain(f"Left out: {self._found.problems[0]}", "$warning"), id="preset-problems")

    def on_mount(self) -> None:
        """Selects the draft's preset, else the first."""
        names = [preset.name for preset in self._found.presets]
        recipe = self.loratui.draft.recipe
        before = recipe.preset if recipe else ""
        options = self.query_one(OptionList)
        options.highlighted = names.index(before) + self._imported if before in names else 0
        options.focus()
        self.look_at_the_machine()

    def machine_known(self, machine: Accelerator, measurements: Sequence[Measurement]) -> None:
        del measurements
        self._machine = machine
        self._explain()

    def on_option_list_option_highlighted(self) -> None:
        self._explain()
        self.query_one("#preset-about").scroll_home(animate=False)

    def _explain(self) -> None:
        if preset := self._chosen():
            about = list(_about(preset, self._machine))
        else:
            about = [plain("Settings without a preset", "bold $accent"), plain("Imported, or of a preset that is not on this machine. "
                     "The next steps show every value.")]  # fmt: skip
        self.query_one("#preset-text", Line).say(Content("\n").join(about))

    def _chosen(self) -> Preset | None:
        """The preset that is selected; None for the draft's own settings."""
        at = (self.query_one(OptionList).highlighted or 0) - self._imported
        return self._found.presets[at] if at >= 0 else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_next()

    def keep(self) -> None:
        if self.query_one(OptionList).highlighted is not None:
            preset = self._chosen()
            self.loratui.draft = self.loratui.draft.with_preset(preset.name if preset else "")

    def action_back(self) -> None:
        """To the runs; without a choice there is no draft to keep."""
        if self.loratui.draft.recipe is None:
            self.loratui.open("home")
        else:
            super().action_back()

    @work(exclusive=True, group="import", description="import settings")
    async def action_import_settings(self) -> None:
        """Settings of another trainer become a draft of their own, which goes on with its base."""
        from loratui.tui.wizard.drafts import saved_from
        from loratui.tui.wizard.import_dialog import ImportDialog

        found = await self.app.push_screen_wait(ImportDialog())
        if found is not None and found.recipe is not None:
            self.loratui.continue_draft(saved_from(found.recipe, "base"))

    def action_next(self) -> None:
        self.keep()
        self.go_on()


def _option(preset: Preset) -> Content:
    marks = "" if preset.shipped else "  (yours)"
    name = plain(f"  {preset.name}{marks}", "$muted")
    return Content.assemble(plain(preset.title, "bold" if preset.front else ""), "\n", name)


def _about(preset: Preset, machine: Accelerator | None) -> Iterator[Content]:
    settings = preset.settings
    least, most = settings.dataset.images_wanted
    best = f", best {settings.dataset.images_ideal}" if settings.dataset.images_ideal else ""
    yield plain(preset.title, "bold $accent")
    yield plain(preset.summary)
    yield Content("")
    yield _pair("images", f"{least} to {most}{best}, trained at {settings.dataset.resolution} px")
    model = text.base_name(settings.base.model) or "your own; choose it in the next step"
    yield _pair("base", f"{families.family(settings.base.family).long_title}: {model}")
    if settings.base.model:
        here = base_path(settings.base.model) is not None
        yield _pair(
            "", "✔ on this machine" if here else "! not on this machine yet; the next step offers the download", _TONE[here]
        )
    sign, words, tone = memory_words(settings, machine)
    yield _pair("GPU", f"{sign} {words}".strip(), tone)
    yield Content("")
    yield plain("Its values, with reasons and sources", "bold")
    for key in sorted(preset.reasons, key=_place):
        reason = preset.reasons[key]
        value = setting_in_words(settings, key)
        if len(value) > 60:
            value = f"{value[:59]}…"
        yield Content.assemble(
            plain(f"{_short(key)} {value}", "$primary"),
            plain(f"  {reason.text} "),
            plain(f"({reason.source})", "$muted"),
        )
    yield Content("")
    yield from (plain(f"{name}: {meant}", "$muted") for name, meant in preset.sources)


def _short(key: str) -> str:
    section, _, name = key.partition(".")
    return section if name == "name" else name.replace("_", " ")


def _place(key: str) -> tuple[int, str]:
    return (_KEYS_FIRST.index(key) if key in _KEYS_FIRST else len(_KEYS_FIRST), key)


def memory_words(settings: Settings, machine: Accelerator | None) -> tuple[str, str, str]:
    """Sign, words and colour for whether this machine's GPU holds the recipe; `machine` is None until known."""
    from loratui.engine.findings import Finding
    from loratui.engine.planning.memory_need import Facts
    from loratui.engine.planning.memory_plan import decide, memory_range

    facts = Facts.of(settings, machine.card if machine else None)
    low, high = memory_range(facts)
    # The most that it could take is of no use here: a run that has room takes what makes it fastest, and that is measured then.
    faster = "; with more it is faster" if math.ceil(high) > math.ceil(low) else ""
    needs = f"needs {math.ceil(low)} GiB of GPU memory{faster}" if high >= 2 else "needs little memory"
    if machine is None:
        return "", needs, ""
    if facts.card is None:
        if settings.base.is_embedded:
            return "✔", f"{needs}; it also trains on the CPU", "$success"
        return "!", f"{needs}; no GPU here, and a CPU takes days", "$warning"
    found = decide(facts)
    if isinstance(found, Finding):
        return "✖", f"{needs}; {found.message}", "$error"
    has = f"{facts.card.name} has {facts.card.total_gib:.0f}"
    match found.fits:
        case "no":
            return "✖", f"{needs}; {has}: too little", "$error"
        case "with savings":
            return "✔", f"{needs}; {has}: fits with savings, slower", "$success"
        case "without samples":
            return "!", f"{needs}; {has}: too little for samples during training", "$warning"
        case _:
            return "✔", f"{needs}; {has}", "$success"


def _pair(name: str, value: str, tone: str = "") -> Content:
    return Content.assemble(plain(name.ljust(10), "$muted"), plain(value, tone))
