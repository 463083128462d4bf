"""Preflight: every check finds its fault, names it, and is silent on a good set."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from loratui.engine.dataset.inspect import inspect_scan
from loratui.engine.dataset.scan import DatasetScan, scan
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.machine.accelerator import NO_GPU, Accelerator, Card
from loratui.engine.planning import preflight
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.preflight import Finding, check, token_counter
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import make_plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten captioned images of the demo's size."""
    path = tmp_path / "set"
    path.mkdir()
    for at in range(10):
        Image.new("RGB", (128, 128), (128, 128, 10 * at)).save(path / f"{at}.png")
        (path / f"{at}.txt").write_text(f"anafox woman in a park, {at} birds")
    return path


A5000 = Accelerator(Card("NVIDIA RTX A5000", 23.5, (8, 6)))


def findings(
    folder: Path, home: Path, *sets: str, preset: str = "demo", base: str = "embedded:sd15", here: Accelerator = NO_GPU
) -> dict[str, Finding]:
    recipe = build_recipe(preset, dataset=folder, trigger="anafox", class_word="woman", base=base, sets=sets)
    found = scan(folder)
    images = inspect_scan(found, recipe.settings, preset=recipe.preset, tokenizer=token_counter(recipe.settings))
    return {f.code: f for f in check(recipe, images, make_plan(recipe, found), home, here)}


def test_a_good_set_on_the_tiny_base_gives_no_other_finding(folder: Path, tmp_path: Path) -> None:
    assert findings(folder, tmp_path / "home" / "new").keys() == {"tiny_base"}


def test_own_images_on_the_tiny_base_are_warned_of(folder: Path, tmp_path: Path) -> None:
    found = findings(folder, tmp_path)["tiny_base"]
    assert found.severity == "warning"
    assert "not in ComfyUI" in found.message
    for at, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"anafox_{at // 2 + 1:02}{path.suffix}")
    assert findings(folder, tmp_path) == {}


def test_an_optimizer_that_needs_a_gpu_is_refused_without_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(folder, tmp_path, "optimizer.name=adamw8bit")["optimizer_machine"]
    assert found.severity == "error"
    assert "no NVIDIA GPU" in found.message
    assert findings(folder, tmp_path, "optimizer.name=auto").keys() == {"tiny_base"}
    assert findings(folder, tmp_path, "optimizer.name=adamw8bit", here=A5000).keys() == {"tiny_base"}
    found = findings(folder, tmp_path, "optimizer.name=adamw8bit", "memory.device=cpu", here=A5000)["optimizer_machine"]
    assert "training is on the CPU" in found.message
    monkeypatch.setattr(preflight.hardware, "versions", lambda packages: dict.fromkeys(packages))
    found = findings(folder, tmp_path, "optimizer.name=adamw8bit", here=A5000)["optimizer_machine"]
    assert "bitsandbytes is not installed" in found.message


def test_a_gpu_that_torch_cannot_use_is_refused_unless_the_cpu_is_asked_for_by_name(folder: Path, tmp_path: Path) -> None:
    broken = Accelerator(None, "An A5000 is here, but its driver is too old.", "Install the torch for this driver: pip …")
    found = findings(folder, tmp_path, here=broken)
    assert found["gpu_unusable"].severity == "error"
    assert found["gpu_unusable"].message == broken.problem
    assert found["gpu_unusable"].remedy.endswith(broken.remedy)  # a line to copy stands at the end
    assert "--device cpu" in found["gpu_unusable"].remedy
    found = findings(folder, tmp_path, "memory.device=cpu", here=broken)
    assert "gpu_unusable" not in found
    assert found["cpu_by_name"].severity == "info"
    assert findings(folder, tmp_path, "memory.device=cpu").keys() == {"tiny_base"}


def test_more_processes_than_gpus_of_one_kind_are_refused_unless_they_share_the_cpu_by_name(
    folder: Path, tmp_path: Path
) -> None:
    card = Card("NVIDIA RTX A5000", 24.0, (8, 6), "GPU-a")
    for together, refused in (((), True), (("GPU-a", "GPU-b"), True), (("GPU-a", "GPU-b", "GPU-c"), False)):
        here = Accelerator(card if together else None, together=together)
        found = findings(folder, tmp_path, "training.processes=3", here=here)
        assert ("too_few_gpus" in found) == refused
    found = findings(folder, tmp_path, "training.processes=3", here=Accelerator(card, together=("GPU-a",)))
    assert found["too_few_gpus"].severity == "error"
    assert found["too_few_gpus"].settings == {"training.processes": 1}
    assert "too_few_gpus" not in findings(folder, tmp_path, "training.processes=3", "memory.device=cpu")


@pytest.mark.parametrize(("family", "most"), [("sd15", 3), ("sdxl", 3)])
def test_more_clip_skip_than_the_encoder_has_layers_is_refused(folder: Path, tmp_path: Path, family: str, most: int) -> None:
    base = f"embedded:{family}"
    sets = (f"base.family={family}",)
    found = findings(folder, tmp_path, *sets, f"base.clip_skip={most + 1}", base=base)["base_clip_skip"]
    assert found.severity == "error"
    assert f"only {most} layers" in found.message
    assert "base_clip_skip" not in findings(folder, tmp_path, *sets, f"base.clip_skip={most}", base=base)


def test_scaling_a_v_that_the_base_does_not_predict_is_told(folder: Path, tmp_path: Path) -> None:
    assert "embedded:sd15 predicts noise" in findings(folder, tmp_path, "scale_v_loss=true")["no_effect"].message


def test_missing_captions_say_what_is_trained_instead(folder: Path, tmp_path: Path) -> None:
    (folder / "3.txt").unlink()
    some = findings(folder, tmp_path)["caption_missing"]
    assert (some.severity, some.files) == ("info", ("3.png",))
    assert some.message == '1 of 10 images has no caption: trained on "anafox woman".'
    for path in folder.glob("*.txt"):
        path.unlink()
    every = findings(folder, tmp_path)["caption_missing"]
    assert every.message == '10 of 10 images have no caption: trained on "anafox woman".'
    nothing = findings(folder, tmp_path, "dataset.trigger=", "dataset.class_word=")["caption_missing"]
    assert nothing.severity == "warning"
    assert "--trigger" in nothing.remedy


def test_captions_without_the_trigger_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "3.txt").write_text("a woman in a park")
    finding = findings(folder, tmp_path)["trigger_missing"]
    assert (finding.severity, finding.files) == ("warning", ("3.png",))
    assert "1 of 10" in finding.message


def test_a_missing_trigger_is_said_unless_folders_name_the_concepts(folder: Path, tmp_path: Path) -> None:
    assert "--trigger" in findings(folder, tmp_path, "dataset.trigger=")["trigger_absent"].remedy
    assert "trigger_absent" not in findings(folder, tmp_path, "dataset.trigger=", "subject=style")
    for name in ("10_anafox", "10_bobcat"):
        (folder / name).mkdir()
        Image.new("RGB", (128, 128)).save(folder / name / "a.png")
    for path in folder.glob("*.*"):
        path.unlink()
    assert "trigger_absent" not in findings(folder, tmp_path, "dataset.trigger=")


def test_a_broken_image_is_named_but_does_not_refuse(folder: Path, tmp_path: Path) -> None:
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:40])
    (folder / "notes.md").write_text("x")
    found = findings(folder, tmp_path)
    assert (found["left_out"].severity, found["left_out"].files) == ("warning", ("3.png",))
    assert found["left_out"].message.startswith("3.png is")
    assert found["ignored"].severity == "info"


def test_one_small_image_is_one_finding(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (100, 40)).save(folder / "3.png")
    found = findings(folder, tmp_path)
    assert found["tiny"].files == ("3.png",)
    assert not found.keys() & {"enlarged", "small"}


@pytest.mark.parametrize(
    ("preset", "sets", "id"),
    [
        ("demo", ("adapter.kind=loha", "adapter.dropout=0.1"), "adapter_settings"),
    ],
)
def test_what_this_version_cannot_train_is_refused(
    folder: Path, tmp_path: Path, preset: str, sets: tuple[str, ...], id: str
) -> None:
    finding = findings(folder, tmp_path, *sets, preset=preset)[id]
    assert finding.severity == "error"
    assert finding.remedy


@pytest.mark.parametrize(
    ("base", "id"),
    [
        ("model.ckpt", "base_format"),
        ("model.PT", "base_format"),
        ("pytorch_model.bin", "base_format"),
        ("flux.gguf", "base_format"),
        ("/no/such/model", "base_not_found"),
        ("embedded:nothing", "base_not_found"),
        ("embedded:../../tests", "base_not_found"),
        ("SINGLE", "base_format"),
        ("HALF", "base_incomplete"),
    ],
)
def test_bases_that_cannot_be_trained_on(folder: Path, tmp_path: Path, base: str, id: str) -> None:
    if base == "SINGLE":
        base = str(tmp_path / "model.safetensors")
        Path(base).write_bytes(b"x")
    if base == "HALF":
        base = str(tmp_path / "half")
        (tmp_path / "half" / "unet").mkdir(parents=True)
    finding = findings(folder, tmp_path, base=base)[id]
    assert finding.severity == "error"
    assert base in finding.message


def test_no_base_at_all(folder: Path, tmp_path: Path) -> None:
    assert "--base" in findings(folder, tmp_path, "base.model=")["base_missing"].remedy


def test_a_base_that_the_hubs_tools_downloaded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert base_path("owner/name") is None
    folder = tmp_path / "models--owner--name"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc\n")
    assert base_path("owner/name") is None
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "model_index.json").write_text("{}")
    assert base_path("owner/name") == folder / "snapshots" / "abc"
    assert base_path("../owner/name") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_refused(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "locked"
    home.mkdir(mode=0o500)
    assert findings(folder, home / "deeper")["output_not_writable"].severity == "error"


def test_a_file_in_the_place_of_the_home_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert findings(folder, tmp_path / "file")["output_not_writable"].severity == "error"


def test_a_full_disk_is_seen_before_the_start(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=210_000_000))
    finding = findings(folder, tmp_path)["disk_full"]
    assert (finding.severity, "210.0 MB are free" in finding.message) == ("error", True)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    assert "disk_full" not in findings(folder, tmp_path)


def test_errors_come_first(folder: Path, tmp_path: Path) -> None:
    (folder / "3.txt").unlink()
    (folder / "4.png").write_bytes(b"x")
    recipe = build_recipe("sdxl-person", dataset=folder)
    found = scan(folder)
    images = inspect_scan(found, recipe.settings)
    severities = [f.severity for f in check(recipe, images, make_plan(recipe, images.scan), tmp_path, NO_GPU)]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert set(severities) == {"error", "warning", "info"}


def test_prepare_leaves_out_what_does_not_decode_before_it_counts(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.png"):
        path.unlink()
    for at in range(10):
        Image.effect_noise((300, 300), 60).save(folder / f"{at}.jpg")
    (folder / "3.jpg").write_bytes((folder / "3.jpg").read_bytes()[:4000])
    prepared = prepare(build_recipe("demo", dataset=folder, trigger="anafox"), tmp_path)
    assert (prepared.plan.images, len(prepared.scan.images), prepared.errors) == (9, 9, ())
    assert "3.jpg" in {name for f in prepared.findings if f.code == "left_out" for name in f.files}


def test_prepare_takes_trigger_and_class_from_the_folder(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "7_anafox woman")
    prepared = prepare(build_recipe("demo", dataset=tmp_path / "7_anafox woman"), tmp_path)
    assert prepared.recipe.settings.dataset.trigger == "anafox"
    assert prepared.plan.repeats == 7


def test_prepare_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No folder"):
        prepare(build_recipe("demo"), tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        prepare(build_recipe("demo", dataset=tmp_path / "nowhere"), tmp_path)


def test_an_empty_scan_never_reaches_the_checks(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        make_plan(build_recipe("demo"), DatasetScan(tmp_path, (), (), (), ()))
