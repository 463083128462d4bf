"""Fields for a list of prompts of any length, one field each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import Vertical

from loratui.tui.widgets.field import Field


class PromptFields(Vertical):
    """The fields keep their places when the list changes: nothing scrolls away, and the focus stays in one of them."""

    DEFAULT_CSS = "PromptFields { height: auto; }"

    def __init__(self, key: str, prompts: Sequence[str], *, id: str) -> None:
        super().__init__(*(_field(key, at, prompt) for at, prompt in enumerate(prompts)), id=id)
        self._key = key

    @property
    def fields(self) -> list[Field]:
        return list(self.query_children(Field))

    @property
    def texts(self) -> list[str]:
        """The text of each field, empty prompts too."""
        return [field.text for field in self.fields]

    @property
    def here(self) -> int | None:
        return next((at for at, field in enumerate(self.fields) if field.entered), None)

    async def change(self, prompts: Sequence[str], at: int) -> None:
        """Shows other prompts, and moves the focus to index `at`."""
        fields = self.fields
        for field, prompt in zip(fields, prompts, strict=False):
            field.set(prompt)
        more = [_field(self._key, new, prompts[new]) for new in range(len(fields), len(prompts))]
        if more:
            await self.mount_all(more)
        here = self.fields[at]
        here.enter()
        for field in fields[len(prompts) :]:
            await field.remove()
        # The field's place is known only after the layout.
        here.call_after_refresh(here.scroll_visible, animate=False)


def _field(key: str, at: int, prompt: str) -> Field:
    return Field(f"{key}.{at}", f"Prompt {at + 1}", "", prompt)
