"""The ledger (`dataset.json`): every image of a run by content hash, what is done to it, how often it is shown, and what
is left out with its reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loratui.engine import sealed
from loratui.engine.dataset import archives, caption_choice, captions, decoding, masks, remedies
from loratui.engine.dataset.buckets import Bucket, BucketRule, Fit, assign, fit
from loratui.engine.dataset.class_images import FOLDER as CLASS_IMAGES
from loratui.engine.dataset.class_images import with_class_images
from loratui.engine.dataset.held_out import with_held_out
from loratui.engine.dataset.prepared_copy import read_history
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.presets.schema import Settings

FORMAT = 1


class Planned(Protocol):
    """What the ledger needs of a plan."""

    @property
    def image_repeats(self) -> Sequence[int]:
        """Repeats of each image of the scan, in its order."""

    @property
    def image_exposures(self) -> Sequence[int]:
        """How often the whole run shows each of them."""


@dataclass(frozen=True)
class LedgerEntry:
    """One image as it is trained."""

    path: Path
    """Absolute."""
    relative: str
    sha256: str
    """Of the file's bytes, hexadecimal; empty for an image that the base makes before training."""
    width: int
    """px, after rotation by EXIF; so is `height`."""
    height: int
    bucket: Bucket
    fit: Fit
    caption: str
    """As the model sees it; the first of its texts where several are drawn from."""
    concept: str
    repeats: int
    """How often an epoch shows it; 0 for one that is held out and for a surplus regularisation image."""
    regularisation: bool
    planned_exposures: int = 0
    """How often the whole run will show it."""
    times_shown: int | None = None
    """How often it was shown when the run last wrote that down; None before."""
    made: bool = False
    """Whether the base makes it before training."""
    source: str = ""
    """Its relative path in the folder that a prepared copy was made of; else as `relative`."""
    remedies: tuple[Remedy, ...] = ()
    """What was done to it, in the copy or as it is read."""
    held_out: bool = False
    """Whether the training never sees it, so its loss can be measured."""
    lines: tuple[str, ...] = ()
    """The lines of its caption, where one is drawn each time (`dataset.caption_choice`), as they are written; else empty."""
    mask: Path | None = None
    """The file that its mask is in, which is its own path where its transparency is the mask; None: its whole area counts."""
    mask_sha256: str = ""
    """Of that file."""


@dataclass(frozen=True)
class Ledger:
    """All images of a run."""

    root: Path
    images: tuple[LedgerEntry, ...]
    left_out: tuple[tuple[str, str], ...]
    """(relative path, reason) of what is not trained on."""
    identity: str
    """SHA-256 of all that training depends on: the file without what was shown, in one fixed spelling."""


def build_ledger(settings: Settings, scan: DatasetScan, plan: Planned) -> dict[str, Any]:
    """The content of `dataset.json`. Reads every image's bytes once, for its hash.

    Of a prepared copy it also says what was done to each image, and what was left out of the copy.
    Raises `DatasetError` for an image that changed or vanished since the scan.
    """
    scan = with_held_out(with_class_images(scan, settings.dataset), settings.dataset)
    rule = BucketRule.of(settings.dataset)
    history = read_history(scan.root)
    rows: list[dict[str, Any]] = []
    for image, repeats, planned in zip(scan.images, plan.image_repeats, plan.image_exposures, strict=True):
        lines = final_lines(image, settings, several_concepts=scan.several_concepts)
        read = caption_choice.readings(lines, settings.dataset, settings.training.seed)
        bucket = assign(image.width, image.height, rule)
        place = fit(image.width, image.height, bucket)
        done = history.of(image.relative) if history else ()
        rows.append(
            {
                "path": str(image.path),
                "relative": image.relative,
                "source": history.sources.get(image.relative, image.relative) if history else image.relative,
                "sha256": "" if image.made else hash_file(image),
                "made": image.made,
                "width": image.width,
                "height": image.height,
                "remedies": remedies.to_json((*done, *remedies.as_read(image))),
                "bucket": [bucket.width, bucket.height],
                "fit": {"resized": [place.resized_w, place.resized_h], "left": place.left, "top": place.top},
                "caption": read[0][0],
                **_drawn(image.relative, lines, read, settings.training.seed, planned),
                "concept": image.concept,
                "repeats": repeats,
                "planned": planned,
                "regularisation": image.regularisation,
                **({"held_out": True} if image.held_out else {}),
                **_mask(image, settings),
            }
        )
    gone = [(item.relative, item.reason) for item in scan.left_out]
    gone += [*archives.left_out_of(scan.root), *(history.left_out if history else ())]
    left_out = [{"relative": relative, "reason": reason} for relative, reason in gone]
    source = history.source if history else scan.root
    return {"format": FORMAT, "root": str(scan.root), "source": str(source), "images": rows, "left_out": left_out}


def _mask(image: ImageEntry, settings: Settings) -> dict[str, str]:
    """What an image's row says of its mask, where it has one that the recipe uses."""
    path = masks.path_of(image, settings.dataset)
    return {} if path is None else {"mask": os.fspath(path), "mask_sha256": mask_sum(image, path)}


def mask_sum(image: ImageEntry, path: Path) -> str:
    """SHA-256 of the file that the mask of an image is in. Raises `DatasetError` if it is gone, or if the image has changed."""
    if path == image.path:
        return hash_file(image)
    try:
        with decoding.open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (decoding.ImageError, OSError) as error:
        raise DatasetError(f"{path}: {error}.", "The folder changed while it was read; start again.") from error


def _drawn(relative: str, lines: tuple[str, ...], read: caption_choice.Texts, seed: int, planned: int) -> dict[str, Any]:
    """What an image's row says of its captions, where more than one text is drawn from."""
    if lines == read[0] and len(read) == 1:
        return {}
    texts = caption_choice.counts(read, seed, relative, planned)
    return {"lines": list(lines), "captions": [{"text": text, "planned": count} for text, count in texts.items()]}


def read_ledger(path: Path) -> Ledger:
    """The ledger in a `dataset.json`. Raises `DatasetError` for a file that is missing, damaged, or of a newer format."""
    table = read_table(path)
    try:
        left_out = tuple((item["relative"], item["reason"]) for item in table["left_out"])
        return Ledger(
            Path(table["root"]), tuple(_entry(row, path.parent) for row in table["images"]), left_out, identity_of(table)
        )
    except (KeyError, TypeError, IndexError, ValueError, UsageError) as error:
        raise _damaged(path, error) from error


def read_table(path: Path) -> dict[str, Any]:
    """The plain content of a `dataset.json`. Raises `DatasetError` as `read_ledger`."""
    try:
        table = sealed.read(path, path.parent, LIST_FILE_BYTES)
        newer = table["format"] > FORMAT
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}.", "Start the run again from its recipe.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    if newer:
        raise DatasetError(f"{path}: has format {table['format']}.", "Use a newer loratui.")
    return table


def with_times_shown(table: Mapping[str, Any], counts: Sequence[int], settings: Settings) -> dict[str, Any]:
    """The content of `dataset.json` with how often each image was shown, and with which caption; its identity stays the same.

    A caption that `dataset.caption_dropout` left empty counts as the one that it stands for.
    """
    rows = []
    for row, count in zip(table["images"], counts, strict=True):
        shown = {**row, "seen": count}
        if row.get("lines"):
            read = caption_choice.readings(row["lines"], settings.dataset, settings.training.seed)
            texts = caption_choice.counts(read, settings.training.seed, row["relative"], count)
            shown["captions_seen"] = [texts[caption["text"]] for caption in row["captions"]]
        rows.append(shown)
    return {**table, "images": rows}


def identity_of(table: Mapping[str, Any]) -> str:
    """SHA-256 of a ledger's content without what was shown."""
    rows = [{key: value for key, value in row.items() if key not in ("seen", "captions_seen")} for row in table["images"]]
    return hashlib.sha256(json.dumps({**table, "images": rows}, sort_keys=True).encode("ascii")).hexdigest()


def trained_on(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each image of a ledger is to the training, by its relative path: the same for a longer run, and in another folder."""
    ignored = ("seen", "captions_seen", "planned", "captions", "path", "source", "mask")
    return {row["relative"]: {key: value for key, value in row.items() if key not in ignored} for row in table["images"]}


def final_caption(image: ImageEntry, settings: Settings, *, several_concepts: bool) -> str:
    """The caption that `image` is trained on; the first of its texts where several are drawn from."""
    lines = final_lines(image, settings, several_concepts=several_concepts)
    return caption_choice.readings(lines, settings.dataset, settings.training.seed)[0][0]


def final_lines(image: ImageEntry, settings: Settings, *, several_concepts: bool) -> tuple[str, ...]:
    """What the captions of `image` are drawn from: one text, or as many as its caption has lines, as they are written.

    Without a caption of its own: the words of its `N_token class` folder, as kohya's trainer reads them, if they say
    who is meant (they hold the trigger, or tell several concepts apart); else `{trigger} {class}`.
    A regularisation image never gets the trigger.
    """
    dataset = settings.dataset
    if image.caption:
        return caption_choice.lines_of(image.caption, dataset, apart=image.apart)
    if image.regularisation:
        return (captions.compose(image.concept, "", dataset.class_word),)
    names_it = several_concepts or captions.contains_trigger(image.concept, dataset.trigger)
    return (captions.compose(image.concept if names_it else None, dataset.trigger, dataset.class_word),)


def hash_file(image: ImageEntry) -> str:
    """SHA-256 of an image's bytes. Raises `DatasetError` if the file is gone or has another size than the scan saw."""
    try:
        with decoding.open_regular(image.path) as file:
            digest = hashlib.file_digest(file, "sha256")
            size = file.tell()
    except (decoding.ImageError, OSError) as error:
        raise DatasetError(f"{image.path}: {error}.", "The folder changed while it was read; start again.") from error
    if size != image.bytes:
        raise DatasetError(f"{image.path}: changed while the folder was read.", "Start again.")
    return digest.hexdigest()


def _entry(row: Mapping[str, Any], folder: Path) -> LedgerEntry:
    width, height = row["bucket"]
    resized_w, resized_h = row["fit"]["resized"]
    made = row.get("made", False)
    if made and Path(row["path"]).parent != Path(CLASS_IMAGES):  # the trainer writes there
        raise ValueError(row["path"])
    return LedgerEntry(
        path=folder / row["path"],  # a path that is absolute stays as it is
        relative=row["relative"],
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        bucket=Bucket(width, height),
        fit=Fit(resized_w, resized_h, row["fit"]["left"], row["fit"]["top"]),
        caption=row["caption"],
        concept=row["concept"],
        repeats=row["repeats"],
        regularisation=row["regularisation"],
        # The first ledgers did not have these.
        planned_exposures=row.get("planned", 0),
        times_shown=row.get("seen"),
        made=made,
        source=row.get("source", row["relative"]),
        remedies=remedies.from_json(row.get("remedies", ())),
        held_out=row.get("held_out") is True,
        lines=tuple(row.get("lines", ())),
        mask=folder / row["mask"] if row.get("mask") else None,
        mask_sha256=row.get("mask_sha256", ""),
    )


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: is damaged: {error!r}.", "Start the run again from its recipe.")
