"""A LoRA file of any program as a run of its own, in which nothing is trained: it is validated, compared and kept as any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine import durable, sealed
from loratui.engine.dataset.ledger import FORMAT as LEDGER_FORMAT
from loratui.engine.dataset.ledger import build_ledger, identity_of, read_ledger, read_table
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.formats.peft_names import PEFT_CONFIG, PEFT_FILE
from loratui.engine.formats.safetensors_file import MOST_LORA_BYTES, read_checked
from loratui.engine.planning.lora_match import match
from loratui.engine.planning.recipe import Recipe, effective_toml, read_recipe, read_to_begin, with_folder_names
from loratui.engine.planning.schedule import make_plan
from loratui.engine.runs import lineage
from loratui.engine.runs.directory import RunDirectory, create_run, list_runs, safe_name
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.lora_files import file_name, lora_files
from loratui.engine.runs.lora_hashes import hashes_of, require_as_saved
from loratui.engine.untrusted import read_whole
from loratui.engine.words import count, listed

DONE = "It was imported; nothing is trained here."


def import_file(path: Path, recipe: Recipe, home: Path) -> tuple[RunDirectory, list[str]]:
    """Makes a run of a LoRA file on the recipe's base, with the images of its dataset if it names some; and what is to be said of it.

    Raises `UsageError` for a file that does not fit the base, `DatasetError` for a folder without images.
    """
    found = match(path, recipe.settings.base)
    given = recipe.settings.dataset
    recipe = recipe.with_changes(
        {
            **found.settings,
            "output.name": safe_name(path.stem),
            "dataset.trigger": given.trigger or found.trigger,
            "adapter.start_from": "",
        }
    )
    table: Mapping[str, Any] = {"format": LEDGER_FORMAT, "root": "", "source": "", "images": [], "left_out": []}
    effective = recipe.to_toml()
    if given.path:
        images = scan(Path(given.path))
        recipe = with_folder_names(recipe, images)
        plan = make_plan(recipe, images)
        table, effective = build_ledger(recipe.settings, images, plan), effective_toml(recipe, plan)
    adapter, layers = recipe.settings.adapter, count(found.layers, "layer")
    said = [f"a {adapter.kind} of rank {adapter.rank} on {layers} of {recipe.settings.base.model}."]
    if found.others:
        said.append(
            f"{count(len(found.others), 'tensor')} of it belong to no layer that loratui knows and have no effect here: "
            f"{listed(found.others, 3)}."
        )
    return _made(path, recipe, effective, table, home, found.step), said


def import_newest(run: RunDirectory, home: Path) -> RunDirectory:
    """Makes a run of the newest LoRA file of a run, so it can be validated while that one goes on. Raises `UsageError` without a file."""
    recipe = read_to_begin(run.effective)
    files = lora_files(run, recipe.settings)
    if not files.final:
        raise UsageError(f"{run.name} has no LoRA file yet.", "The first one is written after the first epoch.")
    path = run.inside(files.final)
    require_as_saved(path)
    table = read_table(run.dataset)
    rows = [row for row in table["images"] if not row["regularisation"]]  # some are made in the run itself
    step = files.step_of.get(files.final, 0)
    recipe = recipe.with_changes({"output.name": safe_name(path.stem)})
    return _made(path, recipe, recipe.to_toml(), {**table, "images": rows}, home, step)


def _config_beside(path: Path) -> dict[str, bytes]:
    """The file in which PEFT keeps the alpha of its own file, without which that would have another strength."""
    config = path.with_name(PEFT_CONFIG)
    try:
        return {PEFT_CONFIG: read_whole(config)} if path.name.startswith(PEFT_FILE) else {}
    except OSError:  # Gone, or none that can be read: then the scale is 1, as it is where the file lies
        return {}


def _made(path: Path, recipe: Recipe, effective: str, table: Mapping[str, Any], home: Path, step: int) -> RunDirectory:
    """The run of a file, the one of an earlier import where everything is the same."""
    began = lineage.of_file(path, "imported")
    for run in list_runs(home):
        is_same = lineage.lineage_of(run) == began and read_recipe(run.recipe).settings == recipe.settings
        if is_same and read_ledger(run.dataset).identity == identity_of(table):
            return run
    header, data = read_checked(path, MOST_LORA_BYTES)
    hashes = hashes_of(header, data)
    if hashes["sha256"] != began.sha256:
        raise UsageError(f"{path}: it changed while it was read.", "Try again when it is written.")
    settings = recipe.settings
    name = file_name(safe_name(settings.output.name))

    def fill(folder: Path) -> None:
        run = RunDirectory(folder)
        durable.write_new(run.output / name, data)
        for beside, content in _config_beside(path).items():
            durable.write_new(run.output / beside, content)
        lineage.keep(run, began)
        with EventLog.open(run.events) as log:
            log.append(
                "run_started",
                run_id=sealed.id_of(folder),
                name=sealed.marker_of(folder)["name"],
                preset=recipe.preset,
                family=settings.base.family,
                base=settings.base.model,
                trigger=settings.dataset.trigger,
                images=len(table["images"]),
                optimizer_steps=step,
                resumed_step=step,
            )
            log.append(
                "output_written",
                durable=True,
                step=step,
                epoch=0,
                path=f"output/{name}",
                bytes=len(data),
                norms={},
                final=True,
                **hashes,
            )
            again = f"loratui validate {sealed.marker_of(folder)['name']} makes the validation images."
            log.append(
                "run_finished", durable=True, status="done", exit_code=int(ExitCode.DONE), reason=DONE, advice=again, step=step
            )

    return create_run(home, path.stem, recipe_toml=recipe.to_toml(), effective_toml=effective, ledger=table, more=fill)
