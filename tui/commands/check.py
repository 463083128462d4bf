"""`loratui check`: the faults of a folder of images and their fixes; nothing is changed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.findings import counted
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.findings import in_full
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.dataset.implications import Implications
    from loratui.engine.dataset.inspect import Inspection
    from loratui.engine.findings import Finding
    from loratui.engine.planning.plan import Plan
    from loratui.presets.schema import Settings


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The flags of `check`."""
    del name
    parser.add_argument("dataset", metavar="FOLDER", nargs="?", help="folder of images, or a zip file")
    parser.add_argument("--dataset", metavar="FOLDER", dest="dataset_option", help="the same folder as an option")
    parser.add_argument("--preset", metavar="NAME", help="preset whose sizes and numbers apply (see loratui presets)")
    parser.add_argument("--base", metavar="MODEL", help="base model, whose tokenizer counts the tokens of captions")
    parser.add_argument("--trigger", metavar="WORD", help="made-up word that stands for the subject")
    parser.add_argument("--class", metavar="WORD", dest="class_word", help="general noun for the subject, such as woman")
    parser.add_argument("--set", metavar="KEY=VALUE", dest="sets", action="append", default=[], help="change any setting")
    parser.add_argument("--deep", action="store_true", help="also decode and measure every image, on all cores")
    parser.add_argument(
        "--faces", action="store_true", help="also look for faces; downloads the detector if it is missing (230 KB, MIT)"
    )
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the findings. Exit code 0 without warnings, 1 with some, 3 with errors.

    JSON: `folder preset images regularisation_images captioned with_trigger trigger trigger_guessed deep findings[] {id severity
    files message why remedy} not_checked[] {id reason} trained_with[] left_out[] {file reason} concepts[] {name images repeats
    from_folder rule_repeats balanced_repeats} regularisation {images weight image_steps optimizer_steps} exit_code`.
    """
    from loratui.engine.dataset import archives, folder_lists, gathered

    given = args.dataset or args.dataset_option
    if not given:
        raise UsageError("No folder was given.", "Use loratui check FOLDER.")
    path = Path(given).expanduser()
    if not archives.is_archive(path) and not folder_lists.is_list(path):
        return _check(args, path, path)
    with tempfile.TemporaryDirectory(prefix="loratui-check-") as place:
        return _check(args, path, gathered.opened(path, Path(place)))


def _check(args: argparse.Namespace, given: Path, folder: Path) -> int:
    from loratui.engine.dataset.inspect import inspect_folder
    from loratui.engine.planning.preflight import token_counter

    settings = settings_of(args)
    found = inspect_folder(
        folder,
        settings,
        preset=args.preset or "",
        deep=args.deep or args.faces,
        detector=_detector(download=args.faces),
        implies=own_implications(),
        tokenizer=token_counter(settings),
        progress=Progress() if args.deep or args.faces else None,
    )
    plan = _plan(found)
    if args.json:
        common.print_json(as_json(found, plan, given))
    else:
        for line in as_text(found, plan, given):
            say(sys.stdout, clean(line))
    return int(exit_code(found.findings))


def _detector(*, download: bool) -> str:
    """The face detector, downloaded on request; empty if there is none. A download that fails is reported on stderr."""
    from loratui.engine.dataset import yunet
    from loratui.engine.runs.directory import loratui_home

    try:
        home = loratui_home()
        if download:
            yunet.fetch_weights(home)
        return yunet.detector_name(home)
    except LoratuiError as error:
        if download:
            say(sys.stderr, f"No face check: {error}")
        return ""


def own_implications() -> Implications:
    """Which tags imply which others, with the person's own; a file that cannot be used is reported on stderr."""
    from loratui.engine.dataset.implications import implications
    from loratui.engine.runs.directory import loratui_home

    implies, problem = implications(loratui_home(usable=False))
    if problem:
        say(sys.stderr, clean(problem))
    return implies


def _plan(found: Inspection) -> Plan | None:
    """The plan for the images; None without an image."""
    from loratui.engine.planning.recipe import Recipe
    from loratui.engine.planning.schedule import make_plan

    return make_plan(Recipe(found.case.settings, found.case.preset), found.scan) if found.scan.training else None


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings of the preset, or the defaults, with the options. Raises `SchemaError`."""
    from loratui.engine.planning.recipe import parse_sets
    from loratui.presets import load_preset, schema

    start = load_preset(args.preset).settings if args.preset else schema.Settings()
    said = {"base.model": args.base, "dataset.trigger": args.trigger, "dataset.class_word": args.class_word}
    return schema.replace(start, {**{key: value for key, value in said.items() if value is not None}, **parse_sets(args.sets)})


def exit_code(findings: tuple[Finding, ...]) -> ExitCode:
    """3 with an error, 1 with a warning, else 0."""
    of = counted(findings)
    return ExitCode.DATASET if of["error"] else ExitCode.WARNINGS if of["warning"] else ExitCode.DONE


def as_json(found: Inspection, plan: Plan | None, given: Path) -> dict[str, Any]:
    """The stable keys of `loratui check --json`."""
    from loratui.engine.dataset.archives import left_out_of

    case = found.case
    left_out = [*((item.relative, item.reason) for item in found.scan.left_out), *left_out_of(found.scan.root)]
    return {
        "folder": str(given),
        "preset": case.preset,
        "images": len(found.scan.training),
        "regularisation_images": len(found.scan.regularisation),
        "captioned": len(case.captioned),
        "with_trigger": len([image for image in case.holding_trigger if case.trigger_of(image)]),
        "trigger": case.trigger,
        "trigger_guessed": bool(found.guessed_trigger),
        "deep": found.deep is not None,
        **common.findings_json(found.findings, found.not_checked),
        "trained_with": list(found.examples()),
        "left_out": [{"file": name, "reason": reason} for name, reason in left_out],
        "concepts": [asdict(concept) for concept in plan.concepts] if plan else [],
        "regularisation": {
            "images": plan.regularisation_images,
            "weight": plan.prior_weight,
            "image_steps": plan.regularisation_image_steps,
            "optimizer_steps": plan.regularisation_optimizer_steps,
        }
        if plan
        else None,
        "exit_code": int(exit_code(found.findings)),
    }


def as_text(found: Inspection, plan: Plan | None, given: Path) -> Iterator[str]:
    """The findings for people, line by line, to be cleaned."""
    case = found.case
    yield f"{given}: {text.count(len(found.scan.training), 'image')}, {text.number(len(case.captioned))} with a caption."
    if case.trigger:
        how = ", guessed from the captions" if case.guess else ", taken from the folder's name" if found.guessed_trigger else ""
        yield f'trigger "{case.trigger}"{how}: in {text.number(len(case.holding_trigger))} of {text.count(len(case.captioned), "caption")}.'
    if plan and len(plan.concepts) > 1:
        for concept in plan.concepts:
            balanced = "" if concept.repeats == concept.balanced_repeats else f" (balanced: {concept.balanced_repeats})"
            images = text.count(concept.images, "image")
            yield f'concept "{concept.name}": {images} × {text.count(concept.repeats, "repeat")} an epoch{balanced}.'
    if plan and plan.regularisation_images:
        from loratui.engine.planning.plan import regularisation_cost

        count = text.count(plan.regularisation_images, "regularisation image")
        yield f"{count}: {regularisation_cost(plan)}."
    yield from in_full(found.findings)
    examples = found.examples()
    if examples:
        yield ""
        yield "trained with, for example:"
        yield from (f'  "{caption}"' for caption in examples)
    yield ""
    yield from _closing(found)
    yield from common.not_checked_lines(found.not_checked)


def _closing(found: Inspection) -> Iterator[str]:
    of = counted(found.findings)
    if of["error"]:
        yield "Training cannot start: fix the errors first."
    else:
        yield f"{text.count(of['warning'], 'warning')}." if of["warning"] else "No errors or warnings."


class Progress:
    """Reports the deep pass on stderr, at each tenth."""

    def __init__(self) -> None:
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total if total else 10
        if tenths > self._tenths:
            self._tenths = tenths
            say(sys.stderr, f"measured {text.number(done)} of {text.count(total, 'image')}")
