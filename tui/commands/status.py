"""`loratui status`: the state of a run, once or until it ends, for a person or a script."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import ancestors
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import RunSummary, summarise
from loratui.engine.runs.tail import POLL_S
from loratui.engine.runs.when_finished import choice
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.runs import figures, measured_words
from loratui.tui.runs.log_lines import damage
from loratui.tui.terminal import clean, hangup

FORMAT = 1
"""Version of the JSON object; keys are added, never renamed."""

INTERVAL_S = 2.0
LEAST_INTERVAL_S, LONGEST_INTERVAL_S = 0.1, 3600.0


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """RUN, `--json`, `--watch [S]`."""
    del name
    common.add_run_argument(parser)
    common.add_output_arguments(parser)
    parser.add_argument(
        "--watch",
        metavar="S",
        nargs="?",
        const=str(INTERVAL_S),
        help=f"print a line at each change until the run ends; look every S seconds (default: {INTERVAL_S:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the state of the run; with `--watch` after each change, until no process works on it.

    JSON: one object as `status_of` gives it, with `--watch` one per line. Returns 0, whatever the status.
    """
    every_s = _interval(args)
    chosen = common.chosen_run(args)
    looking = _Looking(chosen)
    told: dict[str, Any] = {}
    if args.watch is not None:
        hangup.watch_output()
    while True:
        found = looking.look()
        news = {key: value for key, value in found.items() if key not in ("v", "idle_s")}
        if news != told:
            told = news
            _tell(found, looking, json_wanted=args.json, one_line=args.watch is not None)
        if args.watch is None or not found["active"]:
            return 0
        time.sleep(max(every_s, POLL_S))


def _interval(args: argparse.Namespace) -> float:
    """The seconds of `--watch`. A word after it that is not a number is the run: `status --watch anafox-20261121-1`."""
    words = args.watch or str(INTERVAL_S)
    try:
        seconds = float(words)
    except ValueError:
        if args.run_name is None:
            args.run_name = words
            return INTERVAL_S
        seconds = 0.0
    if not LEAST_INTERVAL_S <= seconds <= LONGEST_INTERVAL_S:
        between = f"{LEAST_INTERVAL_S:g} to {LONGEST_INTERVAL_S:g}"
        raise UsageError(f"--watch {words}: expected seconds from {between}.", "For example --watch 5.")
    return seconds


class _Looking:
    """Looks at a run repeatedly; the changes of its recipe are read once."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.changed, self.changed_words = _changed(run)
        self.lineage = ancestors(run)
        self.summary, self.state = self._read()

    def look(self) -> dict[str, Any]:
        """The state of the run now."""
        self.summary, self.state = self._read()
        pending = [command.command for command in control.pending(self.run)] if self.summary.active else []
        chosen = list(choice.in_words(choice.chosen_or_none(self.run)))
        actions = [asdict(action) for action in self.summary.state.actions]
        found = status_of(self.summary, self.state, pending, time.time())
        lineage = [asdict(one) for one in self.lineage]
        more = {"changed": self.changed, "when_finished": {"chosen": chosen, "actions": actions}, "lineage": lineage}
        return {**found, **more}

    def _read(self) -> tuple[RunSummary, RunState]:
        summary = summarise(self.run, closely=True)
        return summary, read_state(self.run, "validate") if summary.job == "validate" else summary.state


def status_of(summary: RunSummary, state: RunState, pending: list[str], now: float) -> dict[str, Any]:
    """The object that `--json` prints.

    `v name path status certainty active job reason advice exit_code created phase text progress{done total} preset family base
    trigger device epoch epochs step optimizer_steps image_step image_steps loss loss_smoothed learning_rate grad_norm
    held_out{epoch step loss base_loss what best{epoch step loss base_loss what}} pulls[]{image kind gain usual}
    steps_per_s seconds_left seconds_left_sure seconds_worked idle_s machine changed changes asked[]
    measured[]{step epoch images measures[]{id value spread base low high copied photo means unknown}}
    likely_best{kind step epoch seen_step} sample output checkpoint_step
    waiting{ts reason remedy error place needed_bytes free_bytes deletable[]{what bytes command}} warnings[]{code message remedy} skipped`, `lineage[]{kind run path step sha256}`, and `when_finished{chosen[] actions[]{action state message attempts until}}`. Paths of `sample` and `output` are relative to `path`; unknown values are null.
    """
    left = state.time_left if summary.active else None
    machine = state.machine
    return {
        "v": FORMAT,
        "name": summary.name,
        "path": summary.path,
        "status": summary.status,
        "certainty": summary.certainty,
        "active": summary.active,
        "job": summary.job,
        "reason": summary.reason,
        "advice": summary.advice,
        "exit_code": summary.exit_code,
        "created": summary.created,
        "phase": state.phase,
        "text": state.text,
        "progress": {"done": state.progress.done, "total": state.progress.total} if state.progress else None,
        **{name: getattr(state, name) for name in ("preset", "family", "base", "trigger", "device", "epoch", "epochs")},
        **{name: getattr(state, name) for name in ("step", "optimizer_steps", "image_step", "image_steps", "loss")},
        "loss_smoothed": _rounded(state.loss_smoothed, 6),
        "learning_rate": state.learning_rate,
        "grad_norm": state.grad_norm,
        "held_out": _held_out(state),
        "pulls": [asdict(pull) for pull in state.pulls],
        "steps_per_s": _rounded(state.steps_per_s, 4),
        "seconds_left": round(left.seconds) if left else None,
        "seconds_left_sure": left.sure if left else None,
        "seconds_worked": round(state.worked_s),
        "idle_s": round(state.quiet_s(now)) if state.last_ts else None,
        "machine": {n: v for n in machine.__slots__ if (v := getattr(machine, n)) not in (None, "", ())} if machine else None,
        "changes": {
            "prompts": list(state.changes.prompts) if state.changes.prompts else None,
            "every_image_steps": state.changes.every_image_steps,
            "stop_after_epoch": state.changes.stop_after_epoch,
        },
        "asked": pending,
        "measured": [asdict(one) for one in state.measured],
        "likely_best": None if state.likely_best is None else asdict(state.likely_best),
        "sample": state.sample or None,
        "output": None if summary.output_gone else state.output or None,
        "checkpoint_step": state.checkpoint_step or None,
        "waiting": None if state.waiting is None or not summary.active else asdict(state.waiting),
        "warnings": [{"code": w.code, "message": w.message, "remedy": w.remedy} for w in state.warnings],
        "skipped": state.skipped,
    }


def _held_out(state: RunState) -> dict[str, Any] | None:
    """The last loss on images that are not trained on, with the lowest; None where it was not measured."""
    if state.held_out is None:
        return None
    return {**asdict(state.held_out), "best": asdict(state.held_out_best) if state.held_out_best else None}


def _tell(found: dict[str, Any], looking: _Looking, *, json_wanted: bool, one_line: bool) -> None:
    if json_wanted and one_line:
        sys.stdout.write(json.dumps(found, ensure_ascii=True, allow_nan=False) + "\n")
        sys.stdout.flush()
    elif json_wanted:
        common.print_json(found)
    elif one_line:
        say(sys.stdout, clean(_sentence(found, looking)))
    else:
        for line in _lines(found, looking):
            say(sys.stdout, clean(line), as_it_is=line.startswith(("sample:", "LoRA file:")))


def _sentence(found: dict[str, Any], looking: _Looking) -> str:
    doing, state = found["status"], looking.state
    if found["active"] and state.progress is not None and state.progress.total:
        return f"{doing}: {figures.phase(state)}, {state.progress.done} of {state.progress.total}"
    words = f"{doing}: {_where(looking) or figures.phase(state)}"
    return words if found["active"] else f"{doing}. {found['reason']} {found['advice']}".strip()


def _where(looking: _Looking) -> str:
    state = looking.state
    return figures.sentence(state, figures.trains(looking.summary)) if state.step else ""


def _lines(found: dict[str, Any], looking: _Looking) -> list[str]:
    state = looking.state
    lines = [f"{found['name']} {text.stands(found['status'])}. {found['reason']} {found['advice']}".strip()]
    if where := _where(looking):
        lines.append(where)
    elif found["active"]:
        lines.append(figures.phase(state))
    if state.held_out is not None:
        lines.append(figures.held_out(state))
    if found["asked"]:
        lines.append(f"asked for: {', '.join(found['asked'])}")
    if state.changes.stop_after_epoch and found["active"]:
        lines.append(f"stops after epoch {state.changes.stop_after_epoch}")
    lines += [words for words in (measured_words.newest(state), measured_words.likely_best(state)) if words]
    if state.machine is not None and found["active"]:
        lines.append(figures.machine(state.machine))
    lines += [words if not at else f"which {words}" for at, words in enumerate(one.words for one in looking.lineage)]
    if looking.changed_words:
        lines.append(looking.changed_words)
    lines += [f"{one['action']}: {one['state']}. {one['message']}".rstrip() for one in found["when_finished"]["actions"]]
    if found["active"] and not state.ending and (chosen := found["when_finished"]["chosen"]):
        lines.append(f"when finished: {'; '.join(chosen)}")
    lines += [f"warning: {w['message']} {w['remedy']}".strip() for w in found["warnings"][-3:]]
    if state.skipped:
        lines.append(damage(state.skipped))
    for name in ("sample", "output"):
        if found[name]:
            lines.append(f"{'LoRA file' if name == 'output' else name}: {found['path']}/{found[name]}")
    if found["seconds_worked"]:
        lines.append(f"worked for {figures.worked(state)}")
    return lines


def _changed(run: RunDirectory) -> tuple[dict[str, Any] | None, str]:
    """The values of the recipe that differ from its preset, by key and in words; None if the recipe cannot be read."""
    from loratui.engine.planning.recipe import read_recipe
    from loratui.presets.schema import SchemaError
    from loratui.tui.wizard.draft import changes_sentence

    try:
        recipe = read_recipe(run.recipe)
    except SchemaError:
        return None, ""
    return {one.key: one.value for one in recipe.differences()}, changes_sentence(recipe)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
