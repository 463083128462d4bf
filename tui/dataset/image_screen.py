"""One image large: what it is, what is wrong with it, what can be done, and its caption to edit beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.worker import get_current_worker

from loratui.engine.dataset import masks, remedies
from loratui.engine.dataset.buckets import BucketRule
from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.display import DISPLAY, Grey
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.remedies import Kind, Remedy
from loratui.engine.dataset.scan import ImageEntry
from loratui.tui import text
from loratui.tui.dataset import image_facts, image_marks
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.dataset.part import DatasetPart
from loratui.tui.dataset.quick_fixes import VERBS
from loratui.tui.dataset.topics import caption_content, token_words
from loratui.tui.findings import SIGNS, TONES, WORDS
from loratui.tui.keymap import keys_of
from loratui.tui.screens.large_image import LargeImage
from loratui.tui.terminal import clean_lines, ssh_hints
from loratui.tui.widgets.caption_editor import CaptionEditor
from loratui.tui.widgets.image_view import ImageView
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.tui.dataset.judging import Trained

_TYPING_PAUSE_S = 0.15
_SHOWN_BEFORE_CUT = 40
"""Characters of a caption that are shown before the place where it is cut off."""


@dataclass
class TokensCounted(Message):
    """A caption was read as the model will read it."""

    trained: Trained


@dataclass
class MaskRead(Message):
    """The mask of an image was read, or could not be."""

    name: str
    mask: Grey | None
    problem: str = ""


class DatasetImageScreen(DatasetPart, LargeImage):
    """The image at the left, everything about it at the right."""

    AUTO_FOCUS = ""  # the keys first; writing begins when it is asked for
    CONTEXT = "dataset_image"
    PURPOSE = "an image"
    DEFAULT_CSS = """
    DatasetImageScreen #image-body { height: 1fr; }
    DatasetImageScreen #image { width: 1fr; height: 1fr; }
    DatasetImageScreen #image-side { width: 46; padding: 0 1; border-left: solid $border-blurred; }
    DatasetImageScreen.-wide #image-side { width: 56; }
    DatasetImageScreen.-very-wide #image-side { width: 72; }
    DatasetImageScreen.-short CaptionEditor { height: 4; }
    DatasetImageScreen #image-caption-title, DatasetImageScreen #image-tokens { height: auto; }
    DatasetImageScreen #image-trained { height: auto; max-height: 5; color: $muted; }
    DatasetImageScreen #image-about { height: 1fr; border-top: solid $border-blurred; scrollbar-size-vertical: 1; }
    """

    def __init__(self, model: DatasetModel, names: Sequence[str], name: str) -> None:
        super().__init__(model)
        self._names = list(names)
        self.name_shown = name
        """Relative path of the image that is shown."""
        self._typing: Timer | None = None
        self._masks_shown = False
        self._mask: MaskRead | None = None
        """What was last read."""

    def body(self) -> ComposeResult:
        """Image, caption, details."""
        with Horizontal(id="image-body"):
            yield ImageView(id="image")
            with Vertical(id="image-side"):
                yield Line(id="image-caption-title")
                yield CaptionEditor(id="caption")
                yield Line(id="image-tokens")
                yield Line(id="image-trained")
                with VerticalScroll(id="image-about", can_focus=False):
                    yield Line(id="image-text")

    def on_mount(self) -> None:
        self.query_one(CaptionEditor).set(self.edits.caption(self.name_shown))
        self._show()

    # What is shown

    def edits_changed(self) -> None:
        """Undo, a finding or a measure: show it."""
        self._show()

    @property
    def _image(self) -> ImageEntry:
        return self.edits.names[self.name_shown]

    @property
    def image_path(self) -> Path | None:
        """The file as it is, before anything is done to it."""
        return self._image.path

    @property
    def image_title(self) -> str:
        """Its name in the folder."""
        return self.name_shown

    def _show(self) -> None:
        edits, image = self.edits, self._image
        at = self._names.index(self.name_shown) + 1
        self.line("heading-right").say(plain(f"{at} of {len(self._names)}  {self.name_shown}"))
        view = self.query_one(ImageView)
        view.show(image.path)
        rule = BucketRule.of(self.model.settings.dataset)
        mask = self._mask.mask if self._masks_shown and self._mask and self._mask.name == self.name_shown else None
        view.mark(image_marks.Marks.of(image, edits.remedies_of(self.name_shown), rule, mask))
        if self._masks_shown and (self._mask is None or self._mask.name != self.name_shown) and self.has_mask:
            self._read_mask(image)
        editor = self.query_one(CaptionEditor)
        caption = edits.caption(self.name_shown)
        if not editor.has_focus:
            editor.set(caption)
        unsaved = self.name_shown in edits.chosen.captions
        there = "not saved yet" if unsaved else _written_in(image)
        state = there if caption or unsaved else "none: trained on trigger and class word"
        self.line("image-caption-title").say(
            Content.assemble(plain("Caption", "bold"), plain(f"  {state}", "$warning" if unsaved else "$muted"))
        )
        self.line("image-text").say(Content("\n").join(list(self._about(image))))
        self._count(dataclasses.replace(image, caption=caption or None))

    def _about(self, image: ImageEntry) -> Iterator[Content]:
        edits = self.edits
        reason = edits.reason_left_out(image.relative)
        if reason:
            yield plain(f"– not trained on: {reason}", "bold $warning")
        facts = edits.facts.get(image.relative)
        yield plain("Quick fixes; the same key undoes one:", "$muted")
        keys = {key.action: key.shown for key in keys_of(self.CONTEXT)}
        for kind, words in self._offers(image, facts):
            chosen = edits.has(kind, image.relative)
            key = keys["leave_out"] if kind == "leave_out" else keys[f"remedy('{kind}')"]
            yield Content.assemble(
                plain("[✔] " if chosen else "[ ] ", "$success" if chosen else "$muted"),
                plain(f"{key}  ", "bold $accent"),
                plain(words),
            )
        yield from (plain(line) for line in image_facts.details(image, edits.remedies_of(image.relative), self.model.settings))
        yield plain(image_facts.faces(facts), "$muted" if facts is None or facts.faces is None else "")
        findings = self.model.judgement.of(image.relative) if self.model.judgement else ()
        for finding, done in findings:
            word = "✔ fixed" if done else f"{SIGNS[finding.severity]} {WORDS[finding.severity]}"
            tone = "$success" if done else TONES[finding.severity]
            yield Content.assemble(plain(f"{word}  ", tone), plain(_without_names(finding.message)))
        yield plain(image.path)
        yield plain(ssh_hints.scp_line(image.path), "$muted")

    def _offers(self, image: ImageEntry, facts: ImageFacts | None) -> Iterator[tuple[Kind, str]]:
        """What makes sense for this image, with words."""
        own = {remedy.kind: remedy for remedy in self.edits.remedies_of(image.relative)}
        for kind in remedies.ORDER:
            remedy = own.get(kind) or offered(kind, image, facts)
            if remedy is not None:
                exactly = f" ({remedy.describe()})" if kind in ("crop", "flatten") else ""
                yield kind, f"{VERBS[kind].format('it')}{exactly}"

    # Masks

    @property
    def has_mask(self) -> bool:
        """Whether the image has a mask that can be shown."""
        return masks.shown_of(self._image, self.model.settings.dataset) is not None

    def action_mask(self) -> None:
        """Shows masks over the images, or hides them."""
        self._masks_shown = not self._masks_shown
        self._show()

    @work(thread=True, exclusive=True, group="mask", description="read a mask")
    def _read_mask(self, image: ImageEntry) -> None:
        path = masks.shown_of(image, self.model.settings.dataset)
        read = MaskRead(image.relative, None)
        try:
            if path is not None:
                read = MaskRead(image.relative, DISPLAY.mask(path, alpha=path == image.path))
        except ImageError as error:
            read = MaskRead(image.relative, None, f"The mask {error}.")
        if not get_current_worker().is_cancelled:
            self.post_message(read)

    def on_mask_read(self, message: MaskRead) -> None:
        """Draws it over the image."""
        self._mask = message
        if message.problem:
            self.loratui.tell(message.problem)
        self._show()

    # Tokens

    @work(thread=True, exclusive=True, group="tokens", description="count tokens")
    def _count(self, image: ImageEntry) -> None:
        from loratui.engine.planning.preflight import token_counter
        from loratui.tui.dataset.judging import as_trained

        settings = self.model.settings
        several = self.edits.edited.several_concepts
        trained = as_trained(image, settings, token_counter(settings), several_concepts=several)
        if not get_current_worker().is_cancelled:
            self.post_message(TokensCounted(trained))

    def on_tokens_counted(self, message: TokensCounted) -> None:
        """Shows how much of the window the caption fills, and what is cut off."""
        trained = message.trained
        if trained.name != self.name_shown:
            return
        tone = "bold $error" if trained.cut else "$muted"
        cut = "; the end is not read" if trained.cut else ""
        self.line("image-tokens").say(plain(f"{token_words(trained)}{cut}", tone))
        if trained.cut:
            # The whole caption stands in the field above; here it matters where it ends.
            trained = dataclasses.replace(trained, read=f"… {trained.read[-_SHOWN_BEFORE_CUT:]}")
        others = f", in turn with {text.count(trained.of - 1, 'other')}" if trained.of > 1 else ""
        self.line("image-trained").say(Content.assemble(plain(f"trained with{others}: ", "$muted"), caption_content(trained)))

    # Keys

    @property
    def writing(self) -> bool:
        """Whether letters go into the caption."""
        # The flag of the editor follows later than the focus itself.
        return isinstance(self.focused, CaptionEditor)

    @property
    def not_writing(self) -> bool:
        """Whether letters are keys."""
        return not self.writing

    @property
    def image_here(self) -> bool:
        """There is always an image."""
        return True

    def action_step(self, by: int) -> None:
        self._keep_caption()
        self.name_shown = self._names[(self._names.index(self.name_shown) + by) % len(self._names)]
        self.query_one(CaptionEditor).set(self.edits.caption(self.name_shown))
        self.query_one("#image-about").scroll_home(animate=False)
        self._show()

    def action_scroll_about(self, lines: int) -> None:
        """What stands below the caption, further down or up."""
        self.query_one("#image-about").scroll_relative(y=lines, animate=False)

    def action_edit(self) -> None:
        self.query_one(CaptionEditor).focus()

    def action_end_editing(self) -> None:
        """Out of the caption; what was typed is kept, and not yet saved."""
        self._keep_caption()
        self.set_focus(None)

    def action_back(self) -> None:
        self._keep_caption()
        super().action_back()

    def action_leave_out(self) -> None:
        """Leaves the image out, or takes it in again."""
        self.model.toggle_left_out(self.name_shown)

    def action_remedy(self, kind: Kind) -> None:
        """Chooses a remedy for this image, or takes it back."""
        edits, image = self.edits, self._image
        if edits.has(kind, image.relative):
            self.model.choose(edits.without_remedy(f"not: {VERBS[kind].format(image.relative)}", kind, image.relative))
            return
        remedy = offered(kind, image, edits.facts.get(image.relative))
        if remedy is None:
            self.loratui.tell(f"There is no need to {VERBS[kind].format('this image')}.")
            return
        self.model.choose(edits.with_remedies(VERBS[kind].format(image.relative), [remedy]))

    def on_text_area_changed(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_PAUSE_S, self._keep_caption)

    def _keep_caption(self) -> None:
        if self._typing is not None:
            self._typing.stop()
            self._typing = None
        editor = self.query_one(CaptionEditor)
        # An invisible character that is not shown must not count as an edit.
        if editor.text == clean_lines(self.edits.caption(self.name_shown), 100_000, 100_000):
            return
        self.model.choose(self.edits.with_captions(f"the caption of {self.name_shown}", {self.name_shown: editor.text}))


def _written_in(image: ImageEntry) -> str:
    """Where its caption comes from; each line is a caption where several files or a list hold some."""
    if image.caption_list:
        return f"from {image.caption_list}{', one a line' if image.apart else ''}"
    return f"one a line, in {text.count(len(image.further) + 1, 'file')}" if image.further else "as in its file"


def _without_names(message: str) -> str:
    """A finding's message without its list of files: here it is about this one."""
    return message.partition(": ")[0].rstrip(".")


def offered(kind: Kind, image: ImageEntry, facts: ImageFacts | None) -> Remedy | None:
    """The remedy of this kind for an image; None where it would do nothing."""
    traits = image.traits
    match kind:
        case "rotate":
            return Remedy(kind, image.relative) if traits.orientation != 1 else None
        case "convert":
            plain_colours = traits.mode in ("RGB", "RGBA", "L", "LA") and traits.bits == 8 and not traits.profile
            return None if plain_colours and not traits.animated else Remedy(kind, image.relative)
        case "flatten":
            return Remedy(kind, image.relative, colour=remedies.VARIED) if traits.alpha else None
        case "crop":
            box = remedies.crop_proposal(image, facts)
            return Remedy(kind, image.relative, box=box) if box is not None else None
        case "shrink":
            return Remedy(kind, image.relative) if max(image.width, image.height) > remedies.LARGEST_PX else None
        case "mirror" | "leave_out":
            return Remedy(kind, image.relative)
