"""Which caption an image gets each time that it is shown: a pure function of seed, image and how often it was shown before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from loratui.engine.dataset import captions, wildcards
from loratui.engine.dataset.contents import ImageEntry
from loratui.presets.schema import Dataset

MOST_TEXTS = 1000
"""Texts that are drawn from for one image, each of which is encoded once; lines beyond are not used."""

Texts = tuple[tuple[str, ...], ...]
"""What is drawn from: for each line the texts that are made of it."""


def lines_of(caption: str, dataset: Dataset, *, apart: bool = False) -> tuple[str, ...]:
    """What of a caption is drawn from: all of it as one text, or each of its lines; the latter also where they are kept `apart`
    (`ImageEntry.apart`)."""
    if dataset.caption_choice == "whole" and not apart:
        return (captions.whole(caption),)
    return tuple(captions.lines(caption)[: 1 if dataset.caption_choice == "first" else MOST_TEXTS])


def captions_of(image: ImageEntry, dataset: Dataset) -> int:
    """How many captions an image is trained on in turn."""
    return len(lines_of(image.caption, dataset, apart=image.apart)) if image.caption else 1


def readings(lines: Sequence[str], dataset: Dataset, seed: int) -> Texts:
    """For each line the texts that its wildcards make of it, before tags are shuffled; the line alone where it has none.

    As many as `dataset.caption_variants`, in which every option comes equally often.
    """
    return _readings(tuple(lines), _count(len(lines), dataset), dataset.caption_choice == "line+wildcards", seed)


def texts(lines: Sequence[str], dataset: Dataset, seed: int) -> Texts:
    """For each line the texts as the model sees them: `readings`, with their tags in another order where the recipe wants it."""
    read = readings(lines, dataset, seed)
    if not dataset.shuffle_captions:
        return read
    return _shuffled(read, tuple(lines), _count(len(lines), dataset), dataset.keep_tokens, seed)


def drawn(of: Texts, seed: int, image: str, shown: int) -> str:
    """The text for an image that was shown `shown` times before: every line comes once before any comes again, and so
    does every text of a line."""
    turn, at = divmod(shown, len(of))
    line = _order(len(of), seed, image, turn)[at]
    own = of[line]
    again, at = divmod(turn, len(own))
    return own[_order(len(own), seed, f"{image} {line}", again)[at]]


def counts(of: Texts, seed: int, image: str, shown: int) -> dict[str, int]:
    """How often each text was drawn in the first `shown` times; the sum is `shown`. Nothing has to be gone through for it."""
    found: Counter[str] = Counter()
    turn, rest = divmod(shown, len(of))
    first = set(_order(len(of), seed, image, turn)[:rest])
    for line, own in enumerate(of):
        again, left = divmod(turn + (line in first), len(own))
        extra = set(_order(len(own), seed, f"{image} {line}", again)[:left])
        for at, text in enumerate(own):
            found[text] += again + (at in extra)
    return dict(found)


def makes_several(dataset: Dataset) -> bool:
    """Whether more than one text is made of one line of a caption: `dataset.caption_variants`, at most."""
    return dataset.shuffle_captions or dataset.caption_choice == "line+wildcards"


def _count(lines: int, dataset: Dataset) -> int:
    return max(1, min(dataset.caption_variants, MOST_TEXTS // max(1, lines)))


@lru_cache(maxsize=20_000)
def _readings(lines: tuple[str, ...], count: int, with_wildcards: bool, seed: int) -> Texts:
    return tuple(
        wildcards.drawn(line, count, f"loratui wildcards {seed} {line}")
        if with_wildcards and wildcards.has_choice(line)
        else (line,)
        for line in lines
    )


@lru_cache(maxsize=20_000)
def _shuffled(read: Texts, lines: tuple[str, ...], count: int, keep: int, seed: int) -> Texts:
    made = []
    for line, own in zip(lines, read, strict=True):
        source = random.Random(f"{seed}:{line}")
        wanted = own if len(own) > 1 else own * count
        made.append(tuple(captions.shuffled(text, keep, source.getrandbits(63)) for text in wanted))
    return tuple(made)


@lru_cache(maxsize=4096)
def _order(count: int, seed: int, of: str, turn: int) -> tuple[int, ...]:
    order = list(range(count))
    if count > 1:
        random.Random(f"loratui caption {seed} {turn} {of}").shuffle(order)
    return tuple(order)
