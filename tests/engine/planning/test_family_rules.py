"""Settings that mean nothing to a family are refused, and every shipped preset is free of them."""

from __future__ import annotations

import pytest

from loratui.engine.planning.family_rules import RULES, guidance_advice, misfits
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
    assert found.key == key
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
    assert [found.key for found in misfits(settings(family, *sets))] == [key]


def test_every_key_of_the_table_is_a_setting() -> None:
    assert all(key in KEYS for key, _, _ in RULES)


def test_no_shipped_preset_has_a_setting_that_its_family_cannot_use() -> None:
    for preset in list_presets():
        own = load_preset(preset.name).settings
        assert not list(misfits(own)), preset.name
        assert not guidance_advice(own), preset.name


def test_a_guidance_meant_for_sd_is_remarked_on_flux() -> None:
    assert "3.5" in guidance_advice(settings("flux", "samples.guidance=7.5"))
    assert not guidance_advice(settings("flux", "samples.guidance=3.5"))
    assert not guidance_advice(settings("sdxl", "samples.guidance=7.5"))
