"""Optimizers and learning-rate schedules of other trainers, by the names that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.importing.reading import Reading, as_number

_OURS: Mapping[str, tuple[str, float]] = {
    "adamw": ("adamw", 0.01),
    "adamw8bit": ("adamw8bit", 0.01),
    "adafactor": ("adafactor", 0.0),
    "prodigy": ("prodigy", 0.0),
    "dadaptadam": ("dadapt_adam", 0.0),
    "lion": ("lion", 0.0),
    "adamwschedulefree": ("adamw_schedule_free", 0.0),
}
"""Name without case and marks -> ours, and the weight decay that the optimizer has where none is set (torch, bitsandbytes,
transformers, prodigyopt, dadaptation, lion-pytorch, schedulefree)."""
_NEAR: Mapping[str, tuple[str, str]] = {
    "pagedadamw": ("adamw", "its states are paged; that saves memory only"),
    "pagedadamw8bit": ("adamw8bit", "its states are paged; that saves memory only"),
    "pagedadamw32bit": ("adamw", "its states are paged; that saves memory only"),
    "lion8bit": ("lion", "loratui's has its state in 32 bits"),
    "pagedlion8bit": ("lion", "loratui's has its state in 32 bits"),
    "dadaptation": ("dadapt_adam", "loratui has D-Adaptation's Adam"),
    "dadaptadampreprint": ("dadapt_adam", "loratui has the published version"),
    "adamwbf16": ("adamw", "loratui's LoRA is in 32 bits"),
    "adam": ("adamw", "loratui's decouples weight decay"),
    "adam8bit": ("adamw8bit", "loratui's decouples weight decay"),
    "torchadamw": ("adamw", "it is the same one"),
    "optimiadamw": ("adamw", "loratui's LoRA is in 32 bits"),
    "optimilion": ("lion", "loratui's LoRA is in 32 bits"),
    "bnbadamw": ("adamw", "loratui uses torch's"),
    "bnbadamw8bit": ("adamw8bit", "it is the same one"),
    "bnbadamw8bitpaged": ("adamw8bit", "its states are paged; that saves memory only"),
    "bnblion": ("lion", "its states have another format"),
    "bnblion8bit": ("lion", "loratui's has its state in 32 bits"),
    "adamwschedulefreeaggressive": ("adamw_schedule_free", "loratui's has the usual rate"),
    "adamwschedulefreenokahan": ("adamw_schedule_free", "loratui's LoRA is in 32 bits"),
    "prodigy8bit": ("prodigy", "loratui's has its state in 32 bits"),
    "prodigyplusschedulefree": ("prodigy", "loratui has plain Prodigy, which follows a schedule"),
    "prodigyadv": ("prodigy", "loratui has plain Prodigy"),
    "adamwadv": ("adamw", "loratui has plain AdamW"),
    "lionadv": ("lion", "loratui has plain Lion"),
    "dadaptationadam": ("dadapt_adam", "it is the same one"),
}
_SCHEDULERS = {
    "constant": "constant",
    "constantwithwarmup": "constant",
    "cosine": "cosine",
    "cosinewithrestarts": "cosine_with_restarts",
    "cosinewithhardrestarts": "cosine_with_restarts",
    "linear": "linear",
}


def bare(name: str) -> str:
    """A name without case, underscores and other marks."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def optimizer(reading: Reading, key: str, default: str, args: Mapping[str, str]) -> str:
    """Says which optimizer it is; returns ours."""
    name = reading.text(key, default)
    word = bare(name.rsplit(".", 1)[-1])
    decay = {} if "weight_decay" in args else {"optimizer.weight_decay": _OURS[_ours(word)][1]}
    if word in _OURS:
        ours = _OURS[word][0]
        sets = {"optimizer.name": ours, **decay}
        reading.taken(key, sets)
        reading.assumed(key, default, sets)
    else:
        near, why = _NEAR.get(
            word, ("adamw", f"loratui has no {name[:60]}; the recipe takes AdamW, whose usual rate may differ")
        )
        ours = near
        reading.changed(
            key, {"optimizer.name": ours, **decay}, f"{why if why.startswith('loratui') else why[0].upper() + why[1:]}."
        )
    return ours


def _ours(word: str) -> str:
    near = _NEAR.get(word, ("adamw", ""))[0]
    return word if word in _OURS else bare(near)


def optimizer_args(reading: Reading, key: str, args: Mapping[str, str], ours: str) -> None:
    """Says what becomes of an optimizer's `name=value` words, each under `key name`."""
    sets: dict[str, Any] = {}
    lost: list[str] = []
    for name, text in args.items():
        number = as_number(text)
        word = text.strip().lower()
        if name == "weight_decay" and number is not None:
            sets["optimizer.weight_decay"] = number
        elif name == "betas" and (pair := _pair(text)):
            sets |= {"optimizer.beta1": pair[0], "optimizer.beta2": pair[1]}
        elif name == "d_coef" and number is not None and ours == "prodigy":
            sets["optimizer.d_coef"] = number
        elif (name, word) in _SAME.get(ours, ()):
            continue
        else:
            lost.append(_why_not(name, text, ours))
    if lost:
        reading.changed(key, sets, " ".join(lost))
    elif sets:
        reading.taken(key, sets)
    else:
        reading.nothing(key, "loratui's optimizer does so by itself.")


_SAME: Mapping[str, tuple[tuple[str, str], ...]] = {
    "adafactor": (("relative_step", "false"), ("scale_parameter", "false"), ("warmup_init", "false")),
    "prodigy": (
        ("decouple", "true"), ("use_bias_correction", "true"), ("bias_correction", "true"), ("safeguard_warmup", "true"),
        ("d0", "1e-6"), ("d0", "1e-06"), ("growth_rate", "inf"), ("d_coef", "1.0"), ("beta3", "none"),
    ),
    "dadapt_adam": (("decouple", "true"), ("d0", "1e-6"), ("d0", "1e-06"), ("growth_rate", "inf")),
}  # fmt: skip


def _why_not(name: str, text: str, ours: str) -> str:
    if ours == "adafactor" and name in ("relative_step", "warmup_init", "scale_parameter"):
        return f"{name}={text[:20]}: loratui's Adafactor keeps to the rate that is set; check optimizer.learning_rate."
    if name in ("use_bias_correction", "bias_correction"):
        return f"{name}={text[:20]}: loratui's {ours} corrects the bias."
    if name == "safeguard_warmup":
        return f"{name}={text[:20]}: loratui safeguards wherever there is a warm-up."
    return f"{name[:40]}={text[:40]}: loratui has no such choice for {ours}."


def _pair(text: str) -> tuple[float, float] | None:
    numbers = [as_number(part) for part in text.strip("()[] ").split(",")]
    return (numbers[0], numbers[1]) if len(numbers) == 2 and None not in numbers else None  # type: ignore[return-value]  # no None in it


def scheduler(reading: Reading, key: str, default: str, *, power: float = 1.0) -> str:
    """Says which schedule of the learning rate it is; returns ours."""
    name = reading.text(key, default)
    word = bare(name)
    ours = _SCHEDULERS.get(word, "")
    if word == "polynomial":
        ours = "linear" if power == 1 else "polynomial" if power == 2 else ""
    if ours:
        why = "A power of 1 is a straight line." if (word, ours) == ("polynomial", "linear") else ""
        reading.taken(key, {"optimizer.scheduler": ours}, why)
        reading.assumed(key, default, {"optimizer.scheduler": ours})
        return ours
    fallback = (
        "constant" if word in ("adafactor", "inversesqrt", "piecewiseconstant", "warmupstabledecay", "sine") else "cosine"
    )
    known = f"power {power:g} of polynomial" if word == "polynomial" else f"schedule {name[:60]}"
    reading.changed(key, {"optimizer.scheduler": fallback}, f"loratui has no {known}; the recipe takes {fallback}.")
    return fallback
