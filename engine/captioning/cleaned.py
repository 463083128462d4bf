"""An answer without what models write around it: thoughts, Markdown, introductions, loops; and what makes it of no use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from loratui.engine.captioning.captioners import Writes
from loratui.engine.cleaning import clean_lines, without_escapes
from loratui.engine.dataset import caption_words, captions
from loratui.engine.untrusted import Unreadable, parse_json

LONGEST = 8000
"""Letters of an answer that are looked at and kept."""


@dataclass(frozen=True)
class Flag:
    """Something that a person should look at."""

    id: str
    words: tuple[str, ...] = ()
    """The words of the caption that it is about."""

    @property
    def text(self) -> str:
        """For people."""
        about = ", ".join(self.words[:5]) + (" …" if len(self.words) > 5 else "")
        return f"{FLAGS[self.id]}: {about}" if about else FLAGS[self.id]


FLAGS = {
    "empty": "The captioner wrote nothing",
    "refused": "The captioner refused",
    "language": "Not English",
    "loop": "The captioner repeated itself",
    "unclear": "More of an answer than a caption",
    "cut": "Cut at the end of what the base reads",
    "few_tags": "Fewer than 5 tags",
    "learnt": "Names what should be learnt",
    "style": "Names the style",
    "uncertain": "The captioner guesses",
    "common": "In most captions",
    "invented": "Said of several images, word for word",
}
"""By id; the ids are in `--json` and in the proposals."""

OF_SET = ("common", "invented")
"""What only all captions together show."""

USELESS = ("empty", "refused", "language", "loop", "unclear")
"""With these an image is asked once more, and its caption is not accepted with the others."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""All but the end of a line."""
_UNPAIRED = re.compile(r"[\ud800-\udfff]")
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?(?:s|pad|unk|bos|eos|loc_\d+)>", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$", re.MULTILINE)
_HEADING = re.compile(r"^\s*#{1,6}\s+[^\n]{0,80}$(?=\s*\S)", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:#{1,6}\s+|>\s+|[-*•]\s+|\d{1,2}[.)]\s+)", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*\*|__|`)(?=\S)([^\n]{1,500}?)(?<=\S)\1|(?<![\w*])\*(?=\S)([^*\n]{1,500}?)(?<=\S)\*(?![\w*])")
_LINK = re.compile(r"!?\[([^\]\n]{0,300})\]\([^)\n]{0,500}\)")
_LABEL = re.compile(
    r"^(?:\s*(?:(?:sure|certainly|of course|okay|absolutely)[,.!:]*\s*)?(?:here(?:'s| is| are)[^:.\n]{0,80}:|"
    r"(?:the |a |training |image |possible |suggested )*(?:caption|description|tags|answer|output|prompt)s?\s*:)\s*)+",
    re.IGNORECASE,
)
_PICTURE = r"(?:image|picture|photo|photograph|scene|shot|illustration|drawing|painting|artwork)"
_PREFACE = re.compile(
    rf"^(?:in (?:this|the) {_PICTURE},?\s*(?:we (?:can )?see\s+|there (?:is|are)\s+)?|"
    rf"(?:this|the) (?:[\w-]+ ){{0,3}}{_PICTURE} (?:clearly |also )?(?:is of|is showing|shows?|depicts?|features?|captures?|presents?|displays?|"
    rf"portrays?|illustrates?|contains?|showcases?)\s+|(?:this|the) {_PICTURE} is (?=an? )|this is (?=an? )|we (?:can )?see |there (?:is|are) |it (?:shows|depicts) )",
    re.IGNORECASE,
)
_IN_IT = re.compile(rf"\s+(?:in|of) (?:this|the) {_PICTURE}(?= (?:is|are|has|wears|shows|stands|sits)\b|[,.]|$)", re.IGNORECASE)
_ARAFED = re.compile(r"\baraf+e?d?(?:s|d|ful)?\s+", re.IGNORECASE)
"""A word that BLIP's large model writes and that means nothing."""
_REFUSAL = re.compile(
    r"(?i)\b(?:i(?:'m| am) (?:sorry|unable|not able|afraid)|i (?:can(?:'t|not)|won't|will not|could not|couldn't|must decline)|"
    r"as an ai\b|(?:can(?:not|'t)|unable to) (?:assist|help|identify|describe|provide|view|see|process)|against (?:my|the) (?:policy|guidelines)|"
    r"no image (?:was|is|has been)|(?:content|safety) policy)"
)
_ASIDE = re.compile(
    r"(?i)\b(?:let me know|would you like|feel free|hope this helps|if you (?:need|want|would)|i can (?:also )?(?:help|provide)|as requested|"
    r"i(?:'ve| have)? (?:avoided|omitted|left out|focused))\b|^\W?note\b|^the (?:overall )?(?:mood|atmosphere|vibe|feel|tone|composition|style)\b"
)
"""A sentence to whoever asked, or on the mood of it all."""
_CHAT = re.compile(
    r"(?i)\b(?:please (?:provide|upload|share)|here are (?:some|a few|several|two|three)|option \d|your request)\b"
)
_OBJECT = re.compile(r"\s*[{\[]{1,3}\s*\"[^\"\n]{0,40}\"")
"""JSON in which no caption was found."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'A-Z0-9])")
_LOOP = re.compile(r"((?:\S+\s+){0,7}?\S+?)(?:[\s,]+\1){3,}", re.IGNORECASE)
"""The same one to eight words four times in a row, as a model does that does not come to its end."""
_AGAIN = 4
_FOREIGN = frozenset(
    {
        *("der", "das", "ein", "eine", "einem", "einen", "einer", "und", "mit", "ist", "auf", "het", "een", "met", "van", "op"),
        *("un", "una", "el", "los", "las", "del", "con", "está", "y", "uma", "um", "com", "ao", "na", "da", "e", "o"),
        *("une", "avec", "les", "des", "dans", "sur", "du", "et", "le", "la", "il", "gli", "che", "di", "nel", "nella"),
    }
)
"""Small words of German, Dutch, Spanish, Portuguese, French and Italian."""
_LEAST_COMMON = 0.15
"""Share of everyday English words below which a sentence without English small words is of another language."""


def cleaned(text: str, writes: Writes) -> tuple[str, tuple[Flag, ...]]:
    """The answer in one line, and what is wrong with it. Nothing here knows of the subject."""
    text = bare(text)
    text = _SPECIAL.sub(" ", _THOUGHT.sub("", text))
    refused = _REFUSAL.search(text[:400])
    text = _without_markdown(_out_of_json(text))
    flags: list[Flag] = []
    if refused:
        return "", (Flag("refused"),)
    text, looped = _without_loops(text)
    if looped:
        flags.append(Flag("loop", (looped,)))
    text = " ".join(part for part in _SENTENCE.split(text) if not _ASIDE.search(part))
    if chat := _CHAT.search(text) or _OBJECT.match(text):
        flags.append(Flag("unclear", (chat.group(),)))
    text = _IN_IT.sub("", _ARAFED.sub("", text))
    text = _capital(_PREFACE.sub("", text, count=1), text) if writes == "sentences" else text
    if not any(char.isalnum() for char in text):
        return "", (*flags, Flag("empty"))
    if not _is_english(text, writes):
        flags.append(Flag("language"))
    return text, tuple(flags)


def bare(text: str) -> str:
    """An answer as it is kept: harmless, and without what was thought before it, which may have no mark at its beginning."""
    text = _UNPAIRED.sub(" ", without_escapes(text.rpartition("</think>")[2]))
    return clean_lines(_CONTROL.sub(" ", text), LONGEST, LONGEST)


def _out_of_json(text: str) -> str:
    """The caption in `{"caption": "A cat.", "mood": "calm"}`, or the tags in a list; any other text as it is."""
    bare = _FENCE.sub("", text).strip()
    if bare[:1] not in ("{", "["):
        return text
    try:
        value = parse_json(bare)
    except Unreadable:
        return text
    if isinstance(value, dict):
        named = next((value[key] for key in ("caption", "description", "text", "tags") if value.get(key)), None)
        value = next(iter(value.values()), None) if len(value) == 1 else named
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else text


def _without_markdown(text: str) -> str:
    text = _LINK.sub(r"\1", _FENCE.sub("", text))
    text = _EMPHASIS.sub(lambda match: match[2] or match[3], _BULLET.sub("", _HEADING.sub("", text)))
    lines = [_LABEL.sub("", line).strip() for line in text.splitlines()]
    whole = captions.whole(captions.normalised("\n".join(line for line in lines if line.strip("-*_= "))))
    if len(whole) > 1 and (whole[0], whole[-1]) in (('"', '"'), ("“", "”"), ("'", "'")):
        whole = whole[1:-1].strip()
    return whole


def _without_loops(text: str) -> tuple[str, str]:
    """The text with each sentence and each run of words once, and the first words that came again and again."""
    looped = ""
    often = max(Counter(caption_words.words(text[:2000].lower())).values(), default=0)
    if often >= _AGAIN and (match := _LOOP.search(text[:2000])):
        looped = match[1].strip(" ,")
        text = text[: match.end(1)].rstrip(" ,")
    seen: dict[str, str] = {}
    for sentence in _SENTENCE.split(text):
        seen.setdefault(re.sub(r"\W+", " ", sentence.lower()).strip(), sentence)
    sentences = list(seen.values())
    if not looped and len(_SENTENCE.split(text)) >= len(sentences) + 2:
        looped = sentences[-1][:60]
    return " ".join(sentences), looped


def _is_english(text: str, writes: Writes) -> bool:
    letters = [char for char in text if char.isalpha()]
    if sum(char > "\u024f" for char in letters) > 0.15 * len(letters):
        return False
    every = [word.lower() for word in caption_words.words(text)]
    if writes == "tags" or len(every) < 5:
        return True
    english, foreign = (sum(word in known for word in every) for known in (caption_words.GLUE, _FOREIGN))
    common = sum(map(caption_words.is_common, every))
    return not (foreign >= 2 and foreign > english) and (english > 0 or common >= _LEAST_COMMON * len(every))


def _capital(text: str, before: str) -> str:
    return text[:1].upper() + text[1:] if before[:1].isupper() else text


def sentences(text: str) -> Iterator[str]:
    """The sentences of a caption."""
    return iter(_SENTENCE.split(text))
