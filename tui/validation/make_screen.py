"""Which validation images to make: tables, file, prompts, strengths and seeds; and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList

from loratui.engine.errors import LoratuiError
from loratui.engine.planning.validation_grid import GRIDS, Grid, GridRequest, read_wish
from loratui.engine.proof.needed import TRIGGER_ALONE
from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.runs.lora_files import lora_files
from loratui.presets.schema import SchemaError
from loratui.tui import text
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.validation import request
from loratui.tui.validation.model import ValidationModel
from loratui.tui.validation.request import Typed
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, joined, plain
from loratui.tui.widgets.prompt_fields import PromptFields


class MakeScreen(LoratuiScreen[bool]):
    """A form whose last line counts the images. Gives whether to make them."""

    CONTEXT = "validation_make"
    CSS_PATH = "files_screen.tcss"

    def __init__(self, model: ValidationModel, file: str = "", point: str = "") -> None:
        """`file`: whose strengths are wanted, relative to the run. `point`: the part from which the person comes."""
        super().__init__()
        self.model = model
        self._files = lora_files(model.run, model.settings)
        try:
            wish = read_wish(model.run.validation / "wish.json")
        except LoratuiError:
            wish = GridRequest()  # an unreadable file will be replaced
        self._captions = request.captions_in(model.run)
        typed = request.typed_from(model.settings, wish, self._files)
        self._grids: tuple[Grid, ...] = ("strengths",) if file else typed.grids
        self._file = PurePosixPath(file).name if file else typed.file
        self._prompts = list(typed.prompts)
        if point == "trigger_alone" and not self._has_trigger_alone():
            self._prompts.append(TRIGGER_ALONE)
        self._strengths, self._seeds, self._complete = typed.strengths, typed.seeds, typed.complete and not file

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain("  make images", "$muted"))

    def body(self) -> ComposeResult:
        names = [PurePosixPath(file).name for file in self._files.all]
        with VerticalScroll(id="make-form", can_focus=False):
            yield Line(id="make-grids")
            yield PromptFields("prompt", self._prompts, id="make-prompts")
            yield Field(
                "strengths", "Strengths", "of the LoRA; 0 is the base alone with the same prompt and seed", self._strengths
            )
            yield Field(
                "seeds", "Seeds", "images of each prompt and strength, each from other noise", self._seeds, numeric=True
            )
            about = f"LoRA file for the strengths; tab completes. Files: {_listed(names)}"
            yield Field("file", "File", about, self._file, suggester=SuggestFromList(names))
        yield Line(id="make-cost")

    def on_mount(self) -> None:
        self._show_grids()
        self._explain_prompts()
        self._count()
        fields = self._fields.fields
        fields[-1 if fields[-1].text == TRIGGER_ALONE else 0].enter()

    @property
    def in_prompt(self) -> bool:
        return self._fields.here is not None

    @property
    def can_drop(self) -> bool:
        """Whether this prompt can be removed."""
        return self.in_prompt and len(self._prompts) > 1

    def on_field_edited(self, event: Field.Edited) -> None:
        event.stop()
        self._prompts = self._fields.texts
        self._explain_prompts()
        self._count()

    def on_field_entered(self, event: Field.Entered) -> None:
        """Other keys may work here."""
        event.stop()
        self.refresh_bindings()

    def action_with_grid(self, grid: Grid) -> None:
        chosen = set(self._grids) ^ {grid}
        self._grids = tuple(known for known in GRIDS if known in chosen)
        self._show_grids()
        self._count()

    def action_complete(self) -> None:
        """With or without what a verdict needs besides."""
        self._complete = not self._complete
        self._show_grids()
        self._count()

    async def action_add(self) -> None:
        """An empty prompt below this one."""
        here = self._fields.here
        if here is not None:
            self._prompts.insert(here + 1, "")
            await self._show_prompts(here + 1)

    async def action_drop(self) -> None:
        here = self._fields.here
        if here is not None and len(self._prompts) > 1:
            del self._prompts[here]
            await self._show_prompts(min(here, len(self._prompts) - 1))

    def action_next(self) -> None:
        """Writes the request, and closes."""
        from loratui.engine import sealed
        from loratui.engine.durable import make_directory

        if not self.check_action("next", ()):
            return
        validation = self.model.run.validation
        try:
            wish = self._wish()
            request.planned(wish, self.model.settings, self._files, self._captions)
            make_directory(validation)
            sealed.write(validation / "wish.json", wish.to_json(), validation.parent)
        except (LoratuiError, SchemaError) as error:
            self.loratui.tell(str(error), "error")
            return
        self.dismiss(True)

    def action_back(self) -> None:
        """To the validation, without what was typed."""
        self.dismiss(False)

    def _wish(self) -> GridRequest:
        texts = {field.key: field.text for field in self.query(Field)}
        typed = Typed(self._grids, texts["file"], tuple(self._prompts), texts["strengths"], texts["seeds"], self._complete)
        return request.wish_of(typed, self.model.settings, self._files)

    def _count(self) -> None:
        cost = self.line("make-cost")
        try:
            cells = request.planned(self._wish(), self.model.settings, self._files, self._captions)
        except (LoratuiError, SchemaError) as error:
            cost.say(plain(f"✖ {error}", "$error"))
            return
        missing = request.missing(cells, self.model.slots)
        seconds = self.model.image_s
        there = f"{text.count(len(cells), 'cell')} in the tables, {text.count(missing, 'image')} to make"
        if not missing:
            cost.say(plain(f"{there}.", "bold"))
        elif seconds is None:
            cost.say(plain(there, "bold"), plain(". The first one measures the time.", "$muted"))
        else:
            each = f"{seconds:.1f} s" if seconds < 10 else text.duration(seconds)
            cost.say(
                plain(f"{there}, about {text.time_left(missing * seconds)}", "bold"),
                plain(f" at {each} each, as measured, plus loading the base.", "$muted"),
            )

    def _show_grids(self) -> None:
        def box(on: bool, key: str, words: str) -> Content:
            tick = plain("[✔] " if on else "[ ] ", "$success" if on else "$muted")
            return joined(plain(f"{key} ", "bold $accent"), tick, plain(words))

        epochs = text.count(len(self._files.epochs), "epoch")
        strengths = box("strengths" in self._grids, "f5", "every prompt at every strength")
        through = box("checkpoints" in self._grids, "f6", f"every prompt through the files of {epochs}")
        complete = box(self._complete, "f3", "what the verdict needs besides: three seeds, the trigger alone")
        self.line("make-grids").say(Content("\n").join([strengths, through, complete]))

    def _explain_prompts(self) -> None:
        for field in self._fields.fields:
            problem = request.prompt_problem(field.text)
            if problem:
                field.note(f"✖ {problem}", "$error")
            elif not field.text.strip():
                field.note("empty: ignored; f8 removes it")
            else:
                alone = self._is_alone(field.text)
                field.note(
                    f"→ {text.both_ends(request.filled_in(field.text, self.model.settings))}{'  (the trigger alone)' if alone else ''}"
                )

    @property
    def _fields(self) -> PromptFields:
        return self.query_one(PromptFields)

    async def _show_prompts(self, at: int) -> None:
        await self._fields.change(self._prompts, at)
        self._explain_prompts()
        self._count()
        self.refresh_bindings()

    def _has_trigger_alone(self) -> bool:
        return any(self._is_alone(prompt) for prompt in self._prompts)

    def _is_alone(self, prompt: str) -> bool:
        filled = request.filled_in(prompt, self.model.settings)
        return is_trigger_alone(filled, self.model.subject.trigger, self.model.subject.class_word)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]}, {names[1]} … {names[-1]}"
