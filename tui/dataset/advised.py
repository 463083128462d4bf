"""The images for which the validation of an earlier run advises another caption."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.dataset import caption_choice
from loratui.engine.dataset.ledger import final_lines, read_ledger
from loratui.engine.errors import LoratuiError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import SchemaError, Settings
from loratui.tui.dataset.edits import DatasetEdits


def still_to_caption(prepared: DatasetEdits, settings: Settings) -> tuple[str, ...]:
    """Those that still have the caption that they had in the run that the plan comes from, by their paths in the folder."""
    from loratui.engine.proof.judgement import read_judgement

    if not settings.output.planned_from:
        return ()
    run = RunDirectory(Path(settings.output.planned_from))
    try:
        judged = read_judgement(run, read_recipe(run.effective).settings)
        entries = read_ledger(run.dataset).images
    except (LoratuiError, SchemaError):
        return ()
    advised = {name for advice in (judged.advice if judged else ()) for name in advice.do.re_caption}
    then = {entry.source or entry.relative: entry.caption for entry in entries if entry.relative in advised}
    found = prepared.edited
    now = {
        image.relative: caption_choice.readings(
            final_lines(image, settings, several_concepts=found.several_concepts), settings.dataset, settings.training.seed
        )[0][0]
        for image in found.images
        if image.relative in then
    }
    return tuple(name for name, caption in now.items() if caption == then[name])
