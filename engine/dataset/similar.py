"""Which images are alike: same bytes, nearly the same image, mirrored, or before the same background."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from loratui.engine.dataset import decoding
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.scan import ImageEntry

NEAR_BITS = 10
"""Bits of the perceptual hash in which near images differ at most; a crop of 4 % changes 4 to 16."""
NEAR_LEVELS = 9.0
"""Mean difference of 8 × 8 thumbnails of near images, levels, after their brightness is made equal."""
BACKGROUND_LEVELS = 10.0
"""Mean difference along the frames of thumbnails before the same background, levels."""

_BANDS, _BAND_BITS = 4, 16
_BAND_MASK = (1 << _BAND_BITS) - 1
_REACH = NEAR_BITS // _BANDS
_CHANGED = tuple(
    sum(1 << bit for bit in bits) for count in range(_REACH + 1) for bits in combinations(range(_BAND_BITS), count)
)
"""Every way to change at most so many bits of a band."""
_FRAME = tuple(3 * cell + c for cell in range(64) if cell // 8 == 0 or cell % 8 in (0, 7) for c in range(3))
"""Bytes of a thumbnail that lie at its left, right and upper edge."""
_SAMPLE, _CENTRES = 200, 40


def copies(images: Iterable[ImageEntry]) -> tuple[tuple[str, ...], ...]:
    """Groups of relative paths whose files hold the same bytes. Reads only files of equal length."""
    by_size: dict[int, list[ImageEntry]] = defaultdict(list)
    for image in images:
        by_size[image.bytes].append(image)
    groups: dict[str, list[str]] = defaultdict(list)
    for members in by_size.values():
        for image in members if len(members) > 1 else ():
            try:
                with decoding.open_regular(image.path) as file:
                    groups[hashlib.file_digest(file, "sha256").hexdigest()].append(image.relative)
            except (decoding.ImageError, OSError):
                continue  # it vanished meanwhile; whoever opens it next says so
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def near_groups(facts: Mapping[str, ImageFacts]) -> tuple[tuple[str, ...], ...]:
    """Groups of images that are nearly the same, largest first."""
    first_with: dict[int, str] = {}
    pairs = []
    for name, found in facts.items():
        same = first_with.setdefault(found.hash, name)
        if same != name and alike(facts[same].thumbnail, found.thumbnail):
            pairs.append((same, name))
    distinct = [(name, value) for value, name in first_with.items()]
    pairs += [
        (one, other)
        for one, other in _candidates(distinct, distinct)
        if one < other and alike(facts[one].thumbnail, facts[other].thumbnail)
    ]
    return _groups(pairs)


def mirrored_pairs(facts: Mapping[str, ImageFacts]) -> tuple[tuple[str, str], ...]:
    """Pairs of which one is the other in a mirror; an image that is its own mirror image is none."""
    upright = [(name, f.hash) for name, f in facts.items()]
    turned = [(name, f.mirrored_hash) for name, f in facts.items() if (f.hash ^ f.mirrored_hash).bit_count() > NEAR_BITS]
    return tuple(
        sorted(
            (one, other)
            for one, other in _candidates(upright, turned)
            if one < other and alike(facts[one].thumbnail, mirrored(facts[other].thumbnail))
        )
    )


def same_background(facts: Mapping[str, ImageFacts]) -> tuple[str, ...]:
    """The largest group of images whose frames look alike; of large sets a sample decides around which."""
    frames = {name: [f.thumbnail[at] for at in _FRAME] for name, f in facts.items()}
    sample = list(frames)[:: max(1, len(frames) // _SAMPLE)]
    centres = sample[:: max(1, len(sample) // _CENTRES)]

    def around(centre: str, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if _difference(frames[centre], frames[name]) <= BACKGROUND_LEVELS)

    best = max(centres, key=lambda centre: len(around(centre, sample)), default=None)
    group = around(best, frames) if best is not None else ()
    return group if len(group) > 1 else ()


def _candidates(ones: Sequence[tuple[str, int]], others: Sequence[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Pairs of one of each whose hashes differ in at most `NEAR_BITS` bits, each pair once.

    At least one of the bands of such a pair differs in no more than its share of those bits, so that it is found by looking
    that many changed bits around each band: Norouzi et al., "Fast Search in Hamming Space with Multi-Index Hashing" (2012).
    """
    for band in range(_BANDS):
        shift = band * _BAND_BITS
        shelves: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for name, value in ones:
            shelves[value >> shift & _BAND_MASK].append((name, value))
        for other, value in others:
            key = value >> shift & _BAND_MASK
            for changed in _CHANGED:
                for name, own in shelves.get(key ^ changed, ()):
                    differs = own ^ value
                    if differs.bit_count() <= NEAR_BITS and not _near_in_a_band(differs, band):
                        yield name, other


def _near_in_a_band(differs: int, bands: int) -> bool:
    """Whether one of the first `bands` bands is so near that the pair was seen before."""
    return any((differs >> band * _BAND_BITS & _BAND_MASK).bit_count() <= _REACH for band in range(bands))


def alike(one: bytes, other: bytes) -> bool:
    """Whether two 8 × 8 thumbnails of RGB are those of nearly the same image, whatever their brightness."""
    return apart(one, other) <= NEAR_LEVELS


def apart(one: bytes, other: bytes) -> float:
    """Mean difference of two thumbnails, levels, after their brightness is made equal."""
    shift = (sum(one) - sum(other)) / len(one)
    return sum(abs(a - b - shift) for a, b in zip(one, other, strict=True)) / len(one)


def _difference(one: Sequence[int], other: Sequence[int]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def mirrored(thumbnail: bytes) -> bytes:
    """An 8 × 8 thumbnail of RGB in a mirror."""
    cells = [thumbnail[at : at + 3] for at in range(0, len(thumbnail), 3)]
    return b"".join(cell for row in range(0, 64, 8) for cell in reversed(cells[row : row + 8]))


def _groups(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Connected names, each group sorted, largest group first."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for one, other in pairs:
        leader[find(one)] = find(other)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in leader:
        groups[find(name)].append(name)
    return tuple(sorted((tuple(sorted(group)) for group in groups.values()), key=lambda group: (-len(group), group)))
