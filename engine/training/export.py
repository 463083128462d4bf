"""Writes a LoRA of a run again in another layout or number format; as a job, since the app never loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loratui.engine.durable import make_directory
from loratui.engine.errors import UsageError
from loratui.engine.families.lora import LoraLayout
from loratui.engine.formats.layers import Part
from loratui.engine.formats.metadata import default_layout
from loratui.engine.formats.programs import PROGRAMS, readers_of
from loratui.engine.formats.safetensors_file import read_metadata
from loratui.engine.job_child import Answer, Parent
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.lora_size import clip_layers, denoiser_config, denoiser_layers, text_encoders_of
from loratui.engine.runs.checkpoint_files import BadCheckpointError
from loratui.engine.runs.contents import require_sound
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import ENDING, chosen_name, file_name, lora_files
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.engine.training.checkpoint import load_checkpoint
from loratui.engine.training.lora_file.read import read_lora
from loratui.engine.training.setup import Job, read_job
from loratui.engine.training.shipped import Shipped, shipped_in, write_shipped
from loratui.presets.schema import Settings


@dataclass(frozen=True)
class Wanted:
    """What to write."""

    step: int | None = None
    """Optimizer step; None: that of `file`."""
    file: str = ""
    """LoRA file, relative to the run; empty: the last."""
    format: str = "auto"
    """auto, kohya, peft; diffusers means peft."""
    dtype: str = ""
    """fp16, bf16, fp32; empty: as in the run's settings."""
    name: str = ""
    """Of the file, without its ending; empty: that of the run's LoRA file, with the step."""
    output: str = ""
    """File or folder; empty: `export/` of the run."""


def export(run: RunDirectory, wanted: Wanted) -> dict[str, Any]:
    """Writes the file and describes it; see `tui.commands.export` for the keys.

    Raises `UsageError` for a missing step and a layout that cannot hold the adapter, `DiskError`, and
    `NotFiniteError` for values that do not fit.
    """
    require_sound(run.path)
    job = read_job(run, computes=False)
    settings = job.settings
    shipped, source = find_source(job, wanted.step, wanted.file)
    layout: LoraLayout = (
        default_layout(settings) if wanted.format == "auto" else "kohya" if wanted.format == "kohya" else "peft"
    )
    dtype = wanted.dtype or settings.output.precision
    chosen = chosen_name(wanted.name)
    name = file_name(chosen) if chosen else file_name(job.output_name, shipped.step)
    path = target(run, wanted.output, name, layout, dtype)
    if not shipped.prediction:
        shipped = replace(shipped, prediction=_prediction(job))
    written = write_shipped(path, shipped, job, title=chosen or job.output_name, layout=layout, dtype=dtype)
    return {
        "run": run.name,
        "path": str(path),
        "source": str(source),
        "step": shipped.step,
        "format": layout,
        "dtype": dtype,
        "bytes": written.bytes,
        "layers": len(shipped.changes),
        "norms": dict(written.norms),
        "opened_by": [asdict(PROGRAMS[name]) for name in readers_of(settings, layout)],
    }


def _prediction(job: Job) -> str:
    """What the base predicts, where a checkpoint does not tell: as in the run's own files, whose trainer had it loaded."""
    newest = lora_files(job.run, job.settings).final
    known = read_metadata(job.run.path / newest).get("modelspec.prediction_type") if newest else None
    return known or ("v" if job.settings.base.prediction == "v" else "")


def target(run: RunDirectory, output: str, name: str, layout: LoraLayout, dtype: str) -> Path:
    """The file to write. Raises `UsageError` where another file of this name exists."""
    if not output:
        folder = run.path / "export" / f"{layout}-{dtype}"
        make_directory(folder)
        return folder / name
    given = Path(output).expanduser().absolute()
    path = given / name if given.is_dir() or not given.suffix else given
    if path.suffix != ENDING:
        raise UsageError(f"{path}: a LoRA file ends with {ENDING}.")
    if path.exists():
        raise UsageError(f"{path}: a file of this name already exists.", "Choose another --output, or move it away.")
    make_directory(path.parent)
    return path


def find_source(job: Job, step: int | None, file: str) -> tuple[Shipped, Path]:
    """The LoRA of a step, from its checkpoint or else its LoRA file, and the path of that. Without a step it is that of
    `file`, else the last.

    A checkpoint keeps full precision; a LoRA file has the precision it was saved in. Raises `UsageError` if both are missing.
    """
    found = lora_files(job.run, job.settings)
    files = {found.step_of[file]: job.run.path / file for file in found.all if file in found.step_of}
    folders = {step: job.run.checkpoint(step) for step in job.run.checkpoint_steps() if step}
    steps = sorted({*files, *folders})
    if not steps:
        raise UsageError(f"{job.run.name} has no LoRA yet.", "The first one is written after the first epoch.")
    chosen = found.step_of.get(file, steps[-1]) if step is None else step
    if chosen in folders:
        try:
            return shipped_in(load_checkpoint(folders[chosen]), job.settings), folders[chosen]
        except BadCheckpointError as error:
            if chosen not in files:
                raise UsageError(
                    f"{job.run.name}: {error}.", "Choose another step, or let the run go on to the next: loratui resume RUN."
                ) from error
    if chosen not in files:
        listed = ", ".join(map(str, steps))
        raise UsageError(f"{job.run.name} has neither a checkpoint nor a LoRA file of step {chosen}.", f"There are {listed}.")
    return _from_file(job, files[chosen], chosen), files[chosen]


def _from_file(job: Job, path: Path, step: int) -> Shipped:
    settings = job.settings
    require_as_saved(path)
    found = read_lora(path, settings.base.family, list(known_layers(settings)))
    if found.others or not found.changes:
        raise UsageError(f"{path}: it has unknown tensors, such as {found.others[:1]}.")
    metadata = read_metadata(path)
    epoch = metadata.get("ss_epoch", "0")
    return Shipped(
        found.changes,
        step,
        int(epoch) if epoch.isdecimal() else 0,
        metadata.get("modelspec.prediction_type", ""),
        metadata.get("ss_mixed_precision", ""),
        metadata.get("ss_optimizer", settings.optimizer.name),
    )


def known_layers(settings: Settings) -> Iterator[tuple[Part, str]]:
    """Every layer that a LoRA of this base can have: of the family, and of the base's own shape."""
    family, base = settings.base.family, base_path(settings.base.model)
    for config in (None, denoiser_config(family, base)):
        yield from (("denoiser", layer.name) for layer in denoiser_layers(family, config))
    for part, clip in text_encoders_of(family, None).items():
        yield from ((part, layer.name) for layer in clip_layers(clip))


def begin(_: Parent) -> Answer:
    """Exports `wanted` (the fields of `Wanted`) of `run` (its folder)."""
    return lambda request: export(RunDirectory(Path(request["run"]).resolve()), Wanted(**request["wanted"]))
