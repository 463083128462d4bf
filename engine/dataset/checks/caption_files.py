"""Checks of caption files: missing, empty, in other encodings, all the same, too long for the text encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from loratui.engine import words
from loratui.engine.dataset import captions, encodings, tokens
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.findings import counted, listed, number_of
from loratui.engine.dataset.ledger import final_caption
from loratui.engine.words import number


def _missing(case: Case) -> Iterator[Hit]:
    training = case.scan.training
    without = [image for image in training if image.caption is None]
    if not without:
        return
    several = case.scan.several_concepts
    instead = list(dict.fromkeys(final_caption(image, case.settings, several_concepts=several) for image in without))
    if len(without) == len(training):
        which = "No image has a caption"
    else:
        which = f"{words.count(len(without), 'image')} {'has' if len(without) == 1 else 'have'} no caption"
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
        all_of_them = words.count(len(case.captioned), "caption")
        yield Hit(f'{number(count)} of {all_of_them} are the same: "{str(caption)[:80]}".', files)


def _too_long(case: Case) -> Iterator[Hit]:
    window = tokens.window(case.settings)
    texts = ((image.relative, text) for image in case.captioned for text in case.texts(image))
    over: dict[str, str] = {}
    for name, text in texts:
        if name not in over and case.tokenizer.count(text) > window:
            over[name] = text
    if not over:
        return
    first, caption = next(iter(over.items()))
    lost = case.tokenizer.lost(caption, window).strip()
    counted = "" if case.tokenizer.exact else "about "
    shown = lost if len(lost) <= 80 else lost[:79] + "…"
    message = (
        f"{number_of(tuple(over), 'caption')} of more than {counted}{number(window)} tokens: {listed(tuple(over))}. "
        f'Of {first} this is cut off: "{shown}".'
    )
    yield Hit(message, tuple(over), None if case.tokenizer.exact else "info")


def _encoding(case: Case) -> Iterator[Hit]:
    """Captions that are no UTF-8, all in one finding, with a line to judge by whether they were read right."""
    foreign = [image for image in case.scan.images if image.caption_path and not image.caption_encoding.startswith("utf-8")]
    if not foreign:
        return
    counts = Counter(image.caption_encoding for image in foreign).most_common()
    which = counts[0][0] if len(counts) == 1 else ", ".join(f"{number(count)} {name}" for name, count in counts)
    shown = next((image for image in foreign if not (image.caption or "").isascii()), foreign[0])
    files = tuple(dict.fromkeys(image.caption_file for image in foreign))
    sure = all(image.caption_encoding in captions.MARKED for image in foreign)
    message = f"{counted(files, 'caption')} not UTF-8"
    message += f", but {which} by its mark" if sure else f"; by their bytes probably {which}, and read so"
    hit = Hit(f'{message}. {shown.caption_file}: "{_excerpt(shown.caption or "")}".', files)
    yield replace(hit, severity="info", remedy="Save them as UTF-8 for other trainers.") if sure else hit


def _excerpt(caption: str, most: int = 60) -> str:
    """A part of a caption around its first sign beyond ASCII, which is what an encoding spoils."""
    text = captions.whole(caption)
    at = next((at for at, char in enumerate(text) if not char.isascii()), 0)
    start = max(0, min(at - most // 3, len(text) - most))
    return ("…" if start else "") + text[start : start + most] + ("…" if len(text) > start + most else "")


def _mixed_up(case: Case) -> Iterator[Hit]:
    """Captions that are UTF-8 now, but were read in a wrong encoding before they were saved."""
    written = [image for image in case.scan.images if image.caption]
    spoilt = [(image, mended) for image in written if (mended := encodings.unmixed(image.caption or "")) != image.caption]
    texts = {image.relative: image.caption or "" for image in written} | {image.relative: mended for image, mended in spoilt}
    lost = tuple(name for name, text in texts.items() if any(sign in text for sign in encodings.LOST))
    if lost:
        message = f"{number_of(lost, 'caption')} with signs in place of letters that a wrong encoding lost: {listed(lost)}."
        yield Hit(message, lost, remedy="Write these words anew, or take the captions from where they are still right.")
    spoilt = [(image, mended) for image, mended in spoilt if image.relative not in lost]
    if spoilt:
        first, mended = spoilt[0]
        files = tuple(image.relative for image, _ in spoilt)
        example = f'"{_excerpt(first.caption or "", 40)}" in {first.relative} was probably "{_excerpt(mended, 40)}"'
        yield Hit(f"{number_of(files, 'caption')} with signs that a wrong encoding left: {example}.", files)


CHECKS = (
    Check(
        "caption_missing",
        "warning",
        "headers",
        "A caption tells what in the image is not the subject.",
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
        "Check what it is (file), and who may read it (ls -l).",
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
        "warning",
        "headers",
        "Read in a wrong encoding, words become letters that no base knows; other trainers stop at such files.",
        "If it reads right, save them as UTF-8 (m in the app's data set, then s). If not, convert them yourself: "
        "iconv -f ENCODING -t UTF-8.",
        _encoding,
    ),
    Check(
        "caption_mojibake",
        "warning",
        "headers",
        "They are trained on as the letters that stand there, which no base knows.",
        "Put them right (m in the app's data set, then s).",
        _mixed_up,
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
        "What differs between the images cannot be told from the subject then (Valstrix).",
        "Say in each caption what is special in its image.",
        _same,
    ),
    Check(
        "caption_cut",
        "warning",
        "headers",
        "The text encoder never sees what is beyond its window (Valstrix, comments).",
        "Shorten them; what matters comes first.",
        _too_long,
    ),
)
