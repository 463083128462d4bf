"""Which prompts are the trigger alone."""

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


def is_trigger_alone(prompt: str, trigger: str, class_word: str) -> bool:
    """Whether a prompt names the subject and otherwise only says that it is an image."""
    words = set(_WORD.findall(prompt.lower()))
    own = set(_WORD.findall(f"{trigger} {class_word}".lower()))
    others = {word for word in words - own - _SAYS_NOTHING if not word.startswith(("score_", "score-"))}
    return bool(own & words) and not others
