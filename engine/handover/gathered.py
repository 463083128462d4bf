"""All that a report says about a run, read once and free of what must not leave the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loratui.engine import families, words
from loratui.engine.dataset.ledger import LedgerEntry, read_ledger
from loratui.engine.errors import LoratuiError
from loratui.engine.handover import curves, grids
from loratui.engine.handover.curves import Chart, tables
from loratui.engine.handover.grids import Grid
from loratui.engine.handover.private import Private, place
from loratui.engine.handover.shots import read_history
from loratui.engine.planning.recipe import Recipe, read_recipe
from loratui.engine.proof.judgement import Judgement, read_judgement
from loratui.engine.proof.kept import read_parts
from loratui.engine.proof.notes import Checklist, read_checklist
from loratui.engine.proof.registry import MEASURES
from loratui.engine.proof.report import latest
from loratui.engine.proof.told import PART_TITLES, figures, sentence
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.lineage import is_imported, lineage_of
from loratui.engine.runs.lora_files import LoraFiles, lora_files
from loratui.engine.runs.records import Image
from loratui.engine.untrusted import finite
from loratui.presets import schema
from loratui.presets.schema import SchemaError, Settings

MOST_PAIRS = 24
"""Images shown beside the photo that they are nearest to."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure of a part, in words."""

    said: str
    figures: tuple[str, ...]
    about: str
    limits: str
    known: bool


@dataclass(frozen=True, slots=True)
class PartShown:
    """A part of the validation."""

    id: str
    measures: tuple[Measured, ...]
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """An image beside the photo that it is nearest to."""

    path: str
    photo: Path
    words: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in force."""

    key: str
    value: str
    preset: str | None
    """What the preset has, where that differs."""
    help: str


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A report before it is drawn."""

    name: str
    """Of the run."""
    facts: tuple[tuple[str, str], ...]
    judged: Judgement | None
    """What the app says too; None where nothing was measured."""
    best: str
    """The recommended file and strength in words; empty if there is none."""
    grids: tuple[Grid, ...]
    left_out: int
    """Images that are too many for the page."""
    pairs: tuple[Pair, ...] = ()
    parts: tuple[PartShown, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()
    """What the person ticked, rated and wrote."""
    settings: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    """By section; empty for a LoRA file that was trained elsewhere."""
    warnings: tuple[str, ...] = ()
    made_with: str = ""


def gather(run: RunDirectory, *, photos: bool) -> Gathered:
    """Reads a run. `photos`: whether the training images and their names may be shown. Raises `UsageError` for an unusable recipe."""
    settings, recipe = _settings(run)
    history, made = read_history(run.events), list(latest(read_history(run.validation_events).grid_images).values())
    made = [image for image in made if (path := run.file(image.path)) is not None and path.is_file()]
    trained = _trained(run)
    folders = [run.path, run.path.parent, run.path.parent.parent, Path(settings.dataset.path), Path.home()]
    folders += {entry.path.parent for entry in trained} | {entry.path.parent.parent for entry in trained}
    parts = read_parts(run.validation / "measures.json")
    names = [*(entry.relative for entry in trained), *_named(made, parts)]
    private = Private(() if photos else names, folders)
    files = lora_files(run, settings)
    judged = read_judgement(run, settings)
    best = judged.best if judged else None
    named = [replace(image, prompt=private.text(image.prompt), nearest=private.photo(image.nearest)) for image in made]
    tables = grids.validation_grids(named, files, (best.file, best.strength) if best else None)
    samples = grids.sample_grid([sample for sample in history.samples if _is_file(run, sample.path)])
    shown, left_out = grids.bounded([*tables, *([_clean(samples, private)] if samples else [])])
    return Gathered(
        name=private.text(run.name),
        facts=_facts(run, history, recipe, settings, files, private),
        judged=judged and _without_names(judged, private),
        best=private.text(f"{files.words(best.file)} at strength {best.strength:g}") if best else "",
        grids=tuple(shown),
        left_out=left_out,
        pairs=_pairs(made, trained, parts) if photos else (),
        parts=tuple(_part(part, private) for part in parts if part["measures"] and _says_something(part)),
        notes=tuple(private.text(note) for note in _notes(read_checklist(run.validation / "checklist.json"), files)),
        charts=tuple(_charts(history)),
        settings={} if is_imported(run) else _told(settings, recipe, private),
        warnings=tuple(private.text(warning.sentence) for warning in history.state.warnings),
        made_with=f"loratui {version('loratui')}",
    )


def _settings(run: RunDirectory) -> tuple[Settings, Recipe]:
    """The values in force, and what the person chose."""
    try:
        return read_recipe(run.effective).settings, read_recipe(run.recipe)
    except SchemaError as error:
        raise LoratuiError(str(error), "Restore the run's recipe.toml and effective.toml.") from error


def _trained(run: RunDirectory) -> list[LedgerEntry]:
    """The images of the run; none where its ledger is unusable."""
    try:
        return list(read_ledger(run.dataset).images)
    except LoratuiError:
        return []


def _named(made: Sequence[Image], parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The photos that the images and measures name, some of which may be in no ledger any more."""
    rows = [row for part in parts for row in part["measures"]]
    near = [one.get("photo") for row in rows for one in tables(row.get("nearest"))]
    told = [*(image.nearest for image in made), *(row.get("photo") for row in rows), *near]
    return [name for name in told if isinstance(name, str) and name]


def _is_file(run: RunDirectory, relative: str) -> bool:
    path = run.file(relative)
    return path is not None and path.is_file()


def _without_names(judged: Judgement, private: Private) -> Judgement:
    return replace(
        judged,
        reasons=tuple(private.text(reason) for reason in judged.reasons),
        best=judged.best and replace(judged.best, reason=private.text(judged.best.reason)),
        advice=tuple(replace(one, change=private.text(one.change), why=private.text(one.why)) for one in judged.advice),
    )


def _clean(grid: Grid, private: Private) -> Grid:
    return replace(grid, rows=tuple(replace(row, title=private.text(row.title)) for row in grid.rows))


def _notes(kept: Checklist, files: LoraFiles) -> list[str]:
    ticked = [PART_TITLES[id] for id in PART_TITLES if id in kept.ticked]
    lines = [f"Chosen: {files.words(kept.chosen)}"] if kept.chosen else []
    lines += [f"Ticked as good: {', '.join(ticked)}"] if ticked else []
    lines += [f"{PART_TITLES[id]}: {kept.notes[id]}" for id in PART_TITLES if id in kept.notes]
    for file in files.all:
        mark = kept.mark(file)
        if mark.rating or mark.note:
            lines.append(f"{files.words(file)}: {'★' * mark.rating} {mark.note}".rstrip())
    return lines


def _facts(
    run: RunDirectory, history: RunHistory, recipe: Recipe, settings: Settings, files: LoraFiles, private: Private
) -> tuple[tuple[str, str], ...]:
    state, family, began = history.state, families.family(settings.base.family), lineage_of(run)
    steps = f"{words.number(state.step)} of {words.count(state.optimizer_steps, 'optimizer step')}"
    steps += f", {words.count(state.images, 'image')}, epoch {state.epoch} of {state.epochs}"
    adapter = f"{settings.adapter.kind}, rank {settings.adapter.rank}, alpha {settings.adapter.effective_alpha:g}"
    own = [("Preset", recipe.preset), ("Trained", steps if state.started else ""), ("Adapter", adapter)]
    rows = [
        ("Trigger", settings.dataset.trigger),
        ("Class word", settings.dataset.class_word),
        ("Base", f"{place(recipe.settings.base.model)} ({family.long_title})"),
        *(() if is_imported(run) else own),
        ("Begins", began.words if began is not None else ""),
        ("Device", state.device),
        ("Began", time.strftime("%Y-%m-%d", time.gmtime(run.created())) if run.created() else ""),
        ("LoRA files", words.count(len(files.all), "file")),
    ]
    return tuple((label, private.text(value)) for label, value in rows if value)


def _says_something(part: Mapping[str, Any]) -> bool:
    return bool(part["images"]) or any(row["value"] is not None for row in part["measures"])


def _part(part: Mapping[str, Any], private: Private) -> PartShown:
    along = part["id"] if part["id"] in ("strength", "checkpoints") else ""
    drawn = (
        [curves.measure_chart(row, "strengths" if along == "strength" else along) for row in part["measures"]] if along else []
    )
    rows = [
        Measured(
            private.text(sentence(row)),
            tuple(private.text(line) for line in figures(row)),
            private.text(row["about"]),
            private.text(row["limits"]),
            row["value"] is not None,
        )
        for row in part["measures"]
    ]
    return PartShown(part["id"], tuple(rows), tuple(chart for chart in drawn if chart is not None))


def _pairs(made: Sequence[Image], trained: Sequence[LedgerEntry], parts: Sequence[Mapping[str, Any]]) -> tuple[Pair, ...]:
    """The images that are nearest to a photo by any measure, the nearest first."""
    paths = {entry.relative: entry.path for entry in trained if not entry.regularisation}
    there = {image.path for image in made}
    found: dict[str, Pair] = {}
    values: dict[str, float] = {}
    for part in parts:
        for row in part["measures"] if part["id"] in ("generalises", "trigger_alone") else ():
            for near in tables(row.get("nearest")):
                value = finite(near.get("value"))
                path, photo = str(near.get("path")), paths.get(str(near.get("photo")))
                if value is None or photo is None or path not in there or values.get(path, -1.0) >= value:
                    continue
                values[path] = value
                found[path] = Pair(path, photo, f"{row['title']}: {value:.2f} to {near['photo']}")
    return tuple(found[path] for path in sorted(found, key=lambda path: -values[path])[:MOST_PAIRS])


def _charts(history: RunHistory) -> Iterator[Chart]:
    for chart in (curves.loss_chart(history.losses), curves.held_out_chart(history.held_out)):
        if chart is not None:
            yield chart
    yield from curves.sample_charts(history.measured, {measure.id: measure.title for measure in MEASURES})


def _told(settings: Settings, recipe: Recipe, private: Private) -> Mapping[str, Sequence[Setting]]:
    base = recipe.settings.base  # a run's own values name its files by their paths
    told = private.settings(replace(settings, base=replace(settings.base, model=base.model)))
    before = {difference.key: difference.before for difference in recipe.differences()} if recipe.preset else {}
    sections: dict[str, list[Setting]] = {}
    for key, value in told.items():
        preset = private.text(words.typed(before[key])) if key in before else None
        sections.setdefault(key.split(".")[0], []).append(Setting(key, value, preset, schema.KEYS[key].help))
    return sections
