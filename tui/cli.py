"""The `loratui` command: finds the subcommand, loads only its module, and turns errors into a sentence and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from loratui.tui.commands.arguments import Parser
from loratui.tui.terminal import clean, drop_absurd


class Command(NamedTuple):
    """One subcommand."""

    module: str
    """Has `add_arguments(parser, name)` and `run(args) -> int`."""
    help: str
    """One line."""
    examples: tuple[str, ...]


def _command(module: str, help_line: str, *examples: str) -> Command:
    return Command(f"loratui.tui.commands.{module}", help_line, examples)


_LONGEST_LINE = 10_000
"""Characters of a command line that are completed; the rest is ignored."""

COMMANDS: dict[str, Command] = {
    "demo": _command(
        "demo",
        "try loratui: train a LoRA of an invented person in a few minutes",
        "loratui demo",
        "loratui demo --family flux --no-tui",
    ),
    "train": _command(
        "train",
        "train a LoRA on a folder of images",
        "loratui train photos --preset sd15-portrait --trigger anafox --class woman",
        "loratui train photos --preset pony-realism --trigger anafox --base /models/pony.safetensors",
        "loratui train photos --preset flux-identity-18img --trigger anafox --set adapter.rank=32",
        "loratui train recipe.toml",
    ),
    "check": _command(
        "check",
        "check a folder of images: faults and their fixes",
        "loratui check photos --preset sd15-portrait --trigger anafox",
        "loratui check photos --preset sd15-portrait --deep",
    ),
    "captions": _command(
        "captions",
        "count the tags of captions, find images by tag, change many captions",
        "loratui captions photos",
        "loratui captions photos --having outdoors --lacking smile",
        "loratui captions photos --lacking indoors --add outdoors --remove-implied --dry-run",
        "loratui captions photos --pattern 'blue[ -]ish' bluish --json",
    ),
    "caption": _command(
        "caption",
        "have a model propose captions for a folder of images",
        "loratui caption --list",
        "loratui caption photos --with florence-2 --preset flux-identity-18img --trigger anafox",
        "loratui caption photos --with wd14 --preset pony-realism --trigger anafox --accept",
        "loratui caption photos --with endpoint --url http://localhost:11434/v1 --model qwen3-vl --trigger anafox",
    ),
    "masks": _command(
        "masks",
        "make masks of persons or faces, which weight the loss",
        "loratui masks photos",
        "loratui masks photos --of face --yes --json",
    ),
    "plan": _command(
        "plan",
        "show repeats, epochs, steps and costs without training",
        "loratui plan photos --preset sd15-portrait --price 0.40",
        "loratui plan --images 18 --preset flux-identity-18img",
    ),
    "presets": _command(
        "presets", "list the presets, or explain one value by value", "loratui presets", "loratui presets sd15-portrait"
    ),
    "import": _command(
        "importing",
        "make a recipe of another trainer's settings, and say what becomes of each value",
        "loratui import kohya.json --dataset photos",
        "loratui import train_lora_flux.yaml --images 18 --to recipe.toml",
    ),
    "recipe": _command(
        "recipe",
        "write a recipe as the files of another trainer",
        "loratui recipe recipe.toml --as sd-scripts --to .",
        "loratui recipe --preset sdxl-person --images 20 --as sd-scripts",
    ),
    "bases": _command(
        "bases",
        "list the base models on this machine, or identify one",
        "loratui bases",
        "loratui bases /models/pony.safetensors",
    ),
    "download": _command(
        "download",
        "download a base model from the Hugging Face hub",
        "loratui download stabilityai/stable-diffusion-xl-base-1.0",
    ),
    "login": _command(
        "login", "sign in to the Hugging Face hub, for models with terms to accept", "loratui login", "loratui login --status"
    ),
    "runs": _command("runs", "list the runs on this machine", "loratui runs", "loratui runs --json"),
    "status": _command(
        "status",
        "show the state of a run, once or until it ends",
        "loratui status",
        "loratui status anafox-20261121-1 --json",
        "loratui status --watch anafox-20261121-1",
    ),
    "attach": _command("attach", "return to a run", "loratui attach", "loratui attach anafox-20261121-1 --plain"),
    "pause": _command("control", "save a checkpoint and free the GPU", "loratui pause"),
    "resume": _command("resume", "resume a paused, stopped or crashed run", "loratui resume anafox-20261121-1"),
    "continue": _command(
        "continue_run",
        "train more from a run that has ended, in a new run",
        "loratui continue anafox-20261121-1 --epochs 5",
        "loratui continue anafox-20261121-1 --epochs 5 --step 180 --rates restart",
        "loratui continue anafox-20261121-1 --advice fewer_epochs",
        "loratui continue anafox-20261121-1 --weights --dataset more-photos --set optimizer.learning_rate=5e-5",
    ),
    "queue": _command(
        "queue",
        "list the runs that wait for the GPU, and change their order",
        "loratui queue",
        "loratui queue add anafox-20261121-1 --validate",
        "loratui queue move anafox-20261121-2 --place 1",
        "loratui queue hold",
    ),
    "sweep": _command(
        "sweep",
        "train several runs that differ in a few settings, one after another",
        "loratui sweep photos --preset sd15-portrait --trigger anafox --over rank=8,16,32",
        "loratui sweep photos --preset sdxl-person --trigger anafox --over learning_rate=5e-5,1e-4 --over training.seed=1,2",
    ),
    "sweeps": _command(
        "sweeps",
        "compare the runs of a sweep by the same measures",
        "loratui sweeps",
        "loratui sweeps anafox-sweep-20261121-1 --strength 0.8",
    ),
    "stop": _command("control", "save and end a run", "loratui stop", "loratui stop anafox-20261121-1 --timeout 30 --kill"),
    "sample": _command("control", "make sample images now", "loratui sample"),
    "checkpoint": _command("control", "save a checkpoint now", "loratui checkpoint"),
    "when-finished": _command(
        "when_finished",
        "choose what is done when a run has ended: copy, command, message, stop of the pod",
        "loratui when-finished --notify ntfy --pod stop",
        "loratui when-finished anafox-20261121-1 --copy-to rsync:me@host:loras",
        "loratui when-finished --cancel",
    ),
    "validate": _command(
        "validate",
        "make the validation images, which show how good a LoRA is",
        "loratui validate",
        "loratui validate --grid strengths --strengths 0,0.5,1",
        "loratui validate --lora downloaded.safetensors --base embedded:sd15 --images photos",
    ),
    "compare": _command(
        "compare",
        "show two LoRA files side by side and vote, blind if wanted",
        "loratui compare anafox-20261121-1:450 anafox-20261121-1:900 --blind",
        "loratui compare anafox-20261121-1 anafox-20261122-1 --seeds 4",
        "loratui compare mine.safetensors theirs.safetensors --base base.safetensors",
    ),
    "report": _command(
        "report",
        "write a report of a run: one HTML page, Markdown, contact sheets",
        "loratui report",
        "loratui report anafox-20261121-1 --to ~/reports --photos",
    ),
    "keep": _command(
        "keep",
        "keep the chosen LoRA file under a name, with its settings",
        "loratui keep",
        "loratui keep anafox-20261121-1 --file 270 --as anafox-v1 --to ~/loras",
    ),
    "upload": _command(
        "upload",
        "put a LoRA file on the Hugging Face hub, with a model card",
        "loratui upload latest me/anafox",
        "loratui upload anafox-20261121-1 me/anafox --file 270 --preview",
    ),
    "export": _command(
        "export",
        "write a LoRA file of a run for other programs",
        "loratui export",
        "loratui export anafox-20261121-1 --step 900 --format kohya --dtype bf16",
    ),
    "metadata": _command(
        "metadata",
        "show, remove or preview the metadata of a LoRA file",
        "loratui metadata show anafox.safetensors",
        "loratui metadata strip anafox.safetensors",
        "loratui metadata preview anafox-20261121-1",
    ),
    "rm": _command("rm", "delete a run", "loratui rm anafox-20261121-1"),
    "doctor": _command(
        "doctor",
        "examine this machine: GPU, versions, disk, folders",
        "loratui doctor",
        "loratui doctor --base /models/ponyRealism.safetensors photos/anna",
    ),
    "completion": _command(
        "completion",
        "set up your shell so that Tab completes commands, options and names",
        "bash:  echo 'eval \"$(loratui completion bash)\"' >> ~/.bashrc",
        "zsh:   echo 'eval \"$(loratui completion zsh)\"' >> ~/.zshrc",
        "fish:  loratui completion fish > ~/.config/fish/completions/loratui.fish",
    ),
    "help": _command("help", "explain one command", "loratui help train"),
}


_STARTING = (None, "demo", "train", "resume", "continue", "validate", "queue", "sweep", "compare", "caption")
"""Commands that start something; None is the app."""


def build_parser(argv: Sequence[str]) -> Parser:
    """A parser for `argv`: only the named subcommand's module is imported, so `--help` stays quick."""
    options = _options()
    parser = Parser(
        prog="loratui",
        description="Train a LoRA in the terminal. Without a command, the app opens.",
        epilog="loratui COMMAND --help explains one command, with examples.",
        parents=[options],
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    named = _named(options, argv)
    for name, command in COMMANDS.items():
        description = command.help[0].upper() + command.help[1:] + "."
        sub = commands.add_parser(name, help=command.help, description=description, examples=command.examples)
        if name == named:
            importlib.import_module(command.module).add_arguments(sub, name)
    return parser


def _options() -> argparse.ArgumentParser:
    """The options before the command."""
    options = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    options.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    options.add_argument("--plain", action="store_true", help="plain lines instead of the full-screen app")
    options.add_argument("--view-only", action="store_true", help="view only: start, change or delete nothing")
    options.add_argument("--home", metavar="DIR", help="loratui's folder, with all runs (default: see loratui doctor)")
    options.add_argument("--trust", action="store_true", help="from now on, use a home or run that others can write to")
    return options


def _named(options: argparse.ArgumentParser, argv: Sequence[str]) -> str | None:
    """The command among the words. The folder of `--home` may have the same name."""
    try:
        _, words = options.parse_known_args(argv)
    except argparse.ArgumentError:  # the command's own parser reports it
        words = list(argv)
    return next((word for word in words if word in COMMANDS), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (`engine/errors.py` lists them)."""
    _take_no_code_from_here()
    _open_closed()
    _take_any_byte()
    drop_absurd(os.environ)
    os.umask(0o077)
    try:
        try:
            code = _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # a full disk or a closed pipe can still be reported here
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return _explain(error)
        from loratui.engine.disk_errors import disk_error

        _drop_output()
        return _explain(disk_error(error, error.filename or "the output"))
    except Exception as error:
        return _explain(error)


def _run(words: list[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may come next
        from loratui.tui.commands.completing import complete

        complete(build_parser(os.environ.get("COMP_LINE", "")[:_LONGEST_LINE].split()))
    args = build_parser(words).parse_args(words)
    if args.version:
        from importlib.metadata import version

        sys.stdout.write(f"loratui {version('loratui')}\n")
        return 0
    if args.home:
        os.environ["LORATUI_HOME"] = os.path.abspath(args.home)  # noqa: PTH100 - pathlib costs start-up time here
    if args.view_only and args.command not in (None, "attach"):
        return _explain(_not_viewing(args.command))
    if args.trust or (args.command in _STARTING and not args.view_only):
        from loratui.tui.commands.trusting import settle

        settle(args)
    module = COMMANDS[args.command].module if args.command else "loratui.tui.commands.home"
    return int(importlib.import_module(module).run(args))


def _take_no_code_from_here() -> None:
    """Keeps the current folder out of the search for modules: `python -m` adds it, and so does every empty or relative entry
    of PYTHONPATH. `engine.children` does the same for child processes."""
    here = [entry for entry in os.environ.get("PYTHONPATH", os.sep).split(os.pathsep) if not entry.startswith(os.sep)]
    here += [""] if __name__ == "__main__" and not sys.flags.safe_path else []
    doomed = {os.path.abspath(entry) for entry in here}  # noqa: PTH100 - pathlib costs start-up time here
    if doomed:
        sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) not in doomed]  # noqa: PTH100


def _open_closed() -> None:
    """Opens /dev/null for an input or output that was closed at the start (`>&-`), so no file that is opened later takes
    its place."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != fd:
            os.dup2(nowhere, fd)
            os.close(nowhere)
        stream = open(fd, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - a descriptor
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _take_any_byte() -> None:
    """Reads input that is not UTF-8 as the words of the command line are read: it gets an answer and is not a crash."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def _drop_output() -> None:
    """Discards what is still to be printed, because the output takes no more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _complain(words: str) -> None:
    """Prints an error; if stderr is full or closed too, only the exit code tells."""
    from loratui.tui.plain.follow import say

    with contextlib.suppress(OSError):
        for line in words.splitlines():
            say(sys.stderr, line)


def _explain(error: Exception) -> int:
    """Prints an error that is meant for the person; for any other, the place of its report. Returns the exit code."""
    from loratui.engine.errors import ExitCode, LoratuiError
    from loratui.presets.schema import SchemaError

    if isinstance(error, (LoratuiError, SchemaError)):
        _complain(f"error: {clean(str(error))}")
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    import tempfile
    from pathlib import Path

    from loratui.engine.runs.directory import loratui_home
    from loratui.tui.crash import crash_message, write_crash_report

    try:
        home = loratui_home()
    except LoratuiError:
        home = Path(tempfile.gettempdir())
    _complain(crash_message(error, write_crash_report(error, home)))
    return int(ExitCode.CRASHED)


def _not_viewing(command: str) -> ValueError:
    from loratui.engine.errors import UsageError

    return UsageError(f"loratui {command} cannot be view-only.", "Use loratui --view-only or loratui attach RUN --view-only.")


if __name__ == "__main__":
    sys.exit(main())
