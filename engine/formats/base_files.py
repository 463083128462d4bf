"""Tells what base model a folder or file is, by keys, shapes and number formats, from headers alone."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.families.spec import FamilySpec, PartName
from loratui.engine.formats import base_refusals, diffusers_folder
from loratui.engine.formats.base_keys import FoundPart, find_parts
from loratui.engine.formats.base_parts import BaseFiles, BaseRefused, Layout, MissingPart, PartFile
from loratui.engine.formats.base_shapes import depth, fit
from loratui.engine.formats.part_fit import held_words, misfit, same_kind, wanted_sizes
from loratui.engine.formats.pipeline_fit import refuse_disagreement, refuse_other_sizes
from loratui.engine.formats.safetensors_file import NotSafetensors, Tables, may_hold_tensors, read_tables, shards_of
from loratui.presets import SHIPPED
from loratui.presets.schema import Family

_MOST_INDEXES = 32
"""Looked at in one folder, so that a folder full of them costs no more."""


def identify(path: Path) -> BaseFiles:
    """What base model `path` is: a diffusers folder, a folder with one model's file, a .safetensors file or an index.

    Reads headers only. Parts that it does not bring along are in `missing`. Raises `BaseRefused` with the reason.
    """
    if not path.exists():
        raise BaseRefused("base_not_found", f"{path}: no such file or folder.", "Check the path.")
    if not path.is_dir():
        return identify_tables(read_file(path))
    if any((path / name).exists() for name in ("model_index.json", *(spec.denoiser.name for spec in families.FAMILIES))):
        with _about(path):
            return _pipeline(path)
    with _about(path):
        weights = diffusers_folder.read_weights(path) if (path / "config.json").is_file() else None
        if weights is not None:
            diffusers_folder.refuse_config(path)
            return _from_file(path, weights.tables, folder=path, variant=weights.variant)
    return _loose_files(path)


def read_file(path: Path) -> Tables:
    """The tensors of a .safetensors file, with those of its sister shards where it is one of several.

    Raises `BaseRefused` for anything else.
    """
    with _about(path):
        return read_tables(_index_of(path) or path)


def files_read(path: Path) -> tuple[Path, ...]:
    """The files on which it depends what `read_file` says of one: itself, or an index with all of its shards."""
    index = _index_of(path)
    return (path,) if index is None else (index, *(path.parent / name for name in sorted(_shards_of(index))))


def identify_tables(tables: Tables) -> BaseFiles:
    """As `identify`, from what `read_file` read."""
    with _about(tables.path):
        return _from_file(tables.path, tables)


def part_file(path: Path, family: Family, name: PartName, config: Path) -> PartFile:
    """One part of a base from a file or a folder of its own; `config` is the base's configuration folder.

    Raises `BaseRefused` if it holds something else.
    """
    spec = families.family(family)
    part = spec.part(name)
    with _about(path):
        if not path.exists():
            raise BaseRefused("base_part_not_found", "no such file or folder.", f"Check base.{name}.")
        weights = diffusers_folder.read_weights(path) if path.is_dir() else None
        if path.is_dir() and weights is None:
            raise BaseRefused("base_part_wrong", "this folder holds no .safetensors weights.", f"Check base.{name}.")
        tables = weights.tables if weights else read_tables(_index_of(path) or path)
        found = find_parts(tables.tensors)
        wanted = wanted_sizes(config, spec).get(name, {})
        for one in found:
            if not misfit(one, part, wanted):
                if weights:
                    refuse_other_sizes(one, path)
                return _part(tables, one, folder=path if weights else None, variant=weights.variant if weights else "")
        held = ", ".join(dict.fromkeys(held_words(one, part, wanted) for one in found)) or "nothing that is known"
        needed = f"the {part.title} that {spec.title} needs"
        raise BaseRefused("base_part_wrong", f"this is not {needed}: it holds {held}.", f"Check base.{name}.")


def with_parts(base: BaseFiles, parts: Mapping[PartName, PartFile]) -> BaseFiles:
    """`base` with parts put in, in place of its own or of missing ones."""
    left = tuple(m for m in base.missing if m.part not in parts)
    return dataclasses.replace(base, parts={**base.parts, **parts}, missing=left)


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """Gives every refusal the path that it is about, and every unreadable file its code."""
    try:
        yield
    except BaseRefused as error:
        named = error.message if error.message.startswith(str(path)) else f"{path}: {error.message}"
        raise BaseRefused(error.code, named, error.remedy) from None
    except UsageError as error:
        code = "base_format" if isinstance(error, NotSafetensors) else "base_unreadable"
        raise BaseRefused(code, error.message, error.remedy) from None


def _index_of(path: Path) -> Path | None:
    """The index beside a file that is one of several shards of one model."""
    for index in _indexes(path.parent, path.parent.stat().st_mtime_ns):
        if path.name in _shards_of(index):
            return index
    return None


def _shards_of(index: Path) -> frozenset[str]:
    """The names of files that an index lists; none where it cannot be read, since it may not concern the file in question."""
    with contextlib.suppress(UsageError, OSError):
        status = index.stat()
        return _listed(index, status.st_size, status.st_mtime_ns)
    return frozenset()


@functools.lru_cache(maxsize=64)
def _listed(index: Path, size: int, changed_ns: int) -> frozenset[str]:  # noqa: ARG001 - part of the cache's key
    return frozenset(shards_of(index))


@functools.lru_cache(maxsize=64)
def _indexes(folder: Path, changed_ns: int) -> tuple[Path, ...]:  # noqa: ARG001 - part of the cache's key
    """The indexes in a folder, listed once for all of its files."""
    return tuple(sorted(folder.glob("*.safetensors.index*.json"))[:_MOST_INDEXES])


def _judge(tables: Tables) -> tuple[FamilySpec, FoundPart, tuple[FoundPart, ...]]:
    """The family, its denoiser among the tensors, and all parts. Raises `BaseRefused` where it is none of ours."""
    base_refusals.refuse_adapters(tables.tensors)
    base_refusals.refuse_quantised(tables.tensors)
    found = find_parts(tables.tensors)
    spec, denoiser = base_refusals.require_denoiser(tables.tensors, found)
    base_refusals.refuse_schedule(tables.tensors)
    return spec, denoiser, found


def _from_file(path: Path, tables: Tables, *, folder: Path | None = None, variant: str = "") -> BaseFiles:
    """A base from one file; `folder` is set where this is a diffusers folder of the denoiser alone."""
    spec, denoiser, found = _judge(tables)
    fitted = fit(denoiser, spec)
    own = _part(tables, denoiser, folder=folder, variant=variant)
    parts: dict[PartName, PartFile] = {spec.denoiser.name: dataclasses.replace(own, config_changes=fitted.changes)}
    notes: dict[PartName, str] = {}
    sizes = wanted_sizes(fitted.folder, spec)
    for part in spec.parts[1:]:
        wanted = sizes.get(part.name, {})
        fitting = next((one for one in found if not misfit(one, part, wanted)), None)
        near = next((one for one in found if same_kind(one, part)), None)
        if fitting is not None:
            parts[part.name] = _part(tables, fitting, folder=folder, variant=variant)
        elif near is not None:
            notes[part.name] = f"the one inside is {held_words(near, part, wanted)}"
    stated = tables.metadata.get("modelspec.prediction_type", "").lower()
    is_v = "v_pred" in tables.tensors or stated.startswith("v")
    return _complete(
        path,
        spec,
        "single_file" if len(parts) > 1 else "parts",
        parts,
        fitted.folder,
        prediction="v" if is_v else "epsilon",
        zero_terminal_snr="ztsnr" in tables.tensors,
        notes=notes,
        depth=depth(denoiser, spec),
    )


def _pipeline(path: Path) -> BaseFiles:
    """A diffusers folder: every part in its own folder, the family by the denoiser's tensors."""
    diffusers_folder.refuse_pipeline(path)
    parts: dict[PartName, PartFile] = {}
    held: dict[PartName, FoundPart] = {}
    spec: FamilySpec | None = None
    for name in families.weight_parts():
        with _about(path / name):
            diffusers_folder.refuse_config(path / name)
            weights = diffusers_folder.read_weights(path / name)
            if weights is None:
                continue
            if any(name == one.denoiser.name for one in families.FAMILIES):
                spec, denoiser, _ = _judge(weights.tables)
                found: tuple[FoundPart, ...] = (denoiser,)
            else:
                found = find_parts(weights.tables.tensors)
            one = next((part for part in found if _belongs(part, name)), None)
            if one is None:
                raise BaseRefused("base_part_wrong", f"this folder holds no weights of a {name}.", "Download the model again.")
            parts[name], held[name] = _part(weights.tables, one, folder=path / name, variant=weights.variant), one
    if spec is None:
        with contextlib.suppress(BaseRefused):
            return _loose_files(path)  # tools that load a checkpoint fetch the settings of its folder beside it
        message = f"{path}: this diffusers folder holds no unet or transformer."
        raise BaseRefused("base_incomplete", message, "Download the model again; what is there already is kept.")
    for name, one in held.items():
        if spec.has(name):
            refuse_other_sizes(one, path / name)
    refuse_disagreement(held, spec, path)
    if (path / "scheduler").is_dir():
        diffusers_folder.require_file(path / "scheduler", "scheduler_config.json")
    prediction, zero = diffusers_folder.prediction_of(path)
    blocks = depth(held[spec.denoiser.name], spec)
    return _complete(path, spec, "diffusers", parts, path, prediction=prediction, zero_terminal_snr=zero, depth=blocks)


def _belongs(found: FoundPart, name: str) -> bool:
    """Whether a part's tensors are what its folder's name says, in names that can be loaded from there."""
    own = [spec.part(name) for spec in families.FAMILIES if spec.has(name)]
    return any(same_kind(found, part) and (part.role != "text_encoder" or found.names == "diffusers") for part in own)


def _loose_files(folder: Path) -> BaseFiles:
    """A folder that holds the file of one model, and perhaps its other parts as files beside it."""
    bases, reasons = [], []
    for file in sorted(path for path in folder.iterdir() if may_hold_tensors(path)):
        try:
            bases.append(identify(file))
        except BaseRefused as error:
            reasons.append(error)
    whole = {base.denoiser.path: base for base in bases}
    if len(whole) == 1:
        return next(iter(whole.values()))
    if whole:
        names = ", ".join(path.name for path in list(whole)[:5])
        raise BaseRefused("base_ambiguous", f"{folder}: it holds {len(whole)} models: {names}.", "Name the file itself.")
    if len(reasons) == 1:
        raise reasons[0]
    message = f"{folder}: this is no diffusers folder (no model_index.json), and no file in it is a base model."
    raise BaseRefused("base_not_found", message, "Give the model's folder or its .safetensors file.")


def _part(tables: Tables, found: FoundPart, *, folder: Path | None, variant: str) -> PartFile:
    base_refusals.refuse_format(found)
    return PartFile(
        folder or tables.path,
        in_folder=folder is not None,
        files=tables.files,
        prefix=found.prefix,
        names=found.names,
        dtype=found.dtype,
        fp8=found.fp8,
        scale_suffix=found.scale_suffix,
        variant=variant,
        bytes=found.bytes,
    )


def _complete(
    path: Path,
    spec: FamilySpec,
    layout: Layout,
    parts: dict[PartName, PartFile],
    config: Path,
    *,
    prediction: Literal["epsilon", "v"],
    zero_terminal_snr: bool,
    depth: str,
    notes: Mapping[PartName, str] | None = None,
) -> BaseFiles:
    """Adds tokenizers and scheduler from the configuration folder or the bundle, and names what is missing."""
    for part in spec.parts:
        if part.role == "tokenizer":
            places = (config / part.name, part.bundled)
            found = next((place for place in places if place and diffusers_folder.is_tokenizer(place)), None)
            if found is not None:
                parts[part.name] = PartFile(found)
    own = config / "scheduler"
    parts["scheduler"] = PartFile(own if own.is_dir() else spec.bundled / "scheduler")
    has_choice = spec.objective == "diffusion"
    denoiser = parts[spec.denoiser.name]
    alone = {"unet": "UNet", "transformer": "transformer"}[spec.denoiser.name]
    kinds = {"diffusers": "diffusers folder", "single_file": "checkpoint", "parts": alone}
    kind = f"{spec.title} {kinds[layout]}"
    if path.resolve().is_relative_to(SHIPPED.resolve() / "bases"):  # nobody takes it for the model whose shape it has
        kind = f"toy for the demo, {spec.long_title}'s shape, 128 px"
    words = [kind, f"{'scaled ' if denoiser.fp8 == 'scaled' else ''}{denoiser.dtype}"]
    return BaseFiles(
        path,
        spec.name,
        layout,
        parts,
        config,
        prediction if has_choice else None,
        zero_terminal_snr and has_choice,
        ", ".join([*words, *filter(None, ["v-prediction" if prediction == "v" and has_choice else "", depth])]),
        tuple(MissingPart.of(part, note=(notes or {}).get(part.name, "")) for part in spec.parts if part.name not in parts),
    )
