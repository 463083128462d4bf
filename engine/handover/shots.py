"""Images that show what a LoRA file does: of its validation, else the samples of its step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.lora_files import lora_files
from loratui.engine.runs.tail import Tail
from loratui.presets.schema import Settings


@dataclass(frozen=True, slots=True)
class ShotOf:
    """An image that the file made."""

    path: Path
    prompt: str
    strength: float | None
    """None for a sample of the training."""


def read_history(log: Path) -> RunHistory:
    """All that a log tells."""
    history = RunHistory()
    for batch in Tail(log).drain():
        history.apply_batch(batch)
    return history


def shots_of(run: RunDirectory, settings: Settings, file: str, strength: float) -> list[ShotOf]:
    """The images of a file at the strength nearest to `strength`: one of each prompt first, prompts of the trigger alone last."""
    dataset = settings.dataset
    found: dict[Path, ShotOf] = {}
    for image in read_history(run.validation_events).grid_images:
        path = run.file(image.path)
        if image.file == file and image.strength > 0 and path is not None and path.is_file():
            found[path] = ShotOf(path, image.prompt, image.strength)
    nearest = min((abs((shot.strength or 0) - strength) for shot in found.values()), default=0.0)
    shots = [shot for shot in found.values() if abs((shot.strength or 0) - strength) <= nearest]
    if not shots:
        step = lora_files(run, settings).step_of.get(file)
        samples = read_history(run.events).samples
        last = step if step is not None else max((sample.step for sample in samples), default=0)
        for sample in samples:
            path = run.file(sample.path)
            if sample.step == last and path is not None and path.is_file():
                shots.append(ShotOf(path, sample.prompt, None))
    firsts = {shot.prompt: shot for shot in reversed(shots)}
    rest = [shot for shot in shots if shot is not firsts[shot.prompt]]
    ordered = [firsts[prompt] for prompt in dict.fromkeys(shot.prompt for shot in shots)]
    return sorted([*ordered, *rest], key=lambda shot: is_trigger_alone(shot.prompt, dataset.trigger, dataset.class_word))
