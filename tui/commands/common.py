"""What several commands share: arguments that choose a recipe, the way from a recipe to a running run, and questions."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.runs.directory import RunDirectory, create_run, loratui_home, open_run
from loratui.engine.runs.summary import summarise_all
from loratui.tui.findings import in_one_line
from loratui.tui.plain.follow import Followed, say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.findings import Finding
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.planning.recipe import Recipe
    from loratui.engine.runs.probe import BaseRead
    from loratui.engine.runs.summary import RunSummary


_QUIET_S = 3.0
"""A longer wait tells what it waits for."""


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """`--json --plain --home --trust`, which every command takes."""
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")
    # The same options may come before the command; a default here would override them.
    parser.add_argument("--plain", action="store_true", default=argparse.SUPPRESS, help="plain lines instead of the app")
    parser.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help="loratui's folder, with all runs")
    parser.add_argument(
        "--trust", action="store_true", default=argparse.SUPPRESS, help="use a home or run that others can write to"
    )


def add_run_argument(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The positional RUN: a name, a path or `latest`; without it `chosen_run` chooses one."""
    what = "name or folder of a run (see loratui runs)"
    if required:
        parser.add_argument("run_name", metavar="RUN", help=what)
    else:
        parser.add_argument("run_name", metavar="RUN", nargs="?", help=f"{what}; default: the active run, else the newest")


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments from which `recipe_from_args` makes a recipe."""
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="folder of images, or a recipe.toml")
    parser.add_argument("--dataset", metavar="FOLDER", dest="dataset_option", help="the same folder as an option")
    parser.add_argument("--preset", metavar="NAME", help="preset to start from (see loratui presets)")
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="base model: a .safetensors file, a folder, owner/name, or embedded:NAME (toys for the demo); see loratui bases",
    )
    parser.add_argument("--trigger", metavar="WORD", help="made-up word that stands for the subject")
    parser.add_argument("--class", metavar="WORD", dest="class_word", help="general noun for the subject, such as woman")
    parser.add_argument("--name", metavar="NAME", help="name of the LoRA file (default: the trigger)")
    parser.add_argument("--set", metavar="KEY=VALUE", dest="sets", action="append", default=[], help="change any setting")
    parser.add_argument("--batch", metavar="N", type=int, help="batch size")
    # `plan` had it under the second name first.
    parser.add_argument(
        "--gpus", "--processes", metavar="N", type=int, dest="processes", help="GPUs that train together (default: 1)"
    )
    add_device_argument(parser)
    parser.add_argument("--repeats", metavar="rule|N", help="rule: ignore the numbers in folder names; N: repeats per epoch")
    parser.add_argument("--price", metavar="PER_HOUR", type=float, help="price of this machine per hour, for the estimate")


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """`--device`, which is the setting memory.device."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu"),
        help="cpu: train on the CPU, even with a GPU (default: the GPU if there is one)",
    )


def device_change(args: argparse.Namespace) -> dict[str, Any]:
    """The setting that `--device` changes; empty without it."""
    return {"memory.device": args.device} if args.device else {}


def recipe_from_args(args: argparse.Namespace) -> Recipe:
    """The recipe that the arguments describe; its folder may still be missing (`plan --images`).

    Raises `UsageError` and `SchemaError`.
    """
    from loratui.engine.planning.recipe import build_recipe, parse_sets, read_to_begin

    positional, named = args.dataset, args.dataset_option
    from_file = positional is not None and positional.endswith(".toml") and not Path(positional).is_dir()
    if positional is not None and named is not None and not from_file and positional != named:
        raise UsageError(f"Two folders were given: {positional} and {named}.", "Give only one.")
    folder = named if from_file or positional is None else positional
    changes = {**_repeats(args.repeats), **device_change(args), **_processes(args), **parse_sets(args.sets)}
    if from_file:
        if args.preset is not None:
            raise UsageError(f"{positional} already names its preset.", "Leave out --preset, or the file.")
        path = Path(positional)
        if not path.is_file():
            raise UsageError(f"{path}: no such recipe.", "Check the path.")
        return read_to_begin(path).with_changes({**_overrides(args, folder), **changes})
    if args.preset is None:
        raise UsageError("No preset was given.", f"Add --preset NAME: {', '.join(_preset_names())}.")
    recipe = build_recipe(
        args.preset,
        dataset=Path(folder) if folder is not None else None,
        base=args.base or "",
        trigger=args.trigger or "",
        class_word=args.class_word or "",
        name=args.name or "",
        batch_size=args.batch,
    )
    return recipe.with_changes(changes) if changes else recipe


def this_machine() -> Accelerator:
    """This machine, for estimates and checks; a long wait is explained on stderr."""
    from loratui.engine.machine.accelerator import accelerator

    words = "Loading torch to find a usable GPU; the first time takes up to two minutes …"
    late = threading.Timer(_QUIET_S, lambda: say(sys.stderr, words))
    late.daemon = True
    late.start()
    try:
        return accelerator()
    finally:
        late.cancel()


def start_run(recipe: Recipe, home: Path) -> RunDirectory:
    """Reads the images, plans, checks, makes the run directory and starts the run; a failed check makes nothing."""
    from loratui.engine.runs.continuing import prepare

    return start_prepared(prepare(recipe, home, machine=this_machine()), home)


def start_prepared(prepared: Prepared, home: Path, *, base: BaseRead | None = None) -> RunDirectory:
    """As `start_run`, from the result of `prepare`. The readings of the base by the real step are kept with the run."""
    from loratui.engine.runs.launcher import launch
    from loratui.engine.runs.probe import keep_base_read

    refuse_errors(prepared.errors)
    run = make_run(prepared, home)
    if base is not None:
        keep_base_read(run, base)
    launch(run)
    return run


def queue_prepared(prepared: Prepared, home: Path, *, base: BaseRead | None = None) -> tuple[RunDirectory, int]:
    """As `start_prepared`, but the run starts when those that wait before it are done; its place among them, from 1 on."""
    from loratui.engine.runs.probe import keep_base_read
    from loratui.engine.runs.queue import adding
    from loratui.engine.runs.queue.start import ensure_watched

    refuse_errors(prepared.errors)
    run = make_run(prepared, home)
    if base is not None:
        keep_base_read(run, base)
    place = adding.add(run).place(run.name)
    ensure_watched(home)
    return run, place


def make_run(prepared: Prepared, home: Path) -> RunDirectory:
    """Makes the run directory of what was prepared, and does not start it."""
    from loratui.engine.dataset.ledger import build_ledger
    from loratui.engine.planning.bases import pinned
    from loratui.engine.planning.recipe import effective_toml
    from loratui.engine.runs.continuing import begin
    from loratui.engine.runs.directory import delete_run

    recipe, plan = prepared.recipe, prepared.plan
    run = create_run(
        home,
        run_stem(recipe),
        recipe_toml=recipe.to_toml(),
        effective_toml=effective_toml(recipe.with_changes(pinned(recipe.settings.base)), plan),
        ledger=build_ledger(recipe.settings, prepared.scan, plan),
    )
    try:
        begin(run)
    except BaseException:
        delete_run(run)
        raise
    return run


def run_stem(recipe: Recipe) -> str:
    """The stem of the run's name: the LoRA file's name, else the trigger, else the folder's."""
    settings = recipe.settings
    return settings.output.name or settings.dataset.trigger or Path(settings.dataset.path).name


def refuse_errors(errors: Sequence[Finding]) -> None:
    """Raises the first finding as an error with its exit code, and counts the others.

    Errors of the images have exit code 3, even if they name no file.
    """
    if errors:
        more = f" ({len(errors) - 1} more.)" if len(errors) > 1 else ""
        raise errors[0].subject.error(f"{errors[0].message}{more}", errors[0].remedy)


def say_findings(findings: Sequence[Finding], out: TextIO) -> None:
    """Prints one line for each finding, with its remedy."""
    for finding in findings:
        say(out, clean(in_one_line(finding)))


def findings_json(findings: Sequence[Finding], not_checked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """`findings[]` and `not_checked[]` for `--json`."""
    return {
        "findings": [finding.to_json() for finding in findings],
        "not_checked": [{"id": id, "reason": reason} for id, reason in not_checked],
    }


def not_checked_lines(not_checked: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line for each reason why checks of the images were not run, and the option that runs them."""
    reasons: dict[str, list[str]] = {}
    for id, reason in not_checked:
        reasons.setdefault(reason, []).append(id)
    for reason, ids in reasons.items():
        remedy = " (loratui check --deep runs it)" if "deep pass" in reason else ""
        remedy = " (loratui check --faces downloads one)" if "detector" in reason else remedy
        yield f"not checked, {reason}{remedy}: {', '.join(ids)}"


def chosen_run(args: argparse.Namespace, *, to_delete: bool = False) -> RunDirectory:
    """The run that the arguments name; without a name the run that trains, else the newest, named on stderr.

    Raises `UsageError` with near names.
    """
    home, to_read = loratui_home(), getattr(args, "view_only", False)
    if args.run_name is not None:
        return open_run(home, args.run_name, to_read=to_read, to_delete=to_delete)
    runs = summarise_all(home)
    active = [run for run in runs if run.active]
    active = [run for run in active if not run.owner] or active  # on a shared machine, own runs first
    at_work = [run for run in active if run.job == "train"] or active
    chosen = open_run(home, at_work[0].name if at_work else "latest", to_read=to_read)
    why = "the newest run (none is active)"
    if at_work:
        why = "the active run" if len(at_work) == 1 else f"the newest of {len(at_work)} active runs"
        why += f", of {at_work[0].owner}" if at_work[0].owner else ""
    say(sys.stderr, clean(f"{chosen.name}: {why}."))
    return chosen


def refuse_while_finishing(summary: RunSummary) -> None:
    """Raises `UsageError` for a run that has ended while what follows its end is being done."""
    if summary.status == "finishing":
        message = f"{summary.name} has ended, and what follows its end is being done. {summary.advice}".rstrip()
        raise UsageError(message, f"Wait, or cancel it: loratui when-finished {summary.name} --cancel")


def as_toml(value: Any) -> str:
    """A value as a recipe writes it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def print_json(value: dict[str, Any]) -> None:
    """Prints the object on stdout. ASCII, so any locale can print any file name."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n")
    sys.stdout.flush()


def conclude(ended: Followed | None, args: argparse.Namespace, out: TextIO, more: Mapping[str, Any] | None = None) -> int:
    """Ends a command that followed a run: prints the last lines and the JSON with `more`, and returns the run's exit code.

    None means that the person left with Ctrl-C: 0 if somebody watched, 130 for a script that waited.
    """
    from loratui.tui.plain.follow import say_conclusion

    if ended is None:
        return 130 if args.json or getattr(args, "wait", False) else int(ExitCode.DONE)
    say_conclusion(ended, out)
    if args.json:
        print_json({**ended.to_json(), **(more or {})})
    return int(ended.exit_code)


def ask(question: str, *, default: bool) -> bool:
    """Asks a yes-or-no question on the terminal. `question` must be clean; the end of input means no."""
    sys.stderr.write(f"{question} {'[Y/n]' if default else '[y/N]'} ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        return False
    word = answer.strip().lower()
    return default if not word else word in ("y", "yes")


def can_ask() -> bool:
    """Whether stdin and stderr are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _overrides(args: argparse.Namespace, folder: str | None) -> dict[str, Any]:
    said = {
        "dataset.path": str(Path(folder).expanduser().absolute()) if folder is not None else None,
        "base.model": args.base,
        "dataset.trigger": args.trigger,
        "dataset.class_word": args.class_word,
        "output.name": args.name,
        "training.batch_size": args.batch,
    }
    return {key: value for key, value in said.items() if value is not None}


def _repeats(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text == "rule":
        return {"schedule.folder_repeats": False}
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--repeats {text}: expected rule or a number of at least 1.")
    return {"schedule.folder_repeats": False, "schedule.repeats": int(text)}


def _processes(args: argparse.Namespace) -> dict[str, Any]:
    if args.processes is None:
        return {}
    if args.processes < 1:
        raise UsageError(f"--gpus {args.processes}: expected a number of at least 1.")
    return {"training.processes": args.processes}


def _preset_names() -> list[str]:
    from loratui.presets import list_presets

    return [preset.name for preset in list_presets()]
