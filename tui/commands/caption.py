"""`loratui caption`: has a captioner propose captions for a folder; with `--accept` they are written beside the images."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.runs.directory import loratui_home
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.commands.interrupting import INTERRUPTED, Ended
from loratui.tui.plain.follow import progress_stream, say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.captioning.accepting import Accepted
    from loratui.engine.captioning.asking import Outcome, Progress
    from loratui.engine.captioning.captioners import Captioner
    from loratui.engine.captioning.wish import Wish
    from loratui.engine.dataset.contents import DatasetScan
    from loratui.presets.schema import Settings

LINE_S = 5.0
"""Seconds between lines if the output is not a terminal."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """FOLDER, `--with --list`, what the captions are for, and what becomes of them."""
    del name
    parser.add_argument("dataset", metavar="FOLDER", nargs="?", help="folder of images")
    parser.add_argument("--list", action="store_true", help="list the captioners: size, licence, memory")
    parser.add_argument("--with", metavar="ID", dest="captioner", help="captioner (see loratui caption --list)")
    parser.add_argument("--preset", metavar="NAME", help="preset that the captions are for (see loratui presets)")
    parser.add_argument("--base", metavar="MODEL", help="base model that will read them")
    parser.add_argument("--trigger", metavar="WORD", help="made-up word that stands for the subject")
    parser.add_argument("--class", metavar="WORD", dest="class_word", help="general noun for the subject, such as woman")
    parser.add_argument("--set", metavar="KEY=VALUE", dest="sets", action="append", default=[], help="change any setting")
    parser.add_argument("--hint", default="", help="what else the captioner should know or name; asks again")
    parser.add_argument("--length", choices=("short", "usual", "long"), default="usual", help="of the captions")
    parser.add_argument(
        "--variants", metavar="N", type=int, choices=(1, 2, 3), default=1, help="captions of each image: 1 to 3"
    )
    parser.add_argument("--again", action="store_true", help="ask again for images that were answered before")
    parser.add_argument("--accept", action="store_true", help="write the captions of images that have none")
    parser.add_argument("--replace", action="store_true", help="with --accept: replace captions too (the old ones are kept)")
    parser.add_argument("--threshold", metavar="0-1", type=float, help="taggers: the least certainty of a tag")
    parser.add_argument(
        "--memory",
        choices=("auto", "bf16", "int8", "nf4", "cpu"),
        help="how the captioner is held; auto: the most exact that fits",
    )
    parser.add_argument("--url", help="endpoint: address of the server, such as http://localhost:11434/v1")
    parser.add_argument("--model", metavar="NAME", help="endpoint: model, as the server calls it")
    parser.add_argument("--timeout", metavar="S", type=float, help="endpoint: seconds to wait for an answer (default: 180)")
    parser.add_argument("--yes", action="store_true", help="download, and send images to a server, without asking")
    parser.add_argument("--wait", action="store_true", help="for scripts: progress on stderr")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Asks for the images that have no proposal yet. Exit code 1 where images have no caption of use.

    JSON: `folder captioner wish images asked proposals[] {file image text variants[] raw[] flags[] {id words[]} state at} failed[] {file
    message remedy} accepted[] captions_before cancelled reason remedy exit_code`; with `--list` `captioners[]`.
    """
    from loratui.engine.captioning.accepting import Accepted, accept
    from loratui.engine.captioning.asking import Asking
    from loratui.engine.captioning.captioners import captioner
    from loratui.engine.captioning.proposals import Proposals
    from loratui.engine.captioning.wish import Wish
    from loratui.engine.dataset.scan import scan as scan_folder
    from loratui.engine.planning.preflight import token_counter

    if args.list:
        return _list(args)
    if not args.dataset or not args.captioner:
        raise UsageError("Which folder, and which captioner?", "Use loratui caption FOLDER --with ID; see --list.")
    out, home, row = progress_stream(args.json, args.wait), loratui_home(), captioner(args.captioner)
    options = _options(args, row)
    found = scan_folder(Path(args.dataset).expanduser())
    settings = _settings(args, found)
    wish = Wish.of(settings, length=args.length, hint=args.hint, variants=args.variants)
    for line in _notes(row, wish):
        say(out, clean(line))
    asking = Asking(
        captioner=row,
        wish=wish,
        kept=Proposals(home, found.root),
        counter=token_counter(settings),
        folder=_files(args, row, options, home, out),
        options=options,
    )
    shown = _Lines(out)
    with Ended() as ended:
        outcome = asking.ask_folder(found, again=args.again, progress=shown.show, cancelled=ended)
    shown.end()
    accepted = Accepted()
    if outcome.cancelled:
        say(out, "Stopped. What was proposed is kept; the same command continues.")
    elif args.accept and not outcome.error:
        try:  # the folder may have changed while the captioner worked
            accepted = accept(scan_folder(found.root), outcome.proposals, asking.kept, replace=args.replace)
        except LoratuiError as error:
            outcome.error = error
    code = _exit_code(outcome)
    if args.json:
        common.print_json({**_as_json(args, asking, outcome, accepted), "exit_code": int(code)})
    elif not outcome.cancelled:
        for line in _as_text(outcome, accepted, accepting=args.accept):
            say(sys.stdout, clean(line, 4000))
        if outcome.error:
            raise outcome.error
    return int(code)


def _settings(args: argparse.Namespace, found: DatasetScan) -> Settings:
    """As `loratui check` has them, and the words of a folder `N_token class`. Raises `SchemaError`."""
    from loratui.presets import schema
    from loratui.tui.commands import check

    settings = check.settings_of(args)
    return schema.replace(settings, found.words_by_folder(settings.dataset))


def _options(args: argparse.Namespace, row: Captioner) -> dict[str, Any]:
    if row.leaves:
        from loratui.engine.captioning import endpoint

        url, model = endpoint.checked(args.url or "", args.model or "")
        wait = {"timeout_s": args.timeout} if args.timeout and args.timeout > 0 else {}
        return {"url": url, "model": model, **wait}
    if args.url or args.model or args.timeout:
        raise UsageError("--url, --model and --timeout belong to --with endpoint.", "Leave them out, or choose endpoint.")
    memory = {"memory": args.memory} if args.memory else {}
    if args.threshold is None:
        return memory
    if row.writes != "tags":
        raise UsageError(f"--threshold belongs to taggers, and {row.title} is none.", "Leave it out.")
    return {**memory, "general_threshold": args.threshold}


def _files(args: argparse.Namespace, row: Captioner, options: Mapping[str, Any], home: Path, out: TextIO) -> Path | None:
    """The folder of the captioner's files, after a download that the person has agreed to; or a yes to send images to a server."""
    if row.leaves:
        _agree_to_send(args, options, out)
        return None
    from loratui.engine.captioning import fetching

    here = fetching.find(row, home)
    if here is not None:
        return here
    plan = fetching.look_up(row)
    say(out, clean(f"{row.title}: {fetching.offer(row, plan)}"))
    _agree(args, f"Download {text.size(plan.fetch_bytes)}?", f"{row.title} was not downloaded", default=True)
    from loratui.tui.commands.download import ProgressLines

    shown = ProgressLines(sys.stderr)
    try:
        return fetching.fetch(row, plan, progress=shown.show)
    finally:
        shown.end()


def _agree_to_send(args: argparse.Namespace, options: Mapping[str, Any], out: TextIO) -> None:
    """Says where images go, and asks unless they stay on this machine."""
    from loratui.engine.captioning import endpoint
    from loratui.engine.machine import web

    say(out, clean(f"{options['model']}: {endpoint.where(options['url'])}."))
    if not web.is_here(options["url"]):
        _agree(args, "Send the images there?", "No image was sent", default=False)


def _agree(args: argparse.Namespace, question: str, otherwise: str, *, default: bool) -> None:
    if args.yes:
        return
    if not common.can_ask():
        raise UsageError(f"{otherwise}: there is no terminal to ask on.", "Add --yes.")
    if not common.ask(question, default=default):
        raise UsageError(f"{otherwise}.")


def _notes(row: Captioner, wish: Wish) -> Iterator[str]:
    """What to know before it starts."""
    if not wish.trigger:
        yield "No trigger word was given, so the captions have none. Add --trigger WORD."
    form = wish.form(row)
    if wish.board and form == "sentences":
        yield f"This base was trained on tags ({wish.board}), and {row.title} writes sentences. wd14 writes tags."
    elif form == "tags" and not wish.board:
        yield f"{row.title} writes tags, and this base reads sentences. See loratui caption --list."


def _exit_code(outcome: Outcome) -> int:
    from loratui.engine.captioning.accepting import is_useful

    if outcome.cancelled:
        return INTERRUPTED
    if outcome.error:
        return outcome.error.exit_code
    useless = outcome.failed or not all(map(is_useful, outcome.proposals.values()))
    return ExitCode.WARNINGS if useless else ExitCode.DONE


def _as_json(args: argparse.Namespace, asking: Any, outcome: Outcome, accepted: Accepted) -> dict[str, Any]:
    return {
        "folder": str(args.dataset),
        "captioner": asking.name,
        "wish": asking.wish.digest,
        "images": len(outcome.proposals) + len(outcome.failed),
        "asked": outcome.asked,
        "proposals": [
            {**{key: value for key, value in one.to_json().items() if key != "captioner"}, "file": file}
            for file, one in outcome.proposals.items()
        ],
        "failed": [{"file": one.file, "message": one.message, "remedy": one.remedy} for one in outcome.failed],
        "accepted": list(accepted.files),
        "captions_before": str(accepted.kept) if accepted.kept else None,
        "cancelled": outcome.cancelled,
        "reason": outcome.error.message if outcome.error else "",
        "remedy": outcome.error.remedy if outcome.error else "",
    }


def _as_text(outcome: Outcome, accepted: Accepted, *, accepting: bool) -> Iterator[str]:
    from loratui.engine.captioning.accepting import is_useful
    from loratui.engine.captioning.cleaned import FLAGS, OF_SET

    for file, one in outcome.proposals.items():
        yield f"{file}: {one.text or 'no caption'}"
        yield from (f"    or: {variant}" for variant in one.variants)
        yield from (f"    ! {flag.text}" for flag in one.flags if flag.id not in OF_SET)
    for failed in outcome.failed:
        yield f"{failed.file}: no caption. {failed.message} {failed.remedy}"
    if outcome.error:
        return
    for id in OF_SET:
        counts = Counter(
            word for one in outcome.proposals.values() for flag in one.flags if flag.id == id for word in flag.words
        )
        if counts:
            yield f"{FLAGS[id]}: {', '.join(f'{word} ({text.number(times)})' for word, times in counts.most_common(5))}. Do the images show it?"
    useless = sum(not is_useful(one) for one in outcome.proposals.values()) + len(outcome.failed)
    yield f"{text.count(len(outcome.proposals), 'caption')} proposed{f', {text.number(useless)} of no use' if useless else ''}."
    if accepting:
        before = f" The captions from before are in {accepted.kept}." if accepted.kept else ""
        own = (
            f" {text.count(accepted.captioned, 'image')} kept the caption from before: see --replace."
            if accepted.captioned
            else ""
        )
        yield f"{text.count(len(accepted.files), 'caption')} written.{before}{own}"
    elif outcome.proposals:
        yield "Nothing is written yet. Review them in the dataset step, or add --accept."


def _list(args: argparse.Namespace) -> int:
    from loratui.engine.captioning import fetching
    from loratui.engine.captioning.captioners import CAPTIONERS

    home = loratui_home()
    here = {id: bool(row.repo) and fetching.find(row, home) is not None for id, row in CAPTIONERS.items()}
    if args.json:
        shown = ("id", "title", "writes", "repo", "bytes", "licence", "commercial", "terms", "gib", "instructed", "extra")
        rows = [{**{key: getattr(row, key) for key in shown}, "here": here[id]} for id, row in CAPTIONERS.items()]
        common.print_json({"captioners": rows})
        return 0
    for id, row in CAPTIONERS.items():
        size = f"{text.size(row.bytes):>8}" if row.bytes else f"{'–':>8}"
        there = "on this machine" if here[id] else row.licence or "yours, by --url and --model"
        say(sys.stdout, f"{id:<17}{row.writes:<10}{size}  {there}", as_it_is=True)
    return 0


class _Lines:
    """One line that is repainted on a terminal; elsewhere a line now and then."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._paints, self._said_at, self._last = out, out.isatty(), float("-inf"), ""

    def show(self, progress: Progress) -> None:
        """Shows the progress, if it is time for a line."""
        how = f" ({progress.said})" if progress.said else ""
        self._last = clean(f"{text.number(progress.done)} of {text.count(progress.total, 'image')}{how}", 100)
        if self._paints:
            self._out.write(f"\r\x1b[K{self._last}")
            self._out.flush()
        elif time.monotonic() - self._said_at >= LINE_S:
            self._said_at = time.monotonic()
            say(self._out, self._last)

    def end(self) -> None:
        """Leaves the last line on the screen."""
        if self._last:
            say(self._out, "" if self._paints else self._last)
