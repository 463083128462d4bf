"""From an answer to a caption for training: the trigger first, the class second, what varies named, what is learnt left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from loratui.engine.captioning import learnt
from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.cleaned import USELESS, Flag, cleaned, sentences
from loratui.engine.captioning.instructions import TAGS, words_for
from loratui.engine.captioning.protocol import Answer
from loratui.engine.captioning.wish import Length, Wish
from loratui.engine.dataset import caption_edits, caption_words
from loratui.engine.dataset.checks.tags import FEWEST
from loratui.engine.dataset.tokens import TokenCounter

_PEOPLE = (
    r"(?:woman|man|girl|boy|lady|guy|person|female|male|model|individual|gentleman|teenager|child|kid|toddler|baby|adult|figure|someone|"
    r"actress|actor|character)"
)
_LEAD = re.compile(
    r"^(?:(?:an?|the)\s+)?((?:[\w-]+\s+){0,3}?(?:photo|photograph|picture|image|portrait|close-up|closeup|headshot|selfie|shot|view))\s+of\s+",
    re.IGNORECASE,
)
_PLAIN_LEAD = re.compile(r"(?i)\s*\b(?:photo|photograph|picture|image|shot)$")
_QUOTED = re.compile(r"[\"'“(\[]([\w -]{1,80})[\"'”)\]]")
_IS = re.compile(r"\b(?:appears?|seems?)\s+to\s+be\b", re.IGNORECASE)
_GUESS = re.compile(
    r"(?i)\b(?:possibly|perhaps|probably|maybe|presumably|likely|might be|may be|could be|appears?|seems?|suggest(?:s|ing))\b"
)
_QUALITY = frozenset(
    {
        *(
            "masterpiece",
            "best quality",
            "high quality",
            "great quality",
            "amazing quality",
            "low quality",
            "worst quality",
            "highres",
        ),
        *(
            "absurdres",
            "lowres",
            "high resolution",
            "detailed",
            "highly detailed",
            "hd",
            "4k",
            "8k",
            "newest",
            "safe",
            "sensitive",
        ),
        *("questionable", "explicit", "general"),
    }
)
"""Tags of quality, age and rating, which belong into prompts."""
_TAGS_ARE = re.compile(r"(?i)(?:tags?|keywords?)\s*:\s*")
_COUNTED = re.compile(r"\d\+?(?:girl|boy|other)s?|solo|multiple (?:girls|boys|others)")


@dataclass(frozen=True)
class Proposed:
    """A caption as it is proposed."""

    text: str
    flags: tuple[Flag, ...] = ()

    @property
    def useless(self) -> Flag | None:
        """Why it cannot be accepted as it is."""
        return next((flag for flag in self.flags if flag.id in USELESS), None)


def caption_for(
    answer: Answer,
    captioner: Captioner,
    wish: Wish,
    counter: TokenCounter,
    length: Length | None = None,
    constant_hair: Iterable[str] = (),
) -> Proposed:
    """The caption that an answer becomes. `constant_hair` are words for hair that do not vary in the set (`learnt.constant_hair`)."""
    form, length = wish.form(captioner), length or wish.length
    if answer.tags:
        return _of_tags([tag.name for tag in answer.tags if tag.category == "general"], wish, counter, length, constant_hair)
    text, flags = cleaned(answer.text, form)
    if not text:
        return Proposed("", flags)
    if form == "tags":
        proposed = _of_tags(_TAGS_ARE.sub("", text).strip(" .").split(","), wish, counter, length, constant_hair)
    else:
        proposed = _of_sentences(text, wish, counter, length, constant_hair)
    return Proposed(proposed.text, (*flags, *proposed.flags))


def _of_tags(names: Iterable[str], wish: Wish, counter: TokenCounter, length: Length, constant_hair: Iterable[str]) -> Proposed:
    hair, own = set(constant_hair), {wish.trigger.lower(), wish.class_word.lower(), ""}
    tags: list[str] = []
    for name in names:
        # Short ones with underscores are faces such as ^_^.
        tag = " ".join((name.replace("_", " ") if len(name.strip()) > 3 else name).split())
        plain = tag.lower()
        if (
            plain in own | _QUALITY
            or caption_words.SCORE.search(name)
            or plain in map(str.lower, tags)
            or _learnt_tag(plain, wish, hair)
        ):
            continue
        tags.append(tag)
    implied = {other for _, other in caption_words.implied(", ".join(tags))}
    tags = [tag for tag in tags if tag.lower() not in implied]
    # Who is there comes first, as in the bases' own captions.
    tags.sort(key=lambda tag: not _COUNTED.fullmatch(tag.lower()))
    named = [word for word in (wish.trigger, wish.class_word) if word]
    kept = [*named, *tags[: TAGS[length] - len(named)]]
    flags = [Flag("few_tags")] if len(kept) < FEWEST else []
    while len(kept) > len(named) and counter.count(", ".join(kept)) > wish.tokens:
        kept.pop()
    if len(kept) == len(named):
        return Proposed("", (Flag("empty"),))
    if sum(len(caption_words.words(tag)) > 6 for tag in tags) * 2 > len(tags):
        flags.append(Flag("unclear", (max(tags, key=len),)))
    return Proposed(", ".join(kept), tuple(flags))


def _learnt_tag(tag: str, wish: Wish, hair: set[str]) -> bool:
    """Whether a tag names what is learnt: it goes, since a tag is nothing else."""
    if wish.subject == "style":
        return bool(learnt.style_words(tag))
    if wish.subject == "thing":
        return False
    described = learnt.hair_words(tag)
    return bool(learnt.features(tag)) or learnt.TRAITS.fullmatch(tag) is not None or bool(described and described <= hair)


def _of_sentences(text: str, wish: Wish, counter: TokenCounter, length: Length, constant_hair: Iterable[str]) -> Proposed:
    text = caption_edits.without_score_tags(_IS.sub("is", text))
    flags = []
    if wish.subject == "style":
        text = learnt.without_style(text)
        if words := learnt.style_words(text):
            flags.append(Flag("style", words))
    elif wish.subject in ("person", "character"):
        text = " ".join(filter(_says, (learnt.without_features(one, constant_hair) for one in sentences(text))))
        if words := learnt.features(text):
            flags.append(Flag("learnt", words))
    if guesses := tuple(dict.fromkeys(match.group().lower() for match in _GUESS.finditer(text))):
        flags.append(Flag("uncertain", guesses))
    text = _short(text) if length == "short" and len(caption_words.words(text)) > words_for(wish, "short") else text
    text = _named(text, wish).rstrip(" .")
    fitting = _fitting(text, counter, wish.tokens)
    if fitting != text:
        flags.append(Flag("cut", (text[len(fitting) :].strip(" ,.")[:60],)))
    return Proposed(fitting, tuple(flags)) if fitting else Proposed("", (Flag("empty"),))


def _says(sentence: str) -> bool:
    """Whether a sentence still says something: `The woman.` and `She is.` do not."""
    return not re.fullmatch(
        rf"(?:(?:an?|the)\s+)?(?:{_PEOPLE}|she|he|they|it)?(?:\s+(?:is|has|are|have))?\W*", sentence, re.IGNORECASE
    )


def _short(text: str) -> str:
    return next(sentences(text))


def _named(text: str, wish: Wish) -> str:
    """The trigger first and the class second: in place of `a young woman`, else in front as tags."""
    if not wish.named:
        return text
    if wish.subject == "style":
        return f"{wish.named}, {_lower(text)}" if not text.startswith(wish.named) else text
    text = _QUOTED.sub(lambda match: match[1] if match[1].lower() == wish.named.lower() else match.group(), text)
    kind = ""
    if lead := _LEAD.match(text):
        kind = _lower(_PLAIN_LEAD.sub("", lead[1]))
        text = text[lead.end() :]
    nouns = "|".join(filter(None, (re.escape(wish.class_word), _PEOPLE if wish.subject != "thing" else "")))
    called = f"(?:{re.escape(wish.trigger)}\\b)" if wish.trigger else "(?!)"
    phrase = re.compile(
        rf"^(?:{called}(?:,?\s+{re.escape(wish.class_word)}\b)?|(?:(?:an?|the|this|one)\s+)?((?:(?!(?:of|with|in|on|and|at|an?|the)\b)[\w-]+,?\s+){{0,4}}?)"
        rf"(?:{nouns or '(?!)'})\b|{'it' if wish.subject == 'thing' else '(?:s?he|they)'}\b)",
        re.IGNORECASE,
    )
    found = phrase.match(text)
    if found:
        adjectives = [word.strip(",") for word in (found[1] or "").split()]
        same = learnt.OWN if wish.subject == "thing" else learnt.TRAITS
        varies = " ".join(word for word in adjectives if not same.fullmatch(word) and word.lower() != wish.trigger.lower())
        rest = text[found.end() :].removeprefix(":")
        more = [part for part in (kind, varies) if part]
        if more and (rest := rest.lstrip(" ,")):
            rest = rest if rest[0] in ".;!?" else f", {rest}"
        return ", ".join((wish.named, *more)) + rest
    return ", ".join(filter(None, (wish.named, kind, _lower(text)))) if not text.startswith(wish.named) else text


def _lower(text: str) -> str:
    """Without the capital of a common word at its beginning."""
    first = text.partition(" ")[0]
    return text[:1].lower() + text[1:] if caption_words.is_common(first) or first.lower() in caption_words.GLUE else text


def _fitting(text: str, counter: TokenCounter, window: int) -> str:
    """As many whole sentences as the base reads; of a first one that is too long, its parts between commas, else its words."""
    if counter.count(text) <= window:
        return text
    for parting in (r"(?<=[.!?])\s+", r"(?=,)", r"(?=\s)"):
        parts = re.split(parting, text)
        while len(parts) > 1 and counter.count(_joined(parts, parting)) > window:
            parts.pop()
        if len(parts) >= 1 and counter.count(_joined(parts, parting)) <= window:
            return _joined(parts, parting).rstrip(" ,")
    return text[: len(text) - len(counter.lost(text, window))].rstrip(" ,")


def _joined(parts: list[str], parting: str) -> str:
    return (" " if parting.startswith("(?<=") else "").join(parts)
