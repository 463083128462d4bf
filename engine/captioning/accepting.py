"""Proposals that become captions of the folder, by the save that keeps what was there before."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.captioning.cleaned import USELESS
from loratui.engine.captioning.proposals import Proposal, Proposals
from loratui.engine.dataset import caption_store
from loratui.engine.dataset.contents import DatasetScan


@dataclass(frozen=True)
class Accepted:
    """What was written."""

    files: tuple[str, ...] = ()
    """The images, by their paths within the folder."""
    captioned: int = 0
    """Images whose own caption was kept instead."""
    kept: Path | None = None
    """Where the captions from before are; None where there were none."""


def is_useful(proposal: Proposal) -> bool:
    """Whether a proposal may be accepted together with others, unseen."""
    return bool(proposal.text) and not any(flag.id in USELESS for flag in proposal.flags)


def accept(scan: DatasetScan, proposals: Mapping[str, Proposal], kept: Proposals, *, replace: bool = False) -> Accepted:
    """Writes the captions of these images (by relative path) beside them; those of no use are left out, and so are images that have
    a caption, unless `replace`, and those that the scan lacks. Several captions of an image are written each into a file of its own.

    Raises `DatasetError` and `DiskError`; nothing is written then.
    """
    images = {image.relative: image for image in scan.images}
    useful = {name: one for name, one in proposals.items() if name in images and is_useful(one) and one.state != "dismissed"}
    chosen = {
        name: one
        for name, one in useful.items()
        if images[name].caption is None or (replace and one.state == "proposed")  # one that was accepted may be edited since
    }
    captioned = len(useful) - len(chosen)
    if not chosen:
        return Accepted(captioned=captioned)
    apart = {name for name, one in chosen.items() if one.variants}
    shown = tuple(dataclasses.replace(image, apart=image.apart or image.relative in apart) for image in scan.images)
    texts = {name: "\n".join((one.text, *one.variants)) for name, one in chosen.items()}
    saved = caption_store.save(dataclasses.replace(scan, images=shown), texts)
    kept.mark(chosen.values(), "accepted")
    return Accepted(tuple(chosen), captioned, saved.kept if any(saved.kept.iterdir()) else None)
