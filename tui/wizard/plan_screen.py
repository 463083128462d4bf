"""The plan step: how often the images are shown, with the arithmetic written out and every number editable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content

from loratui.engine.errors import LoratuiError
from loratui.engine.findings import GRAVE, counted
from loratui.engine.planning.loss_measuring import held_out_share
from loratui.engine.planning.rates import learning_in_words
from loratui.engine.runs.when_finished.choice import in_words
from loratui.engine.words import listed
from loratui.presets.schema import KEYS, SchemaError
from loratui.tui import text
from loratui.tui.app_words import in_keys
from loratui.tui.findings import SIGNS, TONES
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, plain
from loratui.tui.wizard.draft import BY_RULE, PLAN_FIELDS, Draft, changes_in_words, range_words, shown_value
from loratui.tui.wizard.parent_of_draft import ParentOfDraft, changes_of_parent
from loratui.tui.wizard.steps import StepScreen

if TYPE_CHECKING:
    from loratui.engine.findings import Finding
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.measured import Measurement
    from loratui.engine.planning.plan import Plan
    from loratui.engine.runs.parents import Parent
    from loratui.presets.schema import WhenFinished


class PlanScreen(StepScreen):
    """Fields at the left, formula and warnings at the right; both follow every key."""

    CONTEXT = "plan"
    PANE = "plan-result"

    def __init__(self) -> None:
        super().__init__()
        self._machine: Accelerator | None = None
        self._measurements: Sequence[Measurement] = ()
        self._goes_back = ParentOfDraft()
        self._problems: dict[str, str] = {}
        """Key of the field -> what is wrong with its text."""

    def body(self) -> ComposeResult:
        with Horizontal(id="plan-body"):
            with Vertical(id="plan-form"):
                for field in PLAN_FIELDS:
                    yield Field(field.key, field.label, field.help, numeric=True, quiet=True)
                yield Line(id="plan-help")
            with VerticalScroll(id="plan-result", can_focus=False):
                yield Line(id="plan-text")

    def on_mount(self) -> None:
        self._fill()
        next(iter(self.query(Field))).enter()
        for field in self.query(Field):
            if field.key in self.loratui.draft.typed:
                self._take(field, self.loratui.draft.typed[field.key])
        self.look_at_the_machine()

    def machine_known(self, machine: Accelerator, measurements: Sequence[Measurement]) -> None:
        self._machine, self._measurements = machine, measurements
        self._fill()

    def on_field_entered(self, event: Field.Entered) -> None:
        event.stop()
        self._explain(event.field)

    def on_field_edited(self, event: Field.Edited) -> None:
        event.stop()
        self._take(event.field, event.text)
        self._explain(event.field)

    def _take(self, field: Field, text: str) -> None:
        self._problems.pop(field.key, None)
        try:
            self.loratui.draft = self.loratui.draft.with_text(field.key, text)
        except SchemaError as error:
            self._problems[field.key] = str(error)
            self.loratui.draft = self.loratui.draft.with_typed(field.key, text)
        self._fill(but=field)

    def action_reset(self) -> None:
        """The preset's number for the field under the cursor."""
        for field in self.query(Field):
            if field.entered:
                self._problems.pop(field.key, None)
                self.loratui.draft = self.loratui.draft.reset(field.key)
                self._fill()
                self._explain(field)

    @property
    def folder_read(self) -> bool:
        return self.loratui.draft.scan is not None

    @work(exclusive=True, group="advanced")
    async def action_hold_out(self) -> None:
        """Holds out the images that loratui chooses, or none."""
        from loratui.engine.dataset import held_out

        draft, names = self.loratui.draft, frozenset[str]()
        if draft.scan is not None and not draft.value("dataset.held_out"):
            names = await asyncio.to_thread(held_out.chosen, draft.scan)
            if not names:
                self.loratui.tell(
                    f"Fewer than {held_out.FEWEST} images: none can be spared. To name some all the same: a, dataset.held_out."
                )
        self.loratui.draft = self.loratui.draft.with_values({"dataset.held_out": sorted(names)})
        self._fill()

    @work(exclusive=True, group="advanced")
    async def action_advanced(self) -> None:
        from loratui.tui.wizard.advanced_screen import AdvancedScreen

        await self.app.push_screen_wait(AdvancedScreen())
        self._problems.clear()
        self._fill()

    @work(exclusive=True, group="advanced")
    async def action_when_finished(self) -> None:
        from loratui.tui.screens.when_finished import WhenFinishedScreen

        def change(values: Mapping[str, Any]) -> WhenFinished:
            self.loratui.draft = self.loratui.draft.with_values(
                {f"when_finished.{name}": value for name, value in values.items()}
            )
            return chosen()

        def chosen() -> WhenFinished:
            assert self.loratui.draft.recipe is not None
            return self.loratui.draft.recipe.settings.when_finished

        await self.app.push_screen_wait(WhenFinishedScreen(chosen(), change, self.loratui.home, "a planned run"))
        self._fill()

    def action_next(self) -> None:
        if self._problems:
            wrong = next(field for field in self.query(Field) if field.key in self._problems)
            wrong.enter()
            return
        self.go_on()

    def _fill(self, but: Field | None = None) -> None:
        draft = self.loratui.draft
        plan, problem = _plan(draft)
        parent = self._goes_back.of(draft)
        for field in self.query(Field):
            planned = {"schedule.repeats": plan.repeats, "schedule.epochs": plan.epochs} if plan else {}
            by_rule = _by_rule(draft, field.key)
            shown = draft.typed.get(field.key, "" if by_rule else shown_value(draft.value(field.key)))
            field.set(field.text if field is but else shown, f"{planned.get(field.key, '–')}" if by_rule else "")
            field.mark(_mark(draft, parent, field.key))
        lines = [plain(f"✖ {problem}", "$error")]
        if plan:
            found = self._found(draft, plan)
            decides, *costs = self._costs(draft, plan) or ("",)
            lines = [_in_short(found, decides), *_describe(draft, plan, parent, costs), *_findings(found)]
            if wrong := [field.label for field in self.query(Field) if field.key in self._problems]:
                lines.insert(0, plain(f"Not in these numbers, because invalid: {', '.join(wrong)}.", "$error"))
        self.line("plan-text").say(Content("\n").join(list(lines)))

    def _costs(self, draft: Draft, plan: Plan) -> tuple[str, ...]:
        """Time, memory and money, their source, file and disk, a line each; none until the machine is known."""
        from loratui.engine.planning.estimate import estimate
        from loratui.tui.commands.plan import FITS, gib_range, run_time

        if self._machine is None:
            return ()
        price = self.loratui.settings.price_per_hour or None
        cost = estimate(draft.named(), plan, self._machine, price_per_hour=price, measurements=self._measurements)
        here = cost.here
        memory = f" · {gib_range(here.vram_gib)} GiB of GPU memory{FITS.get(here.fits, '')}" if here.vram_gib else ""
        money = f" · costs {text.money_range(*here.money, between='–')}" if here.money else ""
        file = f"LoRA file {text.size(cost.lora.bytes)} · disk {text.size(cost.disk.run)}"
        return (f"{run_time(here)} on this machine{memory}{money}", f"({here.source})", file)

    def _found(self, draft: Draft, plan: Plan) -> list[Finding]:
        """What cannot be trained, and what a careful trainer would warn of."""
        from loratui.engine.planning.preflight import check_held_out, check_plan

        held_out = check_held_out(draft.named().settings, draft.scan) if draft.scan else ()
        return [*check_plan(draft.named(), plan, self._machine), *held_out, *_without_trigger(draft)]

    def _explain(self, field: Field) -> None:
        problem = self._problems.get(field.key)
        if problem:
            self.line("plan-help").say(plain(problem, "$error"))
            return
        why = self.loratui.draft.why(field.key)
        reason = Content.assemble("\n", plain(f"Preset: {why}", "$muted")) if why else Content("")
        limits = range_words(KEYS[field.key])
        room = Content.assemble("\n", plain(f"Allowed: {limits}.", "$muted")) if limits else Content("")
        self.line("plan-help").say(Content.assemble(plain(f"{field.label}: {field.help}."), reason, room))


def _plan(draft: Draft) -> tuple[Plan | None, str]:
    try:
        plan = draft.plan()
    except LoratuiError as error:
        return None, str(error)
    return plan, "" if plan else "The folder is not read yet; go back one step."


def _in_short(found: Sequence[Finding], costs: str) -> Content:
    """The first line, always in sight: how much there is to fix, and the cost."""
    of = counted(found)
    grave = [severity for severity in GRAVE if of[severity]]
    told = [plain(f"{SIGNS[severity]} {text.count(of[severity], severity)} below", TONES[severity]) for severity in grave]
    if not costs:
        return Content(" · ").join([*told, plain("reading this machine …", "$muted")])
    return Content(" · ").join([*(told or [plain("✔ no warnings about the numbers", "$success")]), plain(costs)])


def _findings(found: Sequence[Finding]) -> Iterator[Content]:
    """The findings with fix and reason."""
    yield Content("")
    for finding in found:
        yield plain(f"{SIGNS[finding.severity]} {finding.message}", TONES[finding.severity])
        source = f"  ({finding.why})" if finding.severity == "warning" and finding.why else ""
        yield Content.assemble(plain(f"  {in_keys(finding.remedy)}"), plain(source, "$muted"))


def _held_out(plan: Plan) -> Iterator[Content]:
    """What is held out, with what it buys and costs."""
    key = ("h", "bold $accent")
    if not plan.held_out:
        yield Content.assemble(plain("  Held out: none; overtraining is not measured  ("), key, plain(")"))
        return
    yield Content.assemble(
        plain(f"  Held out: {text.count(len(plan.held_out), 'image')}: {listed(plan.held_out, 3)}  ("), key, plain(")")
    )
    buys = "The loss on them shows after each epoch what it learnt, and when it overtrains."
    costs = f"Cost: they are not learnt from, and {held_out_share(plan):.0%} of the time.".replace("%", " %")
    yield plain(f"  {buys} {costs}", "$muted")


def _without_trigger(draft: Draft) -> Iterator[Finding]:
    """The dataset finding that concerns the whole plan: no trigger word for a subject to be recognised."""
    from loratui.engine.dataset.checks import run_checks
    from loratui.engine.dataset.checks.case import Case

    recipe, scan = draft.named(), draft.scan
    if scan is None or recipe.settings.dataset.trigger.strip():
        return
    yield from run_checks(Case(scan, recipe.settings, recipe.preset), ("trigger_absent",)).findings


def _mark(draft: Draft, parent: Parent | None, key: str) -> str:
    assert draft.recipe is not None
    ruled = _by_rule(draft, key)
    if parent and (was := parent.before(key, draft.value(key))) is not None:
        return f"◆ {parent.run}: {shown_value(was)}"
    if key not in draft.recipe.changed:
        return "by the rule" if ruled else ""
    before, processes = draft.preset_value(key), draft.value("training.processes")
    each = f"in each of {processes} processes, " if key == "training.batch_size" and processes > 1 else ""
    return f"◆ {each}{'rule, ' if ruled else ''}preset: {shown_value(before) if before else 'by the rule'}"


def _by_rule(draft: Draft, key: str) -> bool:
    """Whether the preset's rule gives the number."""
    return key in BY_RULE and draft.value(key) == 0


def _describe(draft: Draft, plan: Plan, parent: Parent | None, costs: Sequence[str]) -> Iterator[Content]:
    assert draft.recipe is not None
    base = text.base_name(draft.recipe.settings.base.model) or "no base chosen"
    yield Content.assemble(plain(f"The plan, preset {draft.recipe.preset}", "bold $accent"), plain(f"  {base}", "$muted"))
    yield from changes_of_parent(parent, draft.recipe.settings)
    for line in plan.formula.split("; "):
        equation, equals, result = line.rpartition(" = ")
        yield Content.assemble(plain(f"  {equation}{equals}"), plain(result, "bold"))
    yield Content("")
    shown, seen = text.times(plan.exposures_per_image), text.count(plan.effective_batch, "image")
    yield plain(f"  Each image is shown {shown}. An optimizer step sees {seen}.")
    if len(plan.concepts) > 1:
        for concept in plan.concepts:
            yield plain(f"  {concept.name}: {text.count(concept.images, 'image')} × {concept.repeats}")
    sizes = ", ".join(f"{b.width} × {b.height} px ({b.images})" for b in plan.buckets[:3])
    yield plain(f"  Trained at {sizes}{', …' if len(plan.buckets) > 3 else ''}", "$muted")
    yield from _held_out(plan)
    yield plain(f"  {learning_in_words(draft.recipe.settings)}")
    for line in costs:
        yield plain(f"  {line}")
    after = "; ".join(in_words(draft.recipe.settings.when_finished)) or "nothing"
    yield Content.assemble(plain(f"  When finished: {after}  ("), ("f", "bold $accent"), plain(")"))
    changed = changes_in_words(draft.recipe)
    if changed:
        yield Content("")
        yield plain("Changed from the preset", "bold")
        for key, now, before in changed:
            yield Content.assemble(("  ◆ ", "$accent"), plain(f"{key} {now}"), plain(f"  (preset: {before})", "$muted"))
