"""In which order an epoch shows its images: a pure function of seed and epoch, so that a resumed run goes on exactly."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OrderEntry:
    """One image: its index in the ledger, its bucket, and how often an epoch shows it."""

    index: int
    bucket: Hashable
    repeats: int


def epoch_batches(
    entries: Sequence[OrderEntry], *, seed: int, epoch: int, batch_size: int, limit: int | None = None
) -> list[list[int]]:
    """The batches of one epoch as lists of image indices, in training order.

    Every image appears `repeats` times; a batch never mixes buckets, so the last of a bucket may be short.
    With `limit`, the epoch ends after that many image-steps: full batches then come before short ones, so that
    the number of batches does not depend on the shuffle, and the last batch is cut to fit.

    The same arguments give the same batches on every machine and Python: `random.Random` seeded with a text
    (hashed by SHA-512), and its `shuffle`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} is less than 1")
    generator = random.Random(f"loratui order {seed} {epoch}")
    by_bucket: dict[Hashable, list[int]] = {}
    for entry in entries:
        by_bucket.setdefault(entry.bucket, []).extend([entry.index] * entry.repeats)
    batches: list[list[int]] = []
    for indices in by_bucket.values():
        generator.shuffle(indices)
        batches.extend(indices[at : at + batch_size] for at in range(0, len(indices), batch_size))
    generator.shuffle(batches)
    if limit is None or limit >= sum(map(len, batches)):
        return batches
    batches.sort(key=len, reverse=True)  # stable: the shuffled order stays among equals
    return _cut(batches, limit)


def _cut(batches: list[list[int]], limit: int) -> list[list[int]]:
    kept: list[list[int]] = []
    left = limit
    for batch in batches:
        if left <= 0:
            break
        kept.append(batch[:left])
        left -= len(batch)
    return kept
