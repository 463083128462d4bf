"""The changes that can be made to many captions at once: what each asks for, and the pure function behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from loratui.engine.dataset import caption_edits, caption_patterns, captions
from loratui.engine.dataset.implications import SHIPPED, Implications
from loratui.engine.dataset.tag_table import TagTable
from loratui.engine.errors import UsageError
from loratui.engine.jobs import Cancelled
from loratui.presets.schema import Settings

Edit = Callable[[str], str]


@dataclass(frozen=True)
class Around:
    """What a change may need besides the texts that were typed."""

    settings: Settings
    captions: Mapping[str, str]
    """All captions of the set, by image."""
    implies: Implications = field(default_factory=lambda: SHIPPED)
    problem: str = ""
    """What is wrong with the person's own table of implied tags."""

    @property
    def subject(self) -> tuple[str, str]:
        """Trigger and class word."""
        return self.settings.dataset.trigger.strip(), self.settings.dataset.class_word.strip()

    def word(self, which: str) -> str:
        """The `trigger word` or the `class word`; empty where there is none."""
        return dict(zip(("trigger word", "class word"), self.subject, strict=True))[which]

    @cached_property
    def tags(self) -> TagTable:
        """The tags of all captions."""
        return TagTable.of(self.captions)


@dataclass(frozen=True, slots=True)
class BulkEdit:
    """One kind of change."""

    id: str
    option: str
    """Of `loratui captions`."""
    title: str
    help: str
    asks: tuple[str, ...]
    """Labels of the texts that it needs; none where the trigger and class word are enough."""
    make: Callable[[Sequence[str], Around], Edit]
    """The function from caption to caption, from the texts typed. Both raise `UsageError` for a text that cannot be used."""
    tags: bool = False
    """Whether a tag of the table brings the person to it, where the chosen change asks for nothing."""
    whole: bool = False
    """Whether it is made of the caption as a whole; else of each of its lines."""
    needs: tuple[str, ...] = ()
    """What must be typed in the dataset step: `trigger word`, `class word`."""


def _place(text: str) -> int:
    if text.strip() and not (text.strip().isdecimal() and 0 < int(text) <= _MOST_PLACES):
        raise UsageError(f"{text}: the place of a tag is a number from 1 on.", "Type 1 for the first place.")
    return int(text or 1)


def _sorted(around: Around) -> Edit:
    table = around.tags
    return lambda caption: caption_edits.tags_sorted(caption, lambda tag: (-table.count(tag), tag.lower()), *around.subject)


_MOST_PLACES = 10_000

BULK_EDITS: tuple[BulkEdit, ...] = (
    BulkEdit(
        "trigger",
        "--trigger-first",
        "put the trigger first",
        "The first words of a caption weigh most; other spellings of the trigger are corrected.",
        (),
        lambda _, around: lambda caption: caption_edits.trigger_first(caption, around.subject[0]),
        needs=("trigger word",),
    ),
    BulkEdit(
        "class",
        "--class-second",
        "add the class word",
        "Right after the trigger, so the model knows what kind of thing it is.",
        (),
        lambda _, around: lambda caption: caption_edits.with_class(caption, *around.subject),
        needs=("trigger word", "class word"),
    ),
    BulkEdit(
        "replace",
        "--replace",
        "replace words",
        "Whole words, in any case; leave the second field empty to remove them.",
        ("Replace", "by"),
        lambda typed, _: lambda caption: caption_edits.replaced(caption, typed[0], typed[1]),
    ),
    BulkEdit(
        "remove",
        "--remove",
        "remove a tag",
        "A tag is the text between two commas. The table counts the captions with each tag.",
        ("Tag",),
        lambda typed, _: lambda caption: caption_edits.without_tag(caption, typed[0]) if typed[0].strip() else caption,
        tags=True,
    ),
    BulkEdit(
        "prefix",
        "--add-first",
        "add in front",
        "Adds a tag, unless the caption begins with it.",
        ("In front",),
        lambda typed, _: lambda caption: caption_edits.with_prefix(caption, typed[0]),
    ),
    BulkEdit(
        "suffix",
        "--add",
        "add a tag",
        "At the end, unless the caption has it.",
        ("Tag",),
        lambda typed, _: lambda caption: caption_edits.with_suffix(caption, typed[0]),
    ),
    BulkEdit(
        "implied",
        "--remove-implied",
        "remove implied tags",
        "Of german shepherd and dog, or red hair and hair, only the first stays. Trigger and class word stay.",
        (),
        lambda _, around: lambda caption: caption_edits.without_implied(caption, around.implies, around.subject),
    ),
    BulkEdit(
        "sort",
        "--sort-tags",
        "sort by frequency",
        "The most frequent tags first. Trigger and class word stay in front; captions in sentences stay.",
        (),
        lambda _, around: _sorted(around),
    ),
    BulkEdit(
        "move",
        "--move",
        "move a tag",
        "To a place in every caption that has it: 1 is the first.",
        ("Tag", "to place"),
        lambda typed, _: partial(caption_edits.with_tag_at, tag=typed[0], place=_place(typed[1])),
    ),
    BulkEdit(
        "pattern",
        "--pattern",
        "replace by pattern",
        r"A regular expression, in any case. \1 is its first group: (\w+) hair by \1-haired.",
        ("Pattern", "by"),
        lambda typed, _: caption_patterns.pattern_edit(typed[0], typed[1]),
    ),
    BulkEdit(
        "score",
        "--remove-scores",
        "remove score tags",
        "score_9, source_anime, rating_safe and the like: only Pony bases know them, and only in prompts.",
        (),
        lambda _, __: caption_edits.without_score_tags,
    ),
    BulkEdit(
        "join",
        "--join-lines",
        "join lines",
        "For a caption that is one wrapped text: its lines become one. Else each line can be drawn as a separate caption.",
        (),
        lambda _, __: captions.whole,
        whole=True,
    ),
)


def changed_captions(
    edit: BulkEdit,
    typed: Sequence[str],
    around: Around,
    images: Iterable[str] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, str]:
    """The captions that would change, by image, of these images or of all. Raises `UsageError` for a text that cannot be used,
    and `Cancelled`.

    Images without a caption are left alone.
    """
    if edit.asks and not typed[0].strip():
        return {}
    written = around.captions if images is None else {name: around.captions[name] for name in images if name in around.captions}
    change = edit.make(typed, around)

    def unless_cancelled(caption: str) -> str:
        if cancelled():
            raise Cancelled
        return change(caption)

    return caption_edits.changes(written, unless_cancelled, whole=edit.whole)


def why_nothing(edit: BulkEdit, typed: Sequence[str], around: Around) -> str:
    """Why no caption would change."""
    if not around.captions:
        return "No image has a caption yet. Open an image to write one."
    for missing in (word for word in edit.needs if not around.word(word)):
        return f"There is no {missing} yet; type it in the dataset step."
    if edit.asks and not typed[0].strip():
        return "Type the text; the preview follows."
    return "No caption would change."
