"""Bases some of whose parts are taken from files, and tensors that lie in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from loratui.engine.families.spec import PartName
from loratui.engine.formats.base_files import identify
from loratui.engine.formats.base_keys import find_parts
from loratui.engine.formats.base_parts import BaseFiles, PartFile
from loratui.engine.formats.safetensors_file import read_header

ROLES: Mapping[str, PartName] = {
    "unet": "unet", "flux": "transformer", "vae": "vae", "clip": "text_encoder", "open_clip": "text_encoder_2",
    "t5": "text_encoder_2",
}  # fmt: skip


def parts_in(path: Path) -> dict[PartName, PartFile]:
    """What a file holds, as `identify` would say it of a file of true size."""
    return {
        ROLES[found.network.name]: PartFile(
            path,
            in_folder=False,
            files=(path,),
            prefix=found.prefix,
            names=found.names,
            dtype=found.dtype,
            fp8=found.fp8,
            scale_suffix=found.scale_suffix,
        )
        for found in find_parts(read_header(path).tensors)
    }


def with_files(folder: Path, *files: Path) -> BaseFiles:
    """The base in `folder` with the parts that `files` hold taken from there."""
    base = identify(folder)
    parts = dict(base.parts)
    for file in files:
        parts |= parts_in(file)
    return dataclasses.replace(base, parts=parts)


def lies_in_a_file(value: Tensor, path: Path) -> bool:
    """Whether a tensor's memory is that of a file, so it takes none of its own."""
    lines = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [line[0].split("-") for line in lines if line[-1] == str(path)]
    return any(int(begin, 16) <= value.data_ptr() < int(end, 16) for begin, end in spans)
