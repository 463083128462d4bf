"""The preflight checks as lines: faults with their fixes, and what is in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loratui.engine.planning.rates import learning_in_words
from loratui.tui import text
from loratui.tui.wizard.draft import changes_sentence

if TYPE_CHECKING:
    from pathlib import Path

    from loratui.engine.planning.estimate import Cost
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.runs.probe import BaseRead, Probed

Mark = Literal["error", "warning", "info", "ok"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    mark: Mark
    message: str
    remedy: str = ""
    step: str = ""
    """The screen of the wizard that can fix it; empty if it is fixed outside the app."""


def rows(prepared: Prepared, home: Path) -> Iterator[Row]:
    """Findings, worst first, then what is in order."""
    found = {finding.code for finding in prepared.findings}
    for finding in prepared.findings:
        if finding.severity != "info":
            yield Row(finding.severity, finding.message, finding.remedy or finding.why, finding.subject.step)
    training = prepared.scan.training
    settings = prepared.recipe.settings
    if not found & {"left_out", "not_decoded"}:
        yield Row("ok", f"All {text.count(len(training), 'image')} can be read.")
    if not found & {"caption_missing", "trigger_missing"}:
        holds = f' with "{settings.dataset.trigger}"' if settings.dataset.trigger else ""
        yield Row("ok", f"Every image has a caption{holds}.")
    if not any(name.startswith(("base_", "family_")) for name in found):
        yield Row("ok", f"The base model {text.base_name(settings.base.model)} is here.")
    if "output_not_writable" not in found:
        yield Row("ok", f"Runs can be written to {home}.")
    yield Row("info", learning_in_words(settings))
    if changed := changes_sentence(prepared.recipe):
        yield Row("info", changed, "", "plan")
    for finding in prepared.findings:
        if finding.severity == "info":
            yield Row("info", finding.message, finding.remedy, finding.subject.step)
    unmeasured = [id for id, reason in prepared.not_checked if "deep pass" in reason]
    if unmeasured:
        remedy = "d in the dataset step checks every pixel: blur, light, doubles, borders."
        yield Row(
            "info",
            f"The pixels were not measured, so {text.count(len(unmeasured), 'check')} did not run.",
            remedy,
            "dataset",
        )


def cost_words(cost: Cost, *, measured: bool) -> str:
    """The run's time here and its price, if known, for the question whether to start."""
    from loratui.tui.commands.plan import run_time

    time = f"{run_time(cost)}{', measured' if measured else ', estimated'}" if cost.time_s else run_time(cost)
    return f"{time}, costs {text.money_range(*cost.money)}" if cost.money else f"{time}, price not set (f2)"


def base_row(read: BaseRead, check: str) -> Row | None:
    """The probable mistake about the base; None without one. It blocks unless `base.check` is off."""
    if not read.mistaken:
        return None
    step = "plan" if read.mistaken == "prediction" else "base"  # a setting, or another base
    return Row("error" if check == "on" else "warning", read.message, read.remedy, step)


def probed_row(probed: Probed, before: Cost, after: Cost, vram_gib: float | None) -> Row:
    """The measurement of one real step, with the new estimate against the old."""
    from loratui.tui.commands.plan import run_time

    step = f"{probed.step_s:.2f} s" if probed.step_s < 10 else f"{probed.step_s:.0f} s"
    if probed.peak_vram_gib is not None:
        share = f" of {vram_gib:.0f}" if vram_gib else ""
        memory = f"{probed.peak_vram_gib:.1f}{share} GiB of GPU memory"
    else:
        memory = f"{probed.peak_ram_gib:.1f} GiB of main memory"
    money = f", costs {text.money_range(*after.money)}" if after.money else ""
    now, was = run_time(after), run_time(before)
    tight = vram_gib is not None and probed.peak_vram_gib is not None and probed.peak_vram_gib > 0.95 * vram_gib
    corrected = f"; the estimate was {was}" if before.time_s and was != now else ""
    remedy = f"The whole run takes {now}{money}{corrected}."
    if tight:
        return Row("warning", f"One real step took {step} and {memory}: almost no memory is left.", remedy, "plan")
    return Row("ok", f"One real step took {step} and {memory}.", remedy)
