"""What a person changed while the run trains: other samples, an end after an epoch. It is kept in the run for a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeGuard

from loratui.engine import sealed
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.untrusted import Gone
from loratui.engine.words import count, number

FORMAT = 1
MOST_PROMPTS = 16
"""Samples cost time each time they are made; larger sets belong in the validation."""
LONGEST_PROMPT = 1000
LARGEST_INTERVAL = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is in force instead of the recipe, and the fields of `changes_in_force`; None where the recipe still holds."""

    prompts: tuple[str, ...] | None = None
    """Sample prompts, with their placeholders."""
    every_image_steps: int | None = None
    """Image-steps between samples; 0: once an epoch."""
    stop_after_epoch: int | None = None
    """The run ends with this epoch. A pause or a crash keeps it; a stop or the end of the run drops it."""


class ChangeError(ValueError):
    """A change that cannot be made; the text is for the person."""


def read(run: RunDirectory, in_the_log: Callable[[], Changes] = Changes) -> Changes:
    """The changes of a run. If the file was deleted, those that the log has; values that cannot be used are skipped."""
    try:
        body = sealed.read(run.changes, run.path)
    except Gone:
        return _usable(asdict(in_the_log()))
    except OSError:
        return Changes()
    return _usable(body) if body.get("v") == FORMAT else Changes()


def _usable(body: Mapping[str, Any]) -> Changes:
    found = Changes()
    for name in ("prompts", "every_image_steps"):
        try:
            found = with_samples(found, {name: body.get(name)})
        except ChangeError:
            continue
    epoch = body.get("stop_after_epoch")
    return replace(found, stop_after_epoch=epoch if _is_whole(epoch) and epoch > 0 else None)


def write(run: RunDirectory, changes: Changes) -> None:
    """Saves the changes. Raises `DiskError`."""
    sealed.write(run.changes, {"v": FORMAT, **asdict(changes)}, run.path)


def with_samples(before: Changes, args: Mapping[str, Any]) -> Changes:
    """`before` with the arguments of `set_samples`: `prompts`, `every_image_steps`, or both. Raises `ChangeError`."""
    prompts, every = args.get("prompts"), args.get("every_image_steps")
    after = before
    if prompts is not None:
        if not isinstance(prompts, (list, tuple)) or not all(isinstance(prompt, str) for prompt in prompts):
            raise ChangeError("The prompts must be a list of texts.")
        kept = tuple(prompt.strip() for prompt in prompts if prompt.strip())
        if not kept:
            raise ChangeError("There must be at least one prompt.")
        if len(kept) > MOST_PROMPTS:
            raise ChangeError(f"{count(len(kept), 'prompt')} are too many; {MOST_PROMPTS} are allowed while training.")
        for at, prompt in enumerate(kept, 1):
            if len(prompt) > LONGEST_PROMPT:
                size = count(len(prompt), "character")
                raise ChangeError(f"Prompt {at} has {size}; {LONGEST_PROMPT} are allowed while training.")
        after = replace(after, prompts=kept)
    if every is not None:
        if not _is_whole(every) or not 0 <= every <= LARGEST_INTERVAL:
            most = number(LARGEST_INTERVAL)
            raise ChangeError(f"The interval must be a number of image-steps from 0 (once an epoch) to {most}.")
        after = replace(after, every_image_steps=every)
    return after


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
