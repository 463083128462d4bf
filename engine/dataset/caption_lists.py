"""Reads lists of captions as other tools keep them: JSON lines, JSON and CSV with the names of images and what they show."""

from __future__ import annotations

import csv
import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset import captions, encodings
from loratui.engine.dataset.caption_names import suffix
from loratui.engine.dataset.file_kinds import SUFFIXES
from loratui.engine.untrusted import Unreadable, parse_json, read_whole
from loratui.engine.words import count

MOST_BYTES = 1 << 26
"""Of a list: 100 000 captions of 600 letters."""
MOST_NAMES = 200_000
_MOST_COLUMNS = 200

_NAMES = ("file_name", "image_path", "filename", "image_file", "file_path", "file", "image", "img_path", "img", "path", "id")
"""Columns with the name of an image: `file_name` of Hugging Face's imagefolder, `image_path` of sd-scripts and musubi-tuner, `id` of
SimpleTuner's examples."""
_CAPTIONS = ("caption", "captions", "text", "prompt", "description")
_TAGS = "tags"
"""sd-scripts puts these behind the caption."""
_SAYS_LIST = re.compile(r"metadata|captions?|meta_.*|.*[_-](captions?|metadata)", re.IGNORECASE)

Texts = dict[str, list[str]]


@dataclass(frozen=True)
class CaptionList:
    """A list as it was read."""

    path: Path
    captions: Mapping[str, tuple[str, ...]]
    """Name of an image as it is written there -> its captions, `normalised`; several are captions apart."""
    unused: tuple[str, ...]
    """Columns that hold texts and are not read."""


def says_list(name: str) -> bool:
    """Whether a file is a list of captions by its name, so that a person should know if it is not used."""
    return _SAYS_LIST.fullmatch(Path(name).stem) is not None


def read(path: Path) -> CaptionList:
    """The captions in a list; none where it is another kind of JSON or table. Raises `Unreadable` for one that is broken."""
    data = _text(read_whole(path, MOST_BYTES))
    unused: dict[str, None] = {}
    found: Texts = {}
    for name, texts in _entries(suffix(path.name), data, unused):
        if len(found) >= MOST_NAMES:
            raise Unreadable(errno.EFBIG, f"names more than {count(MOST_NAMES, 'image')}", str(path))
        found.setdefault(name, []).extend(text for text in texts if text)
    kept = {name: _apart(texts) for name, texts in found.items() if any(texts)}
    return CaptionList(path, kept, tuple(unused))


def _entries(ending: str, text: str, unused: dict[str, None]) -> Iterator[tuple[str, list[str]]]:
    """Names with what stands beside them, row by row."""
    if ending == ".jsonl":
        yield from _rows((_line(at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip()), unused)
    elif ending == ".json":
        value = parse_json(text)
        if isinstance(value, dict):
            yield from ((name, _texts(of, unused)) for name, of in value.items())
        elif isinstance(value, list):
            yield from _rows(value, unused)
    else:
        yield from _rows(_table(text), unused)


def _line(at: int, line: str) -> Any:
    try:
        return parse_json(line)
    except Unreadable as error:
        raise Unreadable(error.errno, f"has a line {at} that {error.strerror}") from None


def _table(text: str) -> Iterator[Mapping[str, str]]:
    """The rows of a CSV file, parted by what its first line has most of."""
    head = text.partition("\n")[0]
    parting = max(",;\t|", key=head.count)
    if head.count(parting) >= _MOST_COLUMNS:
        return
    lines = text.splitlines(keepends=True)
    try:
        first = next(csv.reader(lines[:1], delimiter=parting), [])
        # Without a line of names, what stands first in it is an image already.
        columns = [_NAMES[0], _CAPTIONS[0]] if len(first) > 1 and suffix(first[0].strip()) in SUFFIXES else first
        reader = csv.reader(lines if columns is not first else lines[1:], delimiter=parting)
        names = [column.strip() for column in columns]
        for row in reader:
            # Commas in a caption without quotes part it: what is too much belongs to the last column.
            whole = [*row[: len(names) - 1], parting.join(row[len(names) - 1 :])] if len(row) > len(names) else row
            yield dict(zip(names, whole, strict=False))
    except csv.Error as error:
        raise Unreadable(errno.EINVAL, f"is not a table that can be read: {error}") from None


def _rows(rows: Iterable[Any], unused: dict[str, None]) -> Iterator[tuple[str, list[str]]]:
    for row in rows:
        if not isinstance(row, dict):
            continue
        name = next((value for key in _NAMES if isinstance(value := row.get(key), (str, int)) and value), "")
        if name:
            yield str(name), _texts({key: value for key, value in row.items() if key not in _NAMES}, unused)


def _texts(value: Any, unused: dict[str, None]) -> list[str]:
    """The captions in what stands beside a name: a text, a list of them, or a table with one of the known columns."""
    if isinstance(value, str):
        return [_caption(value)]
    if isinstance(value, list):
        return [_caption(text) for text in value if isinstance(text, str)]
    if not isinstance(value, dict):
        return []
    used = next((key for key in _CAPTIONS if value.get(key) and _texts(value[key], {})), "")
    tags = value.get(_TAGS)
    tags = ", ".join(map(str, tags)) if isinstance(tags, list) else tags
    tags = captions.whole(_caption(tags)) if isinstance(tags, str) else ""
    for key, other in value.items():
        if key not in (used, _TAGS) and isinstance(other, str) and other.strip() and len(unused) < _MOST_COLUMNS:
            unused[clean(key, 40)] = None
    written = _texts(value[used], {}) if used else []
    if not tags:
        return written
    return ["\n".join(f"{line}, {tags}" for line in captions.lines(text)) for text in written] or [tags]


def _caption(text: str) -> str:
    return captions.normalised(text[: captions.LONGEST_BYTES])


def _apart(texts: list[str]) -> tuple[str, ...]:
    return tuple(map(captions.whole, texts)) if len(texts) > 1 else tuple(texts)


def _text(data: bytes) -> str:
    """A list as text: by its mark, as UTF-8, else in the likeliest encoding, as tables saved by Excel are."""
    for mark, codec in encodings.BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if encodings.is_no_text(data[: captions.LONGEST_BYTES]):
            raise Unreadable(errno.EILSEQ, "is not text") from None
    codec = next(encodings.candidates(encodings.likely(encodings.beginning(data, captions.LONGEST_BYTES))))
    return data.decode(codec, errors="replace")
