"""What is to be said of a folder and of what was chosen for it: findings, what fixes them, captions as trained, the plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from loratui.engine.dataset import caption_choice, tokens
from loratui.engine.dataset.implications import SHIPPED, Implications
from loratui.engine.dataset.inspect import inspect_scan
from loratui.engine.dataset.ledger import final_lines
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.dataset.tokens import TokenCounter
from loratui.engine.errors import LoratuiError
from loratui.engine.findings import Finding, Severity, graver
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe, with_folder_names
from loratui.engine.planning.schedule import make_plan
from loratui.presets.schema import Settings
from loratui.tui.dataset.advised import still_to_caption
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.quick_fixes import QuickFix, fix_for, is_fixed

_MOST_COUNTED = 50
"""Captions of one image that are counted while it is looked at; the check counts them all."""
DECODE_BUDGET_S = 2.0
"""The app checks again at every choice, and what was decoded once stays known: a large set is looked at bit by bit."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A caption as the model will see it."""

    name: str
    """Relative path of the image."""
    read: str
    """What is read of the caption."""
    cut: str
    """Its end that the text encoder does not read; empty if all of it is."""
    tokens: int
    window: int
    exact: bool
    """Whether the base's own tokenizer counted."""
    of: int = 1
    """How many texts are drawn from, of which this is the first."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the checks say of a set as it would be trained on now."""

    findings: tuple[Finding, ...] = ()
    fixes: tuple[QuickFix | None, ...] = ()
    """What one key does about each finding."""
    fixed: tuple[bool, ...] = ()
    """Whether that is chosen already."""
    not_checked: tuple[tuple[str, str], ...] = ()
    worst: Mapping[str, Severity] = dataclasses.field(default_factory=dict)
    """The gravest severity of each image that a finding names and that is not fixed."""
    examples: tuple[Trained, ...] = ()
    plan: Plan | None = None
    guessed_trigger: str = ""
    """The uncommon word that all captions share, where no trigger was given."""
    damaged: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Images that cannot be decoded -> why."""
    advised: tuple[str, ...] = ()
    """Images that the validation of an earlier run advises another caption for, and that still have the old one."""

    def of(self, name: str) -> tuple[tuple[Finding, bool], ...]:
        """The findings that name an image, and whether each is fixed."""
        return tuple((finding, done) for finding, done in zip(self.findings, self.fixed, strict=True) if name in finding.files)

    def count(self, severity: Severity) -> int:
        """Findings of this severity that are not fixed."""
        return sum(f.severity == severity and not done for f, done in zip(self.findings, self.fixed, strict=True))


def judge(prepared: DatasetEdits, recipe: Recipe, counter: TokenCounter, implies: Implications = SHIPPED) -> Judgement:
    """Makes every check that can be made. Meant for a thread: a large set takes a while."""
    named = with_folder_names(recipe, prepared.edited)
    checked = inspect_scan(
        prepared.edited,
        recipe.settings,
        preset=recipe.preset,
        tokenizer=counter,
        facts=prepared.facts,
        copies=prepared.same_bytes,
        implies=implies,
        decode_budget_s=DECODE_BUDGET_S,
    )
    settings = checked.case.settings
    damaged = {item.relative: item.reason for item in checked.scan.left_out if item.relative in prepared.names}
    damaged = {name: reason for name, reason in damaged.items() if name not in prepared.left_out}
    fixed = tuple(is_fixed(finding, prepared) for finding in checked.findings)
    worst: dict[str, Severity] = {}
    for finding, done in zip(checked.findings, fixed, strict=True):
        for name in () if done else finding.files:
            worst[name] = graver(finding.severity, worst.get(name, "info"))
    return Judgement(
        checked.findings,
        tuple(fix_for(finding, prepared, settings) for finding in checked.findings),
        fixed,
        checked.not_checked,
        worst,
        _examples(checked.scan.training, settings, counter),
        _plan(named, checked.scan),
        checked.case.guess,
        damaged,
        still_to_caption(prepared, settings),
    )


def as_trained(image: ImageEntry, settings: Settings, counter: TokenCounter, *, several_concepts: bool = False) -> Trained:
    """The caption of one image as the text encoder gets it, with the tags in one of their orders, and what it does not read; of
    several the first that is cut, else the first."""
    lines = final_lines(image, settings, several_concepts=several_concepts)
    # The first of the orders that the trainer draws from; without shuffling, the captions themselves.
    drawn = [own[0] for own in caption_choice.texts(lines, settings.dataset, settings.training.seed)[:_MOST_COUNTED]]
    read_from = caption_choice.readings(lines, settings.dataset, settings.training.seed)
    several = len({text for line in read_from for text in line})
    window = tokens.window(settings)
    caption = next((text for text in drawn if counter.lost(text, window)), drawn[0])
    cut = counter.lost(caption, window)
    read = caption[: len(caption) - len(cut)] if cut else caption
    return Trained(image.relative, read, cut, counter.count(caption), window, counter.exact, several)


def _examples(training: tuple[ImageEntry, ...], settings: Settings, counter: TokenCounter) -> tuple[Trained, ...]:
    several = len({image.concept for image in training}) > 1
    places = sorted({0, len(training) // 2, len(training) - 1}) if training else []
    return tuple(as_trained(training[at], settings, counter, several_concepts=several) for at in places)


def _plan(recipe: Recipe, found: DatasetScan) -> Plan | None:
    try:
        return make_plan(recipe, found)
    except LoratuiError:
        return None
