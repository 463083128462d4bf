"""Words and tags of captions: how a caption is written, where the trigger stands, which words are common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from loratui.engine.dataset.implications import SHIPPED, Implications, same_tag

Style = Literal["words", "tags", "booru", "mixed", "none"]
"""`words`: sentences; `tags`: short parts between commas; `booru`: tags of the image boards; `none`: no captions."""

GLUE = frozenset(
    {
        *("a", "an", "the", "of", "in", "on", "at", "with", "is", "are", "was", "and", "or", "to", "from", "by"),
        *("his", "her", "their", "its", "wearing", "standing"),
    }
)
"""Small words of English sentences, which lists of tags do without."""
_BOORU = re.compile(r"\b\d\+?(girl|boy|other)s?\b|\b[a-z]+_[a-z_]+\b|\blooking at viewer\b|(^|,)\s*(solo|anthro)\s*(,|$)")
_LEAD = re.compile(
    r"(?:(?:an?|the)\s+)?(?:[\w-]+\s+){0,4}?(?:photo|photograph|picture|image|portrait|drawing|painting|illustration|"
    r"sketch|selfie|shot|close-up|closeup|headshot|render)\s+(?:of\s+)?(?:(?:an?|the)\s+)?",
    re.IGNORECASE,
)
SCORE = re.compile(r"(?<!\w)(?:score_\d+(?:_up)?|score \d+(?: up)?|(?:source|rating)_\w+)(?!\w)", re.IGNORECASE)
"""Quality and source tags of Pony, as words of their own: no `operating_room`."""


def whole_words(*wanted: str) -> re.Pattern[str]:
    """A pattern that finds any of these words or phrases, also in the plural, in any case, but never within a longer word.

    An underscore parts words, as it does in tags.
    """
    alternatives = "|".join(re.escape(word).replace(r"\ ", "[ _]") for word in wanted)
    return re.compile(rf"(?<![^\W_])(?:{alternatives})(?:s|es)?(?![^\W_])", re.IGNORECASE)


def parts(caption: str) -> list[str]:
    """What stands between the commas and line ends, without empty parts."""
    return [part.strip() for part in re.split(r"[,\n]", caption) if part.strip()]


def words(text: str) -> list[str]:
    """Words with the letters, digits, hyphens and apostrophes that belong to them."""
    return re.findall(r"\w+(?:['’-]\w+)*", text)


def style_of(captions: Sequence[str]) -> Style:
    """How most of these captions are written; `mixed` where no style has two thirds of them."""
    written = [caption for caption in captions if caption]
    if not written:
        return "none"
    counts = Counter(style_of_one(caption) for caption in written)
    style, count = counts.most_common(1)[0]
    if counts["booru"] >= len(written) / 3:
        return "booru"
    return style if 3 * count >= 2 * len(written) else "mixed"


def style_of_one(caption: str) -> Style:
    """How one caption is written."""
    if _BOORU.search(caption.lower()):
        return "booru"
    every = [word.lower() for word in words(caption)]
    pieces = parts(caption)
    if not every:
        return "none"
    glue = sum(word in GLUE for word in every) / len(every)
    if len(pieces) >= 3 and glue < 0.08 and len(every) / len(pieces) <= 3:
        return "tags"
    return "words" if glue >= 0.08 or len(every) / len(pieces) > 4 else "mixed"


def leads(caption: str, trigger: str) -> bool:
    """Whether the trigger is the first thing that the caption names: at its start, or after `a photo of` and the like."""
    at = re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption)
    if at is None:
        return False
    before = caption[: at.start()]
    return not before.strip() or _LEAD.fullmatch(before) is not None


def followed_by(caption: str, trigger: str, class_word: str) -> bool:
    """Whether the class word comes second: right behind the trigger, or as the next tag, or within the same phrase."""
    phrase = rf"(?<!\w){re.escape(trigger)}(?!\w)[\s,]*(?:an?\s+|the\s+)?(?:[\w-]+\s+){{0,2}}?{re.escape(class_word)}(?!\w)"
    return re.search(phrase, caption, re.IGNORECASE) is not None


def spellings(caption: str, trigger: str) -> list[str]:
    """Words of the caption that are the trigger in another case or with one letter off."""
    wanted = trigger.lower()
    found = [w for w in words(caption) if w != trigger and (w.lower() == wanted or _one_off(w.lower(), wanted))]
    return list(dict.fromkeys(found))


def tag_counts(captions: Iterable[str]) -> Counter[str]:
    """In how many captions each tag stands, in lower case."""
    return Counter(tag for caption in captions for tag in {part.lower() for part in parts(caption)})


def implied(caption: str, implies: Implications = SHIPPED) -> list[tuple[str, str]]:
    """Pairs of tags of which the first implies the second: `red hair` and `hair`, `german shepherd` and `dog`."""
    tags = list(dict.fromkeys(same_tag(part) for part in parts(caption)))
    pairs = ((tag, other) for tag in tags for other in tags if tag != other)
    return [(tag, other) for tag, other in pairs if tag.endswith(f" {other}") or other in implies.get(tag, ())]


def repeated(caption: str) -> list[str]:
    """Tags that stand in a caption more than once."""
    return [tag for tag, count in Counter(part.lower() for part in parts(caption)).items() if count > 1]


def is_common(word: str) -> bool:
    """Whether it is an everyday English word, also inflected, or a first name that every base knows."""
    lower = word.lower()
    stems = (lower, *(lower.removesuffix(end) for end in ("s", "es", "ing", "ed", "d") if lower.endswith(end)))
    return any(stem in _common() for stem in stems)


def shared_unknown_word(captions: Sequence[str]) -> str:
    """The one uncommon word that all captions hold, which is probably their trigger; empty if there is none or several."""
    if len(captions) < 3:
        return ""
    shared = set(words(captions[0]))
    for caption in captions[1:]:
        shared &= set(words(caption))
    unknown = [word for word in shared if len(word) > 2 and not is_common(word) and not word.isdigit()]
    return unknown[0] if len(unknown) == 1 else ""


def proposals(trigger: str) -> tuple[str, ...]:
    """Made-up words near `trigger`: letters as digits, without vowels, and with an ending."""
    bare = re.sub(r"[^a-z0-9]", "", trigger.lower())
    if not bare:
        return ()
    digits = bare.translate(str.maketrans("aeios", "43105"))
    without_vowels = bare[0] + re.sub(r"[aeiou]", "", bare[1:])
    made = [digits, without_vowels if len(without_vowels) > 3 else f"{without_vowels}{bare[-1]}x", f"{without_vowels}lora"]
    return tuple(word for word in dict.fromkeys(made) if word != bare and not is_common(word))


def _one_off(word: str, wanted: str) -> bool:
    """Whether one letter more, less or changed, or two swapped, makes one of the other; short words never count."""
    if min(len(word), len(wanted)) < 5 or abs(len(word) - len(wanted)) > 1 or word == wanted:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, wanted, strict=False)) if a != b), min(len(word), len(wanted)))
    one, two = word[start:], wanted[start:]
    return one[1:] == two[1:] or one[1:] == two or one == two[1:] or (one[:2] == two[1::-1] and one[2:] == two[2:])


@cache
def _common() -> frozenset[str]:
    text = Path(__file__).with_name("common_words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
