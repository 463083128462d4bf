"""What is to be said of a folder of images: one function, whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loratui.engine.dataset import archives, caption_words, gathered, similar
from loratui.engine.dataset.checks import run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.deep import DeepPass, measure_all
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.implications import SHIPPED, Implications
from loratui.engine.dataset.ledger import final_caption
from loratui.engine.dataset.scan import DatasetScan, decoded, read_folder, without
from loratui.engine.dataset.tokens import ESTIMATE, TokenCounter
from loratui.engine.findings import Finding, worst_first
from loratui.presets import schema
from loratui.presets.schema import Settings


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
        """The folder, without the images that turned out to be damaged."""
        return self.case.scan

    def examples(self) -> tuple[str, ...]:
        """Three captions exactly as the model will see them: of the first, a middle and the last image."""
        training, settings = self.scan.training, self.case.settings
        places = sorted({0, len(training) // 2, len(training) - 1}) if training else []
        return tuple(final_caption(training[at], settings, several_concepts=self.scan.several_concepts) for at in places)


def inspect_folder(
    folder: Path,
    settings: Settings,
    *,
    preset: str = "",
    deep: bool = False,
    tokenizer: TokenCounter = ESTIMATE,
    detector: str = "",
    implies: Implications = SHIPPED,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Inspection:
    """Reads `folder` and says everything that can be said of it for a training with `settings`.

    `deep` decodes and measures every image in worker processes. Raises `DatasetError` for a folder that is missing or
    unreadable.
    """
    found = read_folder(folder)
    if not deep:
        return inspect_scan(found, settings, preset=preset, tokenizer=tokenizer, implies=implies)
    resolution = settings.dataset.resolution
    measured = measure_all(found.images, resolution, detector=detector, progress=progress, cancelled=cancelled)
    inspected = inspect_scan(
        without(found, dict(measured.damaged)),
        settings,
        preset=preset,
        tokenizer=tokenizer,
        facts=measured.facts,
        implies=implies,
    )
    findings = inspected.findings
    if measured.failure:
        findings = tuple(worst_first((*findings, Finding.of("not_measured", measured.unchecked, failure=measured.failure))))
    return replace(inspected, findings=findings, deep=measured)


def inspect_scan(
    found: DatasetScan,
    settings: Settings,
    *,
    preset: str = "",
    tokenizer: TokenCounter = ESTIMATE,
    facts: Mapping[str, ImageFacts] | None = None,
    copies: tuple[tuple[str, ...], ...] | None = None,
    implies: Implications = SHIPPED,
    decode_budget_s: float = 10.0,
) -> Inspection:
    """Every finding of a folder that was read: `check`, the app, `plan` and every start ask here, so that they say the same.

    Images that cannot be decoded are left out first. Without a trigger, the words of the only `N_token class` folder are
    taken for it and the class, as a training does; else the rest is judged by the one uncommon word that all captions
    share, and `trigger_absent` proposes it. `facts` are what was measured, by relative path: checks that need more stand
    in `not_checked`. `copies` are the groups of files with the same bytes, where they are known already.
    """
    found = decoded(found, decode_budget_s)
    by_folder = found.words_by_folder(settings.dataset)
    settings = schema.replace(settings, by_folder)
    guess = ""
    if not settings.dataset.trigger and settings.dataset.subject in ("person", "character"):
        guess = caption_words.shared_unknown_word([image.caption or "" for image in found.training])
        settings = schema.replace(settings, {"dataset.trigger": guess})
    groups = similar.copies(found.images) if copies is None else copies
    case = Case(found, settings, preset, groups, facts or None, tokenizer, guess=guess, implies=implies)
    checked = run_checks(case)
    of_the_list = tuple(gathered.findings(found.root))
    not_taken = archives.findings(archives.left_out_of(found.root), of_a_zip=not of_the_list)
    findings = tuple(worst_first((*checked.findings, *of_the_list, *not_taken)))
    return Inspection(case, findings, checked.not_checked, None, guess or by_folder.get("dataset.trigger", ""))
