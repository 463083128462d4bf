"""`loratui doctor --base`: what an untouched base makes of images, beside the usual figures; for bug reports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import loratui_home
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset
from loratui.presets.schema import Base
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean
from loratui.tui.text import count

USUAL = "0.03 to 0.09 on an embedded base's own drawings, 0.3 to 1.2 there on images of a kind that it was not trained on"
"""Of `of_linear`, as it was measured (docs/performance.md)."""


def report(model: str, folder: str) -> dict[str, Any]:
    """The base's readings on a folder's images, or on the demo's drawings: `model family pictures readings mistaken message remedy`.

    Raises `UsageError` for a base or folder that cannot be used, and `LoratuiError` if the trainer failed.
    """
    from loratui.engine.planning.bases import find_base
    from loratui.engine.planning.recipe import build_recipe
    from loratui.engine.runs.continuing import prepare
    from loratui.engine.runs.probe import read_base

    family = find_base(Base(model=model)).family
    embedded = model.startswith("embedded:")
    spec = families.family(family)
    preset = spec.demo_preset if embedded else spec.default_preset  # whose resolution and reading of captions are used
    images = Path(folder).expanduser() if folder else demo_dataset()
    trigger, class_word = ("", "") if folder else (DEMO_TRIGGER, DEMO_CLASS)
    sets = () if embedded else ("dataset.upscale=true",)
    recipe = build_recipe(preset, base=model, dataset=images, trigger=trigger, class_word=class_word, sets=sets)
    home = loratui_home()
    prepared = prepare(recipe, home)
    for finding in prepared.errors:
        raise UsageError(finding.message, finding.remedy)
    read = read_base(prepared, home, tell=_tell())
    assert read is not None, "nobody cancels it"
    shown = str(images) if folder else f"the demo's drawings{'' if embedded else ', enlarged; your photos test it better'}"
    return {
        "model": model,
        "family": family,
        "pictures": shown,
        "readings": dict(read.readings),
        "mistaken": read.mistaken,
        "message": read.message,
        "remedy": read.remedy,
    }


def _tell() -> Callable[[str], None]:
    """Prints each step once, on stderr."""
    said: set[str] = set()

    def tell(words: str) -> None:
        kind = words.partition(":")[0]
        if kind not in said:
            said.add(kind)
            say(sys.stderr, f"{clean(kind)} \N{HORIZONTAL ELLIPSIS}")

    return tell


def describe(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The report as label and value."""
    read = found["readings"]
    yield "base", f"{found['model']} ({found['family']}), taken to predict {read['prediction']}"
    yield (
        "shown",
        f"{found['pictures']}: {count(read['pictures'], 'image')}, {count(read['draws'], 'noise')} a level, {read['seconds']} s",
    )
    yield "noise", _row(read["noise"])
    yield "loss", _row(read["loss"])
    yield "of nothing", _row([loss / none if none else 0.0 for loss, none in zip(read["loss"], read["nothing"], strict=True)])
    yield "of a guess", _row([loss / line if line else 0.0 for loss, line in zip(read["loss"], read["linear"], strict=True)])
    yield "", f"{read['of_linear']} in the middle; usual is {USUAL}"
    if read["other"]:
        yield "read as v" if read["prediction"] == "epsilon" else "as epsilon", _row(read["other"])
    yield "direction", _row(read["cosine"])
    if read["text_gain"] is not None:
        yield "text", f"without captions the loss is {read['text_gain']} of that with them"
    scale = read["vae_scale"]
    scaled = f", scaled by {scale[0]:g}, shift {scale[1]:g}" if scale else ""
    yield "latents", f"mean {read['latent_mean']}, spread {read['latent_std']}{scaled}"
    if read["vae_psnr_db"] is not None:
        yield "VAE", f"encodes and decodes an image at {read['vae_psnr_db']:.1f} dB"
    yield (
        ("problem", f"{found['message']} {found['remedy']}")
        if found["mistaken"]
        else ("", "No sign of a problem with this base.")
    )


def _row(numbers: list[float]) -> str:
    return "  ".join(f"{number:6.3f}" for number in numbers)
