"""What an import comes to: the recipe, what became of each value, and the steps."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset import folder_lists, gathered
from loratui.engine.dataset.scan import DatasetScan, scan
from loratui.engine.errors import LoratuiError
from loratui.engine.importing import files, tools
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.reading import LONGEST_VALUE, Kind, Reading, Said
from loratui.engine.importing.steps import StepCounts, settle
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.family_rules import guidance
from loratui.engine.planning.preflight import check_settings
from loratui.engine.planning.recipe import Recipe
from loratui.engine.words import count, number
from loratui.presets.schema import Settings, get, to_table

_LISTS = ("concept_file_name", "data_backend_config", "dataset_config")
"""Settings that name a list of folders."""


@dataclass(frozen=True)
class Imported:
    """A file of another trainer, read."""

    path: Path
    tool: str
    recipe: Recipe | None
    """None for a base that is not trained here; `problem` says which."""
    said: tuple[Said, ...]
    steps: StepCounts
    notes: tuple[str, ...] = ()
    problem: str = ""

    def of(self, kind: Kind) -> tuple[Said, ...]:
        """The values of which this became."""
        return tuple(one for one in self.said if one.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """`file tool recipe taken[] changed[] does_nothing[] not_understood[] steps notes[] problem`."""
        kinds: tuple[Kind, ...] = ("taken", "changed", "does_nothing", "not_understood")
        table = to_table(self.recipe.settings, self.recipe.changed) if self.recipe else None
        listed: dict[str, Any] = {kind: [one.to_json() for one in self.of(kind)] for kind in kinds}
        return {"file": str(self.path), "tool": self.tool, "recipe": table, **listed, "steps": self.steps.to_json(),
                "notes": list(self.notes), "problem": self.problem}  # fmt: skip


def import_settings(path: Path, *, dataset: Path | None = None, images: int = 0, family: str = "") -> Imported:
    """Reads a file or folder of another trainer. `dataset` is the folder of images here, a zip or a list of folders, in place of
    the one that the file names; `images` their number, where there is no folder.

    Raises `UsageError` for what is no such file, `DatasetError` for a folder that was asked for and has no images.
    """
    found = tools.find(path)
    reading, amount = tools.read(found, family)
    if amount.warmup_key:
        reading.taken(amount.warmup_key, {})
    reading.finish()
    said = tuple(reading.checked())
    if reading.problem:
        return Imported(
            found.path, reading.tool, None, said, StepCounts(why=reading.problem), tuple(reading.lost), reading.problem
        )
    recipe, said, notes = _recipe(said, dataset)
    folder = dataset or _folder(recipe)
    notes += _of_folders(found) if dataset is None else ()
    notes += _not_here(recipe)
    with tempfile.TemporaryDirectory(prefix="loratui-import-") as place:
        scanned = None if images else _scanned(folder, Path(place), asked=dataset is not None)
        recipe, steps = settle(recipe, amount, scanned, images)
    notes += _without_regularisation(reading, amount, steps, scanned)
    name = clean(reading.name(amount.warmup_key), LONGEST_VALUE)
    said = tuple(_with_warmup(said, amount, recipe, steps, reading.tool, name))
    return Imported(found.path, reading.tool, recipe, said, steps, (*reading.lost, *notes))


def _recipe(said: tuple[Said, ...], dataset: Path | None) -> tuple[Recipe, tuple[Said, ...], list[str]]:
    """The recipe of all that is set; what cannot be, for the family or beside other settings, is told instead."""
    notes: list[str] = []
    sets: dict[str, Any] = {}
    for one in said:
        for ours, value in one.sets.items():
            sets.setdefault(ours, value)
    if dataset is not None:
        sets["dataset.path"] = str(dataset.expanduser().absolute())
        if _is_list(dataset):  # each of its folders has its own repeats
            sets["schedule.folder_repeats"] = True
            said = tuple(_without(one, "schedule.folder_repeats") for one in said)
    recipe = Recipe(Settings()).with_changes(sets)
    for _ in range(8):
        finding = next((f for f in check_settings(recipe) if f.severity == "error" and f.settings), None)
        if finding is None:
            break
        gone = [ours for ours, fit in finding.settings.items() if get(recipe.settings, ours) != fit]
        recipe = recipe.with_changes(finding.settings)
        said = tuple(_unfit(one, gone, finding.message) for one in said)
        notes.append(finding.message)
    if "samples.guidance" not in sets:  # loratui's own default, which suits most families
        for high in guidance(recipe.settings):
            recipe = recipe.with_changes(high.settings)
    return recipe, said, notes


def _is_list(dataset: Path) -> bool:
    try:
        return folder_lists.is_list(dataset)
    except OSError:  # unreadable, which the scan tells
        return False


def _without(one: Said, key: str) -> Said:
    return dataclasses.replace(one, sets={ours: value for ours, value in one.sets.items() if ours != key})


def _unfit(one: Said, gone: list[str], message: str) -> Said:
    if not any(ours in one.sets for ours in gone):
        return one
    sets = {ours: value for ours, value in one.sets.items() if ours not in gone}
    return dataclasses.replace(one, kind="changed", sets=sets, why=clean(f"{one.why} {message}".strip(), 400))


def _folder(recipe: Recipe) -> Path | None:
    path = recipe.settings.dataset.path
    try:
        return Path(path) if path and Path(path).is_dir() else None
    except (OSError, ValueError):
        return None


def _not_here(recipe: Recipe) -> Iterator[str]:
    """What the recipe names that is not on this machine."""
    base, folder, start = recipe.settings.base.model, recipe.settings.dataset.path, recipe.settings.adapter.start_from
    try:
        if not base or base_path(base) is None:
            yield f"The base {base or 'is not named'}{' is not on this machine' if base else ''}: loratui train takes one with --base."
        if not folder or not Path(folder).exists():
            yield f"The images {f'in {folder} are not on this machine' if folder else 'are not named'}: give their folder with --dataset."
        if start and not Path(start).exists():
            yield f"The LoRA to start from, {start}, is not on this machine: set adapter.start_from to where it is, or leave it empty."
    except (OSError, ValueError):  # a name that no file can have
        yield "The base, the images or the LoRA to start from have a name that no file can have here."


def _of_folders(found: tools.Found) -> Iterator[str]:
    """What to say of a file that lists several folders: the recipe names one of them."""
    flat = files.flatten(found.table)
    named = (value for key, value in flat.items() if key.rpartition(".")[2] in _LISTS and isinstance(value, str))
    beside = [found.path.parent / Path(name.replace("\\", "/")).name for name in named]
    for path in (found.path, *beside):
        try:
            listed = folder_lists.read(path) if folder_lists.is_list(path) else None
        except OSError:  # unreadable, or a name that no file can have
            continue
        if listed and len(listed.sources) > 1:
            yield f"{path.name} lists {count(len(listed.sources), 'folder')}, of which the recipe names one: --dataset {path} takes all."


def _without_regularisation(reading: Reading, amount: Amount, steps: StepCounts, scanned: DatasetScan | None) -> Iterator[str]:
    """What to say where the file's regularisation images are not in the folder whose steps were counted."""
    there = scanned is not None and bool(scanned.regularisation)
    if reading.given("reg_data_dir") and steps.images and not amount.steps and not there:
        yield "The steps are counted without the images of reg_data_dir; with them there are about twice as many, there and here."


def _scanned(folder: Path | None, place: Path, *, asked: bool) -> Any:
    if folder is None:
        return None
    try:
        return scan(gathered.opened(folder, place))
    except LoratuiError:
        if asked:
            raise
        return None


def _with_warmup(
    said: tuple[Said, ...], amount: Amount, recipe: Recipe, steps: StepCounts, tool: str, name: str
) -> Iterator[Said]:
    """Says of the warm-up, `name` in the file, what it comes to, now that the number of steps is known."""
    share = recipe.settings.optimizer.warmup
    known = amount.warmup < 1 or steps.theirs
    cut = (
        known
        and amount.warmup
        and abs(share - (amount.warmup if amount.warmup < 1 else amount.warmup / (steps.theirs or 1))) > 1e-9
    )
    words = f"{amount.warmup:g} of {number(steps.theirs or 0)} in all." if amount.warmup >= 1 and steps.theirs else ""
    if cut:
        words = f"{words} loratui's warm-up takes 90 % of the steps at most.".strip()
    elif not known:
        words = (
            f"loratui takes a share of all steps, which are unknown{'' if steps.images else ' without images: give --dataset'}."
        )
    kind: Kind = "changed" if cut or not known else "taken"
    sets = {"optimizer.warmup": share} if known else {}
    met = False
    for one in said:
        if one.key != name or not one.given or one.kind == "not_understood":
            met |= one.key == name
            yield one
            continue
        met = True
        if not amount.warmup:
            yield dataclasses.replace(one, kind="does_nothing", why="There is no warm-up.", sets={})
        else:
            yield dataclasses.replace(one, kind=kind, sets=sets, why=words)
    if amount.warmup and not met:
        why = f"Not in the file; {tool} takes this. {words}".strip()
        yield Said(name, amount.warmup, kind, sets, why, given=False)
