"""The images of a report as tables: which belong side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loratui.engine.runs.lora_files import LoraFiles
from loratui.engine.runs.records import Image, Sample

MOST_IMAGES = 800
"""Of a report; the page says how many more there are."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An image of a table."""

    path: str
    """Relative to the run."""
    below: str = ""
    best: bool = False
    """Whether it is of the recommended file at the recommended strength."""


@dataclass(frozen=True, slots=True)
class Row:
    """Images side by side; None where there is none."""

    title: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """One table: a prompt, its columns, and a row for each seed."""

    kind: str
    """`strengths`, `checkpoints` or `samples`."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def cells(self) -> list[Cell]:
        """All images, row by row."""
        return [cell for row in self.rows for cell in row.cells if cell is not None]


def validation_grids(images: Iterable[Image], files: LoraFiles, best: tuple[str, float] | None) -> list[Grid]:
    """The strengths of each file and the files of the epochs, a table for each prompt; `best` is a file at a strength."""
    found = list(images)
    grids = []
    strengths = [image for image in found if image.grid == "strengths"]
    for file in dict.fromkeys(image.file for image in strengths if image.strength):
        own = [image for image in strengths if image.file == file or not image.strength]
        for prompt in dict.fromkeys(image.prompt for image in own if image.strength):
            shown = {(image.seed, f"{image.strength:g}"): image for image in own if image.prompt == prompt}
            order = sorted({image.strength for image in shown.values()})
            words = {f"{strength:g}": f"strength {strength:g}" if strength else "the base alone" for strength in order}
            title = f"{prompt} · {files.words(file)}"
            grids.append(_grid("strengths", title, words, shown, best))
    epochs = [image for image in found if image.grid == "checkpoints"]
    for prompt in dict.fromkeys(image.prompt for image in epochs):
        by_file = {(image.seed, image.file if image.strength else ""): image for image in epochs if image.prompt == prompt}
        in_order = sorted(
            {file for _, file in by_file}, key=lambda file: (files.step_of.get(file, 1 << 62 if file else -1), file)
        )
        strength = max(image.strength for image in by_file.values())
        columns_of = {file: files.words(file) if file else "the base alone" for file in in_order}
        grids.append(_grid("checkpoints", f"{prompt} · strength {strength:g}", columns_of, by_file, best))
    return grids


def sample_grid(samples: Iterable[Sample]) -> Grid | None:
    """The samples of the training: a column for each step, a row for each prompt; None if there are none."""
    found = {(sample.index, sample.step): sample for sample in samples}
    if not found:
        return None
    steps = sorted({step for _, step in found})
    prompts = {index: sample.prompt for (index, _), sample in found.items()}
    rows = [
        Row(prompts[index], tuple(Cell(cell.path) if (cell := found.get((index, step))) else None for step in steps))
        for index in sorted(prompts)
    ]
    return Grid("samples", "Sample images, by step", tuple(f"step {step}" for step in steps), tuple(rows))


def bounded(grids: Sequence[Grid], most: int = MOST_IMAGES) -> tuple[list[Grid], int]:
    """The first tables with so many images together, and how many images are left out."""
    kept: list[Grid] = []
    left_out = 0
    for grid in grids:
        if sum(len(one.cells) for one in kept) + len(grid.cells) <= most:
            kept.append(grid)
        else:
            left_out += len(grid.cells)
    return kept, left_out


def _grid(
    kind: str, title: str, columns: Mapping[str, str], shown: Mapping[tuple[int, str], Image], best: tuple[str, float] | None
) -> Grid:
    """`columns`: the words of each; `shown`: the images by seed and column."""
    rows = [
        Row(f"seed {seed}", tuple(_cell(shown.get((seed, column)), best) for column in columns))
        for seed in sorted({seed for seed, _ in shown})
    ]
    return Grid(kind, title, tuple(columns.values()), tuple(rows))


def _cell(image: Image | None, best: tuple[str, float] | None) -> Cell | None:
    if image is None:
        return None
    near = f"{image.similarity:.2f} to {image.nearest}" if image.nearest and image.similarity is not None else ""
    return Cell(image.path, near, best == (image.file, image.strength))
