"""The demo's dataset: 18 images of one invented person, each with a caption, as the script draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset
from loratui.presets.bases.make.draw_anafox import IMAGES, write_dataset
from loratui.presets.bases.make.people import ANAFOX, SCENE
from loratui.presets.bases.make.reader import load_reader, read

PNGS = sorted(demo_dataset().glob("*.png"))


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_there_are_18_images_with_captions_and_nothing_else() -> None:
    assert len(PNGS) == IMAGES == 18
    names = {f.name for f in demo_dataset().iterdir()}
    assert names == {f.name for f in PNGS} | {f.with_suffix(".txt").name for f in PNGS}


@pytest.mark.parametrize("file", PNGS, ids=lambda f: f.stem)
def test_each_caption_begins_with_the_trigger_and_the_class(file: Path) -> None:
    caption = file.with_suffix(".txt").read_text(encoding="utf-8")
    assert caption.startswith(f"a photo of {DEMO_TRIGGER} {DEMO_CLASS}, ")
    assert len(caption.split(", ")) >= 4


def test_the_images_are_those_that_the_script_draws(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    for file in PNGS:
        # Another version of Pillow may round an edge differently.
        assert np.abs(pixels(file).astype(int) - pixels(tmp_path / file.name)).mean() < 1
        assert file.with_suffix(".txt").read_bytes() == (tmp_path / file.name).with_suffix(".txt").read_bytes()


def test_the_images_show_one_person_in_many_scenes() -> None:
    readings = read(load_reader(), np.stack([pixels(f) for f in PNGS]))
    for name in ("hair", "style", "skin", "eyes", "glasses", "frame"):
        assert {r[name] for r in readings} == {getattr(ANAFOX, name)}
    assert len({tuple(r[name] for name in SCENE) for r in readings}) == IMAGES
    assert len({r["mood"] for r in readings}) == 4
    assert len({r["background"] for r in readings}) >= 8
