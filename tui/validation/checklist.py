"""The validation's seven parts in words, and what a person can see in its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loratui.engine.proof.told import PART_TITLES
from loratui.engine.words import count, number

if TYPE_CHECKING:
    from loratui.presets.schema import Settings


@dataclass(frozen=True, slots=True)
class Point:
    """One part of the validation; `{trigger}` and `{class}` are filled in before it is shown."""

    id: str
    title: str
    why: str
    """What it is for."""
    look_at: str
    look_for: str


POINTS: tuple[Point, ...] = (
    Point(
        "likeness",
        PART_TITLES["likeness"],
        "A LoRA of a person or thing is useless if it shows somebody else.",
        "The same file at its normal strength, with other clothes, places and expressions.",
        "Is it the same person in all of them?",
    ),
    Point(
        "generalises",
        PART_TITLES["generalises"],
        "A memorised photo comes back whatever you ask for.",
        "Each image beside the training image it is most like. Ask for what the photos never showed: glasses, other "
        "hair, another background.",
        "Does it follow? Does something from the photos come back unasked?",
    ),
    Point(
        "trigger_alone",
        PART_TITLES["trigger_alone"],
        "With no other words, the LoRA shows what it learnt most.",
        "“{trigger} portrait photo” with several seeds.",
        "If all have the pose and background of one photo, it was memorised.",
    ),
    Point(
        "quality",
        PART_TITLES["quality"],
        "Training can cost what the base was good at.",
        "The same prompt and seed with the LoRA, and without it, with the class word in place of the trigger.",
        "Hands, eyes, sharpness: has the LoRA made them worse?",
    ),
    Point(
        "strength",
        PART_TITLES["strength"],
        "Its range of usable strengths shows whether it learnt too little or too much.",
        "The same prompt and seed from strength 0 upwards.",
        "Likeness begins at 0.5 and is right at 1.0; 1.5 is usually too much.",
    ),
    Point(
        "checkpoints",
        PART_TITLES["checkpoints"],
        "Training saved several files, and the best is often not the last.",
        "The same prompt and seed through every saved epoch.",
        "At which epoch is it right, and when does it become stiff? Rate the files, choose one.",
    ),
    Point(
        "next",
        PART_TITLES["next"],
        "What you saw says what to do.",
        "Mark what you saw; what to do is beside it.",
        "Choose a file, keep it under a name, copy it off this machine, and check the base's licence.",
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that a validation can show, and what to do about it."""

    id: str
    seen: str
    do: str
    points: tuple[str, ...]
    """The parts in which it shows."""


SEEN: tuple[Seen, ...] = (
    Seen("weak", "likeness weak", "more steps (a fifth more epochs), or a higher rank", ("likeness", "strength")),
    Seen(
        "sticks",
        "details of the photos stick",
        "drop near-duplicates, add what is missing, fewer epochs",
        ("generalises", "trigger_alone"),
    ),
    Seen(
        "stiff",
        "likeness good, quality or freedom lost",
        "lower learning rate and more steps, lower rank, or strength 0.8",
        ("generalises", "quality", "strength"),
    ),
    Seen("feature", "a small feature is missed", "higher rank", ("likeness",)),
    Seen("same", "all previews the same", "check for mirrored photos", ("trigger_alone",)),
    Seen("anatomy", "distorted anatomy", "remove or re-caption the odd image", ("quality",)),
    Seen("earlier", "right at an earlier epoch", "use that file", ("checkpoints",)),
)


def advice(seen: Seen, *, epochs: int = 0, image_steps: int = 0, rank: int = 0, most_rank: int = 0) -> str:
    """What to do about something seen, with the run's numbers where they are known (not 0).

    `most_rank`: the highest rank without a warning for this recipe.
    """
    if seen.id == "weak" and epochs > 0:
        more = epochs + max(1, round(epochs / 5))
        told = f"{number(image_steps)} → {number(image_steps * more // epochs)}"
        steps = f": {told} image-steps" if image_steps > 0 else ""
        return f"more steps ({number(epochs)} → {count(more, 'epoch')}{steps}), or a {_higher(rank, most_rank)}"
    if seen.id == "feature":
        return _higher(rank, most_rank)
    if seen.id == "sticks" and epochs > 2:
        return f"drop near-duplicates, add what is missing, fewer epochs ({epochs} → {epochs - max(1, round(epochs / 5))})"
    return seen.do


def numbers(settings: Settings) -> dict[str, int]:
    """The numbers of a run that `advice` takes."""
    schedule, adapter = settings.schedule, settings.adapter
    return {
        "epochs": schedule.epochs,
        "image_steps": schedule.image_steps,
        "rank": adapter.rank,
        "most_rank": adapter.rank_wanted[1],
    }


def _higher(rank: int, most: int) -> str:
    if 0 < most <= rank:
        return f"higher rank, though {most} is the most for this recipe"
    return f"higher rank ({rank} → {min(2 * rank, most or 2 * rank)})" if rank > 0 else "higher rank"
