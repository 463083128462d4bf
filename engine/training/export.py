"""Writes a LoRA of a run anew in another layout or number format; as a job, since the app never loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loratui.engine.durable import make_directory
from loratui.engine.errors import UsageError
from loratui.engine.formats.layers import Part, part_of
from loratui.engine.formats.metadata import Layout, LoraFacts, default_layout
from loratui.engine.formats.programs import PROGRAMS, readers_of
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.job_child import Answer, Parent
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.lora_size import clip_layers, denoiser_config, denoiser_layers, text_encoders_of
from loratui.engine.planning.targets import rank_and_alpha
from loratui.engine.runs.contents import require_sound
from loratui.engine.runs.directory import RunDirectory, safe_name
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.checkpoint import BadCheckpointError, checkpoint_folders, load_checkpoint
from loratui.engine.training.lora_file import read_lora, write_lora_file
from loratui.engine.training.lora_file.layouts import Changes
from loratui.engine.training.setup import Job, read_job
from loratui.presets.schema import Settings


@dataclass(frozen=True)
class Wanted:
    """What shall be written."""

    step: int | None = None
    """Optimizer step; None: the last that there is."""
    format: str = "auto"
    """auto, kohya, peft; diffusers is another word for peft."""
    dtype: str = ""
    """fp16, bf16, fp32; empty: as the run's settings have it."""
    name: str = ""
    """Of the file, without its ending; empty: the run's LoRA file and step."""
    output: str = ""
    """File or folder; empty: `export/` of the run."""


@dataclass(frozen=True)
class Source:
    """The LoRA that is written."""

    changes: Changes
    step: int
    epoch: int
    path: Path
    """The checkpoint's folder, or the LoRA file."""
    precision: str
    """Number format of the base while it was trained on."""
    optimizer: str


def export(run: RunDirectory, wanted: Wanted) -> dict[str, Any]:
    """Writes the file and tells what it is; see `tui.commands.export` for the keys.

    Raises `UsageError` for a step that is not there and a layout that cannot hold the adapter, `DiskError`, and
    `NotFiniteError` for values that do not fit.
    """
    require_sound(run.path)
    job = read_job(run, computes=False)
    settings = job.settings
    source = find_source(job, wanted.step)
    layout: Layout = default_layout(settings) if wanted.format == "auto" else "kohya" if wanted.format == "kohya" else "peft"
    dtype = wanted.dtype or settings.output.precision
    name = safe_name(wanted.name) if wanted.name else f"{job.output_name}-{source.step:06d}"
    path = target(run, wanted.output, name, layout, dtype)
    facts = LoraFacts(
        settings=settings,
        title=safe_name(wanted.name) if wanted.name else job.output_name,
        layout=layout,
        prediction=_prediction(job),
        step=source.step,
        epoch=source.epoch,
        epochs=settings.schedule.epochs,
        images=job.trained_images,
        optimizer=source.optimizer,
        precision=source.precision,
    )
    written = write_lora_file(path, source.changes, facts, dtype)
    return {
        "run": run.name,
        "path": str(path),
        "source": str(source.path),
        "step": source.step,
        "format": layout,
        "dtype": dtype,
        "bytes": written.bytes,
        "layers": len(source.changes),
        "norms": dict(written.norms),
        "opened_by": [asdict(PROGRAMS[name]) for name in readers_of(settings, layout)],
    }


def _prediction(job: Job) -> str:
    """What the base predicts: as the run's own files say, whose trainer had it loaded."""
    newest = next((path for _, path in lora_files(job)), None)
    known = read_header(newest).metadata.get("modelspec.prediction_type") if newest else None
    return known or ("v" if job.settings.base.prediction == "v" else "")


def target(run: RunDirectory, output: str, name: str, layout: Layout, dtype: str) -> Path:
    """The file to write. Raises `UsageError` where another file stands that nobody asked to replace."""
    if not output:
        folder = run.path / "export" / f"{layout}-{dtype}"
        make_directory(folder)
        return folder / f"{name}.safetensors"
    given = Path(output).expanduser().absolute()
    path = given / f"{name}.safetensors" if given.is_dir() or not given.suffix else given
    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: a LoRA file ends with .safetensors.")
    if path.exists():
        raise UsageError(f"{path}: there is a file of this name already.", "Choose another --output, or move it away.")
    make_directory(path.parent)
    return path


def find_source(job: Job, step: int | None) -> Source:
    """The checkpoint of a step, or where it is gone the LoRA file of that step; the last of all for None.

    A checkpoint holds all digits; a LoRA file those that it was saved with. Raises `UsageError` if there is neither.
    """
    files = dict(lora_files(job))
    folders = {int(folder.name.removeprefix("step-")): folder for folder in checkpoint_folders(job.run)}
    steps = sorted({*files, *(s for s in folders if s)})
    if not steps:
        raise UsageError(f"{job.run.name} has no LoRA yet.", "The first one is written after the first epoch.")
    chosen = steps[-1] if step is None else step
    if chosen in folders:
        try:
            return _from_checkpoint(job.settings, folders[chosen])
        except BadCheckpointError as error:
            if chosen not in files:
                raise UsageError(f"{job.run.name}: {error}.", "Choose another step.") from error
    if chosen not in files:
        listed = ", ".join(map(str, steps))
        raise UsageError(f"{job.run.name} has neither a checkpoint nor a LoRA file of step {chosen}.", f"There are {listed}.")
    return _from_file(job, files[chosen], chosen)


def lora_files(job: Job) -> Iterator[tuple[int, Path]]:
    """The LoRA files of a run by optimizer step; the finished one by the step in its metadata."""
    for path in sorted(job.run.output.glob(f"{job.output_name}-*.safetensors")):
        number = path.stem.removeprefix(f"{job.output_name}-")
        if number.isdecimal():
            yield int(number), path
    final = job.run.output / f"{job.output_name}.safetensors"
    if final.is_file():
        number = read_header(final).metadata.get("ss_steps", "")
        if number.isdecimal():
            yield int(number), final


def _from_checkpoint(settings: Settings, folder: Path) -> Source:
    checkpoint = load_checkpoint(folder)
    tensors = checkpoint.average or checkpoint.adapter
    grouped: dict[tuple[Part, str], dict[str, Any]] = {}
    for name, value in tensors.items():
        try:
            part = part_of(name)
        except ValueError as error:
            raise BadCheckpointError(f"{folder.name} was made by an older loratui") from error
        path, _, tensor = name.removeprefix(f"{part}.").rpartition(".")
        grouped.setdefault((part, path), {})[tensor] = value
    changes = {}
    for key, values in grouped.items():
        rank, alpha = rank_and_alpha(settings.adapter, key[1])
        changes[key] = WeightDelta(values, alpha / rank)
    identity = checkpoint.identity
    return Source(
        changes,
        checkpoint.position.step,
        checkpoint.position.last_epoch,
        folder,
        str(identity.get("made_with", {}).get("number format", "")),
        str(identity.get("optimizer_used", settings.optimizer.name)),
    )


def _from_file(job: Job, path: Path, step: int) -> Source:
    settings = job.settings
    found = read_lora(path, settings.base.family, list(known_layers(settings)))
    if found.others or not found.changes:
        raise UsageError(f"{path}: it has tensors that are not known here, such as {found.others[:1]}.")
    metadata = read_header(path).metadata
    epoch = metadata.get("ss_epoch", "0")
    return Source(
        found.changes,
        step,
        int(epoch) if epoch.isdecimal() else 0,
        path,
        metadata.get("ss_mixed_precision", ""),
        metadata.get("ss_optimizer", settings.optimizer.name),
    )


def known_layers(settings: Settings) -> Iterator[tuple[Part, str]]:
    """Every layer that a LoRA of this base can have: those of the family, and those of the base's own shape."""
    family, base = settings.base.family, base_path(settings.base.model)
    for config in (None, denoiser_config(family, base)):
        yield from (("denoiser", layer.name) for layer in denoiser_layers(family, config))
    for part, clip in text_encoders_of(family, None).items():
        yield from ((part, layer.name) for layer in clip_layers(clip))


def begin(_: Parent) -> Answer:
    """Exports `wanted` (the fields of `Wanted`) of `run` (its folder)."""
    return lambda request: export(RunDirectory(Path(request["run"]).resolve()), Wanted(**request["wanted"]))
