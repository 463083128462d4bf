"""The changes that can be made to many captions at once: what each asks for, and the pure function behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loratui.engine.dataset import caption_edits, captions
from loratui.presets.schema import Settings
from loratui.tui.dataset.edits import DatasetEdits

Edit = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class BulkEdit:
    """One kind of change."""

    id: str
    title: str
    help: str
    asks: tuple[str, ...]
    """Labels of the texts that it needs; none where the trigger and class word are enough."""
    make: Callable[[Sequence[str], Settings], Edit]
    """The function from caption to caption, from the texts typed and the settings."""
    tags: bool = False
    """Whether a tag of the table can be put into its first field."""
    whole: bool = False
    """Whether it is made of the caption as a whole; else of each of its lines."""


def _subject(settings: Settings) -> tuple[str, str]:
    return settings.dataset.trigger.strip(), settings.dataset.class_word.strip()


BULK_EDITS: tuple[BulkEdit, ...] = (
    BulkEdit(
        "trigger",
        "put the trigger first",
        "The first words of a caption weigh most; other spellings of the trigger are corrected.",
        (),
        lambda _, settings: lambda caption: caption_edits.trigger_first(caption, _subject(settings)[0]),
    ),
    BulkEdit(
        "class",
        "add the class word",
        "Right after the trigger, so the model knows what kind of thing it is.",
        (),
        lambda _, settings: lambda caption: caption_edits.with_class(caption, *_subject(settings)),
    ),
    BulkEdit(
        "replace",
        "replace words",
        "Whole words, in any case; leave the second field empty to remove them.",
        ("Replace", "by"),
        lambda typed, _: lambda caption: caption_edits.replaced(caption, typed[0], typed[1]),
    ),
    BulkEdit(
        "remove",
        "remove a tag everywhere",
        "A tag is the text between two commas. The table counts the captions with each tag.",
        ("Tag",),
        lambda typed, _: lambda caption: caption_edits.without_tag(caption, typed[0]) if typed[0].strip() else caption,
        tags=True,
    ),
    BulkEdit(
        "prefix",
        "add in front",
        "Adds a tag, unless the caption begins with it.",
        ("In front",),
        lambda typed, _: lambda caption: caption_edits.with_prefix(caption, typed[0]),
    ),
    BulkEdit(
        "suffix",
        "add at the end",
        "Adds a tag, unless the caption ends with it.",
        ("At the end",),
        lambda typed, _: lambda caption: caption_edits.with_suffix(caption, typed[0]),
    ),
    BulkEdit(
        "score",
        "remove score tags",
        "score_9, source_anime, rating_safe and the like: only Pony bases know them, and only in prompts.",
        (),
        lambda _, __: caption_edits.without_score_tags,
    ),
    BulkEdit(
        "join",
        "join lines",
        "For a caption that is one wrapped text: its lines become one. Else each line can be drawn as a separate caption.",
        (),
        lambda _, __: captions.whole,
        whole=True,
    ),
)


def changed_captions(edit: BulkEdit, typed: Sequence[str], settings: Settings, prepared: DatasetEdits) -> Mapping[str, str]:
    """The captions that would change, by image. Images without a caption are left alone."""
    change = edit.make(typed, settings)
    return caption_edits.changes(prepared.captions(), change, whole=edit.whole)


def why_nothing(edit: BulkEdit, typed: Sequence[str], settings: Settings, prepared: DatasetEdits) -> str:
    """Why no caption would change."""
    trigger, class_word = _subject(settings)
    if not prepared.captions():
        return "No image has a caption yet. Open an image to write one."
    if edit.id in ("trigger", "class") and not trigger:
        return "There is no trigger word yet; type it in the dataset step."
    if edit.id == "class" and not class_word:
        return "There is no class word yet; type it in the dataset step."
    if edit.asks and not typed[0].strip():
        return "Type the text; the preview follows."
    return "No caption would change."
