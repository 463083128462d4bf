"""A text encoder whose blocks come to the card one after another gives the numbers of one that lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import original_files
import pytest
import torch
from part_files import lies_in_a_file, with_files
from safetensors.torch import save_file

from loratui.engine.families.flux import model as flux
from loratui.engine.families.loading import T5_BLOCKS
from loratui.engine.families.model import LoadOptions, PromptEmbeds
from loratui.engine.formats.base_files import identify
from loratui.engine.formats.base_parts import BaseFiles
from loratui.engine.training.cache import TextCache
from loratui.presets.schema import Base, Settings

CPU = torch.device("cpu")
CAPTIONS = ["a fox", "", "a red fox on a white wall, from the left", *(f"fox number {n}" for n in range(20))]


def model_of(files: BaseFiles, dtype: torch.dtype, *, streamed: bool) -> Any:
    return flux.load(files, Settings(base=Base(family="flux")), LoadOptions(CPU, dtype, text_streamed=streamed))


def same(one: PromptEmbeds, other: PromptEmbeds) -> bool:
    equal = all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())
    return equal and one.tensors.keys() == other.tensors.keys() and one.tokens_cut == other.tokens_cut


@pytest.mark.parametrize("stored", ["folder", "float16", "bfloat16", "float8_e4m3fn", "scaled"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_streamed_t5_gives_the_same_bits(flux_folder: Path, tmp_path: Path, stored: str, dtype: torch.dtype) -> None:
    files, path = identify(flux_folder), tmp_path / "t5.safetensors"
    if stored != "folder":
        tensors = original_files.weights_of(flux_folder / "text_encoder_2")
        scaled = stored == "scaled"
        save_file(
            original_files.scaled_fp8(tensors)
            if scaled
            else {key: original_files.to(value, getattr(torch, stored)) for key, value in tensors.items()},
            path,
        )
        files = with_files(flux_folder, path)
    with torch.no_grad():
        usual = [model_of(files, dtype, streamed=False).encode_prompts([caption])[0] for caption in CAPTIONS]
        model = model_of(files, dtype, streamed=True)
        streamed = model.encode_prompts(CAPTIONS)
        again = model.encode_prompts(CAPTIONS[:3])
    assert all(map(same, usual, streamed))
    assert all(map(same, usual, again)), "a pass leaves the weights as they were"
    if stored != "folder":
        t5 = model._parts["text_encoder_2"]
        blocks = [value for key, value in t5.named_parameters() if key.startswith(T5_BLOCKS)]
        assert blocks
        assert all(lies_in_a_file(value, path) for value in blocks), "nothing of the file is copied"


def test_the_cache_is_the_same_for_both_and_is_filled_in_few_passes(flux_folder: Path, tmp_path: Path) -> None:
    files, passes = identify(flux_folder), []
    for name in ("usual", "streamed"):
        (tmp_path / name).mkdir()
    usual = TextCache(tmp_path / "usual", model_of(files, torch.float32, streamed=False))
    model = model_of(files, torch.float32, streamed=True)
    encode = model.encode_prompts
    model.encode_prompts = lambda captions, known=None: (passes.append(len(captions)), encode(captions, known))[1]
    streamed = TextCache(tmp_path / "streamed", model)
    told: list[tuple[int, int]] = []
    usual.fill(CAPTIONS, lambda *_: None)
    streamed.fill(CAPTIONS, lambda *at: told.append(at))
    assert passes == [16, 7]
    assert told == [(0, 23), (16, 23), (23, 23)]
    written = {path.name: path.read_bytes() for path in (tmp_path / "usual").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "streamed").iterdir()}
    streamed = TextCache(tmp_path / "streamed", model)
    streamed.fill([*CAPTIONS, "another"], lambda *_: None)
    assert passes == [16, 7, 1]
    assert same(streamed.get("another"), streamed.batch(["another"])[0])
