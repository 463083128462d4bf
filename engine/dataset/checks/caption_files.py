"""Checks of caption files: missing, empty, in other encodings, all the same, too long for the text encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from loratui.engine.dataset import captions, encodings, tokens
from loratui.engine.dataset.checks.case import Case, Check, noted, some
from loratui.engine.dataset.ledger import final_caption
from loratui.engine.findings import Finding
from loratui.engine.words import number


def _missing(case: Case) -> Iterator[Finding]:
    without = [image for image in case.scan.training if image.caption is None]
    several = case.scan.several_concepts
    instead = list(dict.fromkeys(final_caption(image, case.settings, several_concepts=several) for image in without))
    key, shown = (
        ("caption_missing.replaced", [f'"{text}"' for text in instead]) if all(instead) else ("caption_missing.empty", [])
    )
    return some(key, (image.relative for image in without), images=len(case.scan.training), instead=shown)


def _same(case: Case) -> Iterator[Finding]:
    counts = Counter(image.caption for image in case.captioned)
    if not counts:
        return
    caption, count = counts.most_common(1)[0]
    if count >= 3 and 2 * count > len(case.captioned):
        files = (image.relative for image in case.captioned if image.caption == caption)
        yield Finding.of("caption_same", files, captions=len(case.captioned), caption=str(caption)[:80])


def _too_long(case: Case) -> Iterator[Finding]:
    window = tokens.window(case.settings)
    over: dict[str, str] = {}
    for image in case.captioned:
        for text in case.texts(image):
            if image.relative not in over and case.tokenizer.count(text) > window:
                over[image.relative] = text
    if over:
        first, caption = next(iter(over.items()))
        lost = case.tokenizer.lost(caption, window).strip()
        key = "caption_cut" if case.tokenizer.exact else "caption_cut.estimated"
        yield Finding.of(key, over, window=window, first=first, lost=lost if len(lost) <= 80 else f"{lost[:79]}…")


def _encoding(case: Case) -> Iterator[Finding]:
    """Captions that are no UTF-8, all in one finding, with a line to judge by whether they were read right."""
    foreign = [image for image in case.scan.images if image.caption_path and not image.caption_encoding.startswith("utf-8")]
    if not foreign:
        return
    counts = Counter(image.caption_encoding for image in foreign).most_common()
    which = counts[0][0] if len(counts) == 1 else ", ".join(f"{number(count)} {name}" for name, count in counts)
    shown = next((image for image in foreign if not (image.caption or "").isascii()), foreign[0])
    marked = all(image.caption_encoding in captions.MARKED for image in foreign)
    yield Finding.of(
        "caption_encoding.marked" if marked else "caption_encoding",
        dict.fromkeys(image.caption_file for image in foreign),
        encodings=which,
        shown=shown.caption_file,
        excerpt=_excerpt(shown.caption or ""),
    )


def _excerpt(caption: str, most: int = 60) -> str:
    """A part of a caption around its first sign beyond ASCII, which is what an encoding spoils."""
    text = captions.whole(caption)
    at = next((at for at, char in enumerate(text) if not char.isascii()), 0)
    start = max(0, min(at - most // 3, len(text) - most))
    return ("…" if start else "") + text[start : start + most] + ("…" if len(text) > start + most else "")


def _mixed_up(case: Case) -> Iterator[Finding]:
    """Captions that are UTF-8 now, but were read in a wrong encoding before they were saved."""
    written = {image.relative: image.caption for image in case.scan.images if image.caption}
    fixed = {name: encodings.unmixed(caption) for name, caption in written.items()}
    lost = [name for name, text in fixed.items() if any(sign in text for sign in encodings.LOST)]
    yield from some("caption_mojibake.lost", lost)
    spoilt = [name for name, text in fixed.items() if text != written[name] and name not in lost]
    if spoilt:
        first = spoilt[0]
        was, right = _excerpt(written[first], 40), _excerpt(fixed[first], 40)
        yield Finding.of("caption_mojibake.mended", spoilt, first=first, spoilt=was, mended=right)


CHECKS = (
    Check("caption_missing", "headers", _missing),
    *(
        Check(code, "headers", noted(code))
        for code in (
            *("caption_empty", "caption_unreadable", "two_captions", "caption_too_long"),
            *("caption_list", "caption_list_differs", "caption_list_gone", "caption_list_unreadable"),
        )
    ),
    Check("caption_encoding", "headers", _encoding),
    Check("caption_mojibake", "headers", _mixed_up),
    Check("caption_same", "headers", _same),
    Check("caption_cut", "headers", _too_long),
)
