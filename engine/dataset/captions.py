"""Caption files: how their bytes become text, and which caption an image is trained on."""

from __future__ import annotations

import codecs
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from loratui.engine.dataset import encodings

LONGEST_BYTES = 64 * 1024
"""More of a caption file is not read; the longest text window of any base is far shorter."""
SAMPLE = 4096
"""Bytes of one caption from which its encoding is told."""

_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

MARKED = frozenset({"utf-8", "utf-8 with BOM", "utf-16", "utf-32"})
"""Encodings about which there is no doubt."""
NO_TEXT = "no text"
"""In place of an encoding: these are the bytes of something else, such as an image."""


@dataclass(frozen=True)
class Decoded:
    """Text of a caption file, and how its bytes were read."""

    text: str
    """Its lines without empty ones, parted by a line end each."""
    encoding: str
    """One of `MARKED`, else the likeliest; `NO_TEXT`."""
    cut: bool = False


def decode(data: bytes, likely: Sequence[str] | None = None) -> Decoded:
    """The caption in `data`: a byte-order mark decides; without one UTF-8; else UTF-16 that its zeros give away; else the
    first of the codecs in `likely` that fits, which by default are told from these bytes alone.

    What is no text by its bytes gives none. Lines stay lines, since each can be a caption of its own; other control bytes go.
    """
    cut = len(data) > LONGEST_BYTES
    data = data[:LONGEST_BYTES]
    for mark, codec in encodings.BOMS:
        if data.startswith(mark):
            name = "utf-8 with BOM" if codec == "utf-8" else codec[:6]
            return Decoded(normalised(data[len(mark) :].decode(codec, errors="ignore")), name, cut)
    codec = encodings.utf16_without_mark(data[: len(data) // 2 * 2] if cut else data)
    if codec:
        return Decoded(normalised(data.decode(codec, errors="ignore")), f"{encodings.named(codec)} without a mark", cut)
    text = _decoded(data, "utf-8", cut)
    if text is not None:
        return Decoded(normalised(text), "utf-8", cut)
    if encodings.is_no_text(data):
        return Decoded("", NO_TEXT, cut)
    for codec in encodings.candidates(encodings.likely(encodings.beginning(data, SAMPLE)) if likely is None else likely):
        text = _decoded(data, codec, cut)
        if text is not None:
            return Decoded(normalised(text), encodings.named(codec), cut)
    return Decoded(normalised(data.decode("cp1252", errors="replace")), "cp1252", cut)


def _decoded(data: bytes, codec: str, cut: bool) -> str | None:
    try:
        # A cut may have split the last character; only there may bytes be dropped.
        return codecs.getincrementaldecoder(codec)().decode(data, final=not cut)
    except UnicodeError:
        return None


def normalised(text: str) -> str:
    """A caption as it is kept: its lines, each without control characters and double spaces, and no empty ones."""
    cleaned = (" ".join(_CONTROL.sub(" ", line).split()) for line in _LINE_END.split(text))
    return "\n".join(line for line in cleaned if line)


def lines(caption: str) -> list[str]:
    """The lines of a caption that was `normalised`."""
    return caption.split("\n") if caption else []


def whole(caption: str) -> str:
    """All lines of a caption as one text."""
    return caption.replace("\n", " ")


def compose(caption: str | None, trigger: str, class_word: str) -> str:
    """The caption that an image is trained on: its own as it stands, else `{trigger} {class}`."""
    return caption or " ".join(word for word in (trigger.strip(), class_word.strip()) if word)


def shuffled(caption: str, keep: int, seed: int) -> str:
    """`caption` with its tags, which commas part, in another order; the first `keep` stay where they are."""
    tags = [tag for tag in (part.strip() for part in caption.split(",")) if tag]
    moved = tags[keep:]
    random.Random(seed).shuffle(moved)
    return ", ".join([*tags[:keep], *moved])


def contains_trigger(caption: str, trigger: str) -> bool:
    """Whether `trigger` stands in the caption as a word of its own, spelled and cased the same."""
    if not trigger.strip():
        return True
    return re.search(rf"(?<!\w){re.escape(trigger.strip())}(?!\w)", caption) is not None
