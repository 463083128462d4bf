"""OneTrainer's concepts and SimpleTuner's backends: their folders become one, and all that means something else here is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_images import drawn

from loratui.engine.dataset import folder_lists, gathered
from loratui.engine.dataset.caption_store import save
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.scan import DatasetScan, scan
from loratui.engine.errors import DatasetError, LoratuiError, UsageError
from loratui.engine.importing.result import import_settings
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe
from loratui.presets import load_preset
from loratui.tui import cli

CONCEPT: dict[str, Any] = {
    "__version": 2, "name": "", "path": "", "seed": 7, "enabled": True, "type": "STANDARD", "include_subdirectories": False,
    "image_variations": 1, "text_variations": 1, "balancing": 1.0, "balancing_strategy": "REPEATS", "loss_weight": 1.0, "concept_stats": {},
    "image": {
        "__version": 0, "enable_crop_jitter": True, "enable_random_flip": False, "enable_fixed_flip": False, "enable_random_rotate": False,
        "enable_fixed_rotate": False, "random_rotate_max_angle": 0.0, "enable_random_brightness": False, "random_hue_max_strength": 0.0,
        "enable_resolution_override": False, "resolution_override": "512", "enable_random_circular_mask_shrink": False,
    },
    "text": {
        "__version": 0, "prompt_source": "sample", "prompt_path": "", "enable_tag_shuffling": False, "tag_delimiter": ",", "keep_tags_count": 1,
        "tag_dropout_enable": False, "tag_dropout_mode": "FULL", "tag_dropout_probability": 0.0, "caps_randomize_enable": False,
        "caps_randomize_mode": "capslock, title, first, random", "tag_dropout_special_tags_mode": "NONE",
    },
}  # fmt: skip
"""As OneTrainer writes a concept that nobody changed (`ConceptConfig.default_values`)."""
BACKEND: dict[str, Any] = {
    "id": "", "type": "local", "dataset_type": "image", "instance_data_dir": "", "caption_strategy": "textfile", "repeats": 0, "disabled": False,
    "cache_dir_vae": "cache/vae", "metadata_backend": "discovery", "vae_cache_clear_each_epoch": True,
}  # fmt: skip


def image(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(len(path.name), (96, 64)).save(path)
    if texts:
        path.with_suffix(".txt").write_text("\n".join(texts))


def concept(name: str, path: Path | str, **changed: Any) -> dict[str, Any]:
    text, picture = changed.pop("text", {}), changed.pop("image", {})
    return {
        **CONCEPT,
        "name": name,
        "path": str(path),
        **changed,
        "text": {**CONCEPT["text"], **text},
        "image": {**CONCEPT["image"], **picture},
    }


def backend(name: str, path: Path | str, **changed: Any) -> dict[str, Any]:
    return {**BACKEND, "id": name, "instance_data_dir": str(path), **changed}


def listed(folder: Path, rows: Any, name: str = "concepts.json") -> Path:
    (folder / name).write_text(json.dumps(rows))
    return folder / name


def gather(folder: Path, rows: Any) -> DatasetScan:
    return scan(gathered.gather(listed(folder, rows), folder / "datasets"))


def captions(found: DatasetScan) -> dict[str, tuple[str | None, bool]]:
    return {image.relative: (image.caption, image.apart) for image in found.images}


def messages(found: DatasetScan) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for finding in inspect_folder(found.root, load_preset("demo").settings).findings:
        said.setdefault(finding.code, []).append(finding.message)
    return said


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    image(tmp_path / "photos" / "a.png", "anafox woman in a park", "anafox woman")
    image(tmp_path / "photos" / "b.png", "anafox woman at home")
    image(tmp_path / "photos" / "more" / "a.png", "anafox woman by night")
    image(tmp_path / "hats" / "blue_hat.png")
    return tmp_path


def test_concepts_of_onetrainer(photos: Path) -> None:
    rows = [concept("anafox woman", photos / "photos", balancing=3.0), concept("hats", photos / "hats")]
    found = gather(photos, rows)
    assert captions(found) == {
        "3_anafox woman/a.png": ("anafox woman in a park\nanafox woman", True),
        "3_anafox woman/b.png": ("anafox woman at home", False),
        "1_hats/blue_hat.png": (None, False),
    }
    assert messages(found)["gathered"] == [
        "Folders of concepts.json of OneTrainer (images × repeats): anafox woman (2 × 3), hats (1 × 1)."
    ]
    assert "gathered_changed" not in messages(found), "nothing was changed there"


def test_subfolders_only_where_the_concept_wants_them(photos: Path) -> None:
    found = gather(photos, [concept("a", photos / "photos", include_subdirectories=True)])
    assert captions(found) == {
        "a.png": ("anafox woman in a park\nanafox woman", True),
        "b.png": ("anafox woman at home", False),
        "more-a.png": ("anafox woman by night", False),
    }


def test_captions_from_names_and_from_a_file_of_prompts(photos: Path) -> None:
    (photos / "prompts.txt").write_text("a photo of anafox\n\nanafox, a portrait\n")
    rows = [
        concept("a", photos / "photos", text={"prompt_source": "concept", "prompt_path": "C:\\tools\\prompts.txt"}),
        concept("hats", photos / "hats", text={"prompt_source": "filename"}),
    ]
    both = "a photo of anafox\nanafox, a portrait"
    assert captions(gather(photos, rows)) == {
        "1_a/a.png": (both, True),
        "1_a/b.png": (both, True),
        "1_hats/blue_hat.png": ("blue hat", False),
    }


def test_what_means_something_else_is_said(photos: Path) -> None:
    rows = [
        concept("off", photos / "photos", enabled=False),
        concept("eval", photos / "photos", type="VALIDATION"),
        concept("old eval", photos / "photos", validation_concept=True, type=None) | {"type": "VALIDATION"},
        concept("gone", "/nowhere/at all"),
        concept("prior", photos / "hats", type="PRIOR_PREDICTION"),
        concept("a", photos / "photos", balancing=0.5, loss_weight=0.7, new_key=1, image={"enable_random_flip": True}),
        concept("b", photos / "photos", balancing_strategy="SAMPLES", balancing=40.0, text={"enable_tag_shuffling": True}),
    ]
    found = gather(photos, rows)
    assert [image.relative for image in found.regularisation] == ["reg/1_prior/blue_hat.png"]
    said = messages(found)
    assert [message.removeprefix("In the folder list, ") for message in said["gathered_left_out"]] == [
        "off is switched off there.",
        "2 files (eval, old eval): each is for validation there; dataset.held_out keeps images out of the training here.",
        "gone is not here: /nowhere/at all.",
    ]
    (changed,) = said["gathered_changed"]
    for words in (
        "PRIOR_PREDICTION of prior: taken as regularisation images", "balancing 0.5 of a: taken as 1", "loss_weight 0.7 of a: not taken",
        "new_key of a: not understood", "enable_random_flip of a: set dataset.flip", "balancing 40.0 SAMPLES of b: taken as 1 repeat",
        "enable_tag_shuffling of b: set dataset.shuffle_captions",
    ):  # fmt: skip
        assert words in changed


def test_backends_of_simpletuner(photos: Path) -> None:
    rows = [
        backend(
            "photos", photos / "photos", repeats=9, prepend_instance_prompt=True, instance_prompt="a photo,", resolution=1024
        ),
        backend("hats", photos / "hats", caption_strategy="instanceprompt", instance_prompt=["a hat", "headgear"]),
        backend("reg", photos / "hats", caption_strategy="filename", is_regularisation_data=True),
        backend("cloud", "", type="aws"),
        backend("films", photos / "hats", dataset_type="video"),
        {"id": "text", "dataset_type": "text_embeds", "default": True, "type": "local", "cache_dir": "cache/text"},
    ]
    found = gather(photos, rows)
    assert captions(found) == {
        "10_photos/a.png": ("a photo, anafox woman in a park\na photo, anafox woman", True),
        "10_photos/b.png": ("a photo, anafox woman at home", False),
        "10_photos/more-a.png": ("a photo, anafox woman by night", False),
        "1_hats/blue_hat.png": ("a hat\nheadgear", True),
        "reg/1_reg/blue_hat.png": ("blue hat", False),
    }
    said = messages(found)
    assert said["gathered_changed"] == [
        "concepts.json of SimpleTuner has what means something else here: resolution 1024 of photos: not taken."
    ]
    assert "cloud lies on aws, and not on this machine." in said["gathered_left_out"][0]


def test_one_caption_of_several_lines_where_simpletuner_does_not_split_them(photos: Path) -> None:
    row = backend("photos", photos / "photos", disable_multiline_split=True)
    assert captions(gather(photos, [row]))["a.png"] == ("anafox woman in a park anafox woman", False)


FLUXGYM = """[general]
shuffle_caption = false
caption_extension = '.txt'
keep_tokens = 1

[[datasets]]
resolution = 512
batch_size = 1
keep_tokens = 1

  [[datasets.subsets]]
  image_dir = '/workspace/fluxgym/datasets/anafox'
  class_tokens = 'anafox'
  num_repeats = 10
"""
"""As FluxGym's `gen_toml` writes it."""


def test_the_dataset_file_of_fluxgym(tmp_path: Path) -> None:
    image(tmp_path / "datasets" / "anafox" / "a.png", "anafox in a park", "a second line")
    image(tmp_path / "datasets" / "anafox" / "b.png")
    path = tmp_path / "outputs" / "anafox" / "dataset.toml"
    path.parent.mkdir(parents=True)
    path.write_text(FLUXGYM)
    found = scan(gathered.opened(path, tmp_path / "home"))
    assert captions(found) == {"10_anafox/a.png": ("anafox in a park", False), "10_anafox/b.png": (None, False)}
    (changed,) = messages(found)["gathered_changed"]
    for words in ("keep_tokens 1 of anafox: set dataset.keep_tokens", "resolution 512 of anafox", "batch_size 1 of anafox"):
        assert words in changed
    assert "shuffle_caption" not in changed


def test_a_dataset_file_of_sd_scripts(photos: Path) -> None:
    path = photos / "dataset.toml"
    path.write_text(f"""
[general]
enable_wildcard = true
num_repeats = 2
[[datasets]]
enable_bucket = true
caption_prefix = "photo,"
  [[datasets.subsets]]
  image_dir = "{photos}/photos"
  caption_suffix = "end"
  [[datasets.subsets]]
  image_dir = "{photos}/photos"
  [[datasets.subsets]]
  image_dir = "{photos}/hats"
  class_tokens = "hat"
  is_reg = true
  num_repeats = 1
  color_aug = true
[[datasets]]
  [[datasets.subsets]]
  image_dir = "{photos}/photos"
  num_repeats = 0
""")
    found = scan(gathered.opened(path, photos / "home"))
    assert captions(found) == {
        "2_photos/a.png": ("photo, anafox woman in a park end\nphoto, anafox woman end", True),
        "2_photos/b.png": ("photo, anafox woman at home end", False),
        "reg/1_hat/blue_hat.png": (None, False),
    }
    said = messages(found)
    assert [message.removeprefix("In the folder list, ") for message in said["gathered_left_out"]] == [
        "photos-2 is there twice in one dataset.",
        "photos-3 has num_repeats 0, which sd-scripts leaves out.",
    ]
    for words in (
        "enable_wildcard True of photos: set dataset.caption_choice to line+wildcards",
        "color_aug True of hat: not taken",
    ):
        assert words in said["gathered_changed"][0]


def test_a_dataset_file_may_be_json(photos: Path) -> None:
    table = {"datasets": [{"subsets": [{"image_dir": str(photos / "photos"), "num_repeats": 3}]}]}
    path = listed(photos, table, "dataset.json")
    assert len(scan(gathered.opened(path, photos / "home")).training) == 2


@pytest.mark.parametrize(
    "content", ["", "[dataset]\npath = 'x'", "datasets = 3", "[[datasets]]\nsubsets = 3", "nonsense", "[[["]
)
def test_other_toml_is_no_list(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(content)
    assert not folder_lists.is_list(path)


def test_folders_of_another_machine_are_found_beside_the_list(photos: Path) -> None:
    for written in ("C:\\Users\\me\\train\\photos", "/workspace/input/photos", "photos", "./photos/"):
        assert len(gather(photos, [concept("a", written)]).images) == 2
    with pytest.raises(DatasetError, match="a is not here: /etc/nowhere"):
        gather(photos, [concept("a", "/etc/nowhere")])


def test_what_is_saved_stays_in_the_gathered_folder_until_the_list_changes(photos: Path) -> None:
    found = gather(photos, [concept("a", photos / "photos")])
    before = {path: path.read_bytes() for path in photos.glob("photos/*.txt")}
    save(found, {"b.png": "another", "a.png": "one"})
    again = gather(photos, [concept("a", photos / "photos")])
    assert captions(again) == {"a.png": ("one", False), "b.png": ("another", False)}
    assert {path: path.read_bytes() for path in photos.glob("photos/*.txt")} == before
    (photos / "photos" / "b.txt").write_text("written anew")
    assert captions(gather(photos, [concept("a", photos / "photos")]))["b.png"] == ("written anew", False)
    assert gather(photos, [concept("a", photos / "photos", balancing=2.0)]).root != again.root


def test_lists_of_captions_in_the_folders_are_said_too(photos: Path) -> None:
    (photos / "hats" / "metadata.csv").write_text("file_name,text\nblue_hat.png,a blue hat\ngone.png,x\n")
    found = gather(photos, [concept("a", photos / "photos"), concept("hats", photos / "hats")])
    assert captions(found)["1_hats/blue_hat.png"] == ("a blue hat", False)
    said = messages(found)
    assert said["caption_list"] == ["1 caption from metadata.csv."]
    assert "gone.png" in said["caption_list_gone"][0]


def test_masks_come_with_their_images(photos: Path) -> None:
    image(photos / "photos" / "a-masklabel.png")
    image(photos / "photos" / "masks" / "b.png")
    image(photos / "photos" / "masks-face" / "b.png")
    found = gather(photos, [concept("a", photos / "photos", include_subdirectories=True)])
    masks = {
        (entry.relative, mask.kind): mask.path.resolve().relative_to(photos / "photos").as_posix()
        for entry in found.images
        for mask in entry.masks
    }
    assert masks == {
        ("a.png", "folder"): "a-masklabel.png",
        ("b.png", "folder"): "masks/b.png",
        ("b.png", "face"): "masks-face/b.png",
    }


def test_a_list_is_trained_on_and_checked_in_place_of_a_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = listed(photos, [concept("a", photos / "photos", balancing=4.0)], "multidatabackend.json")
    prepared = prepare(build_recipe("demo", dataset=path, sets=("dataset.trigger=anafox",)), photos / "home")
    assert prepared.recipe.settings.dataset.path.startswith(str(photos / "home" / "datasets" / "gathered-"))
    assert prepared.plan.concepts[0].repeats == 4
    cli.main(["check", str(path), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert (table["images"], table["captioned"]) == (2, 2)
    assert "gathered" in [finding["id"] for finding in table["findings"]]


def test_an_import_says_how_to_take_all_folders_and_counts_them(photos: Path) -> None:
    rows = [concept("a", photos / "photos", balancing=3.0), concept("b", photos / "hats")]
    path = listed(photos, {"training_method": "LORA", "model_type": "FLUX_DEV_1", "concepts": rows}, "config.json")
    alone = import_settings(path)
    assert f"config.json lists 2 folders, of which the recipe names one: --dataset {path} takes all." in alone.notes
    both = import_settings(path, dataset=path)
    assert both.recipe is not None
    assert both.recipe.settings.dataset.path == str(path)
    assert not any("lists 2 folders" in note for note in both.notes)
    assert alone.steps.theirs != both.steps.theirs
    with pytest.raises(UsageError, match="lists folders of images and has no settings"):
        import_settings(listed(photos, rows, "list.json"))
    named = listed(
        photos, {"training_method": "LORA", "model_type": "FLUX_DEV_1", "concept_file_name": "x/list.json"}, "c.json"
    )
    assert any("list.json lists 2 folders" in note for note in import_settings(named).notes)


@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "[1]", '[{"path": "x"}]', "nonsense", '{"concepts": 3}', "[" * 99])
def test_other_files_are_no_list(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    assert not folder_lists.is_list(path)
    assert gathered.opened(path, tmp_path) == path


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.integers(), max_size=2), st.just({})
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_odd_dataset_files_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    if not (tmp_path / "photos").exists():
        image(tmp_path / "photos" / "a.png", "anafox\nwoman")
    keys = st.sampled_from(
        ["num_repeats", "class_tokens", "is_reg", "caption_prefix", "enable_wildcard", "caption_extension", "general"]
    )
    values = st.sampled_from(["[]", "{}", "'x'", "-1", "10", "1e300", "nan", "true", "'\\u001b[2J'", "[[1]]", "1979-05-27"])
    rows = data.draw(st.dictionaries(keys, values, max_size=5))
    general = data.draw(st.sampled_from(["general = 3", "[general]\nnum_repeats = 'x'", ""]))
    subset = "\n".join(f"{key} = {value}" for key, value in rows.items())
    path = tmp_path / "dataset.toml"
    path.write_text(
        f"{general}\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'photos'\n{subset}\n[[datasets.subsets]]\nimage_dir = './photos'\n"
    )
    assert scan(gathered.opened(path, tmp_path / "datasets")).training, "the second subset is sound"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.booleans())
def test_odd_values_never_crash(tmp_path: Path, data: st.DataObject, concepts: bool) -> None:
    if not (tmp_path / "photos").exists():
        image(tmp_path / "photos" / "a.png", "anafox")
    row = (concept if concepts else backend)("a", tmp_path / "photos")
    odd = data.draw(st.dictionaries(st.sampled_from([*row, "instance_prompt", "x\0\x1b[2J"]), ODD, max_size=6))
    for inner in ("text", "image") if concepts else ():
        own = data.draw(st.dictionaries(st.sampled_from([*CONCEPT[inner], "new"]), ODD, max_size=3))
        odd.setdefault(inner, {**CONCEPT[inner], **own})
    path = tmp_path / "list.json"
    path.write_text(
        json.dumps([{**row, **odd}, row], allow_nan=True).replace("-Infinity", "1").replace("Infinity", "1").replace("NaN", "1")
    )
    read = folder_lists.read(path)
    assert read is not None
    assert not any("\x1b" in words or "\0" in words for words in (*read.changed, *(name for name, _ in read.left_out)))
    try:
        found = scan(gathered.gather(path, tmp_path / "datasets"))
    except LoratuiError as error:
        raise AssertionError(f"the second row is sound: {error}") from error
    assert found.training
