"""The dataset step: the folder and the words for the subject, its findings with their remedies, and its images as tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal

from loratui.presets.schema import SchemaError
from loratui.tui import text
from loratui.tui.dataset import jobs, topics
from loratui.tui.dataset.captioning import CaptionerEnded, CaptionerWent, NotKept, ProposalsRead
from loratui.tui.dataset.findings_pane import FindingsPane
from loratui.tui.dataset.form import DatasetForm
from loratui.tui.dataset.masking import MasksEnded, MasksGo, MasksScreen
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.dataset.no_images import NoImages
from loratui.tui.dataset.recent import remember_folder
from loratui.tui.dataset.tiles import DatasetTiles
from loratui.tui.dataset.topic_list import TopicList
from loratui.tui.dataset.topics import Topic
from loratui.tui.paths import path_from_text
from loratui.tui.terminal import clean
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line
from loratui.tui.wizard.steps import StepScreen


class DatasetScreen(StepScreen):
    """Form above; findings at the left and images at the right, or one of both where there is little room."""

    CONTEXT = "dataset"
    DEFAULT_CSS = """
    DatasetScreen #dataset-text { height: auto; padding: 0 1; }
    DatasetScreen #dataset-body { height: 1fr; border-top: solid $border-blurred; }
    DatasetScreen.-very-wide FindingsPane { width: 66; }
    DatasetScreen.-narrow FindingsPane { width: 1fr; }
    DatasetScreen.-narrow DatasetTiles { display: none; border-left: none; }
    DatasetScreen.-narrow.-images DatasetTiles { display: block; }
    DatasetScreen.-narrow.-images FindingsPane { display: none; }
    DatasetScreen.-unread #dataset-body { display: none; }
    DatasetScreen NoImages { display: none; border-top: solid $border-blurred; }
    DatasetScreen.-unread NoImages { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = DatasetModel(self)
        self._reading = ""
        self._is_old = False
        """Whether the set has changed since it was shown."""

    # Layout

    def body(self) -> ComposeResult:
        """The form, how the set stands, and what it holds."""
        yield DatasetForm(self._kept_texts())
        yield Line(id="dataset-text")
        with Horizontal(id="dataset-body"):
            yield FindingsPane()
            yield DatasetTiles(self.model)
        yield NoImages()

    def _kept_texts(self) -> dict[str, str]:
        keys = ("dataset.path", "dataset.trigger", "dataset.class_word")
        values, edits = {key: str(self.loratui.draft.value(key)) for key in keys}, self.model.edits
        if edits is not None and values["dataset.path"] in (str(edits.root), str(edits.copy)):
            values["dataset.path"] = edits.given
        return values

    def on_mount(self) -> None:
        """Begins in the first empty field, and reads the folder if one is named."""
        self.model.begin()
        self.model.watch(self._edits_changed)
        fields, edits = self._form.fields, self.model.edits
        next((field for field in fields if not field.text), fields[0]).enter()
        if edits is not None and self.loratui.draft.scan is not None and edits.given == fields[0].text:
            self._reading = fields[0].text
            self.model.unread = False
            self._show_set()
            self.model.judge_soon()
        else:
            self._read()

    def on_unmount(self) -> None:
        self.model.end()

    @property
    def _tiles(self) -> DatasetTiles:
        return self.query_one(DatasetTiles)

    @property
    def _form(self) -> DatasetForm:
        return self.query_one(DatasetForm)

    # The form

    def on_field_entered(self) -> None:
        self.set_class(False, "-images")

    def on_dataset_form_typed(self) -> None:
        """Reads the folder; words are checked again."""
        # The folder and the words may both have been typed since the last pause.
        if self._form.folder.text != self._reading:
            self._read()
        else:
            self.keep()
            self.model.judge_soon()

    def keep(self) -> None:
        """The fields go into the draft; the folder as it is to be trained on."""
        values, edits = self._form.texts, self.model.edits
        typed = values.pop("dataset.path")
        try:
            self.loratui.draft = self.loratui.draft.with_values(values)
            if edits is not None and typed == edits.given.strip():
                self.model.point_to(edits)
            else:
                folder = path_from_text(typed)
                path = str(folder.absolute()) if folder else ""
                self.loratui.draft = self.loratui.draft.with_values({"dataset.path": path})
        except SchemaError as error:
            self.loratui.tell(str(error), "error")

    # Reading

    def _read(self) -> None:
        typed, edits = self._form.folder.text, self.model.edits
        if typed == self._reading and edits is not None and edits.given == typed:
            return
        self._reading = typed
        if path_from_text(typed) is None:
            self._show_unread(None)
            return
        self.line("dataset-text").wait("reading the folder")
        self.model.read(typed)

    def on_folder_read(self, message: jobs.FolderRead) -> None:
        """Shows what the folder holds, or what to do about it."""
        if message.typed != self._reading:
            return
        if message.edits is None:
            self._show_unread(message)
            return
        self._tiles.only()
        if message.edits.given != message.typed:
            self._form.folder.set(message.edits.given)
            self._reading = message.edits.given
        self.model.folder_read(message.edits)
        self.keep()
        self._show_set()
        self.model.judge_soon()

    def _show_unread(self, message: jobs.FolderRead | None) -> None:
        self.line("dataset-text").say("")
        self.query_one(NoImages).explain(message, self.loratui.home)
        self.model.unread = True
        self.add_class("-unread")
        self.refresh_bindings()

    def on_no_images_chosen(self, message: NoImages.Chosen) -> None:
        self._form.folder.set(message.folder)
        self._form.folder.enter()
        self._read()

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The line that brings photos here."""
        return (("The line", self.query_one(NoImages).upload),) if self.can_copy else ()

    # What the threads tell

    def on_judged(self, message: jobs.Judged) -> None:
        self.model.judged(message)

    def on_measured(self, message: jobs.Measured) -> None:
        """How far the deep check is: one line, since it changes often."""
        self.model.measured(message)
        if self.model.ready:
            self._say_summary()

    def on_detector_here(self, message: jobs.DetectorHere) -> None:
        """Looks for faces, or says why not."""
        if message.problem:
            self.loratui.tell(message.problem, "warning")
        else:
            self.model.measure(faces=True)

    def on_captions_saved(self, message: jobs.CaptionsSaved) -> None:
        self.loratui.tell(message.words, "information" if message.taken_in else "error")
        self.model.captions_saved(message)

    def on_proposals_read(self, message: ProposalsRead) -> None:
        if message.problem:
            self.loratui.tell(message.problem, "warning")
        self.model.captioning.taken(message)

    def on_not_kept(self, message: NotKept) -> None:
        self.loratui.tell(message.words, "warning")

    def on_captioner_went(self, message: CaptionerWent) -> None:
        """How far the captioner is: one line, since it changes often."""
        self.model.captioning.went(message)
        if self.model.ready:
            self._say_summary()

    def on_captioner_ended(self, message: CaptionerEnded) -> None:
        self.loratui.tell(message.words, "warning" if message.problem else "information")
        self.model.captioning.ended(message)
        if self.model.ready:
            self._say_summary()

    def on_masks_go(self, message: MasksGo) -> None:
        """How far the masks are: one line, since it changes often."""
        self.model.masking.words = message.words
        if self.model.ready:
            self._say_summary()

    def on_masks_ended(self, message: MasksEnded) -> None:
        """Reads the folder again, with its masks."""
        self.loratui.tell(message.words, "warning" if message.problem else "information")
        self.model.masks_ended()
        self.action_read_again()

    # What the set holds

    def _edits_changed(self) -> None:
        # Beneath another screen it waits until it is seen: with 10 000 images each key there would be felt.
        self._is_old = self.app.screen is not self
        if self.stands and self.model.ready and not self._is_old:
            self._show_set()

    def on_screen_resume(self) -> None:
        """Shows what was changed on the screens above."""
        if self._is_old:
            self._edits_changed()

    def _show_set(self) -> None:
        from loratui.tui.dataset.judging import Judgement

        edits, judgement, settings = self.model.edits, self.model.judgement, self.model.settings
        assert edits is not None
        self.remove_class("-unread")
        self._say_summary()
        measuring = self.model.measuring is not None
        self.query_one(FindingsPane).show(topics.topics(edits, judgement or Judgement(), settings, measuring))
        self._tiles.follow()
        trigger = self._form.trigger
        guess = judgement.guessed_trigger if judgement else ""
        trigger.offer(guess)
        trigger.mark(f"◆ {clean(guess, 12)} is in all captions; → takes it" if guess and not trigger.text else "")
        self.refresh_bindings()

    def _say_summary(self) -> None:
        edits, measuring = self.model.edits, self.model.measuring
        assert edits is not None
        deep = f"deep check {text.number(measuring[0])} of {text.number(measuring[1])}" if measuring else ""
        deep = self.model.captioning.words or self.model.masking.words or deep
        self.line("dataset-text").say(topics.summary(edits, self.model.judgement, deep))

    def on_option_list_option_selected(self) -> None:
        self.action_show_files()

    def on_option_list_option_highlighted(self) -> None:
        self.refresh_bindings()

    # When keys work

    @property
    def enter_goes_on(self) -> bool:
        """Whether the focus is in the form."""
        return self.focused is None or any(isinstance(node, Field) for node in self.focused.ancestors)

    @property
    def past_form(self) -> bool:
        """Whether letters are keys and the folder was read."""
        return self.model.ready and not self.enter_goes_on

    @property
    def can_copy(self) -> bool:
        """Whether the line that brings photos here is shown."""
        return self.model.unread

    @property
    def folder_typed(self) -> bool:
        """Whether there is something to read."""
        return bool(self._form.folder.text.strip())

    @property
    def image_here(self) -> bool:
        """Whether an image is under the cursor."""
        return self.model.ready and isinstance(self.focused, DatasetTiles) and self.focused.item is not None

    @property
    def finding_has_images(self) -> bool:
        """Whether the finding under the highlight names images."""
        return self._topic is not None and bool(self._topic.files)

    @property
    def fix_here(self) -> bool:
        """Whether one key fixes the finding under the highlight."""
        return self._topic is not None and self._topic.fix is not None

    @property
    def _topic(self) -> Topic | None:
        return self.focused.topic if self.model.ready and isinstance(self.focused, TopicList) else None

    # Keys

    def action_next(self) -> None:
        """Down through the fields; from the last one on to the plan, if the folder can be used."""
        fields = self._form.fields
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
        if self.model.ready:
            self._carry_out_and(self._leave)
            return
        self._form.folder.enter()
        self.action_read_again()

    def _carry_out_and(self, then: Callable[[], None]) -> None:
        """Asks about captions that are not saved, shows what will be done and does it on a copy; then `then`."""
        from loratui.tui.dataset.changes_screen import ChangesScreen
        from loratui.tui.dataset.unsaved_screen import UNSAVED, ask_about_unsaved

        def go_on() -> None:
            edits = self.model.edits
            assert edits is not None
            if edits.needs_copy and edits.copy is None:
                self.app.push_screen(ChangesScreen(self.model, then))
            else:
                self.model.point_to(edits)
                then()

        if not ask_about_unsaved(self.app, self.model, go_on, UNSAVED):
            go_on()

    def asks_before_leaving(self, leave: Callable[[], None]) -> bool:
        """Asks about captions that are not saved; those are kept with the draft."""
        from loratui.tui.dataset.unsaved_screen import UNSAVED_AT_THE_END, ask_about_unsaved

        return ask_about_unsaved(self.app, self.model, leave, UNSAVED_AT_THE_END, "leave")

    def _leave(self) -> None:
        edits = self.model.edits
        assert edits is not None
        remember_folder(self.loratui.home, edits.given)
        self.loratui.open("plan")

    def action_back(self) -> None:
        """First the marks go, then the choice of the images of one finding; then to the step before."""
        if self.model.marked:
            self.model.marked = frozenset()
            self._edits_changed()
            return
        if self._tiles.of_one_finding:
            self._tiles.only()
            self._edits_changed()
            self.query_one(TopicList).focus()
            return
        edits = self.model.edits
        if edits is not None and edits.unsaved:
            self.loratui.tell(f"{text.count(edits.unsaved, 'caption')} not saved yet; they wait here for you.", "warning")
        super().action_back()

    def action_switch_pane(self) -> None:
        """Form, findings, images, and round again."""
        topics, grid = self.query_one(TopicList), self._tiles
        if self.model.unread:
            (self.query_one(NoImages) if self.enter_goes_on else self._form.folder).enter()
        elif isinstance(self.focused, TopicList):
            self.add_class("-images")
            self.call_after_refresh(grid.focus)
        elif isinstance(self.focused, DatasetTiles):
            self.remove_class("-images")
            self._form.folder.enter()
        else:
            self.remove_class("-images")
            topics.focus()

    def action_show_files(self) -> None:
        """Only the images of this finding, in the grid."""
        topic, edits = self.query_one(TopicList).topic, self.model.edits
        if topic is None or edits is None or not edits.names.keys() & set(topic.files):
            return
        self._show_only(topic.files, "Only the images of this finding; esc shows all again.")

    def _show_only(self, names: Sequence[str], words: str) -> None:
        self._tiles.only(names)
        self._edits_changed()
        self.add_class("-images")
        self.call_after_refresh(self._tiles.focus)
        self._form.say(words)

    def action_mend(self) -> None:
        topic = self.query_one(TopicList).topic
        if topic is None or topic.fix is None:
            return
        if "dataset.trigger" in topic.fix.settings:
            self._form.trigger.set(str(topic.fix.settings["dataset.trigger"]))
        self._form.say(self.model.take(topic.fix))

    def action_leave_out(self) -> None:
        """Leaves the image under the cursor out, or takes it in again."""
        item = self._tiles.item
        if item is not None:
            self.model.toggle_left_out(item.name)

    def action_undo(self) -> None:
        self._form.say(self.model.undo())

    def action_redo(self) -> None:
        self._form.say(self.model.redo())

    def action_save_captions(self) -> None:
        self.model.save_captions()

    def action_deep(self) -> None:
        """Looks at every pixel, while one goes on working."""
        self.model.measure()

    def action_stop_deep(self) -> None:
        self.model.stop_measuring()
        self._form.say("The deep check stops; its findings stay. d continues it.")

    def action_faces(self) -> None:
        """Looks for faces too; the detector is brought here first."""
        self._form.say("Getting the face detector …")
        self.model.fetch_detector()

    def action_masks(self) -> None:
        """Makes masks of persons or faces, once the person has said which."""

        def answered(kind: str | None) -> None:
            if kind:
                self.model.make_masks(kind)

        self.app.push_screen(MasksScreen(), answered)

    def action_stop_masks(self) -> None:
        self.model.masking.stop()
        self._form.say("No more masks are made; a makes the rest.")

    # Screens above

    def action_mark(self) -> None:
        """Marks the image under the cursor, or takes its mark back; the cursor goes on."""
        if self._tiles.item is not None:
            self.model.mark(self._tiles.item.name)
            self._tiles.action_move(1, 0)

    def action_open_image(self) -> None:
        """The image under the cursor, large; the cursor follows it."""
        from loratui.tui.dataset.image_screen import DatasetImageScreen

        grid, edits = self._tiles, self.model.edits
        if grid.item is None or edits is None or grid.item.name not in edits.names:
            return
        screen = DatasetImageScreen(self.model, [name for name in grid.names if name in edits.names], grid.item.name)
        self.app.push_screen(screen, lambda _: grid.go_to(screen.name_shown))

    def on_image_grid_opened(self) -> None:
        self.action_open_image()

    def action_captions(self) -> None:
        from loratui.tui.dataset.captions_screen import CaptionsScreen

        self.app.push_screen(CaptionsScreen(self.model, self._tiles.meant, self._show_only))

    def action_proposals(self) -> None:
        """What captioners propose, of the images that are shown as tiles."""
        from loratui.tui.dataset.proposals_screen import ProposalsScreen

        edits, grid = self.model.edits, self._tiles
        assert edits is not None
        trained = {image.relative for image in edits.edited.training}
        names = [name for name in grid.meant if name in trained]
        if not names:
            self.loratui.tell("None of these images is trained on.")
            return
        first = grid.item.name if grid.item is not None and grid.item.name in names else names[0]
        screen = ProposalsScreen(self.model, names, first)
        self.app.push_screen(screen, lambda _: grid.go_to(screen.name_shown))

    def action_changes(self) -> None:
        from loratui.tui.dataset.changes_screen import ChangesScreen

        self.app.push_screen(ChangesScreen(self.model, None))
