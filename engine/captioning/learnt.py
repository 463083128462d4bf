"""What a caption leaves out, since the LoRA should learn it: features of a person or character, and the style of a style."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from loratui.engine.dataset import caption_words

_COLOURS = (
    *(
        "blonde?",
        "brown",
        "dark",
        "black",
        "red",
        "reddish",
        "auburn",
        "ginger",
        "gr[ae]y",
        "white",
        "silver",
        "golden",
        "platinum",
    ),
    *(
        "light",
        "pale",
        "fair",
        "blue",
        "green",
        "hazel",
        "amber",
        "pink",
        "purple",
        "orange",
        "yellow",
        "aqua",
        "multicolou?red",
    ),
    *("strawberry", "chestnut", "jet", "olive", "tan", "tanned", "dirty", "colou?red", r"\w+-colou?red"),
)
_SHAPES = (
    *(
        "long",
        "short",
        "medium",
        r"\w+-length",
        "straight",
        "wavy",
        "curly",
        "thick",
        "thin",
        "full",
        "big",
        "large",
        "small",
        "bushy",
    ),
    *(
        "trimmed",
        "groomed",
        r"well-\w+",
        "neat",
        "sharp",
        "round",
        "oval",
        "high",
        "prominent",
        "strong",
        "smooth",
        "clear",
        "soft",
    ),
    *("very", "deep", "bright", "piercing", "striking", "slightly", "dark", "facial", "visible"),
)
_DESCRIBED = rf"(?:{'|'.join((*_COLOURS, *_SHAPES))})"
_FEATURE = (
    r"(?:eyes|eyebrows?|eyelashes|beard|m(?:o)?ustache|stubble|goatee|sideburns|skin|complexion|lips|nose|cheekbones?|cheeks|"
    r"jawline|jaw|chin|forehead|face|wrinkles|dimples|breasts|physique|build)"
)
_ALONE = r"(?:freckles|beard|m(?:o)?ustache|stubble|goatee|dimples|wrinkles)"
_GONE = "§hair"
"""Stands for hair of which all that was said is left out."""
_ONE = rf"(?:(?:an?|her|his|their|the)\s+)?(?:(?:{_DESCRIBED}[,\s]+(?:and\s+)?){{1,5}}{_FEATURE}|{_ALONE}|{_GONE})\b(?!\s+(?:closed|open|shut|wide))"
_WITH = re.compile(
    rf"\s(?P<how>with|having|featuring|sporting|has|who has)\s+{_ONE}(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+){_ONE})*"
    rf"(?P<more>\s*,?\s+and\s+(?:(?P<thing>an?\s|the\s|her\s|his\s|their\s))?)?",
    re.IGNORECASE,
)
_AND = re.compile(
    rf"\s*,?\s+and\s+{_ONE}(?=\s*(?:[,.;]|$)|\s+(?:in|on|at|with|is|and|\w+ing|wears|stands|sits)\b)|,\s*{_ONE}(?=\s*[,.;]|$)",
    re.IGNORECASE,
)
_LEFT = re.compile(rf"\b{_ONE}", re.IGNORECASE)
_ARE = re.compile(rf"\b{_FEATURE}\s+(?:is|are)\s+{_DESCRIBED}\b", re.IGNORECASE)
_WHOSE = r"(?:her|his|their|the\s+\w+['’]s)"
_SAYS_ONLY = re.compile(
    rf"(?:(?:and\s+|while\s+)?{_WHOSE}\s+(?:hair|{_FEATURE})\s+(?:is|are)\s+(?:{_DESCRIBED}\b[,\s]*(?:and\s+(?!{_WHOSE}))?)+)+\W*",
    re.IGNORECASE,
)
"""A sentence on features alone: `Her hair is blonde and her eyes are blue.`"""
_AGE = re.compile(
    r",?\s*(?:(?:who\s+)?(?:appear(?:s|ing)|look(?:s|ing)|is)\s+(?:to\s+be\s+)?)?in\s+(?:her|his|their)\s+(?:(?:early|mid|late)[\s-]+)?"
    r"(?:\d0s|teens|twenties|thirties|forties|fifties|sixties|seventies)\b,?",
    re.IGNORECASE,
)
_HAIR = re.compile(rf"\b((?:{_DESCRIBED}[,\s]+(?:and\s+)?){{1,5}})hair\b", re.IGNORECASE)
OWN = re.compile(_DESCRIBED, re.IGNORECASE)
"""Before the noun for a thing: what it says of the thing stays the same."""
TRAITS = re.compile(
    r"(?i)(?:young|younger|old|older|elderly|middle-aged|teenaged?|blonde?|brunette|redhead(?:ed)?|\w+-haired|\w+-eyed|\w+-skinned|"
    r"bearded|bald|slim|slender|tall|petite|muscular|curvy|beautiful|attractive|pretty|handsome|gorgeous|stunning|lovely|pale|tanned|"
    r"freckled|caucasian|asian|african|european|american|latina|latino|hispanic|indian|black|white)"
)
"""Before the noun for a person: what it says of the person stays the same in all images."""

_MEDIA = (
    r"(?:illustration|painting|drawing|sketch|artwork|render(?:ing)?|cartoon|comic|anime|manga|watercolou?r|oil painting|pencil drawing|"
    r"digital art|line art|pixel art|3d|cgi|photograph|photo|concept art|vector art)"
)
_IN_STYLE = re.compile(
    r",?\s*\b(?:(?:rendered|drawn|painted|done|created|depicted|presented|illustrated)\s+)?in\s+(?:an?|the)\s+(?:[\w-]+,?\s+){0,5}?"
    r"style\b(?:\s+of\s+[\w.-]+(?:\s+[A-Z][\w.-]+)*)?",
    re.IGNORECASE,
)
_STYLE_LEAD = re.compile(
    rf"^(?:(?:an?|the)\s+)?(?:[\w-]+,?\s+){{0,4}}?{_MEDIA}(?:[\s-]style)?(?:\s+(?:{_MEDIA}))*,?\s+"
    r"(?:of|shows|showing|depicts|depicting|features|featuring)\s+",
    re.IGNORECASE,
)
_STYLE_WORD = re.compile(
    rf"\b(?:{_MEDIA}|[\w-]*style[ds]?|monochrome|greyscale|grayscale|brush ?strokes?|realistic|photorealistic|traditional media|"
    r"\w+ \(medium\)|cel[ -]shad(?:ed|ing)|impressionis[mt]\w*|surreal\w*|minimalis[mt]\w*|aesthetic)\b",
    re.IGNORECASE,
)


def without_features(text: str, constant: Iterable[str] = ()) -> str:
    """The text without what is always learnt of a person, and without the words for hair in `constant`."""
    gone = {word.lower() for word in constant}
    if _SAYS_ONLY.fullmatch(text):
        return ""
    text = _HAIR.sub(lambda match: _hair(match, gone), _AGE.sub("", text))
    return _tidy(_AND.sub("", _WITH.sub(_rest, text)).replace(_GONE, "hair"))


def features(text: str) -> tuple[str, ...]:
    """What a text still names of it; of hair nothing, since one text does not show whether it varies."""
    return tuple(match.group().strip() for pattern in (_LEFT, _ARE) for match in pattern.finditer(text))


def hair_words(text: str) -> set[str]:
    """The words with which a text describes hair."""
    return {word.lower() for match in _HAIR.finditer(text) for word in caption_words.words(match[1]) if word.lower() != "and"}


def constant_hair(texts: Iterable[str]) -> frozenset[str]:
    """The words for hair that are in most of the captions that describe it: it does not vary, so it is learnt."""
    described = [words for text in texts if (words := hair_words(text))]
    counts = Counter(word for words in described for word in words)
    return frozenset(word for word, times in counts.items() if len(described) >= 3 and times >= 0.6 * len(described))


def without_style(text: str) -> str:
    """The text without an introduction such as `a watercolour painting of`, and without `in the style of`."""
    return _tidy(_STYLE_LEAD.sub("", _IN_STYLE.sub("", text)))


def style_words(text: str) -> tuple[str, ...]:
    """What a text still says of the style."""
    return tuple(dict.fromkeys(match.group().lower() for match in _STYLE_WORD.finditer(text)))


def _hair(match: re.Match[str], constant: set[str]) -> str:
    left = [word for word in caption_words.words(match[1]) if word.lower() not in constant and word.lower() != "and"]
    return " ".join((*left, "hair")) if left else _GONE


def _rest(match: re.Match[str]) -> str:
    if not match["more"]:
        return ""
    return f" {match['how']} {match['thing']}" if match["thing"] else " "


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([,.;])", r"\1", re.sub(r"(?:,\s*){2,}", ", ", " ".join(text.split())))
    return text.strip(" ,;")
