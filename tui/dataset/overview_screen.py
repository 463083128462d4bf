"""The data-set step: the folder and the words for the subject, its findings with their remedies, and its images as tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList

from loratui.engine.dataset.buckets import BucketRule
from loratui.presets.schema import SchemaError
from loratui.tui import text
from loratui.tui.bindings import bindings_for
from loratui.tui.dataset import topics
from loratui.tui.dataset.choices_screen import DatasetChoices
from loratui.tui.dataset.image_marks import tile_label
from loratui.tui.dataset.quick_fixes import trigger_proposals
from loratui.tui.dataset.recent import remember_folder
from loratui.tui.dataset.topics import Topic
from loratui.tui.dataset.work import FolderRead, kept_choices
from loratui.tui.paths import ENDINGS, path_from_text
from loratui.tui.terminal import clean
from loratui.tui.widgets.field import Field, PathSuggester
from loratui.tui.widgets.image_grid import ImageGrid, Item, Label
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.no_images import NoImages
from loratui.tui.widgets.topic_list import TopicList
from loratui.tui.wizard.draft import next_step_for_folder

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.tui.dataset.edits import DatasetEdits

_FIELDS = (
    ("dataset.path", "Folder", "your images, or a zip of them, with captions as .txt"),
    ("dataset.trigger", "Trigger word", "made up, such as anafox; you will use it in prompts"),
    ("dataset.class_word", "Class word", "the general word for it, such as woman, dog or chair"),
)
_TYPING_PAUSE_S = 0.3


class DatasetScreen(DatasetChoices):
    """Form above; findings at the left and images at the right, or one of both where there is little room."""

    CONTEXT = "dataset"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("dataset")]
    DEFAULT_CSS = """
    DatasetScreen #dataset-form { height: auto; padding: 0 1; margin-top: 0; }
    DatasetScreen #dataset-help { height: 1; padding: 0 1; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
    DatasetScreen #dataset-text { height: auto; padding: 0 1; }
    DatasetScreen #dataset-body { height: 1fr; border-top: solid $border-blurred; }
    DatasetScreen #dataset-left { width: 52; padding: 0 1; }
    DatasetScreen.-very-wide #dataset-left { width: 66; }
    DatasetScreen #topics { height: 1fr; max-height: 50%; }
    DatasetScreen #topic-scroll { height: 1fr; border-top: solid $border-blurred; scrollbar-size-vertical: 1; }
    DatasetScreen #topic-text { padding: 0 1; }
    DatasetScreen #images { width: 1fr; height: 1fr; border-left: solid $border-blurred; padding: 0 0 0 1; }
    DatasetScreen.-narrow #dataset-left { width: 1fr; }
    DatasetScreen.-narrow #images { display: none; border-left: none; }
    DatasetScreen.-narrow.-images #images { display: block; }
    DatasetScreen.-narrow.-images #dataset-left { display: none; }
    DatasetScreen.-unread #dataset-body { display: none; }
    DatasetScreen NoImages { display: none; border-top: solid $border-blurred; }
    DatasetScreen.-unread NoImages { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Timer | None = None
        self._reading = ""
        self._only: frozenset[str] = frozenset()
        """The images that a finding is about, while only those are shown."""
        self._tiles_of: tuple[DatasetScan, frozenset[str]] | None = None
        """What the tiles are made of."""
        self._rule = BucketRule(512)

    # Layout

    def body(self) -> ComposeResult:
        """The form, how the set stands, and what it holds."""
        draft = self.loratui.draft
        with Vertical(id="dataset-form"):
            for key, label, help in _FIELDS:
                suggester = PathSuggester(ENDINGS[key]) if key in ENDINGS else None
                yield Field(key, label, help, self._kept_text(key, str(draft.value(key))), quiet=True, suggester=suggester)
        yield Line(id="dataset-help")
        yield Line(id="dataset-text")
        with Horizontal(id="dataset-body"):
            with Vertical(id="dataset-left"):
                yield TopicList(id="topics")
                with VerticalScroll(id="topic-scroll", can_focus=False):
                    yield Line(id="topic-text")
            yield ImageGrid(self._label, id="images")
        yield NoImages()

    def _kept_text(self, key: str, value: str) -> str:
        prepared = self.prepared
        if key == "dataset.path" and prepared is not None and value in (str(prepared.root), str(prepared.copy)):
            return prepared.given
        return value

    def on_mount(self) -> None:
        """Begins in the first empty field, and reads the folder if one is named."""
        fields = list(self.query(Field))
        next((field for field in fields if not field.text), fields[0]).enter()
        prepared = self.prepared
        if prepared is not None and self.loratui.draft.scan is not None and prepared.given == fields[0].text:
            self._reading = fields[0].text
            self._show_set()
            self.judge_soon()
        else:
            self._read()

    # The form

    def on_field_entered(self, event: Field.Entered) -> None:
        """Explains the field."""
        event.stop()
        self._explain(event.field)
        self.set_class(False, "-images")

    def on_field_edited(self, event: Field.Edited) -> None:
        """Reads the folder when the typing pauses; words are checked again."""
        event.stop()
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(_TYPING_PAUSE_S, self._typed)
        self._explain(event.field)

    def _typed(self) -> None:
        # The folder and the words may both have been typed since the last pause.
        if next(iter(self.query(Field))).text != self._reading:
            self._read()
        else:
            self.keep()
            self.judge_soon()

    def _explain(self, field: Field) -> None:
        self.line("dataset-help").say(plain(f"{field.label}: {field.help}"))
        if field.key == "dataset.trigger":
            self._judge_trigger(field)

    def _judge_trigger(self, field: Field) -> None:
        from loratui.engine.dataset.caption_words import is_common
        from loratui.engine.dataset.checks.trigger import trigger_fault

        common = [word for word in field.text.split() if is_common(word)]
        fault = trigger_fault(field.text.strip())
        if fault:
            self.line("dataset-help").say(plain(f"! {field.text.strip()} {fault}: take one plain word.", "$warning"))
        elif common:
            # One line at 80 columns, so the way out comes before the reason.
            better = trigger_proposals(common[0])
            instead = f"; made up: {', '.join(better)}" if better else ""
            words = f"! {common[0]} is an everyday word{instead}. The base has a meaning for it."
            self.line("dataset-help").say(plain(words, "$warning"))

    def keep(self) -> None:
        """The fields go into the draft; the folder as it is to be trained on."""
        values = {field.key: field.text.strip() for field in self.query(Field)}
        typed, prepared = values.pop("dataset.path"), self.prepared
        try:
            self.loratui.draft = self.loratui.draft.with_values(values)
            if prepared is not None and typed == prepared.given.strip():
                self.point_to(prepared)
            else:
                folder = path_from_text(typed)
                path = str(folder.absolute()) if folder else ""
                self.loratui.draft = self.loratui.draft.with_values({"dataset.path": path})
        except SchemaError as error:
            self.loratui.tell(str(error), "error")

    # Reading

    def _read(self) -> None:
        typed = next(iter(self.query(Field))).text
        if typed == self._reading and self.prepared is not None and self.prepared.given == typed:
            return
        self._reading = typed
        if path_from_text(typed) is None:
            self._show_unread(plain(next_step_for_folder(""), "$muted"), None)
            return
        self.line("dataset-text").wait("reading the folder")
        self.read_folder(typed, kept_choices(self.loratui.draft.typed))

    def on_folder_read(self, message: FolderRead) -> None:
        """Shows what the folder holds, or what to do about it."""
        message.stop()
        if message.typed != self._reading:
            return
        if message.prepared is None:
            folder = path_from_text(message.typed)
            elsewhere = "" if folder is not None and is_folder(folder) else next_step_for_folder(message.typed)
            remedy = " ".join(part for part in (message.remedy, elsewhere) if part)
            self._show_unread(Content("\n").join([plain(f"✖ {message.problem}", "$error"), plain(remedy)]), folder)
            return
        self.stop_measuring()
        self.judgement = None
        self._only = frozenset()
        first = next(iter(self.query(Field)))
        if message.prepared.given != message.typed:
            first.set(message.prepared.given)
            self._reading = message.prepared.given
        self.loratui.draft = self.loratui.draft.with_preparation(message.prepared)
        self.keep()
        self._show_set()
        self.judge_soon()

    def _show_unread(self, words: Content, folder: Path | None) -> None:
        self.line("dataset-text").say("")
        self.query_one(NoImages).explain(words, folder, self.loratui.home)
        self.add_class("-unread")
        self.refresh_bindings()

    def on_no_images_chosen(self, message: NoImages.Chosen) -> None:
        """A folder used before is taken."""
        message.stop()
        field = next(iter(self.query(Field)))
        field.set(message.folder)
        field.enter()
        self._read()

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The line that brings photos here."""
        return (("The line", self.query_one(NoImages).upload),) if self.has_class("-unread") else ()

    # What the set holds

    def prepared_changed(self) -> None:
        """The list, the tiles and the sums follow."""
        if self.is_mounted and self.prepared is not None and not self.has_class("-unread"):
            self._show_set()

    def progress_changed(self) -> None:
        """How far the deep check is: one line, since it changes often."""
        prepared = self.prepared
        if self.is_mounted and prepared is not None and not self.has_class("-unread"):
            self.line("dataset-text").say(topics.summary(prepared, self.judgement, self._deep_words()))

    def _show_set(self) -> None:
        prepared = self.prepared
        assert prepared is not None
        self._rule = BucketRule.of(self.loratui.draft.named().settings.dataset)
        self.remove_class("-unread")
        self.line("dataset-text").say(topics.summary(prepared, self.judgement, self._deep_words()))
        self.query_one(TopicList).show(self._topics(prepared))
        self._show_topic()
        self._show_tiles(prepared)
        trigger = next(field for field in self.query(Field) if field.key == "dataset.trigger")
        guess = self.judgement.guessed_trigger if self.judgement else ""
        trigger.offer(guess)
        trigger.mark(f"◆ {clean(guess, 12)} is in all captions; → takes it" if guess and not trigger.text else "")
        self.refresh_bindings()
        self.tell_parts()

    def _topics(self, prepared: DatasetEdits) -> Iterator[Topic]:
        from loratui.tui.dataset.judging import Judgement

        settings = self.loratui.draft.named().settings
        return topics.topics(prepared, self.judgement or Judgement(), settings, self.measuring is not None)

    def _deep_words(self) -> str:
        if self.measuring is not None:
            done, total = self.measuring
            return f"deep check {text.number(done)} of {text.number(total)}"
        return ""

    def _show_tiles(self, prepared: DatasetEdits) -> None:
        grid = self.query_one(ImageGrid)
        shown = (prepared.scan, self._only)
        if self._tiles_of is not None and self._tiles_of[0] is shown[0] and self._tiles_of[1] == shown[1]:
            grid.relabel()
            return
        self._tiles_of = shown
        images = [image for image in prepared.scan.images if not self._only or image.relative in self._only]
        others = [] if self._only else list(prepared.unusable)
        grid.show([*(Item(i.relative, i.path) for i in images), *(Item(o.relative, o.path) for o in others)])

    def _label(self, name: str) -> Label:
        prepared = self.prepared
        if prepared is None:
            return Label(" ", "", "")
        return tile_label(name, prepared, self.judgement.worst if self.judgement else {}, self._rule)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter on a finding shows its images."""
        event.stop()
        self.action_show_files()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Explains the topic."""
        event.stop()
        self._show_topic()

    def _show_topic(self) -> None:
        topic = self.query_one(TopicList).topic
        self.line("topic-text").say(topic.detail if topic else "")
        self.query_one("#topic-scroll").scroll_home(animate=False)
        self.refresh_bindings()

    def say(self, words: str) -> None:
        """Below the form, where nothing is covered; a notice while another screen is in front."""
        if self.is_current:
            self.line("dataset-help").say(plain(words, "$accent"))
        else:
            super().say(words)

    # Keys

    def available(self, action: str) -> bool:
        """Which keys do something here and now."""
        prepared, focused = self.prepared, self.focused
        read = prepared is not None and not self.has_class("-unread")
        in_form = focused is None or any(isinstance(node, Field) for node in focused.ancestors)
        topic = self.query_one(TopicList).topic if self.is_mounted and isinstance(focused, TopicList) else None
        in_grid = isinstance(focused, ImageGrid) and focused.item is not None
        match action:
            case "next":
                return in_form
            case "copy":
                return self.has_class("-unread")
            case "read_again":
                return self.is_mounted and bool(next(iter(self.query(Field))).text.strip())
            case "open_image" | "leave_out":
                return read and in_grid
            case "show_files":
                return read and topic is not None and bool(topic.files)
            case "mend":
                return read and topic is not None and topic.mend is not None
            case "deep":
                return read and self.measuring is None and not self.all_measured
            case "faces":
                return read and self.measuring is None and not self.faces_known
            case "stop_deep":
                return read and self.measuring is not None
            case "captions":
                return read
            case "go_on":
                return read and not in_form
            case "changes":
                return read and bool(prepared and (prepared.needs_copy or prepared.unsaved))
            case "save_captions":
                return read and bool(prepared and prepared.unsaved)
            case "undo":
                return read and bool(prepared and prepared.past)
            case "redo":
                return read and bool(prepared and prepared.future)
        return True

    def action_next(self) -> None:
        """Down through the fields; from the last one on to the plan, if the folder can be used."""
        fields = list(self.query(Field))
        at = next((n for n, field in enumerate(fields) if field.entered), len(fields) - 1)
        if at < len(fields) - 1:
            fields[at + 1].enter()
            return
        fields[at].when_typed(self.action_go_on)

    def action_read_again(self) -> None:
        """Reads the folder as it is now; what was chosen for its images stays."""
        self._reading = ""
        self._read()

    def action_go_on(self) -> None:
        """To the next step; what was chosen is carried out first, after it was shown."""
        self.keep()
        if self.prepared is None or self.has_class("-unread"):
            next(iter(self.query(Field))).enter()
            self._reading = ""
            self._read()
            return
        self.carry_out_and(self._leave)

    def _leave(self) -> None:
        prepared = self.prepared
        assert prepared is not None
        remember_folder(self.loratui.home, prepared.given)
        self.loratui.open("plan")

    def action_back(self) -> None:
        """First out of the images of one finding, then to the step before."""
        if self._only:
            self._only = frozenset()
            self.prepared_changed()
            self.query_one(TopicList).focus()
            return
        if self.prepared is not None and self.prepared.unsaved:
            self.loratui.tell(
                f"{text.count(self.prepared.unsaved, 'caption')} not saved yet; they wait here for you.", "warning"
            )
        super().action_back()

    def action_switch_pane(self) -> None:
        """Form, findings, images, and round again."""
        topics, grid = self.query_one(TopicList), self.query_one(ImageGrid)
        first = next(iter(self.query(Field)))
        if self.has_class("-unread"):
            in_form = self.focused is None or any(isinstance(node, Field) for node in self.focused.ancestors)
            (self.query_one(NoImages) if in_form else first).enter()
        elif isinstance(self.focused, TopicList):
            self.add_class("-images")
            self.call_after_refresh(grid.focus)
        elif isinstance(self.focused, ImageGrid):
            self.remove_class("-images")
            first.enter()
        else:
            self.remove_class("-images")
            topics.focus()

    def action_show_files(self) -> None:
        """Only the images of this finding, in the grid."""
        topic = self.query_one(TopicList).topic
        names = {item.relative for item in self.prepared.scan.images} if self.prepared else set()
        if topic is None or not names & set(topic.files):
            return
        self._only = frozenset(topic.files)
        self.prepared_changed()
        self.add_class("-images")
        self.call_after_refresh(self.query_one(ImageGrid).focus)
        self.say("Only the images of this finding; esc shows all again.")

    def action_mend(self) -> None:
        """Chooses the remedy of the finding."""
        topic = self.query_one(TopicList).topic
        if topic is None or topic.mend is None:
            return
        if "dataset.trigger" in topic.mend.settings:
            field = next(field for field in self.query(Field) if field.key == "dataset.trigger")
            field.set(str(topic.mend.settings["dataset.trigger"]))
        self.take(topic.mend)

    def action_leave_out(self) -> None:
        """Leaves the image under the cursor out, or takes it in again."""
        item = self.query_one(ImageGrid).item
        if item is not None:
            self.toggle_left_out(item.name)

    def action_open_image(self) -> None:
        """The image under the cursor, large."""
        grid = self.query_one(ImageGrid)
        if grid.item is not None:
            self.open_image(grid.item.name, grid.names, grid.go_to)

    def on_image_grid_opened(self, message: ImageGrid.Opened) -> None:
        """A double click opens too."""
        message.stop()
        self.action_open_image()


def is_folder(path: Path) -> bool:
    """Whether it is one; no for names that cannot be."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
