"""Asks a captioner for the images of a folder, and keeps what it proposes: image by image, so that a kill loses at most what is being asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from loratui.engine.captioning import learnt, whole_set
from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.cleaned import Flag, bare
from loratui.engine.captioning.instructions import instruction
from loratui.engine.captioning.proposals import Proposal, Proposals, asked_as
from loratui.engine.captioning.protocol import Answer, Tag
from loratui.engine.captioning.rules import Proposed, caption_for
from loratui.engine.captioning.telling import Failed, Telling
from loratui.engine.captioning.wish import Length, Wish
from loratui.engine.cleaning import clean
from loratui.engine.dataset.contents import DatasetScan, ImageEntry
from loratui.engine.dataset.tokens import TokenCounter
from loratui.engine.errors import LoratuiError
from loratui.engine.jobs import Cancelled
from loratui.engine.untrusted import sha256_of
from loratui.engine.words import count

_MOST_FAILED = 5
"""Images in a row that have no answer, after which the rest is not asked for."""


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    done: int
    """Images that have a proposal or failed, those from before among them."""
    total: int
    said: str = ""
    """How the captioner runs, for people; empty until it is loaded."""


class _Todo(NamedTuple):
    content: str
    """SHA-256 of the image's file."""
    name: str
    path: Path


@dataclass
class Outcome:
    """What came of it."""

    proposals: dict[str, Proposal] = field(default_factory=dict)
    """By the image's path within the folder."""
    asked: int = 0
    """Images that were asked for now; the others were answered before."""
    failed: list[Failed] = field(default_factory=list)
    error: LoratuiError | None = None
    """Why it ended early; what was proposed until then is kept."""
    cancelled: bool = False

    def add(self, other: Outcome) -> None:
        """Takes in what came of other images."""
        self.proposals |= other.proposals
        self.asked += other.asked
        self.failed += other.failed
        self.error, self.cancelled = other.error, other.cancelled


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A captioner, what it is asked for, and where its proposals are kept."""

    captioner: Captioner
    wish: Wish
    kept: Proposals
    counter: TokenCounter
    folder: Path | None = None
    """The folder of the captioner's files."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For its `load`."""

    @property
    def name(self) -> str:
        """The captioner in its proposals."""
        return asked_as(self.captioner.id, self.options)

    def ask_folder(
        self,
        scan: DatasetScan,
        *,
        only: Collection[str] | None = None,
        again: bool = False,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """As `ask`, for the images of a folder without regularisation, or for `only` some by their relative paths; each by the words of
        its own folder where there are several."""
        groups: dict[Wish, list[ImageEntry]] = {}
        images = [image for image in scan.images if (image.relative in only if only is not None else not image.regularisation)]
        wishes = self.wish.within(scan)
        for image in images:
            groups.setdefault(wishes[image.relative], []).append(image)
        outcome, before = Outcome(), 0
        for wish, group in groups.items():

            def on_the_way(now: Progress, before: int = before) -> None:
                progress(Progress(before + now.done, len(images), now.said))

            outcome.add(dataclasses.replace(self, wish=wish).ask(group, again=again, progress=on_the_way, cancelled=cancelled))
            before += len(group)
            if outcome.error or outcome.cancelled:
                break
        return outcome

    def ask(
        self,
        images: Sequence[ImageEntry],
        *,
        again: bool = False,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Asks for each image that has no proposal of this captioner for this wish, with `again` for all.

        Blocks; `progress` is called in this thread. Raises `UsageError` if another process asks for this folder, `DiskError`.
        """
        outcome = Outcome()
        with self.kept.asking():
            contents = _contents(images, outcome, cancelled)
            missing = {
                content: names[0]
                for content, names in contents.items()
                if again or self.kept.get(content, self.name, self.wish.digest) is None
            }
            outcome.asked = len(missing)
            if missing and not outcome.cancelled:
                by_name = {image.relative: image.path for image in images}
                todo = [_Todo(content, name, by_name[name]) for content, name in missing.items()]
                self._ask(todo, outcome, len(contents), progress, cancelled)
            self._look_over()
            for content, names in contents.items():
                if found := self.kept.get(content, self.name, self.wish.digest):
                    outcome.proposals |= dict.fromkeys(names, found)
        return outcome

    def _ask(
        self,
        todo: Sequence[_Todo],
        outcome: Outcome,
        total: int,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        told = Telling(self.captioner.id, self.folder, self.options, cancelled)
        before, at, failures = total - len(todo), 0, 0
        progress(Progress(before, total))
        try:
            told.process.begin()
            while at < len(todo):
                if cancelled():
                    raise Cancelled  # before an image is on its way for nothing
                part = todo[at : at + told.at_once]
                begun = before + at
                at += len(part)

                def on_the_way(done: int, begun: int = begun) -> None:
                    progress(Progress(begun + done, total, told.said))

                failed = self._part(part, told, on_the_way)
                outcome.failed += failed
                failures = failures + len(failed) if len(failed) == len(part) else 0
                progress(Progress(begun + len(part), total, told.said))
                if failures >= _MOST_FAILED:
                    last = failed[-1]
                    raise LoratuiError(f"{count(failures, 'image')} in a row had no answer. {last.message}", last.remedy)
        except Cancelled:
            told.process.cancel()
            outcome.cancelled = True
        except LoratuiError as error:
            outcome.error = error
        finally:
            told.process.end()

    def _part(self, part: Sequence[_Todo], told: Telling, progress: Callable[[int], None]) -> list[Failed]:
        """Asks for some images in all lengths, once more for those of no use, and keeps what is proposed."""
        answers: dict[str, list[Answer]] = {one.content: [] for one in part}
        failed: dict[str, Failed] = {}
        for length in self.wish.lengths:
            left = [one for one in part if one.content not in failed]
            asked = instruction(self.captioner, self.wish, length)
            for one, answer in zip(left, told.ask([one.path for one in left], asked, progress), strict=True):
                if isinstance(answer, Failed):
                    failed[one.content] = dataclasses.replace(answer, file=one.name)
                else:
                    answers[one.content].append(self._better(one, answer, length, told))
        self.kept.put(self._proposal(one, answers[one.content]) for one in part if one.content not in failed)
        return list(failed.values())

    def _better(self, one: _Todo, answer: Answer, length: Length, told: Telling) -> Answer:
        """The answer, or that to a second question where it is of no use: only who reads an instruction may answer otherwise."""
        why = caption_for(answer, self.captioner, self.wish, self.counter, length).useless
        if why is None or not self.captioner.instructed:
            return answer
        (other,) = told.ask([one.path], instruction(self.captioner, self.wish, length, refused=f"{why.text}."))
        return answer if isinstance(other, Failed) else other

    def _proposal(self, one: _Todo, answers: Sequence[Answer]) -> Proposal:
        made = Proposal(
            image=one.content,
            file=one.name,
            captioner=self.name,
            wish=self.wish.digest,
            text="",
            raw=tuple(map(_raw, answers)),
        )
        return self._written(made, self._captions(made.raw, ()))

    def _captions(self, raw: Sequence[str], constant_hair: Sequence[str]) -> list[Proposed]:
        return [
            _caption(text, self.captioner, self.wish, self.counter, length, tuple(constant_hair))
            for text, length in zip(raw, self.wish.lengths, strict=False)
        ]

    def _look_over(self) -> None:
        """Applies what only the whole set shows to the proposals that nobody has accepted or dismissed."""
        found = [one for one in self.kept if (one.captioner, one.wish) == (self.name, self.wish.digest)]
        hair = (
            sorted(learnt.constant_hair(text for one in found for text in one.raw))
            if self.wish.subject in ("person", "character")
            else ()
        )
        captions = {one.image: self._captions(one.raw, hair) for one in found if one.raw}
        of_set = whole_set.flags({image: own[0].text for image, own in captions.items()}, self.wish)
        made = {
            one: self._written(one, captions[one.image], of_set.get(one.image, ()))
            for one in found
            if one.state == "proposed" and one.image in captions
        }
        self.kept.put(new for one, new in made.items() if new != one)

    def _written(self, one: Proposal, captions: Sequence[Proposed], of_set: Sequence[Flag] = ()) -> Proposal:
        """A proposal with its captions and flags."""
        main, *others = captions
        texts = dict.fromkeys(other.text for other in others if other.text and not other.useless)
        return dataclasses.replace(
            one, text=main.text, flags=(*main.flags, *of_set), variants=tuple(text for text in texts if text != main.text)
        )


def _contents(images: Sequence[ImageEntry], outcome: Outcome, cancelled: Callable[[], bool]) -> dict[str, list[str]]:
    """SHA-256 of each file -> the images with this content."""
    found: dict[str, list[str]] = {}
    for image in images:
        if cancelled():
            outcome.cancelled = True
            break
        try:
            found.setdefault(sha256_of(image.path.resolve()), []).append(image.relative)
        except OSError as error:
            outcome.failed.append(
                Failed(image.relative, clean(f"{image.relative} cannot be read: {error}"), "Read the folder again.")
            )
    return found


@lru_cache(maxsize=20_000)
def _caption(
    raw: str, captioner: Captioner, wish: Wish, counter: TokenCounter, length: Length, constant_hair: tuple[str, ...]
) -> Proposed:
    """Kept, since the whole set is looked over after each question."""
    return caption_for(_answer(raw, captioner), captioner, wish, counter, length, constant_hair)


def _raw(answer: Answer) -> str:
    """What is kept of an answer: of tags the general ones, the most certain first."""
    if answer.tags:
        return ", ".join(clean(tag.name, 100) for tag in answer.tags if tag.category == "general")
    return bare(answer.text)


def _answer(raw: str, captioner: Captioner) -> Answer:
    """The answer that `_raw` kept."""
    if captioner.writes == "tags":
        return Answer("", tuple(Tag(name, "general", 1.0) for name in raw.split(", ") if name))
    return Answer(raw)
