"""The LoRA files of a run: what they are called, and of which optimizer step each of them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from loratui.engine.errors import UsageError
from loratui.engine.formats.safetensors_file import read_metadata
from loratui.engine.runs.directory import RunDirectory, safe_name
from loratui.engine.runs.state_file import read_state
from loratui.presets.schema import Settings

ENDING = ".safetensors"


def output_name(settings: Settings) -> str:
    """What the LoRA files of a run are called, without step and ending."""
    return safe_name(settings.output.name or settings.dataset.trigger or "lora")


def chosen_name(typed: str) -> str:
    """A file's name, without its ending, from what a person typed; empty if that was nothing."""
    name = typed.strip().removesuffix(ENDING)
    return safe_name(name) if name else ""


def file_name(name: str, step: int | None = None) -> str:
    """The name of the file of an optimizer step; without one, of the finished file."""
    return f"{name}{ENDING}" if step is None else f"{name}-{step:06d}{ENDING}"


def lora_paths(run: RunDirectory) -> list[Path]:
    """All LoRA files in a run's output folder, whoever put them there."""
    return sorted(run.output.glob(f"*{ENDING}"))


@dataclass(frozen=True, slots=True)
class LoraFiles:
    """The LoRA files of a run, relative to it."""

    steps: tuple[str, ...] = ()
    """Those of a step, oldest first: of the ends of epochs, and of pauses and stops in the middle of one."""
    epochs: tuple[str, ...] = ()
    """Of those, the ends of epochs."""
    final: str = ""
    """The finished one, else the newest; empty if there is none."""
    step_of: Mapping[str, int] = field(default_factory=dict)
    """The optimizer step of each of them; of the finished one only if it tells it."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every one, the finished one last."""
        return self.steps if self.final in self.steps or not self.final else (*self.steps, self.final)

    def words(self, file: str) -> str:
        """A file in a word or two: `step 270`, or the name of one that is of no step; empty stands for the base."""
        return f"step {self.step_of[file]}" if file in self.steps else PurePosixPath(file).name or "the base"


def lora_files(run: RunDirectory, settings: Settings) -> LoraFiles:
    """The files that the run wrote. While its steps per epoch are unknown, all are taken for ends of epochs."""
    name, steps_per_epoch = output_name(settings), read_state(run).steps_per_epoch
    finished = run.output / file_name(name)
    step_of = {f"output/{path.name}": step for path in lora_paths(run) if (step := _step(path, name)) is not None}
    final = f"output/{finished.name}"
    oldest_first = sorted(step_of.keys() - {final}, key=lambda file: (step_of[file], file))
    epochs = [file for file in oldest_first if not steps_per_epoch or step_of[file] % steps_per_epoch == 0]
    newest = oldest_first[-1] if oldest_first else ""
    return LoraFiles(tuple(oldest_first), tuple(epochs), final if finished.is_file() else newest, step_of)


def _step(path: Path, name: str) -> int | None:
    """The step of a file that the run called so; None for any other, whatever digits its name ends with."""
    try:
        told = read_metadata(path).get("ss_steps", "")
    except UsageError:  # nothing can be read of it; what it is called is left
        told = ""
    if not told and path.name != file_name(name):
        told = path.stem.removeprefix(f"{name}-")
    step = int(told) if told.isascii() and told.isdecimal() and len(told) < 16 else None
    return step if path.name in (file_name(name), file_name(name, step)) else None
