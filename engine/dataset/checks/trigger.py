"""Checks of the trigger and the class word: in every caption, first, spelled the same, and new to the base."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from loratui.engine.dataset import caption_words
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.contents import ImageEntry
from loratui.engine.dataset.findings import Severity, listed, number_of
from loratui.engine.words import count, number


def _absent(case: Case) -> Iterator[Hit]:
    named_by_folders = all(c.name for c in case.scan.concepts if not c.regularisation)
    given = case.trigger and not case.guess
    if given or named_by_folders or not case.identity:
        return
    remedy = f'All captions hold "{case.guess}": say --trigger {case.guess} if that is it.' if case.guess else None
    message = f"No trigger word is set, so no word is known to stand for the {case.settings.dataset.subject}."
    yield Hit(message, remedy=remedy)


def _missing(case: Case) -> Iterator[Hit]:
    """Captions that say nothing like the trigger; what is spelled in another way is said by `trigger_spelling` alone."""
    holding = {image.relative for image in case.holding_trigger} | {image.relative for image, _ in _odd_spellings(case)}
    lacking = [image for image in case.captioned if image.relative not in holding]
    if lacking:
        files = tuple(image.relative for image in lacking)
        total = len(case.scan.training)
        yield Hit(
            f"{number(len(lacking))} of {count(total, 'caption')} without {_triggers(case, lacking)}: {listed(files)}.", files
        )


def _spelled(case: Case) -> Iterator[Hit]:
    odd = _odd_spellings(case)
    if odd:
        variants = listed(sorted({word for _, words in odd for word in words}))
        files = tuple(image.relative for image, _ in odd)
        names = _triggers(case, [image for image, _ in odd])
        yield Hit(f"{names} is spelled in other ways ({variants}) in {listed(files)}.", files)


def _odd_spellings(case: Case) -> list[tuple[ImageEntry, list[str]]]:
    found = [
        (i, caption_words.spellings(" ".join(case.texts(i)), case.trigger_of(i))) for i in case.captioned if case.trigger_of(i)
    ]
    return [(image, words) for image, words in found if words]


def _not_first(case: Case) -> Iterator[Hit]:
    late = [
        image
        for image in case.holding_trigger
        if case.trigger_of(image) and not all(caption_words.leads(text, case.trigger_of(image)) for text in case.texts(image))
    ]
    if late:
        severity: Severity = "info" if case.style in ("words", "mixed") else "warning"
        files = tuple(image.relative for image in late)
        yield Hit(
            f"{_triggers(case, late)} does not come first in {number_of(files, 'caption')}: {listed(files)}.", files, severity
        )


def _class(case: Case) -> Iterator[Hit]:
    lacking = [
        image
        for image in case.holding_trigger
        if case.trigger_of(image)
        and case.class_of(image)
        and not all(caption_words.followed_by(text, case.trigger_of(image), case.class_of(image)) for text in case.texts(image))
    ]
    if lacking:
        files = tuple(image.relative for image in lacking)
        words = " or ".join(dict.fromkeys(f'"{case.class_of(image)}"' for image in lacking))
        yield Hit(
            f"{words} does not follow {_triggers(case, lacking)} in {number_of(files, 'caption')}: {listed(files)}.", files
        )


def _triggers(case: Case, images: Iterable[ImageEntry]) -> str:
    """The triggers that these images should have, in quotes."""
    return " or ".join(dict.fromkeys(f'"{case.trigger_of(image)}"' for image in images))


def _known(case: Case) -> Iterator[Hit]:
    for word in case.trigger.split():
        if not case.tokenizer.knows(word):
            continue
        others = [name for name in caption_words.proposals(word) if not case.tokenizer.knows(name)]
        proposal = f"Take a word that means nothing, such as {' or '.join(others)}." if others else None
        how = "is an everyday word" if caption_words.is_common(word) else "is one token of the base's vocabulary"
        yield Hit(f'The trigger "{word}" {how}: the base knows it already.', remedy=proposal)


def _form(case: Case) -> Iterator[Hit]:
    fault = trigger_fault(case.trigger)
    if fault:
        plain_word = re.sub(r"[\W_]+", "", case.trigger).lower()
        remedy = f'Take one plain word, such as "{plain_word}".' if plain_word else None
        yield Hit(f'The trigger "{case.trigger}" {fault}.', remedy=remedy)


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
    Check(
        "trigger_absent",
        "warning",
        "headers",
        "The trigger is what calls the subject up later, and names the files (FLUX guide).",
        "Give the made-up word of the captions with --trigger.",
        _absent,
    ),
    Check(
        "trigger_missing",
        "warning",
        "headers",
        "Only the trigger calls the subject up later (FLUX guide).",
        "Put the trigger first in every caption, spelled the same.",
        _missing,
    ),
    Check(
        "trigger_spelling",
        "warning",
        "headers",
        "Another spelling is another word to the model (guides 000 and 002).",
        "Replace it by the trigger in all captions.",
        _spelled,
    ),
    Check(
        "trigger_not_first",
        "warning",
        "headers",
        "The first words of a caption weigh most (guides 000 and 002).",
        "Put the trigger first in every caption.",
        _not_first,
    ),
    Check(
        "class_not_second",
        "info",
        "headers",
        "The class word tells the model what kind of thing the trigger is (Valstrix).",
        "Put the class word behind the trigger.",
        _class,
    ),
    Check(
        "trigger_form",
        "warning",
        "headers",
        "It must be the same in every caption and prompt, where signs weight or separate words, and it names the files.",
        "Take one plain word of letters and digits.",
        _form,
    ),
    Check(
        "trigger_known",
        "warning",
        "headers",
        "The old meaning mixes with the new one (Valstrix).",
        "Take a word that means nothing.",
        _known,
    ),
)
