"""Caption files: how their bytes become text, and which caption a picture is trained on."""

from __future__ import annotations

import codecs
import random
import re
from dataclasses import dataclass

from loratui.presets.schema import Dataset

LONGEST_BYTES = 64 * 1024
"""More of a caption file is not read; the longest text window of any base is far shorter."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Decoded:
    """Text of a caption file, and how its bytes were read."""

    text: str
    encoding: str
    """`utf-8`, `utf-8 with BOM`, `utf-16` or `cp1252`."""
    cut: bool = False


def decode(data: bytes) -> Decoded:
    """The caption in `data`: a byte-order mark decides; without one UTF-8, and cp1252 where that is impossible.

    Lines become one line, since a caption is one text; control bytes go.
    """
    cut = len(data) > LONGEST_BYTES
    data = data[:LONGEST_BYTES]
    for mark, codec in _BOMS:
        if data.startswith(mark):
            name = "utf-8 with BOM" if mark == codecs.BOM_UTF8 else "utf-16"
            return Decoded(_one_line(data[len(mark) :].decode(codec, errors="ignore")), name, cut)
    try:
        # A cut may have split the last character; only there may bytes be dropped.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
        return Decoded(_one_line(text), "utf-8", cut)
    except UnicodeDecodeError:
        return Decoded(_one_line(data.decode("cp1252", errors="replace")), "cp1252", cut)


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).split())


def compose(caption: str | None, trigger: str, class_word: str) -> str:
    """The caption that a picture is trained on: its own as it stands, else `{trigger} {class}`."""
    return caption or " ".join(word for word in (trigger.strip(), class_word.strip()) if word)


def shuffled(caption: str, keep: int, seed: int) -> str:
    """`caption` with its tags, which commas part, in another order; the first `keep` stay where they are."""
    tags = [tag for tag in (part.strip() for part in caption.split(",")) if tag]
    moved = tags[keep:]
    random.Random(seed).shuffle(moved)
    return ", ".join([*tags[:keep], *moved])


def variants(caption: str, dataset: Dataset, seed: int) -> tuple[str, ...]:
    """The texts that training draws from for one caption: itself, or as many orders of its tags as the recipe wants."""
    if not dataset.shuffle_captions:
        return (caption,)
    source = random.Random(f"{seed}:{caption}")
    return tuple(shuffled(caption, dataset.keep_tokens, source.getrandbits(63)) for _ in range(dataset.caption_variants))


def contains_trigger(caption: str, trigger: str) -> bool:
    """Whether `trigger` stands in the caption as a word of its own, spelled and cased the same."""
    if not trigger.strip():
        return True
    return re.search(rf"(?<!\w){re.escape(trigger.strip())}(?!\w)", caption) is not None
