"""What captioners propose, image by image beside the caption that is there: taken, edited, put aside, asked for again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.worker import get_current_worker

from loratui.tui import text
from loratui.tui.dataset.captioning import Captioning, Order
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.dataset.part import DatasetPart
from loratui.tui.dataset.proposals import WHICH, By, Candidate, Which, all_lengths, candidates, is_open, names_of, to_take
from loratui.tui.screens.large_image import LargeImage
from loratui.tui.widgets.caption_editor import CaptionEditor
from loratui.tui.widgets.image_view import ImageView
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.captioning.proposals import Proposal
    from loratui.tui.dataset.edits import DatasetEdits


@dataclass
class AllTaken(Message):
    """What becomes of the captions if all proposals are taken."""

    edits: DatasetEdits
    after: DatasetEdits
    taken: Mapping[str, Proposal]
    left: int
    """Images without a proposal of use."""


class ProposalsScreen(DatasetPart, LargeImage):
    """The image at the left; its caption and the proposals for it at the right."""

    AUTO_FOCUS = ""
    CONTEXT = "dataset_proposals"
    PURPOSE = "captions by machine"
    DEFAULT_CSS = """
    ProposalsScreen #image-body { height: 1fr; }
    ProposalsScreen #image { width: 1fr; height: 1fr; }
    ProposalsScreen #proposals-side { width: 48; padding: 0 1; border-left: solid $border-blurred; }
    ProposalsScreen.-very-wide #proposals-side { width: 72; }
    ProposalsScreen #proposals-now { height: auto; max-height: 6; margin-bottom: 1; }
    ProposalsScreen #proposals-scroll { height: 1fr; scrollbar-size-vertical: 1; }
    ProposalsScreen CaptionEditor { display: none; height: 8; }
    ProposalsScreen.-editing CaptionEditor { display: block; }
    ProposalsScreen #proposals-went { height: auto; color: $accent; }
    """

    def __init__(self, model: DatasetModel, names: Sequence[str], name: str) -> None:
        super().__init__(model)
        self._among = tuple(names)
        """The images that were shown as tiles: of a finding, of some tags, or all."""
        self._which: Which = WHICH[0]
        self._names: list[str] = []
        self._came = 0
        """How often proposals had come when the filter was made."""
        self._all_taken: tuple[object, object] | None = None
        """The choices and proposals of which nothing is to be looked at."""
        self.name_shown = name
        """Relative path of the image that is shown."""
        self._chosen: tuple[object, str] | None = None
        """The candidate that was chosen, wherever it is among the others by now; None for the first."""
        self._unwatch_captioner: Callable[[], None] | None = None

    def body(self) -> ComposeResult:
        """Image, caption, proposals, editor."""
        with Horizontal(id="image-body"):
            yield ImageView(id="image")
            with Vertical(id="proposals-side"):
                yield Line(id="proposals-now")
                with VerticalScroll(id="proposals-scroll", can_focus=False):
                    yield Line(id="proposals-list")
                yield CaptionEditor(id="caption")
                yield Line(id="proposals-went")

    def on_mount(self) -> None:
        self._unwatch_captioner = self._captioning.watch(self._captioner_went)
        self.call_after_refresh(self._captioning.read, self.edits)
        self._choose_names()
        self._show()

    def on_unmount(self) -> None:
        if self._unwatch_captioner is not None:
            self._unwatch_captioner()

    # What is shown

    @property
    def _captioning(self) -> Captioning:
        return self.model.captioning

    @property
    def image_path(self) -> Path | None:
        return self.edits.names[self.name_shown].path

    @property
    def image_title(self) -> str:
        return self.name_shown

    @property
    def _candidates(self) -> list[Candidate]:
        return candidates(self._captioning.by.get(self.name_shown, ()))

    @property
    def _candidate(self) -> Candidate | None:
        found = self._candidates
        return found[self._place(found)] if found else None

    def _place(self, found: Sequence[Candidate]) -> int:
        return next((at for at, one in enumerate(found) if (one.proposal.key, one.text) == self._chosen), 0)

    def edits_changed(self) -> None:
        """Undo, or a save, after which an image may be gone."""
        here = self.edits.names
        if not here.keys() >= set(self._among):
            self._among = tuple(name for name in self._among if name in here)
            self._choose_names()
        if self.name_shown in here:
            self._show()
        else:
            self.dismiss()

    def _captioner_went(self) -> None:
        """What came since then joins; what was looked at stays, so that nobody loses their place."""
        if self._came != self._captioning.came:
            self._came = self._captioning.came
            known = {*self._names, *self._named(self._which)}
            self._names = [name for name in self._among if name in known]
        self._follow()

    def _named(self, which: Which) -> list[str]:
        return names_of(which, self._among, self.edits.caption, self._captioning.by)

    def _choose_names(self) -> None:
        self._names = self._named(self._which)
        if self._names and self.name_shown not in self._names:
            self._go(self._names[0])

    def _go(self, name: str) -> None:
        self.name_shown, self._chosen = name, None

    def _show(self) -> None:
        edits, name = self.edits, self.name_shown
        place = f"{self._names.index(name) + 1} of " if name in self._names else ""
        self.line("heading-right").say(plain(f"{self._which}: {place}{len(self._names)}  {name}"))
        self.query_one(ImageView).show(edits.names[name].path)
        caption, unsaved = edits.caption(name), name in edits.chosen.captions
        state = ("not saved yet", "$warning") if unsaved else ("as in its file" if caption else "none", "$muted")
        title = Content.assemble(plain("Caption", "bold"), plain(f"  {state[0]}", state[1]))
        self.line("proposals-now").say(Content("\n").join([title, *map(plain, caption.split("\n") if caption else ())]))
        self.line("proposals-list").say(Content("\n").join(list(self._rows(caption))))
        words = self._captioning.words
        self.line("proposals-went").say(plain(f"{words} · t stops it" if words else "", "$accent"))

    def _rows(self, caption: str) -> Iterator[Content]:
        chosen = self._candidate
        if chosen is None:
            yield plain("No captioner has proposed anything for this image.", "$muted")
            yield Content.assemble(
                plain("g", "bold $accent"), plain("  asks one; its captions are proposals until you accept them")
            )
        for one in self._candidates:
            taken, aside = caption == one.text, one.proposal.state == "dismissed"
            sign, tone = ("✔", "$success") if taken else ("–", "$muted") if aside else ("?", "$accent")
            state = "accepted" if taken else "dismissed" if aside else "proposed"
            here = "▸" if one == chosen else " "
            yield Content.assemble(
                plain(f"{here} ", "bold $accent"), plain(f"{sign} {state}", tone), plain(f"  {one.title}", "$muted")
            )
            tone = "$muted strike" if aside else "" if one.text else "$muted"
            yield from (plain(line, tone) for line in (one.text or "nothing").split("\n"))
            yield from (plain(f"! {flag.text}", "$warning") for flag in (() if one.variant else one.proposal.flags))

    # Keys

    @property
    def writing(self) -> bool:
        """Whether letters go into the caption."""
        return isinstance(self.focused, CaptionEditor)

    @property
    def not_writing(self) -> bool:
        """Whether letters are keys."""
        return not self.writing

    @property
    def candidate_here(self) -> bool:
        """Whether the image has a proposal with words."""
        return self.not_writing and self._candidate is not None and bool(self._candidate.text)

    @property
    def several_candidates(self) -> bool:
        """Whether there is a choice."""
        return self.not_writing and len(self._candidates) > 1

    @property
    def can_take_all(self) -> bool:
        """Whether images of the filter have proposals to be looked at."""
        now = (self.edits.chosen, self._captioning.by)
        if not self.not_writing or (
            self._all_taken and all(one is other for one, other in zip(self._all_taken, now, strict=True))
        ):
            return False
        caption, by = self.edits.caption, self._captioning.by
        found = any(is_open(caption(name), by[name]) for name in self._among if name in by)
        self._all_taken = None if found else now
        return found

    @property
    def can_ask(self) -> bool:
        """Whether a captioner may be asked."""
        return self.not_writing and not self._captioning.works and not self.only_looks

    @property
    def captioner_works(self) -> bool:
        """Whether a captioner is at work."""
        return self._captioning.works

    def action_step(self, by: int) -> None:
        """To another image of the filter; what was looked at has left it by then."""
        if self.writing:
            self.action_end_editing()
        at = self._names.index(self.name_shown) if self.name_shown in self._names else -1
        if self._names:
            self._go(self._names[(at + by) % len(self._names)])
        self.query_one("#proposals-scroll").scroll_home(animate=False)
        self._show()
        self.refresh_bindings()

    def action_candidate(self, by: int) -> None:
        """To another proposal for this image."""
        found = self._candidates
        one = found[(self._place(found) + by) % len(found)]
        self._chosen = one.proposal.key, one.text
        self._show()

    def action_which(self) -> None:
        """Turns from what is to be looked at to what is flagged, and to all."""
        self._which = WHICH[(WHICH.index(self._which) + 1) % len(WHICH)]
        self._choose_names()
        self._show()

    def action_accept(self) -> None:
        """Takes the proposal as the caption, and goes on to the next image."""
        one = self._candidate
        if one is not None and one.text:
            name = self.name_shown
            edits = self.edits.with_apart({name}) if one.all_lengths else self.edits
            self.model.choose(edits.with_captions(f"the caption of {name}", {name: one.text}))
            self._captioning.become({name: dataclasses.replace(one.proposal, state="accepted")})
            self.action_step(1)

    def action_accept_all(self) -> None:
        """Takes a proposal for every image of the filter that has one of use."""
        captioner = self._candidate.proposal.captioner if self._candidate else ""
        which: Which = "flagged" if self._which == "flagged" else "to look at"
        self._work_out_all(which, captioner, self._captioning.by, self.edits)

    @work(thread=True, exclusive=True, group="accept all", description="take all proposals")
    def _work_out_all(self, which: Which, captioner: str, by: By, edits: DatasetEdits) -> None:
        names = names_of(which, self._among, edits.caption, by)
        found = to_take(names, by, captioner)
        texts = {name: all_lengths(one) for name, one in found.items()}
        apart = {name for name, one in found.items() if one.variants}
        after = (edits.with_apart(apart) if apart else edits).with_captions(
            f"{text.count(len(found), 'caption')} by machine", texts
        )
        assert after.edited is not None  # worked out here rather than where it is shown
        taken = {name: dataclasses.replace(one, state="accepted") for name, one in found.items()}
        if not get_current_worker().is_cancelled:
            self.post_message(AllTaken(edits, after, taken, len(names) - len(found)))

    def on_all_taken(self, message: AllTaken) -> None:
        """Takes them, unless something else was changed by then."""
        if message.edits.chosen is not self.edits.chosen or message.edits.scan is not self.edits.scan:
            self.loratui.tell("Something else was changed; nothing was taken. Press the key again.", "warning")
            return
        after = message.after
        if message.edits is not self.edits:  # what the deep check found since then stays
            after = dataclasses.replace(after, facts=self.edits.facts, damaged=self.edits.damaged)
        self.model.choose(after)
        self._captioning.become(message.taken)
        count = text.count(len(message.taken), "caption")
        more = f" {text.count(message.left, 'image')} without one of use." if message.left else ""
        self.loratui.tell(f"{count} taken here.{more} s saves them to their files; u undoes it.")

    def action_put_aside(self) -> None:
        """Puts the proposal aside, or takes it up again."""
        one = self._candidate
        if one is None:
            return
        aside = one.proposal.state != "dismissed"
        self._captioning.become(
            {self.name_shown: dataclasses.replace(one.proposal, state="dismissed" if aside else "proposed")}
        )

    def action_edit(self) -> None:
        """Lets the person change the proposal; what comes of it is the caption."""
        one = self._candidate
        if one is not None:
            self.add_class("-editing")
            editor = self.query_one(CaptionEditor)
            editor.set(one.text)
            editor.focus()

    def action_end_editing(self) -> None:
        """Takes the changed proposal as the caption; an unchanged one stays a proposal."""
        one, typed = self._candidate, self.query_one(CaptionEditor).text
        self.remove_class("-editing")
        self.set_focus(None)
        if one is not None and typed.strip() and typed != one.text:
            edits = self.edits.with_apart({self.name_shown}) if one.all_lengths else self.edits
            edits = edits.with_captions(f"the caption of {self.name_shown}", {self.name_shown: typed})
            own = one.reworded(edits.caption(self.name_shown))
            self._chosen = own.proposal.key, own.text
            self.model.choose(edits)
            self._captioning.become({self.name_shown: own.proposal})

    def action_ask(self) -> None:
        """Asks a captioner for every image that was shown as a tile."""
        self._order(self._among, again=False)

    def action_ask_again(self) -> None:
        """Asks for this image again, as with a hint."""
        self._order([self.name_shown], again=True)

    def _order(self, names: Sequence[str], *, again: bool) -> None:
        from loratui.tui.dataset.captioner_screen import CaptionerScreen

        def answered(order: Order | None) -> None:
            if order is not None:
                self.model.ask_captioner(order)

        self.app.push_screen(CaptionerScreen(names, self._captioning.last, again=again), answered)

    def action_stop_captioner(self) -> None:
        self._captioning.stop()
        self.loratui.tell("The captioner stops; what it proposed stays.")
