"""Reads a folder, measures it if wanted, and runs every check: what `loratui check` and the app's data set step show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from loratui.engine.dataset import caption_words, similar
from loratui.engine.dataset.checks import Checked, run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.deep import DeepPass, measure_all
from loratui.engine.dataset.findings import Finding, counted, worst_first
from loratui.engine.dataset.ledger import final_caption
from loratui.engine.dataset.scan import DatasetScan, read_folder
from loratui.engine.dataset.tokens import ESTIMATE, TokenCounter
from loratui.presets import schema
from loratui.presets.schema import Settings

EXAMPLES = 3


@dataclass(frozen=True)
class Inspection:
    """A folder and everything that is known of it."""

    case: Case
    findings: tuple[Finding, ...]
    not_checked: tuple[tuple[str, str], ...]
    """(id of the check, why it was not made)."""
    deep: DeepPass | None
    guessed_trigger: str = ""
    """The trigger, where it was not given but found in the folder's name or the captions."""

    @property
    def scan(self) -> DatasetScan:
        """The folder, without the pictures that turned out to be damaged."""
        return self.case.scan

    def examples(self) -> tuple[str, ...]:
        """Three captions exactly as the model will see them: of the first, a middle and the last picture."""
        training, settings = self.scan.training, self.case.settings
        places = sorted({0, len(training) // 2, len(training) - 1})[:EXAMPLES] if training else []
        return tuple(final_caption(training[at], settings, several_concepts=self.scan.several_concepts) for at in places)


def inspect_folder(
    folder: Path,
    settings: Settings,
    *,
    preset: str = "",
    deep: bool = False,
    tokenizer: TokenCounter = ESTIMATE,
    detector: str = "",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Inspection:
    """Everything that can be said of `folder` for a training with `settings`.

    Without a trigger, the words of the only `N_token class` folder are taken for it and the class, as a training does,
    else the one uncommon word that all captions share. `deep` decodes and measures every
    picture in worker processes. Raises `DatasetError` for a folder that is missing or unreadable.
    """
    found = read_folder(folder)
    guess = ""
    if not settings.dataset.trigger:
        guess, class_word = found.folder_words()
        if guess:
            settings = schema.replace(settings, {"dataset.class_word": settings.dataset.class_word or class_word})
        elif settings.dataset.subject in ("person", "character"):
            guess = caption_words.shared_unknown_word([image.caption or "" for image in found.training])
        settings = schema.replace(settings, {"dataset.trigger": guess})
    case = Case(found, settings, preset, similar.copies(found.images), None, tokenizer)
    measured = None
    if deep:
        resolution = settings.dataset.resolution
        measured = measure_all(found.images, resolution, detector=detector, progress=progress, cancelled=cancelled)
        case = replace(case, scan=measured.applied_to(found), facts=measured.facts)
    checked: Checked = run_checks(case)
    findings = checked.findings
    if measured and measured.failure:
        findings = tuple(worst_first((*findings, _not_measured(measured))))
    return Inspection(case, findings, checked.not_checked, measured, guess)


def _not_measured(measured: DeepPass) -> Finding:
    message = f"{counted(measured.unchecked)} not measured, since the worker does not start: {measured.failure}."
    why = "Nothing is known of their pixels."
    return Finding("not_measured", "warning", message, why, "Mend the installation (loratui doctor).", measured.unchecked)
