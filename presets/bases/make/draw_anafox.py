"""Draws the demo's dataset: 18 images of the invented person `anafox` with captions as a person would write them.

Usage: python -m loratui.presets.bases.make.draw_anafox [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset
from loratui.presets.bases.make.captions import named_caption
from loratui.presets.bases.make.people import ANAFOX, FEATURES, Portrait, pose
from loratui.presets.bases.make.portraits import draw

IMAGES = 18
_SEED = 20261120


def portraits(count: int = IMAGES) -> list[Portrait]:
    """The portraits of the set. Of a few tries each, the one is taken whose mood, clothes and background were seen least.

    White walls are left out, as nobody would photograph white hair in front of one.
    """
    rng = np.random.default_rng(_SEED)
    chosen: list[Portrait] = []
    seen: dict[tuple[str, str], int] = {}
    varied = ("mood", "clothing", "clothing_colour", "background")
    for _ in range(count):
        tries = [p for p in (pose(ANAFOX, rng) for _ in range(12)) if p.background != "white"]
        best = min(tries, key=lambda p: sum(seen.get((name, getattr(p, name)), 0) / _share(name, count) for name in varied))
        chosen.append(best)
        for name in varied:
            seen[name, getattr(best, name)] = seen.get((name, getattr(best, name)), 0) + 1
    return chosen


def write_dataset(folder: Path) -> None:
    """Write the images and captions, `anafox_01.png` and `anafox_01.txt` to `anafox_18.…`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(_SEED + 1)
    for number, portrait in enumerate(portraits(), 1):
        stem = folder / f"{DEMO_TRIGGER}_{number:02d}"
        Image.fromarray(draw(portrait)).save(stem.with_suffix(".png"), optimize=True)
        caption = named_caption(portrait, f"{DEMO_TRIGGER} {DEMO_CLASS}", rng)
        stem.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")


def _share(name: str, count: int) -> float:
    """How often each value of a feature would come up in an even set."""
    return count / len(FEATURES[name])


if __name__ == "__main__":
    write_dataset(Path(sys.argv[1]) if len(sys.argv) > 1 else demo_dataset())
