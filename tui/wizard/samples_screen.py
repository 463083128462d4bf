"""The samples step: prompts of the sample images and of the validation."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from loratui.presets.schema import KEYS, SchemaError
from loratui.tui.text import both_ends
from loratui.tui.validation.request import prompt_problem
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.prompt_fields import PromptFields
from loratui.tui.wizard.draft import shown_value
from loratui.tui.wizard.steps import StepScreen

Prompts = Literal["samples.prompts", "validation.prompts"]

_NUMBERS: dict[Prompts, tuple[tuple[str, str], ...]] = {
    "samples.prompts": (
        ("samples.every_image_steps", "Every"),
        ("samples.steps", "Steps"),
        ("samples.guidance", "Guidance"),
        ("samples.seed", "Seed"),
    ),
    "validation.prompts": (("validation.strengths", "Strengths"), ("validation.seeds", "Seeds")),
}
_TITLES: dict[Prompts, str] = {
    "samples.prompts": "During training: the same prompts and seeds each time, so you see what changes",
    "validation.prompts": "Afterwards: the validation, each prompt at each strength of the LoRA",
}


class SamplesScreen(StepScreen):
    """Two lists of prompts, filled in below each, and their numbers."""

    CONTEXT = "samples"

    def body(self) -> ComposeResult:
        with VerticalScroll(id="samples-form", can_focus=False):
            for part in _TITLES:
                yield Line(plain(_TITLES[part], "bold"), classes="samples-title")
                yield PromptFields(part, self._texts(part), id=_id(part))
                for key, label in _NUMBERS[part]:
                    numeric = KEYS[key].type in (int, float)
                    value = self.loratui.draft.typed.get(key, shown_value(self.loratui.draft.value(key)))
                    yield Field(key, label, KEYS[key].help, value, numeric=numeric)

    def on_mount(self) -> None:
        for field in self.query(Field):
            self._explain(field)
        self.query(Field).first().enter()

    def on_field_edited(self, event: Field.Edited) -> None:
        event.stop()
        self._take(event.field)

    def keep(self) -> None:
        """Everything is in the draft already."""

    @property
    def in_prompt(self) -> bool:
        """Whether the cursor is in a list of prompts."""
        return self._list_here is not None

    @property
    def can_drop(self) -> bool:
        """Whether that list has more than one."""
        return self._list_here is not None and len(self._texts(self._list_here)) > 1

    @property
    def _list_here(self) -> Prompts | None:
        field = self._here()
        return _part(field.key) if field else None

    def action_next(self) -> None:
        wrong = next((field for field in self.query(Field) if self._problem(field)), None)
        if wrong is not None:
            wrong.enter()
        else:
            self.go_on()

    async def action_reset(self) -> None:
        field = self._here()
        if field is None:
            return
        part = _part(field.key)
        self.loratui.draft = self.loratui.draft.reset(part or field.key)
        if part:
            await self._show_prompts(part, 0)
        else:
            field.set(shown_value(self.loratui.draft.value(field.key)))
            self._explain(field)

    async def action_add(self) -> None:
        """An empty prompt below this one."""
        await self._change_list(+1)

    async def action_drop(self) -> None:
        await self._change_list(-1)

    def on_field_entered(self, event: Field.Entered) -> None:
        """Refreshes the keys: others may work here."""
        event.stop()
        self.refresh_bindings()

    def _here(self) -> Field | None:
        return next((field for field in self.query(Field) if field.entered), None)

    def _texts(self, part: Prompts) -> list[str]:
        """The prompts as typed, empty ones too."""
        typed = self.loratui.draft.typed.get(part)
        return typed.split("\n") if typed is not None else list(self.loratui.draft.value(part))

    def _prompts(self, part: Prompts) -> PromptFields:
        return self.query_one(f"#{_id(part)}", PromptFields)

    def _take(self, field: Field) -> None:
        part = _part(field.key)
        if part:
            self._keep_prompts(part, self._prompts(part).texts)
        else:
            try:
                self.loratui.draft = self.loratui.draft.with_text(field.key, field.text)
            except SchemaError:
                self.loratui.draft = self.loratui.draft.with_typed(field.key, field.text)
        self._explain(field)

    def _keep_prompts(self, part: Prompts, texts: list[str]) -> None:
        filled = tuple(text.strip() for text in texts if text.strip())
        draft = self.loratui.draft.with_values({part: filled}) if filled else self.loratui.draft
        # Empty prompts are no part of a recipe, but the draft keeps them.
        self.loratui.draft = draft if len(filled) == len(texts) else draft.with_typed(part, "\n".join(texts))

    async def _change_list(self, change: Literal[-1, 1]) -> None:
        field = self._here()
        part = _part(field.key) if field else None
        at = self._prompts(part).here if part else None
        if part is None or at is None:
            return
        texts = self._texts(part)
        if change > 0:
            texts.insert(at + 1, "")
        elif len(texts) > 1:
            del texts[at]
        self._keep_prompts(part, texts)
        await self._show_prompts(part, min(at + max(0, change), len(texts) - 1))

    async def _show_prompts(self, part: Prompts, at: int) -> None:
        prompts = self._prompts(part)
        await prompts.change(self._texts(part), at)
        for field in prompts.fields:
            self._explain(field)
        self.refresh_bindings()

    def _problem(self, field: Field) -> str:
        """What is wrong with a field's text; an unknown placeholder would reach the model unchanged."""
        if _part(field.key) is None:
            try:
                self.loratui.draft.with_text(field.key, field.text)
            except SchemaError as error:
                return str(error)
            return ""
        return prompt_problem(field.text)

    def _explain(self, field: Field) -> None:
        problem = self._problem(field)
        if problem:
            field.note(f"✖ {problem}", "$error")
        elif _part(field.key) is None:
            field.explain()
        elif not field.text.strip():
            field.note("empty: ignored; f8 removes it")
        else:
            filled = self.loratui.draft.filled_in(field.text)
            field.note(f"→ {both_ends(filled)}" if filled != field.text.strip() else "→ unchanged: it has no placeholder")


def _part(key: str) -> Prompts | None:
    """The list of prompts that a field belongs to; None for a number."""
    return next((part for part in _TITLES if key.startswith(f"{part}.")), None)


def _id(part: Prompts) -> str:
    return part.replace(".", "-")
