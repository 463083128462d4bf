"""`loratui demo`: a LoRA of an invented person on the embedded base, in a few minutes, on any machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from loratui.engine import families
from loratui.engine.runs.directory import loratui_home
from loratui.tui.commands import common
from loratui.tui.terminal import clean, wants_plain
from loratui.tui.wizard.demo import demo_draft, shared_by_cores

if TYPE_CHECKING:
    from loratui.tui.plain.follow import Followed


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--family --device --no-tui --json --plain --home`."""
    del name
    parser.add_argument(
        "--family",
        choices=[spec.name for spec in families.FAMILIES],
        default=families.FAMILIES[0].name,
        help=f"family of the small base (default: {families.FAMILIES[0].name})",
    )
    common.add_device_argument(parser)
    parser.add_argument("--no-tui", action="store_true", help="plain lines, ending with the path of the LoRA file")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Opens the app at the demo's plan; in plain lines trains at once and returns the run's exit code.

    JSON as `loratui train`.
    """
    draft = demo_draft(families.family(args.family).demo_preset, shared_by_cores(common.device_change(args)))
    assert draft.recipe is not None
    if not args.no_tui and not args.json and not wants_plain(args.plain):
        from loratui.tui.run_app import run_app

        return run_app(recipe=draft.recipe)
    from loratui.tui.plain.follow import follow_to_the_end, progress_stream, say

    out = progress_stream(args.json, args.json)
    plan = draft.plan()
    assert plan is not None
    say(out, "The demo: 18 drawings of anafox, an invented person. The base model is part of loratui.")
    for line in plan.formula.split("; "):
        say(out, f"  {clean(line)}")
    started = common.start_run(draft.recipe, loratui_home())
    say(out, f"{started.name} runs in the background, in {clean(started.path)}", as_it_is=True)
    say(out, f"Ctrl-C leaves, and the run continues. To return: loratui attach {started.name}")
    ended = follow_to_the_end(started, "train", out, past=True)
    if ended is not None and ended.status == "done":
        for line in what_next(ended, args.family):
            say(out, line)
    return common.conclude(ended, args, out)


def what_next(ended: Followed, family: str) -> list[str]:
    """The next steps with the LoRA file."""
    name = ended.run.name
    spec = families.family(family)
    return [
        f"See what it learned: {clean(ended.run.samples)}, or in the app: loratui attach {name}",
        "Use it: every LoRA tool opens the file below. It fits only the demo's own base",
        f"(embedded:{family}), not to the full {spec.long_title}. For your own LoRA: loratui train FOLDER --preset {spec.default_preset}",
    ]
