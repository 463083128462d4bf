"""Checks of the trigger and the class word: in every caption, first, spelled the same, and new to the base."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from loratui.engine.dataset import caption_words
from loratui.engine.dataset.checks.case import Case, Check
from loratui.engine.dataset.contents import ImageEntry
from loratui.engine.findings import Finding


def _absent(case: Case) -> Iterator[Finding]:
    named_by_folders = all(c.name for c in case.scan.concepts if not c.regularisation)
    given = case.trigger and not case.guess
    if given or named_by_folders or not case.identity:
        return
    subject = case.settings.dataset.subject
    if case.guess:
        yield Finding.of("trigger_absent.guessed", subject=subject, guess=case.guess, settings={"dataset.trigger": case.guess})
    else:
        yield Finding.of("trigger_absent", subject=subject)


def _missing(case: Case) -> Iterator[Finding]:
    """Captions that say nothing like the trigger; what is spelled in another way is said by `trigger_spelling` alone."""
    holding = {image.relative for image in case.holding_trigger} | {image.relative for image, _ in _odd_spellings(case)}
    lacking = [image for image in case.captioned if image.relative not in holding]
    return _of(case, "trigger_missing", lacking, total=len(case.scan.training))


def _spelled(case: Case) -> Iterator[Finding]:
    odd = _odd_spellings(case)
    variants = sorted({word for _, words in odd for word in words})
    return _of(case, "trigger_spelling", [image for image, _ in odd], spellings=variants)


def _odd_spellings(case: Case) -> list[tuple[ImageEntry, list[str]]]:
    spelled = [
        (i, caption_words.spellings(" ".join(case.texts(i)), case.trigger_of(i))) for i in case.captioned if case.trigger_of(i)
    ]
    return [(image, words) for image, words in spelled if words]


def _not_first(case: Case) -> Iterator[Finding]:
    late = [
        image
        for image in case.holding_trigger
        if case.trigger_of(image) and not all(caption_words.leads(text, case.trigger_of(image)) for text in case.texts(image))
    ]
    in_sentences = case.style in ("words", "mixed")
    return _of(case, "trigger_not_first.sentence" if in_sentences else "trigger_not_first", late)


def _class(case: Case) -> Iterator[Finding]:
    lacking = [
        image
        for image in case.holding_trigger
        if case.trigger_of(image)
        and case.class_of(image)
        and not all(caption_words.followed_by(text, case.trigger_of(image), case.class_of(image)) for text in case.texts(image))
    ]
    return _of(case, "class_not_second", lacking, classes=_quoted(case.class_of(image) for image in lacking))


def _of(case: Case, key: str, images: Sequence[ImageEntry], **parameters: Any) -> Iterator[Finding]:
    """A finding of these images, if there are any, with the triggers that they should have."""
    if names := [image.relative for image in images]:
        yield Finding.of(key, names, triggers=_quoted(map(case.trigger_of, images)), **parameters)


def _quoted(words: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(f'"{word}"' for word in words))


def _known(case: Case) -> Iterator[Finding]:
    for word in case.trigger.split():
        if not case.tokenizer.knows(word):
            continue
        how = "is an everyday word" if caption_words.is_common(word) else "is one token of the base's vocabulary"
        better = [name for name in caption_words.proposals(word) if not case.tokenizer.knows(name)]
        if better:
            yield Finding.of("trigger_known.better", word=word, how=how, better=better, settings={"dataset.trigger": better[0]})
        else:
            yield Finding.of("trigger_known", word=word, how=how)


def _form(case: Case) -> Iterator[Finding]:
    if fault := trigger_fault(case.trigger):
        plain = re.sub(r"[\W_]+", "", case.trigger).lower()
        yield Finding.of("trigger_form.plain" if plain else "trigger_form", trigger=case.trigger, fault=fault, plain=plain)


def trigger_fault(trigger: str) -> str:
    """What makes a trigger a bad one to write, as what follows its name in a sentence; empty if nothing does."""
    if re.search(r"[/\\~]", trigger):
        return "looks like a path"
    odd = "".join(dict.fromkeys(re.findall(r"[^\w\s-]", trigger)))
    if odd:
        return f"has signs in it ({' '.join(odd)})"
    if len(trigger.split()) > 1:
        return "is more than one word"
    return ""


CHECKS = (
    Check("trigger_absent", "headers", _absent),
    Check("trigger_missing", "headers", _missing),
    Check("trigger_spelling", "headers", _spelled),
    Check("trigger_not_first", "headers", _not_first),
    Check("class_not_second", "headers", _class),
    Check("trigger_form", "headers", _form),
    Check("trigger_known", "headers", _known),
)
