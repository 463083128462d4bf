"""`loratui presets`: the list, or one preset with the reason and source of every value."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.planning import rates
from loratui.presets import Found, Preset, find_presets, load_preset, schema
from loratui.presets.schema import Settings
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean
from loratui.tui.text import count


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The flags of `presets`."""
    del name
    parser.add_argument("preset", nargs="*", metavar="NAME", help="preset to show, or NAME:VARIANT (default: list all)")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list or one preset."""
    name = _named(args.preset)
    if name:
        preset = load_preset(name)
        _print(args.json, preset_json(preset), preset_text(preset))
        return 0
    found = find_presets()
    _print(args.json, list_json(found), list_text(found))
    for problem in found.problems:
        sys.stderr.write(f"left out: {clean(problem)}\n")
    return 0


def _named(words: Sequence[str]) -> str:
    """The preset to show, empty for the list: `presets`, `presets list`, `presets NAME` and `presets show NAME`."""
    if list(words) in ([], ["list"]):
        return ""
    wanted = words[1:] if words[0] == "show" else words
    if len(wanted) != 1:
        raise UsageError(
            f"{count(len(wanted), 'preset')} were named." if wanted else "No preset was named.",
            "Name one: loratui presets NAME",
        )
    return wanted[0]


def list_json(found: Found) -> dict[str, Any]:
    """The stable keys of `loratui presets --json`."""
    return {
        "presets": [_summary(preset) for preset in found.presets],
        "problems": [str(problem) for problem in found.problems],
    }


def preset_json(preset: Preset) -> dict[str, Any]:
    """The stable keys of `loratui presets NAME --json`."""
    return {
        **_summary(preset),
        "effective_alpha": preset.settings.adapter.effective_alpha,
        "effective_learning_rate": float(f"{rates.effective_learning_rate(preset.settings):.6g}"),
        "settings": schema.to_table(preset.settings),
        "values": [
            {"key": key, "value": _plain(schema.get(preset.settings, key)), "why": reason.text, "source": reason.source}
            for key, reason in sorted(preset.reasons.items(), key=lambda item: _ORDER[item[0]])
        ],
    }


def list_text(found: Found) -> Iterator[str]:
    """The list for people."""
    for preset in found.presets:
        mark = "" if preset.shipped else " (yours)"
        yield f"{preset.name}{mark}: {preset.title}"
        yield f"    {preset.summary}"
        for variant in preset.variants.values():
            yield f"    {variant.name}: {variant.title}"
    yield ""
    yield "The reason for each value: loratui presets NAME"


def preset_text(preset: Preset) -> Iterator[str]:
    """One preset for people, each value with its reason."""
    yield f"{preset.name}: {preset.title}"
    yield preset.summary
    if preset.variants:
        yield f"Variants: {', '.join(v.name for v in preset.variants.values())}"
    section = ""
    for key in _ORDER:
        if key not in preset.reasons:
            continue
        if key.split(".")[0] != section:
            section = key.split(".")[0]
            yield ""
            yield f"[{section}]"
        reason = preset.reasons[key]
        yield f"{key.split('.')[1]} = {common.as_toml(schema.get(preset.settings, key))}{_in_force(preset.settings, key)}"
        yield f"    {reason.text} ({reason.source})"
    yield ""
    yield from (f"{name}: {meant}" for name, meant in preset.sources)


def _in_force(settings: Settings, key: str) -> str:
    """The effective value, beside one that is relative."""
    if key in ("adapter.alpha", "adapter.alpha_ratio"):
        return f"  # alpha {rates.alpha_in_words(settings.adapter)}"
    return f"  # {rates.rate_in_words(settings)}" if key == "optimizer.learning_rate" else ""


_ORDER = {key: at for at, key in enumerate(schema.KEYS)}


def _summary(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "title": preset.title,
        "summary": preset.summary,
        "front": preset.front,
        "family": preset.settings.base.family,
        "shipped": preset.shipped,
        "extends": preset.extends,
        "variants": [variant.name for variant in preset.variants.values()],
        "path": str(preset.path),
    }


def _print(as_json: bool, table: dict[str, Any], lines: Iterator[str]) -> None:
    if as_json:
        common.print_json(table)
    else:
        for line in lines:
            say(sys.stdout, clean(line))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
