"""The second step: the folder of pictures, the words for the subject, and the base model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.worker import get_current_worker

from loratui.tui import text
from loratui.tui.bindings import bindings_for
from loratui.tui.draft import folder_from_text, next_step_for_folder
from loratui.tui.messages import FolderScanned
from loratui.tui.screens.steps import StepScreen
from loratui.tui.widgets.field import Field, FolderSuggester
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan

_FIELDS = (
    (
        "dataset.path",
        "Folder",
        "the pictures to train on, each with its caption in a .txt file of the same name if you have any",
    ),
    ("dataset.trigger", "Trigger word", "a made-up word for your subject, such as anafox; you will use it in prompts"),
    ("dataset.class_word", "Class word", "the general word for it, such as woman, dog or chair"),
    ("base.model", "Base model", "a .safetensors file, a diffusers folder, or embedded:sd15, the tiny one that comes along"),
)

_TYPING_PAUSE_S = 0.3


class DatasetScreen(StepScreen):
    """Four fields, and what the folder holds, read while one types."""

    CONTEXT = "dataset"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("dataset")]

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Timer | None = None
        self._scanning = ""

    def body(self) -> ComposeResult:
        """The form, and below it the folder."""
        draft = self.loratui.draft
        with Vertical(id="dataset-form"):
            for key, label, help in _FIELDS:
                suggester = FolderSuggester() if key in ("dataset.path", "base.model") else None
                yield Field(key, label, help, str(draft.value(key)), suggester=suggester)
        with VerticalScroll(id="dataset-found", can_focus=False):
            yield Line(id="dataset-text")

    def on_mount(self) -> None:
        """Begins in the first empty field, and reads the folder if one is named."""
        fields = list(self.query(Field))
        next((field for field in fields if not field.text), fields[0]).enter()
        self._read()

    def on_field_edited(self, event: Field.Edited) -> None:
        """Reads the folder when the typing pauses."""
        event.stop()
        if event.field.key == "dataset.path":
            if self._waiting is not None:
                self._waiting.stop()
            self._waiting = self.set_timer(_TYPING_PAUSE_S, self._read)

    def keep(self) -> None:
        """All four go into the draft."""
        values = {field.key: field.text.strip() for field in self.query(Field)}
        folder = folder_from_text(values["dataset.path"])
        values["dataset.path"] = str(folder.absolute()) if folder else ""
        self.loratui.draft = self.loratui.draft.with_values(values)

    def action_next(self) -> None:
        """Down through the fields; from the last one on to the plan, if the folder can be used."""
        fields = list(self.query(Field))
        at = next((n for n, field in enumerate(fields) if field.entered), len(fields) - 1)
        if at < len(fields) - 1:
            fields[at + 1].enter()
            return
        self.keep()
        if self.loratui.draft.scan is not None:
            self.loratui.open("plan")
            return
        fields[0].enter()
        self._read()

    def _read(self) -> None:
        typed = next(iter(self.query(Field))).text
        folder = folder_from_text(typed)
        self._scanning = typed
        if folder is None:
            self.line("dataset-text").say(plain(next_step_for_folder(""), "$muted"))
            return
        self._scan(typed)

    @work(thread=True, exclusive=True, group="scan", description="read the folder")
    def _scan(self, typed: str) -> None:
        from loratui.engine.dataset.scan import scan
        from loratui.engine.errors import LoratuiError

        folder = folder_from_text(typed)
        assert folder is not None
        try:
            message = FolderScanned(typed, scan(folder))
        except LoratuiError as error:
            remedy = " ".join(part for part in (error.remedy, next_step_for_folder(typed)) if part)
            message = FolderScanned(typed, None, error.message, remedy)
        except OSError as error:
            message = FolderScanned(typed, None, f"{folder}: {error.strerror}", next_step_for_folder(typed))
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    def on_folder_scanned(self, message: FolderScanned) -> None:
        """Shows what the folder holds, or what to do about it."""
        if message.folder != self._scanning:
            return
        if message.scan is None:
            lines = [plain(f"✖ {message.problem}", "$error"), plain(message.remedy)]
        else:
            lines = list(describe(message.scan))
            self.keep()
            self.loratui.draft = self.loratui.draft.with_scan(message.scan)
        self.line("dataset-text").say(Content("\n").join(lines))


def describe(scan: DatasetScan) -> Iterator[Content]:
    """What a folder holds, a line each."""
    training = scan.training
    captioned = sum(image.caption is not None for image in training)
    yield plain(f"✔ {text.count(len(training), 'picture')}, {text.number(captioned)} with a caption", "$success")
    sizes = Counter((image.width, image.height) for image in training).most_common()
    shown = ", ".join(f"{n} of {w} × {h}" for (w, h), n in sizes[:3])
    more = f" and {text.count(len(sizes) - 3, 'other size')}" if len(sizes) > 3 else ""
    yield plain(f"  sizes: {shown} px{more}")
    named = [c for c in scan.concepts if not c.regularisation and c.folder_repeats is not None]
    for concept in named:
        yield plain(
            f"  {concept.folder or scan.root.name}: {text.count(concept.images, 'picture')}, {concept.folder_repeats} repeats by its name"
        )
    if scan.regularisation:
        yield plain(f"  {text.count(len(scan.regularisation), 'regularisation picture')}")
    if not captioned:
        yield plain("  Without captions every picture is trained on trigger and class word.", "$muted")
    example = next((image.caption for image in training if image.caption), None)
    if example:
        yield plain(f"  “{example[:150]}”", "$muted")
    for item in scan.left_out[:6]:
        yield plain(f"  ! {item.relative} {item.reason}", "$warning" if item.picture else "$muted")
    if len(scan.left_out) > 6:
        yield plain(f"  and {len(scan.left_out) - 6} more left out", "$muted")
    for note in scan.notes[:6]:
        yield plain(f"  {', '.join(note.files[:3])} {note.message}".replace("   ", "  "), "$muted")
