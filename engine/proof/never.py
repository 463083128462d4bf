"""What the set never shows, by its captions: asked for by the validation, since it is the first that a LoRA can lose."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.proof.prompts import is_person
from loratui.presets.toml_text import parse_toml, read_text

if TYPE_CHECKING:
    from loratui.engine.dataset.ledger import LedgerEntry
    from loratui.presets.schema import Settings

PROMPTS = 2
"""Attributes that are asked for."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that an image may show, and how a caption says it."""

    says: str
    """As the prompt has it."""
    words: tuple[str, ...]
    feature: str = ""
    """What the reader of the demo's drawings calls it, and its value; empty for what it does not read."""
    value: str = ""

    @property
    def template(self) -> str:
        """The prompt."""
        return f"a photo of {{subject}}, {self.says}"


def captions_of(entries: Sequence[LedgerEntry]) -> list[str]:
    """The texts of the images that are trained on, without those of the class."""
    trained = (entry for entry in entries if entry.repeats and not entry.regularisation)
    return [text for entry in trained for text in entry.lines or (entry.caption,)]


def never_shown(settings: Settings, captions: Sequence[str]) -> list[Attribute]:
    """Some attributes that no caption has a word of, the same ones for a seed and these captions; none without captions, since then
    nothing is known of what the images show."""
    said = " ".join([settings.dataset.class_word, *captions]).lower()
    if not any(text.strip() for text in captions):
        return []
    absent = [one for one in _of(settings) if not _has(said, one.words)]
    random.Random(settings.samples.seed).shuffle(absent)
    return absent[:PROMPTS]


def _of(settings: Settings) -> tuple[Attribute, ...]:
    """Those that suit the base and the subject."""
    if settings.base.is_embedded:
        return attributes("drawn")
    return attributes("person" if is_person(settings.dataset.class_word) else "anything")


def attributes(kind: str) -> tuple[Attribute, ...]:
    """Those for a `person`, for `anything` else, and those that the embedded bases have `drawn`."""
    return tuple(Attribute(**{**row, "words": tuple(row["words"])}) for row in _table()[kind])


def _has(text: str, words: Sequence[str]) -> bool:
    return re.search(rf"\b(?:{'|'.join(map(re.escape, words))})\b", text) is not None


@functools.cache
def _table() -> dict[str, Any]:
    return parse_toml(read_text(Path(__file__).with_name("never.toml")))
