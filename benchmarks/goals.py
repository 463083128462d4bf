"""The goals for step times, memory and starts, beside what was measured.

    python benchmarks/goals.py [FILE…]

Reads reports of `true_size.py` and `demo.py`, or else those that are kept in `benchmarks/results`; the newest that has the rungs counts. Goals are for one H200: FLUX 1024 px batch 1
rank 16, SDXL 1024 px batch 2 rank 32, SD1.5 512 px batch 2 rank 32; those for the demo (reports of `demo.py`) for two CPU cores.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from kept_results import Report, kept, measured, read

Rungs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """One figure of one family, or of another benchmark."""

    family: str
    words: str
    unit: str
    bound: float
    value: Callable[[Rungs], float]
    """Raises `KeyError` where a rung was not measured."""
    least: bool = False
    """Whether the bound is the least that will do, not the most. An infinite bound: the figure is wanted, whatever it is."""

    @property
    def wanted(self) -> str:
        """Such as `≤ 345 ms`."""
        sign = "≥" if self.least else "≤"
        return self.unit if math.isinf(self.bound) else f"{sign} {self.bound:g} {self.unit}".strip()

    def found(self, reports: list[Report]) -> tuple[float, str] | None:
        """The figure of the newest report that has the rungs, and its date."""
        for report in reversed(reports):
            if (report["benchmark"], report.get("family")) in (
                ("true_size", self.family),
                ("validation_speed", self.family),
                (self.family, "sd15"),
            ):
                with contextlib.suppress(KeyError):  # a rung that it lacks
                    return self.value(measured(report)), str(report["date"])
        return None

    def verdict(self, found: float) -> str:
        """Whether a figure is as wanted; empty where none is wanted but any."""
        if math.isinf(self.bound):
            return ""
        return "met" if (found >= self.bound if self.least else found <= self.bound) else "MISSED"

    def line(self, reports: list[Report]) -> str:
        """The goal in words, with what was measured."""
        begin, found = f"{self.family:<6}{self.words:<52}{self.wanted:<14}", self.found(reports)
        if found is None:
            return f"{begin}{'':>10}  not measured"
        return f"{begin}{found[0]:>10.2f}  {self.verdict(found[0]):<8}{found[1]}"


def _ms(rung: str) -> Callable[[Rungs], float]:
    return lambda rungs: float(rungs[rung]["step_ms"][0])


def _times(slower: str, faster: str) -> Callable[[Rungs], float]:
    return lambda rungs: float(rungs[slower]["step_ms"][0] / rungs[faster]["step_ms"][0])


def _against_compiled(faster: str) -> Callable[[Rungs], float]:
    """Against the faster of the two peers that compile their blocks."""
    peers = ("hand-kept-compiled", "hand-kept-compiled-bf16")
    return lambda rungs: float(min(rungs[peer]["step_ms"][0] for peer in peers) / rungs[faster]["step_ms"][0])


def _figure(rung: str, name: str) -> Callable[[Rungs], float]:
    return lambda rungs: float(rungs[rung][name])


def _rate(faster: str, slower: str) -> Callable[[Rungs], float]:
    return lambda rungs: float(rungs[faster]["images_s"] / rungs[slower]["images_s"])


def _capped(family: str, cap: float, most_ms: float | None) -> Iterator[Goal]:
    rung = f"cap{cap:g}"
    if most_ms is not None:
        yield Goal(family, f"a step within {cap:g} GiB", "ms", most_ms, _ms(rung))
    yield Goal(family, f"memory held within {cap:g} GiB, with a sample", "GiB", cap, _figure(rung, "reserved_gib"))


def _slowed(cap: float, link: int) -> Iterator[Goal]:
    rung = f"cap{cap:g}+link{link}"
    yield Goal("flux", f"a step within {cap:g} GiB, link of {link} GB/s", "ms", math.inf, _ms(rung))
    yield Goal("flux", "the same against the least estimate", "×", 1.0, _against_estimate(rung, 0), least=True)
    yield Goal("flux", "the same against the most", "×", 1.0, _against_estimate(rung, 1))


def _against_estimate(rung: str, end: int) -> Callable[[Rungs], float]:
    return lambda rungs: float(rungs[rung]["step_ms"][0] / rungs[rung]["estimated_ms"][end])


def _validations(family: str) -> Iterator[Goal]:
    for way, words, least in (("loratui-1", "one at a time", 1.0), ("loratui", "in batches", 1.5)):
        words = f"validation images/s {words} against a diffusers loop"
        yield Goal(family, words, "×", least, _rate(way, "diffusers"), least=True)


def _starts(family: str) -> Iterator[Goal]:
    for rung, words, most_s in (("kept", "", 15), ("compiled", ", compiled", 30), ("compiled+warm", ", compiled before", 18)):
        yield Goal(family, f"start to first step{words}", "s", most_s, _figure(rung, "first_step_s"))


GOALS = (
    Goal("flux", "a step in bf16", "ms", 345, _ms("compiled")),
    Goal("flux", "against diffusers + PEFT, blocks compiled", "×", 1.1, _against_compiled("compiled"), least=True),
    Goal("flux", "against diffusers + PEFT, checkpointing", "×", 2.4, _times("hand-checkpointing", "compiled"), least=True),
    Goal("flux", "a step in fp8", "ms", 280, _ms("quantised-fp8")),
    Goal(
        "flux",
        "fp8 against diffusers + PEFT, blocks compiled",
        "×",
        1.35,
        _against_compiled("quantised-fp8"),
        least=True,
    ),
    *(goal for cap, ms in ((22, 450), (14.5, 520), (11, 560), (7.2, 620)) for goal in _capped("flux", cap, ms)),
    *(goal for cap in (11, 7.2) for link in (25, 12) for goal in _slowed(cap, link)),
    *_starts("flux"),
    Goal("flux", "images/s on two GPUs against one", "×", 1.9, _rate("compiled+gpus2", "compiled"), least=True),
    Goal("sdxl", "a step in bf16", "ms", 125, _ms("compiled")),
    *(goal for cap in (11, 7.2) for goal in _capped("sdxl", cap, None)),
    *_starts("sdxl"),
    Goal("sd15", "a step in bf16", "ms", 30, _ms("compiled")),
    *_capped("sd15", 5.2, None),
    *_starts("sd15"),
    *(goal for family in ("flux", "sdxl", "sd15") for goal in _validations(family)),
    Goal("demo", "from the start to the LoRA file", "s", 180, _figure("sd15", "whole_s")),
    Goal("demo", "likeness at strength 1", "", 0.97, _figure("sd15", "likeness"), least=True),
)


if __name__ == "__main__":
    given = [read(Path(path)) for path in sys.argv[1:]]
    print("\n".join(goal.line(given or kept()) for goal in GOALS))
