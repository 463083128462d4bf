"""The ledger (`dataset.json`): every picture of a run by content hash, with its bucket, caption and repeats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loratui.engine.dataset import captions, pictures
from loratui.engine.dataset.buckets import Bucket, BucketRule, Fit, assign, fit
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import DatasetError
from loratui.presets.schema import Settings

FORMAT = 1


class PlannedRepeats(Protocol):
    """What the ledger needs of a plan."""

    @property
    def image_repeats(self) -> Sequence[int]:
        """Repeats of each picture of the scan, in its order."""


@dataclass(frozen=True)
class LedgerEntry:
    """One picture as it is trained."""

    path: Path
    """Absolute."""
    relative: str
    sha256: str
    """Of the file's bytes, hexadecimal."""
    width: int
    """px, after rotation by EXIF; so is `height`."""
    height: int
    bucket: Bucket
    fit: Fit
    caption: str
    """As the model sees it."""
    concept: str
    repeats: int
    """How often an epoch shows it; 0 for a surplus regularisation picture."""
    regularisation: bool


@dataclass(frozen=True)
class Ledger:
    """All pictures of a run."""

    root: Path
    images: tuple[LedgerEntry, ...]
    left_out: tuple[tuple[str, str], ...]
    """(relative path, reason) of what is not trained on."""


def build_ledger(settings: Settings, scan: DatasetScan, plan: PlannedRepeats) -> dict[str, Any]:
    """The content of `dataset.json`. Reads every picture's bytes once, for its hash.

    Raises `DatasetError` for a picture that changed or vanished since the scan.
    """
    rule = BucketRule.of(settings.dataset)
    several = len({c.name for c in scan.concepts if not c.regularisation}) > 1
    rows: list[dict[str, Any]] = []
    for image, repeats in zip(scan.images, plan.image_repeats, strict=True):
        bucket = assign(image.width, image.height, rule)
        place = fit(image.width, image.height, bucket)
        rows.append(
            {
                "path": str(image.path),
                "relative": image.relative,
                "sha256": hash_file(image),
                "width": image.width,
                "height": image.height,
                "bucket": [bucket.width, bucket.height],
                "fit": {"resized": [place.resized_w, place.resized_h], "left": place.left, "top": place.top},
                "caption": final_caption(image, settings, several_concepts=several),
                "concept": image.concept,
                "repeats": repeats,
                "regularisation": image.regularisation,
            }
        )
    left_out = [{"relative": item.relative, "reason": item.reason} for item in scan.left_out]
    return {"format": FORMAT, "root": str(scan.root), "images": rows, "left_out": left_out}


def read_ledger(path: Path) -> Ledger:
    """The ledger in a `dataset.json`.

    Raises `DatasetError` for a file that is missing, damaged, or of a newer format.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] > FORMAT:
            raise DatasetError(f"{path}: has format {table['format']}.", "Use a newer loratui.")
        left_out = tuple((item["relative"], item["reason"]) for item in table["left_out"])
        return Ledger(Path(table["root"]), tuple(map(_entry, table["images"])), left_out)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: is damaged: {error!r}.", "Start the run anew from its recipe.") from error


def final_caption(image: ImageEntry, settings: Settings, *, several_concepts: bool) -> str:
    """The caption that `image` is trained on.

    Without a caption of its own: the words of its `N_token class` folder, as kohya's trainer reads them, if they say
    who is meant (they hold the trigger, or tell several concepts apart); else `{trigger} {class}`.
    A regularisation picture never gets the trigger.
    """
    dataset = settings.dataset
    if image.regularisation:
        return captions.compose(image.caption or image.concept, "", dataset.class_word)
    names_it = several_concepts or captions.contains_trigger(image.concept, dataset.trigger)
    own = image.caption or (image.concept if names_it else None)
    return captions.compose(own, dataset.trigger, dataset.class_word)


def hash_file(image: ImageEntry) -> str:
    """SHA-256 of a picture's bytes.

    Raises `DatasetError` if the file is gone or has another size than the scan saw.
    """
    try:
        with pictures.open_regular(image.path) as file:
            digest = hashlib.file_digest(file, "sha256")
            size = file.tell()
    except (pictures.PictureError, OSError) as error:
        raise DatasetError(f"{image.path}: {error}.", "The folder changed while it was read; start again.") from error
    if size != image.bytes:
        raise DatasetError(f"{image.path}: changed while the folder was read.", "Start again.")
    return digest.hexdigest()


def _entry(row: Mapping[str, Any]) -> LedgerEntry:
    width, height = row["bucket"]
    resized_w, resized_h = row["fit"]["resized"]
    return LedgerEntry(
        path=Path(row["path"]),
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
    )
