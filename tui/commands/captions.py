"""`loratui captions`: counts the tags of a folder's captions, finds images by tag, and changes many captions at once."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.dataset.tag_table import ORDERS
from loratui.engine.errors import DiskError
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.dataset.bulk_edits import BULK_EDITS, BulkEdit
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.engine.dataset.tag_table import TagTable
    from loratui.tui.dataset.bulk_edits import Around

MOST_ROWS = 500
"""Of the table of tags; --json has all."""
_MOST_CHANGES = 20
_COLUMN = 6


class _InOrder(argparse.Action):
    """Collects the changes in the order in which they are given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        del parser, option_string
        namespace.edits = [*namespace.edits, (self.const, tuple(values))]


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """FOLDER, which images, the changes in order, `--dry-run`."""
    del name
    parser.add_argument("folder", metavar="FOLDER", help="folder of images with captions")
    parser.add_argument(
        "--having",
        metavar="TAG",
        action="append",
        default=[],
        help="only images whose captions have this tag; several: all of them",
    )
    parser.add_argument(
        "--lacking", metavar="TAG", action="append", default=[], help="only images whose captions lack this tag"
    )
    parser.add_argument("--only", metavar="NAMES", help="only images whose paths in the folder fit, such as 'beach/*'")
    parser.add_argument("--order", choices=ORDERS, default=ORDERS[0], help="order of the table of tags (default: %(default)s)")
    parser.add_argument("--trigger", metavar="WORD", help="made-up word that stands for the subject")
    parser.add_argument("--class", metavar="WORD", dest="class_word", help="general noun for the subject, such as woman")
    changes = parser.add_argument_group("changes", "Made in the order given, to the images chosen; old captions are kept.")
    for edit in BULK_EDITS:
        changes.add_argument(
            edit.option,
            action=_InOrder,
            const=edit,
            dest="edits",
            default=[],
            nargs=len(edit.asks),
            metavar=tuple(label.upper().replace(" ", "_") for label in edit.asks) or None,
            help=f"{edit.title}: {edit.help[0].lower()}{edit.help[1:]}".replace("%", "%%"),
        )
    parser.add_argument("--dry-run", action="store_true", help="show the changes, and write nothing")
    common.add_output_arguments(parser)


@dataclass(frozen=True)
class Outcome:
    """What was counted and changed."""

    scan: DatasetScan
    table: TagTable
    chosen: Sequence[str]
    doubled: Mapping[tuple[str, str], int]
    """Tag and the tag that it implies -> captions with both."""
    changed: Mapping[str, str]
    kept: Path | None
    """Where the old captions are; None where none was written."""


def run(args: argparse.Namespace) -> int:
    """Prints the tags, the images chosen or the changes.

    JSON: `folder images captioned tags[] {tag captions} implied[] {tag implies captions} chosen[] changed[] {image before after}
    dry_run written kept`.
    """
    from loratui.engine.dataset import caption_store, caption_words
    from loratui.engine.dataset.scan import scan
    from loratui.engine.dataset.tag_table import TagTable
    from loratui.presets import schema
    from loratui.tui.commands.check import own_implications
    from loratui.tui.dataset.bulk_edits import Around

    found = scan(Path(args.folder).expanduser())
    implies = own_implications()
    said = {"dataset.trigger": args.trigger, "dataset.class_word": args.class_word}
    settings = schema.replace(schema.Settings(), {key: value for key, value in said.items() if value is not None})
    settings = schema.replace(settings, found.words_by_folder(settings.dataset))
    captions = {image.relative: image.caption for image in found.training if image.caption}
    table = TagTable.of(captions)
    chosen = table.chosen(args.having, args.lacking)
    chosen = [name for name in chosen if fnmatchcase(name, args.only)] if args.only else chosen
    changed = _changed(args.edits, Around(settings, captions, implies), chosen)
    doubled = Counter(pair for caption in captions.values() for pair in dict.fromkeys(caption_words.implied(caption, implies)))
    kept = None
    if changed and not args.dry_run:
        if not caption_store.is_writable(found):
            raise DiskError(
                f"{found.root}: captions cannot be written here.", "Copy the folder, or use the app: it makes a copy."
            )
        kept = caption_store.save(found, changed).kept
    outcome = Outcome(found, table, chosen, doubled, changed, kept)
    if args.json:
        common.print_json(_as_json(args, outcome))
    else:
        for line in _as_text(args, outcome):
            say(sys.stdout, clean(line))
    return 0


def _changed(edits: Sequence[tuple[BulkEdit, Sequence[str]]], around: Around, chosen: Sequence[str]) -> dict[str, str]:
    """The captions after all changes, of those that differ. Raises `UsageError` where a change lacks a word."""
    import dataclasses

    from loratui.engine.errors import UsageError
    from loratui.tui.dataset.bulk_edits import changed_captions

    before, options = around.captions, {"trigger word": "--trigger", "class word": "--class"}
    for edit, typed in edits:
        missing = next((word for word in edit.needs if not around.word(word)), "")
        if missing:
            raise UsageError(f"{edit.option} needs the {missing}.", f"Add {options[missing]} WORD.")
        if edit.asks and not typed[0].strip():
            raise UsageError(f"{edit.option}: the first text is empty.", "Give the tag or the words.")
        would = changed_captions(edit, typed, around, chosen)
        around = dataclasses.replace(around, captions={**around.captions, **would})
    return {name: caption for name, caption in around.captions.items() if caption != before[name]}


def _as_json(args: argparse.Namespace, outcome: Outcome) -> dict[str, Any]:
    return {
        "folder": args.folder,
        "images": len(outcome.scan.training),
        "captioned": len(outcome.table.captions),
        "tags": [{"tag": tag, "captions": count} for tag, count in outcome.table.rows(args.order)],
        "implied": [{"tag": tag, "implies": other, "captions": count} for (tag, other), count in outcome.doubled.items()],
        "chosen": list(outcome.chosen),
        "changed": [
            {"image": name, "before": outcome.table.captions[name], "after": after} for name, after in outcome.changed.items()
        ],
        "dry_run": args.dry_run,
        "written": outcome.kept is not None,
        "kept": str(outcome.kept) if outcome.kept else None,
    }


def _as_text(args: argparse.Namespace, outcome: Outcome) -> Iterator[str]:
    table, chosen = outcome.table, len(outcome.chosen)
    without = len(outcome.scan.training) - len(table.captions)
    left = f" {text.count(without, 'image')} without a caption {'is' if without == 1 else 'are'} left alone." if without else ""
    if args.edits:
        yield from _changes(args, outcome)
        yield f"{text.count(len(outcome.changed), 'caption')} of {text.number(chosen)} {_what_was_done(args, outcome)}.{left}"
    elif args.having or args.lacking or args.only:
        yield from outcome.chosen
        yield f"{text.count(chosen, 'image')} of {text.number(len(table.captions))} with a caption."
    else:
        rows = table.rows(args.order)
        yield from (f"{text.number(count):>{_COLUMN}}  {tag}" for tag, count in rows[:MOST_ROWS])
        if len(rows) > MOST_ROWS:
            yield f"and {text.number(len(rows) - MOST_ROWS)} more (--json has all)."
        for (tag, other), count in outcome.doubled.items():
            yield f"{tag} implies {other}: both are in {text.count(count, 'caption')} (--remove-implied keeps the first)."
        yield f"{text.count(len(rows), 'tag')} in {text.count(len(table.captions), 'caption')}.{left}"


def _what_was_done(args: argparse.Namespace, outcome: Outcome) -> str:
    if outcome.kept is not None:
        return f"changed; the old ones are kept in {outcome.kept}"
    return "would change" if args.dry_run else "changed"


def _changes(args: argparse.Namespace, outcome: Outcome) -> Iterator[str]:
    if not args.dry_run:
        return
    for name in list(outcome.changed)[:_MOST_CHANGES]:
        yield name
        yield f"  - {outcome.table.captions[name]}"
        yield f"  + {outcome.changed[name]}"
    if len(outcome.changed) > _MOST_CHANGES:
        yield f"and {text.number(len(outcome.changed) - _MOST_CHANGES)} more (--json has all)."
