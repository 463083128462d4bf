"""Masks made by models, through the real process: what is marked, what is kept, and what happens to images that are none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_images import drawn
from PIL import Image
from small_files import YUNET_STAND_IN

from loratui.engine.captioning.mask_worker import heads
from loratui.engine.dataset import mask_making, masks
from loratui.engine.dataset.facts import Box
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import ExitCode
from loratui.engine.jobs import JobFailed
from loratui.presets.schema import Dataset
from loratui.tui import cli


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images with a face, by the detector that stands in, and one that cannot be decoded."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b", "c"):
        drawn(ord(name), (64, 64)).save(folder / f"{name}.png")
    whole = (folder / "a.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[:60] + bytes(20) + whole[80:])
    return folder


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights that find a face of 16 × 24 px around (16, 48) of 64 × 64, in the only home that there is."""
    pytest.importorskip("cv2")
    home = tmp_path / "home"
    known = {"bytes": len(YUNET_STAND_IN), "sha256": hashlib.sha256(YUNET_STAND_IN).hexdigest()}
    monkeypatch.setattr(mask_making, "WEIGHTS", {"face": replace(mask_making.WEIGHTS["face"], **known)})
    monkeypatch.setenv("LORATUI_HOME", str(home))
    path = home / "models" / mask_making.WEIGHTS["face"].file
    path.parent.mkdir(parents=True)
    path.write_bytes(YUNET_STAND_IN)
    return path


def test_masks_of_faces_are_made_once_and_used(photos: Path, detector: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "masks-face").mkdir()
    own = Image.new("L", (64, 64), 255)
    own.save(photos / "masks-face" / "b.png")
    drawn(9, (64, 64)).save(photos / "c.jpg")
    before = (photos / "masks-face" / "b.png").read_bytes()
    assert cli.main(["masks", str(photos), "--of", "face", "--json"]) == ExitCode.WARNINGS
    told = json.loads(capsys.readouterr().out)
    assert (told["made"], told["nothing"], told["missing"]) == (["a.png"], [], 3)
    assert [row["image"] for row in told["failed"]] == ["broken.png", "c.jpg", "c.png"]
    assert "damaged" in told["failed"][0]["reason"]
    assert "shares its name" in told["failed"][1]["reason"]
    assert (photos / "masks-face" / "b.png").read_bytes() == before
    (photos / "c.jpg").unlink()
    (photos / "broken.png").unlink()
    cli.main(["masks", str(photos), "--of", "face", "--json"])
    assert json.loads(capsys.readouterr().out)["made"] == ["c.png"]
    found = {image.relative: masks.path_of(image, Dataset(masks="face")) for image in scan(photos).images}
    assert found == {f"{name}.png": photos / "masks-face" / f"{name}.png" for name in "abc"}
    levels = np.asarray(Image.open(photos / "masks-face" / "a.png"))
    assert levels[48, 16] == 255
    assert not levels[:, 40:].any()
    detector.unlink()
    assert cli.main(["masks", str(photos), "--of", "face"]) == ExitCode.DONE, "nothing is missing, so nothing is needed"


def test_what_is_cancelled_keeps_what_was_made(photos: Path, detector: Path) -> None:
    seen: list[int] = []
    made = mask_making.make(
        scan(photos), "face", detector, progress=lambda done, _: seen.append(done), cancelled=lambda: len(seen) > 1
    )
    assert list(made.made) == ["a.png"]
    assert [path.name for path in (photos / "masks-face").iterdir()] == ["a.png"]
    again = mask_making.make(scan(photos), "face", detector)
    assert list(again.made) == ["b.png", "c.png"]


def test_a_head_is_larger_than_its_face() -> None:
    assert heads(Image.new("RGB", (64, 64)), []) is None
    mask = heads(Image.new("RGB", (1024, 512)), [Box(0.4, 0.4, 0.6, 0.6)])
    assert mask is not None
    assert mask.size == (512, 256)
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    assert (left < 0.35 * 512, right > 0.65 * 512, top < 0.35 * 256, bottom > 0.64 * 256) == (True, True, True, True)


def test_nothing_is_downloaded_without_a_yes(photos: Path, detector: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detector.unlink()
    assert cli.main(["masks", str(photos), "--of", "face"]) == ExitCode.USAGE
    assert "Add --yes" in capsys.readouterr().err
    assert cli.main(["masks", str(photos / "a.png")]) == ExitCode.USAGE
    assert "Give a folder" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("found", [True, False])
def test_clipseg_of_true_size_marks_persons(photos: Path, tmp_path: Path, found: bool) -> None:
    """Random weights in half precision, as the file on the hub has them: their last layer says person everywhere, or nowhere."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    from loratui.engine.captioning.segmenter import CONFIG

    torch.manual_seed(0)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**CONFIG)).half()
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    tensors["decoder.transposed_convolution.4.weight"].zero_()
    tensors["decoder.transposed_convolution.4.bias"].fill_(9.0 if found else -9.0)
    tensors["clip.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size <= mask_making.SEGMENTER.bytes
    made = mask_making.make(scan(photos), "person", tmp_path / "model.safetensors")
    names = ["a.png", "b.png", "c.png"]
    assert (list(made.made), list(made.nothing)) == ((names, []) if found else ([], names))
    assert list(made.failed) == ["broken.png"]
    if found:
        assert np.asarray(Image.open(photos / "masks-person" / "a.png")).min() == 255


@pytest.mark.long
def test_weights_that_are_not_the_segmenters_are_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(JobFailed, match="weights do not fit"):
        mask_making.make(scan(photos), "person", tmp_path / "model.safetensors")
