"""Settings files of every trainer, made of their documented defaults and examples: what each must come to."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from loratui.engine.importing import files
from loratui.engine.importing.result import Imported, import_settings
from loratui.presets.schema import get

HERE = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))


def imported(name: str) -> Imported:
    return import_settings(HERE / "files" / name, images=EXPECTED[name].get("images", 0))


def test_there_are_enough_of_each_trainer() -> None:
    tools = Counter(name.partition("/")[0] for name in EXPECTED)
    assert sum(tools.values()) >= 40
    assert all(
        tools[tool] >= 3 for tool in ("kohya_ss", "sd-scripts", "fluxgym", "onetrainer", "ai-toolkit", "simpletuner", "on-site")
    )
    on_disk = {path.relative_to(HERE / "files").as_posix() for path in (HERE / "files").rglob("*.*") if path.is_file()}
    assert {name for name in on_disk if not name.startswith("fluxgym")} - EXPECTED.keys() == {
        "simpletuner/multidatabackend.json"
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_comes_to_what_it_means(name: str) -> None:
    expected, found = EXPECTED[name], imported(name)
    assert found.tool == expected["tool"]
    if not expected["family"]:
        assert found.recipe is None
        assert expected["problem"] in found.problem
        return
    assert found.recipe is not None
    settings = found.recipe.settings
    assert settings.base.family == expected["family"]
    assert {key: get(settings, key) for key in expected.get("values", {})} == expected.get("values", {})
    assert (found.steps.theirs, found.steps.ours) == (expected["steps"], expected["steps"])
    kinds = {one.key: one.kind for one in found.said}
    for kind, list_ in (("changed", "changed"), ("does_nothing", "nothing"), ("not_understood", "unknown")):
        assert {key: kinds.get(key) for key in expected.get(list_, [])} == dict.fromkeys(expected.get(list_, []), kind)
    assert [key for key, kind in kinds.items() if kind == "not_understood"] == [
        one.key for one in found.said if one.key in expected.get("unknown", [])
    ]


@pytest.mark.parametrize("name", [name for name in EXPECTED if not name.startswith("fluxgym")])
def test_each_value_is_said_once(name: str) -> None:
    """Nothing is passed over in silence: as many values are said as the file has, and none twice."""
    path, found = HERE / "files" / name, imported(name)
    said = Counter(one.key for one in found.said if one.given)
    assert max(said.values()) == 1
    for key in leaves(path, files.read(path)):
        assert key in said, key


def leaves(path: Path, table: Any) -> list[str]:
    """The names of a file's values, without those of nested tables that are told as a whole."""
    if path.suffix == ".sh":
        return [key for key in table if key not in ("script", "launch")]
    if path.suffix == ".yaml":
        process = table["config"]["process"][0]
        return [f"{part}.{key}" for part, inner in process.items() if isinstance(inner, dict)
                for key, value in inner.items() if not isinstance(value, dict) or not value]  # fmt: skip
    if "datasets" in table:
        return []
    inner = {key: value for key, value in table.items() if not isinstance(value, dict)}
    return [key for key in inner if key not in ("additional_parameters", "concepts", "optimizer") or not inner[key]]


def test_secrets_are_not_printed() -> None:
    shown = json.dumps(imported("sd-scripts/flux-manual.toml").to_json())
    assert "hf_notarealone" not in shown
    assert "huggingface_token" in shown


def test_yaml_is_read_without_tags_and_within_bounds(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}, *{'a' if n == 0 else f'b{n - 1}'}]\n" for n in range(30)
    )
    for text in ("!!python/object/apply:os.system ['true']", bomb, "a: 1\na: 2", "[" * 100, "a: [1", "a: !x 1", "x: \x00"):
        file = tmp_path / "config.yaml"
        file.write_text(text)
        with pytest.raises(ValueError, match="cannot be read as settings"):
            import_settings(file)
    assert files.parse_yaml("job: extension\nlr: 1e-4") == {"job": "extension", "lr": "1e-4"}
    assert yaml.safe_load("a: 1") == files.parse_yaml("a: 1")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.json", '{"network_dim": 1, "network_dim": 2}', "twice"),
        ("a.json", "[1, 2]", "no settings of a training"),
        ("a.toml", "a = ", "cannot be read"),
        ("a.toml", 'format = 1\npreset = "demo"', "a recipe of loratui already"),
        ("a.toml", "[model]\ntype = 'x'\n[adapter]\nrank = 8\n", "diffusion-pipe"),
        ("a.json", '{"a": 1}', "not the settings of a known trainer"),
        ("a.sh", "echo hello", "no command that trains"),
        ("a.sh", "python train_network.py --x 'a", "cannot be read"),
        ("a.safetensors", "x", "safetensors"),
    ],
)
def test_what_is_no_settings_is_refused_with_a_reason(tmp_path: Path, name: str, text: str, words: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        import_settings(file)


def test_a_folder_with_several_files_of_settings_names_them(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text((HERE / "files" / "on-site" / "skullkid.json").read_text())
    with pytest.raises(ValueError, match=r"a\.json, b\.json"):
        import_settings(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        import_settings(tmp_path / "gone.json")


def test_the_dataset_file_that_settings_name_is_read_with_them(tmp_path: Path) -> None:
    table = json.loads((HERE / "files" / "kohya_ss" / "defaults.json").read_text())
    (tmp_path / "sets.toml").write_text(
        "[general]\nkeep_tokens = 2\n[[datasets]]\nresolution = 768\nbatch_size = 3\n[[datasets.subsets]]\n"
        'image_dir = "/data/a"\nnum_repeats = 4\n[[datasets.subsets]]\nimage_dir = "/data/b"\nnum_repeats = 4\n'
    )
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({**table, "dataset_config": "/elsewhere/sets.toml"}))
    found = import_settings(file, images=10)
    assert found.recipe is not None
    settings = found.recipe.settings
    assert (settings.dataset.resolution, settings.training.batch_size, settings.schedule.repeats) == (768, 3, 4)
    assert settings.dataset.keep_tokens == 2
    assert found.steps.theirs == 1600
    kinds = {one.key: one.kind for one in found.said}
    assert kinds["datasets[0].subsets[1].image_dir"] == "changed"
    assert kinds["datasets[0].subsets[1].num_repeats"] == "taken"
    assert kinds["train_batch_size"] == "does_nothing"
    (tmp_path / "sets.toml").unlink()
    kinds = {one.key: one.kind for one in import_settings(file, images=10).said}
    assert kinds["dataset_config"] == "changed"


def test_prompts_are_read_from_the_file_beside(tmp_path: Path) -> None:
    for path in (HERE / "files" / "fluxgym" / "20gb").iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "sample_prompts.txt").write_text("anafox at the beach --w 768 --h 1024 --s 20\n# nothing\nanafox in the rain\n")
    found = import_settings(tmp_path, images=18)
    assert found.recipe is not None
    samples = found.recipe.settings.samples
    assert samples.prompts == ("anafox at the beach", "anafox in the rain")
    assert (samples.width, samples.height, samples.steps) == (768, 1024, 20)
    assert any("is not on this machine" in note for note in found.notes)


def test_a_name_that_no_file_can_have_is_no_crash(tmp_path: Path) -> None:
    table = json.loads((HERE / "files" / "simpletuner" / "flux-lora.json").read_text())
    file = tmp_path / "config.json"
    for name in ("x" * 3000 + ".json", "a\0b.json", "../" * 400 + "x.json"):
        file.write_text(json.dumps({**table, "data_backend_config": name, "pretrained_model_name_or_path": name, "vae": name}))
        assert import_settings(file, images=5).recipe is not None


def test_a_batch_file_and_the_file_that_its_command_names(tmp_path: Path) -> None:
    (tmp_path / "train.bat").write_bytes(
        b"accelerate launch ^\r\n  sd-scripts\\sdxl_train_network.py ^\r\n  --config_file C:\\kohya\\own.toml ^\r\n"
        b'  --train_data_dir "C:\\photos\\train" --network_dim 8\r\n'
    )
    kinds = {one.key: one.kind for one in import_settings(tmp_path / "train.bat", images=10).said}
    assert kinds["config_file"] == "changed"
    (tmp_path / "own.toml").write_text("[a]\nnetwork_dim = 64\nnetwork_alpha = 4\nmax_train_epochs = 3\n")
    found = import_settings(tmp_path / "train.bat", images=10)
    assert found.recipe is not None
    settings = found.recipe.settings
    assert (settings.base.family, settings.adapter.rank, settings.adapter.alpha) == ("sdxl", 8, 4)
    assert settings.dataset.path == "C:\\photos\\train"
    assert found.steps.theirs == 30


def test_the_network_of_lycoris_is_read_from_its_own_file(tmp_path: Path) -> None:
    table = json.loads((HERE / "files" / "simpletuner" / "sdxl-lycoris.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(table))
    network = {"algo": "lokr", "multiplier": 1.0, "linear_dim": 10000, "linear_alpha": 1, "factor": 12, "apply_preset": {}}
    (tmp_path / "lycoris_config.json").write_text(json.dumps(network))
    found = import_settings(tmp_path / "config.json", images=10)
    assert found.recipe is not None
    adapter = found.recipe.settings.adapter
    assert (adapter.kind, adapter.rank, adapter.alpha, adapter.factor) == ("lokr", 1024, 1.0, 12)
    assert "apply_preset" in next(one.why for one in found.said if one.key == "lycoris_config")


def test_several_processes_of_a_launch_are_taken(tmp_path: Path) -> None:
    script = (HERE / "files" / "sd-scripts" / "command.sh").read_text()
    (tmp_path / "a.sh").write_text(script.replace("launch ", "launch --multi_gpu --num_processes 2 "))
    found = import_settings(tmp_path / "a.sh", images=20)
    assert found.recipe is not None
    assert found.recipe.settings.training.processes == 2
    assert (found.steps.theirs, found.steps.ours) == (50, 50)


@pytest.mark.parametrize(
    "name", ["kohya_ss/old-names.json", "onetrainer/qwen.json", "onetrainer/flux-lora.json", "on-site/skullkid.json"]
)
def test_no_value_is_said_that_the_file_does_not_have(name: str) -> None:
    has = set(files.flatten(files.read(HERE / "files" / name)))
    assert {one.key for one in imported(name).said if one.given} <= has


def test_little_is_said_of_a_short_file(tmp_path: Path) -> None:
    table = {"LoRA_type": "Standard", "max_resolution": "512,512", "epoch": 3, "text_encoder_lr": 0}
    (tmp_path / "a.json").write_text(json.dumps(table))
    found = import_settings(tmp_path / "a.json", images=10)
    assert {one.key for one in found.said if one.given} == set(table)
