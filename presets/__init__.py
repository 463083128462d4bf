"""The presets: recipes as data, one TOML file each, with the reason and the source of every value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loratui.presets import schema
from loratui.presets.schema import SchemaError, Settings
from loratui.presets.toml_file import located, read_settings, read_toml

SHIPPED = Path(__file__).resolve().parent

_TOP_LEVEL = ("format", "name", "title", "summary", "front", "extends", "why", "variants")
_MOST_EXTENDED = 8
_VARIANT_TOP_LEVEL = ("title", "summary", "why")


SOURCES: dict[str, str] = {
    "FLUX guide": "a worked example: a face on FLUX.1-dev from 18 photos, on a Colab A100",
    "Skullkid": "“This is how I create and train LoRAs” by Skullkid, civitai.com/articles/3921",
    "Valstrix": "“Crash course guide to LoRA and LyCORIS training” by Valstrix, civitai.com/articles/3522",
    "ZyloO": "“Pony Realism LoRA training and preset” by ZyloO, civitai.com/articles/5545",
    "DreamBooth guide": "a guide to DreamBooth on Stable Diffusion 1.5 with Google Colab",
    "loratui": "measured or chosen by loratui",
}
"""What is meant by the names that stand behind reasons."""


@dataclass(frozen=True)
class Reason:
    """Why a preset sets a value, and who says so."""

    text: str
    source: str
    """A key of `SOURCES`, or `yours` for a value of the person's own preset."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named recipe: the values that it sets over the defaults, and why."""

    name: str
    """File name without `.toml`; a variant adds its own name after a colon: `sd15-character:prodigy`."""
    title: str
    summary: str
    front: bool
    """Whether it stands in the first row of choices."""
    settings: Settings
    set_keys: frozenset[str]
    """Dotted keys that the preset (or one that it extends) sets; every other key has its default."""
    reasons: Mapping[str, Reason]
    path: Path
    extends: str = ""
    variants: Mapping[str, Preset] = field(default_factory=lambda: MappingProxyType({}))
    """Short name of the variant -> the whole preset with the variant's values."""

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Those who are named in the reasons, and what is meant; `yours` speaks for itself."""
        named = {reason.source for reason in self.reasons.values()}
        return tuple((name, meant) for name, meant in SOURCES.items() if name in named)

    @property
    def shipped(self) -> bool:
        """Whether the preset came with the program; the others are the person's own."""
        return self.path.parent == SHIPPED


@dataclass(frozen=True)
class Found:
    """All presets that could be read, and what is wrong with the files that could not."""

    presets: tuple[Preset, ...]
    problems: tuple[SchemaError, ...]


def user_folder() -> Path:
    """Folder of the person's own presets; need not exist.

    `LORATUI_CONFIG` names another configuration folder.
    """
    configured = os.environ.get("LORATUI_CONFIG")
    if configured:
        return Path(configured) / "presets"
    from platformdirs import user_config_path

    return user_config_path("loratui") / "presets"


def find_presets() -> Found:
    """Shipped presets (those in front first), then the person's own; a broken file hides no other."""
    presets: list[Preset] = []
    problems: list[SchemaError] = []
    for path in (*_files(SHIPPED), *_files(user_folder())):
        try:
            presets.append(read_preset(path))
        except SchemaError as problem:
            problems.append(problem)
        except Exception as error:  # whatever stands in one file, the others are listed
            problems.append(SchemaError(f"{path}: cannot be used: {error}"))
    presets.sort(key=lambda p: (not p.shipped, not p.front, p.name == "demo", p.name))
    return Found(tuple(presets), tuple(problems))


def list_presets() -> list[Preset]:
    """The presets that can be read; `find_presets` also says what is wrong with the others."""
    return list(find_presets().presets)


def load_preset(name: str) -> Preset:
    """The preset called `name`, or `name:variant`.

    Raises `SchemaError` with the nearest name, or with what is wrong in its file.
    """
    stem, _, variant = name.partition(":")
    for folder in (SHIPPED, user_folder()):
        path = folder / f"{stem}.toml"
        if path in _files(folder):
            preset = read_preset(path)
            if not variant:
                return preset
            if variant in preset.variants:
                return preset.variants[variant]
            near = schema.nearest(variant, preset.variants)
            raise SchemaError(f"preset {stem}: no variant {variant!r}{near or '; it has ' + _listed(preset.variants)}")
    known = [path.stem for folder in (SHIPPED, user_folder()) for path in _files(folder)]
    raise SchemaError(f"no preset is called {name!r}{schema.nearest(stem, known) or '; there are ' + _listed(known)}")


def read_preset(path: Path) -> Preset:
    """The preset in one file, with what it extends below it.

    Raises `SchemaError` naming file, line, key and the nearest known key.
    """
    return _read(path, ())


def _read(path: Path, below: tuple[Path, ...]) -> Preset:
    try:
        state = path.stat()
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}") from None
    if path in below:
        raise SchemaError(f"{path}: extends itself by way of {_listed([p.stem for p in below])}")
    if len(below) >= _MOST_EXTENDED:
        raise SchemaError(f"{path}: lies below more than {_MOST_EXTENDED} presets that extend one another")
    # The extended file may have changed too; only shipped files, which never extend, are worth remembering.
    if path.parent == SHIPPED:
        return _read_shipped(path, state.st_mtime_ns)
    return _read_file(path, below)


@cache
def _read_shipped(path: Path, modified_ns: int) -> Preset:  # noqa: ARG001 - part of the cache's key
    return _read_file(path, ())


def _read_file(path: Path, below: tuple[Path, ...]) -> Preset:
    origin = str(path)
    shipped = path.parent == SHIPPED
    text, table = read_toml(path)
    name = str(table.get("name", path.stem))
    _check_top_level(table, _TOP_LEVEL, origin, text)
    if name != path.stem:
        raise SchemaError(f"{located(origin, text, '', 'name')}name: {name!r} differs from the file's name")
    if not shipped and (SHIPPED / path.name).exists():
        raise SchemaError(f"{origin}: {name} is the name of a preset that comes with loratui; rename the file")

    parent = _parent(table, path, below, text)
    settings, set_keys, reasons = _values(table, parent, origin, text, shipped=shipped)
    own = Preset(
        name=name,
        title=_text(table, "title", parent.title if parent else name, origin, text),
        summary=_text(table, "summary", parent.summary if parent else "", origin, text),
        front=bool(table.get("front", False)),
        settings=settings,
        set_keys=set_keys,
        reasons=reasons,
        path=path,
        extends=parent.name if parent else "",
    )
    return _with_variants(own, table.get("variants", {}), origin, text, shipped=shipped)


def _parent(table: Mapping[str, Any], path: Path, below: tuple[Path, ...], text: str) -> Preset | None:
    if "extends" not in table:
        return None
    at = located(str(path), text, "", "extends")
    wanted = table["extends"]
    if not isinstance(wanted, str):
        raise SchemaError(f"{at}extends: expected the name of a preset in quotes")
    stem, _, variant = wanted.partition(":")
    for folder in (SHIPPED, path.parent):
        if folder / f"{stem}.toml" in _files(folder):
            parent = _read(folder / f"{stem}.toml", (*below, path))
            if not variant:
                return parent
            if variant in parent.variants:
                return parent.variants[variant]
            raise SchemaError(f"{at}extends: {stem} has no variant {variant!r}{schema.nearest(variant, parent.variants)}")
    known = [p.stem for folder in (SHIPPED, path.parent) for p in _files(folder)]
    raise SchemaError(f"{at}extends: no preset is called {wanted!r}{schema.nearest(stem, known)}")


def _values(
    table: Mapping[str, Any], below: Preset | None, origin: str, text: str, *, shipped: bool, prefix: str = ""
) -> tuple[Settings, frozenset[str], Mapping[str, Reason]]:
    """Settings, set keys and reasons of one table laid over `below`; `prefix` is the TOML path of a variant."""
    sections = {k: v for k, v in table.items() if k in schema.SECTIONS}
    start = below.settings if below else Settings()
    settings, own_keys = read_settings(sections, start=start, origin=origin, text=text, prefix=prefix)
    if "adapter.alpha" in own_keys and settings.adapter.alpha == settings.adapter.rank:
        settings = schema.replace(settings, {"adapter.alpha": 0.0, "adapter.alpha_ratio": 1.0})  # alpha = rank: it follows
    own = _reasons(table.get("why", {}), own_keys, origin, text, prefix)
    silent = sorted(own_keys - own.keys())
    if silent and shipped:
        raise SchemaError(f"{origin}: {silent[0]} is set without a reason in [{prefix}why]")
    yours = dict.fromkeys(silent, Reason(f"set in {Path(origin).name}", "yours"))
    reasons = MappingProxyType({**(below.reasons if below else {}), **yours, **own})
    return settings, own_keys | (below.set_keys if below else frozenset()), reasons


def _reasons(given: Any, own_keys: frozenset[str], origin: str, text: str, prefix: str) -> dict[str, Reason]:
    if not isinstance(given, Mapping):
        raise SchemaError(f"{located(origin, text, '', f'{prefix}why')}why: expected a section [why]")
    reasons: dict[str, Reason] = {}
    for dotted, reason in given.items():
        problem = ""
        if dotted not in schema.KEYS:
            problem = f"why: no such key {dotted}{schema.nearest(dotted, schema.KEYS)}"
        elif dotted not in own_keys:
            problem = f"why: a reason for {dotted}, which is not set here"
        elif not (isinstance(reason, Mapping) and set(reason) == {"text", "source"}):
            problem = f'why.{dotted}: expected {{ text = "…", source = "…" }}'
        if problem:
            raise SchemaError(f"{located(origin, text, f'{prefix}why', dotted)}{problem}")
        reasons[dotted] = Reason(str(reason["text"]), str(reason["source"]))
    return reasons


def _with_variants(base: Preset, tables: Any, origin: str, text: str, *, shipped: bool) -> Preset:
    if not isinstance(tables, Mapping):
        raise SchemaError(f"{located(origin, text, '', 'variants')}variants: expected sections [variants.NAME]")
    variants: dict[str, Preset] = {}
    for short, table in tables.items():
        prefix = f"variants.{short}."
        if not isinstance(table, Mapping):
            raise SchemaError(f"{origin}: variants.{short}: expected a section")
        _check_top_level(table, _VARIANT_TOP_LEVEL, origin, text, prefix)
        settings, set_keys, reasons = _values(table, base, origin, text, shipped=shipped, prefix=prefix)
        variants[short] = Preset(
            name=f"{base.name}:{short}",
            title=_text(table, "title", f"{base.title}, {short}", origin, text),
            summary=_text(table, "summary", base.summary, origin, text),
            front=False,
            settings=settings,
            set_keys=set_keys,
            reasons=reasons,
            path=base.path,
            extends=base.name,
        )
    values = {name: getattr(base, name) for name in Preset.__dataclass_fields__}
    return Preset(**{**values, "variants": MappingProxyType(variants)})


def _check_top_level(table: Mapping[str, Any], known: tuple[str, ...], origin: str, text: str, prefix: str = "") -> None:
    for key in table:
        if key not in known and key not in schema.SECTIONS:
            near = schema.nearest(key, (*known, *schema.SECTIONS))
            at = located(origin, text, prefix.rstrip("."), key)
            raise SchemaError(f"{at}{prefix}{key}: no such key or section{near}")
    if not isinstance(table.get("front", False), bool):
        raise SchemaError(f"{located(origin, text, '', 'front')}front: expected true or false")


def _text(table: Mapping[str, Any], key: str, default: str, origin: str, text: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise SchemaError(f"{located(origin, text, '', key)}{key}: expected text in quotes")
    return value


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == ".toml" and not p.name.startswith("."))
    except OSError:
        return []


def _listed(names: Any) -> str:
    words = sorted(str(n) for n in names)
    return ", ".join(words) if words else "none"
