"""Judgements: each warning comes when it should, with a reason and a remedy that mends it."""

from __future__ import annotations

import pytest

from loratui.engine.dataset.checks.files import image_band
from loratui.engine.findings import Finding
from loratui.engine.planning.rates import effective_learning_rate
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets import list_presets


def advice(preset: str, *sets: str, images: int = 18, concepts: tuple[int, ...] = ()) -> dict[str, Finding]:
    return {w.code: w for w in plan_for_counts(build_recipe(preset, sets=sets), images, concepts).warnings}


@pytest.mark.parametrize(
    "preset", [p.name for p in list_presets() if p.shipped] + ["sd15-character:prodigy", "sdxl-character:prodigy"]
)
def test_a_preset_used_as_meant_gives_no_warning(preset: str) -> None:
    images = {"style": 130, "multi-concept": 126, "sd15-dreambooth": 10, "sdxl-person": 32, "sd15-portrait": 18}.get(preset, 18)
    assert not advice(preset, images=images, concepts=(51, 43, 32) if preset == "multi-concept" else ())


@pytest.mark.parametrize(
    ("code", "preset", "sets", "images", "source"),
    [
        ("too_few_images", "flux-identity-18img", (), 9, "FLUX guide"),
        ("too_many_images", "flux-identity-18img", (), 21, "FLUX guide"),
        ("too_few_images", "pony-realism", (), 13, "ZyloO"),
        ("too_many_images", "sd15-portrait", (), 100, "Skullkid"),
        ("too_many_exposures", "flux-identity-18img", ("exposures=160",), 18, "FLUX guide"),
        ("too_few_exposures", "flux-identity-18img", ("exposures=90",), 18, "FLUX guide"),
        ("too_many_image_steps", "flux-identity-18img", (), 31, "FLUX guide"),
        ("capped", "sd15-dreambooth", (), 20, "DreamBooth guide"),
        ("capped", "sd15-dreambooth", (), 25, "DreamBooth guide"),
        ("too_few_exposures", "sd15-portrait", ("epochs=6",), 50, "loratui"),
        ("adaptive_rate", "sd15-character:prodigy", ("learning_rate=0.001",), 30, "Valstrix"),
        ("adaptive_alpha", "sd15-character:prodigy", ("adapter.alpha=32",), 30, "Valstrix"),
        ("adaptive_scheduler", "sd15-character:prodigy", ("scheduler=constant",), 30, "Valstrix"),
        ("rate_high", "sd15-portrait", ("learning_rate=1e-3",), 18, "loratui"),
        ("rate_high", "sd15-portrait", ("learning_rate=1",), 18, "loratui"),
        ("rate_low", "sd15-portrait", ("adapter.alpha=1",), 18, "loratui"),
        ("text_rate_high", "sdxl-person", ("text_encoder_learning_rate=4.5e-4",), 32, "Skullkid"),
        ("rank_high", "flux-identity-18img", ("rank=64", "alpha=64"), 18, "FLUX guide"),
        ("rank_low", "flux-identity-18img", ("rank=4", "alpha=4"), 18, "FLUX guide"),
        ("rank_for_images", "sd15-portrait", (), 9, "FLUX guide"),
        ("batch_large", "sd15-character", ("batch_size=8",), 30, "Valstrix"),
        ("flip_identity", "sd15-portrait", ("flip=true",), 18, "Skullkid, Valstrix"),
        ("resolution_high", "sd15-portrait", ("resolution=1024",), 18, "Valstrix"),
        ("resolution_low", "sdxl-person", ("resolution=512",), 32, "Valstrix"),
        ("bucket_max_low", "sdxl-person", ("upscale=true", "bucket_max=1024"), 32, "loratui"),
        ("no_effect", "flux-identity-18img", ("cycles=3",), 18, "loratui"),
        ("clip_skip_unusual", "pony-realism", ("clip_skip=3",), 18, "loratui"),
        ("no_effect", "sd15-portrait", ("keep_tokens=2",), 18, "Valstrix"),
    ],
)  # fmt: skip
def test_each_warning(code: str, preset: str, sets: tuple[str, ...], images: int, source: str) -> None:
    given = advice(preset, *sets, images=images)
    assert code in given
    assert given[code].source == source
    assert given[code].message.endswith(".")
    assert given[code].remedy.endswith(".")


def test_warnings_of_several_concepts() -> None:
    assert "batch_with_concepts" in advice("multi-concept", "batch_size=2", concepts=(51, 43, 32))
    assert "concept_overtrains" in advice("multi-concept", concepts=(51, 10))
    assert "concepts_unbalanced" in advice("sd15-character", concepts=(30, 10))
    assert "concepts_unbalanced" not in advice("multi-concept", concepts=(30, 10))


def test_a_style_may_be_mirrored() -> None:
    assert "flip_identity" not in advice("style", "flip=true", images=130)


@pytest.mark.parametrize(
    ("preset", "sets", "images", "code"),
    [
        ("sd15-portrait", ("schedule.epochs=6",), 50, "too_few_exposures"),
        ("flux-identity-18img", ("exposures=200",), 18, "too_many_exposures"),
        ("flux-identity-18img", ("exposures=50",), 18, "too_few_exposures"),
    ],
)
def test_the_number_of_epochs_that_a_warning_proposes_mends_it(
    preset: str, sets: tuple[str, ...], images: int, code: str
) -> None:
    remedy = advice(preset, *sets, images=images)[code].remedy
    epochs = remedy[remedy.index("schedule.epochs=") :].split(")")[0]
    assert code not in advice(preset, *sets, epochs, images=images)


def test_guide_001_trains_50_images_for_20_epochs() -> None:
    assert plan_for_counts(build_recipe("sd15-portrait"), 50).optimizer_steps == 4000
    assert "schedule.epochs=20" in advice("sd15-portrait", "epochs=6", images=50)["too_few_exposures"].remedy


def test_a_capped_set_is_not_also_told_to_train_more() -> None:
    assert "too_few_exposures" not in advice("sd15-dreambooth", images=25)


def test_bands_and_effective_rates() -> None:
    portrait = build_recipe("sd15-portrait").settings
    assert image_band(portrait.dataset.image_bands, 30) == "the target range"
    assert image_band(portrait.dataset.image_bands, 100) == image_band(portrait.dataset.image_bands, 10_000) == "wasted effort"
    assert image_band(build_recipe("demo").settings.dataset.image_bands, 18) == ""
    person = build_recipe("sdxl-person", sets=("rank_stabilised=true",)).settings
    assert effective_learning_rate(person) == pytest.approx(16 / 32**0.5 * 4e-4)
