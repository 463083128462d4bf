"""What other tools write into captions and prompts that a text encoder reads as letters: weights, LoRA tags, `BREAK` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from loratui.engine.dataset import captions, wildcards

_NEAR, _FAR = 8, 2000
"""Characters that are looked at beside and within brackets, so that hostile text costs no more than its length."""
_BRACKET = re.compile(r"\\.|[()\[\]{}\n]", re.DOTALL)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_WEIGHT = re.compile(r"(?<=[^\d\s])\s*:\s*[+-]?\d*\.?\d+\s*$|:\s*[+-]?\d*\.\d+\s*$")
"""At the end of a bracket: `:1.3`; behind a digit only with a point, since `(16:9)` is a shape and `(at 10:30)` a time."""
_BEHIND = re.compile(r"\++(?![\w+])|-{2,}(?![\w-])|\d\.\d+(?!\w)")
"""Behind a bracket, as compel writes weights: `(word)++`, `(word)1.3`."""
_NAI = re.compile(r"(?<![\w.{|])-?\d*\.?\d+::([^:{}|\n]*)::")
_PLUSES = re.compile(r"(?<=[A-Za-z]{2})(?:\+{2,}|-{2,})(?=[\s,)]|$)", re.MULTILINE)
_LORA = re.compile(r"<\s*(?:lora|lyco|lycoris|locon|loha|lokr|hypernet|hypernetwork)\s*:[^<>\n]*>", re.IGNORECASE)
_EMBEDDING = re.compile(r"(?<!\w)embedding:[\w./-]+|<[A-Za-z][\w.-]+>", re.IGNORECASE)
_BREAK = re.compile(r"(?<!\w)(?:BREAK|(?<![A-Z]{2} )AND(?! [A-Z]{2})|ADDCOMM|ADDBASE|ADDCOL|ADDROW)(?!\w)")
"""Not the `AND` of `NASA AND ESA`."""
_FILE = re.compile(r"__[\w*][\w./*-]*?__(?!_)")
_PLACE = re.compile(r"(?i)\[(trigger|trigger_?word|name|filewords|subject|class)\]|\{(trigger|subject|class)\}")
_ESCAPE = re.compile(r"\\([()\[\]{}])")
_PARAMETERS = re.compile(r"(?i)(?<!\w)negative prompt:|(?<!\w)steps: \d+, [\w ]+:")


@dataclass(frozen=True)
class Syntax:
    """One way of writing, and what takes it out."""

    id: str
    what: str
    """What it is, in the plural."""
    find: Callable[[str], str]
    """The first place in a text, as it is written; empty if there is none."""
    strip: Callable[[str], str] | None = None
    """The text without it; None where only the person knows what was meant."""


@dataclass(frozen=True)
class _Group:
    start: int
    """Of the opening one."""
    end: int
    """Of the closing one."""
    bracket: str


def _groups(text: str) -> Iterator[_Group]:
    """Pairs of brackets within a line, without those behind a backslash; inner ones first."""
    waiting: list[tuple[int, str]] = []
    for match in _BRACKET.finditer(text):
        sign = match.group()
        if sign == "\n":
            waiting.clear()
        elif sign in _PAIRS.values():
            waiting.append((match.start(), sign))
        elif sign in _PAIRS:
            if waiting and waiting[-1][1] == _PAIRS[sign]:
                yield _Group(waiting.pop()[0], match.start(), _PAIRS[sign])
            elif any(opening == _PAIRS[sign] for _, opening in waiting[-8:]):
                while waiting and waiting[-1][1] != _PAIRS[sign]:
                    waiting.pop()
                if waiting:
                    yield _Group(waiting.pop()[0], match.start(), _PAIRS[sign])


def _weighted(text: str) -> list[tuple[_Group, tuple[tuple[int, int], ...]]]:
    """Brackets that weight what is in them, each with the parts of the text that go when it is taken out."""
    groups = list(_groups(text))
    ends = {group.start: group.end for group in groups}
    found = []
    for group in groups:
        start, end = group.start, group.end
        tail = text[max(start + 1, end - 12) : end]
        weight, behind = _WEIGHT.search(tail), _BEHIND.match(text, end + 1)
        cut = [(start, start + 1), (end, end + 1)]
        if not any(char.isalpha() for char in text[start + 1 : min(end, start + 200)]):
            continue
        if group.bracket == "(" and weight and end - len(tail) + weight.start() > start + 1:
            found.append((group, (*cut, (end - len(tail) + weight.start(), end))))
        elif group.bracket == "(" and behind:
            found.append((group, (*cut, behind.span())))
        elif (
            (
                group.bracket == "("
                and (ends.get(start + 1) == end - 1 or ends.get(start - 1) == end + 1 or _is_tag(text, group))
            )
            or (group.bracket == "[" and not _is_editing(text, group) and not _PLACE.match(text, start))
            or (group.bracket == "{" and not _PLACE.match(text, start) and "|" not in text[start : min(end, start + _FAR)])
        ):
            found.append((group, tuple(cut)))
    return found


def _is_tag(text: str, group: _Group) -> bool:
    """Whether the brackets hold a whole tag of several: `hat, (smile), park`; `bow (weapon)` and `(o)_(o)` do not."""
    before = text[max(0, group.start - _NEAR) : group.start].rstrip(" ")
    after = text[group.end + 1 : group.end + 1 + _NEAR].lstrip(" ")
    around = before[-1:] + after[:1]
    starts, ends = before[-1:] in ("", ",", "\n"), after[:1] in ("", ",", "\n")
    return starts and ends and "," in around and group.end - group.start > 2


def _is_editing(text: str, group: _Group) -> bool:
    inner = text[group.start + 1 : min(group.end, group.start + _FAR)]
    return "|" in inner or inner.count(":") > 1 or re.search(r":\s*\d*\.?\d+\s*$", inner[-12:]) is not None


def _first_weight(text: str) -> str:
    if match := _NAI.search(text):
        return match.group()
    if match := _PLUSES.search(text):
        return text[max(0, match.start() - 20) : match.end()].rpartition(" ")[2]
    found = _weighted(text)
    if not found:
        return ""
    group = min((group for group, _ in found), key=lambda group: group.start)
    behind = _BEHIND.match(text, group.end + 1)
    return text[group.start : behind.end() if behind else group.end + 1]


def without_weights(text: str) -> str:
    """The text with what was weighted, without brackets and numbers."""
    text = _PLUSES.sub("", _NAI.sub(r"\1", text))
    gone = sorted({span for _, spans in _weighted(text) for span in spans})
    kept, at = [], 0
    for start, end in gone:
        kept.append(text[at : max(at, start)])
        at = max(at, end)
    return _tidy("".join([*kept, text[at:]]))


def _first_editing(text: str) -> str:
    found = [group for group in _groups(text) if group.bracket == "[" and _is_editing(text, group)]
    return text[found[0].start : found[0].end + 1] if found else ""


def _breaks(text: str) -> Iterator[re.Match[str]]:
    """Nothing in a line that is written in capitals throughout."""
    if any(char.islower() for char in text):
        yield from _BREAK.finditer(text)


def _first_break(text: str) -> str:
    return next((match.group() for line in captions.lines(text) for match in _breaks(line)), "")


def without_breaks(text: str) -> str:
    """A comma in place of `BREAK`, `AND` and the like."""
    return _tidy(_BREAK.sub(",", text)) if any(_breaks(text)) else text


def without_parameters(caption: str) -> str:
    """A prompt with what an image generator wrote behind it, without that: a caption of all lines."""
    match = _PARAMETERS.search(caption)
    return captions.normalised(caption[: match.start()]).rstrip(" ,") if match else caption


def _first(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def find(text: str) -> str:
        match = pattern.search(text)
        return match.group() if match else ""

    return find


def _without(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: _tidy(pattern.sub("", text)) if pattern.search(text) else text


def _first_wildcard(text: str) -> str:
    if not any(map(wildcards.has_choice, captions.lines(text))):
        return ""
    found = [
        group
        for group in _groups(text)
        if group.bracket == "{" and "|" in text[group.start : min(group.end, group.start + _FAR)]
    ]
    return text[found[0].start : found[0].end + 1] if found else ""


SYNTAXES: Mapping[str, Syntax] = {
    syntax.id: syntax
    for syntax in (
        Syntax("caption_weights", "weights", _first_weight, without_weights),
        Syntax("caption_editing", "prompt editing", _first_editing),
        Syntax("caption_lora_tags", "LoRA tags", _first(_LORA), _without(_LORA)),
        Syntax("caption_embeddings", "names of embeddings", _first(_EMBEDDING), _without(_EMBEDDING)),
        Syntax("caption_breaks", "words that part prompts", _first_break, without_breaks),
        Syntax("caption_wildcards", "wildcards", _first_wildcard),
        Syntax("caption_wildcard_files", "names of wildcard files", _first(_FILE)),
        Syntax("caption_placeholders", "placeholders", _first(_PLACE)),
        Syntax("caption_parameters", "parameters of an image generator", _first(_PARAMETERS), without_parameters),
        Syntax("caption_escapes", "backslashes before brackets", _first(_ESCAPE), lambda text: _ESCAPE.sub(r"\1", text)),
    )
}
"""By the id of the finding that names it."""


@lru_cache(maxsize=20_000)
def found_in(caption: str) -> Mapping[str, str]:
    """What of all this a caption holds: id -> the first place. Kept, since a set is looked at after every choice."""
    return {id: example for id, syntax in SYNTAXES.items() if (example := syntax.find(caption))}


def filled_in(caption: str, trigger: str, class_word: str) -> str:
    """The caption with placeholders of other tools replaced by the person's words; those that have none stay."""

    def word(match: re.Match[str]) -> str:
        name = (match[1] or match[2]).lower().replace("_", "")
        subject = " ".join(part for part in (trigger, class_word) if part)
        meant = {"trigger": trigger, "triggerword": trigger, "name": trigger, "subject": subject, "class": class_word}
        return meant.get(name) or match.group()

    return _PLACE.sub(word, caption)


def _tidy(text: str) -> str:
    """Without the empty tags and double spaces that taking out leaves."""
    parts = [" ".join(part.split()) for part in text.split(",")]
    return ", ".join(part for part in parts if part)
