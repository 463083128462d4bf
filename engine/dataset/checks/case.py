"""What every check looks at, and the shape of a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from loratui.engine.dataset import caption_choice, caption_words, captions
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.implications import SHIPPED, Implications
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.dataset.tokens import ESTIMATE, TokenCounter
from loratui.engine.findings import Finding
from loratui.presets.schema import Settings

Needs = Literal["headers", "bytes", "pixels", "faces"]
"""What a check reads: headers and captions (the scan), whole files, or what the deep pass measured."""


@dataclass(frozen=True)
class Case:
    """A folder that was read, with the settings that it is judged by."""

    scan: DatasetScan
    settings: Settings
    preset: str = ""
    copies: tuple[tuple[str, ...], ...] | None = None
    """Groups of files with the same bytes; None where nobody compared them."""
    facts: Mapping[str, ImageFacts] | None = None
    """By relative path; None without a deep pass."""
    tokenizer: TokenCounter = field(default=ESTIMATE)
    _texts: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What `texts` worked out."""
    guess: str = ""
    """The trigger in `settings`, where nobody gave it: the one uncommon word that all captions share."""
    implies: Implications = field(default_factory=lambda: SHIPPED)
    """Which tags imply which others."""

    @property
    def trigger(self) -> str:
        """The trigger word, without spaces around it."""
        return self.settings.dataset.trigger.strip()

    @property
    def identity(self) -> bool:
        """Whether the set teaches one being that must be recognised."""
        return self.settings.dataset.subject in ("person", "character")

    @cached_property
    def captioned(self) -> tuple[ImageEntry, ...]:
        """Training images with a caption of their own."""
        return tuple(image for image in self.scan.training if image.caption)

    def texts(self, image: ImageEntry) -> tuple[str, ...]:
        """Every text that an image with a caption of its own is trained on, before its tags are shuffled."""
        if image.relative not in self._texts:
            lines = caption_choice.lines_of(image.caption or "", self.settings.dataset, apart=image.apart)
            read = caption_choice.readings(lines, self.settings.dataset, self.settings.training.seed)
            self._texts[image.relative] = tuple(dict.fromkeys(text for line in read for text in line))
        return self._texts[image.relative]

    @cached_property
    def holding_trigger(self) -> tuple[ImageEntry, ...]:
        """Captioned training images of which every text holds the trigger."""

        def holds(image: ImageEntry) -> bool:
            return all(captions.contains_trigger(text, self.trigger_of(image)) for text in self.texts(image))

        return tuple(filter(holds, self.captioned))

    def trigger_of(self, image: ImageEntry) -> str:
        """The word that must stand in an image's caption: the first of its folder's words if there are several
        `N_token class` folders, else the trigger."""
        return self._words_of(image)[0]

    def class_of(self, image: ImageEntry) -> str:
        """The class word that must follow it."""
        return self._words_of(image)[1]

    def _words_of(self, image: ImageEntry) -> tuple[str, str]:
        return self.scan.own_words(image) or (self.trigger, self.settings.dataset.class_word.strip())

    @cached_property
    def style(self) -> caption_words.Style:
        """How most captions are written. The trigger says nothing of it: `anna_k` makes no tags of a sentence."""
        return caption_words.style_of([self._without_trigger(image) for image in self.captioned])

    def _without_trigger(self, image: ImageEntry) -> str:
        trigger, text = self.trigger_of(image), self.texts(image)[0]
        return text.replace(trigger, "x") if trigger else text

    def measured(self) -> Iterator[tuple[ImageEntry, ImageFacts]]:
        """Training images with what the deep pass measured."""
        for image in self.scan.training:
            found = (self.facts or {}).get(image.relative)
            if found is not None:
                yield image, found


@dataclass(frozen=True)
class Check:
    """One row of the table of checks: the rule that makes the findings of a code, and what it reads."""

    code: str
    needs: Needs
    find: Callable[[Case], Iterator[Finding]]


def some(key: str, files: Iterable[str], **parameters: Any) -> Iterator[Finding]:
    """A finding of these files, if there are any."""
    if names := tuple(files):
        yield Finding.of(key, names, **parameters)


def noted(code: str) -> Callable[[Case], Iterator[Finding]]:
    """What the scan itself came upon."""
    return lambda case: (note for note in case.scan.notes if note.code == code)
