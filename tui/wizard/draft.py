"""The wizard's state: the recipe as chosen and the folder as read. Pure; full-screen and plain wizard share it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loratui.tui.paths import ENDINGS, path_from_text, path_text

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.engine.planning.plan import Plan
    from loratui.engine.planning.recipe import Recipe
    from loratui.presets.schema import KeyInfo, Settings
    from loratui.tui.dataset.edits import DatasetEdits

SUBJECT_KEYS = ("dataset.path", "dataset.trigger", "dataset.class_word")
"""The person's subject, kept when another preset is chosen."""


BY_RULE = ("schedule.repeats", "schedule.epochs")
"""Settings for which 0 means that the preset's rule decides."""


_MADE_OF: Mapping[str, tuple[str, ...]] = {
    "schedule.repeats": ("schedule.image_steps_per_epoch", "schedule.rule"),
    "schedule.epochs": ("schedule.optimizer_steps_wanted", "schedule.exposures", "schedule.rule"),
}
"""The settings that a rule derives these from, nearest first."""


@dataclass(frozen=True, slots=True)
class PlanField:
    """An editable number of the plan: its key, name, and effect in a line."""

    key: str
    label: str
    help: str


PLAN_FIELDS: tuple[PlanField, ...] = (
    PlanField("schedule.repeats", "Repeats", "how often each image is shown in one epoch; empty: by the preset's rule"),
    PlanField("schedule.epochs", "Epochs", "passes over all images; each saves a LoRA file to choose from; empty: by the rule"),
    PlanField("training.batch_size", "Batch", "images per weight update; doubling it needs more memory and halves the updates"),
    PlanField("adapter.rank", "Rank", "size of the LoRA: a higher rank holds more detail, and clings more to the photos"),
    PlanField(
        "optimizer.learning_rate",
        "Learning rate",
        "how far each update goes; too high burns the image, too low learns nothing",
    ),
)


CHOICES = "dataset.choices"
"""Key in `Draft.typed` for the folder's quick fixes and unsaved captions."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A run being planned."""

    recipe: Recipe | None = None
    scan: DatasetScan | None = None
    """The recipe's folder; None until it is read."""
    typed: Mapping[str, str] = field(default_factory=dict)
    """Dotted key -> text of fields without a usable value, kept for the person's return."""
    edits: DatasetEdits | None = None
    """The folder's quick fixes and captions, as the dataset step left them."""
    others: Mapping[str, Recipe] = field(default_factory=dict)
    """Preset -> changed recipe, of presets chosen earlier."""

    def with_preset(self, name: str) -> Draft:
        """Another preset, with the subject and the changes made when it was last chosen. Raises `SchemaError`."""
        from loratui.engine.planning.recipe import build_recipe

        if self.recipe is None:
            return dataclasses.replace(self, recipe=build_recipe(name))
        if self.recipe.preset == name:
            return self
        recipe = self.others.get(name) or build_recipe(name)
        recipe = recipe.with_changes({key: self.value(key) for key in (*SUBJECT_KEYS, "dataset.held_out")})
        if recipe.settings.base.family == self.recipe.settings.base.family and "base.model" in self.recipe.changed:
            recipe = recipe.with_changes({"base.model": self.recipe.settings.base.model})
        others = {preset: kept for preset, kept in self.others.items() if preset != name}
        typed = {key: text for key, text in self.typed.items() if key.startswith("dataset.")}
        return dataclasses.replace(self, recipe=recipe, others={**others, self.recipe.preset: self.recipe}, typed=typed)

    def with_values(self, changes: Mapping[str, Any]) -> Draft:
        """Changed values; another folder drops the scan. Raises `SchemaError`."""
        assert self.recipe is not None
        recipe = self.recipe.with_changes(changes)
        same = recipe.settings.dataset.path == self.recipe.settings.dataset.path
        typed = {key: text for key, text in self.typed.items() if key not in changes}
        return dataclasses.replace(self, recipe=recipe, scan=self.scan if same else None, typed=typed)

    def with_typed(self, key: str, text: str) -> Draft:
        """Text that is no usable value of `key`, kept as typed."""
        return dataclasses.replace(self, typed={**self.typed, key: text})

    def with_scan(self, scan: DatasetScan) -> Draft:
        """The folder as read. Images to be held out that it does not have, which are those of another folder, are forgotten."""
        from loratui.engine.dataset import held_out

        draft = dataclasses.replace(self, scan=scan)
        gone = held_out.unknown(scan, self.recipe.settings.dataset) if self.recipe else ()
        kept = [name for name in draft.value("dataset.held_out") if name not in gone] if gone else []
        return draft.with_values({"dataset.held_out": kept}) if gone else draft

    def with_edits(self, edits: DatasetEdits) -> Draft:
        """The choices for the images, also as text for the draft on disk."""
        typed = {key: text for key, text in self.typed.items() if key != CHOICES}
        if edits.chosen.remedies or edits.chosen.captions:
            typed[CHOICES] = edits.to_json()
        return dataclasses.replace(self, edits=edits, typed=typed)

    def with_text(self, key: str, text: str) -> Draft:
        """A value as typed, with a decimal point or comma; empty resets to the rule or the preset's value.

        Raises `SchemaError` for an invalid value.
        """
        from loratui.presets import schema

        assert self.recipe is not None
        if not text.strip():
            if key in BY_RULE:
                return self.with_values({key: 0})
            return self.reset(key)
        if key in ENDINGS:
            return self.with_values({key: path_text(text)})
        kind = schema.KEYS[key].type
        if kind in (int, float):
            text = text.replace(",", ".")
        elif kind is bool:
            text = {"yes": "true", "no": "false"}.get(text.strip().lower(), text)
        dotted, value = schema.parse_value(key, text)
        if key in BY_RULE and value == 0:
            raise schema.SchemaError(f"{key}: 0 is too small; leave it empty to let the preset's rule decide")
        return self.with_values({dotted: value})

    def reset(self, key: str) -> Draft:
        """One value reset to the preset's."""
        return self.with_values({key: self.preset_value(key)})

    def value(self, key: str) -> Any:
        """The value of a dotted key."""
        from loratui.presets import schema

        assert self.recipe is not None
        return schema.get(self.recipe.settings, key)

    def preset_value(self, key: str) -> Any:
        assert self.recipe is not None
        return self.recipe.preset_value(key)

    def filled_in(self, prompt: str) -> str:
        """A prompt as the model gets it: `{trigger}`, `{class}` and `{subject}` replaced by the person's words."""
        from loratui.engine.planning.validation_grid import filled, words

        return filled(prompt, words(self.named().settings))

    def plan(self) -> Plan | None:
        """The plan of the recipe with its names; None before the folder is read."""
        from loratui.engine.planning.schedule import make_plan

        if self.recipe is None or self.scan is None:
            return None
        return make_plan(self.named(), self.scan)

    def named(self) -> Recipe:
        """The recipe, with trigger and class word from the folder's name if none were typed."""
        from loratui.engine.planning.recipe import with_folder_names

        assert self.recipe is not None
        return with_folder_names(self.recipe, self.scan) if self.scan else self.recipe

    def why(self, key: str) -> str:
        """The preset's reason, with its source, for the value or for what its rule derives it from; empty without one."""
        from loratui.presets import load_preset

        assert self.recipe is not None
        if not self.recipe.preset:
            return ""
        reasons = load_preset(self.recipe.preset).reasons
        reason = next((reasons[one] for one in (key, *_MADE_OF.get(key, ())) if one in reasons), None)
        return f"{reason.text} ({reason.source})" if reason else ""


def range_words(info: KeyInfo) -> str:
    """The allowed values: `from 1 to 1024`, `one of mse, huber`; empty for free text."""
    if info.choices:
        return f"one of {', '.join(info.choices)}"
    if info.type is bool:
        return "yes or no"
    least = 1 if info.name in BY_RULE else info.low
    low = f"from {least:.15g}" if least is not None else f"more than {info.above:g}" if info.above is not None else ""
    high = f"to {info.high:.15g}" if info.high is not None and info.high < 1e15 else ""
    return f"{low} {high}".strip()


def shown_value(value: Any) -> str:
    """A setting as people write it; 0 for repeats and epochs means that the rule decides."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        from loratui.tui import text

        return text.learning_rate(value) if value and abs(value) < 0.01 else f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def value_in_words(key: str, value: Any) -> str:
    """A value in words, also 0 for repeats, epochs and alpha, and an empty value."""
    if key in BY_RULE and value == 0:
        return "by the rule"
    if key == "adapter.alpha" and value == 0:
        return "follows rank"
    return shown_value(value) or "nothing"


def changes_in_words(recipe: Recipe) -> tuple[tuple[str, str, str], ...]:
    """(key, value, preset's value) of every changed setting except the subject."""
    return tuple(
        (one.key, value_in_words(one.key, one.value), value_in_words(one.key, one.before))
        for one in recipe.differences()
        if one.key not in SUBJECT_KEYS
    )


def changes_sentence(recipe: Recipe) -> str:
    """`Changed from sd15-portrait: adapter.rank 128 → 8.`, long values shortened; empty without changes."""
    changed = changes_in_words(recipe)
    listed = ", ".join(f"{key} {_shortened(before)} → {_shortened(now)}" for key, now, before in changed)
    return f"Changed from {recipe.preset or 'the defaults'}: {listed}." if changed else ""


def _shortened(words: str) -> str:
    return words if len(words) <= 40 else f"{words[:39]}…"


def setting_in_words(settings: Settings, key: str) -> str:
    """A setting in words: the effective alpha, and the effective rate beside the learning rate."""
    from loratui.engine.planning import rates
    from loratui.presets import schema

    if key == "adapter.alpha":
        return rates.alpha_in_words(settings.adapter)
    value = shown_value(schema.get(settings, key))
    return f"{value} ({rates.rate_in_words(settings)})" if key == "optimizer.learning_rate" else value


def next_step_for_folder(text: str) -> str:
    """What to do about an unusable folder, with the folders beside it; empty for a lone file."""
    path = path_from_text(text)
    if path is None:
        return "Type the path of the folder with your images, such as ~/photos/anna."
    parent = path.absolute()
    is_file = parent.is_file()
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    try:
        names = sorted(entry.name for entry in parent.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return f"{parent} cannot be read. Check its permissions."
    if not names and is_file:
        return ""  # The error itself names the folder.
    if not names:
        return f"{parent} has no folders. Copy your images to this machine first, for example with rsync or scp."
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"Folders in {parent}: {', '.join(names[:6])}{more}."
