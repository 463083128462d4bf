"""The number format follows from the card: what it lacks is never emulated, and what cannot be trained is refused with the reason."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.machine.accelerator import Accelerator, Card
from loratui.engine.planning.estimate import estimate
from loratui.engine.planning.precision import Chosen, Format, choose
from loratui.engine.planning.preflight import check_machine
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets.schema import Settings

CARDS = {
    "T4": Card("Tesla T4", 14.6, (7, 5)),
    "V100": Card("Tesla V100-SXM2-16GB", 15.8, (7, 0)),
    "2080": Card("NVIDIA GeForce RTX 2080 Ti", 10.7, (7, 5)),
    "1660": Card("NVIDIA GeForce GTX 1660 SUPER", 5.8, (7, 5)),
    "1080": Card("NVIDIA GeForce GTX 1080 Ti", 10.9, (6, 1)),
    "P100": Card("Tesla P100-PCIE-16GB", 15.9, (6, 0)),
    "A5000": Card("NVIDIA RTX A5000", 23.6, (8, 6)),
    "5090": Card("NVIDIA GeForce RTX 5090", 31.4, (12, 0)),
    "CPU": None,
}
BASES = {"sd15": "/models/sd15", "sdxl": "/models/sdxl", "flux": "/models/flux", "tiny": "embedded:flux"}


def settings(base: str = "sdxl", precision: str = "auto") -> Settings:
    family = "flux" if base == "tiny" else base
    sets = (f"base.family={family}", f"training.precision={precision}")
    return build_recipe("demo", base=BASES[base], sets=sets).settings


@pytest.mark.parametrize(
    ("card", "base", "wanted", "format"),
    [
        ("A5000", "sdxl", "auto", "bf16"), ("5090", "flux", "auto", "bf16"), ("A5000", "sd15", "fp16", "fp16"),
        ("A5000", "sdxl", "fp32", "fp32"), ("T4", "sd15", "auto", "fp16"), ("T4", "sdxl", "auto", "fp16"), ("V100", "sdxl", "auto", "fp16"),
        ("2080", "sdxl", "auto", "fp16"), ("1660", "sd15", "auto", "fp32"), ("1660", "sd15", "fp16", "fp16"), ("1080", "sd15", "auto", "fp32"),
        ("P100", "sdxl", "auto", "fp32"), ("P100", "sdxl", "fp16", "fp16"), ("T4", "tiny", "auto", "fp32"), ("T4", "flux", "fp32", "fp32"),
        ("CPU", "sdxl", "auto", "fp32"), ("CPU", "sd15", "bf16", "bf16"), ("T4", "sdxl", "fp32", "fp32"),
    ],
)  # fmt: skip
def test_the_format_is_what_the_card_computes_well(card: str, base: str, wanted: str, format: Format) -> None:
    chosen = choose(settings(base, wanted), CARDS[card])
    assert chosen.format == format
    assert chosen.found is None or chosen.found.severity == "info"
    if CARDS[card] and wanted == "auto" and card not in ("A5000", "5090"):
        assert chosen.found is not None
        assert "no bf16" in chosen.found.message or "neither bf16" in chosen.found.message


@pytest.mark.parametrize(
    ("card", "base", "wanted", "words"),
    [
        ("T4", "sdxl", "bf16", ("Tesla T4", "emulate", "=auto, which is fp16")),
        ("V100", "flux", "auto", ("bf16", "65 504", "44 GiB", "SD1.5 or SDXL")),
        ("T4", "flux", "bf16", ("bf16", "44 GiB", "SD1.5 or SDXL")),  # auto is no way out there
        ("1080", "sdxl", "fp16", ("slower than fp32", "auto, which is fp32")),
        ("1080", "sd15", "bf16", ("emulate", "auto, which is fp32")),
        ("CPU", "sd15", "fp16", ("CPU", "auto")),
    ],
)
def test_what_a_card_cannot_do_well_is_refused_with_the_reason(
    card: str, base: str, wanted: str, words: tuple[str, ...]
) -> None:
    chosen = choose(settings(base, wanted), CARDS[card])
    assert chosen.found is not None
    assert chosen.found.severity == "error"
    for word in words:
        assert word in f"{chosen.found.message} {chosen.found.remedy}"


def refused(chosen: Chosen) -> bool:
    return chosen.found is not None and chosen.found.severity == "error"


@given(
    st.tuples(st.integers(5, 12), st.integers(0, 9)),
    st.sampled_from(list(BASES)),
    st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
)
def test_no_card_emulates_and_auto_never_asks_for_what_is_not_there(
    capability: tuple[int, int], base: str, wanted: str
) -> None:
    if base in ("flux", "tiny") and wanted == "fp16":
        return  # refused on every machine, by the rules of the family
    card = Card("some card", 24.0, capability)
    chosen = choose(settings(base, wanted), card)
    if not refused(chosen):
        assert chosen.format != "bf16" or capability >= (8, 0)
        assert chosen.format == wanted or wanted == "auto"
        assert not (base == "flux" and chosen.format == "fp16" and capability < (8, 0))
    elif wanted == "auto":
        assert base == "flux"
    else:
        assert not refused(choose(settings(base, "auto"), card)) or base == "flux"  # the remedy leads somewhere


def test_preflight_says_what_is_unusual_and_refuses_what_cannot_be() -> None:
    recipe = build_recipe("sdxl-person", base="/models/sdxl", sets=("training.precision=auto",))
    (said,) = check_machine(recipe, Accelerator(CARDS["T4"]))
    assert (said.code, said.severity) == ("precision", "info")
    assert "fp16 with a scaled loss" in said.message
    assert not list(check_machine(recipe, Accelerator(CARDS["A5000"])))
    flux = build_recipe("flux-identity-18img", base="/models/flux")
    (refused,) = check_machine(flux, Accelerator(CARDS["V100"]))
    assert (refused.code, refused.severity) == ("precision", "error")


def test_the_estimate_counts_the_bytes_of_the_format_that_will_be_used() -> None:
    def here(card: str, preset: str = "sdxl-person") -> object:
        recipe = build_recipe(preset, base="/models/base", sets=("memory.gradient_checkpointing=on",))
        used = CARDS[card]
        assert used is not None
        machine = Accelerator(dataclasses.replace(used, total_gib=40.0))
        return estimate(recipe, plan_for_counts(recipe, 20), machine)

    bf16, fp16, fp32 = (here(card).here.vram_gib[0] for card in ("A5000", "T4", "1080"))  # type: ignore[attr-defined]
    assert fp16 == bf16
    assert fp32 > bf16 + 4.5  # the weights once more
    refused = here("V100", "flux-identity-18img").here  # type: ignore[attr-defined]
    assert (refused.fits, refused.time_s) == ("no", None)
    assert "bf16" in refused.source
    table = {cost.machine: cost.fits for cost in here("A5000", "flux-identity-18img").elsewhere}  # type: ignore[attr-defined]
    assert table["T4"] == "no"
