"""Files as people have them: what stands in them is said under its own name, and no sentence says what is not so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from loratui.engine.dataset import folder_lists
from loratui.engine.dataset.folder_lists.simpletuner import REGULARISATION
from loratui.engine.importing.reading import Said
from loratui.engine.importing.result import Imported, import_settings

SD_SCRIPTS = 'network_module = "networks.lora"\nnetwork_dim = 8\n'


def of(folder: Path, name: str, content: str | dict[str, Any]) -> Imported:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return import_settings(path, images=20)


def one(found: Imported, key: str) -> Said:
    (said,) = [said for said in found.said if said.key == key]
    return said


@pytest.mark.parametrize(
    ("name", "table", "key"),
    [
        ("a.json", {"--model_family": "flux", "--num_train_epochs": 10, "--train_batch_size": 1, "--lr_warmup_steps": 20},
         "--lr_warmup_steps"),
        ("b.json", {"unetLR": 1e-4, "networkDim": 8, "numRepeats": 10, "maxTrainEpochs": 1, "lrWarmupSteps": 20}, "lrWarmupSteps"),
    ],
)  # fmt: skip
def test_a_warm_up_is_said_under_its_name_in_the_file(tmp_path: Path, name: str, table: dict[str, Any], key: str) -> None:
    found = of(tmp_path, name, table)
    assert one(found, key).sets == {"optimizer.warmup": 0.1}
    assert not [said for said in found.said if said.key == "lr_warmup_steps"]


@pytest.mark.parametrize("epochs", [0, -3])
def test_no_epochs_are_a_known_setting(tmp_path: Path, epochs: int) -> None:
    found = of(tmp_path, "a.toml", f"{SD_SCRIPTS}max_train_epochs = {epochs}\nmax_train_steps = 500\n")
    assert one(found, "max_train_epochs").kind == "changed"
    assert "no such setting" not in one(found, "max_train_epochs").why
    assert found.steps.theirs == found.steps.ours == 500


def test_regularisation_images_do_not_become_the_subject(tmp_path: Path) -> None:
    subsets = "[[datasets]]\nresolution = 512\n{}{}"
    reg = '[[datasets.subsets]]\nis_reg = true\nimage_dir = "/data/reg"\nclass_tokens = "dog"\n'
    own = '[[datasets.subsets]]\nimage_dir = "/data/own"\nclass_tokens = "sks dog"\nnum_repeats = 12\n'
    for text in (subsets.format(reg, own), subsets.format(own, reg)):
        found = of(tmp_path, "a.toml", text)
        assert found.recipe is not None
        settings = found.recipe.settings
        assert (settings.dataset.path, settings.dataset.trigger, settings.schedule.repeats) == ("/data/own", "sks", 12)
    sets = [
        {"is_regularisation_data": True, "instance_data_dir": "/data/reg"},
        {"instance_data_dir": "/data/own", "repeats": 2},
    ]
    (tmp_path / "sets.json").write_text(json.dumps(sets), encoding="utf-8")
    found = of(tmp_path, "a.json", {"model_family": "sdxl", "data_backend_config": "sets.json"})
    assert found.recipe is not None
    assert (found.recipe.settings.dataset.path, found.recipe.settings.schedule.repeats) == ("/data/own", 3)
    assert not found.of("not_understood")
    folders = "[{folder_path: /data/reg, is_reg: true}, {folder_path: /data/own}]"
    found = of(tmp_path, "a.yaml", f"job: extension\nconfig: {{process: [{{model: {{arch: sdxl}}, datasets: {folders}}}]}}\n")
    assert found.recipe is not None
    assert found.recipe.settings.dataset.path == "/data/own"
    assert one(found, "datasets[1].folder_path").value == "/data/reg"


def test_an_empty_value_is_said_to_be_empty(tmp_path: Path) -> None:
    table = {
        "LoRA_type": "Standard",
        "network_dim": None,
        "gradient_accumulation_steps": "",
        "save_precision": None,
        "epoch": 1,
    }
    found = of(tmp_path, "a.json", table)
    for key in ("network_dim", "save_precision"):
        assert one(found, key).given
        assert "is empty" in one(found, key).why
    assert not [said for said in found.said if said.key in table and "Not in the file" in said.why]


def test_no_count_is_said_where_the_file_comes_to_no_step(tmp_path: Path) -> None:
    table = {"training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "epochs": -1, "concept_file_name": "x/list.json"}
    found = of(tmp_path, "a.json", table)
    assert found.steps.theirs is None
    assert "come to no step" in found.steps.why
    assert not [said for said in found.said if "without images" in said.why]
    assert "--dataset" in one(found, "concept_file_name").why


def test_settings_of_another_kind_of_training_are_told(tmp_path: Path) -> None:
    base = {"model_list": "custom", "max_resolution": "512,512", "learning_rate": 1e-6, "epoch": 1, "reg_data_dir": "/data/reg"}
    found = of(tmp_path, "a.json", base)
    assert any("whole model" in note for note in found.notes)
    assert any("twice as many" in note for note in found.notes)
    assert any("textual inversion" in note for note in of(tmp_path, "b.json", {**base, "init_word": "*"}).notes)
    lora = of(tmp_path, "c.json", {**base, "network_dim": 8, "reg_data_dir": "", "optimizer": "Lion8bit"})
    assert not any("whole model" in note or "twice" in note for note in lora.notes)
    assert one(lora, "optimizer").why.startswith("loratui's")


def test_an_unknown_ending_is_told_with_those_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.json, \.toml"):
        of(tmp_path, "config.env", "export MODEL_FAMILY=flux\n")


def test_folders_of_a_list_keep_their_own_repeats(tmp_path: Path) -> None:
    """sd-scripts: (5 × 10 + 4 × 3) images an epoch, 2 in a batch, 10 epochs."""
    text = "[[datasets]]\nresolution = 512\nbatch_size = 2\n"
    for name, images, repeats in (("own", 5, 10), ("more", 4, 3)):
        (tmp_path / name).mkdir()
        for number in range(images):
            Image.new("RGB", (64, 64), (number * 20, images, repeats)).save(tmp_path / name / f"{number}.png")
        text += f'[[datasets.subsets]]\nimage_dir = "{tmp_path / name}"\nnum_repeats = {repeats}\n'
    (tmp_path / "dataset.toml").write_text(text)
    training = tmp_path / "training.toml"
    training.write_text(f'{SD_SCRIPTS}max_train_epochs = 10\ndataset_config = "dataset.toml"\n')
    found = import_settings(training, dataset=tmp_path / "dataset.toml")
    assert (found.steps.theirs, found.steps.ours) == (310, 310)
    assert found.recipe is not None
    assert found.recipe.settings.schedule.folder_repeats
    assert not [said for said in found.said if "schedule.folder_repeats" in said.sets]


def test_a_lora_to_start_from_that_is_not_here_is_told(tmp_path: Path) -> None:
    found = of(tmp_path, "a.toml", f"{SD_SCRIPTS}network_weights = 'D:/loras/first.safetensors'\n")
    assert any("adapter.start_from" in note for note in found.notes)


def test_both_spellings_mark_regularisation_images_in_a_list(tmp_path: Path) -> None:
    rows = [{"type": "local", "id": key, "instance_data_dir": "/data/x", key: True} for key in REGULARISATION]
    (tmp_path / "sets.json").write_text(json.dumps(rows), encoding="utf-8")
    found = folder_lists.read(tmp_path / "sets.json")
    assert [source.regularisation for source in found.sources] == [True, True]
    assert not found.changed
