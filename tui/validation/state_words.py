"""How far a validation is, in words: its job, and how many of its images are made. Pure."""

from __future__ import annotations

from textual.content import Content

from loratui.tui import text
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.line import plain


def heading(model: ValidationModel) -> Content:
    """What the run does now, or how it ended."""
    if model.summary is None:
        return Content("")
    status = model.summary.status
    words = {"train": "training", "validate": "making images"}.get(model.summary.job, status)
    return plain(f"{text.STATUS_SIGNS[status]} {words}", f"bold {text.STATUS_TONES[status]}")


def images(model: ValidationModel) -> Content:
    """How many images are made, and what to do about the rest."""
    if model.summary is not None and model.summary.gone:
        return plain(f"✖ {model.summary.reason} {model.summary.advice}".rstrip(), "$error")
    total = len({slot.path for slot in model.slots})
    made = len({slot.path for slot in model.slots if slot.made})
    if model.making:
        return _making(model, made, total)
    ending = model.state.ending
    if ending and ending.status == "failed":
        return plain(f"✖ The images could not be made: {ending.reason} {ending.advice}", "$error")
    if not model.has_file:
        return plain("No LoRA file yet: the first comes after the first epoch.", "$warning")
    active = model.summary is not None and model.summary.active
    if made < total and not active:
        left = _seconds_for(model, total - made)
        return plain(f"{made} of {text.count(total, 'image')}. r makes the rest{left}; g makes others.")
    if made:
        return plain(f"{text.count(made, 'image')}. g makes others.", "$muted")
    if active:
        return plain("Training is running; g validates its newest file beside it.", "$muted")
    return Content.assemble("No images yet. ", ("g", "bold $accent"), "  chooses what to make, and makes it.")


def _making(model: ValidationModel, made: int, total: int) -> Content:
    if model.stopping:
        return plain(f"Stopping: {made} of {text.number(total)} are made; r continues later.", "$warning")
    if made == total:
        # New images are listed only after the files were read.
        phase = model.state.text or "Loading the base"
        return plain(f"{phase} … It continues if you leave; x stops it.")
    left = _seconds_for(model, total - made)
    return plain(f"Making images: {made} of {text.number(total)}{left}. It continues if you leave; x stops it.")


def _seconds_for(model: ValidationModel, images: int) -> str:
    seconds = model.image_s
    return f", about {text.time_left(images * seconds)}" if seconds and images else ""
