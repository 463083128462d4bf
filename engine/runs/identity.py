"""The settings that a checkpoint and a run must have in common, and how they differ, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from loratui.engine.runs.bounds import Bounds
from loratui.engine.words import typed
from loratui.presets.schema import KEYS

SECTIONS = ("base", "dataset", "schedule", "training", "adapter", "optimizer")
"""Sections of the recipe that must be the same; the others may be edited before a resume."""

OTHERS = "others"
"""The sections that may be edited, as they were; checkpoints of older versions have none."""

Setting = tuple[str, str]
"""Section and name."""

_FREE = {("base", "changed"), ("training", "stop_at_plateau"), *(("training", f.name) for f in fields(Bounds))}
"""Settings in them that may be edited too."""
_SHARED = {("training", "accumulation"), ("training", "processes")}


def differing_settings(stored: Mapping[str, Any], own: Mapping[str, Any]) -> set[Setting]:
    """The settings in which two identities (or `presets.schema.to_table`) differ, and must not."""
    differing = {
        (section, key)
        for section in SECTIONS
        for key in own[section].keys() | stored.get(section, {}).keys()
        if _value(own, section, key) != _value(stored, section, key)
    }
    differing -= _FREE
    return differing - _SHARED if _window(own) == _window(stored) else differing


def then_and_now(stored: Mapping[str, Any], own: Mapping[str, Any], settings: Iterable[Setting]) -> list[str]:
    """Settings with both values, in words."""
    return [in_words(".".join(at), _value(stored, *at), _value(own, *at)) for at in sorted(settings)]


def in_words(name: str, then: object, now: object) -> str:
    """A value then and now."""
    return f"{name} {_word(then)} then and {_word(now)} now"


def edits(stored: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """The settings that may be edited before a resume, and were, in words; empty without any."""
    then, now = stored.get(OTHERS), own[OTHERS]
    if not isinstance(then, dict):
        return ""
    keys = ((section, key) for section in now for key in now[section].keys() | then.get(section, {}).keys())
    return ", ".join(then_and_now(then, now, (at for at in keys if _value(then, *at) != _value(now, *at))))


def _window(identity: Mapping[str, Any]) -> Any:
    """Batches behind one optimizer step: how accumulation and processes share them may change."""
    return _value(identity, "training", "accumulation") * _value(identity, "training", "processes")


def _value(identity: Mapping[str, Any], section: str, key: str) -> Any:
    """A setting's effective value: the default where an older program lacked it; an alpha overrides the ratio."""
    values = identity.get(section, {})
    if (section, key) == ("adapter", "alpha_ratio") and values.get("alpha"):
        return None
    info = KEYS.get(f"{section}.{key}")
    value = values.get(key, info.default if info else None)
    return list(value) if isinstance(value, tuple) else value


def _word(value: object) -> str:
    """A value as people type it; an empty one is named."""
    return "nothing" if value in ("", None) else typed(value)
