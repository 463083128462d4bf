"""`loratui compare`: two LoRA files side by side, of runs or of any program, with a vote that may be blind."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from loratui.engine import sealed
from loratui.engine.durable import make_directory
from loratui.engine.errors import UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.validation_grid import GridRequest
from loratui.engine.runs.directory import loratui_home, open_run
from loratui.engine.runs.launcher import launch
from loratui.tui.commands import any_file, common
from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say
from loratui.tui.terminal import clean, wants_plain

if TYPE_CHECKING:
    from loratui.engine.proof.side_by_side import Pair, Side, Vote, Votes


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """FIRST SECOND, `--seeds --blind`, what belongs to files, `--json`."""
    del name
    what = "RUN, RUN:STEP, RUN:FILE, or the path of a .safetensors LoRA of any program (with --base)"
    parser.add_argument("first", metavar="FIRST", help=what)
    parser.add_argument("second", metavar="SECOND", help="the same")
    parser.add_argument(
        "--seeds", type=int, help="make the images of so many seeds for each prompt (default: those that are there)"
    )
    parser.add_argument("--blind", action="store_true", help="hide which is which until every pair has a vote")
    any_file.add_arguments(parser, several=True)
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Makes what is missing, then opens both in the app; in plain lines it asks for votes, or prints the result.

    JSON: `first second pairs[] {id prompt seed strength first second sheet vote} votes {first second equal open} words[]`, where `first` and
    `second` have `run file title figures`, and `figures` what was measured, null if unknown.
    """
    from loratui.engine.proof import side_by_side

    out = progress_stream(args.json, args.json)
    first, second = (_side(args, named, out) for named in (args.first, args.second))
    if (first.run.path, first.file) == (second.run.path, second.file):
        raise UsageError(f"{first.title} was named twice.", "Name two files.")
    pairs = side_by_side.pairs_of(first, second)
    if args.seeds is not None or not pairs:
        _make(first, second, args.seeds, out)
        pairs = side_by_side.pairs_of(first, second)
    if not pairs:
        raise UsageError("The two have no image of the same prompt and seed.", "Make them: add --seeds 2.")
    if not args.json and not wants_plain(args.plain):
        from loratui.tui.run_app import run_app
        from loratui.tui.validation.side_by_side_screen import SideBySideScreen

        return run_app(first=lambda: SideBySideScreen(first, second, blind=args.blind))
    path = side_by_side.votes_path(first, second)
    votes = side_by_side.read_votes(path)
    if not args.json:
        say(out, clean(side_by_side.told(first, second, pairs)))
        if common.can_ask():
            votes = _ask(first, second, pairs, blind=args.blind)
        else:
            _list(pairs, out)
        for line in votes.words(first, second, pairs):
            say(out, clean(line))
        return 0
    common.print_json(
        {
            "first": _side_json(first),
            "second": _side_json(second),
            "pairs": [_pair_json(first, second, pair, votes) for pair in pairs],
            "votes": votes.of(pairs),
            "words": votes.words(first, second, pairs),
        }
    )
    return 0


def _side(args: argparse.Namespace, named: str, out: TextIO) -> Side:
    """What FIRST or SECOND names."""
    from loratui.engine.proof.side_by_side import side_of

    if named.endswith(".safetensors") and Path(named).expanduser().is_file():
        return side_of(any_file.imported(args, named, out))
    name, _, file = named.partition(":")
    return side_of(open_run(loratui_home(), name), file)


def _make(first: Side, second: Side, seeds: int | None, out: TextIO) -> None:
    """Makes the images of both: the prompts of the first, at the usual strength."""
    if seeds is not None and not 1 <= seeds <= 20:
        raise UsageError(f"--seeds {seeds}: expected 1 to 20.")
    validation = read_recipe(first.run.effective).settings.validation
    same_run = first.run.path == second.run.path
    for side in (first,) if same_run else (first, second):
        files = tuple(one.file for one in ((first, second) if same_run else (side,)))
        wish = GridRequest(grids=("checkpoints",), prompts=validation.prompts, seeds=seeds or validation.seeds, files=files)
        make_directory(side.run.validation)
        sealed.write(side.run.validation / "wish.json", wish.to_json(), side.run.path)
        say(out, clean(f"Making the images of {side.title}."))
        launch(side.run, "validate")
        ended = follow_to_the_end(side.run, "validate", out)
        if ended is None or ended.status != "done":
            reason = "It goes on in the background." if ended is None else f"{ended.verdict.reason} {ended.verdict.advice}"
            raise UsageError(f"The images of {side.title} are not made. {reason}".strip())


def _ask(first: Side, second: Side, pairs: list[Pair], *, blind: bool) -> Votes:
    """Asks for a vote on each pair that has none. The end of the input ends it."""
    from loratui.engine.proof import side_by_side

    path = side_by_side.votes_path(first, second)
    votes = side_by_side.read_votes(path)
    for pair in sorted(pairs, key=lambda one: one.id) if blind else pairs:
        if pair.id in votes.votes:
            continue
        swapped = blind and pair.swapped
        shown = side_by_side.sheet(first, second, pair, blind=blind)
        say(sys.stderr, clean(f"{pair.prompt}, seed {pair.seed}: {shown}"), as_it_is=True)
        sides = (second, first) if swapped else (first, second)
        names = "A is left, B is right" if blind else f"A (left) is {sides[0].title}, B (right) is {sides[1].title}"
        sys.stderr.write(f"{clean(names)}. Better: a, b or = (q ends): ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip().lower()
        if answer not in ("a", "b", "="):
            break
        order: tuple[Vote, Vote] = ("second", "first") if swapped else ("first", "second")
        given: Vote = "equal" if answer == "=" else order["ab".index(answer)]
        votes = side_by_side.vote(path, first, second, pair, given)
    return votes


def _list(pairs: list[Pair], out: TextIO) -> None:
    for pair in pairs:
        say(out, clean(f"{pair.prompt}, seed {pair.seed}:"))
        for image in pair.images:
            say(out, f"  {clean(image)}", as_it_is=True)


def _side_json(side: Side) -> dict[str, Any]:
    from loratui.engine.proof.side_by_side import figures_of

    return {"run": side.run.name, "file": side.file, "title": side.title, "figures": figures_of(side)}


def _pair_json(first: Side, second: Side, pair: Pair, votes: Votes) -> dict[str, Any]:
    from loratui.engine.proof.side_by_side import sheet

    here, there = map(str, pair.images)
    known = {"id": pair.id, "prompt": pair.prompt, "seed": pair.seed, "strength": pair.strength, "first": here, "second": there}
    return {**known, "sheet": str(sheet(first, second, pair)), "vote": votes.votes.get(pair.id)}
