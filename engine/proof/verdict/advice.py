"""What to change after a verdict, as sentences and as what a program can apply; by what was seen, as the guides do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from loratui.engine.proof.verdict.axes import Measured, Reading
from loratui.engine.runs.image_losses import Pull
from loratui.engine.words import are, count, listed, short

if TYPE_CHECKING:
    from loratui.presets.schema import Settings

Advice = dict[str, Any]
NEARLY = 0.8
"""Share of the way to the photos from which a fifth more epochs are enough, as the guides have it."""
NOTHING = 0.03
"""Change, as a share of the distance between seeds, up to which a LoRA does nothing."""


@dataclass(frozen=True)
class Seen:
    """What advice goes by."""

    kind: str
    found: Measured
    axes: Mapping[str, Reading]
    file: str
    settings: Settings | None
    """Of the run; None for a file without one."""
    pulls: Sequence[Pull] = ()
    """Trained images that stood out by their loss."""


def advice(seen: Seen, best: Mapping[str, Any] | None) -> list[Advice]:
    """`{id, change, why, do}`, the most helpful first."""
    trigger = list(_with_trigger(seen))
    wrong = seen.kind == "wrong_data"
    changes = [*(trigger if wrong else ()), *(_CHANGES[seen.kind](seen) if seen.kind in _CHANGES else ())]
    kept = None if wrong else _keep(best, seen)
    use = [kept] if kept else []
    rows = [*use, *changes] if seen.kind in ("good", "overtrained") else [*changes, *use]
    return [*rows, *([] if wrong else trigger), *_by_image(seen.pulls), *_see_more(seen)]


def _advice(id: str, change: str, why: str, **do: Any) -> Advice:
    return {"id": id, "change": change, "why": why, "do": do}


def _keep(best: Mapping[str, Any] | None, seen: Seen) -> Advice | None:
    """The file to use as it is."""
    if best is None or (seen.kind == "undertrained" and best["file"] == seen.file and best["strength"] <= 1):
        return None
    name = PurePosixPath(best["file"]).name
    return _advice(
        "use_best",
        f"Use {name} at strength {best['strength']:g}.",
        best["reason"],
        use={"file": best["file"], "strength": best["strength"]},
    )


def _longer(seen: Seen) -> Iterator[Advice]:
    settings, axes = seen.settings, seen.axes
    epochs = settings.schedule.epochs if settings else 0
    likeness = axes.get("likeness")
    far = likeness is None or likeness.value < 0.5
    change = axes.get("change")
    if change is not None and change.value < NOTHING:
        look = "Check that the file is of this base, and that the learning rate is not 0."
        yield _advice("does_nothing", look, "The images are the base's: the LoRA does nothing.", look=look)
    if epochs:
        near = likeness is not None and likeness.value >= NEARLY
        more = epochs if far else max(1, round(epochs / (5 if near else 2)))
        yield _advice(
            "train_longer",
            f"Continue for {count(more, 'epoch')} ({epochs} → {epochs + more}).",
            "It is nearly there." if near else "It is far from done." if far else "It is on its way.",
            continue_epochs=more,
        )
    late = axes.get("late")
    if settings and late is not None and late.value < 0.02:
        rank = min(2 * settings.adapter.rank, settings.adapter.rank_wanted[1])
        if rank > settings.adapter.rank:
            why = "The likeness no longer grew at the end: the LoRA may be too small."
            yield _advice("higher_rank", f"Rank {settings.adapter.rank} → {rank}.", why, settings={"adapter.rank": rank})
    if settings and far:
        rate = settings.optimizer.learning_rate
        why = "The images hardly differ from the base's."
        if change is not None and change.value < 0.2:
            yield _advice(
                "higher_rate",
                f"Learning rate {short(rate)} → {short(2 * rate)}.",
                why,
                settings={"optimizer.learning_rate": 2 * rate},
            )


def _shorter(seen: Seen) -> Iterator[Advice]:
    settings = seen.settings
    if settings is None:
        return
    epochs, rate = settings.schedule.epochs, settings.optimizer.learning_rate
    if epochs > 1:
        fewer = max(1, epochs // 2)
        why = "Quality or freedom was lost after the subject was learnt."
        yield _advice("fewer_epochs", f"Fewer epochs ({epochs} → {fewer}).", why, settings={"schedule.epochs": fewer})
    why = "A lower rate keeps more of what the base can do."
    yield _advice(
        "lower_rate", f"Learning rate {short(rate)} → {short(rate / 2)}.", why, settings={"optimizer.learning_rate": rate / 2}
    )
    rank = settings.adapter.rank // 2
    if rank >= settings.adapter.rank_wanted[0]:
        why = "A smaller LoRA has less room for the photos themselves."
        yield _advice("lower_rank", f"Rank {settings.adapter.rank} → {rank}.", why, settings={"adapter.rank": rank})


def _less_by_heart(seen: Seen) -> Iterator[Advice]:
    settings, found = seen.settings, seen.found
    alike = found.row("generalises", "distinct").get("alike") or []
    surplus = [name for group in alike for name in group[1:]]
    left = found.row("generalises", "distinct").get("distinct")
    if surplus:
        why = f"{are(len(surplus), 'photo')} nearly the same as another: they count as one photo, shown many times."
        yield _advice("leave_out_alike", f"Leave out {count(len(surplus), 'near-duplicate')}.", why, leave_out=surplus)
    if isinstance(left, int) and left < 10:
        look = "Add photos with other clothes, places, light and poses."
        yield _advice("add_photos", look, f"Only {are(left, 'photo')} left without near-duplicates.", look=look)
    if settings and settings.schedule.epochs > 1 and not surplus:
        epochs = settings.schedule.epochs
        fewer = max(1, epochs // 2)
        yield _advice(
            "fewer_epochs",
            f"Fewer epochs ({epochs} → {fewer}).",
            "The photos come back unasked.",
            settings={"schedule.epochs": fewer},
        )


def _with_trigger(seen: Seen) -> Iterator[Advice]:
    """What to do about captions without the trigger, whatever the verdict is."""
    trigger = seen.settings.dataset.trigger if seen.settings else ""
    if without := seen.found.row("likeness", "trigger_said").get("without"):
        why = f"{count(len(without), 'caption')} without it: {listed(without, 3)}."
        yield _advice("caption_trigger", f"Put the trigger “{trigger}” into every caption.", why, re_caption=without)


def _right_data(seen: Seen) -> Iterator[Advice]:
    found, axes = seen.found, seen.axes
    groups = found.row("likeness", "people").get("groups") or []
    if len(groups) > 1:
        others = [name for group in groups[1:] for name in group]
        why = "The photos show several people under one name."
        yield _advice(
            "leave_out_others",
            f"Leave out the {count(len(others), 'photo')} of the others, or name each person.",
            why,
            leave_out=others,
        )
    fit = axes.get("captions_fit")
    if fit is not None and fit.value < 0.7:
        lost = found.row("generalises", "captions_fit").get("lost") or []
        why = "They fit their photos hardly better than those of other photos."
        yield _advice(
            "re_caption", "Check the captions against their photos.", why, **({"re_caption": lost} if lost else {"look": why})
        )


def _by_image(pulls: Sequence[Pull]) -> Iterator[Advice]:
    """What to do about photos that were learnt otherwise than the rest."""
    if stuck := [pull.image for pull in pulls if pull.kind == "stuck"]:
        why = "The LoRA hardly learnt what they show: they are unlike the others, or their captions say something else."
        yield _advice(
            "re_caption_stuck", f"Correct the captions of {listed(stuck, 3)}, or leave them out.", why, re_caption=stuck
        )
    if exhausted := [pull.image for pull in pulls if pull.kind == "exhausted"]:
        why = "The LoRA knows them by heart: their loss fell more than twice as far as that of the others."
        yield _advice("leave_out_exhausted", f"Leave out {listed(exhausted, 3)}, or copies of them.", why, leave_out=exhausted)


def _see_more(seen: Seen) -> Iterator[Advice]:
    """What a clearer verdict needs."""
    found = seen.found
    if not found.row("generalises", "variety") and found.row("likeness", "change"):
        look = "Make the validation images with 3 seeds: loratui validate RUN --seeds 3"
        yield _advice("more_seeds", "Validate with more seeds.", "With one seed, variety and spread are unknown.", look=look)


_CHANGES: Mapping[str, Callable[[Seen], Iterator[Advice]]] = {
    "undertrained": _longer,
    "overtrained": _shorter,
    "memorised": _less_by_heart,
    "wrong_data": _right_data,
}
