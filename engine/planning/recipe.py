"""A recipe: a preset with one person's changes, as TOML on disk; with it and the images a run is determined."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.presets import Preset, load_preset, schema
from loratui.presets.schema import SchemaError, Settings
from loratui.presets.toml_file import located, read_settings, read_toml

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan
    from loratui.engine.planning.plan import Plan

_TOP_LEVEL = ("format", "preset", "changed")


@dataclass(frozen=True)
class Difference:
    """A value of a recipe that is not its preset's."""

    key: str
    value: Any
    before: Any
    """What the preset has."""


@dataclass(frozen=True)
class Recipe:
    """All that a person chose."""

    settings: Settings
    preset: str = ""
    """Name of the preset that it began with; empty if none."""
    changed: frozenset[str] = frozenset()
    """Dotted keys whose values differ from the preset's."""

    def to_toml(self) -> str:
        """The recipe as TOML with every key, its meaning, and a mark at what differs from the preset."""
        return _to_toml(self, heading="A recipe of loratui: `loratui train THIS-FILE` trains it anywhere.")

    def with_changes(self, changes: Mapping[str, Any]) -> Recipe:
        """The recipe with dotted keys set.

        Raises `SchemaError` for an unknown key or a value that does not fit.
        """
        settings = schema.replace(self.settings, {**self._alphas(changes), **changes})
        return dataclasses.replace(self, settings=settings, changed=_changed(settings, self.preset))

    def reset(self, dotted: str) -> Recipe:
        """The recipe with one key back at the preset's value."""
        return self.with_changes({dotted: self.preset_value(dotted)})

    def preset_value(self, dotted: str) -> Any:
        """What the preset has there; for alpha, what it has with the recipe's kind of adapter."""
        return schema.get(_start(self.preset, self.settings.adapter.kind), dotted)

    def differences(self) -> tuple[Difference, ...]:
        """Every value that is not the preset's, in the order of files; the folder of images is none."""
        return tuple(
            Difference(key, schema.get(self.settings, key), self.preset_value(key))
            for key in schema.KEYS
            if key in self.changed and key != "dataset.path"
        )

    def _alphas(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The alphas that go along when the kind of adapter is changed: the person's own stay, the others are the preset's."""
        kind = {schema.resolve_key(key): value for key, value in changes.items()}.get(
            "adapter.kind", self.settings.adapter.kind
        )
        if (kind in schema.LYCORIS) == (self.settings.adapter.kind in schema.LYCORIS):
            return {}
        start = _start(self.preset, kind)
        return {key: schema.get(self.settings if key in self.changed else start, key) for key in schema.ALPHA_FOLLOWS}


def build_recipe(
    preset: str = "demo",
    *,
    dataset: Path | None = None,
    base: str = "",
    trigger: str = "",
    class_word: str = "",
    name: str = "",
    batch_size: int | None = None,
    sets: Sequence[str] = (),
) -> Recipe:
    """A recipe from a preset's name and what was typed; `sets` are `key=value` texts, applied last.

    Raises `SchemaError` for an unknown preset, an unknown key or a value that does not fit.
    """
    chosen = load_preset(preset)
    changes: dict[str, Any] = {
        "dataset.path": str(dataset.expanduser().absolute()) if dataset else None,
        "base.model": base or None,
        "dataset.trigger": trigger or None,
        "dataset.class_word": class_word or None,
        "output.name": name or None,
        "training.batch_size": batch_size,
    }
    changes = {dotted: value for dotted, value in changes.items() if value is not None}
    changes.update(parse_sets(sets))
    return Recipe(chosen.settings, chosen.name).with_changes(changes)


def parse_sets(sets: Sequence[str]) -> dict[str, Any]:
    """`("adapter.rank=32", …)` as checked values by dotted key.

    Raises `SchemaError`.
    """
    changes: dict[str, Any] = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise SchemaError(f"--set {text}: expected KEY=VALUE, such as adapter.rank=32")
        dotted, checked = schema.parse_value(key, value, "--set ")
        changes[dotted] = checked
    return changes


def read_recipe(path: Path) -> Recipe:
    """The recipe in a `recipe.toml` or `effective.toml`.

    What the file leaves out has the preset's value, if the preset is known here, else the default.
    Raises `SchemaError` naming file, line, key and the nearest known key.
    """
    return _read(path)[0]


def read_to_begin(path: Path) -> Recipe:
    """As `read_recipe`, to begin another run with: an alpha that followed the rank when the file was written, but stands there as a
    number (`effective.toml`, recipes of earlier versions), follows it again.
    """
    recipe, listed = _read(path)
    adapter = recipe.settings.adapter
    followed = listed is not None and "adapter.alpha" not in listed and recipe.preset_value("adapter.alpha") == 0
    return recipe.with_changes({"adapter.alpha": 0.0}) if followed and adapter.alpha == adapter.followed_alpha else recipe


def _read(path: Path) -> tuple[Recipe, frozenset[str] | None]:
    """The recipe in a file, and the keys that it lists as its owner's own; None where it has no such list."""
    text, table = read_toml(path)
    origin = str(path)
    for key in table:
        if key not in _TOP_LEVEL and key not in schema.SECTIONS:
            at = located(origin, text, "", key)
            raise SchemaError(f"{at}{key}: no such key or section{schema.nearest(key, (*_TOP_LEVEL, *schema.SECTIONS))}")
    preset = table.get("preset", "")
    if not isinstance(preset, str):
        raise SchemaError(f"{located(origin, text, '', 'preset')}preset: expected a name in quotes")
    listed = table.get("changed", [])
    if not isinstance(listed, list):
        raise SchemaError(f"{located(origin, text, '', 'changed')}changed: expected a list of keys")
    known = _known(preset)
    sections = {k: v for k, v in table.items() if k in schema.SECTIONS}
    settings, _ = read_settings(sections, start=known.settings if known else Settings(), origin=origin, text=text)
    # Where the preset is not on this machine, the file's own list says what its owner changed.
    own = frozenset(key for key in listed if isinstance(key, str) and key in schema.KEYS)
    recipe = Recipe(settings, preset, _changed(settings, preset) if known or not preset else own)
    return recipe, own if "changed" in table else None


def with_folder_names(recipe: Recipe, scan: DatasetScan) -> Recipe:
    """The recipe with trigger and class word taken from a single `N_token class` folder, where none were given."""
    changes = scan.words_by_folder(recipe.settings.dataset)
    return recipe.with_changes(changes) if changes else recipe


def effective_toml(recipe: Recipe, plan: Plan) -> str:
    """Every value in force, with alpha and the plan's repeats, epochs, image-steps and held-out images filled in: what the trainer reads."""
    planned = {
        "schedule.repeats": plan.repeats,
        "schedule.epochs": plan.epochs,
        "schedule.image_steps": plan.image_steps_cap,
        "adapter.alpha": recipe.settings.adapter.effective_alpha,
        "dataset.held_out": plan.held_out,
    }
    filled = dataclasses.replace(recipe, settings=schema.replace(recipe.settings, planned))
    return _to_toml(filled, heading="Every value in force in this run, with alpha and the plan's repeats and epochs filled in.")


def _known(preset: str) -> Preset | None:
    if not preset:
        return None
    try:
        return load_preset(preset)
    except SchemaError:
        return None


def _start(preset: str, kind: str = "") -> Settings:
    """The preset's settings as they are with a kind of adapter, which alpha depends on; empty: with its own."""
    known = _known(preset)
    settings = known.settings if known else Settings()
    if kind not in schema.LYCORIS:
        return settings
    return schema.replace(schema.replace(settings, {"adapter.kind": kind}), {"adapter.kind": settings.adapter.kind})


def _changed(settings: Settings, preset: str) -> frozenset[str]:
    start = _start(preset, settings.adapter.kind)
    return frozenset(dotted for dotted in schema.KEYS if schema.get(settings, dotted) != schema.get(start, dotted))


def _to_toml(recipe: Recipe, heading: str) -> str:
    import tomlkit

    start = _start(recipe.preset, recipe.settings.adapter.kind)
    document = tomlkit.document()
    document.add(tomlkit.comment(heading))
    document.add("format", tomlkit.item(schema.FORMAT))
    document.add("preset", tomlkit.item(recipe.preset))
    document.add("changed", tomlkit.item(sorted(recipe.changed)).multiline(len(recipe.changed) > 3))
    for section, values in schema.to_table(recipe.settings).items():
        table = tomlkit.table()
        for name, value in values.items():
            info = schema.KEYS[f"{section}.{name}"]
            table.add(tomlkit.comment(info.help))
            item = tomlkit.item(value)
            if info.name in recipe.changed:
                item.comment(f"changed; the preset has {_shown(schema.get(start, info.name))}")
            table.add(name, item)
        document.add(tomlkit.nl())
        document.add(section, table)
    return tomlkit.dumps(document)


def _shown(value: Any) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:59] + "…"
