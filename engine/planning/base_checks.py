"""Checks of the base model before a start: there, whole, of the recipe's family, and trained as the recipe says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from loratui.engine.dataset.findings import Finding
from loratui.engine.formats.base_parts import FAMILY_TITLES, BaseFiles, BaseRefused, MissingPart, size
from loratui.engine.planning.bases import base_path, find_base
from loratui.engine.untrusted import read_json
from loratui.engine.words import count
from loratui.presets.schema import Base, Family

REFUSED_FORMATS = {
    ".ckpt": "can run code when it is read",
    ".pt": "can run code when it is read",
    ".pth": "can run code when it is read",
    ".bin": "can run code when it is read",
    ".gguf": "is quantised for generating and cannot be trained on",
}
"""Endings of models that are not worth looking for -> why. A file that is there is judged by its bytes."""

PRESETS_OF: dict[Family, str] = {"sd15": "sd15-portrait", "sdxl": "sdxl-person", "flux": "flux-identity-18img"}

_WHY = "Training starts from a base model."


def check_base(base: Base, roots: Sequence[Path] | None = None, *, scale_v_loss: bool = False) -> Iterator[Finding]:
    """Whether the base is there and can be trained on as the recipe says; `roots` are the folders to look for parts in."""
    suffix = Path(base.model).suffix.lower()
    if suffix in REFUSED_FORMATS and base_path(base.model) is None:
        message = f"{base.model}: a {suffix} file {REFUSED_FORMATS[suffix]}."
        yield Finding("base_format", "error", message, _WHY, "Get the same model as .safetensors.")
        return
    try:
        found = find_base(base, roots)
    except BaseRefused as error:
        yield Finding(error.code, "error", error.message, _WHY, error.remedy)
        return
    yield from (_missing(found, part) for part in found.missing)
    yield from _family(base, found)
    yield from _prediction(base, found)
    yield from _clip_skip(base, found)
    if scale_v_loss and base.prediction == "auto" and found.prediction == "epsilon":
        message = f"training.scale_v_loss true has no effect: it is for bases that predict v, and {base.model} predicts noise."
        yield Finding("no_effect", "warning", message, "", "Set training.scale_v_loss=false.")
    yield from _parts_elsewhere(base, found)


def _missing(found: BaseFiles, part: MissingPart) -> Finding:
    message = f"{found.path}: the {part}"
    why = f"{FAMILY_TITLES[found.family]} does not work without it, and it is neither in the model nor beside it."
    if part.note:
        why = f"{FAMILY_TITLES[found.family]} does not work without it, and {part.note}; there is no other beside the model."
    ways = [f"loratui download {source.repo} {source.file}" for source in part.sources[:1]]
    if len(part.sources) > 1:
        other = part.sources[1]
        ways.append(f"or {other.file} of {other.repo} ({size(other.bytes)}, {other.licence})")
    if part.setting:
        ways.append(f"or name a file that you have with --set {part.setting}=FILE")
    return Finding("base_part_missing", "error", message, why, ", ".join(ways) + ("." if ways else ""))


def _family(base: Base, found: BaseFiles) -> Iterator[Finding]:
    if found.family != base.family:
        message = f"{base.model}: this is {FAMILY_TITLES[found.family]}, and the recipe is for {FAMILY_TITLES[base.family]}."
        why = "Rates, steps and layers of the recipe fit its own family only."
        remedy = f"Choose another base, or a preset for {FAMILY_TITLES[found.family]} such as {PRESETS_OF[found.family]}."
        yield Finding("base_family", "error", message, why, remedy)


def _prediction(base: Base, found: BaseFiles) -> Iterator[Finding]:
    if found.family == "flux":
        for key, value in (("prediction", base.prediction), ("zero_terminal_snr", base.zero_terminal_snr)):
            if value not in ("auto", "off"):
                message = f"base.{key} is {value}, and FLUX has no such choice: it is trained by flow matching."
                yield Finding("base_prediction", "error", message, "", f"Set base.{key} to auto.")
        return
    prediction = found.prediction if base.prediction == "auto" else base.prediction
    zero = found.zero_terminal_snr if base.zero_terminal_snr == "auto" else base.zero_terminal_snr == "on"
    if zero and prediction == "epsilon":
        message = f"{base.model}: the schedule ends in pure noise (zero terminal SNR), from which noise cannot be predicted."
        remedy = "Set base.prediction to v if this is a v-prediction model, else base.zero_terminal_snr to off."
        yield Finding("base_prediction", "error", message, "Its steps near pure noise would teach nothing or break.", remedy)
    elif found.prediction == "v" and prediction == "epsilon":
        message = f"{base.model}: this is a v-prediction model, and base.prediction says epsilon."
        remedy = "Set base.prediction to auto."
        yield Finding("base_prediction", "warning", message, "A LoRA trained so makes grey, flat images.", remedy)


def _clip_skip(base: Base, found: BaseFiles) -> Iterator[Finding]:
    """Whether the text encoders have as many layers as clip skip counts back."""
    for part in ("text_encoder", "text_encoder_2") if found.family == "sdxl" else ("text_encoder",):
        with contextlib.suppress(
            OSError, ValueError, KeyError, TypeError, OverflowError
        ):  # a base without such a file is told of elsewhere
            layers = int(read_json(found.config / part / "config.json")["num_hidden_layers"])
            if base.clip_skip > layers and found.family != "flux":
                message = (
                    f"base.clip_skip {base.clip_skip}: the text encoder of {base.model} has only {count(layers, 'layer')}."
                )
                yield Finding("base_clip_skip", "error", message, "", "Leave base.clip_skip out, or set it to 1 or 2.")
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
        message = f"Parts of the base were found in other places: {'; '.join(taken)}."
        remedy = "Name others with base.text_encoder, base.text_encoder_2 and base.vae."
        yield Finding("base_parts_found", "info", message, "", remedy)
