"""Checks of captions written for another tool: several of them in a file, wildcards, weights, LoRA tags, `BREAK` and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loratui.engine.dataset import captions, wildcards
from loratui.engine.dataset.caption_choice import MOST_TEXTS
from loratui.engine.dataset.caption_syntax import SYNTAXES, found_in
from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.scan import ImageEntry
from loratui.engine.findings import Finding
from loratui.engine.words import count, number


def _written(case: Case) -> Iterator[ImageEntry]:
    return (image for image in case.scan.images if image.caption)


def _several(case: Case) -> Iterator[Finding]:
    """Captions of several lines or files; not those in which an image generator wrote its parameters below the prompt."""
    choice = case.settings.dataset.caption_choice
    several: dict[str, int] = {}
    apart: dict[str, int] = {}
    for image in _written(case):
        count = len(captions.lines(image.caption or ""))
        if count > 1 and "caption_parameters" not in found_in(image.caption or ""):
            (apart if image.apart else several)[image.relative] = count
    if apart and choice != "first":
        yield Finding.of(
            "caption_lines.apart", apart, lines=_span(apart, "caption"), settings={"dataset.caption_choice": "first"}
        )
    if choice == "first":
        dropped = {**several, **apart}
        every = {"dataset.caption_choice": "line"}
        yield from some("caption_lines.first", dropped, lines=_span(dropped, "caption"), settings=every)
        return
    if choice == "whole":
        yield from some(
            "caption_lines.whole", several, lines=_span(several, "line"), settings={"dataset.caption_choice": "line"}
        )
        several = apart
    else:
        back_to = {"dataset.caption_choice": "whole"}
        yield from some("caption_lines.drawn", several, lines=_span(several, "caption"), settings=back_to)
        several |= apart
    yield from some("caption_lines.too_many", (name for name, count in several.items() if count > MOST_TEXTS), most=MOST_TEXTS)


def _span(counts: Mapping[str, int], noun: str) -> str:
    """`2 lines`, `2 to 5 lines`."""
    least, most = min(counts.values(), default=0), max(counts.values(), default=0)
    return (f"{number(least)} to " if least != most else "") + count(most, noun)


def _wildcards(case: Case) -> Iterator[Finding]:
    lines = {image.relative: captions.lines(image.caption or "") for image in _written(case)}
    unread = {name: odd for name, own in lines.items() if (odd := next(filter(None, map(wildcards.why_unread, own)), ""))}
    if case.settings.dataset.caption_choice != "line+wildcards":
        yield from _of("caption_wildcards", settings={"dataset.caption_choice": "line+wildcards"})(case)
    yield from some("caption_wildcards.unread", unread, example=next(iter(unread.values()), ""))


def _of(code: str, **more: Any) -> Callable[[Case], Iterator[Finding]]:
    def find(case: Case) -> Iterator[Finding]:
        examples = {i.relative: example for i in _written(case) if (example := found_in(i.caption or "").get(code, ""))}
        if examples:
            example = next(iter(examples.values())).strip()
            shown = example if len(example) <= 40 else f"{example[:39]}…"
            yield Finding.of(code, examples, what=SYNTAXES[code].what, example=shown, **more)

    return find


CHECKS = (
    Check("caption_lines", "headers", _several),
    Check("caption_wildcards", "headers", _wildcards),
    *(Check(code, "headers", _of(code)) for code in SYNTAXES if code != "caption_wildcards"),
)
