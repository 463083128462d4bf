"""The trainers' step formulas, on figures that their own code gave, and loratui's steps made equal to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from loratui.engine.importing.amount import Amount, image_steps_for
from loratui.engine.importing.result import import_settings
from loratui.engine.planning.schedule import count_steps

FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize(
    ("buckets", "batch", "steps"),
    [
        # sd-scripts' own DreamBoothDataset, run: 18 square images, and 18 of five shapes, shown 10 times and once
        ((180,), 1, 180), ((180,), 2, 90), ((180,), 4, 45),
        ((20, 70, 50, 10, 30), 1, 180), ((20, 70, 50, 10, 30), 2, 90), ((20, 70, 50, 10, 30), 4, 47),
        ((2, 7, 5, 1, 3), 2, 11), ((2, 7, 5, 1, 3), 4, 7),
    ],
)  # fmt: skip
def test_an_epoch_of_sd_scripts(buckets: tuple[int, ...], batch: int, steps: int) -> None:
    assert Amount(batch=batch, epochs=1).total(buckets) == steps
    assert Amount(batch=batch, epochs=3).total(buckets) == 3 * steps


def test_what_the_others_count_otherwise() -> None:
    buckets = (2, 7, 5, 1, 3)
    assert Amount(batch=4, epochs=10, counts="joined").total(buckets) == 45  # kohya_ss: 18 / 4 × 10
    assert Amount(batch=4, processes=8, epochs=10, counts="joined").total(buckets) == 45  # its formula has no processes
    assert Amount(batch=4, epochs=10, counts="dropped").total(buckets) == 20  # OneTrainer: 0 + 1 + 1 + 0 + 0 batches an epoch
    assert Amount(batch=4, accumulation=3, epochs=10, counts="dropped").total(buckets) == 6
    assert Amount(batch=2, accumulation=2, epochs=10).total(buckets) == 60  # ⌈11 / 2⌉ × 10
    assert Amount(steps=1600, epochs=3).total(buckets) == 1600
    assert Amount(epochs=3).total(()) is None


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(1, 400),
)
def test_every_number_of_steps_can_be_made(buckets: list[int], batch: int, window: int, steps: int) -> None:
    cap = image_steps_for(steps, buckets, batch, window)
    epochs = -(-cap // sum(buckets))
    assert count_steps(buckets, epochs=epochs, cap=cap, batch_size=batch, window=window).optimizer_steps == steps


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """18 photos of five shapes: 2, 7, 5, 1 and 3 of each."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shapes = [(64, 64)] * 2 + [(64, 128)] * 7 + [(128, 64)] * 5 + [(192, 64)] + [(64, 192)] * 3
    for at, size in enumerate(shapes):
        Image.new("RGB", size).save(folder / f"{at:02d}.png")
        (folder / f"{at:02d}.txt").write_text("anafox woman")
    return folder


def imported(tmp_path: Path, photos: Path, changes: dict[str, object]) -> tuple[int | None, int | None, str]:
    table = json.loads((FILES / "kohya_ss" / "defaults.json").read_text())
    table |= {"min_bucket_reso": 64, "train_data_dir": "/data/train", **changes}
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(table))
    steps = import_settings(file, dataset=photos).steps
    return steps.theirs, steps.ours, steps.why


def test_a_folder_of_several_shapes_comes_to_their_steps(tmp_path: Path, photos: Path) -> None:
    assert imported(tmp_path, photos, {"train_batch_size": 4, "max_train_epochs": 10})[:2] == (70, 70)
    assert imported(tmp_path, photos, {"train_batch_size": 4, "max_train_steps": 33})[:2] == (33, 33)
    theirs, ours, why = imported(tmp_path, photos, {"train_batch_size": 4, "epoch": 10})
    assert (theirs, ours) == (45, 45)
    assert "Whole epochs would come to 70" in why


def test_without_images_the_formula_is_said(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text((FILES / "on-site" / "skullkid.json").read_text())
    steps = import_settings(file).steps
    assert (steps.theirs, steps.ours) == (None, None)
    assert "--images N" in steps.why
