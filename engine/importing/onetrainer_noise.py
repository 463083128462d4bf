"""Noise, noise levels and loss in OneTrainer's configuration."""

from __future__ import annotations

from loratui.engine.importing.reading import Reading


def noise(reading: Reading, flows: bool) -> None:
    offset = reading.number("offset_noise_weight")
    if flows and offset:
        reading.changed("offset_noise_weight", {}, "loratui has no offset noise for FLUX.")
    else:
        reading.taken("offset_noise_weight", {} if flows else {"training.noise_offset": offset})
    reading.taken("perturbation_noise_weight", {"training.input_perturbation": reading.number("perturbation_noise_weight")})
    if reading.yes("rescale_noise_scheduler_to_zero_terminal_snr"):
        reading.taken("rescale_noise_scheduler_to_zero_terminal_snr", {"base.zero_terminal_snr": "on"})
    for key, value in (("force_v_prediction", "v"), ("force_epsilon_prediction", "epsilon")):
        if reading.yes(key) and not flows:
            reading.taken(key, {"base.prediction": value})
        else:
            reading.nothing(key, "loratui reads from the base what it predicts.")
    spread, bias = reading.number("noising_weight"), reading.number("noising_bias")
    kind = reading.text("timestep_distribution", "UNIFORM")
    shift = reading.number("timestep_shift", 1.0)
    dynamic = reading.yes("dynamic_timestep_shifting")
    key = "timestep_distribution"
    if not flows:
        if kind == "UNIFORM" and shift == 1:
            reading.nothing(key, "loratui draws them evenly too.")
        else:
            reading.changed(key, {}, "loratui draws the timesteps of this kind of base evenly.")
        for name in ("timestep_shift", "dynamic_timestep_shifting", "noising_weight", "noising_bias"):
            reading.nothing(name, "It belongs to timestep_distribution.")
        return
    if kind == "LOGIT_NORMAL":
        ours = "flux_shift" if dynamic else "sigmoid" if shift == 1 else "shift"
        sets = {"training.timestep_sampling": ours, "training.timestep_scale": spread + 1.0}
        (reading.taken if not bias else reading.changed)(
            key, sets, "loratui's normal distribution has its middle at 0." if bias else ""
        )
    else:
        ours = "uniform"
        even = kind == "UNIFORM" and shift == 1 and not dynamic
        words = "loratui draws evenly, or as a logit-normal distribution; the recipe draws evenly, without a shift."
        (reading.taken if even else reading.changed)(key, {"training.timestep_sampling": "uniform"}, "" if even else words)
        reading.assumed(
            key, kind, {"training.timestep_sampling": "uniform"}, "" if even else words, "taken" if even else "changed"
        )
    if ours == "shift":
        reading.taken("timestep_shift", {"training.timestep_shift": shift})
    for name in ("timestep_shift", "dynamic_timestep_shifting", "noising_weight", "noising_bias"):
        reading.nothing(name, "timestep_distribution says what becomes of it.")
    guidance = reading.number("transformer.guidance_scale", 1.0)
    reading.taken("transformer.guidance_scale", {"training.guidance": guidance})


def loss(reading: Reading, flows: bool) -> None:
    strengths = {
        name: reading.number(f"{name}_strength", 1.0 if name == "mse" else 0.0) for name in ("mse", "mae", "log_cosh", "huber")
    }
    used = [name for name, value in strengths.items() if value]
    for name, value in strengths.items():
        key = f"{name}_strength"
        if used == ["huber"] and name == "huber":
            words = "loratui's Huber loss has the same shape; its size differs, so compare the learning rate."
            reading.changed(key, {"training.loss": "huber", "training.huber_c": reading.number("huber_delta", 1.0)}, words)
        elif value == (1.0 if name == "mse" else 0.0) and used == ["mse"]:
            reading.nothing(key, "loratui trains the squared error too.")
        elif not value:
            reading.nothing(key, "It is off.")
        else:
            reading.changed(key, {}, "loratui trains one loss, the squared error or Huber's, with strength 1.")
    reading.nothing("huber_delta", "It belongs to huber_strength.")
    kind, strength = reading.text("loss_weight_fn", "CONSTANT"), reading.number("loss_weight_strength", 5.0)
    if kind == "CONSTANT" or (flows and kind != "SIGMA"):
        reading.nothing("loss_weight_fn", "All noise levels count alike.")
    elif kind == "MIN_SNR_GAMMA":
        reading.taken("loss_weight_fn", {"training.min_snr_gamma": strength})
    elif kind == "DEBIASED_ESTIMATION":
        reading.taken("loss_weight_fn", {"training.debiased_estimation": True})
    elif kind == "SIGMA" and flows:
        reading.taken("loss_weight_fn", {"training.weighting": "sigma_sqrt"})
    else:
        reading.changed("loss_weight_fn", {}, f"loratui has no weighting {kind[:40]}.")
    reading.nothing("loss_weight_strength", "It belongs to loss_weight_fn.")
