"""The dataset step without its screens: the folder, what was chosen for it, what the checks and the deep check found."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.worker import get_current_worker

from loratui.engine.dataset.remedies import Remedy
from loratui.tui.dataset import jobs
from loratui.tui.dataset.captioning import Captioning, Order
from loratui.tui.dataset.masking import Masking
from loratui.tui.services import services_of
from loratui.tui.wizard.draft import CHOICES

if TYPE_CHECKING:
    from pathlib import Path

    from textual.dom import DOMNode
    from textual.message import Message

    from loratui.presets.schema import Settings
    from loratui.tui.dataset.edits import DatasetEdits
    from loratui.tui.dataset.judging import Judgement
    from loratui.tui.dataset.quick_fixes import QuickFix

_TURNS_S = 0.0005
"""After this time a thread that counts gives way to the screen; a key needs several turns until it is seen."""
_PAUSE_S = 0.15
"""Choices that follow each other faster than this are checked together."""


class DatasetModel:
    """What the dataset step knows, and what can be done there. The choices themselves lie in the draft.

    Threads are workers of `node`, the screen of the step: it gets the messages of `jobs`, and hands each to the method of the same name.
    """

    def __init__(self, node: DOMNode) -> None:
        self._node = node
        self.judgement: Judgement | None = None
        """What the checks said last; None until they have."""
        self.measuring: tuple[int, int] | None = None
        """Images measured, and all that are to be; None while nothing is measured."""
        self.marked: frozenset[str] = frozenset()
        """Images that the person marked: what is done to captions is done to theirs alone."""
        self.unread = True
        """Whether the folder that is typed could not be read."""
        self.copying = False
        """Whether a copy is being made: nothing may be changed meanwhile."""
        self._watchers: list[Callable[[], None]] = []
        self._judge_runs = self._judge_again = False
        self._judged_at = self._judge_took_s = 0.0
        self._stop_measuring = threading.Event()
        self._turns_before_s = sys.getswitchinterval()
        self._after_saving: Callable[[], None] | None = None
        self.captioning = Captioning(lambda: self._home, self._start)
        """Captioners, and what they propose."""
        self.masking = Masking(lambda: self._home, self._start)

    def begin(self) -> None:
        """Lets the screen have its turn more often than Python's threads do by themselves."""
        self._turns_before_s = sys.getswitchinterval()
        sys.setswitchinterval(_TURNS_S)

    def end(self) -> None:
        """The deep check ends with the step: its figures stay in the draft, and it can go on later."""
        sys.setswitchinterval(self._turns_before_s)
        self.stop_measuring()
        if self.masking.words:
            self.masking.stop()
            services_of(self._node).tell("No more masks are made; those that were made stay.")
        if self.captioning.works:
            self.captioning.stop()
            services_of(self._node).tell("The captioner stops; what it proposed stays.")

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Has `changed` called after each change; calling what is returned ends that."""
        self._watchers.append(changed)
        return partial(self._watchers.remove, changed)

    def changed(self) -> None:
        """Choices, findings or measures are others: the screens follow."""
        for changed in list(self._watchers):
            changed()

    # What is known

    @property
    def edits(self) -> DatasetEdits | None:
        """The folder and what was chosen for it."""
        return services_of(self._node).draft.edits

    @property
    def settings(self) -> Settings:
        """Those of the plan, with trigger and class word of the folder."""
        return services_of(self._node).draft.named().settings

    @property
    def ready(self) -> bool:
        """Whether the folder that is typed was read."""
        return self.edits is not None and not self.unread

    @property
    def all_measured(self) -> bool:
        """Whether the deep check has nothing left to do."""
        edits = self.edits
        return edits is not None and len(edits.facts) + len(edits.damaged) >= len(edits.scan.images)

    @property
    def faces_known(self) -> bool:
        """Whether faces were looked for in all images."""
        edits = self.edits
        return edits is not None and self.all_measured and all(facts.faces is not None for facts in edits.facts.values())

    @property
    def can_measure(self) -> bool:
        """Whether there is something left for the deep check."""
        return self.ready and self.measuring is None and not self.all_measured

    @property
    def can_stop_measuring(self) -> bool:
        """Whether the deep check is under way."""
        return self.ready and self.measuring is not None

    @property
    def can_make_masks(self) -> bool:
        """Whether masks could be made."""
        return self.ready and not self.masking.words

    @property
    def makes_masks(self) -> bool:
        """Whether masks are being made."""
        return bool(self.masking.words)

    @property
    def can_look_for_faces(self) -> bool:
        """Whether there are images in which nobody has looked for faces."""
        return self.ready and self.measuring is None and not self.faces_known

    @property
    def has_changes(self) -> bool:
        """Whether something is to be done to images or captions."""
        edits = self.edits
        return self.ready and edits is not None and (edits.needs_copy or bool(edits.unsaved))

    @property
    def can_save(self) -> bool:
        return self._may_change and self.edits is not None and bool(self.edits.unsaved)

    @property
    def can_undo(self) -> bool:
        return self._may_change and self.edits is not None and bool(self.edits.past)

    @property
    def can_redo(self) -> bool:
        return self._may_change and self.edits is not None and bool(self.edits.future)

    @property
    def _may_change(self) -> bool:
        return self.ready and not self.copying

    # Choosing: each is one step of undo

    def choose(self, edits: DatasetEdits) -> None:
        """Takes other choices in and has them checked."""
        self._keep(edits)
        self.changed()
        self.judge_soon()

    def take(self, fix: QuickFix) -> str:
        """Chooses what fixes a finding, and returns what to tell."""
        edits, services = self.edits, services_of(self._node)
        assert edits is not None
        if fix.settings:
            services.draft = services.draft.with_values(fix.settings)
        if fix.remedies:
            edits = edits.with_remedies(fix.label, fix.remedies)
        if fix.captions:
            edits = edits.with_captions(fix.label, fix.captions)
        self.choose(edits)
        later = " Not written yet: s saves the captions." if fix.captions else ""
        later = later or (" Done on a copy when you go on; u undoes it." if fix.remedies else "")
        return f"Chosen: {fix.label}.{later}"

    def toggle_left_out(self, name: str) -> None:
        """Leaves an image out, or takes it in again."""
        edits = self.edits
        if edits is None or name not in edits.names:
            return
        if edits.has("leave_out", name):
            self.choose(edits.without_remedy(f"take {name} in again", "leave_out", name))
        else:
            self.choose(edits.with_remedies(f"leave {name} out", [Remedy("leave_out", name)]))

    def mark(self, name: str) -> None:
        """Marks an image, or takes its mark back."""
        self.marked ^= {name}
        self.changed()

    def undo(self) -> str:
        """Takes the last choice back, and returns what to tell; nothing where there is none."""
        return self._step("Taken back", *self.edits.undone()) if self.edits is not None else ""

    def redo(self) -> str:
        return self._step("Done again", *self.edits.redone()) if self.edits is not None else ""

    def _step(self, words: str, edits: DatasetEdits, what: str) -> str:
        if not what:
            return ""
        self.choose(edits)
        return f"{words}: {what}."

    def point_to(self, edits: DatasetEdits) -> None:
        """The draft trains on this folder, or on the copy of it."""
        services, trained = services_of(self._node), edits.trained
        services.draft = services.draft.with_values({"dataset.path": str(trained.root)}).with_scan(trained)

    def _keep(self, edits: DatasetEdits) -> None:
        services = services_of(self._node)
        services.draft = services.draft.with_edits(edits)

    # Reading

    def read(self, typed: str) -> None:
        """Reads a folder or unpacks a zip; a draft from disk still has the choices of an earlier time."""
        kept = services_of(self._node).draft.typed.get(CHOICES, "")
        self._start("scan", "read the folder", partial(jobs.read_folder, typed, kept, self._home))

    def folder_read(self, edits: DatasetEdits) -> None:
        """Another folder, or the same anew."""
        self.stop_measuring()
        self.judgement, self.unread, self.marked = None, False, frozenset()
        self.captioning.folder(edits.root)
        self._keep(edits)

    # Checking

    def judge_soon(self) -> None:
        """Has the set checked, once however often it is asked for in a moment."""
        self._node.set_timer(_PAUSE_S, self._judge_now)

    def _judge_now(self) -> None:
        edits, recipe = self.edits, services_of(self._node).draft.recipe
        if edits is None or recipe is None:
            return
        if self._judge_runs:
            self._judge_again = True
            return
        self._judge_runs, self._judge_again = True, False
        self._judged_at = time.monotonic()
        self._start("judge", "check the images", partial(jobs.judge, edits, recipe, self._home))

    def judged(self, message: jobs.Judged) -> None:
        """Takes the findings in, and checks again if something was chosen meanwhile."""
        self.judgement = message.judgement
        self._judge_runs, self._judge_took_s = False, message.seconds
        edits = self.edits
        if edits is not None and not message.judgement.damaged.keys() <= edits.damaged.keys():
            known = {name: why for name, why in message.judgement.damaged.items() if name in edits.names}
            self._keep(edits.with_measured({}, known))
        if self._judge_again:
            self._judge_now()
        self.changed()

    # Measuring

    def measure(self, faces: bool = False) -> None:
        """Begins or goes on with the deep check of what was not measured yet; with `faces` also of what was measured
        without looking for them."""
        edits = self.edits
        if edits is None or self.measuring is not None:
            return
        waiting = [image for image in edits.scan.images if _is_to_be_measured(image.relative, edits, faces)]
        stop = self._stop_measuring = threading.Event()
        total = len(edits.scan.images)
        self.measuring = (total - len(waiting), total)
        resolution = services_of(self._node).draft.value("dataset.resolution")

        def measure() -> None:
            cancelled = get_current_worker()
            jobs.measure(
                edits, waiting, resolution, self._home, self._node.post_message, lambda: stop.is_set() or cancelled.is_cancelled
            )

        self._start("measure", "measure the images", measure)
        self.changed()

    def stop_measuring(self) -> None:
        self._stop_measuring.set()

    def measured(self, message: jobs.Measured) -> None:
        """Takes the measures in; the checks follow, but take no more than a fifth of the time."""
        if message.ended:
            self.measuring = None
        elif self.measuring is not None:
            self.measuring = (message.done, message.total)
        edits, services = self.edits, services_of(self._node)
        if edits is None or edits.root != message.root:
            return
        services.draft = dataclasses.replace(services.draft, edits=edits.with_measured(message.facts, message.damaged))
        if message.damaged or message.ended:
            self.changed()
        if message.ended or time.monotonic() - self._judged_at > max(2.0, 5 * self._judge_took_s):
            self.judge_soon()

    def fetch_detector(self) -> None:
        """Brings the face detector here unless it is."""
        self._start("detector", "fetch the face detector", partial(jobs.fetch_detector, self._home))

    def make_masks(self, kind: str) -> None:
        """Makes masks of a kind. The person has agreed to what is downloaded."""
        if self.edits is not None:
            self.masking.begin(self.edits.scan, kind, self._node.post_message)
            self.changed()

    def masks_ended(self) -> None:
        """No more are made."""
        self.masking.words = ""
        self.changed()

    # Captioners

    def ask_captioner(self, order: Order) -> None:
        """Asks a captioner for images. The person has agreed to what it downloads or sends."""
        if self.edits is not None:
            self.captioning.begin(order, self.edits, self.settings, self._node.post_message)

    # Saving

    def save_captions(self, then: Callable[[], None] | None = None) -> None:
        """Writes the edited captions; `then` is called once they are on the disk."""
        edits = self.edits
        if edits is not None and edits.unsaved:
            self._after_saving = then
            self._start("save", "save captions", partial(jobs.save_captions, edits, self._home))

    def captions_saved(self, message: jobs.CaptionsSaved) -> None:
        """Takes in what follows, and goes on with what waited for it."""
        then, self._after_saving = self._after_saving, None
        if message.taken_in is not None and self.edits is not None:
            self.choose(message.taken_in(self.edits))
            if then is not None:
                then()

    # Threads

    @property
    def _home(self) -> Path:
        return services_of(self._node).home

    def _start(self, group: str, description: str, job: Callable[[], Message | None]) -> None:
        def run() -> None:
            message = job()
            if message is not None and not get_current_worker().is_cancelled:
                self._node.post_message(message)

        self._node.run_worker(run, group=group, description=description, exclusive=group != "judge", thread=True)


def _is_to_be_measured(name: str, edits: DatasetEdits, faces: bool) -> bool:
    facts = edits.facts.get(name)
    return name not in edits.damaged and (facts is None or (faces and facts.faces is None))
