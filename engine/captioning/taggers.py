"""The WD taggers by SmilingWolf, run by onnxruntime (the extra `taggers`): how sure they are of each tag of their table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.loading import Batches
from loratui.engine.captioning.protocol import Answer, Tag
from loratui.engine.cleaning import clean
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.untrusted import Unreadable, finite, read_text
from loratui.engine.words import count

if TYPE_CHECKING:
    from PIL.Image import Image

THRESHOLDS: Mapping[str, float] = {"general": 0.35, "character": 0.85}
"""How sure it must be of a tag of each category, as in the author's own demo; sd-scripts takes 0.35 for both."""
_CATEGORIES = {"0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta", "9": "rating"}
"""Danbooru's numbers, and 9 for ratings, of which one always holds."""
_MOST_TAGS = 200_000
MOST_SURE = 200
"""Tags of one image that are answered, the most certain: at a threshold of 0 there would be thousands."""
_GET = "Download it again: its files do not fit together."


def load(captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> Tagger:
    """See `protocol.Load`. `options`: `general_threshold` and `character_threshold`, 0 to 1."""
    assert folder is not None, captioner.id
    captioner.require_extra()
    return Tagger(captioner, read_tags(folder / "selected_tags.csv"), folder / "model.onnx", thresholds(options))


def thresholds(options: Mapping[str, Any]) -> dict[str, float]:
    """How sure it must be by category. Raises `UsageError` for what is no number between 0 and 1."""
    found = {}
    for category, usual in THRESHOLDS.items():
        value = finite(options.get(f"{category}_threshold", usual))
        if value is None or not 0 <= value <= 1:
            raise UsageError(f"{category}_threshold must be between 0 and 1.")
        found[category] = value
    return found


def read_tags(path: Path) -> list[tuple[str, str]]:
    """(name, category) of each of a tagger's outputs, in their order. Raises `LoratuiError` for another kind of table."""
    try:
        rows = list(csv.DictReader(read_text(path, MODEL_JSON_BYTES).splitlines()))
        tags = [(clean(row["name"] or "", 200), _CATEGORIES.get(row["category"], "")) for row in rows]
    except Unreadable as error:
        raise LoratuiError(f"{error}.", _GET) from error
    except (KeyError, TypeError, csv.Error) as error:
        raise LoratuiError(f"{path}: not a table of tags with name and category.", _GET) from error
    if not 0 < len(tags) <= _MOST_TAGS or not all(name and category for name, category in tags):
        raise LoratuiError(f"{path}: not a table of tags with name and category.", _GET)
    return tags


def spoken(name: str) -> str:
    """A tag with spaces for underscores, as people and most bases write it; faces made of signs (`o_o`, `(o)_(o)`) stay."""
    return name.replace("_", " ") if re.search(r"[^\W_]{2}", name) else name


class Tagger(Batches):
    """A session of onnxruntime, on a GPU where onnxruntime can use one."""

    def __init__(self, captioner: Captioner, tags: list[tuple[str, str]], path: Path, least: Mapping[str, float]) -> None:
        import onnxruntime

        self._tags, self._least = tags, least
        usable = onnxruntime.get_available_providers()
        wanted = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in usable]
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # errors: that a provider cannot be had is told below
        try:
            self._session = onnxruntime.InferenceSession(str(path), settings, providers=wanted)
            entry, given = self._session.get_inputs()[0], self._session.get_outputs()[0]
            self._name, (batch, self._side, wide, colours), outputs = entry.name, entry.shape, given.shape[-1]
        except Exception as error:  # onnxruntime raises its own, all of them plain exceptions
            raise LoratuiError(f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0][:200]}.", _GET) from error
        if not isinstance(self._side, int) or (wide, colours) != (self._side, 3):
            raise LoratuiError(f"{path}: it takes other images than {captioner.title}.", _GET)
        if outputs != len(tags):
            raise LoratuiError(f"{path}: its table has {count(len(tags), 'tag')}, but it gives figures for {outputs}.", _GET)
        on_card = self._session.get_providers()[0] == "CUDAExecutionProvider"
        at_once = batch if isinstance(batch, int) else captioner.at_once
        super().__init__(captioner, at_once, f"onnxruntime on the {'GPU' if on_card else 'CPU'}, {at_once} at once")

    def answers(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """See `Batches`. It reads no instruction."""
        del instruction
        import numpy as np

        pixels = np.stack([self._pixels(image) for image in images])
        return [self._answer(row) for row in self._session.run(None, {self._name: pixels})[0].tolist()]

    def _pixels(self, image: Image) -> Any:
        """(side, side, 3) in fp32: the whole image on a white square, blue first, 0 to 255, as the taggers were trained."""
        import numpy as np
        from PIL import Image as pillow

        longest = max(image.size)
        square = pillow.new("RGB", (longest, longest), (255, 255, 255))
        square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
        small = square.resize((self._side, self._side), pillow.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(small, dtype=np.float32)[:, :, ::-1])

    def _answer(self, scores: Iterable[float]) -> Answer:
        """The likeliest rating, and all tags of which it is sure enough."""
        found = [Tag(name, category, round(score, 4)) for (name, category), score in zip(self._tags, scores, strict=True)]
        rating = max((tag for tag in found if tag.category == "rating"), key=lambda tag: tag.score, default=None)
        sure = [tag for tag in found if tag.category != "rating" and tag.score >= self._threshold(tag.category)]
        sure = sorted(sure, key=lambda tag: -tag.score)[:MOST_SURE]
        return Answer(", ".join(spoken(tag.name) for tag in sure), (*sure, *([rating] if rating else [])))

    def _threshold(self, category: str) -> float:
        return self._least.get(category, self._least["general"])
