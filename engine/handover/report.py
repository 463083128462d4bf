"""The report of a run: one HTML file that holds everything, the same as Markdown, and contact sheets as PNG. A job of its own process."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import durable, words
from loratui.engine.dataset import decoding
from loratui.engine.errors import UsageError
from loratui.engine.handover import curves, sheets
from loratui.engine.handover.gathered import Gathered, gather
from loratui.engine.handover.grids import Grid
from loratui.engine.job_child import Answer, Parent
from loratui.engine.proof.told import PART_TITLES, VERDICTS
from loratui.engine.runs import contents
from loratui.engine.runs.directory import RunDirectory

FOLDER = "report"
"""Of a run: what is in it is made again by the next report."""
KINDS = (("strengths", "Strengths"), ("checkpoints", "Files of the epochs"), ("samples", "Samples while it trained"))
NOT_JUDGED = "Validate the run, then make the report again: loratui validate RUN"


@dataclass(frozen=True, slots=True)
class Shown:
    """An image on the page."""

    address: str
    width: int
    height: int


def write_report(
    run: RunDirectory, folder: Path | None = None, *, photos: bool = False, tell: Callable[[Any], object] = lambda _: None
) -> dict[str, Any]:
    """Writes NAME.html, NAME.md and NAME-….png, and says where they are: `html markdown sheets images left_out photos`.

    In the run's own folder `report` a new report replaces the last one; elsewhere nothing is replaced. `tell` hears how far it is, as
    [done, total]. Raises `UsageError` and `DiskError`.
    """
    contents.require_sound(run.path)
    report = gather(run, photos=photos)
    target = folder or run.path / FOLDER
    page = target / f"{run.name}.html"
    if folder is not None and os.path.lexists(page):
        raise UsageError(f"{page} already exists.", "Choose another folder, or move it away.")
    durable.make_directory(target)
    if folder is None:
        _remove_last(run)
    total = sum(len(grid.cells) for grid in report.grids) + 2 * len(report.pairs)
    shown: dict[str, Shown] = {}
    written: list[tuple[str, Grid]] = []
    done = 0
    for grid in report.grids:
        images = {}
        for path in dict.fromkeys(cell.path for cell in grid.cells):
            image = _read(run.file(path))
            if image is not None:
                images[path] = image
                shown.setdefault(path, _shown(image))
            done += 1
            tell([done, total])
        number = sum(one.kind == grid.kind for _, one in written) + 1
        name = f"{run.name}-{grid.kind}-{number}.png"
        durable.write_file(target / name, sheets.contact_sheet(grid, images))
        written.append((name, grid))
    for pair in report.pairs:
        for key, file in ((pair.path, run.file(pair.path)), (pair.photo.as_posix(), pair.photo)):
            if key not in shown and (image := _read(file)) is not None:
                shown[key] = _shown(image)
        done += 2
        tell([done, total])
    durable.write_file(page, _rendered("report.html", report, shown, written).encode())
    markdown = target / f"{run.name}.md"
    durable.write_file(markdown, _rendered("report.md", report, shown, written).encode())
    return {
        "html": str(page),
        "markdown": str(markdown),
        "sheets": [str(target / name) for name, _ in written],
        "images": len(shown),
        "left_out": report.left_out,
        "photos": photos,
    }


def _remove_last(run: RunDirectory) -> None:
    """Removes what the last report wrote; nothing else that lies there."""
    own = re.compile(rf"{re.escape(run.name)}(\.html|\.md|-\w+-\d+\.png)")
    folder = run.path / FOLDER
    for path in [*folder.iterdir()]:
        if own.fullmatch(path.name):
            durable.remove(path)


def _read(path: Path | None) -> Any:
    """A small copy of an image; None where it cannot be read any more."""
    if path is None:
        return None
    try:
        return sheets.small(decoding.load_rgb(path))
    except (decoding.ImageError, OSError):
        return None


def _shown(image: Any) -> Shown:
    return Shown(sheets.data_address(image), image.width, image.height)


def _rendered(template: str, report: Gathered, shown: Mapping[str, Shown], written: Iterable[tuple[str, Grid]]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    places = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    places.filters["md"] = _plain_in_markdown
    left_out = (
        f"{words.count(report.left_out, 'more image')} of the validation did not fit on this page." if report.left_out else ""
    )
    return places.get_template(template).render(
        report=report,
        images=shown,
        sheets=list(written),
        curves=curves,
        kinds=KINDS,
        titles=PART_TITLES,
        side=sheets.SIDE_PX,
        headline=VERDICTS[report.judged.kind][0] if report.judged else "",
        meaning=VERDICTS[report.judged.kind][1] if report.judged else "",
        confidence=f"{report.judged.confidence:.0%} sure" if report.judged else "",
        not_judged=NOT_JUDGED,
        left_out=left_out,
    )


def _plain_in_markdown(text: object) -> str:
    """A text in which Markdown and HTML see no marks."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", line)


def begin(parent: Parent) -> Answer:
    """Writes the report of `run` (its folder) into `folder`, or its own if that is empty."""
    return lambda request: write_report(
        RunDirectory(Path(request["run"])),
        Path(request["folder"]) if request["folder"] else None,
        photos=bool(request["photos"]),
        tell=parent.progress,
    )
