"""The samples of a run by prompt and step, and which of them a person looks at. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loratui.engine.runs.records import Sample


@dataclass(frozen=True)
class Gallery:
    """Samples as a table: a row for each prompt, in order of first appearance, and a column for each step."""

    prompts: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    """Optimizer steps at which there are samples, ascending."""
    _cells: dict[tuple[int, str], Sample] | None = None

    def at(self, step: int, prompt: str) -> Sample | None:
        """The sample of a prompt at a step; the later one if a resumed run made it again."""
        return (self._cells or {}).get((step, prompt))

    def of_step(self, step: int) -> list[Sample]:
        """All samples of a step in the order of the prompts."""
        return [sample for prompt in self.prompts if (sample := self.at(step, prompt))]

    def __len__(self) -> int:
        return len(self._cells or {})


def gallery(samples: Iterable[Sample]) -> Gallery:
    """The table of samples, given in the order in which they were written."""
    cells: dict[tuple[int, str], Sample] = {}
    prompts: dict[str, None] = {}
    for sample in samples:
        prompts.setdefault(sample.prompt)
        cells[sample.step, sample.prompt] = sample
    return Gallery(tuple(prompts), tuple(sorted({step for step, _ in cells})), cells)


@dataclass(frozen=True)
class Look:
    """Where a person looks: a step, or None for always the newest, and a prompt by its place."""

    step: int | None = None
    prompt: int = 0

    def moved(self, table: Gallery, by: int) -> Look:
        """So many samples later (or earlier); beyond the last it follows the newest again."""
        if not table.steps:
            return self
        place = self.place(table) + by
        if place >= len(table.steps) - 1 and by > 0:
            return Look(None, self.prompt)
        return Look(table.steps[max(0, place)], self.prompt)

    def turned(self, table: Gallery, by: int) -> Look:
        """To the next prompt; after the last comes the first."""
        return Look(self.step, (self.prompt + by) % max(1, len(table.prompts)))

    def place(self, table: Gallery) -> int:
        """The column of the step, else the nearest before it."""
        if self.step is None:
            return len(table.steps) - 1
        return max((at for at, step in enumerate(table.steps) if step <= self.step), default=0)

    def shown_step(self, table: Gallery) -> int | None:
        """The step shown; None without samples."""
        return table.steps[self.place(table)] if table.steps else None

    def sample(self, table: Gallery) -> Sample | None:
        """The chosen sample, or the first of the step if its prompt has none."""
        step = self.shown_step(table)
        if step is None:
            return None
        there = table.of_step(step)
        prompt = table.prompts[self.prompt % len(table.prompts)]
        return table.at(step, prompt) or (there[0] if there else None)


def page(look: Look, table: Gallery, rows: int, columns: int) -> list[list[Sample | None]]:
    """The part of the table, around the chosen sample, that fits into so many rows (prompts) and columns (steps).

    A single row holds all prompts of the step instead.
    """
    if not table.steps or rows < 1 or columns < 1:
        return []
    here = look.prompt % len(table.prompts)
    if rows == 1:
        step = table.steps[look.place(table)]
        order = [*range(here, len(table.prompts)), *range(here)]
        there: Sequence[Sample] = [s for at in order if (s := table.at(step, table.prompts[at]))]
        return [list(there[:columns])]
    first_row = max(0, min(here - rows // 2, len(table.prompts) - rows))
    last = min(len(table.steps), max(look.place(table) + 1 + columns // 4, columns))
    steps = table.steps[max(0, last - columns) : last]
    return [[table.at(step, prompt) for step in steps] for prompt in table.prompts[first_row : first_row + rows]]
