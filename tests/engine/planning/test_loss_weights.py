"""What loss weights do to the learning rate, against figures that were measured on SD's schedule."""

from __future__ import annotations

import pytest

from loratui.engine.planning.loss_weights import in_words, mean_loss_weight
from loratui.presets import load_preset
from loratui.presets.schema import Settings, replace


def settings(**changes: object) -> Settings:
    return replace(Settings(), {name.replace("__", "."): value for name, value in changes.items()})


@pytest.mark.parametrize(
    ("changes", "mean"),
    [
        ({}, 1.0),
        ({"training__min_snr_gamma": 5.0}, 0.917),
        ({"training__min_snr_gamma": 5.0, "base__prediction": "v"}, 0.294),
        ({"training__debiased_estimation": True}, 3.02),
        ({"training__scale_v_loss": True}, 1.0),
    ],
)
def test_the_mean_weight_over_the_schedule(changes: dict[str, object], mean: float) -> None:
    assert mean_loss_weight(settings(**changes)) == pytest.approx(mean, abs=0.005)


def test_more_draws_near_pure_noise_change_the_mean_too() -> None:
    """Debiased estimation weighs noisy timesteps most, so drawing them more often raises its mean."""
    plain = mean_loss_weight(settings(training__debiased_estimation=True))
    assert mean_loss_weight(settings(training__debiased_estimation=True, training__high_noise_bias=1.0)) > plain * 1.3


def test_flow_matching_has_no_such_weights() -> None:
    assert mean_loss_weight(settings(base__family="flux", training__debiased_estimation=True)) == 1.0


def test_only_what_matters_is_said() -> None:
    assert in_words(settings()) == ""
    assert in_words(settings(training__min_snr_gamma=5.0)) == ""
    assert in_words(settings(training__debiased_estimation=True)) == "its loss weights work like a 3.0 times higher rate"
    v = settings(training__min_snr_gamma=5.0, base__prediction="v")
    assert in_words(v) == "its loss weights work like 1/3.4 of the rate"


def test_the_preset_with_debiased_estimation_says_it() -> None:
    assert "times higher" in in_words(load_preset("sd15-character").settings)
