"""`loratui demo`: a LoRA of an invented person on the embedded base, in a few minutes, on any machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from loratui.engine import families
from loratui.engine.runs.directory import loratui_home
from loratui.tui.commands import common
from loratui.tui.terminal import clean, wants_plain
from loratui.tui.wizard.demo import demo_draft

if TYPE_CHECKING:
    from loratui.tui.plain.follow import Followed


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--family --device --no-tui --json --plain --home`."""
    del name
    parser.add_argument(
        "--family",
        choices=[spec.name for spec in families.FAMILIES],
        default=families.FAMILIES[0].name,
        help=f"shape of the small base that is trained on (default: {families.FAMILIES[0].name})",
    )
    common.add_device_argument(parser)
    parser.add_argument("--no-tui", action="store_true", help="the same in plain lines; ends with the LoRA file's path")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Opens the app at the demo's plan, or trains at once in plain lines and returns the run's exit code.

    JSON as `loratui train`.
    """
    draft = demo_draft(families.family(args.family).demo_preset, common.device_change(args))
    assert draft.recipe is not None
    if not args.no_tui and not args.json and not wants_plain(args.plain):
        from loratui.tui.run_app import run_app

        return run_app(recipe=draft.recipe)
    from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say

    out = progress_stream(args.json, args.json)
    plan = draft.plan()
    assert plan is not None
    say(out, "The demo: anafox, an invented person, in 18 drawings; the base model comes with loratui.")
    for line in plan.formula.split("; "):
        say(out, f"  {clean(line)}")
    started = common.start_run(draft.recipe, loratui_home())
    say(out, f"{started.name} runs on its own, in {clean(started.path)}", as_it_is=True)
    say(out, f"Ctrl-C leaves it running; loratui attach {started.name} comes back to it.")
    ended = follow_to_the_end(started, "train", out, past=True)
    if ended is not None and ended.status == "done":
        for line in what_next(ended, args.family):
            say(out, line)
    return common.conclude(ended, args, out)


def what_next(ended: Followed, family: str) -> list[str]:
    """What to do with the file."""
    name = ended.run.name
    spec = families.family(family)
    return [
        f"See what it learned: {clean(ended.run.samples)}, or in the app: loratui attach {name}",
        "Use it: the file below is in a format that every tool for LoRAs opens. It belongs to the demo's own base",
        f"(embedded:{family}), not to the full {spec.long_title}. For a LoRA of your own: loratui train FOLDER --preset {spec.default_preset}",
    ]
