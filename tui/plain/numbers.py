"""The plan in plain lines: its arithmetic, what it changes, its warnings, and another number for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from loratui.engine.planning.rates import learning_in_words
from loratui.presets.schema import SchemaError
from loratui.tui.findings import in_one_line
from loratui.tui.wizard.draft import PLAN_FIELDS, Draft, changes_in_words, shown_value

if TYPE_CHECKING:
    from loratui.engine.machine.accelerator import Accelerator
    from loratui.tui.plain.asking import Asker


def change_numbers(draft: Draft, machine: Accelerator, ask: Asker, say: Callable[[str], None]) -> Draft | None:
    """Shows the plan and changes one number; None if the plan is right."""
    from loratui.engine.planning.preflight import check_plan
    from loratui.tui.wizard.parent_of_draft import (
        ParentOfDraft,
        changes_of_parent,
    )  # loads textual, which no other command does

    plan, recipe = draft.plan(), draft.named()
    assert plan is not None
    say("The plan:")
    for line in plan.formula.split("; "):
        say(f"  {line}")
    say(f"  {learning_in_words(recipe.settings)}")
    for changed in changes_of_parent(ParentOfDraft().of(draft), recipe.settings):
        say(changed.plain)
    for key, now, before in changes_in_words(recipe):
        say(f"  Changed: {key} {now} (preset: {before})")
    for finding in check_plan(recipe, plan, machine):
        say(in_one_line(finding))
    planned = {"schedule.repeats": plan.repeats, "schedule.epochs": plan.epochs}
    options = ["The plan is right"]
    for field in PLAN_FIELDS:
        value = draft.value(field.key) or planned.get(field.key, 0)
        options.append(f"Change {field.label.lower()}, now {shown_value(value)}: {field.help}")
    chosen = ask.choose("Change anything?", options)
    if chosen == 0:
        return None
    key, label = PLAN_FIELDS[chosen - 1].key, PLAN_FIELDS[chosen - 1].label

    def check(answer: str) -> str:
        try:
            draft.with_text(key, answer)
        except SchemaError as error:
            return str(error)
        return ""

    return draft.with_text(key, ask.text(label, "", check))
