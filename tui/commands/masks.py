"""`loratui masks`: makes masks of the persons or faces in a folder's images, which weight the loss."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.errors import ExitCode, UsageError
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.commands.interrupting import INTERRUPTED, Ended
from loratui.tui.plain.asking import asker
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.dataset.mask_making import Made
    from loratui.engine.dataset.scan import DatasetScan


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """FOLDER, `--of --yes`."""
    del name
    parser.add_argument("folder", metavar="FOLDER", help="folder of images")
    parser.add_argument("--of", choices=("person", "face"), default="person", help="what the masks mark (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="download the model without asking")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Makes the masks that are missing. Exit code 0, 1 where an image has none in the end, 130 after Ctrl-C.

    JSON: `folder of into images made[] nothing[] failed[] {image reason} missing setting`, where `missing` counts the images still
    without a mask, and `setting` uses the masks.
    """
    from loratui.engine.dataset import mask_making
    from loratui.engine.dataset.mask_files import FOLDERS
    from loratui.engine.dataset.scan import scan
    from loratui.engine.runs.directory import loratui_home

    path = Path(args.folder).expanduser()
    if path.is_file():
        raise UsageError(f"{path}: masks are made beside the images.", "Give a folder; unpack a zip first.")
    found = scan(path)
    home, out = loratui_home(), sys.stderr if args.json else sys.stdout
    waiting = mask_making.missing(found, args.of)
    ended = Ended()
    made = mask_making.Made((), ())
    if waiting:
        if mask_making.find(args.of, home) is None and not args.yes:
            _ask(args.of)
        weights = mask_making.fetch(args.of, home)
        with ended:
            made = mask_making.make(found, args.of, weights, progress=_Told(out), cancelled=ended)
    left = len(waiting) - len(made.made)
    if args.json:
        common.print_json(
            {
                "folder": str(found.root),
                "of": args.of,
                "into": FOLDERS[args.of],
                "images": len(found.images),
                "made": list(made.made),
                "nothing": list(made.nothing),
                "failed": [{"image": image, "reason": reason} for image, reason in made.failed.items()],
                "missing": left,
                "setting": f"dataset.masks={args.of}",
            }
        )
    else:
        for line in _as_text(found, args.of, FOLDERS[args.of], made, left):
            say(out, clean(line))
    if ended():
        return INTERRUPTED
    return int(ExitCode.WARNINGS if left else ExitCode.DONE)


def _ask(kind: str) -> None:
    """Asks for the download. Raises `UsageError` where it is not wanted or nobody can answer."""
    from loratui.engine.dataset import mask_making

    if not sys.stdin.isatty():
        raise UsageError("The model for masks was not downloaded: there is no terminal to ask on.", "Add --yes.")
    if not asker().confirm(f"Download {mask_making.offer(kind)}?"):
        raise UsageError("Without its model no mask is made.", "Draw masks yourself (dataset.masks=folder).")


def _as_text(found: DatasetScan, kind: str, folder: str, made: Made, left: int) -> Iterator[str]:
    yield f"{text.count(len(made.made), 'mask')} made in {found.root} (folders {folder})."
    if made.nothing:
        yield f"No {kind} found: {', '.join(made.nothing[:10])}{' …' if len(made.nothing) > 10 else ''}"
    yield from (f"{image} {reason}" for image, reason in made.failed.items())
    if left:
        yield f"Still without a mask: {text.count(left, 'image')}. All of each counts in the loss."
    yield f"Look at them in the app (m over an image). They are used with --set dataset.masks={kind}."


class _Told:
    """Tells at each tenth how far it is."""

    def __init__(self, out: Any) -> None:
        self._out, self._tenths = out, 0

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total if total else 10
        if tenths > self._tenths:
            self._tenths = tenths
            say(self._out, f"masks of {text.number(done)} of {text.count(total, 'image')}")
