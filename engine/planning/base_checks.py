"""Checks of the base model before a start: there, whole, of the recipe's family, and trained as the recipe says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loratui.engine import families
from loratui.engine.findings import Finding
from loratui.engine.formats.base_parts import BaseFiles, BaseRefused, MissingPart
from loratui.engine.planning.bases import base_path, find_base
from loratui.engine.untrusted import read_json
from loratui.engine.words import size
from loratui.presets.schema import Base

REFUSED_FORMATS = {
    ".ckpt": "can run code when it is read",
    ".pt": "can run code when it is read",
    ".pth": "can run code when it is read",
    ".bin": "can run code when it is read",
    ".gguf": "is quantised for generating and cannot be trained on",
}
"""Endings of models that are not worth looking for -> why. A file that is there is judged by its bytes."""


def check_base(base: Base, roots: Sequence[Path] | None = None, *, scale_v_loss: bool = False) -> Iterator[Finding]:
    """Whether the base is there and can be trained on as the recipe says; `roots` are the folders to look for parts in."""
    suffix = Path(base.model).suffix.lower()
    if suffix in REFUSED_FORMATS and base_path(base.model) is None:
        problem = f"{base.model}: a {suffix} file {REFUSED_FORMATS[suffix]}."
        yield Finding.of("base_format", problem=problem, remedy="Get the same model as .safetensors.")
        return
    try:
        found = find_base(base, roots)
    except BaseRefused as error:
        yield error.finding
        return
    yield from (_missing(found, part) for part in found.missing)
    yield from _family(base, found)
    yield from _prediction(base, found)
    yield from _clip_skip(base, found)
    if scale_v_loss and base.prediction == "auto" and found.prediction == "epsilon":
        yield Finding.of("no_effect.v_loss_of_base", base=base.model, settings={"training.scale_v_loss": False})
    yield from _parts_elsewhere(base, found)


def _missing(found: BaseFiles, part: MissingPart) -> Finding:
    ways = [f"loratui download {source.repo} {source.file}" for source in part.sources[:1]]
    if len(part.sources) > 1:
        other = part.sources[1]
        ways.append(f"or {other.file} of {other.repo} ({size(other.bytes)}, {other.licence})")
    if part.setting:
        ways.append(f"or name a file that you have with --set {part.setting}=FILE")
    key = "base_part_missing.unfit" if part.note else "base_part_missing"
    title, way = families.family(found.family).title, ", ".join(ways) + ("." if ways else "")
    return Finding.of(key, path=str(found.path), part=str(part), title=title, note=part.note, ways=way)


def _family(base: Base, found: BaseFiles) -> Iterator[Finding]:
    if found.family != base.family:
        titles: dict[str, Any] = {"found": families.family(found.family).title, "wanted": families.family(base.family).title}
        yield Finding.of("base_family", base=base.model, preset=families.family(found.family).default_preset, **titles)


def _prediction(base: Base, found: BaseFiles) -> Iterator[Finding]:
    if families.family(found.family).objective == "flow":
        for key, value in (("base.prediction", base.prediction), ("base.zero_terminal_snr", base.zero_terminal_snr)):
            if value not in ("auto", "off"):
                title, fix = families.family(found.family).title, {key: "auto"}
                yield Finding.of("base_prediction.flow", key=key, value=value, title=title, settings=fix)
        return
    prediction = found.prediction if base.prediction == "auto" else base.prediction
    zero = found.zero_terminal_snr if base.zero_terminal_snr == "auto" else base.zero_terminal_snr == "on"
    if zero and prediction == "epsilon":
        yield Finding.of("base_prediction.zero_snr", base=base.model)
    elif found.prediction == "v" and prediction == "epsilon":
        yield Finding.of("base_prediction.epsilon", base=base.model, settings={"base.prediction": "auto"})


def _clip_skip(base: Base, found: BaseFiles) -> Iterator[Finding]:
    """Whether the text encoders have as many layers as clip skip counts back."""
    spec = families.family(found.family)
    for part in spec.text_encoders if spec.text.clip_skip else ():
        with contextlib.suppress(
            OSError, ValueError, KeyError, TypeError, OverflowError
        ):  # a base without such a file is told of elsewhere
            layers = int(read_json(found.config / part.name / "config.json")["num_hidden_layers"])
            if base.clip_skip > layers:
                yield Finding.of("base_clip_skip", base=base.model, clip_skip=base.clip_skip, layers=layers)
                return


def _parts_elsewhere(base: Base, found: BaseFiles) -> Iterator[Finding]:
    """Says which files are taken that nobody named: a wrong one would be a silent fault."""
    taken = [
        f"{name} from {part.path}"
        for name, part in found.parts.items()
        if part.files
        and not getattr(base, name, "")
        and not part.path.is_relative_to(found.path)
        and found.layout != "diffusers"
    ]
    if taken:
        yield Finding.of("base_parts_found", taken="; ".join(taken))
