"""Which remedy one key applies to a finding: remedies of images, edits of captions, or another setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loratui.engine.dataset import caption_edits, caption_syntax, encodings, remedies
from loratui.engine.dataset.remedies import Kind, Remedy
from loratui.engine.findings import Finding
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


SETTINGS: Mapping[str, str | Mapping[str, str]] = {
    "dataset.caption_choice": {
        "whole": "take all lines for one text again",
        "line": "take each line for a caption, drawn in turn",
        "line+wildcards": "draw one line and one part of each {a|b} each time",
        "first": "train on the first caption alone",
    },
    "dataset.resolution": "train at {0} × {0} px",
    "dataset.flip": "turn mirroring off",
    "dataset.masks": {
        "off": "train without masks",
        "folder": "weight the loss by the masks",
        "person": "weight the loss by the persons",
        "face": "weight the loss by the faces",
    },
    "dataset.trigger": 'take "{}" as the trigger',
}
"""Settings that findings of a dataset propose, as what is done."""


@dataclass(frozen=True)
class QuickFix:
    """What would be done about a finding. It is shown before it is chosen, and undone by one key."""

    label: str
    """What will be done, beginning with a verb in lower case."""
    remedies: tuple[Remedy, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of the recipe -> new values."""


def fix_for(finding: Finding, prepared: DatasetEdits, settings: Settings) -> QuickFix | None:
    """What one key does about `finding`; None where only the person can."""
    return _of_images(finding, prepared) or _of_captions(finding, prepared, settings) or _of_settings(finding)


def is_fixed(finding: Finding, prepared: DatasetEdits) -> bool:
    """Whether everything that can be done about the images of a finding is chosen already."""
    if finding.code == "left_out" and finding.files and prepared.left_out.issuperset(finding.files):
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
    fix = finding.kind.fix
    if fix == "utf8":
        return _as_utf8(finding, prepared)
    edit = _edits(finding, settings).get(fix) if fix else None
    if edit is None:
        return None
    words, change = edit
    now = {name: prepared.caption(name) for name in finding.files if name in prepared.names}
    written = {name: caption for name, caption in now.items() if caption}
    # What is below the line in which an image generator's parameters begin goes too.
    changed = caption_edits.changes(written, change, whole=finding.code == "caption_parameters")
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


def _edits(finding: Finding, settings: Settings) -> dict[str, tuple[str, Callable[[str], str]]]:
    """What each fix of captions does, in words, and as a change of one caption."""
    trigger, class_word = settings.dataset.trigger.strip(), settings.dataset.class_word.strip()
    edits: dict[str, tuple[str, Callable[[str], str]]] = {
        "trigger_first": (f'put "{trigger}" first', lambda caption: caption_edits.trigger_first(caption, trigger)),
        "trigger_spelled": (f'spell "{trigger}" the same', lambda caption: caption_edits.trigger_spelled(caption, trigger)),
        "class_second": (
            f'put "{class_word}" behind "{trigger}"',
            lambda caption: caption_edits.with_class(caption, trigger, class_word),
        ),
        "commas": ("use commas instead", caption_syntax.without_breaks),
        "fill_in": ("fill in your words", lambda caption: caption_syntax.filled_in(caption, trigger, class_word)),
        "right_signs": ("correct wrong characters", encodings.unmixed),
        "without_scores": ("remove score tags", caption_edits.without_score_tags),
        "name_white": ('add "white background"', lambda caption: caption_edits.with_suffix(caption, "white background")),
    }
    syntax = caption_syntax.SYNTAXES.get(finding.code)
    if syntax and syntax.strip:
        edits["take_out"] = (f"take out {syntax.what}", syntax.strip)
    return edits


def _of_settings(finding: Finding) -> QuickFix | None:
    for key, value in finding.settings.items():
        words = SETTINGS[key]
        return QuickFix(words[value] if isinstance(words, Mapping) else words.format(value), settings=finding.settings)
    return None
