"""What captions are for: the subject, its words, the base that will read them. An answer belongs to a captioner and a wish."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from loratui.engine import families
from loratui.engine.captioning.captioners import Captioner, Writes
from loratui.engine.dataset.contents import DatasetScan
from loratui.engine.families.spec import Board
from loratui.presets.schema import Settings

Length = Literal["short", "usual", "long"]
LENGTHS: tuple[Length, ...] = get_args(Length)

Subject = Literal["person", "character", "style", "thing"]

MOST_VARIANTS = 3
"""Captions of one image."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of a captioner, for all images of a folder."""

    subject: Subject
    trigger: str
    class_word: str
    family: str
    base: str = ""
    """The base's name, which tells the style of tags that it knows."""
    tokens: int
    """Of a caption that the base's text encoder reads."""
    length: Length = "usual"
    hint: str = ""
    """What the person adds to the instruction."""
    variants: int = 1
    """Captions of one image: the one of `length`, and others."""

    @classmethod
    def of(cls, settings: Settings, *, length: Length = "usual", hint: str = "", variants: int = 1) -> Wish:
        """The wish of a recipe."""
        from loratui.engine.dataset import tokens

        data, base = settings.dataset, settings.base
        return cls(
            subject=data.subject,
            trigger=data.trigger.strip(),
            class_word=data.class_word.strip(),
            family=base.family,
            base=base.model,
            tokens=tokens.window(settings),
            length=length,
            hint=" ".join(hint.split()),
            variants=variants,
        )

    def within(self, scan: DatasetScan) -> dict[str, Wish]:
        """The wish of each image by its relative path: where there are several `N_token class` folders, with the words of its own."""
        words = {image.relative: scan.own_words(image) for image in scan.images}
        return {name: replace(self, trigger=own[0], class_word=own[1]) if own else self for name, own in words.items()}

    @property
    def lengths(self) -> tuple[Length, ...]:
        """The length of each caption of an image, the main one first."""
        others = [length for length in LENGTHS if length != self.length]
        return (self.length, *others[: self.variants - 1])

    @property
    def board(self) -> Board | None:
        """Whose tags the base was trained on; None where it reads sentences."""
        return next(iter(families.tag_words(self.base).values()), None)

    def form(self, captioner: Captioner) -> Writes:
        """What comes of a captioner: tags also where it follows an instruction and the base knows tags."""
        return "tags" if captioner.instructed and self.board else captioner.writes

    @property
    def named(self) -> str:
        """How captions call the subject: `anafox woman`."""
        return " ".join(word for word in (self.trigger, self.class_word) if word)

    @property
    def digest(self) -> str:
        """The same for the same wish: 16 hexadecimal letters."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
