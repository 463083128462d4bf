"""Which files of a repository training needs: one format, no duplicates, nothing that can run code."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from loratui.engine import families

_SETTINGS = (".json", ".txt", ".model")
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[\w-]+?))?(?:-\d{5}-of-\d{5})?\.safetensors(?:\.index(?:\.(?P<named>[\w-]+))?\.json)?"
)
_PICKLE = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
_NOT_FOR_TRAINING = (".gguf", ".onnx", ".onnx_data", ".msgpack", ".h5", ".tflite")


class NotChosen(ValueError):
    """No files can be chosen; the text says why and what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def choose(names: Sequence[str], wanted: Sequence[str] = ()) -> list[str]:
    """The files to fetch, by their paths in the repository: those that `wanted` names (patterns too), else those of a base.

    Raises `NotChosen` where nothing fits, or where several models lie in one repository.
    """
    if wanted:
        return _wanted(names, wanted)
    if "model_index.json" in names:
        return _pipeline(names)
    if "config.json" in names and (weights := _weights([n for n in names if "/" not in n])):
        return sorted(["config.json", *weights])
    single = [name for name in names if name.lower().endswith((".safetensors", ".sft"))]
    if len(single) == 1:
        return single
    if single:
        some = ", ".join(single[:6]) + (f" and {len(single) - 6} more" if len(single) > 6 else "")
        raise NotChosen(f"it holds {len(single)} models: {some}.", "Choose one: loratui download OWNER/NAME FILE.")
    if any(name.endswith(_PICKLE) for name in names):
        raise NotChosen("it has its weights only in a format that can run code.", "Choose a model with .safetensors files.")
    raise NotChosen("it holds no model that can be trained on.", "Choose a model with .safetensors files.")


def named(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The files that loratui itself names: each name that is no pattern must be there. Raises `NotChosen`, also for pickles."""
    missing = next((one for one in wanted if "*" not in one and one not in names), None)
    if missing is not None:
        raise NotChosen(f"it has no file {missing} any more.", "Update loratui.")
    chosen = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)]
    if any(name.lower().endswith(_PICKLE) for name in chosen):
        raise NotChosen("a file that can run code is not fetched.")
    return sorted(chosen)


def _wanted(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    chosen: list[str] = []
    for pattern in wanted:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            some = ", ".join([n for n in names if n.endswith((".safetensors", ".json"))][:6])
            raise NotChosen(f"it has no file {pattern}.", f"It has {some}." if some else "")
        unsafe = next((name for name in found if name.lower().endswith(_PICKLE)), None)
        if unsafe is not None:
            raise NotChosen(f"{unsafe} can run code when it is opened, so it is not fetched.", "Choose a .safetensors file.")
        useless = next((name for name in found if name.lower().endswith(_NOT_FOR_TRAINING)), None)
        if useless is not None:
            raise NotChosen(f"{useless} cannot be trained on, so it is not fetched.", "Choose a .safetensors file.")
        chosen += found
    return sorted(set(chosen))


def _pipeline(names: Sequence[str]) -> list[str]:
    """The parts of a diffusers folder, each with its settings and its weights in one format."""
    chosen, with_weights = ["model_index.json"], families.weight_parts()
    for part in families.part_names():
        inside = [name for name in names if name.startswith(f"{part}/") and name.count("/") == 1]
        if not inside:
            continue
        weights = _weights(inside)
        if part in with_weights and not weights:
            raise NotChosen(f"{part} has no .safetensors weights.", "Choose a model with .safetensors files.")
        chosen += [
            n for n in inside if n.endswith(_SETTINGS) and ".safetensors" not in n and ".index." not in n and "onnx" not in n
        ]
        chosen += weights if part in with_weights else []
    if not any(name.startswith(tuple(f"{spec.denoiser.name}/" for spec in families.FAMILIES)) for name in chosen):
        raise NotChosen("it has neither a unet nor a transformer.", "Choose a base model.")
    return sorted(set(chosen))


def _weights(names: Sequence[str]) -> list[str]:
    """The weights without a variant with their index, else those in fp16, else of any one variant."""
    variants: dict[str, list[str]] = {}
    for name in names:
        match = _WEIGHTS.fullmatch(name.rpartition("/")[2])
        if match:
            variants.setdefault(match["named"] or match["variant"] or "", []).append(name)
    if not variants:
        return []
    chosen = variants[min(variants, key=lambda variant: (variant != "", variant != "fp16", variant))]
    shards = [name for name in chosen if re.search(r"-\d{5}-of-\d{5}", name)]
    whole = [name for name in chosen if name not in shards and not name.endswith(".json")]
    # A file and its shards are the same weights twice.
    return sorted(whole) if whole else sorted(chosen)
