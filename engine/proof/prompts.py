"""Which prompts are the trigger alone, and what a prompt says without the trigger."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:[_'-][^\W_]+)*")
_SAYS_NOTHING = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "photo",
        "photograph",
        "photography",
        "portrait",
        "picture",
        "image",
        "drawing",
        "drawn",
        "painting",
        "painted",
        "art",
        "illustration",
        "raw",
        "close-up",
        "closeup",
        "headshot",
        "shot",
        "high",
        "quality",
        "masterpiece",
        "best",
        "style",
        "simple",
        "plain",
        "background",
    ]
)


_PEOPLE = frozenset(
    [
        "person", "woman", "man", "girl", "boy", "lady", "guy", "female", "male", "child", "kid", "baby", "toddler", "teenager",
        "actor", "actress", "singer", "people", "human", "face",
    ]
)  # fmt: skip


def is_person(class_word: str) -> bool:
    """Whether a class word means a person, whose face counts."""
    return bool(_PEOPLE & set(_WORD.findall(class_word.lower())))


def plain(text: str, trigger: str, class_word: str) -> str:
    """A text as a model reads it that does not know the trigger: with the class word in its place."""
    if not trigger:
        return text
    words = text.replace(f"{trigger} {class_word}", class_word or trigger)
    return " ".join(words.replace(trigger, class_word).split())


def is_trigger_alone(prompt: str, trigger: str, class_word: str) -> bool:
    """Whether a prompt names the subject and otherwise only says that it is an image."""
    words = set(_WORD.findall(prompt.lower()))
    own = set(_WORD.findall(f"{trigger} {class_word}".lower()))
    others = {word for word in words - own - _SAYS_NOTHING if not word.startswith(("score_", "score-"))}
    return bool(own & words) and not others
