"""Noise, noise levels and loss in sd-scripts' arguments."""

from __future__ import annotations

from loratui.engine.importing.reading import Reading

_NO_NOISE = "sd-scripts ignores it for FLUX, and so does loratui."


def noise(reading: Reading, *, flows: bool) -> None:
    """What the noise and the weights of the loss are for diffusion models; sd-scripts' FLUX has none of it."""
    for key, ours in (
        ("min_snr_gamma", "training.min_snr_gamma"),
        ("noise_offset", "training.noise_offset"),
        ("multires_noise_iterations", "training.multires_noise_iterations"),
        ("multires_noise_discount", "training.multires_noise_discount"),
    ):
        if flows:
            reading.nothing(key, _NO_NOISE)
        elif key == "multires_noise_discount" and not reading.number("multires_noise_iterations"):
            reading.nothing(key, "It belongs to multires_noise_iterations, which is off.")
        elif ours == "training.multires_noise_iterations":
            reading.taken(key, {ours: reading.whole(key)})
        else:
            reading.taken(key, {ours: reading.number(key)})
    for key, ours in (
        ("debiased_estimation_loss", "training.debiased_estimation"),
        ("scale_v_pred_loss_like_noise_pred", "training.scale_v_loss"),
    ):
        if flows:
            reading.nothing(key, _NO_NOISE)
        else:
            reading.taken(key, {ours: reading.yes(key)})
    reading.taken("ip_noise_gamma", {"training.input_perturbation": reading.number("ip_noise_gamma")})
    if not flows:
        reading.nothing("guidance_scale", "It is an input of FLUX alone.")
        for key in ("discrete_flow_shift", "timestep_sampling", "sigmoid_scale", "model_prediction_type", "logit_mean", "logit_std",
                    "mode_scale", "weighting_scheme", "t5xxl_max_token_length", "t5xxl", "clip_l", "ae"):  # fmt: skip
            reading.nothing(key, "It belongs to FLUX alone.")


def flow(reading: Reading) -> None:
    """Noise levels, guidance and target of FLUX."""
    sampling = reading.text("timestep_sampling", "sigma")
    shift = reading.number("discrete_flow_shift", 3.0)
    if sampling in ("uniform", "sigmoid", "shift", "flux_shift"):
        reading.taken("timestep_sampling", {"training.timestep_sampling": sampling})
    else:
        sets = {"training.timestep_sampling": "shift", "training.timestep_shift": shift}
        why = f"It draws evenly and shifts by {shift:g}; loratui has the nearest to it, shift, which has fewer of the lowest and highest levels."
        reading.changed("timestep_sampling", sets, why)
        reading.assumed("timestep_sampling", "sigma", sets, f"Not in the file; sd-scripts takes sigma. {why}", "changed")
    if sampling == "shift":
        reading.taken("discrete_flow_shift", {"training.timestep_shift": shift})
    else:
        used = sampling not in ("uniform", "sigmoid", "flux_shift")
        reading.nothing(
            "discrete_flow_shift", "timestep_sampling says what becomes of it." if used else f"{sampling} takes no shift."
        )
    if sampling in ("sigmoid", "shift", "flux_shift"):
        reading.taken("sigmoid_scale", {"training.timestep_scale": reading.number("sigmoid_scale", 1.0)})
    else:
        reading.nothing("sigmoid_scale", f"{sampling} has no scale.")
    kind = reading.text("model_prediction_type", "sigma_scaled")
    if kind == "raw":
        reading.nothing("model_prediction_type", "loratui compares the model's answer itself with the flow, too.")
    else:
        why = "loratui compares the model's answer itself with the flow (raw), as FLUX was trained; sd-scripts' manual recommends that too."
        reading.changed("model_prediction_type", {}, why)
        reading.assumed("model_prediction_type", kind, {}, why, "changed")
    guidance = reading.number("guidance_scale", 3.5)
    reading.taken("guidance_scale", {"training.guidance": guidance})
    reading.assumed("guidance_scale", 3.5, {"training.guidance": 3.5})
    weighting = reading.text("weighting_scheme", "uniform")
    if sampling != "sigma" or weighting in ("uniform", "none"):
        reading.nothing("weighting_scheme", "It weights nothing here.")
    else:
        ours = weighting if weighting in ("sigma_sqrt", "cosmap") else "none"
        sets = {"training.weighting": ours}
        (reading.taken if ours != "none" else lambda k, s: reading.changed(k, s, "loratui draws no levels in this way."))(
            "weighting_scheme", sets
        )
    for key in ("logit_mean", "logit_std", "mode_scale"):
        reading.nothing(key, "It belongs to a weighting_scheme that is not used.")
    tokens = reading.whole("t5xxl_max_token_length", 512)
    if tokens == 512:
        reading.nothing("t5xxl_max_token_length", "loratui reads 512 tokens too.")
    else:
        reading.changed("t5xxl_max_token_length", {}, "loratui always reads 512 tokens.")


def loss(reading: Reading, *, flows: bool) -> None:
    """The distance that is trained."""
    kind = reading.text("loss_type", "l2")
    if kind in ("l2", "mse"):
        reading.taken("loss_type", {"training.loss": "mse"})
        for key in ("huber_schedule", "huber_c", "huber_scale"):
            reading.nothing(key, "It belongs to the Huber loss, which is not used.")
        return
    if kind not in ("huber", "smooth_l1"):
        reading.changed(
            "loss_type", {"training.loss": "mse"}, f"loratui has no loss {kind[:40]}; the recipe takes the squared error."
        )
        return
    if kind == "huber":
        reading.taken("loss_type", {"training.loss": "huber"})
    else:
        reading.changed(
            "loss_type", {"training.loss": "huber"}, "loratui's Huber loss has the same shape, but not the same size."
        )
    schedule = reading.text("huber_schedule", "snr")
    if flows and schedule == "snr":
        reading.changed(
            "huber_schedule",
            {"training.huber_schedule": "constant"},
            "snr cannot be computed for FLUX, there neither; constant instead.",
        )
    else:
        reading.taken("huber_schedule", {"training.huber_schedule": schedule})
        reading.assumed("huber_schedule", "snr", {"training.huber_schedule": "constant" if flows else "snr"})
    reading.taken("huber_c", {"training.huber_c": reading.number("huber_c", 0.1)})
