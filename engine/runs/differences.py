"""What a run reads that has changed since it was stopped, the base's files and the dataset, and what of it a person has accepted."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loratui.engine import sealed
from loratui.engine.dataset import masks
from loratui.engine.dataset.ledger import final_lines, hash_file, mask_sum, read_ledger
from loratui.engine.dataset.scan import read_folder
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.families import fingerprints
from loratui.engine.formats.base_parts import BaseFiles
from loratui.engine.planning.bases import find_base
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import checkpoint_files
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.words import both_ends, count
from loratui.presets.schema import Settings

Part = Literal["base", "dataset"]
PARTS: tuple[Part, ...] = ("base", "dataset")

BASE_KEY = "base_files"
"""Name of the sums of the base's files in a checkpoint's identity; checkpoints of older versions have none."""

FORMAT = 1
MOST_SHOWN = 12
"""Lines of a difference that a person is shown at once."""
_SHOWN_DIGITS = 12
_SHOWN_LETTERS = 40


@dataclass(frozen=True, slots=True)
class Difference:
    """What has changed of one part, a line for each file."""

    part: Part
    lines: tuple[str, ...]
    asks: bool = True
    """Whether a person must accept it. Not for a folder that is not there at all, as on a new machine: nothing in it has changed, and the
    run has what it made of its images."""

    @property
    def digest(self) -> str:
        """Of exactly these changes: what was accepted is not accepted when more has changed."""
        return hashlib.sha256(json.dumps(self.lines).encode("ascii")).hexdigest()

    @property
    def title(self) -> str:
        """What it is about, and what going on means."""
        if self.part == "base":
            return "The files of the base have changed since the checkpoint; the run would go on with those that are there now."
        return "The dataset has changed since the run was planned; the run would go on with the images and captions as it began with them."

    def shown(self, most: int = MOST_SHOWN) -> list[str]:
        """The lines; of many the first."""
        more = [f"and {count(len(self.lines) - most, 'more change')}"] if len(self.lines) > most else []
        return [*self.lines[:most], *more]


def differences(run: RunDirectory) -> list[Difference]:
    """What has changed since the newest checkpoint, and is not accepted. Nothing for a run that has none: it begins with what is there.

    What cannot be read is left to the trainer, which names it and ends.
    """
    step = checkpoint_files.look(run, sums=False).step
    if step is None:
        return []
    found: list[Difference] = []
    with contextlib.suppress(ValueError, OSError):
        settings = read_recipe(run.effective).settings
        then = checkpoint_files.identity_in(run.checkpoint(step)).get(BASE_KEY)
        if isinstance(then, dict) and settings.base.changed == "refuse":
            now = sums_of(find_base(settings.base), fingerprints.shared(run.fingerprints))
            found += base_difference(then, now)
    with contextlib.suppress(ValueError, OSError):
        found += dataset_difference(run, read_recipe(run.effective).settings)
    return [one for one in found if not is_accepted(run, one)]


# ---- the base


def base_difference(then: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Each file of the base that differs, with its sums then and now."""
    differing = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    lines = tuple(f"{name} {_sum(then.get(name))} then and {_sum(now.get(name))} now" for name in differing)
    return [Difference("base", lines)] if lines else []


def sums_of(base: BaseFiles, digests: fingerprints.Digests) -> dict[str, str]:
    """File -> SHA-256, of every file of the base that decides what it computes. Raises `UsageError` for one that cannot be read."""
    sums: dict[str, str] = {}
    try:
        for name, part in sorted(base.parts.items()):
            for path in fingerprints.files_of(part):
                label = f"{name}/{path.name}" if part.in_folder else path.name
                digest = digests.of_weights(path.resolve(), None)
                if sums.setdefault(label, digest) != digest:  # a VAE elsewhere whose file is called as the base's
                    sums[f"{name}/{path.name}"] = digest
    except OSError as error:
        raise UsageError(
            f"{base.path}: a file of the base cannot be read: {error}.", "Check the path and the volume."
        ) from error
    return sums


# ---- the dataset


def dataset_difference(run: RunDirectory, settings: Settings) -> list[Difference]:
    """Each image of the folder that was added, removed or changed since the run was planned, and each caption and mask.

    It reads every image, for its hash. Raises `DatasetError` for a damaged ledger.
    """
    ledger = read_ledger(run.dataset)
    then = {entry.relative: entry for entry in ledger.images if not entry.made}
    left_out = {name for name, _ in ledger.left_out}
    try:
        found = read_folder(ledger.root)
    except DatasetError:
        gone = f"{ledger.root} is gone, with {count(len(then), 'image')}"
        return [Difference("dataset", (gone,), asks=False)] if then else []
    now = {image.relative: image for image in found.images}
    lines = [f"added: {name}" for name in sorted(now.keys() - then.keys() - left_out)]
    lines += [f"removed: {name}" for name in sorted(then.keys() - now.keys())]
    for name in sorted(then.keys() & now.keys()):
        image, entry = now[name], then[name]
        digest = hash_file(image)
        if digest != entry.sha256:
            lines.append(f"changed: {name} ({_sum(entry.sha256)} then, {_sum(digest)} now)")
        mask = masks.path_of(image, settings.dataset)
        mask_digest = mask_sum(image, mask) if mask else ""
        if mask_digest != entry.mask_sha256:
            lines.append(f"mask of {name}: {_sum(entry.mask_sha256)} then, {_sum(mask_digest)} now")
        captions = final_lines(image, settings, several_concepts=found.several_concepts)
        before = entry.lines or (entry.caption,)
        if captions != before:
            lines.append(f"caption of {name}: {_text(before)} then, {_text(captions)} now")
    return [Difference("dataset", tuple(lines))] if lines else []


def _text(lines: tuple[str, ...]) -> str:
    return repr(both_ends(" / ".join(lines), _SHOWN_LETTERS, _SHOWN_LETTERS // 4))


def _sum(digest: str | None) -> str:
    return digest[:_SHOWN_DIGITS] if digest else "missing"


# ---- what was accepted


def is_accepted(run: RunDirectory, difference: Difference) -> bool:
    """Whether a person has accepted exactly these changes for this run."""
    return _accepted(run).get(difference.part) == difference.digest


def accept(run: RunDirectory, found: list[Difference]) -> None:
    """Keeps that a person accepts these changes. Raises `DiskError`."""
    known: dict[str, str] = _accepted(run)
    known |= {one.part: one.digest for one in found}
    sealed.write(run.accepted, {"format": FORMAT, **known}, run.path)


def _accepted(run: RunDirectory) -> dict[str, str]:
    try:
        body = sealed.read(run.accepted, run.path)
    except OSError:
        return {}
    return {part: body[part] for part in PARTS if isinstance(body.get(part), str)}
