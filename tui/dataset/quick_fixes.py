"""Which remedy one key applies to a finding: remedies of images, edits of captions, or another setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loratui.engine.dataset import caption_edits, caption_syntax, caption_words, encodings, remedies
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.checks.shape import lower_resolution
from loratui.engine.dataset.findings import Finding
from loratui.engine.dataset.remedies import Kind, Remedy
from loratui.presets.schema import Settings
from loratui.tui import text
from loratui.tui.dataset.edits import DatasetEdits

VERBS: Mapping[Kind, str] = {
    "rotate": "turn {} upright",
    "convert": "convert {} to plain sRGB",
    "flatten": "lay {} on a plain background",
    "mirror": "mirror {}",
    "crop": "crop {} around the subject",
    "shrink": f"shrink {{}} to {remedies.LARGEST_PX} px",
    "leave_out": "leave {} out",
}


CHOICES = {
    "whole": "take all lines for one text again",
    "line": "take each line for a caption, drawn in turn",
    "line+wildcards": "draw one line and one part of each {a|b} each time",
}
"""Values of `dataset.caption_choice`, as what is done."""


@dataclass(frozen=True)
class QuickFix:
    """What would be done about a finding. It is shown before it is chosen, and undone by one key."""

    label: str
    """What will be done, beginning with a verb in lower case."""
    remedies: tuple[Remedy, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of the recipe -> new values."""


def mend_for(finding: Finding, prepared: DatasetEdits, settings: Settings) -> QuickFix | None:
    """What one key does about `finding`; None where only the person can."""
    return (
        _of_images(finding, prepared) or _of_captions(finding, prepared, settings) or _of_settings(finding, prepared, settings)
    )


def is_mended(finding: Finding, prepared: DatasetEdits) -> bool:
    """Whether everything that can be done about the images of a finding is chosen already."""
    if finding.id == "left_out" and finding.files and prepared.left_out.issuperset(finding.files):
        return True
    wanted = remedies.proposed([finding], prepared.sound, prepared.facts)
    return bool(wanted) and all(prepared.has(r.kind, r.relative) for r in wanted)


def _of_images(finding: Finding, prepared: DatasetEdits) -> QuickFix | None:
    wanted = remedies.proposed([finding], prepared.sound, prepared.facts)
    missing = tuple(r for r in wanted if not prepared.has(r.kind, r.relative) and r.relative not in prepared.left_out)
    if not missing:
        return None
    counts = Counter(remedy.kind for remedy in missing)
    said = [VERBS[kind].format(text.count(counts[kind], "image")) for kind in remedies.ORDER if counts[kind]]
    return QuickFix(", ".join(said), remedies=missing)


def _of_captions(finding: Finding, prepared: DatasetEdits, settings: Settings) -> QuickFix | None:
    if finding.id == "caption_encoding":
        return _as_utf8(finding, prepared)
    edit = _edits(settings).get(finding.id)
    if edit is None:
        return None
    words, change = edit
    now = {name: prepared.caption(name) for name in finding.files if name in prepared.names}
    written = {name: caption for name, caption in now.items() if caption}
    # What is below the line in which an image generator's parameters begin goes too.
    changed = caption_edits.changes(written, change, whole=finding.id == "caption_parameters")
    if not changed:
        return None
    return QuickFix(f"{words} in {text.count(len(changed), 'caption')}", captions=changed)


def _as_utf8(finding: Finding, prepared: DatasetEdits) -> QuickFix | None:
    """Saves captions as they were read. Their finding names the caption files, not the images."""
    found = {
        image.relative: prepared.caption(image.relative)
        for image in prepared.edited.images
        if image.caption_file in finding.files
    }
    return QuickFix(f"save {text.count(len(found), 'caption')} as UTF-8", captions=found) if found else None


def _edits(settings: Settings) -> dict[str, tuple[str, Callable[[str], str]]]:
    trigger, class_word = settings.dataset.trigger.strip(), settings.dataset.class_word.strip()
    first = (f'put "{trigger}" first', lambda caption: caption_edits.trigger_first(caption, trigger))
    return {
        "trigger_missing": first,
        "trigger_not_first": first,
        "trigger_spelling": (
            f'spell "{trigger}" the same',
            lambda caption: caption_edits.trigger_spelled(caption, trigger),
        ),
        "class_not_second": (
            f'put "{class_word}" behind "{trigger}"',
            lambda caption: caption_edits.with_class(caption, trigger, class_word),
        ),
        **{id: (f"take out {s.what}", s.strip) for id, s in caption_syntax.SYNTAXES.items() if s.strip is not None},
        "caption_breaks": ("put commas instead", caption_syntax.without_breaks),
        "caption_placeholders": ("fill in your words", lambda caption: caption_syntax.filled_in(caption, trigger, class_word)),
        "caption_mojibake": ("put wrong signs right", encodings.unmixed),
        "score_tags": ("remove score tags", caption_edits.without_score_tags),
        "white_background": (
            'add "white background"',
            lambda caption: caption_edits.with_suffix(caption, "white background"),
        ),
    }


def _of_settings(finding: Finding, prepared: DatasetEdits, settings: Settings) -> QuickFix | None:
    if finding.id in ("caption_lines", "caption_wildcards"):
        now = settings.dataset.caption_choice
        choice = "line+wildcards" if finding.id == "caption_wildcards" else "line" if now == "whole" else "whole"
        return QuickFix(CHOICES[choice], settings={"dataset.caption_choice": choice}) if choice != now else None
    if finding.id == "small" and (lower := lower_resolution(Case(prepared.edited, settings))):
        return QuickFix(f"train at {lower} × {lower} px", settings={"dataset.resolution": lower})
    if finding.id == "flip_identity":
        return QuickFix("turn mirroring off", settings={"dataset.flip": False})
    if finding.id == "trigger_absent" and settings.dataset.trigger:
        word = settings.dataset.trigger
        return QuickFix(f'take "{word}" as the trigger', settings={"dataset.trigger": word})
    if finding.id == "trigger_known":
        better = trigger_proposals(settings.dataset.trigger)
        if better:
            return QuickFix(f'take "{better[0]}" as the trigger', settings={"dataset.trigger": better[0]})
    return None


def trigger_proposals(word: str) -> tuple[str, ...]:
    """Made-up words near `word`."""
    return caption_words.proposals(word.split()[0]) if word.split() else ()
