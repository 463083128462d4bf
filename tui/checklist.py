"""The seven points of the check after training: what to look at, what to look for, and the ticks kept in the run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One point; `{trigger}` and `{class}` are filled in before it is shown."""

    id: str
    title: str
    look_at: str
    look_for: str


POINTS: tuple[Point, ...] = (
    Point(
        "likeness",
        "Likeness",
        "The rows of the grid at strength 1.0: other clothes, places and expressions at fixed seeds.",
        "Is it the same person in all of them?",
    ),
    Point(
        "generalises",
        "Generalises, or remembers?",
        "Ask for what the pictures never showed: glasses, other hair, another background.",
        "Does it follow? Does something from the photos come back unasked?",
    ),
    Point(
        "trigger_alone",
        "Trigger alone",
        "“{trigger} portrait photo” with several seeds.",
        "Always the pose and background of one photo means that it was memorised.",
    ),
    Point(
        "quality",
        "Quality against the base",
        "Strength 0 is the base: the same prompt and seed without the LoRA.",
        "Hands, eyes, sharpness: has the LoRA made them worse?",
    ),
    Point(
        "strength",
        "Strength",
        "The columns of the grid: 0, 0.5, 1.0, 1.5.",
        "Likeness begins at 0.5 and is right at 1.0; 1.5 is usually too much.",
    ),
    Point(
        "checkpoints",
        "Checkpoints",
        "The samples of the saved epochs at the same prompt and seed.",
        "The best is often not the last. Which epoch is it?",
    ),
    Point(
        "next",
        "Next step",
        "What you saw, and what to do about it: below.",
        "Then rename the chosen file, keep recipe.toml beside it, copy it off this machine, mind the base's licence.",
    ),
)

NEXT_STEPS: tuple[tuple[str, str], ...] = (
    ("likeness weak", "more steps (10 → 12 epochs), or a higher rank"),
    ("details of the photos stick", "drop near-duplicates, add what is missing, fewer epochs"),
    ("likeness good, quality or freedom lost", "lower learning rate and more steps, lower rank, or strength 0.8"),
    ("a small feature is missed", "higher rank"),
    ("all previews the same", "check for mirrored photos"),
    ("distorted anatomy", "remove or re-caption the odd picture"),
    ("right at an earlier epoch", "use that file"),
)
"""What was seen -> what to do (guides 000, 001, 002)."""


def read_ticks(path: Path) -> dict[str, float]:
    """Ids of the ticked points with the time of the tick; empty where the file is missing or unusable."""
    try:
        body = json.loads(path.read_bytes()[:65_536])
        ticks = body["ticked"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    if not isinstance(ticks, dict):
        return {}
    known = {point.id for point in POINTS}
    return {id: float(at) for id, at in ticks.items() if id in known and isinstance(at, (int, float))}


def toggled(ticks: Mapping[str, float], id: str, now: float | None = None) -> dict[str, float]:
    """The ticks with one point ticked, or no longer ticked."""
    rest = {known: at for known, at in ticks.items() if known != id}
    return rest if id in ticks else {**rest, id: round(time.time() if now is None else now)}


def write_ticks(path: Path, ticks: Mapping[str, float]) -> None:
    """Keeps the ticks. Raises `DiskError` or `UsageError`."""
    from loratui.engine.runs import durable

    durable.make_directory(path.parent)
    durable.write_json(path, {"format": FORMAT, "ticked": dict(ticks)})
