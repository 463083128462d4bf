"""The shipped presets, and the strict reading of a person's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from loratui.engine.dataset.checks.files import image_band
from loratui.presets import SOURCES, Preset, find_presets, list_presets, load_preset, schema
from loratui.presets.schema import SchemaError, Settings

NAMES = [
    "flux-identity-18img", "pony-realism", "sd15-portrait", "sd15-dreambooth", "sdxl-person", "sd15-character",
    "sdxl-character", "style", "multi-concept", "demo",
]  # fmt: skip


def shipped() -> list[Preset]:
    presets = [p for p in list_presets() if p.shipped]
    return [*presets, *(v for p in presets for v in p.variants.values())]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    folder = tmp_path / "presets"
    folder.mkdir()
    return folder


def test_all_presets_are_there_with_three_in_front(mine: Path) -> None:
    found = find_presets()
    assert not found.problems
    assert {p.name for p in found.presets} == set(NAMES)
    assert [p.name for p in found.presets[:3]] == ["flux-identity-18img", "pony-realism", "sd15-portrait"]
    assert [p.front for p in found.presets] == [True] * 3 + [False] * 7


@pytest.mark.parametrize("preset", shipped(), ids=lambda p: p.name)
def test_every_value_has_a_reason_and_a_source(preset: Preset) -> None:
    assert preset.set_keys == preset.reasons.keys()
    assert preset.title
    assert preset.summary.endswith(".")
    for reason in preset.reasons.values():
        assert reason.source in SOURCES
        assert len(reason.text) >= 15
    for key in schema.KEYS.keys() - preset.set_keys:
        assert schema.get(preset.settings, key) == schema.get(Settings(), key)


@pytest.mark.parametrize("preset", shipped(), ids=lambda p: p.name)
def test_bands_cover_every_number_of_images(preset: Preset) -> None:
    if preset.settings.dataset.image_bands:
        assert all(image_band(preset.settings.dataset.image_bands, n) for n in range(1, 1000))
    least, most = preset.settings.dataset.images_wanted
    ideal = preset.settings.dataset.images_ideal
    assert ideal == 0 or least <= ideal <= most


@pytest.mark.parametrize("preset", shipped(), ids=lambda p: p.name)
def test_prompts_use_only_known_words_in_braces(preset: Preset) -> None:
    for prompt in (*preset.settings.samples.prompts, *preset.settings.validation.prompts):
        assert set(re.findall(r"\{(.*?)\}", prompt)) <= {"subject", "trigger", "class"}


def test_values_of_the_guides() -> None:
    flux = load_preset("flux-identity-18img").settings
    assert (flux.adapter.rank, flux.optimizer.learning_rate, flux.samples.guidance, flux.schedule.image_steps_warn) == (
        16,
        1e-4,
        3.5,
        3000,
    )
    pony = load_preset("pony-realism").settings
    assert (pony.base.clip_skip, pony.adapter.rank, pony.adapter.effective_alpha, pony.samples.width) == (2, 32, 32.0, 768)
    person = load_preset("sdxl-person").settings
    assert (person.optimizer.learning_rate, person.optimizer.text_encoder_learning_rate) == (4e-4, 4e-5)
    assert (person.adapter.rank, person.adapter.effective_alpha, person.training.min_snr_gamma) == (32, 16.0, 5.0)
    character = load_preset("sd15-character").settings
    assert (character.optimizer.scheduler, character.optimizer.cycles, character.optimizer.weight_decay) == (
        "cosine_with_restarts",
        3,
        0.12,
    )
    prodigy = load_preset("sd15-character:prodigy").settings
    assert (prodigy.optimizer.name, prodigy.optimizer.learning_rate, prodigy.adapter.alpha) == ("prodigy", 1.0, 1.0)
    assert prodigy.dataset.resolution == character.dataset.resolution == 768


@pytest.mark.parametrize(
    ("typed", "hint"), [("dmo", "did you mean demo"), ("zzz", "there are demo, flux"), ("../demo", "no preset")]
)
def test_an_unknown_preset_names_the_nearest(mine: Path, typed: str, hint: str) -> None:
    with pytest.raises(SchemaError, match=hint):
        load_preset(typed)
    with pytest.raises(SchemaError, match="did you mean prodigy"):
        load_preset("sd15-character:prodigi")


def test_a_preset_of_ones_own_extends_another(mine: Path) -> None:
    (mine / "fast.toml").write_text('extends = "sd15-portrait"\ntitle = "Mine"\n[adapter]\nrank = 64\n')
    preset = load_preset("fast")
    assert (preset.title, preset.extends, preset.shipped, preset.front) == ("Mine", "sd15-portrait", False, False)
    assert (preset.settings.adapter.rank, preset.settings.adapter.effective_alpha) == (64, 64.0)
    assert preset.reasons["adapter.rank"].source == "yours"
    assert preset.reasons["adapter.alpha"].source == "loratui"
    (mine / "faster.toml").write_text('extends = "fast"\n[schedule]\nepochs = 3\n')
    assert load_preset("faster").settings.adapter.rank == 64
    (mine / "prod.toml").write_text('extends = "sd15-character:prodigy"\n')
    assert load_preset("prod").settings.optimizer.name == "prodigy"
    assert [p.name for p in list_presets()][-3:] == ["fast", "faster", "prod"]


def test_a_change_to_ones_own_preset_is_seen_at_once(mine: Path) -> None:
    (mine / "fast.toml").write_text("[adapter]\nrank = 64\n")
    assert load_preset("fast").settings.adapter.rank == 64
    (mine / "fast.toml").write_text("[adapter]\nrank = 65\n")
    assert load_preset("fast").settings.adapter.rank == 65


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("[adapter]\nrnk = 3\n", r"fast\.toml, line 2: adapter\.rnk: no such key; did you mean rank"),
        ("[adapter]\nrank = 'x'\n", r"fast\.toml, line 2: adapter\.rank: expected a number, got 'x'"),
        ("\n\n[adapter]\n\nrank = 5000\n", r"fast\.toml, line 5: adapter\.rank: 5000 is too large; the most is 1024"),
        ("[adaptr]\nrank = 5\n", r"fast\.toml, line 1: adaptr: no such key or section; did you mean adapter"),
        ("titel = 'x'\n", r"fast\.toml, line 1: titel: no such key or section; did you mean title"),
        ("name = 'slow'\n", "differs from the file's name"),
        ("front = 1\n", "line 1: front: expected true or false"),
        ("title = 1\n", "line 1: title: expected text"),
        ("extends = 'sd15-portait'\n", "line 1: extends: no preset is called 'sd15-portait'; did you mean sd15-portrait"),
        ("extends = 'sd15-character:adam'\n", "no variant 'adam'"),
        ("extends = 3\n", "line 1: extends: expected the name"),
        ("extends = 'fast'\n", "extends itself"),
        ("format = 2\n", "use a newer loratui"),
        ("format = 'x'\n", "line 1: format"),
        ("format = \n", "not valid TOML"),
        (
            "[why]\n\"adapter.rank\" = { text = 'a', source = 'b' }\n",
            "line 2: why: a reason for adapter.rank, which is not set",
        ),
        ("[why]\n\"adapter.rnk\" = { text = 'a', source = 'b' }\n", "did you mean adapter.rank"),
        ("[adapter]\nrank = 4\n[why]\n\"adapter.rank\" = 'because'\n", r"line 4: why\.adapter\.rank: expected \{ text"),
        ("why = 3\n", r"why: expected a section"),
        ("variants = 3\n", "variants: expected sections"),
        ("[variants]\na = 3\n", r"variants\.a: expected a section"),
        ("[variants.a.adapter]\nrnk = 3\n", r"line 2: adapter\.rnk: no such key"),
        ("[variants.a]\nextends = 'demo'\n", r"variants\.a\.extends: no such key"),
    ],
)
def test_a_wrong_preset_names_file_line_key_and_nearest(mine: Path, source: str, complaint: str) -> None:
    (mine / "fast.toml").write_text(source)
    with pytest.raises(SchemaError, match=complaint):
        load_preset("fast")
    found = find_presets()
    assert len(found.problems) == 1
    assert {p.name for p in found.presets} == set(NAMES)


def test_files_that_are_no_text_are_named(mine: Path) -> None:
    (mine / "fast.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match="not UTF-8"):
        load_preset("fast")
    (mine / "dir.toml").mkdir()
    with pytest.raises(SchemaError, match="cannot be read: Is a directory"):
        load_preset("dir")


def test_the_name_of_a_shipped_preset_is_taken(mine: Path) -> None:
    (mine / "demo.toml").write_text("[adapter]\nrank = 64\n")
    assert load_preset("demo").shipped
    assert "comes with loratui" in str(find_presets().problems[0])


def test_two_presets_that_extend_each_other(mine: Path) -> None:
    (mine / "a.toml").write_text("extends = 'b'\n")
    (mine / "b.toml").write_text("extends = 'a'\n")
    with pytest.raises(SchemaError, match="extends itself by way of a, b"):
        load_preset("a")


def test_presets_need_nothing_heavy() -> None:
    code = "import sys, loratui.presets as p; p.list_presets(); print([m for m in sys.modules if m in ('torch','numpy','PIL','tomlkit','textual')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
