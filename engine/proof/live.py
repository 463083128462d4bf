"""Measures the samples of a run that trains, as it goes: what they say of one step, in a process beside the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.proof.copies import AS_BASE
from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.proof.protocol import FaceReader, References, Shot, Value, measured, rounded
from loratui.engine.proof.reading import looked_at, near_groups, read_image, read_photo, trained_on
from loratui.engine.proof.readings import Readings
from loratui.engine.proof.registry import LIVE

if TYPE_CHECKING:
    from loratui.engine.dataset.ledger import LedgerEntry
    from loratui.engine.runs.directory import RunDirectory
    from loratui.presets.schema import Dataset


@dataclass(frozen=True, slots=True)
class Made:
    """A sample image; `path` is relative to the run."""

    path: str
    prompt: str
    seed: int


class LiveMeasures:
    """The photos of a run, read once, and what is measured of its samples against them."""

    def __init__(
        self,
        run: RunDirectory,
        dataset: Dataset,
        entries: Sequence[LedgerEntry],
        faces: FaceReader | None,
        no_faces: str,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        """`no_faces`: why faces are not read."""
        self._run, self._dataset, self._faces, self._progress = run, dataset, faces, progress
        self._kept = Readings(None)
        self._entries = looked_at(trained_on(entries))
        self._no_faces = no_faces
        self._references: dict[float, References] = {}

    def of(self, made: Sequence[Made], base: Sequence[Made], shape: float) -> list[dict[str, Any]]:
        """What is measured of the samples of one step. `base`: those of the base alone, at the same prompts and seeds as far as there
        are some; `shape`: width over height of all."""
        shots = [self._shot(one, 1.0) for one in made]
        references = self._photos(shape)
        of_base = {shot.key: shot for shot in (self._shot(one, 0.0) for one in base)}
        references = References(of_base, references.photos, references.likenesses, references.no_photos, references.no_faces)
        return [_row(one.id, rounded(measured(one, shots, references))) for one in LIVE]

    def _photos(self, shape: float) -> References:
        if shape not in self._references:
            read = []
            for entry in self._entries:
                photo = read_photo(entry, shape, self._kept, self._faces)
                read += [photo] if photo is not None else []
                self._progress()
            none = "There are no photos." if not self._entries else "The photos can no longer be read."
            self._references = {shape: References({}, tuple(read), tuple(near_groups(read)), none, self._no_faces)}
        return self._references[shape]

    def _shot(self, made: Made, strength: float) -> Shot:
        path: Path | None = self._run.file(made.path)
        seen, faces, _ = read_image(path, self._kept, self._faces)
        self._progress()
        alone = is_trigger_alone(made.prompt, self._dataset.trigger, self._dataset.class_word)
        return Shot(made.path, made.prompt, made.seed, "", strength, alone=alone, pixels=seen, faces=faces)


def _row(id: str, value: Value) -> dict[str, Any]:
    """What an event tells of a measure."""
    more: Mapping[str, Any] = value.more
    low, high = value.range or (None, None)
    return {
        "id": id,
        "value": value.value,
        "spread": value.spread,
        "base": value.base,
        "low": low,
        "high": high,
        "means": value.means,
        "unknown": value.unknown,
        "photo": more.get("photo", ""),
        "copied": _copied(value),
    }


def _copied(value: Value) -> float | None:
    """The share of copies: none where the base, which knows no photo, comes as near."""
    share: float | None = value.more.get("share_above")
    as_base = value.base is not None and value.value is not None and value.value <= value.base + AS_BASE
    return 0.0 if share is not None and as_base else share
