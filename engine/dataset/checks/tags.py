"""Checks of what captions say: number and style of tags, score tags, doubles, backgrounds, what stands in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from loratui.engine import families
from loratui.engine.dataset import caption_words
from loratui.engine.dataset.captions import contains_trigger
from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.findings import Finding

FEWEST, MOST = 5, 20
"""Tags of a caption (Valstrix)."""

_BACKGROUND = caption_words.whole_words("background", "backdrop", "wall", "sky", "skies", "studio", "isolated", "snow", "snowy")
_WATERMARK = caption_words.whole_words(
    "watermark", "watermarked", "signature", "artist name", "web address", "logo", "copyright", "copyrighted"
)


def _style(case: Case) -> Iterator[Finding]:
    model = case.settings.base.model or case.preset
    if not model:
        return
    named = families.tag_words(model)
    if named and case.style == "words":
        kind = "e621 tags" if "e621" in named.values() else "tags of the image boards"
        yield Finding.of("tag_style.sentences", named=list(named), model=model, tags=kind)
    elif case.settings.base.model and not named and case.style == "booru":
        yield Finding.of("tag_style", model=model)


def _with(code: str, holds: Callable[[str], object], **parameters: Any) -> Callable[[Case], Iterator[Finding]]:
    return lambda case: some(code, (i.relative for i in case.captioned if any(map(holds, case.texts(i)))), **parameters)


def _few(case: Case) -> Iterator[Finding]:
    """Captions in tags are judged by the text of fewest tags."""
    tagged = {
        image.relative: [
            len(caption_words.parts(text))
            for text in case.texts(image)
            if caption_words.style_of_one(text) in ("tags", "booru")
        ]
        for image in case.captioned
    }
    return some("few_tags", (name for name, counts in tagged.items() if min(counts, default=FEWEST) < FEWEST), fewest=FEWEST)


def _implied(case: Case) -> Iterator[Finding]:
    pairs = {
        i.relative: [pair for text in case.texts(i) for pair in caption_words.implied(text, case.implies)]
        for i in case.captioned
    }
    doubled = {name: own for name, own in pairs.items() if own}
    shown = [f"{tag} and {other}" for tag, other in dict.fromkeys(pair for own in doubled.values() for pair in own)]
    return some("implied_tags", doubled, pairs=shown)


def _everywhere(case: Case) -> Iterator[Finding]:
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
        yield Finding.of("tag_everywhere", tags=everywhere)


def _white(case: Case) -> Iterator[Finding]:
    """Plain light backgrounds that come again without being named."""
    light = [image for image, facts in case.measured() if facts.background is not None and min(facts.background) >= 225]
    silent = (i.relative for i in light if i.caption and not all(map(_BACKGROUND.search, case.texts(i))))
    return some("white_background", silent if len(light) >= 3 else ())


CHECKS = (
    Check("tag_style", "headers", _style),
    Check("many_tags", "headers", _with("many_tags", lambda text: len(caption_words.parts(text)) > MOST, most=MOST)),
    Check("few_tags", "headers", _few),
    Check("score_tags", "headers", _with("score_tags", caption_words.SCORE.search)),
    Check("implied_tags", "headers", _implied),
    Check("repeated_tags", "headers", _with("repeated_tags", caption_words.repeated)),
    Check("tag_everywhere", "headers", _everywhere),
    Check("white_background", "pixels", _white),
    Check("watermark", "headers", _with("watermark", _WATERMARK.search)),
)
