"""Checks of caption files: missing, empty, in other encodings, all the same, too long for the text encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from loratui.engine.dataset import tokens
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.findings import listed, number_of
from loratui.engine.dataset.ledger import final_caption


def _missing(case: Case) -> Iterator[Hit]:
    training = case.scan.training
    without = [image for image in training if image.caption is None]
    if not without:
        return
    several = case.scan.several_concepts
    instead = list(dict.fromkeys(final_caption(image, case.settings, several_concepts=several) for image in without))
    if len(without) == len(training):
        which = "No picture has a caption"
    else:
        which = "1 picture has no caption" if len(without) == 1 else f"{len(without)} pictures have no caption"
    files = tuple(image.relative for image in without)
    if all(instead):
        shown = listed([f'"{text}"' for text in instead], 3)
        yield Hit(f"{which}: trained on {shown}.", files, "info", "")
    else:
        yield Hit(f"{which}: trained on an empty caption.", files)


def _same(case: Case) -> Iterator[Hit]:
    counts = Counter(image.caption for image in case.captioned)
    if not counts:
        return
    caption, count = counts.most_common(1)[0]
    if count >= 3 and 2 * count > len(case.captioned):
        files = tuple(image.relative for image in case.captioned if image.caption == caption)
        yield Hit(f'{count} of {len(case.captioned)} captions are the same: "{str(caption)[:80]}".', files)


def _too_long(case: Case) -> Iterator[Hit]:
    window = tokens.window(case.settings)
    over = {i.relative: i.caption for i in case.captioned if case.tokenizer.count(i.caption or "") > window}
    if not over:
        return
    first, caption = next(iter(over.items()))
    lost = case.tokenizer.lost(caption or "", window).strip()
    counted = "" if case.tokenizer.exact else "about "
    shown = lost if len(lost) <= 80 else lost[:79] + "…"
    message = (
        f"{number_of(tuple(over), 'caption')} of more than {counted}{window} tokens: {listed(tuple(over))}. "
        f'Of {first} this is cut off: "{shown}".'
    )
    yield Hit(message, tuple(over), None if case.tokenizer.exact else "info")


CHECKS = (
    Check(
        "caption_missing",
        "warning",
        "headers",
        "A caption tells what in the picture is not the subject.",
        "Name the subject with --trigger and --class.",
        _missing,
    ),
    Check(
        "caption_empty",
        "warning",
        "headers",
        "It counts as missing.",
        "Write it, or remove the file.",
        lambda case: case.noted("caption_empty"),
    ),
    Check(
        "caption_unreadable",
        "warning",
        "headers",
        "It counts as missing.",
        "Check who may read it (ls -l).",
        lambda case: case.noted("caption_unreadable"),
    ),
    Check(
        "two_captions",
        "warning",
        "headers",
        "Only one can be meant.",
        "Remove one of them.",
        lambda case: case.noted("two_captions"),
    ),
    Check(
        "caption_encoding",
        "info",
        "headers",
        "A byte-order mark decides, then UTF-8, then cp1252; other trainers stop at such files or read nonsense.",
        "Save it as UTF-8 if its accents look wrong.",
        lambda case: case.noted("caption_encoding"),
    ),
    Check(
        "caption_too_long",
        "warning",
        "headers",
        "No text encoder reads so much; this is probably no caption.",
        "Shorten it.",
        lambda case: case.noted("caption_too_long"),
    ),
    Check(
        "caption_same",
        "info",
        "headers",
        "What differs between the pictures cannot be told from the subject then (guide 002).",
        "Say in each caption what is special in its picture.",
        _same,
    ),
    Check(
        "caption_cut",
        "warning",
        "headers",
        "The text encoder never sees what is beyond its window (guide 002, comments).",
        "Shorten them; what matters comes first.",
        _too_long,
    ),
)
