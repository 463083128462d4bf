"""Checks of captions written for another tool: several of them in a file, wildcards, weights, LoRA tags, `BREAK` and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loratui.engine.dataset import captions, wildcards
from loratui.engine.dataset.caption_choice import MOST_TEXTS
from loratui.engine.dataset.caption_syntax import SYNTAXES, found_in
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.findings import listed, number_of
from loratui.engine.dataset.scan import ImageEntry
from loratui.engine.words import count, number


def _written(case: Case) -> Iterator[ImageEntry]:
    return (image for image in case.scan.images if image.caption)


def _several(case: Case) -> Iterator[Hit]:
    """Caption files of several lines; not those in which an image generator wrote its parameters below the prompt."""
    counts = {
        image.relative: len(captions.lines(image.caption or ""))
        for image in _written(case)
        if "caption_parameters" not in found_in(image.caption or "")
    }
    several = {name: count for name, count in counts.items() if count > 1}
    if not several:
        return
    files, least, most = tuple(several), min(several.values()), max(several.values())
    if case.settings.dataset.caption_choice == "whole":
        yield Hit(
            f"{number_of(files, 'caption')} of {_span(least, most, 'line')}, trained as one text: {listed(files)}.", files
        )
        return
    message = (
        f"{number_of(files)} with {_span(least, most, 'caption')}, one a line: each is drawn equally often: {listed(files)}."
    )
    yield Hit(message, files, "info", "")
    lost = tuple(name for name, count in several.items() if count > MOST_TEXTS)
    if lost:
        message = f"{number_of(lost, 'caption')} of more than {number(MOST_TEXTS)} lines, of which the rest is not used: {listed(lost)}."
        yield Hit(message, lost, remedy="Keep the best lines.")


def _span(least: int, most: int, noun: str) -> str:
    """`2 lines`, `2 to 5 lines`."""
    return (f"{number(least)} to " if least != most else "") + count(most, noun)


def _wildcards(case: Case) -> Iterator[Hit]:
    lines = {image.relative: captions.lines(image.caption or "") for image in _written(case)}
    unread = {name: odd for name, own in lines.items() if (odd := next(filter(None, map(wildcards.why_unread, own)), ""))}
    if case.settings.dataset.caption_choice != "line+wildcards":
        yield from _of("caption_wildcards")(case)
    if unread:
        files, odd = tuple(unread), next(iter(unread.values()))
        yield Hit(
            f'{number_of(files, "caption")} with wildcards of a kind that is not read ("{odd}" …): {listed(files)}.',
            files,
            remedy="Write them as {red|blue}, with each { closed.",
        )


def _of(id: str) -> Callable[[Case], Iterator[Hit]]:
    syntax = SYNTAXES[id]

    def find(case: Case) -> Iterator[Hit]:
        found = {i.relative: example for i in _written(case) if (example := found_in(i.caption or "").get(id, ""))}
        if found:
            yield _named(found, syntax.what)

    return find


def _named(found: dict[str, str], what: str) -> Hit:
    files, example = tuple(found), next(iter(found.values())).strip()
    shown = example if len(example) <= 40 else f"{example[:39]}…"
    return Hit(f'{number_of(files, "caption")} with {what}, such as "{shown}": {listed(files)}.', files)


_LETTERS = "A text encoder reads it as letters, which are learnt like any other word"
_APP = "m in the app's data set does it"

CHECKS = (
    Check(
        "caption_lines",
        "warning",
        "headers",
        "Some tools take each line for a caption of its own: ai-toolkit and OneTrainer draw one each time, sd-scripts does so with "
        "wildcards and else reads only the first.",
        "If each line is a caption, set dataset.caption_choice=line. If it is one text, put it into one line.",
        _several,
    ),
    Check(
        "caption_wildcards",
        "warning",
        "headers",
        f"{_LETTERS}, braces and all.",
        "Set dataset.caption_choice=line+wildcards, which draws one part each time.",
        _wildcards,
    ),
    Check(
        "caption_wildcard_files",
        "warning",
        "headers",
        f"{_LETTERS}; the file with the words belongs to another tool.",
        "Put one of its words there, or several as {red|blue}.",
        _of("caption_wildcard_files"),
    ),
    Check(
        "caption_weights",
        "warning",
        "headers",
        f"{_LETTERS}: weights belong into prompts, and the captions of all images weigh the same.",
        f"Take brackets and numbers out; {_APP}.",
        _of("caption_weights"),
    ),
    Check(
        "caption_editing",
        "warning",
        "headers",
        f"{_LETTERS}: it changes a prompt while an image is made.",
        "Write what is to be seen in the image.",
        _of("caption_editing"),
    ),
    Check(
        "caption_lora_tags",
        "warning",
        "headers",
        f"{_LETTERS}: it loads a file where images are made.",
        f"Take it out; {_APP}.",
        _of("caption_lora_tags"),
    ),
    Check(
        "caption_embeddings",
        "warning",
        "headers",
        f"{_LETTERS}: no embedding is loaded in training.",
        f"Take it out; {_APP}.",
        _of("caption_embeddings"),
    ),
    Check(
        "caption_breaks",
        "warning",
        "headers",
        f"{_LETTERS}: it parts a prompt for a program that makes images.",
        f"Put a comma there; {_APP}.",
        _of("caption_breaks"),
    ),
    Check(
        "caption_placeholders",
        "warning",
        "headers",
        f"{_LETTERS}: other tools put the trigger or a name there.",
        f"Write the word itself; {_APP} for the trigger and the class.",
        _of("caption_placeholders"),
    ),
    Check(
        "caption_parameters",
        "warning",
        "headers",
        f"{_LETTERS}: an image generator saves its settings and what should not be seen below its prompt.",
        f"Keep the prompt alone; {_APP}.",
        _of("caption_parameters"),
    ),
    Check(
        "caption_escapes",
        "info",
        "headers",
        "It is for programs in which brackets weigh words; here it is one sign more, which no prompt has later.",
        f"Take the backslashes out; {_APP}.",
        _of("caption_escapes"),
    ),
)
