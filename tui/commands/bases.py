"""`loratui bases`: the base models on this machine, and why some of them cannot be used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.formats.base_parts import BaseFiles
    from loratui.engine.planning.bases import FoundBase


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """PLACE …, `--json`."""
    del name
    help_text = "a model's file or folder, or folders to search (default: the usual places)"
    parser.add_argument("places", metavar="PLACE", nargs="*", help=help_text)
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list, or the facts of one model.

    JSON: `bases[] cut`, each base with `model where path family title prediction bytes missing[] usable problem remedy`;
    for one model `path family layout title prediction zero_terminal_snr bytes missing[] parts{}`.
    """
    from loratui.engine.planning.bases import base_path, discover, find_base
    from loratui.presets.schema import Base

    places = [base_path(place) for place in args.places]
    if len(places) == 1 and (places[0] is None or not places[0].is_dir() or _is_model(places[0])):
        return _one(args, find_base(Base(model=args.places[0])))
    found, cut = discover([place or Path(given) for place, given in zip(places, args.places, strict=True)] or None)
    if args.json:
        common.print_json({"bases": [base_json(base) for base in found], "cut": cut})
        return 0
    for line in list_text(found):
        say(sys.stdout, clean(line))
    if cut:
        say(sys.stderr, "The search stopped before its end: there are too many files. Name a folder: loratui bases FOLDER")
    return 0


def _is_model(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("model_index.json", "config.json"))


def _one(args: argparse.Namespace, found: BaseFiles) -> int:
    if args.json:
        common.print_json(files_json(found))
        return 0
    say(sys.stdout, clean(f"{found.path}: {found.title}, {text.size(found.bytes)}"))
    for name, part in found.parts.items():
        number = f", {'scaled ' if part.fp8 == 'scaled' else ''}{part.dtype}, {text.size(part.bytes)}" if part.files else ""
        say(sys.stdout, clean(f"    {name:<15}{part.path}{number}"))
    for missing in found.missing:
        say(sys.stdout, clean(f"    {missing}"))
    return 0


def list_text(found: list[FoundBase]) -> Iterator[str]:
    """The list for people: one base per line, its problem below it."""
    if not found:
        yield "No base model found."
    for base in found:
        yield f"{base.model}: {base.title or 'cannot be used'}, {text.size(base.bytes)}"
        if base.problem:
            yield f"    {base.reason} {base.remedy}".rstrip()
        elif base.missing:
            yield f"    needs {' and '.join(base.missing_titles)}: loratui bases {base.path}"
    yield ""
    yield "To train on one: --base MODEL. To download another: loratui download OWNER/NAME"


def base_json(base: FoundBase) -> dict[str, Any]:
    """The stable keys of one base of the list."""
    return {
        "model": base.model,
        "where": base.where,
        "path": str(base.path),
        "family": base.family,
        "title": base.title,
        "prediction": base.prediction,
        "bytes": base.bytes,
        "missing": list(base.missing),
        "usable": base.usable,
        "problem": base.problem,
        "remedy": base.remedy,
    }


def files_json(found: BaseFiles) -> dict[str, Any]:
    """The stable keys of one model."""
    return {
        "path": str(found.path),
        "family": found.family,
        "layout": found.layout,
        "title": found.title,
        "prediction": found.prediction,
        "zero_terminal_snr": found.zero_terminal_snr,
        "bytes": found.bytes,
        "missing": [
            {"part": m.part, "title": m.title, "setting": m.setting,
             "sources": [{"repo": s.repo, "file": s.file, "licence": s.licence, "bytes": s.bytes, "gated": s.gated} for s in m.sources]}
            for m in found.missing
        ],
        "parts": {
            name: {"path": str(part.path), "prefix": part.prefix, "dtype": part.dtype, "fp8": part.fp8, "bytes": part.bytes}
            for name, part in found.parts.items()
        },
    }  # fmt: skip
