"""Settings that mean nothing to a family are refused, and every shipped preset is free of them."""

from __future__ import annotations

import pytest

from loratui.engine import families
from loratui.engine.planning.family_rules import RULES, guidance, misfits
from loratui.presets import list_presets, load_preset
from loratui.presets.schema import KEYS, Family, Settings, parse_value, replace


def settings(family: Family, *sets: str) -> Settings:
    return replace(Settings(), {"base.family": family, **dict(parse_value(*one.split("=")) for one in sets)})


@pytest.mark.parametrize(
    ("family", "setting"),
    [
        ("flux", "training.min_snr_gamma=5"),
        ("flux", "training.debiased_estimation=true"),
        ("flux", "training.noise_offset=0.05"),
        ("flux", "training.multires_noise_iterations=6"),
        ("flux", "base.clip_skip=2"),
        ("flux", "base.prediction=v"),
        ("flux", "dataset.caption_tokens=150"),
        ("sd15", "training.weighting=cosmap"),
        ("sdxl", "training.timestep_sampling=flux_shift"),
        ("sdxl", "training.guidance=3.5"),
    ],
)
def test_a_setting_of_another_family_is_refused_by_name(family: Family, setting: str) -> None:
    (found,) = misfits(settings(family, setting))
    key = setting.partition("=")[0]
    assert found.message.startswith(key)
    assert found.remedy


@pytest.mark.parametrize(
    ("family", "sets"),
    [
        (
            "flux",
            (
                "training.timestep_sampling=shift",
                "training.timestep_shift=2",
                "training.weighting=cosmap",
                "training.guidance=3",
            ),
        ),
        ("flux", ("training.high_noise_bias=0.5", "training.loss=huber")),
        ("sdxl", ("base.clip_skip=2", "training.min_snr_gamma=5", "dataset.caption_tokens=225", "training.noise_offset=0.05")),
        ("sd15", ("base.prediction=v", "base.zero_terminal_snr=on", "training.debiased_estimation=true")),
    ],
)
def test_what_belongs_to_a_family_passes(family: Family, sets: tuple[str, ...]) -> None:
    assert not list(misfits(settings(family, *sets)))


@pytest.mark.parametrize(
    ("family", "sets", "key"),
    [
        ("flux", ("training.timestep_shift=2",), "training.timestep_shift"),
        ("flux", ("training.timestep_sampling=uniform", "training.timestep_scale=2"), "training.timestep_scale"),
        ("flux", ("training.loss=huber", "training.huber_schedule=snr"), "training.huber_schedule"),
        ("sdxl", ("base.zero_terminal_snr=on", "base.prediction=epsilon"), "base.zero_terminal_snr"),
    ],
)
def test_row_16_settings_that_exclude_each_other_are_refused(family: Family, sets: tuple[str, ...], key: str) -> None:
    assert [found.message.startswith(key) for found in misfits(settings(family, *sets))] == [True]


@pytest.mark.parametrize(
    ("family", "sets", "key", "nearest"),
    [
        ("sd15", ("dataset.bucket_step=9",), "dataset.bucket_step", 8),
        ("sdxl", ("dataset.resolution=1020",), "dataset.resolution", 1024),
        ("sd15", ("samples.width=100",), "samples.width", 96),
        ("sdxl", ("samples.height=3",), "samples.height", 8),
        ("flux", ("dataset.bucket_step=8",), "dataset.bucket_step", 16),
        ("flux", ("dataset.resolution=1000",), "dataset.resolution", 992),
        ("flux", ("samples.width=1000",), "samples.width", 992),
        ("flux", ("dataset.upscale=true", "dataset.bucket_min=264"), "dataset.bucket_min", 256),
        ("sd15", ("dataset.upscale=true", "dataset.bucket_max=1000", "dataset.bucket_max=1001"), "dataset.bucket_max", 1000),
    ],
)
def test_a_size_that_does_not_come_out_even_is_refused_with_the_nearest_that_does(
    family: Family, sets: tuple[str, ...], key: str, nearest: int
) -> None:
    (found,) = misfits(settings(family, *sets))
    value = sets[-1].partition("=")[2]
    assert found.message.startswith(f"{key} {value}: ")
    assert f"{families.family(family).side_px} px" in found.message
    assert found.settings == {key: nearest}
    assert not list(misfits(settings(family, *sets[:-1], f"{key}={nearest}")))


def test_the_ends_of_buckets_count_only_where_buckets_begin_and_end_there() -> None:
    assert not list(misfits(settings("flux", "dataset.bucket_min=264")))
    assert not list(misfits(settings("flux", "dataset.bucket_min=264", "dataset.upscale=true", "dataset.buckets=false")))


@pytest.mark.parametrize(
    ("sets", "key"),
    [
        (
            (
                "optimizer.name=prodigy",
                "optimizer.learning_rate=1",
                "training.train_text_encoder=true",
                "optimizer.text_encoder_learning_rate=0.5",
            ),
            "optimizer.text_encoder_learning_rate",
        ),
        (
            (
                "optimizer.name=dadapt_adam",
                "optimizer.learning_rate=1",
                "training.train_text_encoder=true",
                "optimizer.text_encoder_learning_rate=1e-4",
            ),
            "optimizer.text_encoder_learning_rate",
        ),
    ],
)
def test_what_the_trainer_would_refuse_is_refused_before_the_start(sets: tuple[str, ...], key: str) -> None:
    (found,) = misfits(settings("sd15", *sets))
    assert found.message.startswith(key)


def test_fp16_is_refused_where_the_activations_leave_its_range() -> None:
    (found,) = misfits(settings("flux", "training.precision=fp16"))
    assert found.settings == {"training.precision": "auto"}
    assert "65 504" in found.message
    assert not list(misfits(settings("sd15", "training.precision=fp16")))
    assert not list(misfits(settings("sdxl", "training.precision=fp16")))


@pytest.mark.parametrize("text_rate", ["0", "1"])
def test_one_rate_for_all_parts_passes(text_rate: str) -> None:
    rates = ("optimizer.learning_rate=1", f"optimizer.text_encoder_learning_rate={text_rate}")
    assert not list(misfits(settings("sd15", "optimizer.name=prodigy", "training.train_text_encoder=true", *rates)))


def test_every_key_of_the_table_is_a_setting() -> None:
    assert all(key in KEYS for key, _, _ in RULES)


def test_no_shipped_preset_has_a_setting_that_its_family_cannot_use() -> None:
    for preset in list_presets():
        own = load_preset(preset.name).settings
        assert not list(misfits(own)), preset.name
        assert not list(guidance(own)), preset.name


def test_a_guidance_meant_for_sd_is_remarked_on_flux() -> None:
    (found,) = guidance(settings("flux", "samples.guidance=7.5"))
    assert "3.5" in found.message
    assert not list(guidance(settings("flux", "samples.guidance=3.5")))
    assert not list(guidance(settings("sdxl", "samples.guidance=7.5")))
