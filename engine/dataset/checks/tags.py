"""Checks of what captions say: number and style of tags, score tags, doubles, backgrounds, what stands in all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from loratui.engine.dataset import caption_words
from loratui.engine.dataset.captions import contains_trigger
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.findings import listed, number_of

FEWEST, MOST = 5, 20
"""Tags of a caption (Valstrix)."""

_TAG_BASES = frozenset(
    [
        "pony",
        "illustrious",
        "noob",
        "noobai",
        "animagine",
        "anything",
        "anylora",
        "wai",
        "fluffyrock",
        "bb95",
        "furry",
        "booru",
        "anime",
        "e621",
    ]
)
"""Words in the names of bases that know tags."""
_E621_BASES = frozenset({"fluffyrock", "bb95", "furry", "e621"})
_NAME_WORDS = re.compile(r"bb95|e621|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""The words of a file's name: `waiNSFWIllustrious_v140` has wai, NSFW, Illustrious and v."""
_BACKGROUND = caption_words.whole_words("background", "backdrop", "wall", "sky", "skies", "studio", "isolated", "snow", "snowy")
_WATERMARK = caption_words.whole_words(
    "watermark", "watermarked", "signature", "artist name", "web address", "logo", "copyright", "copyrighted"
)


def name_words(model: str) -> frozenset[str]:
    """The words that a base's own name is made of, in lower case; the folders around it say nothing of it."""
    name = model.rstrip("/").rpartition("/")[2].removesuffix(".safetensors")
    return frozenset(word.lower() for word in _NAME_WORDS.findall(name))


def _style(case: Case) -> Iterator[Hit]:
    """What is known of a base is its name alone, so nothing is claimed of what it was trained on."""
    model = case.settings.base.model or case.preset
    if not model:
        return
    named = name_words(model) & _TAG_BASES
    if named and case.style == "words":
        kind = "e621 tags" if named & _E621_BASES else "tags of the image boards"
        message = (
            f"The captions are sentences; bases with {listed(sorted(named))} in their name, as {model}, mostly know {kind}."
        )
        yield Hit(message, remedy=f"Read on the page of the base what it knows; if it is tags, caption with {kind}.")
    elif case.settings.base.model and not named and case.style == "booru":
        yield Hit(f"The captions are tags of the image boards; nothing in the name of {model} says that it knows them.")


def _tagged(case: Case) -> Iterator[tuple[str, list[str]]]:
    """Captions in tags, each with the text of fewest tags."""
    for image in case.captioned:
        tags = [
            caption_words.parts(text) for text in case.texts(image) if caption_words.style_of_one(text) in ("tags", "booru")
        ]
        if tags:
            yield image.relative, min(tags, key=len)


def _with(case: Case, holds: Callable[[str], object]) -> tuple[str, ...]:
    """Images of which this holds for any of their texts."""
    return tuple(image.relative for image in case.captioned if any(map(holds, case.texts(image))))


def _many(case: Case) -> Iterator[Hit]:
    files = _with(case, lambda text: len(caption_words.parts(text)) > MOST)
    if files:
        yield Hit(f"{number_of(files, 'caption')} of more than {MOST} tags: {listed(files)}.", files)


def _few(case: Case) -> Iterator[Hit]:
    files = tuple(name for name, tags in _tagged(case) if len(tags) < FEWEST)
    if files:
        yield Hit(f"{number_of(files, 'caption')} of fewer than {FEWEST} tags: {listed(files)}.", files)


def _scores(case: Case) -> Iterator[Hit]:
    files = _with(case, caption_words.SCORE.search)
    if files:
        yield Hit(f"{number_of(files, 'caption')} with score, source or rating tags: {listed(files)}.", files)


def _implied(case: Case) -> Iterator[Hit]:
    found = {i.relative: [pair for text in case.texts(i) for pair in caption_words.implied(text)] for i in case.captioned}
    doubled = {name: pairs for name, pairs in found.items() if pairs}
    if doubled:
        pairs = listed([f"{tag} and {other}" for tag, other in dict.fromkeys(p for ps in doubled.values() for p in ps)], 3)
        files = tuple(doubled)
        yield Hit(f"{number_of(files, 'caption')} with tags that imply each other ({pairs}): {listed(files)}.", files)


def _repeated(case: Case) -> Iterator[Hit]:
    files = _with(case, caption_words.repeated)
    if files:
        yield Hit(f"{number_of(files, 'caption')} with a tag twice: {listed(files)}.", files)


def _everywhere(case: Case) -> Iterator[Hit]:
    if len(case.captioned) < 6:
        return
    own = {case.trigger.lower(), case.settings.dataset.class_word.strip().lower(), ""}
    counts = caption_words.tag_counts(image.caption or "" for image in case.captioned)
    everywhere = [
        tag
        for tag, count in counts.most_common()
        if count >= 0.8 * len(case.captioned)
        and tag not in own
        and not (case.trigger and contains_trigger(tag, case.trigger.lower()))
    ]
    if everywhere:
        yield Hit(f"In nearly all captions: {listed(everywhere)}.")


def _white(case: Case) -> Iterator[Hit]:
    """Plain light backgrounds that come again without being named."""
    light = [image for image, facts in case.measured() if facts.background is not None and min(facts.background) >= 225]
    silent = tuple(i.relative for i in light if i.caption and not all(map(_BACKGROUND.search, case.texts(i))))
    if len(light) >= 3 and silent:
        yield Hit(f"{number_of(silent)} on plain white, which the caption does not say: {listed(silent)}.", silent)


def _watermarks(case: Case) -> Iterator[Hit]:
    files = _with(case, _WATERMARK.search)
    if files:
        yield Hit(f"{number_of(files)} with a watermark or signature, by their captions: {listed(files)}.", files)


CHECKS = (
    Check(
        "tag_style",
        "info",
        "headers",
        "A base understands captions that are written as those that it was trained on (guides 002 and 003).",
        "Caption with sentences, or choose a base that knows the tags.",
        _style,
    ),
    Check(
        "many_tags",
        "warning",
        "headers",
        "What is learnt spreads thinly over so many tags: 5 to 20 are right (Valstrix).",
        "Keep what matters in the image.",
        _many,
    ),
    Check(
        "few_tags",
        "info",
        "headers",
        "What no tag names becomes part of the trigger: 5 to 20 are right (Valstrix).",
        "Name clothes, place, light and view.",
        _few,
    ),
    Check(
        "score_tags",
        "warning",
        "headers",
        "They belong into prompts, never into captions: they would be bound to the subject (ZyloO).",
        "Remove them from all captions.",
        _scores,
    ),
    Check(
        "implied_tags",
        "info",
        "headers",
        "What is learnt is spread over both, and both get weaker (Valstrix).",
        "Keep the more precise one.",
        _implied,
    ),
    Check("repeated_tags", "info", "headers", "It takes room and adds nothing.", "Remove one of them.", _repeated),
    Check(
        "tag_everywhere",
        "info",
        "headers",
        "What is in every image becomes part of the subject, or of that word (guides 000 and 002).",
        "Add images without it, or leave the tag if it belongs to the subject.",
        _everywhere,
    ),
    Check(
        "white_background",
        "warning",
        "pixels",
        "A white background that comes again must be named, or it sticks to the subject (Valstrix).",
        "Add a tag such as white background to these captions.",
        _white,
    ),
    Check(
        "watermark",
        "warning",
        "headers",
        "Watermarks and signatures are learnt soon, since they are always alike (guides 000 and 002). They are only known by "
        "captions here.",
        "Crop or paint them out, or leave the images out.",
        _watermarks,
    ),
)
