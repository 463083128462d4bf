"""What captions are for: the subject, its words, the base that will read them. An answer belongs to a captioner and a wish."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from loratui.presets.schema import Settings

Length = Literal["short", "usual", "long"]
LENGTHS: tuple[Length, ...] = get_args(Length)

Subject = Literal["person", "character", "style", "thing"]

MOST_VARIANTS = 3
"""Captions of one image: the usual one, a short one and a long one."""


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

    @property
    def digest(self) -> str:
        """The same for the same wish: 16 hexadecimal letters."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
