"""Drafts of the wizard on disk: each change is saved to `<home>/drafts/<id>.json`, so no input is lost."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.disk_errors import disk_error
from loratui.engine.untrusted import finite, read_json
from loratui.tui import text
from loratui.tui.wizard.draft import Draft

if TYPE_CHECKING:
    from loratui.engine.planning.recipe import Recipe

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A draft as on disk; untrusted text, not yet checked."""

    id: str
    saved: float
    """Seconds since 1970."""
    step: str
    """The wizard's screen at the time."""
    preset: str
    changes: Mapping[str, Any]
    """Dotted key -> value, where it differs from the preset."""
    typed: Mapping[str, str]
    """Dotted key -> text of fields without a usable value."""
    others: Mapping[str, Mapping[str, Any]]
    """Preset -> changes, of presets chosen earlier."""

    @property
    def title(self) -> str:
        """The name of the run, the trigger, the folder, or the preset."""
        named = self.changes.get("output.name") or self.changes.get("dataset.trigger")
        folder = str(self.changes.get("dataset.path") or "").rstrip("/").rpartition("/")[2]
        return str(named or folder or self.preset)

    def about(self) -> str:
        """`preset sd15-portrait, last step: plan, 3 min ago`; not yet cleaned."""
        return f"preset {self.preset}, last step: {self.step or 'preset'}, {text.ago(time.time() - self.saved)}"

    def open(self) -> Draft:
        """The draft for the wizard, its folder not yet read. Raises `SchemaError` for what this version cannot use."""
        others = {preset: _recipe(preset, changes) for preset, changes in self.others.items()}
        return Draft(_recipe(self.preset, self.changes), typed=dict(self.typed), others=others)


def saved_from(recipe: Recipe, step: str) -> SavedDraft:
    """A recipe as a new draft, such as a plan made from an earlier run."""
    from loratui.engine.planning.recipe import Recipe
    from loratui.presets import load_preset, schema

    try:
        load_preset(recipe.preset)
    except schema.SchemaError:  # a preset of another machine: its values become changes from the defaults
        values = {key: schema.get(recipe.settings, key) for key in schema.KEYS}
        recipe = Recipe(schema.Settings()).with_changes(values)
    return SavedDraft(new_id(), time.time(), step, recipe.preset, _changes(recipe), {}, {})


def new_id() -> str:
    """A unique name for a draft."""
    return f"{time.strftime('%Y%m%d')}-{os.urandom(4).hex()}"


def list_drafts(home: Path) -> list[SavedDraft]:
    """All readable drafts, newest first."""
    try:
        paths = sorted((home / "drafts").glob("*.json"))
    except OSError:
        return []
    found = [draft for path in paths[:1000] if (draft := _read(path)) is not None]
    return sorted(found, key=lambda draft: draft.saved, reverse=True)


def delete_draft(home: Path, id: str) -> None:
    """Removes a draft, if it exists. Raises `DiskError`."""

    try:
        _path(home, id).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, _path(home, id)) from error


def write_draft(home: Path, id: str, draft: Draft, step: str, now: float | None = None) -> None:
    """Writes a draft to disk atomically. Raises `DiskError` or `UsageError`."""
    from loratui.engine import durable

    assert draft.recipe is not None
    body = {
        "format": FORMAT,
        "saved": round(time.time() if now is None else now, 3),
        "step": step,
        "preset": draft.recipe.preset,
        "changes": _changes(draft.recipe),
        "typed": dict(draft.typed),
        "others": {preset: _changes(recipe) for preset, recipe in draft.others.items()},
    }
    path = _path(home, id)
    durable.make_directory(path.parent)
    durable.write_json(path, body, durable=False)


class DraftSaver:
    """Writes the newest state of a draft from a thread, so a slow volume never delays typing."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._wanted: tuple[str, Draft, str] | None = None
        self._busy = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.problem = ""
        """Why the last write failed; empty if it succeeded."""

    def save(self, id: str, draft: Draft, step: str) -> None:
        """Schedules this state to be written; a newer one replaces it."""
        with self._changed:
            self._wanted = (id, draft, step)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="save draft", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = 2.0) -> None:
        """Waits until everything is written, for at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is None and not self._busy, timeout_s)

    def forget(self, id: str) -> None:
        """Removes a draft that is no longer needed."""
        with self._changed:
            if self._wanted is not None and self._wanted[0] == id:
                self._wanted = None
        self.flush()
        delete_draft(self._home, id)

    def _work(self) -> None:
        from loratui.engine.errors import LoratuiError

        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wanted is not None)
                assert self._wanted is not None
                id, draft, step = self._wanted
                self._wanted, self._busy = None, True
            try:
                write_draft(self._home, id, draft, step)
                self.problem = ""
            except (LoratuiError, OSError) as error:
                self.problem = str(error)


def _changes(recipe: Recipe) -> dict[str, Any]:
    from loratui.presets import schema

    return {key: schema.get(recipe.settings, key) for key in sorted(recipe.changed)}


def _recipe(preset: str, changes: Mapping[str, Any]) -> Recipe:
    from loratui.engine.planning.recipe import Recipe, build_recipe
    from loratui.presets.schema import Settings

    return (build_recipe(preset) if preset else Recipe(Settings())).with_changes(changes)


def _path(home: Path, id: str) -> Path:
    assert re.fullmatch(r"[\w-]+", id), id
    return home / "drafts" / f"{id}.json"


def _read(path: Path) -> SavedDraft | None:
    """A draft; None for any other file or a newer format."""
    if not re.fullmatch(r"[\w-]+", path.stem):
        return None
    try:
        body = read_json(path)
        if body["format"] > FORMAT:
            return None
        saved, step, preset = finite(body["saved"]) or 0.0, str(body["step"]), str(body["preset"])
        changes, typed, others = body["changes"], body.get("typed", {}), body.get("others", {})
    except (OSError, KeyError, TypeError):
        return None
    if not isinstance(others, dict) or not all(isinstance(table, dict) for table in (changes, typed, *others.values())):
        return None
    return SavedDraft(path.stem, saved, step, preset, changes, {str(k): str(v) for k, v in typed.items()}, others)
