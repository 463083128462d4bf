"""The app in plain lines: its steps as questions, then the run."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory, loratui_home, open_run
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.lora_files import lora_paths
from loratui.engine.runs.summary import RunSummary, summarise, summarise_all
from loratui.presets.schema import SchemaError
from loratui.tui import text
from loratui.tui.paths import path_from_text, path_text
from loratui.tui.plain import follow
from loratui.tui.plain.asking import Asker, asker
from loratui.tui.plain.follow import follow_to_the_end, say_conclusion
from loratui.tui.plain.numbers import change_numbers
from loratui.tui.runs import figures
from loratui.tui.terminal import clean
from loratui.tui.wizard.draft import Draft, next_step_for_folder

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.prepare import Prepared
    from loratui.engine.runs.probe import BaseRead
    from loratui.tui.wizard.drafts import SavedDraft


def run_plain() -> int:
    """Lists the runs, asks what to do, and returns the exit code. Raises `UsageError` if nobody can answer."""
    return Wizard(asker(), loratui_home()).menu()


class Wizard:
    """One conversation about a `Draft`, as in the full-screen app."""

    def __init__(self, asker: Asker, home: Path) -> None:
        self._ask = asker
        self._home = home
        self._draft = Draft()
        self._draft_id = ""
        """Name of the saved draft; empty if there is none."""

    def menu(self) -> int:
        runs = summarise_all(self._home)
        say(f"loratui: {text.count(len(runs), 'run')} in {self._home}")
        options = ["Train a LoRA on my images", "Try the demo: an invented person, a few minutes, no download"]
        options += [_run_line(run) for run in runs[:20]]
        chosen = self._ask.choose("What do you want to do?", [*options, "Leave"])
        if chosen == 0:
            return self.new_run()
        if chosen == 1:
            return self.demo()
        if chosen < len(options):
            return self.old_run(runs[chosen - 2])
        return 0

    def new_run(self) -> int:
        """Asks for a draft, or preset, base and dataset; then plan, prompts, preflight and start."""
        from loratui.tui.wizard.drafts import list_drafts, new_id

        self._draft_id = new_id()
        if not self._continue(list_drafts(self._home)[:10]):
            self._choose_preset()
            self._choose_base()
        return self._ask_for_images_and_start()

    def _ask_for_images_and_start(self) -> int:
        if self._draft.scan is None:
            self._choose_folder()
            self._choose_words()
        return self._plan_and_start()

    def demo(self) -> int:
        from loratui.tui.wizard.demo import demo_draft, shared_by_cores

        self._draft = demo_draft(changes=shared_by_cores({}))
        return self._plan_and_start()

    def _continue(self, drafts: list[SavedDraft]) -> bool:
        """Asks which draft to continue, if there are any; True if the person chose a usable one."""
        if not drafts:
            return False
        options = [f"{draft.title}: {draft.about()}" for draft in drafts]
        at = self._ask.choose("Continue a draft?", ["Plan a new run", *options])
        if not at:
            return False
        return self._open(drafts[at - 1])

    def _open(self, chosen: SavedDraft) -> bool:
        """Goes on with a draft, if this version can read it."""
        from loratui.engine.dataset.scan import scan

        try:
            draft = chosen.open()
        except (SchemaError, TypeError) as error:
            say(f"This version cannot read the draft: {error}")
            return False
        self._draft_id, self._draft = chosen.id, draft
        try:
            self._draft = draft.with_scan(scan(Path(str(draft.value("dataset.path")))))
        except (LoratuiError, OSError) as error:
            say(f"Its folder cannot be read: {error}")
        return True

    def _keep(self) -> None:
        from loratui.tui.wizard.drafts import write_draft

        if self._draft_id:
            try:
                write_draft(self._home, self._draft_id, self._draft, "plan" if self._draft.scan else "dataset")
            except LoratuiError as error:
                say(f"The draft could not be saved: {error}")

    def old_run(self, summary: RunSummary) -> int:
        run = open_run(self._home, summary.name)
        summary = summarise(run, closely=True)
        if summary.reason:
            say(summary.reason)
        if summary.active:
            return self._follow(run, summary.job or "train")
        options = ["Leave it"]
        resume = f"Resume it: it {summary.goes_on}"
        if summary.resumable:
            options.append(resume)
        if lora_paths(run):
            options += ["Make the validation images", "Go through the validation"]
        match options[self._ask.choose(f"{summary.name} {text.stands(summary.status)}.", options)]:
            case "Make the validation images":
                return self._make_grid(run)
            case "Go through the validation":
                return self._validate(run)
            case chosen if chosen == resume:
                return self._resume(run)
        return 0

    def _choose_preset(self) -> None:
        from loratui.presets import list_presets

        presets = list_presets()
        chosen = presets[self._ask.choose("Which preset?", [f"{preset.title} ({preset.name})" for preset in presets])]
        say(chosen.summary)
        self._draft = self._draft.with_preset(chosen.name)

    def _choose_base(self) -> None:
        """The preset's base, one found here, or one that the person types."""
        from loratui.engine.planning.bases import discover

        say("Looking for base models on this machine …")
        family, own = self._draft.value("base.family"), str(self._draft.value("base.model"))
        demo = own.startswith("embedded:")
        found = [base for base in discover()[0] if base.family == family and base.usable and (demo or not base.toy)]
        models = list(dict.fromkeys([own, *(base.model for base in found)] if own else [base.model for base in found]))
        here = {base.model: base.title for base in found}
        for model in models:
            if model not in here:
                say(_to_fetch(model))  # a line wraps; a choice is cut off at the width of the window
        options = [f"{model}: {here.get(model, 'not on this machine yet')}" for model in models]
        at = self._ask.choose("Which base model?", [*options, "Another: type its path or hub name"])
        model = models[at] if at < len(models) else path_text(self._ask.path("Base model: a file, a folder or owner/name", own))
        self._draft = self._draft.with_values({"base.model": model})
        self._keep()

    def _choose_folder(self) -> None:
        found: dict[str, DatasetScan] = {}

        def check(answer: str) -> str:
            from loratui.engine.dataset import gathered
            from loratui.engine.dataset.scan import scan

            folder = path_from_text(answer)
            if folder is None:
                return next_step_for_folder(answer)
            try:
                found[answer] = scan(gathered.opened(folder, self._home / "datasets"))
            except LoratuiError as error:
                return f"{error} {next_step_for_folder(answer)}"
            except OSError as error:
                return f"{folder}: {error.strerror}"
            return ""

        answer = self._ask.path("Folder of your images", "", check)
        folder = path_from_text(answer)
        scan = found.get(answer) or found[next(iter(found))]
        assert folder is not None
        path = folder.absolute() if folder.is_dir() else scan.root
        self._draft = self._draft.with_values({"dataset.path": str(path)}).with_scan(scan)
        captioned = sum(image.caption is not None for image in scan.training)
        say(f"{text.count(len(scan.training), 'image')}, {captioned} with a caption.")
        for item in scan.left_out:
            if item.image:
                say(f"Left out: {item.relative} {item.reason}.")

    def _choose_words(self) -> None:
        named = self._draft.named().settings.dataset
        trigger = self._ask.text("Trigger: a made-up word for your subject, such as anafox", named.trigger)
        class_word = self._ask.text("Class: the general word for it, such as woman", named.class_word)
        self._draft = self._draft.with_values({"dataset.trigger": trigger, "dataset.class_word": class_word})
        self._keep()

    def _choose_prompts(self) -> None:
        """Shows the filled-in prompts, and asks for others one by one; an empty line keeps a prompt."""
        titles = {"samples.prompts": "Samples during training", "validation.prompts": "Prompts of the validation"}
        for key, title in titles.items():
            prompts = [str(prompt) for prompt in self._draft.value(key)]
            say(f"{title}:")
            for prompt in prompts:
                say(f"  {self._draft.filled_in(prompt)}")
            if self._ask.confirm("Change them?", default=False):
                question = "Prompt {}; {{subject}} becomes your words"
                typed = tuple(self._ask.text(question.format(at), old) for at, old in enumerate(prompts, 1))
                self._draft = self._draft.with_values({key: typed})
                self._keep()

    def _plan_and_start(self) -> int:
        from loratui.engine.runs.continuing import prepare
        from loratui.tui.commands.common import not_checked_lines, say_findings, start_prepared
        from loratui.tui.wizard.drafts import delete_draft
        from loratui.tui.wizard.preflight_rows import base_row

        while (changed := change_numbers(self._draft, self._machine, self._ask, say)) is not None:
            self._draft = changed
            self._keep()
        self._choose_prompts()
        prepared = prepare(self._draft.named(), self._home)
        say_findings(prepared.findings, sys.stdout)
        for line in not_checked_lines(prepared.not_checked):
            say(line)
        if prepared.errors:
            say("Fix that first, then start again. Nothing was written.")
            return int(prepared.errors[0].subject.error.exit_code)
        base = None
        if self._ask.confirm("Make one real step first to measure memory and speed?"):
            base = self._probe(prepared)
        if base is not None and (row := base_row(base, prepared.recipe.settings.base.check)):
            say(f"{row.mark.capitalize()}: {row.message} {row.remedy}")
            if row.mark == "error":
                return int(LoratuiError.exit_code)
        if not self._ask.confirm("Start the training?"):
            saved = "The draft is saved; loratui offers it again." if self._draft_id else "Nothing was written."
            say(f"Not started. {saved}")
            return 0
        run = start_prepared(prepared, self._home, base=base)
        if self._draft_id:
            delete_draft(self._home, self._draft_id)
        say(f"{run.name} runs in the background. Ctrl-C only leaves this view; loratui attach {run.name} returns to it.")
        return self._follow(run, "train")

    @functools.cached_property
    def _machine(self) -> Accelerator:
        from loratui.engine.machine.accelerator import accelerator

        return accelerator()

    def _probe(self, prepared: Prepared) -> BaseRead | None:
        """Makes one real step, with a line for its result; Ctrl-C cancels it."""
        from loratui.engine.planning.estimate import estimate
        from loratui.engine.planning.measured import read_all
        from loratui.engine.runs.probe import probe
        from loratui.tui.wizard.preflight_rows import probed_row

        machine = self._machine
        before = estimate(prepared.recipe, prepared.plan, machine, measurements=read_all()).here
        try:
            probed = probe(prepared, self._home, tell=say)
        except LoratuiError as error:
            say(f"One real step failed: {error}")
            return None
        if probed is None:
            return None
        after = estimate(prepared.recipe, prepared.plan, machine, measurements=read_all()).here
        row = probed_row(probed, before, after, machine.vram_gib)
        say(f"{row.message} {row.remedy}")
        return probed.base

    def _follow(self, run: RunDirectory, job: str) -> int:
        ended = follow_to_the_end(run, job, sys.stdout, past=True)
        if ended is None:
            return 0
        say_conclusion(ended, sys.stdout)
        if job == "train" and ended.status == "done" and self._ask.confirm("Make the validation images now?"):
            return self._make_grid(run)
        return int(ended.exit_code)

    def _resume(self, run: RunDirectory) -> int:
        """Resumes a run; what has changed meanwhile is shown and asked for."""
        from loratui.engine.runs.differences import accept, differences

        found = [one for one in differences(run) if one.asks]
        for one in found:
            say(one.title)
            for line in one.shown():
                say(f"  {line}")
        if found and not self._ask.confirm("Resume all the same?", default=False):
            return 0
        if found:
            accept(run, found)
        launch(run)
        return self._follow(run, "train")

    def _make_grid(self, run: RunDirectory) -> int:
        launch(run, "validate")
        ended = follow_to_the_end(run, "validate", sys.stdout)
        if ended is None:
            return 0
        if ended.status == "done":
            say(f"Validation images: {run.validation}")
            if self._ask.confirm("Go through the validation now?", default=False):
                return self._validate(run)
        return int(ended.exit_code)

    def _validate(self, run: RunDirectory) -> int:
        """Goes through the validation, and plans the next run if the person wants what it advises."""
        from loratui.engine.proof.next_plan import next_plan
        from loratui.tui.plain.validation import walk
        from loratui.tui.wizard.drafts import saved_from

        advice = walk(run, self._ask, say)
        if advice is None:
            return 0
        try:
            saved = saved_from(next_plan(run, advice, self._home).recipe, "plan")
        except (LoratuiError, SchemaError) as error:
            say(f"Not planned: {error}")
            return 0
        if not self._open(saved):
            return 0
        self._keep()
        return self._ask_for_images_and_start()


def say(line: str) -> None:
    """Prints one line, cleaned, at once."""
    follow.say(sys.stdout, clean(line), as_it_is=True)


def _to_fetch(model: str) -> str:
    from loratui.engine.families import known_base

    source = known_base(model)
    gate = ", behind a gate" if source and source.gated else ""
    about = f" (about {text.size(source.bytes)}, licence {source.licence}{gate})" if source else ""
    return f"loratui download {model} fetches the preset's base{about}."


def _run_line(run: RunSummary) -> str:
    steps = f", step {figures.steps(run.state)}" if run.state.optimizer_steps else ""
    made = f", made {text.ago(time.time() - run.created)}" if run.created else ""
    return f"{run.name}: {figures.status(run)}{steps}{made}"
