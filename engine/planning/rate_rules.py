"""What is said of learning rates: too high or too low for the optimizer, the text encoder's, and alphas that distort them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loratui.engine import families
from loratui.engine.findings import Finding
from loratui.engine.planning.case import Case
from loratui.engine.planning.family_rules import ONE_RATE
from loratui.engine.planning.rates import effective_learning_rate, lora_scale, scale_in_words
from loratui.engine.planning.targets import rank_and_alpha
from loratui.presets.schema import ALPHA_FOLLOWS, LYCORIS, get, replace

EMBEDDED_RATES = (1e-5, 1e-2)
"""Of the embedded bases, which are so small that they take much higher ones."""

OF_ADAMW: Mapping[str, tuple[float, float]] = {
    # Lion's steps all have the length of the rate: 3 to 10 times less than AdamW's (Chen et al., 2023).
    "lion": (0.1, 0.1),
    # Its authors: 1 to 10 times what a schedule wants (Defazio et al., "The Road Less Scheduled", 2024).
    "adamw_schedule_free": (1.0, 10.0),
}
"""Optimizer -> factors on AdamW's lowest and highest usual rates; the others have AdamW's."""

TITLES: Mapping[str, str] = {
    "auto": "AdamW",
    "adamw": "AdamW",
    "adamw8bit": "AdamW8bit",
    "adafactor": "Adafactor",
    "prodigy": "Prodigy",
    "dadapt_adam": "DAdaptAdam",
    "lion": "Lion",
    "adamw_schedule_free": "schedule-free AdamW",
}

OF_ADAPTIVE = 0.1
"""From here on a rate is meant for an optimizer that finds its own, and has 1."""

A_CONVOLUTION = "resnets.0.conv1"
"""A layer that has the rank and alpha of convolutions."""


def rate(case: Case) -> Iterator[Finding]:
    """The rate of the denoiser and of the text encoder, for the optimizer at hand."""
    if case.settings.optimizer.name in ONE_RATE:
        yield from _adaptive(case)
        return
    low, high = usual_rates(case)
    effective = effective_learning_rate(case.settings)
    key = "rate_high" if effective > high else "rate_low" if effective < low else ""
    if key:
        fixed = _fixed(case)
        key += ".adaptive" if key == "rate_high" and case.settings.optimizer.learning_rate >= OF_ADAPTIVE else ""
        yield Finding.of(
            key,
            written=scale_in_words(case.settings),
            effective=effective,
            title=TITLES[case.settings.optimizer.name],
            low=low,
            high=high,
            follows=", so that alpha is the rank" if fixed.get("adapter.alpha") == 0 else "",
            settings=fixed,
        )
    yield from _of_convolutions(case, high)
    yield from _of_text(case, low, high)


def usual_rates(case: Case) -> tuple[float, float]:
    """The lowest and highest effective rate that are usual with this base and optimizer."""
    low, high = EMBEDDED_RATES if case.settings.base.is_embedded else families.family(case.settings.base.family).usual_rates
    least, most = OF_ADAMW.get(case.settings.optimizer.name, (1.0, 1.0))
    return low * least, high * most


def alpha_of_lycoris(case: Case) -> Iterator[Finding]:
    """Whether files of LoHa and LoKr have the same effect everywhere."""
    adapter = case.settings.adapter
    layers = [""] + [A_CONVOLUTION] * adapter.targets.endswith("+conv")
    scales = [alpha / rank for rank, alpha in (rank_and_alpha(adapter, layer) for layer in layers)]
    if adapter.kind not in LYCORIS or all(scale == 1 for scale in scales):
        return
    needed = {key: value for key, value in ALPHA_FOLLOWS.items() if get(case.settings, key) != value}
    needed |= {"adapter.rank_stabilised": False} if adapter.rank_stabilised else {}
    yield Finding.of("lycoris_alpha", kind=adapter.kind, scale=next(s for s in scales if s != 1), settings=needed)


def _adaptive(case: Case) -> Iterator[Finding]:
    optimizer, adapter = case.settings.optimizer, case.settings.adapter
    title = TITLES[optimizer.name]
    if optimizer.learning_rate != 1.0:
        yield Finding.of("adaptive_rate", title=title, rate=optimizer.learning_rate, settings={"optimizer.learning_rate": 1.0})
    # The alpha of LoHa and LoKr is the rank, for the sake of the programs that read them.
    if adapter.effective_alpha != 1.0 and adapter.kind not in LYCORIS:
        yield Finding.of("adaptive_alpha", title=title, alpha=adapter.effective_alpha, settings={"adapter.alpha": 1.0})
    if optimizer.scheduler != "cosine":
        fix = {"optimizer.scheduler": "cosine"}
        yield Finding.of("adaptive_scheduler", title=title, scheduler=optimizer.scheduler, settings=fix)
    if optimizer.name == "prodigy" and not 0.1 <= optimizer.d_coef <= 10:
        yield Finding.of("adaptive_coefficient", d_coef=optimizer.d_coef, settings={"optimizer.d_coef": 1.0})


def _of_convolutions(case: Case, high: float) -> Iterator[Finding]:
    adapter = case.settings.adapter
    if not adapter.targets.endswith("+conv"):
        return
    rank, alpha = rank_and_alpha(adapter, A_CONVOLUTION)
    rate = alpha / rank * case.settings.optimizer.learning_rate
    if rate > max(high, effective_learning_rate(case.settings)):
        yield Finding.of("conv_rate_high", alpha=alpha, rank=rank, effective=rate, settings={"adapter.conv_alpha": 1.0})


def _of_text(case: Case, low: float, high: float) -> Iterator[Finding]:
    optimizer = case.settings.optimizer
    text_rate = optimizer.text_encoder_learning_rate
    if not case.settings.training.train_text_encoder or not text_rate:
        return
    effective = lora_scale(case.settings.adapter) * text_rate
    faster = text_rate > optimizer.learning_rate
    key = "text_rate_high" if faster else "text_rate_high.unusual" if effective > high else ""
    key = key or ("text_rate_low" if effective < low / 10 else "")
    if key:
        tenth = _fixed(case).get("optimizer.learning_rate", optimizer.learning_rate) / 10
        yield Finding.of(
            key,
            text_rate=text_rate,
            rate=optimizer.learning_rate,
            effective=effective,
            high=high,
            settings={"optimizer.text_encoder_learning_rate": tenth},
        )


def _fixed(case: Case) -> dict[str, Any]:
    """What would make the rate a usual one: first what the person changed back at the preset's, then usual values."""
    start = replace(case.start, {"adapter.kind": case.settings.adapter.kind})
    mine = {key: get(start, key) for key in ("optimizer.learning_rate",) if key in case.changed}
    alphas: dict[str, Any] = {key: get(start, key) for key in ("adapter.alpha", "adapter.alpha_ratio") if key in case.changed}
    follows: dict[str, Any] = {key: value for key, value in ALPHA_FOLLOWS.items() if key != "adapter.conv_alpha"}
    least, _ = OF_ADAMW.get(case.settings.optimizer.name, (1.0, 1.0))
    usual: list[dict[str, Any]] = [{"optimizer.learning_rate": rate * least} for rate in (1e-4, 5e-5, 2e-4, 1e-5, 5e-4, 1e-3)]
    together = [{**follows, **one} for one in usual]
    # An alpha of 1 is meant for an optimizer that finds its rate.
    usual = [*together, *usual] if case.start.optimizer.name in ONE_RATE else [*usual, *together]
    low, high = usual_rates(case)
    candidates: list[dict[str, Any]] = [mine, alphas, {**mine, **alphas}, follows, *usual]
    for changes in candidates:
        if changes and low <= effective_learning_rate(replace(case.settings, changes)) <= high:
            return {key: value for key, value in changes.items() if value != get(case.settings, key)}
    return {**follows, **usual[0]}
