"""From a recipe to everything that a start needs: the folder read, the plan made, the findings listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.dataset import gathered
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.held_out import with_held_out
from loratui.engine.dataset.implications import implications
from loratui.engine.dataset.inspect import inspect_scan
from loratui.engine.dataset.scan import DatasetScan, scan, verify
from loratui.engine.errors import UsageError
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Accelerator, accelerator
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.preflight import check, token_counter
from loratui.engine.planning.recipe import Recipe, with_folder_names
from loratui.engine.planning.schedule import make_plan


@dataclass(frozen=True)
class Prepared:
    """A recipe with its images read and its plan made."""

    recipe: Recipe
    scan: DatasetScan
    plan: Plan
    findings: tuple[Finding, ...]
    not_checked: tuple[tuple[str, str], ...] = ()
    """(id of a check of the images, why it was not made)."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make a start fail."""
        return tuple(f for f in self.findings if f.severity == "error")


def prepare(
    recipe: Recipe,
    home: Path,
    *,
    machine: Accelerator | None = None,
    decode_budget_s: float = 10.0,
    facts: Mapping[str, ImageFacts] | None = None,
) -> Prepared:
    """Reads the recipe's folder, decodes its images coarsely within a time limit, and plans and checks the run.

    `machine` None: driver and torch are asked, which may take seconds.
    A zip or a list of folders in place of the folder is unpacked or gathered below `home`, once for each content, and the recipe
    names that folder then.
    `facts` are what the deep check measured of the images, by relative path.
    Raises `DatasetError` if nothing can be trained on, `UsageError` if the recipe names no folder.
    """
    if not recipe.settings.dataset.path:
        raise UsageError("No folder of images was given.", "Name it: loratui train FOLDER.")
    recipe = _unpacked(recipe, home)
    found = with_held_out(verify(scan(Path(recipe.settings.dataset.path)), decode_budget_s), recipe.settings.dataset)
    named = with_folder_names(recipe, found)
    plan = make_plan(named, found)
    images = inspect_scan(
        found,
        recipe.settings,
        preset=recipe.preset,
        tokenizer=token_counter(recipe.settings),
        facts=facts,
        implies=implications(home)[0],
        decode_budget_s=decode_budget_s,
    )
    here = machine or accelerator()
    return Prepared(named, found, plan, tuple(check(named, images, plan, home, here)), images.not_checked)


def _unpacked(recipe: Recipe, home: Path) -> Recipe:
    path = Path(recipe.settings.dataset.path).expanduser()
    folder = gathered.opened(path, home / "datasets")
    return recipe if folder == path else recipe.with_changes({"dataset.path": str(folder)})
