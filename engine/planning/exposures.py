"""How often each image of a run is shown: a pure function of the order, so that it needs no counting while it trains."""

from __future__ import annotations

from collections.abc import Sequence

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.planning.order import OrderEntry, epoch_batches
from loratui.presets.schema import Settings


def exposures(
    entries: Sequence[OrderEntry],
    *,
    seed: int,
    batch_size: int,
    image_steps: int,
    image_steps_cap: int = 0,
    continued: bool = False,
) -> tuple[int, ...]:
    """How often each entry was shown in the first `image_steps` image-steps of a run; their sum is `image_steps`.

    `image_steps_cap` is the total at which the run ends within an epoch (0: it does not), since such a last epoch has an
    order of its own; a run that is `continued` from there goes on with whole epochs.
    """
    shown = sum(entry.repeats for entry in entries)

    def first(steps: int, done: int, cap: int) -> list[int]:
        """Of so many image-steps after `done` epochs."""
        whole, rest = divmod(steps, shown) if shown else (0, 0)
        counts = [whole * entry.repeats for entry in entries]
        if rest:
            limit = min(shown, cap - whole * shown) if cap else None
            place = {entry.index: at for at, entry in enumerate(entries)}
            batches = epoch_batches(entries, seed=seed, epoch=done + whole + 1, batch_size=batch_size, limit=limit)
            for index in [index for batch in batches for index in batch][:rest]:
                counts[place[index]] += 1
        return counts

    if not continued or not 0 < image_steps_cap < image_steps:
        return tuple(first(image_steps, 0, image_steps_cap))
    before = first(image_steps_cap, 0, image_steps_cap)
    after = first(image_steps - image_steps_cap, -(-image_steps_cap // shown), 0)
    return tuple(map(sum, zip(before, after, strict=True)))


def times_shown(images: Sequence[LedgerEntry], settings: Settings, image_step: int) -> tuple[int, ...]:
    """How often each image of a ledger was shown when a run stood at `image_step`.

    `settings` are those in force (`effective.toml`): seed, batch size and the total of a run that ends within an epoch.
    """
    return exposures(
        [OrderEntry(at, entry.bucket, entry.repeats) for at, entry in enumerate(images)],
        seed=settings.training.seed,
        batch_size=settings.training.batch_size,
        image_steps=image_step,
        image_steps_cap=settings.schedule.image_steps,
        continued=bool(settings.schedule.continue_run),
    )
