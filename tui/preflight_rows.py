"""The checks before a start as lines: what is wrong with its remedy, and what was found to be right. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loratui.tui import text

if TYPE_CHECKING:
    from pathlib import Path

    from loratui.engine.planning.prepare import Prepared

Mark = Literal["error", "warning", "info", "ok"]

SIGNS: dict[Mark, str] = {"error": "✖", "warning": "!", "info": "·", "ok": "✔"}
TONES: dict[Mark, str] = {"error": "$error", "warning": "$warning", "info": "$muted", "ok": "$success"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    mark: Mark
    message: str
    remedy: str = ""


def rows(prepared: Prepared, home: Path) -> Iterator[Row]:
    """Findings with the worst first, then what is in order."""
    found = {finding.id for finding in prepared.findings}
    for finding in prepared.findings:
        if finding.severity != "info":
            yield Row(finding.severity, finding.message, finding.remedy or finding.why)
    training = prepared.scan.training
    settings = prepared.recipe.settings
    if not found & {"left_out", "not_decoded"}:
        yield Row("ok", f"All {text.count(len(training), 'picture')} can be read.")
    if not found & {"caption_missing", "trigger_missing"}:
        holds = f' and hold "{settings.dataset.trigger}"' if settings.dataset.trigger else ""
        yield Row("ok", f"All captions are there{holds}.")
    if not any(name.startswith(("base_", "family_")) for name in found):
        yield Row("ok", f"The base model {settings.base.model} is here.")
    if "output_not_writable" not in found:
        yield Row("ok", f"Runs can be written to {home}.")
    for finding in prepared.findings:
        if finding.severity == "info":
            yield Row("info", finding.message, finding.remedy)
