"""Noise, noise levels and loss in SimpleTuner's configuration."""

from __future__ import annotations

from loratui.engine.importing.families import flows as objective_flows
from loratui.engine.importing.reading import Reading


def noise(reading: Reading, family: str) -> None:
    flows = objective_flows(family)
    offset = reading.number("noise_offset", 0.1) if reading.yes("offset_noise") else 0.0
    if offset and not flows:
        share = reading.number("noise_offset_probability", 0.25)
        (reading.taken if share == 1 else reading.changed)(
            "offset_noise",
            {"training.noise_offset": offset},
            "" if share == 1 else f"SimpleTuner adds it to {share:.0%} of the steps, loratui to all.",
        )
    elif offset:
        reading.changed("offset_noise", {}, "loratui has no offset noise for FLUX.")
    else:
        reading.nothing("offset_noise", "It is off.")
    for key in ("noise_offset", "noise_offset_probability"):
        reading.nothing(key, "It belongs to offset_noise.")
    perturbation = reading.number("input_perturbation")
    if perturbation and reading.number("input_perturbation_steps"):
        reading.changed("input_perturbation_steps", {}, "loratui does not let it fade.")
    else:
        reading.nothing("input_perturbation_steps", "It is off.")
    reading.taken("input_perturbation", {"training.input_perturbation": perturbation})
    gamma = reading.number("snr_gamma")
    if flows:
        reading.nothing("snr_gamma", "It has no meaning for FLUX.")
    else:
        reading.taken("snr_gamma", {"training.min_snr_gamma": gamma})
    prediction = reading.text("prediction_type")
    if prediction in ("epsilon", "v_prediction") and not flows:
        reading.taken("prediction_type", {"base.prediction": "v" if prediction == "v_prediction" else "epsilon"})
    else:
        reading.nothing("prediction_type", "loratui reads from the base what it predicts.")
    if reading.yes("rescale_betas_zero_snr") and not flows:
        reading.taken("rescale_betas_zero_snr", {"base.zero_terminal_snr": "on"})
    else:
        reading.nothing("rescale_betas_zero_snr", "loratui reads the schedule from the base.")
    kind = reading.text("loss_type", "l2")
    if kind == "l2":
        reading.taken("loss_type", {"training.loss": "mse"})
        for key in ("huber_schedule", "huber_c"):
            reading.nothing(key, "It belongs to the Huber loss, which is not used.")
    elif kind in ("huber", "smooth_l1"):
        schedule = reading.text("huber_schedule", "snr")
        schedule = "constant" if flows and schedule == "snr" else schedule
        sets = {
            "training.loss": "huber",
            "training.huber_schedule": schedule,
            "training.huber_c": reading.number("huber_c", 0.1),
        }
        (reading.taken if kind == "huber" else reading.changed)(
            "loss_type", sets, "" if kind == "huber" else "loratui's Huber loss has the same shape, but not the same size."
        )
        for key in ("huber_schedule", "huber_c"):
            reading.taken(key, sets)
    else:
        reading.changed(
            "loss_type", {"training.loss": "mse"}, f"loratui has no loss {kind[:40]}; the recipe takes the squared error."
        )
    if flows:
        _levels(reading)
    else:
        for key in ("flow_schedule_shift", "flow_schedule_auto_shift", "flow_sigmoid_scale", "flow_use_uniform_schedule", "flow_use_beta_schedule",
                    "flow_beta_schedule_alpha", "flow_beta_schedule_beta", "flux_guidance_mode", "flux_guidance_value"):  # fmt: skip
            reading.nothing(key, "It belongs to flow matching.")


def _levels(reading: Reading) -> None:
    shift, scale = reading.number("flow_schedule_shift", 3.0), reading.number("flow_sigmoid_scale", 1.0)
    auto = reading.yes("flow_schedule_auto_shift")
    if reading.yes("flow_use_uniform_schedule"):
        words = "loratui draws evenly without a shift."
        (reading.taken if shift in (0, 1) and not auto else reading.changed)(
            "flow_use_uniform_schedule", {"training.timestep_sampling": "uniform"}, "" if shift in (0, 1) else words
        )
    elif reading.yes("flow_use_beta_schedule"):
        reading.changed(
            "flow_use_beta_schedule",
            {"training.timestep_sampling": "sigmoid"},
            "loratui has no beta distribution; the recipe takes sigmoid.",
        )
    elif auto:
        reading.taken(
            "flow_schedule_auto_shift", {"training.timestep_sampling": "flux_shift", "training.timestep_scale": scale}
        )
    else:
        ours = "sigmoid" if shift in (0, 1) else "shift"
        sets = {
            "training.timestep_sampling": ours,
            "training.timestep_scale": scale,
            **({"training.timestep_shift": shift} if ours == "shift" else {}),
        }
        reading.taken("flow_schedule_shift", sets)
        reading.assumed("flow_schedule_shift", 3, sets)
        reading.taken("flow_sigmoid_scale", {"training.timestep_scale": scale})
    for key in ("flow_schedule_shift", "flow_sigmoid_scale", "flow_schedule_auto_shift", "flow_use_uniform_schedule", "flow_use_beta_schedule",
                "flow_beta_schedule_alpha", "flow_beta_schedule_beta"):  # fmt: skip
        reading.nothing(key, "Another setting says how noise levels are drawn, or it is off.")
    mode = reading.text("flux_guidance_mode", "constant")
    guidance = reading.number("flux_guidance_value", 1.0)
    reading.taken("flux_guidance_value", {"training.guidance": guidance})
    if mode == "constant":
        reading.nothing("flux_guidance_mode", "flux_guidance_value counts.")
    else:
        reading.changed("flux_guidance_mode", {"training.guidance": 1.0}, "loratui trains with one guidance.")
