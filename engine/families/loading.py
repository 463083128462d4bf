"""Loads the parts of a base from every layout of bases: without the network, onto the device, one copy in memory."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.families.renaming import from_open_clip, renamed_attention
from loratui.engine.families.spec import PartName
from loratui.engine.families.stored import WithoutCopies, block_weights, note_scale
from loratui.engine.formats.base_keys import has_no_prefix
from loratui.engine.formats.base_parts import BaseFiles, PartFile
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.untrusted import read_json

UNET_PREFIX = "model.diffusion_model."
"""diffusers' converter recognises a UNet in its original names only after this prefix."""

_CONVERTERS = "diffusers.loaders.single_file_model"

_LEFT_OUT = ("scaled_fp8", ".comfy_quant", ".scale_input", ".input_scale")
"""Ends of keys that describe the use of fp8 weights in generation; they are not weights."""

T5_BLOCKS = "encoder.block."
"""How the keys of T5's blocks begin."""


def load_part(
    files: BaseFiles,
    name: PartName,
    *,
    device: torch.device,
    dtype: torch.dtype,
    as_stored: bool = False,
    tensors: Callable[[], dict[str, Tensor]] | None = None,
) -> nn.Module:
    """A part with weights, on `device` and in `dtype`. Raises `UsageError` if its files are unreadable or incomplete.

    `tensors` gives those of a denoiser that `reader` read.

    `as_stored`, for what waits in host memory: the block weights of a denoiser and of T5 stay in their file in any format, to be read
    with `stored.weight_on`, and nothing is copied that need not be.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging

    for library in (logging, diffusers_logging):
        library.disable_progress_bar()  # the trainer's log is for people
    part = files.parts[name]
    kind = _class_of(files, name)
    _refuse_json(part.path if part.in_folder else files.config / name)
    try:
        if tensors is not None:
            model = _assembled(functools.partial(kind.from_config, _config(kind, files, name)), tensors(), device, dtype)
        elif as_stored:
            model = _as_stored(kind, files, name, device, dtype)
        elif part.in_folder:
            model = _from_folder(kind, part, device, dtype)
        else:
            model = _from_file(kind, files, name, device, dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # libraries fail on foreign files with almost anything
        raise UsageError(f"{part.path}: the {name} cannot be loaded: {_whole(error)}") from error
    missing = next((key for key, value in model.named_parameters() if value.is_meta), None)
    if missing is not None:
        raise UsageError(f"{part.path}: the {name} is incomplete; {missing} is missing.", "Download the file again.")
    return model.to(device)


def reader(files: BaseFiles, name: PartName, dtype: torch.dtype) -> Callable[[], dict[str, Tensor]]:
    """What reads a denoiser's tensors, which may stay in their file until they are moved. It builds nothing, and the libraries that it
    needs are imported now, so it may be called in any thread."""
    part, kind = files.parts[name], _class_of(files, name)
    if part.names != "diffusers":
        importlib.import_module(_CONVERTERS)

    def read() -> dict[str, Tensor]:
        _refuse_json(part.path if part.in_folder else files.config / name)
        with WithoutCopies():
            return _renamed(kind, part, name, _config(kind, files, name), dict(_tensors(part, dtype)))

    return read


def part_without_weights(
    files: BaseFiles, name: PartName, changes: Mapping[str, Any], *, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """A denoiser or VAE whose weights are all 0, with `changes` in its configuration."""
    from accelerate import init_empty_weights

    kind = _class_of(files, name)
    with init_empty_weights(include_buffers=False):
        model: nn.Module = kind.from_config({**_config(kind, files, name), **changes})
    for module in model.modules():
        for own, value in list(module.named_parameters(recurse=False)):
            setattr(module, own, nn.Parameter(torch.zeros(value.shape, device=device, dtype=dtype)))
    return model.to(device)


def load_tokenizer(files: BaseFiles, name: PartName) -> Any:
    """A tokenizer of the base. Raises `UsageError`."""
    path = files.parts[name].path
    _refuse_json(path)
    try:
        return _class_of(files, name).from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # its library knows no other kind
        raise UsageError(f"{path}: the tokenizer cannot be loaded: {_whole(error)}") from error


_LONGEST_REASON = 1500


def _whole(error: BaseException) -> str:
    """A library's whole message, since its first line is often a heading: on one line, cut to a readable length."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST_REASON else f"{words[: _LONGEST_REASON - 1]}…"


def _refuse_json(folder: Path) -> None:
    """Checks the JSON files of a part before a library reads them. Raises `UsageError` for an invalid one."""
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            read_json(path, MODEL_JSON_BYTES)
        except OSError as error:
            raise UsageError(
                f"{path}: this file of the base cannot be read: it {error.strerror}.", "Download it again."
            ) from None


def scheduler_config(files: BaseFiles) -> dict[str, Any]:
    """The configuration of the base's noise schedule. Raises `UsageError`."""
    return _json_of(files.parts["scheduler"].path / "scheduler_config.json")


def pipeline_config(files: BaseFiles) -> Mapping[str, Any]:
    """`model_index.json` of the base, or of its family where it is a single file; empty if there is none."""
    path = files.config / "model_index.json"
    return _json_of(path) if path.is_file() else {}


def _json_of(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: this file of the base cannot be read.") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: this file of the base is not a JSON table.")
    return value


def _class_of(files: BaseFiles, name: PartName) -> Any:
    """The class of a part, as the family's spec names it."""
    part = families.family(files.family).part(name)
    library, _, kind = part.cls.rpartition(".")
    return getattr(importlib.import_module(library), kind)


def _from_folder(kind: Any, part: PartFile, device: torch.device, dtype: torch.dtype) -> nn.Module:
    model: nn.Module = kind.from_pretrained(
        str(part.path),
        variant=part.variant or None,
        local_files_only=True,
        use_safetensors=True,
        dtype=dtype,
        device_map={"": device},  # tensor by tensor onto the device, so a large model is never in memory twice
    )
    return model


def _from_file(kind: Any, files: BaseFiles, name: PartName, device: torch.device, dtype: torch.dtype) -> nn.Module:
    part = files.parts[name]
    tensors = dict(_tensors(part, dtype))
    if name.startswith("text_encoder"):
        tensors = from_open_clip(tensors) if part.names == "original" else tensors
        return _assembled(functools.partial(kind, _text_config(kind, files, name)), tensors, device, dtype)
    config = _config(kind, files, name)
    make = functools.partial(kind.from_config, config)
    return _assembled(make, _renamed(kind, part, name, config, tensors), device, dtype)


def _as_stored(kind: Any, files: BaseFiles, name: PartName, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A denoiser or T5 encoder with tensors that are still in the file where they need no change, and block weights as stored."""
    from accelerate import init_empty_weights

    part = files.parts[name]
    stored = {key: value for key, value in _stored(part) if not _is_for_generation(part, key)}
    scales = dict(_scales(part)) if part.fp8 == "scaled" else {}
    if name.startswith("text_encoder"):
        text_config = _text_config(kind, files, name)
        make = functools.partial(kind, text_config)
        kept = {key for key in stored if key.startswith(T5_BLOCKS)}
    else:
        config = _config(kind, files, name)
        make = functools.partial(kind.from_config, config)
        with WithoutCopies():
            stored, scales = (_renamed(kind, part, name, config, some) if some else {} for some in (stored, scales))
        with init_empty_weights():
            blocks = set(block_weights(make()))
        kept = {key for key, value in stored.items() if key in blocks and value.is_floating_point()}
    tensors = {key: value if key in kept else _scaled(value, scales.get(key), dtype) for key, value in stored.items()}
    model = _assembled(make, tensors, device, dtype, kept)
    for key in kept & scales.keys():
        note_scale(model.get_parameter(key), scales[key])
    return model


def _text_config(kind: Any, files: BaseFiles, name: PartName) -> Any:
    """transformers' configuration of a text encoder in a file."""
    return kind.config_class.from_pretrained(str(files.config / name), local_files_only=True)


def _config(kind: Any, files: BaseFiles, name: PartName) -> dict[str, Any]:
    """diffusers' configuration of a denoiser or VAE."""
    part = files.parts[name]
    folder = part.path if part.in_folder else files.config / name
    return {**kind.load_config(str(folder), local_files_only=True), **part.config_changes}


def _renamed(
    kind: Any, part: PartFile, name: PartName, config: Mapping[str, Any], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a denoiser or VAE under the names that diffusers has for them."""
    if part.names == "diffusers":
        return renamed_attention(tensors) if name == "vae" else tensors
    if name == "unet":
        tensors = {UNET_PREFIX + key: value for key, value in tensors.items()}
    convert = importlib.import_module(_CONVERTERS).SINGLE_FILE_LOADABLE_CLASSES[kind.__name__]["checkpoint_mapping_fn"]
    renamed: dict[str, Tensor] = convert(config=config, checkpoint=tensors)
    return renamed


def _tensors(part: PartFile, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a part by their keys without the prefix, still in the file where they need no change."""
    scales = dict(_scales(part)) if part.fp8 == "scaled" else {}
    for key, value in _stored(part):
        if not _is_for_generation(part, key):
            yield key, _scaled(value, scales.get(key), dtype)


def _is_for_generation(part: PartFile, key: str) -> bool:
    """Whether a key describes the use of fp8 weights, and is no weight."""
    return key.endswith(_LEFT_OUT) or bool(part.fp8 == "scaled" and key.endswith(part.scale_suffix))


def _scales(part: PartFile) -> Iterator[tuple[str, Tensor]]:
    """(rows, 1) for each tensor of a scaled fp8 part: what its rows are multiplied with, which is 1 for most."""
    stored = dict(_stored(part))
    for key, value in stored.items():
        if not _is_for_generation(part, key) and value.dim():
            scale = stored.get(key.removesuffix(".weight") + part.scale_suffix, torch.ones(()))
            yield key, scale.float().reshape(-1, 1).expand(value.shape[0], 1)


def _scaled(value: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The product is rounded once, to the format of the training."""
    if scale is None or bool((scale == 1).all()):
        return value
    return (value.float() * scale.reshape(-1, *[1] * (value.dim() - 1))).to(dtype)


def _stored(part: PartFile) -> Iterator[tuple[str, Tensor]]:
    for path in part.files:
        read_header(path)  # before the library sees it
        with safe_open(path, framework="pt", device="cpu") as file:
            for key in file.keys():  # noqa: SIM118 - this is no dictionary
                if key.startswith(part.prefix) if part.prefix else has_no_prefix(key):
                    yield key.removeprefix(part.prefix), file.get_tensor(key)


def _assembled(
    make: Callable[[], nn.Module],
    tensors: dict[str, Tensor],
    device: torch.device,
    dtype: torch.dtype,
    kept: Collection[str] = (),
) -> nn.Module:
    """The model that `make` builds, with a file's tensors moved into it one by one, all but those `kept` in `dtype`; what the file
    lacks stays on torch's meta device."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        model = make()
    own = model.state_dict().keys()
    if "encoder.embed_tokens.weight" in own:  # T5's table of tokens has two names; files hold either
        table = tensors.get("shared.weight", tensors.get("encoder.embed_tokens.weight"))
        tensors |= {key: table for key in ("shared.weight", "encoder.embed_tokens.weight") if table is not None}
    nested = any(key.startswith("text_model.") for key in own)  # CLIPTextModel has no such level since transformers 5.6
    moved: dict[str, Tensor] = {}
    done: dict[int, Tensor] = {}
    for key, value in tensors.items():
        bare = key.removeprefix("text_model.")
        target = next((k for k in (bare, f"text_model.{bare}" if nested else bare) if k in own), None)
        if target is not None:
            done[id(value)] = done[id(value)] if id(value) in done else value.to(device, value.dtype if key in kept else dtype)
            moved[target] = done[id(value)]
    model.load_state_dict(moved, strict=False, assign=True)
    return model
